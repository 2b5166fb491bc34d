//! Workers' leases.

use fleet_model::Term;
use fleet_store::{LeaseGrant, LeaseRecord, LeaseRenewal, Revocation};

use crate::{LONG, SHORT, Store, incarnation, lapse, name, worker};

const TERM: Term = Term(5);

async fn grant(store: &Store, life: &str) -> LeaseGrant {
    store.grant_lease(TERM, &worker("w", life), LONG).await.unwrap()
}

async fn renew(store: &Store, life: &str, in_window: bool) -> LeaseRenewal {
    store.renew_lease(&worker("w", life), LONG, in_window).await.unwrap()
}

async fn revoke(store: &Store, life: &str, even_if_live: bool) -> Revocation {
    store.revoke_lease(TERM, &name("w"), &incarnation(life), even_if_live).await.unwrap()
}

async fn seen(store: &Store) -> Option<LeaseRecord> {
    store.load().await.unwrap().workers.remove(&name("w"))
}

pub(crate) async fn a_lease_is_granted_and_seen(store: Store) {
    assert_eq!(grant(&store, "1").await, LeaseGrant::Granted);
    let record = seen(&store).await.unwrap();
    assert_eq!((&record.worker, record.revoked), (&worker("w", "1"), false));
    assert!(!record.remaining.is_zero() && record.remaining <= LONG, "{record:?}");
    assert_eq!(grant(&store, "1").await, LeaseGrant::Granted, "registering again is no error");
    assert_eq!(store.grant_lease(TERM, &worker("w", "1"), SHORT).await.unwrap(), LeaseGrant::Granted);
    lapse().await;
    assert!(seen(&store).await.unwrap().remaining.is_zero());
}

pub(crate) async fn a_live_name_is_not_given_twice(store: Store) {
    grant(&store, "1").await;
    let LeaseGrant::HeldByOther { incarnation: other, remaining } = grant(&store, "2").await else {
        panic!("two workers have one name");
    };
    assert_eq!(other, incarnation("1"));
    assert!(!remaining.is_zero() && remaining <= LONG, "{remaining:?}");
}

pub(crate) async fn a_lapsed_or_revoked_name_is_free(store: Store) {
    store.grant_lease(TERM, &worker("w", "1"), SHORT).await.unwrap();
    lapse().await;
    assert_eq!(grant(&store, "2").await, LeaseGrant::Granted);
    revoke(&store, "2", true).await;
    assert_eq!(grant(&store, "3").await, LeaseGrant::Granted);
    let record = seen(&store).await.unwrap();
    assert_eq!((&record.worker, record.revoked), (&worker("w", "3"), false));
}

pub(crate) async fn revoked_incarnation_gets_no_new_lease(store: Store) {
    grant(&store, "1").await;
    revoke(&store, "1", true).await;
    assert_eq!(grant(&store, "1").await, LeaseGrant::Revoked);
    let record = seen(&store).await.unwrap();
    assert!(record.revoked && record.remaining.is_zero(), "{record:?}");
}

pub(crate) async fn a_live_lease_is_renewed(store: Store) {
    store.grant_lease(TERM, &worker("w", "1"), SHORT).await.unwrap();
    assert_eq!(renew(&store, "1", false).await, LeaseRenewal::Held(TERM));
    assert!(seen(&store).await.unwrap().remaining > SHORT);
}

pub(crate) async fn a_lapsed_lease_is_renewed_only_in_window(store: Store) {
    store.grant_lease(TERM, &worker("w", "1"), SHORT).await.unwrap();
    lapse().await;
    assert_eq!(renew(&store, "1", false).await, LeaseRenewal::Lapsed);
    assert!(seen(&store).await.unwrap().remaining.is_zero(), "a refused renewal writes nothing");
    assert_eq!(renew(&store, "1", true).await, LeaseRenewal::Held(TERM));
    assert_eq!(renew(&store, "1", false).await, LeaseRenewal::Held(TERM));
}

pub(crate) async fn a_missing_lease_is_written_only_in_window(store: Store) {
    assert_eq!(renew(&store, "1", false).await, LeaseRenewal::Lapsed);
    assert_eq!(seen(&store).await, None);
    assert_eq!(renew(&store, "1", true).await, LeaseRenewal::Held(Term(0)), "no term has written here");
    assert_eq!(seen(&store).await.unwrap().worker, worker("w", "1"));
    assert_eq!(grant(&store, "1").await, LeaseGrant::Granted);
    assert_eq!(renew(&store, "1", false).await, LeaseRenewal::Held(TERM));
}

