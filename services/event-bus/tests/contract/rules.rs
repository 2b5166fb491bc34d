//! Each rule over each bus.

use crate::{broadcasts, memory_ends, redis_ends};

redis_fixture::contract! {
    memory() => memory_ends(),
    redis(url, prefix) => redis_ends(url, prefix),
    broadcasts::every_subscriber_receives_a_message,
    broadcasts::a_message_arrives_as_it_was_sent,
    broadcasts::subscriber_receives_messages_published_after_it_subscribed,
    broadcasts::all_see_one_order,
    broadcasts::acknowledgements_reach_the_sender,
    broadcasts::acknowledgement_counts_for_its_message_only,
    broadcasts::a_sender_need_not_wait,
    broadcasts::a_big_message_is_refused,
    broadcasts::slow_reader_is_notified_and_delays_no_other,
    broadcasts::departed_reader_does_not_affect_others,
    broadcasts::status_reports_the_connection,
    broadcasts::a_bus_that_ended_ends_its_subscriptions,
}
