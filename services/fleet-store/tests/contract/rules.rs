//! Each rule over each store.

use std::sync::Arc;

use fleet_store::FleetMemoryStore;

use crate::{assignments, history, leases, redis_store, terms, whole};

redis_fixture::contract! {
    memory(start_paused = true) => Arc::new(FleetMemoryStore::new()),
    redis(url, prefix) => Arc::new(redis_store(url, prefix)),
    terms::free_term_goes_to_the_first_request,
    terms::a_new_holder_gets_a_higher_term,
    terms::new_term_is_at_least_the_requested_one,
    terms::lapsed_term_can_be_acquired,
    terms::lapsed_holder_gets_a_higher_term,
    terms::a_released_term_is_free_at_once,
    terms::only_the_holder_releases,
    terms::lost_term_record_is_written_again,
    terms::a_term_with_another_holder_is_lost,
    terms::the_holder_hears_of_a_standby_until_it_withdraws_or_acts,
    leases::a_lease_is_granted_and_seen,
    leases::a_live_name_is_not_given_twice,
    leases::a_lapsed_or_revoked_name_is_free,
    leases::revoked_incarnation_gets_no_new_lease,
    leases::a_live_lease_is_renewed,
    leases::a_lapsed_lease_is_renewed_only_in_window,
    leases::a_missing_lease_is_written_only_in_window,
    leases::a_revoked_lease_is_not_renewed,
    leases::lease_of_a_replaced_incarnation_is_not_renewed,
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
    assignments::writes_in_flight_of_an_old_term_are_refused_after_a_fence,
    assignments::highest_epoch_wins_in_any_order,
    history::entries_are_read_newest_first_and_in_pages,
    history::repeated_write_skips_what_was_written,
    history::two_writers_append_side_by_side,
    history::number_of_entries_is_bounded,
    history::bytes_of_entries_are_bounded,
    whole::empty_store_is_reported_as_empty,
    whole::written_state_is_loaded,
    whole::an_old_term_writes_nothing_of_the_fleet,
    whole::identity_does_not_change,
    whole::many_shards_are_loaded_at_once,
}
