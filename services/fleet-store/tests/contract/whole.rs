//! The record as a whole.

use fleet_model::{ShardKey, Term, WorkerId};
use fleet_store::{BudgetRecord, FleetRecord, OwnerWrite, TermWrite};

use crate::{LONG, Store, incarnation, owner, worker};

const BUDGET: BudgetRecord =
    BudgetRecord { total: 1000, remaining: 995, resets_at_unix_ms: 1_790_000_000_123 };

pub(crate) async fn empty_store_is_reported_as_empty(store: Store) {
    assert_eq!(store.load().await.unwrap(), FleetRecord::default());
}

pub(crate) async fn written_state_is_loaded(store: Store) {
    store.claim_term(&incarnation("c"), Term(1), LONG).await.unwrap();
    assert_eq!(store.set_shard_total(Term(1), 2).await.unwrap(), TermWrite::Written);
    assert_eq!(store.save_budget(Term(1), BUDGET).await.unwrap(), TermWrite::Written);
    assert_eq!(store.save_last_ran(Term(1), 1_790_000_000_456).await.unwrap(), TermWrite::Written);
    let identity = store.identity().await.unwrap();
    assert_eq!(store.save_trusted(Term(1), Some(&identity)).await.unwrap(), TermWrite::Written);
    assert_eq!(store.save_intent(Term(1), r#"{"pins":{}}"#).await.unwrap(), TermWrite::Written);
    assert_eq!(store.load_notices().await.unwrap(), None);
    assert_eq!(store.save_notices(Term(1), r#"{"told":[]}"#).await.unwrap(), TermWrite::Written);
    store.grant_lease(Term(1), &worker("a", "1"), LONG).await.unwrap();
    store.grant_lease(Term(1), &worker("b", "1"), LONG).await.unwrap();
    store.assign(Term(1), &[owner(1, "b", "1", 7)]).await.unwrap();
    let record = store.load().await.unwrap();
    assert_eq!((record.term, record.shard_total, record.budget), (Term(1), Some(2), Some(BUDGET)));
    assert_eq!(record.last_ran_unix_ms, Some(1_790_000_000_456));
    assert_eq!(record.trusted, Some(identity));
    assert_eq!(store.save_trusted(Term(1), None).await.unwrap(), TermWrite::Written);
    assert_eq!(store.load().await.unwrap().trusted, None);
    assert_eq!(record.intent.as_deref(), Some(r#"{"pins":{}}"#));
    assert_eq!(store.load_notices().await.unwrap().as_deref(), Some(r#"{"told":[]}"#));
    assert_eq!(store.leases().await.unwrap().len(), 2);
    assert_eq!(record.workers.keys().map(WorkerId::as_str).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(record.owners.into_iter().collect::<Vec<_>>(), [(ShardKey::new(1, 2), owner(1, "b", "1", 7))]);
}

pub(crate) async fn an_old_term_writes_nothing_of_the_fleet(store: Store) {
    store.set_shard_total(Term(2), 4).await.unwrap();
    assert_eq!(store.save_budget(Term(1), BUDGET).await.unwrap(), TermWrite::StaleTerm);
    assert_eq!(store.save_intent(Term(1), "{}").await.unwrap(), TermWrite::StaleTerm);
    assert_eq!(store.save_notices(Term(1), "{}").await.unwrap(), TermWrite::StaleTerm);
    assert_eq!(store.save_last_ran(Term(1), 5).await.unwrap(), TermWrite::StaleTerm);
    let identity = store.identity().await.unwrap();
    assert_eq!(store.save_trusted(Term(1), Some(&identity)).await.unwrap(), TermWrite::StaleTerm);
    assert_eq!(store.set_shard_total(Term(1), 8).await.unwrap(), TermWrite::StaleTerm);
    assert_eq!(store.save_budget(Term(3), BUDGET).await.unwrap(), TermWrite::Written);
    assert_eq!(store.set_shard_total(Term(2), 8).await.unwrap(), TermWrite::StaleTerm);
    let record = store.load().await.unwrap();
    assert_eq!((record.shard_total, record.budget, record.last_ran_unix_ms), (Some(4), Some(BUDGET), None));
}

pub(crate) async fn identity_does_not_change(store: Store) {
    let identity = store.identity().await.unwrap();
    assert!(!identity.0.is_empty());
    assert_eq!(store.identity().await.unwrap(), identity);
}

pub(crate) async fn many_shards_are_loaded_at_once(store: Store) {
    let total = 600;
    store.set_shard_total(Term(1), total).await.unwrap();
    let owners: Vec<_> = (0..total).map(|shard| owner(shard, "a", "1", u64::from(shard) + 1)).collect();
    assert!(
        store.assign(Term(1), &owners).await.unwrap().iter().all(|written| *written == OwnerWrite::Written)
    );
    let loaded: Vec<_> = store.load().await.unwrap().owners.into_values().collect();
    assert_eq!(loaded, owners);
}
