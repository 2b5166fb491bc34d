//! Each rule over each store.

use std::sync::Arc;

use fleet_store::FleetMemoryStore;

use crate::{assignments, leases, redis_store, terms, whole};

redis_fixture::contract! {
    memory(start_paused = true) => Arc::new(FleetMemoryStore::new()),
    redis(url, prefix) => Arc::new(redis_store(url, prefix)),
    terms::a_free_term_goes_to_the_first_that_asks,
    terms::a_new_holder_gets_a_higher_term,
    terms::a_new_term_is_at_least_what_is_asked_for,
    terms::a_lapsed_hold_is_taken_over,
    terms::a_lapsed_holder_that_claims_gets_a_higher_term,
    terms::a_released_term_is_free_at_once,
    terms::only_the_holder_releases,
    terms::a_lost_term_is_written_again,
    terms::a_term_with_another_holder_is_lost,
    terms::the_holder_hears_of_a_standby_until_it_withdraws_or_acts,
    leases::a_lease_is_granted_and_seen,
    leases::a_live_name_is_not_given_twice,
    leases::a_lapsed_or_revoked_name_is_free,
    leases::a_revoked_incarnation_never_gets_another,
    leases::a_live_lease_is_renewed,
    leases::a_lapsed_lease_is_renewed_only_in_window,
    leases::a_missing_lease_is_written_only_in_window,
    leases::a_revoked_lease_is_not_renewed,
    leases::a_name_taken_over_is_not_renewed,
    leases::a_live_lease_is_revoked_only_on_evidence,
    leases::a_lapsed_or_missing_lease_is_revoked,
    leases::another_incarnation_is_not_revoked,
    leases::an_old_term_writes_no_lease,
    leases::a_worker_that_left_is_forgotten,
    leases::forgetting_does_not_undo_a_revocation,
    assignments::the_higher_epoch_owns,
    assignments::the_same_epoch_has_one_owner,
    assignments::an_old_term_assigns_nothing,
    assignments::owners_are_seen_below_the_total,
    assignments::epochs_are_exact,
    assignments::what_an_old_term_still_had_on_its_way_is_refused_behind_a_fence,
    assignments::highest_epoch_wins_in_any_order,
    whole::an_empty_store_says_so,
    whole::what_is_written_is_loaded,
    whole::an_old_term_writes_nothing_of_the_fleet,
    whole::the_identity_stays,
    whole::many_shards_are_loaded_at_once,
}
