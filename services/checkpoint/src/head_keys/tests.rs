use std::fmt::Write as _;

use fleet_model::Epoch;
use proptest::prelude::*;

use super::*;
use crate::{FORMAT_MAX, FORMAT_MIN, Session, decode_head, encode_head};

const OLD: &[u8] = b"an old key with enough bytes";
const NEW: &[u8] = b"a new key with enough bytes";
const PLACE: HeadPlace<'_> = HeadPlace { fleet: "bot", slot: ShardSlot(3), serial: 7 };
const UNSIGNED: HeadSigning = HeadSigning { by: None, required: false };
const REQUIRED: HeadSigning = HeadSigning { by: None, required: true };

fn keys(keys: &[&[u8]]) -> HeadKeys {
    HeadKeys::new(keys).unwrap()
}

fn by(key: &[u8]) -> HeadSigning {
    HeadSigning { by: keys(&[key]).ids().first().copied(), required: false }
}

fn head() -> Head {
    Head {
        session: Session {
            id: "0123456789abcdef".to_owned(),
            resume_url: "wss://gateway.discord.gg".to_owned(),
            ordinal: 1,
            shard: Some(ShardSlot(3)),
            total: 16,
            intents: 3,
            transport: "json".to_owned(),
            resources: vec!["guilds".to_owned()],
            opened_at_unix_ms: 4,
        },
        read: 40,
        read_at_unix_ms: 5,
        expecting: vec![1],
        own_user: None,
        doubt: 0,
        presence: None,
        epoch: Epoch(9),
        exact: true,
    }
}

