use fleet_model::{Mark, Position};

use super::*;

const SESSION: u64 = 1_790_000_000_000;
const AT: u64 = 1_790_000_001_000;

fn event(sequence: u64, text: &str) -> ShardEvent {
    ShardEvent {
        name: "MESSAGE_CREATE".into(),
        position: Position::new(0, sequence),
        guild: Some(5),
        mark: Mark::Fresh,
        received_at_unix_ms: 0,
        traceparent: None,
        text: text.into(),
    }
}

fn everything() -> TapFilter {
    TapFilter { sample: 1.0, ..TapFilter::default() }
}

#[tokio::test]
async fn wanted_event_is_shared_with_each_tap_and_has_its_session_and_time() {
    let taps = Taps::default();
    assert!(taps.is_idle());
    let (mut all, mut guild) = (
        taps.open(everything(), 10).unwrap(),
        taps.open(TapFilter { guilds: [6].into(), ..everything() }, 10).unwrap(),
    );
    assert!(!taps.is_idle());
    let offered = event(7, "{}");
    taps.offer(ShardSlot(3), &offered, SESSION, AT);
    let shown = all.next().await.unwrap();
    assert_eq!((shown.shard, shown.event.position), (ShardSlot(3), Position::new(SESSION, 7)));
    assert_eq!(shown.event.received_at_unix_ms, AT);
    assert_eq!(shown.event.text.as_ptr(), offered.text.as_ptr(), "the payload was copied");
    assert!(guild.events.try_recv().is_err());
    drop((all, guild));
    assert!(taps.is_idle());
}

#[test]
fn taps_are_limited_and_a_closed_one_makes_room() {
    let taps = Taps::default();
    let mut open: Vec<OpenTap> = (0..MOST_TAPS).map(|_| taps.open(everything(), 1).unwrap()).collect();
    assert_eq!(taps.open(everything(), 1).err(), Some(TooManyTaps));
    open.remove(3);
    assert!(taps.open(everything(), 1).is_ok());
}

#[tokio::test]
async fn tap_that_is_not_read_drops_events_and_counts_them() {
    let taps = Taps::default();
    let mut tap = taps.open(everything(), MOST_PER_SECOND).unwrap();
    for sequence in 0..300 {
        taps.offer(ShardSlot(0), &event(sequence, "{}"), SESSION, AT);
    }
    assert_eq!(tap.take_dropped(), 300 - WAITING_EVENTS as u64);
    assert_eq!(tap.take_dropped(), 0);
    tap.next().await.unwrap();
    taps.offer(ShardSlot(0), &event(300, "{}"), SESSION, AT);
    assert_eq!(tap.take_dropped(), 0);
}

#[tokio::test]
async fn bytes_that_wait_are_limited() {
    let taps = Taps::default();
    let mut tap = taps.open(everything(), MOST_PER_SECOND).unwrap();
    let offer = |bytes: usize| taps.offer(ShardSlot(0), &event(1, &"x".repeat(bytes)), SESSION, AT);
    let next_second = |tap: &OpenTap| *tap.tap.rate.lock().unwrap() = Rate::default();
    for bytes in [WAITING_BYTES / 2, WAITING_BYTES / 2, 1] {
        offer(bytes);
        next_second(&tap);
    }
    assert_eq!(tap.take_dropped(), 1);
    tap.next().await.unwrap();
    offer(WAITING_BYTES / 2);
    assert_eq!(tap.take_dropped(), 0);
}

#[test]
fn events_of_a_second_are_limited() {
    let mut rate = Rate::default();
    let taken =
        [0, 1, 500, 999, 999, 1_000, 998, 1_999].map(|ms| rate.takes(Duration::from_millis(ms), 10, 3));
    // Three of the first second, and three of the next.
    assert_eq!(taken, [true, true, true, false, false, true, true, true]);
    let taps = Taps::default();
    let greedy = taps.open(everything(), u32::MAX).unwrap();
    assert_eq!(greedy.tap.per_second, MOST_PER_SECOND);
}

#[test]
fn bytes_of_a_second_are_limited_but_one_large_event_is_shown() {
    let mut rate = Rate::default();
    let mut takes = |ms, bytes| rate.takes(Duration::from_millis(ms), bytes, MOST_PER_SECOND);
    assert!(takes(0, MOST_BYTES_PER_SECOND + 1), "it would never be shown");
    assert!(!takes(10, 1));
    assert!(takes(1_000, MOST_BYTES_PER_SECOND / 2) && takes(1_000, MOST_BYTES_PER_SECOND / 2));
    assert!(!takes(1_500, 1) && takes(2_000, usize::MAX) && !takes(2_000, usize::MAX));
}

#[test]
fn time_of_the_wall_clock_does_not_limit_events() {
    let taps = Taps::default();
    let tap = taps.open(everything(), MOST_PER_SECOND).unwrap();
    for at in [AT, AT - 3_600_000, u64::MAX, 0, AT] {
        taps.offer(ShardSlot(0), &event(at, "{}"), SESSION, at);
    }
    assert_eq!(tap.take_dropped(), 0);
}
