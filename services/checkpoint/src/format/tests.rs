//! Everything survives, and nothing else is taken for a record.

use proptest::prelude::*;

use super::*;
use fleet_model::Position;

use crate::{Extras, GuildCore, Members, PendingEvent, Session};

fn bytes() -> impl Strategy<Value = Bytes> {
    // Random bytes hardly shrink, repeated ones do; both sides of the size from which records are compressed.
    (prop::collection::vec(any::<u8>(), 0..40), 0usize..40)
        .prop_map(|(part, times)| part.repeat(times).into())
}

fn format() -> impl Strategy<Value = u16> {
    FORMAT_MIN..=FORMAT_MAX
}

fn session() -> impl Strategy<Value = Session> {
    let texts = (".{0,40}", ".{0,40}", ".{0,20}", prop::collection::vec(".{0,12}", 0..4));
    (texts, any::<[u64; 3]>(), any::<u32>()).prop_map(|(texts, numbers, total)| Session {
        id: texts.0,
        resume_url: texts.1,
        ordinal: numbers[0],
        shard: total.is_multiple_of(2).then_some(fleet_model::ShardSlot(total)),
        total,
        intents: numbers[1],
        transport: texts.2,
        resources: texts.3,
        opened_at_unix_ms: numbers[2],
    })
}

fn head() -> impl Strategy<Value = Head> {
    let expecting = prop::collection::vec(any::<u64>(), 0..100);
    let texts = prop::option::of(".{0,50}");
    (session(), any::<[u64; 2]>(), expecting, prop::option::of(bytes()), texts, any::<bool>()).prop_map(
        |(session, [read, read_at_unix_ms], expecting, own_user, presence, exact)| Head {
            session,
            read,
            read_at_unix_ms,
            expecting,
            doubt: read as u32 % 4,
            own_user,
            presence,
            epoch: fleet_model::Epoch(read),
            exact,
        },
    )
}

fn record() -> impl Strategy<Value = (RecordKey, Record)> {
    let core = (any::<(u64, Option<u64>, u32, bool)>(), prop::collection::vec(any::<u64>(), 0..40));
    let core =
        (core, prop::option::of(bytes()), bytes()).prop_map(|((plain, in_voice), object, voice_states)| {
            let (stamp, members, channels, unavailable) = plain;
            Record::Core(GuildCore {
                stamp,
                members,
                channels,
                in_voice,
                unavailable,
                object,
                voice_states,
                member_blocks: channels,
                doubt: channels % 8,
            })
        });
    let extras = [bytes(), bytes(), bytes(), bytes()].prop_map(|[emojis, stickers, stages, events]| {
        Record::Extras(Extras { emojis, stickers, stage_instances: stages, scheduled_events: events })
    });
    let members = (any::<u64>(), bytes()).prop_map(|(stamp, list)| Record::Members(Members { stamp, list }));
    let pending =
        (any::<u64>(), any::<bool>(), any::<u64>(), ".{0,400}").prop_map(|(sequence, started, at, text)| {
            Record::Pending(PendingEvent {
                position: Position::new(at, sequence),
                started,
                handled: false,
                received_at_unix_ms: at,
                text: text.into(),
            })
        });
    let any_record = prop_oneof![
        core,
        bytes().prop_map(Record::Channels),
        bytes().prop_map(Record::Roles),
        extras,
        members,
        pending
    ];
    (any::<(u64, u32)>(), any_record).prop_map(|((guild, block), record)| {
        let key = match &record {
            Record::Core(_) => RecordKey::Core(guild),
            Record::Channels(_) => RecordKey::Channels(guild),
            Record::Roles(_) => RecordKey::Roles(guild),
            Record::Extras(_) => RecordKey::Extras(guild),
            Record::Members(_) => RecordKey::Members(guild, block),
            Record::Pending(event) => RecordKey::Pending(event.position),
        };
        (key, record)
    })
}