fn refused(read: Result<Head, ReadHeadError>) -> HeadRefused {
    match read {
        Err(ReadHeadError::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn head_signed_with_either_key_is_accepted_in_every_format() {
    let both = keys(&[NEW, OLD]);
    for format in FORMAT_MIN..=FORMAT_MAX {
        for signing in [by(OLD), by(NEW), REQUIRED] {
            let bytes = both.encode_head(&head(), format, PLACE, signing).unwrap();
            // Later steps raise the serial.
            for serial in [PLACE.serial, PLACE.serial + 9] {
                let place = HeadPlace { serial, ..PLACE };
                assert_eq!(both.decode_head(&bytes, place, REQUIRED), Ok(head()));
            }
            assert_eq!(HeadKeys::none().decode_head(&bytes, PLACE, REQUIRED), Ok(head()), "keyless");
            assert_eq!(decode_head(&bytes), Ok(head()), "as versions without signatures read it");
        }
    }
}

#[test]
fn unsigned_head_is_accepted_until_signatures_are_required() {
    let unsigned = keys(&[NEW]).encode_head(&head(), FORMAT_MAX, PLACE, UNSIGNED).unwrap();
    assert_eq!(unsigned, encode_head(&head(), FORMAT_MAX).unwrap());
    assert_eq!(keys(&[NEW]).decode_head(&unsigned, PLACE, by(NEW)), Ok(head()));
    assert_eq!(refused(keys(&[NEW]).decode_head(&unsigned, PLACE, REQUIRED)), HeadRefused::Unsigned);
    assert_eq!(HeadKeys::none().decode_head(&unsigned, PLACE, REQUIRED), Ok(head()));
}

#[test]
fn key_that_is_not_held_signs_and_checks_nothing() {
    let unsigned = keys(&[NEW]).encode_head(&head(), FORMAT_MAX, PLACE, by(OLD)).unwrap();
    assert_eq!(unsigned, encode_head(&head(), FORMAT_MAX).unwrap());
    let signed = keys(&[NEW, OLD]).encode_head(&head(), FORMAT_MAX, PLACE, by(OLD)).unwrap();
    let id = by(OLD).by.unwrap();
    for signing in [UNSIGNED, REQUIRED] {
        assert_eq!(refused(keys(&[NEW]).decode_head(&signed, PLACE, signing)), HeadRefused::UnknownKey(id));
    }
}

#[test]
fn head_of_another_place_is_refused_even_before_signatures_are_required() {
    let keys = keys(&[NEW]);
    let bytes = keys.encode_head(&head(), FORMAT_MAX, PLACE, by(NEW)).unwrap();
    for place in [
        HeadPlace { fleet: "bots", ..PLACE },
        HeadPlace { slot: ShardSlot(4), ..PLACE },
        HeadPlace { serial: PLACE.serial - 1, ..PLACE },
    ] {
        assert_eq!(refused(keys.decode_head(&bytes, place, by(NEW))), HeadRefused::WrongSignature);
    }
}

#[test]
fn any_change_of_a_signed_head_is_refused() {
    let keys = keys(&[NEW]);
    let signed = SignedHead::open(&keys.encode_head(&head(), FORMAT_MAX, PLACE, by(NEW)).unwrap()).unwrap();
    let (id, serial, tag) = signed.signature().unwrap();
    let changes: [fn(&mut Head); 6] = [
        |head| head.session.resume_url = "wss://gateway.discord.gg.evil".to_owned(),
        |head| head.session.id.push('0'),
        |head| head.session.total += 1,
        |head| head.session.shard = Some(ShardSlot(4)),
        |head| head.epoch.0 += 1,
        |head| head.read -= 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = head();
        change(&mut changed);
        let mut forged = SignedHead::unsigned(&changed);
        forged.sign(id, serial, tag);
        let read = keys.decode_head(&forged.seal(FORMAT_MAX).unwrap(), PLACE, by(NEW));
        assert_eq!(refused(read), HeadRefused::WrongSignature, "change {number}");
    }
    let mut forged = SignedHead::unsigned(&head());
    for tag in [&tag[..31], &[], &[0; 32]] {
        forged.sign(id, serial, tag);
        let read = keys.decode_head(&forged.seal(FORMAT_MAX).unwrap(), PLACE, by(NEW));
        assert_eq!(refused(read), HeadRefused::WrongSignature);
    }
    // The signature covers the format too.
    let read = keys.decode_head(&signed.seal(FORMAT_MIN).unwrap(), PLACE, by(NEW));
    assert_eq!(refused(read), HeadRefused::WrongSignature);
}

#[test]
fn keys_are_checked_and_never_shown() {
    let new = |keys: &[&[u8]]| HeadKeys::new(keys).unwrap_err();
    assert_eq!(new(&[b"short"]), InvalidHeadKeys::TooShort);
    assert_eq!(new(&[OLD, OLD]), InvalidHeadKeys::Same);
    assert_eq!(new(&[OLD, NEW, b"a third key with enough bytes"]), InvalidHeadKeys::TooMany);
    let both = keys(&[NEW, OLD]);
    let digest = digest::digest(&digest::SHA256, NEW);
    let mut hex = String::new();
    for byte in &digest.as_ref()[..4] {
        write!(hex, "{byte:02x}").unwrap();
    }
    assert_eq!(both.ids().first().unwrap().to_string(), hex);
    let shown = format!("{both:?} {both:#?} {:?}", both.encode_head(&head(), FORMAT_MAX, PLACE, by(NEW)));
    assert!(shown.contains("HeadKeys[HeadKeyId(") && !shown.contains("enough"), "{shown}");
    assert!(HeadKeys::none().ids().is_empty());
}

proptest! {
    #[test]
    fn no_bytes_panic_and_no_flipped_bit_is_accepted(at: prop::sample::Index, bit in 0u8..8, noise: Vec<u8>) {
        let keys = keys(&[NEW]);
        let mut bytes = keys.encode_head(&head(), FORMAT_MAX, PLACE, by(NEW)).unwrap().to_vec();
        let place = at.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assert!(keys.decode_head(&bytes, PLACE, REQUIRED).is_err());
        prop_assert!(keys.decode_head(&noise, PLACE, REQUIRED).is_err());
    }
}
