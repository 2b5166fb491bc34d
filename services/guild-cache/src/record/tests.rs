use proptest::prelude::*;

use super::*;

fn record(facts: &[u8], block: &[u8]) -> Vec<u8> {
    let key = RecordKey { guild: 7, kind: Kind::Members, low: 0 };
    Record { key, stamp: 5, high: u64::MAX, count: 1, size: 9, facts, block }.encode()
}

#[test]
fn record_round_trips() {
    let bytes = record(b"facts", b"block");
    let read = Record::decode(&bytes).unwrap();
    assert_eq!((read.key.guild, read.stamp, read.count, read.size), (7, 5, 1, 9));
    assert_eq!((read.facts, read.block), (&b"facts"[..], &b"block"[..]));
}

#[test]
fn mac_is_skipped() {
    let mut bytes = record(b"", b"block");
    bytes[5] = 32;
    bytes.splice(HEADER..HEADER, [9; 32]);
    let sum = checksum(&bytes, 32);
    bytes[CRC].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(Record::decode(&bytes).unwrap().block, b"block");
    bytes[5] = 255;
    assert!(Record::decode(&bytes).is_err());
}

#[test]
fn every_flipped_bit_and_every_cut_is_an_error() {
    let bytes = record(b"facts", b"some block");
    for length in 0..bytes.len() {
        assert!(Record::decode(&bytes[..length]).is_err(), "{length}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Record::decode(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn other_formats_are_refused() {
    let mut bytes = record(b"", b"");
    bytes[2] = 2;
    assert_eq!(Record::decode(&bytes), Err(RecordError::Format(2)));
    assert_eq!(Record::decode(b"{}"), Err(RecordError::Truncated));
}

proptest! {
    #[test]
    fn facts_come_back(
        members in proptest::option::of(0..=MOST_MEMBERS),
        channels in proptest::collection::btree_set(any::<u64>(), 0..20),
        voice in proptest::collection::btree_map(any::<u64>(), any::<u64>(), 0..20),
        doubt in 0_u32..16,
    ) {
        let facts = Facts {
            members,
            is_unavailable: doubt > 7,
            had_lists: doubt as u8,
            doubt: Doubt::of_bits(doubt),
            channels: channels.into_iter().collect(),
            voice: voice.into_iter().collect(),
        };
        prop_assert_eq!(Facts::decode(&facts.encode()), Ok(facts));
    }

    #[test]
    fn any_bytes_are_facts_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Facts::decode(&bytes);
    }
}
