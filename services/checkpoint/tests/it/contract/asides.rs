//! Notes of handlers that begin, and events that are set aside.

use std::sync::Arc;

use checkpoint::{
    CheckpointStore, Fenced, MOST_SET_ASIDE, MOST_SET_ASIDE_BYTES, NoteAnswer, Position, SetAside,
    SetAsideStore, SetAsideSummary,
};
use fleet_model::{Epoch, ShardKey, ShardSlot};

use super::{HIGHER, LOWER, MINE, SHARD};

/// The store under test, as both of its sides.
pub(crate) trait Both: CheckpointStore + SetAsideStore {}
impl<T: CheckpointStore + SetAsideStore> Both for T {}

pub(crate) type Store = Arc<dyn Both>;

const DONE: Fenced = Fenced::Done { forgotten: 0 };
const YES: fn(u32) -> NoteAnswer = |before| NoteAnswer::Yes { before };
const NO: fn(u32) -> NoteAnswer = |before| NoteAnswer::No { before };

fn at(sequence: u64) -> Position {
    Position { session: 1_760_000_000_000, sequence }
}

fn event(sequence: u64) -> SetAside {
    SetAside {
        summary: SetAsideSummary {
            at: at(sequence),
            name: "MESSAGE_CREATE".to_owned(),
            received_at_unix_ms: 5,
            set_aside_at_unix_ms: 1_760_000_000_007,
            noted: 2,
        },
        text: format!(r#"{{"op":0,"s":{sequence},"d":"ラ \u0000 "}}"#).into(),
    }
}

pub(crate) async fn event_is_noted_within_a_bound_until_withdrawn(store: Store) {
    assert_eq!(store.note(SHARD, LOWER, at(7), 1).await.unwrap(), YES(0));
    assert_eq!(store.note(SHARD, LOWER, at(7), 1).await.unwrap(), YES(0), "its own note, made again");
    assert_eq!(store.note(SHARD, MINE, at(7), 1).await.unwrap(), NO(1));
    assert_eq!(store.note(SHARD, MINE, at(7), 2).await.unwrap(), YES(1));
    assert_eq!(store.note(SHARD, HIGHER, at(7), 2).await.unwrap(), NO(2));
    assert_eq!(store.note(SHARD, HIGHER, at(7), 3).await.unwrap(), YES(2));
    assert_eq!(store.note(SHARD, HIGHER, at(8), 1).await.unwrap(), YES(0), "another event");
    assert_eq!(store.note(ShardKey::new(4, 8), HIGHER, at(7), 1).await.unwrap(), YES(0), "another shard");
    assert_eq!(store.take_back(SHARD, HIGHER, at(7)).await.unwrap(), DONE);
    assert_eq!(store.take_back(SHARD, HIGHER, at(7)).await.unwrap(), DONE, "twice is no error");
    assert_eq!(store.note(SHARD, HIGHER, at(7), 1).await.unwrap(), YES(0), "no note is left");
    assert_eq!(store.note(SHARD, MINE, at(8), 1).await.unwrap(), NO(1), "the other event's is");
}

pub(crate) async fn notes_outlive_owners_and_sessions(store: Store) {
    store.claim(SHARD, LOWER).await.unwrap();
    assert_eq!(store.note(SHARD, LOWER, at(7), 2).await.unwrap(), YES(0));
    store.claim(SHARD, MINE).await.unwrap();
    store.write(SHARD, MINE, 0, &super::fresh(super::set(&[]))).await.unwrap();
    assert_eq!(store.note(SHARD, MINE, at(7), 2).await.unwrap(), YES(1));
}

pub(crate) async fn an_owner_before_notes_and_sets_aside_nothing(store: Store) {
    store.claim(SHARD, MINE).await.unwrap();
    assert_eq!(store.note(SHARD, MINE, at(7), 2).await.unwrap(), YES(0));
    store.claim(SHARD, HIGHER).await.unwrap();
    assert_eq!(store.note(SHARD, MINE, at(7), 2).await.unwrap(), NoteAnswer::Outranked(HIGHER));
    assert_eq!(store.take_back(SHARD, MINE, at(7)).await.unwrap(), Fenced::Outranked(HIGHER));
    assert_eq!(store.set_aside(SHARD, MINE, &event(7)).await.unwrap(), Fenced::Outranked(HIGHER));
    assert_eq!(store.list_aside(SHARD.slot()).await.unwrap(), []);
    assert_eq!(store.note(SHARD, HIGHER, at(7), 2).await.unwrap(), YES(1), "its note was not taken back");
}

pub(crate) async fn event_set_aside_is_listed_shown_and_dropped(store: Store) {
    assert_eq!(store.list_aside(SHARD.slot()).await.unwrap(), []);
    assert_eq!(store.get_aside(SHARD.slot(), at(7)).await.unwrap(), None);
    assert!(!store.drop_aside(SHARD.slot(), at(7)).await.unwrap());
    for sequence in [10, 7, 9] {
        assert_eq!(store.set_aside(SHARD, MINE, &event(sequence)).await.unwrap(), DONE);
    }
    let again = SetAside { text: "again".into(), ..event(9) };
    assert_eq!(store.set_aside(SHARD, MINE, &again).await.unwrap(), DONE);
    let list = store.list_aside(SHARD.slot()).await.unwrap();
    assert_eq!(list, [7, 9, 10].map(|sequence| event(sequence).summary), "by position");
    assert_eq!(store.get_aside(SHARD.slot(), at(7)).await.unwrap(), Some(event(7)));
    assert_eq!(store.get_aside(SHARD.slot(), at(9)).await.unwrap(), Some(again));
    assert_eq!(store.list_aside(ShardSlot(4)).await.unwrap(), [], "shards are apart");
    assert!(store.drop_aside(SHARD.slot(), at(7)).await.unwrap());
    assert_eq!(store.get_aside(SHARD.slot(), at(7)).await.unwrap(), None);
    assert_eq!(store.list_aside(SHARD.slot()).await.unwrap().len(), 2);
}

pub(crate) async fn setting_aside_leaves_the_notes(store: Store) {
    assert_eq!(store.note(SHARD, LOWER, at(7), 2).await.unwrap(), YES(0));
    store.set_aside(SHARD, MINE, &event(7)).await.unwrap();
    assert_eq!(store.note(SHARD, MINE, at(7), 1).await.unwrap(), NO(1));
}

pub(crate) async fn oldest_of_more_than_a_hundred_is_dropped(store: Store) {
    // The first is the last by its position, and the oldest all the same.
    store.set_aside(SHARD, MINE, &event(1_000)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    for sequence in 1..MOST_SET_ASIDE as u64 {
        assert_eq!(store.set_aside(SHARD, MINE, &event(sequence)).await.unwrap(), DONE);
    }
    assert_eq!(
        store.set_aside(SHARD, MINE, &event(50)).await.unwrap(),
        DONE,
        "one that is there takes no room"
    );
    let full = store.set_aside(SHARD, MINE, &event(0)).await.unwrap();
    assert_eq!(full, Fenced::Done { forgotten: 1 });
    let list = store.list_aside(SHARD.slot()).await.unwrap();
    let kept: Vec<u64> = list.iter().map(|event| event.at.sequence).collect();
    assert_eq!(kept, (0..MOST_SET_ASIDE as u64).collect::<Vec<_>>());
    assert_eq!(store.get_aside(SHARD.slot(), at(1_000)).await.unwrap(), None);
}

pub(crate) async fn oldest_of_too_many_bytes_are_dropped(store: Store) {
    let sized = |sequence, bytes| SetAside { text: noise(bytes).into(), ..event(sequence) };
    let set_aside = async |sequence, bytes| {
        // Of events of the same millisecond the lowest position counts as the oldest.
        let Fenced::Done { forgotten } = store.set_aside(SHARD, MINE, &sized(sequence, bytes)).await.unwrap()
        else {
            panic!("outranked");
        };
        let list = store.list_aside(SHARD.slot()).await.unwrap();
        (forgotten, list.iter().map(|event| event.at.sequence).collect::<Vec<_>>())
    };
    // Redis has compressed texts, of four fifths of these sizes.
    let quarter = MOST_SET_ASIDE_BYTES / 4 - 4096;
    for sequence in 1..=4 {
        assert_eq!(set_aside(sequence, quarter).await, (0, (1..=sequence).collect()));
    }
    assert_eq!(set_aside(4, quarter).await, (0, vec![1, 2, 3, 4]), "one that is there takes no room");
    assert_eq!(set_aside(5, 2 * quarter).await, (2, vec![3, 4, 5]));
    assert_eq!(set_aside(6, 6 * quarter).await, (3, vec![6]), "the newest is kept");
    assert_eq!(store.get_aside(SHARD.slot(), at(6)).await.unwrap(), Some(sized(6, 6 * quarter)));
    assert_eq!(set_aside(7, 1).await, (1, vec![7]));
}

/// A text that cannot be compressed to much less: to about four fifths.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + (state >> 32) as u8 % 94)
    };
    (0..bytes).map(next).collect()
}

pub(crate) async fn notes_of_an_owner_can_be_voided(store: Store) {
    let (one, two) = (Epoch(MINE.0 - 2), Epoch(MINE.0 - 1));
    for owner in [one, two, MINE] {
        for event in [1, 2] {
            store.note(SHARD, owner, at(event), 9).await.unwrap();
        }
    }
    let before = async |event| match store.note(SHARD, MINE, at(event), 0).await.unwrap() {
        NoteAnswer::No { before } => before,
        other => panic!("{other:?}"),
    };
    assert_eq!(store.void_notes(SHARD, MINE, Some(at(1)), &[two, MINE]).await.unwrap(), DONE);
    assert_eq!((before(1).await, before(2).await), (1, 2), "only the notes of one event go");
    assert_eq!(store.void_notes(SHARD, MINE, None, &[one]).await.unwrap(), DONE);
    assert_eq!((before(1).await, before(2).await), (0, 1), "of all");
    assert_eq!(store.void_notes(SHARD, MINE, None, &[]).await.unwrap(), DONE);
    assert_eq!(before(2).await, 1);
}
