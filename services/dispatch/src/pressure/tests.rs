use super::*;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One that sheds since the moment `at`, by its third overflow; its queue is full.
fn shedding(at: u64) -> Pressure {
    let mut pressure = Pressure::new();
    for ago in [2, 1] {
        pressure.overflowed(s(at - ago));
        pressure.drained(s(at - ago) + ms(500));
    }
    pressure.overflowed(s(at));
    assert_eq!(pressure.decision(s(at)), Decision::Shed);
    pressure
}

#[test]
fn an_overflow_shuts_until_half() {
    let mut pressure = Pressure::new();
    assert_eq!(pressure.decision(s(0)), Decision::Open);
    pressure.overflowed(s(10));
    pressure.observed(false, s(11));
    assert_eq!(pressure.decision(s(11)), Decision::Shut);
    pressure.drained(s(12));
    assert_eq!(pressure.decision(s(12)), Decision::Open);
    assert_eq!(pressure.next_change(s(12)), None);
}

#[test]
fn events_during_shutting_are_not_another_overflow() {
    let mut pressure = Pressure::new();
    for _ in 0..5 {
        pressure.overflowed(s(10));
    }
    pressure.drained(s(11));
    pressure.overflowed(s(12));
    assert_eq!(pressure.decision(s(12)), Decision::Shut);
}

#[test]
fn the_third_overflow_within_a_minute_sheds() {
    let third = |at| {
        let mut pressure = Pressure::new();
        for first in [s(0), s(20)] {
            pressure.overflowed(first);
            assert_eq!(pressure.decision(first), Decision::Shut);
            pressure.drained(first + s(1));
        }
        pressure.overflowed(at);
        pressure.decision(at)
    };
    assert_eq!(third(s(60)), Decision::Shed);
    assert_eq!(third(s(60) + ms(1)), Decision::Shut);
}

#[test]
fn half_a_minute_shut_without_a_break_sheds() {
    let mut pressure = Pressure::new();
    pressure.overflowed(s(10));
    assert_eq!(pressure.next_change(s(10)), Some(s(40)));
    assert_eq!(pressure.decision(ms(39_999)), Decision::Shut);
    assert_eq!(pressure.decision(s(40)), Decision::Shed);
    // Once it sheds, half is not enough to stop.
    pressure.drained(s(41));
    assert_eq!(pressure.decision(s(41)), Decision::Shed);
}

#[test]
fn two_separate_shut_periods_do_not_shed() {
    let mut pressure = Pressure::new();
    pressure.overflowed(s(0));
    pressure.drained(s(20));
    pressure.overflowed(s(21));
    assert_eq!(pressure.decision(s(50)), Decision::Shut);
}

#[test]
fn shedding_ends_after_a_minute_at_most_half_full() {
    let mut pressure = shedding(100);
    assert_eq!(pressure.next_change(s(100)), None);
    pressure.observed(true, s(110));
    pressure.observed(true, s(150));
    assert_eq!(pressure.next_change(s(150)), Some(s(170)));
    pressure.observed(false, s(169));
    assert_eq!(pressure.decision(s(170)), Decision::Shed);
    pressure.observed(true, s(180));
    assert_eq!(pressure.decision(ms(239_999)), Decision::Shed);
    assert_eq!(pressure.decision(s(240)), Decision::Open);
    // What made it shed is longer ago than overflows count: the next is the first.
    pressure.overflowed(s(241));
    assert_eq!(pressure.decision(s(241)), Decision::Shut);
}

#[test]
fn fresh_interaction_without_room_shuts_until_it_expires() {
    let mut pressure = shedding(100);
    pressure.overflowed(s(101));
    assert_eq!(pressure.decision(s(101)), Decision::Shut);
    assert_eq!(pressure.next_change(s(101)), Some(s(104)));
    // Another one does not make it longer.
    pressure.overflowed(s(102));
    assert_eq!(pressure.decision(s(104)), Decision::Shed);
    // A later one shuts again.
    pressure.overflowed(s(105));
    assert_eq!(pressure.decision(s(106)), Decision::Shut);
    // And half opens it at once.
    pressure.drained(s(106));
    assert_eq!(pressure.decision(s(106)), Decision::Shed);
}

#[test]
fn an_overflow_while_it_sheds_is_not_calm() {
    let mut pressure = shedding(100);
    pressure.observed(true, s(110));
    pressure.overflowed(s(169));
    assert_eq!(pressure.decision(s(175)), Decision::Shed);
}

/// At which fill, in hundredths, a kind of this age begins to be left out.
fn begins(order: &ShedOrder, kind: &str, age: Duration) -> Option<u32> {
    let sheds = |fill: u32| order.sheds(kind, age, f64::from(fill) / 100.0 + 1e-9);
    let first = (0..=200).find(|fill| sheds(*fill));
    assert!(first.is_none_or(|first| (first..=200).all(sheds)), "the fuller, the more is left out");
    first
}

#[test]
fn the_table_of_the_default_order() {
    let order = ShedOrder::default();
    for (kind, fill) in [
        ("TYPING_START", 50),
        ("PRESENCE_UPDATE", 58),
        ("MESSAGE_REACTION_ADD", 66),
        ("MESSAGE_REACTION_REMOVE_ALL", 66),
        ("MESSAGE_UPDATE", 74),
        ("GUILD_MEMBER_UPDATE", 82),
        ("MESSAGE_CREATE", 90),
        ("GUILD_CREATE", 90),
        ("MESSAGE_REACTION", 90),
    ] {
        assert_eq!(begins(&order, kind, Duration::ZERO), Some(fill), "{kind}");
    }
}

#[test]
fn interaction_with_an_expired_token_is_skipped() {
    let order = ShedOrder::default();
    assert_eq!(begins(&order, "INTERACTION_CREATE", ms(2_999)), None);
    assert_eq!(begins(&order, "INTERACTION_CREATE", s(3)), Some(90));
}

#[test]
fn shedding_order_can_be_set() {
    let order: ShedOrder = " MESSAGE_*, TYPING_START ,".parse().unwrap();
    assert_eq!(order.to_string(), "MESSAGE_*,TYPING_START");
    assert_eq!(begins(&order, "MESSAGE_CREATE", Duration::ZERO), Some(50));
    assert_eq!(begins(&order, "TYPING_START", Duration::ZERO), Some(70));
    assert_eq!(begins(&order, "PRESENCE_UPDATE", Duration::ZERO), Some(90));

    let none: ShedOrder = "".parse().unwrap();
    assert_eq!(begins(&none, "TYPING_START", Duration::ZERO), Some(90));
    let default = ShedOrder::default();
    assert_eq!(default.to_string().parse(), Ok(default));
}

#[test]
fn orders_that_are_none() {
    let error = |text: &str| text.parse::<ShedOrder>().unwrap_err();
    for text in ["typing_start", "A B", "*", "A*B", "É", &"A".repeat(65)] {
        assert!(matches!(error(text), InvalidOrder::Name(_)), "{text}");
    }
    for text in ["INTERACTION_CREATE", "TYPING_START,INTER*"] {
        assert!(matches!(error(text), InvalidOrder::Interaction(_)), "{text}");
    }
    assert_eq!(error(&"A,".repeat(65)), InvalidOrder::TooMany(65));
    assert!("A,".repeat(64).parse::<ShedOrder>().is_ok() && "A".repeat(64).parse::<ShedOrder>().is_ok());
    assert_eq!(error(&"A".repeat(200)), InvalidOrder::Name("A".repeat(128)));
}