pub(crate) async fn a_revoked_lease_is_not_renewed(store: Store) {
    grant(&store, "1").await;
    revoke(&store, "1", true).await;
    assert_eq!(renew(&store, "1", true).await, LeaseRenewal::Refused);
    assert_eq!(renew(&store, "1", false).await, LeaseRenewal::Refused);
}

pub(crate) async fn lease_of_a_replaced_incarnation_is_not_renewed(store: Store) {
    store.grant_lease(TERM, &worker("w", "1"), SHORT).await.unwrap();
    lapse().await;
    store.grant_lease(TERM, &worker("w", "2"), SHORT).await.unwrap();
    assert_eq!(renew(&store, "1", true).await, LeaseRenewal::Refused);
    lapse().await;
    assert_eq!(renew(&store, "1", true).await, LeaseRenewal::Refused, "not even once the other lapsed");
    revoke(&store, "2", false).await;
    assert_eq!(renew(&store, "1", true).await, LeaseRenewal::Refused, "or was revoked");
    assert_eq!(seen(&store).await.unwrap().worker.incarnation, incarnation("2"));
}

pub(crate) async fn a_live_lease_is_revoked_only_on_evidence(store: Store) {
    grant(&store, "1").await;
    let Revocation::StillLive(remaining) = revoke(&store, "1", false).await else { panic!("it was live") };
    assert!(!remaining.is_zero() && remaining <= LONG, "{remaining:?}");
    assert_eq!(renew(&store, "1", false).await, LeaseRenewal::Held(TERM));
    assert_eq!(revoke(&store, "1", true).await, Revocation::Revoked);
    assert_eq!(revoke(&store, "1", false).await, Revocation::Revoked, "revoking twice is no error");
}

pub(crate) async fn a_lapsed_or_missing_lease_is_revoked(store: Store) {
    assert_eq!(revoke(&store, "1", false).await, Revocation::Revoked);
    assert_eq!(renew(&store, "1", true).await, LeaseRenewal::Refused, "so that it cannot be written again");
    assert_eq!(grant(&store, "1").await, LeaseGrant::Revoked);
    assert_eq!(store.grant_lease(TERM, &worker("w", "2"), SHORT).await.unwrap(), LeaseGrant::Granted);
    lapse().await;
    assert_eq!(revoke(&store, "2", false).await, Revocation::Revoked);
    assert_eq!(renew(&store, "2", true).await, LeaseRenewal::Refused);
}

pub(crate) async fn another_incarnation_is_not_revoked(store: Store) {
    grant(&store, "2").await;
    assert_eq!(revoke(&store, "1", true).await, Revocation::Replaced);
    assert_eq!(renew(&store, "2", false).await, LeaseRenewal::Held(TERM));
}

pub(crate) async fn an_old_term_writes_no_lease(store: Store) {
    grant(&store, "1").await;
    let old = Term(TERM.0 - 1);
    assert_eq!(store.grant_lease(old, &worker("w", "1"), LONG).await.unwrap(), LeaseGrant::StaleTerm);
    let revocation = store.revoke_lease(old, &name("w"), &incarnation("1"), true).await.unwrap();
    assert_eq!(revocation, Revocation::StaleTerm);
    let new = Term(TERM.0 + 1);
    assert_eq!(store.grant_lease(new, &worker("w", "1"), LONG).await.unwrap(), LeaseGrant::Granted);
    assert_eq!(renew(&store, "1", false).await, LeaseRenewal::Held(new), "the worker hears of the new term");
    assert_eq!(grant(&store, "1").await, LeaseGrant::StaleTerm);
}

pub(crate) async fn a_worker_that_left_is_forgotten(store: Store) {
    store.forget_worker(&name("w"), &incarnation("1")).await.unwrap();
    grant(&store, "1").await;
    store.forget_worker(&name("w"), &incarnation("0")).await.unwrap();
    assert!(seen(&store).await.is_some(), "another incarnation's record stays");
    store.forget_worker(&name("w"), &incarnation("1")).await.unwrap();
    assert_eq!(seen(&store).await, None);
    assert_eq!(grant(&store, "2").await, LeaseGrant::Granted);
}

pub(crate) async fn forgetting_does_not_undo_a_revocation(store: Store) {
    grant(&store, "1").await;
    revoke(&store, "1", true).await;
    store.forget_worker(&name("w"), &incarnation("1")).await.unwrap();
    assert_eq!(seen(&store).await, None);
    assert_eq!(renew(&store, "1", true).await, LeaseRenewal::Refused);
    assert_eq!(grant(&store, "1").await, LeaseGrant::Revoked);
    assert_eq!(seen(&store).await, None);
}