proptest! {
    #[test]
    fn a_head_survives(head in head(), format in format()) {
        let sealed = encode_head(&head, format).unwrap();
        let opened = decode_head(&sealed).unwrap();
        prop_assert!(opened == head, "{:?} became {:?}", head, opened);
    }

    #[test]
    fn a_record_survives((key, record) in record(), format in format()) {
        let sealed = encode_record(&record, format).unwrap();
        let opened = decode_record(key, &sealed).unwrap();
        prop_assert!(opened == record, "{:?} became {:?}", record, opened);
        prop_assert_eq!(decode_head(&sealed), Err(FormatError::Misplaced));
    }

    #[test]
    fn truncated_record_is_reported(
        (key, record) in record(),
        format in format(),
        cut in any::<prop::sample::Index>(),
    ) {
        let sealed = encode_record(&record, format).unwrap();
        let cut = cut.index(sealed.len());
        let error = decode_record(key, &sealed[..cut]).unwrap_err();
        let told = matches!(error, FormatError::Truncated { have, need } if have == cut && need > cut);
        prop_assert!(told, "{} of {}: {:?}", cut, sealed.len(), error);
    }

    #[test]
    fn a_changed_byte_is_an_error(
        (key, record) in record(),
        format in format(),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let mut sealed = encode_record(&record, format).unwrap().to_vec();
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        prop_assert!(decode_record(key, &sealed).is_err(), "byte {} of {}", at, sealed.len());
        prop_assert!(decode_head(&sealed).is_err());
    }

    #[test]
    fn a_changed_head_is_an_error(head in head(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut sealed = encode_head(&head, FORMAT_MAX).unwrap().to_vec();
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        prop_assert!(decode_head(&sealed).is_err(), "byte {} of {}", at, sealed.len());
        prop_assert!(decode_head(&sealed[..at]).is_err());
    }

    #[test]
    fn noise_is_an_error(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        named in prop::option::of(format()),
    ) {
        let mut noise = noise;
        if let Some(format) = named {
            noise.splice(0..noise.len().min(4), [0xa1, 0xc9, format as u8, 0]);
        }
        prop_assert!(decode_head(&noise).is_err());
        prop_assert!(decode_record(RecordKey::Core(1), &noise).is_err());
    }
}

fn channels(size: usize) -> Record {
    Record::Channels(vec![b'x'; size].into())
}

/// An envelope around a payload whose other fields are right.
fn envelope(flags: u8, size: u32, payload: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0xa1, 0xc9, 1, 0, flags];
    sealed.extend((payload.len() as u32).to_le_bytes());
    sealed.extend(size.to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&sealed);
    checksum.update(payload);
    sealed.extend(checksum.finalize().to_le_bytes());
    sealed.extend(payload);
    sealed
}

#[test]
fn format_1_is_what_it_was() {
    // As long as format 1 is read, these bytes are: a change here breaks every fleet that is being upgraded.
    let plain = encode_record(&Record::Roles("[]".into()), 1).unwrap();
    assert_eq!(plain[..], envelope(0, 4, &[0x22, 2, b'[', b']'])[..]);
    assert_eq!(plain[13..17], [0x5c, 0x22, 0x03, 0x0e], "{plain:02x?}");
    let event = PendingEvent {
        position: Position::new(0, 300),
        started: true,
        handled: false,
        received_at_unix_ms: 1,
        text: "{}".into(),
    };
    let payload = [0x3a, 11, 0x08, 0xac, 0x02, 0x10, 1, 0x18, 1, 0x22, 2, b'{', b'}'];
    let read = decode_record(RecordKey::Pending(Position::new(0, 300)), &envelope(0, 13, &payload)).unwrap();
    let event = Record::Pending(event);
    assert_eq!(encode_record(&event, 1).unwrap(), envelope(0, 13, &payload));
    assert_eq!(read, event);
    let not_text = [0x3a, 7, 0x08, 0xac, 0x02, 0x22, 2, b'{', 0xff];
    let read = decode_record(RecordKey::Pending(Position::new(0, 300)), &envelope(0, 9, &not_text));
    assert_eq!(read, Err(FormatError::Damaged("its fields cannot be read")));
}

/// A small record of the kind that there are most of.
fn message() -> Record {
    let text = r#"{"t":"MESSAGE_CREATE","s":7,"op":0,"d":{"type":0,"tts":false,"timestamp":"2026-01-02T03:04:05.678000+00:00","pinned":false,"mentions":[],"mention_roles":[],"mention_everyone":false,"id":"1456082228613119728","flags":0,"embeds":[],"content":"hello","channel_id":"277769961243174409"}}"#;
    Record::Pending(PendingEvent {
        position: Position::new(1, 7),
        started: false,
        handled: false,
        received_at_unix_ms: 1,
        text: text.into(),
    })
}

/// A list of one role, as the first version with format 2 wrote it.
const ROLES_2: [u8; 50] = [
    0xa1, 0xc9, 0x02, 0x00, 0x01, 0x21, 0x00, 0x00, 0x00, 0x5d, 0x00, 0x00, 0x00, 0xa9, 0xdb, 0x97, 0x72,
    0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x5d, 0xc5, 0x00, 0x00, 0x28, 0x22, 0x5b, 0x37, 0x7d, 0x5d, 0x05, 0x00,
    0xfd, 0x14, 0x3c, 0x52, 0x58, 0x04, 0xe8, 0x4c, 0x06, 0xf0, 0xc1, 0x0c, 0xa8, 0xf0, 0x80, 0x58,
];

#[test]
fn format_2_is_what_it_was() {
    // As for format 1. A frame is read with the dictionary that it was written with, or not at all.
    let dictionary = crc32fast::hash(include_bytes!("dictionary-2.txt"));
    assert_eq!(dictionary, 0x703c_0835, "{dictionary:#010x}");
    let roles = Record::Roles(
        r#"[{"color":0,"hoist":false,"id":"7","managed":false,"mentionable":false,"name":"@everyone"}]"#
            .into(),
    );
    assert_eq!(decode_record(RecordKey::Roles(1), &ROLES_2).unwrap(), roles);
    let written = encode_record(&message(), 2).unwrap();
    assert_eq!(written[2..5], [2, 0, 1]);
    let mut as_format_1 = written.to_vec();
    as_format_1[2] = 1;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&as_format_1[..13]);
    checksum.update(&as_format_1[17..]);
    as_format_1[13..17].copy_from_slice(&checksum.finalize().to_le_bytes());
    let misread = decode_record(RecordKey::Pending(Position::new(1, 7)), &as_format_1).unwrap_err();
    assert_eq!(misread, FormatError::Damaged("it cannot be decompressed"));
}

