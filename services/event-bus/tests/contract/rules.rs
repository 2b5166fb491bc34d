//! Each rule over each bus.

use crate::{broadcasts, memory_ends, redis_ends};

redis_fixture::contract! {
    memory() => memory_ends(),
    redis(url, prefix) => redis_ends(url, prefix),
    broadcasts::everyone_gets_a_message,
    broadcasts::a_message_arrives_as_it_was_sent,
    broadcasts::a_subscriber_gets_what_comes_after_it,
    broadcasts::all_see_one_order,
    broadcasts::acknowledgements_reach_the_sender,
    broadcasts::an_acknowledgement_is_for_its_message_alone,
    broadcasts::a_sender_need_not_wait,
    broadcasts::a_big_message_is_refused,
    broadcasts::a_slow_reader_is_told_and_delays_no_other,
    broadcasts::a_reader_that_left_is_no_matter,
    broadcasts::the_status_tells,
    broadcasts::a_bus_that_ended_ends_its_subscriptions,
}
