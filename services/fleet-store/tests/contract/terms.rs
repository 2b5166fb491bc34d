//! The coordinator's term.

use fleet_model::Term;
use fleet_store::{TermClaim, TermRenewal};

use crate::{LONG, SHORT, Store, incarnation, lapse, owner, worker};

const HELD: TermRenewal = TermRenewal::Held { standby: false };
const HELD_BESIDE_A_STANDBY: TermRenewal = TermRenewal::Held { standby: true };

async fn claim(store: &Store, holder: &str) -> TermClaim {
    store.claim_term(&incarnation(holder), Term(1), LONG).await.unwrap()
}

pub(crate) async fn free_term_goes_to_the_first_request(store: Store) {
    assert_eq!(claim(&store, "a").await, TermClaim::Acting(Term(1)));
    assert_eq!(claim(&store, "a").await, TermClaim::Acting(Term(1)), "asking twice is no second term");
    let TermClaim::HeldBy { term, holder, remaining } = claim(&store, "b").await else {
        panic!("b got it too")
    };
    assert_eq!((term, holder), (Term(1), incarnation("a")));
    assert!(!remaining.is_zero() && remaining <= LONG, "{remaining:?}");
    assert_eq!(store.load().await.unwrap().term, Term(1));
}

pub(crate) async fn a_new_holder_gets_a_higher_term(store: Store) {
    for (number, holder) in ["a", "b", "a"].into_iter().enumerate() {
        let term = Term(number as u64 + 1);
        assert_eq!(claim(&store, holder).await, TermClaim::Acting(term));
        store.release_term(term, &incarnation(holder)).await.unwrap();
    }
    assert_eq!(store.load().await.unwrap().term, Term(3), "the number survives the release");
}

pub(crate) async fn new_term_is_at_least_the_requested_one(store: Store) {
    let floor = Term(1_700_000_000_000);
    let first = store.claim_term(&incarnation("a"), floor, LONG).await.unwrap();
    assert_eq!(first, TermClaim::Acting(floor));
    store.release_term(floor, &incarnation("a")).await.unwrap();
    let second = store.claim_term(&incarnation("b"), floor, LONG).await.unwrap();
    assert_eq!(second, TermClaim::Acting(Term(floor.0 + 1)), "and above the one before");
}

pub(crate) async fn lapsed_term_can_be_acquired(store: Store) {
    store.claim_term(&incarnation("a"), Term(1), SHORT).await.unwrap();
    lapse().await;
    // No other coordinator took it yet, so the holder can renew it.
    assert_eq!(store.renew_term(Term(1), &incarnation("a"), SHORT).await.unwrap(), HELD);
    assert!(matches!(
        store.claim_term(&incarnation("b"), Term(1), LONG).await.unwrap(),
        TermClaim::HeldBy { .. }
    ));
    lapse().await;
    assert_eq!(claim(&store, "b").await, TermClaim::Acting(Term(2)));
    let renewal = store.renew_term(Term(1), &incarnation("a"), LONG).await.unwrap();
    assert_eq!(renewal, TermRenewal::Lost { to: Term(2) });
}

pub(crate) async fn lapsed_holder_gets_a_higher_term(store: Store) {
    store.claim_term(&incarnation("a"), Term(1), SHORT).await.unwrap();
    lapse().await;
    assert_eq!(claim(&store, "a").await, TermClaim::Acting(Term(2)));
}

pub(crate) async fn a_released_term_is_free_at_once(store: Store) {
    claim(&store, "a").await;
    store.release_term(Term(1), &incarnation("a")).await.unwrap();
    let late = store.renew_term(Term(1), &incarnation("a"), LONG).await.unwrap();
    assert_eq!(
        late,
        TermRenewal::Lost { to: Term(1) },
        "a renewal that was on its way does not undo the release"
    );
    assert_eq!(claim(&store, "b").await, TermClaim::Acting(Term(2)));
}

pub(crate) async fn only_the_holder_releases(store: Store) {
    store.release_term(Term(1), &incarnation("a")).await.unwrap();
    claim(&store, "a").await;
    store.release_term(Term(1), &incarnation("b")).await.unwrap();
    store.release_term(Term(2), &incarnation("a")).await.unwrap();
    assert!(matches!(claim(&store, "b").await, TermClaim::HeldBy { .. }));
}

pub(crate) async fn lost_term_record_is_written_again(store: Store) {
    // A store that lost everything, or its last writes: its number is lower than the acting coordinator's.
    assert_eq!(store.renew_term(Term(41), &incarnation("a"), LONG).await.unwrap(), HELD);
    assert!(matches!(claim(&store, "b").await, TermClaim::HeldBy { term: Term(41), .. }));
    assert_eq!(store.renew_term(Term(43), &incarnation("b"), LONG).await.unwrap(), HELD);
    let renewal = store.renew_term(Term(41), &incarnation("a"), LONG).await.unwrap();
    assert_eq!(renewal, TermRenewal::Lost { to: Term(43) });
    store.release_term(Term(43), &incarnation("b")).await.unwrap();
    assert_eq!(claim(&store, "c").await, TermClaim::Acting(Term(44)));
}

pub(crate) async fn a_term_with_another_holder_is_lost(store: Store) {
    claim(&store, "a").await;
    let renewal = store.renew_term(Term(1), &incarnation("b"), LONG).await.unwrap();
    assert_eq!(renewal, TermRenewal::Lost { to: Term(1) });
    assert_eq!(store.renew_term(Term(1), &incarnation("a"), LONG).await.unwrap(), HELD);
}

pub(crate) async fn the_holder_hears_of_a_standby_until_it_withdraws_or_acts(store: Store) {
    let renew = async |holder: &str, term: u64| {
        store.renew_term(Term(term), &incarnation(holder), LONG).await.unwrap()
    };
    claim(&store, "a").await;
    claim(&store, "a").await;
    assert_eq!(renew("a", 1).await, HELD, "the holder's own claims do not make a standby");
    claim(&store, "b").await;
    assert_eq!(renew("a", 1).await, HELD_BESIDE_A_STANDBY);
    store.withdraw_standby(&incarnation("c")).await.unwrap();
    assert_eq!(renew("a", 1).await, HELD_BESIDE_A_STANDBY, "only a standby itself withdraws");
    store.withdraw_standby(&incarnation("b")).await.unwrap();
    assert_eq!(renew("a", 1).await, HELD);
    claim(&store, "b").await;
    store.release_term(Term(1), &incarnation("a")).await.unwrap();
    assert_eq!(claim(&store, "b").await, TermClaim::Acting(Term(2)));
    assert_eq!(renew("b", 2).await, HELD, "the new holder is no standby any more");
}

/// The next coordinator has to be above it, or its writes are refused.
pub(crate) async fn term_of_any_record_is_the_highest_one(store: Store) {
    claim(&store, "a").await;
    store.set_shard_total(Term(3), 2).await.unwrap();
    assert_eq!(store.load().await.unwrap().term, Term(3), "the fleet");
    store.grant_lease(Term(5), &worker("w", "1"), LONG).await.unwrap();
    assert_eq!(store.load().await.unwrap().term, Term(5), "a worker");
    let check = store.check().await.unwrap();
    assert_eq!((check.term, check.shard_total, check.invalid), (Term(5), Some(2), Vec::new()));
    store.assign(Term(7), &[owner(1, "w", "1", 1)]).await.unwrap();
    assert_eq!(store.load().await.unwrap().term, Term(7), "a shard");
    assert_eq!(store.renew_term(Term(1), &incarnation("a"), LONG).await.unwrap(), HELD);
}