#[test]
fn small_records_get_small_in_format_2() {
    let [before, after] = [1, 2].map(|format| encode_record(&message(), format).unwrap().len());
    assert!(after * 3 < before * 2, "{before} bytes became {after}");
}

#[test]
fn another_format_is_named() {
    let mut sealed = encode_record(&channels(9), 1).unwrap().to_vec();
    sealed[2] = 4;
    let error = decode_record(RecordKey::Channels(1), &sealed).unwrap_err();
    assert_eq!(error, FormatError::Newer { format: 4 });
    assert_eq!(
        error.to_string(),
        "the record has format 4, this version reads 1 to 3: a newer version wrote it"
    );
    assert_eq!(format_of(&sealed), Some(4));
    assert_eq!(format_of(b"{\"id\":1}"), None);
    // Bytes of a newer format after its number do not matter.
    assert_eq!(decode_head(&[0xa1, 0xc9, 0, 1]), Err(FormatError::Newer { format: 256 }));
    assert_eq!(decode_head(&[0xa1, 0xc9, 0, 0]), Err(FormatError::Older { format: 0 }));
    assert_eq!(encode_record(&channels(9), 4), Err(FormatError::Newer { format: 4 }));
    assert_eq!(encode_record(&channels(9), 0), Err(FormatError::Older { format: 0 }));
}

#[test]
fn foreign_bytes_are_rejected() {
    for bytes in [b"{\"id\":1}".as_slice(), b"x", &[0xa1, 0xc8], &[0; 64]] {
        assert_eq!(decode_head(bytes), Err(FormatError::Unexpected), "{bytes:?}");
    }
    assert_eq!(decode_head(&[]), Err(FormatError::Truncated { have: 0, need: 17 }));
}

#[test]
fn record_must_match_its_key() {
    let sealed = encode_record(&channels(9), 1).unwrap();
    assert_eq!(decode_record(RecordKey::Roles(1), &sealed), Err(FormatError::Misplaced));
    assert_eq!(decode_record(RecordKey::Members(1, 0), &sealed), Err(FormatError::Misplaced));
    let event = PendingEvent {
        position: Position::new(9, 3),
        started: false,
        handled: false,
        received_at_unix_ms: 1,
        text: "".into(),
    };
    let sealed = encode_record(&Record::Pending(event), 1).unwrap();
    assert_eq!(decode_record(RecordKey::Pending(Position::new(9, 4)), &sealed), Err(FormatError::Misplaced));
}

#[test]
fn only_records_that_shrink_are_compressed() {
    let compressed = encode_record(&channels(10_000), 1).unwrap();
    assert!(compressed.len() < 200 && compressed[4] == 1, "{} bytes", compressed.len());
    assert_eq!(encode_record(&channels(200), 1).unwrap()[4], 0, "too small to be worth it");
    let mut number = 1u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (number >> 24) as u8
    })
    .take(10_000)
    .collect();
    let plain = encode_record(&Record::Channels(noise.into()), 1).unwrap();
    assert!(plain[4] == 0 && plain.len() < 10_040, "{} bytes", plain.len());
}

#[test]
fn oversized_record_is_not_decompressed() {
    let size = LARGEST as u32 + 1;
    assert_eq!(decode_head(&envelope(1, size, b"x")), Err(FormatError::TooLarge { bytes: size as usize }));
    let zeros = zstd::bulk::compress(&vec![0; 1_000_000], 1).unwrap();
    let more = decode_head(&envelope(1, 999_999, &zeros)).unwrap_err();
    assert_eq!(more, FormatError::Damaged("it cannot be decompressed"), "more than the header says");
    let less = decode_head(&envelope(1, 1_000_001, &zeros)).unwrap_err();
    assert_eq!(less, FormatError::Damaged("its size differs"));
    assert_eq!(
        encode_record(&channels(LARGEST), 1).unwrap_err(),
        FormatError::TooLarge { bytes: LARGEST + 5 }
    );
    let whole = encode_record(&channels(LARGEST - 5), 1).unwrap();
    assert!(decode_record(RecordKey::Channels(1), &whole).is_ok());
}

#[test]
fn a_record_without_content_is_refused() {
    assert_eq!(decode_head(&envelope(0, 0, &[])), Err(FormatError::Misplaced));
    assert_eq!(decode_head(&envelope(0, 2, &[0x0a, 0])), Err(FormatError::Damaged("it has no session")));
    assert_eq!(
        decode_head(&envelope(0, 2, &[0x0a, 9])),
        Err(FormatError::Damaged("its fields cannot be read"))
    );
    assert_eq!(decode_head(&envelope(7, 0, &[])), Err(FormatError::Damaged("its compression is unknown")));
}
