use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

static CODEC: LazyLock<Codec> = LazyLock::new(Codec::new);

proptest! {
    #[test]
    fn newest_block_that_may_hold_an_id_decides(
        ranges in proptest::collection::btree_map(0_u64..60, (1_u64..30, 0_u64..6, any::<bool>()), 1..12),
        odd in 1_u64..4,
    ) {
        let mut pieces = Vec::new();
        for (low, (length, stamp, ends)) in &ranges {
            let high = if *ends { low + length } else { u64::MAX };
            let ids = (*low..low + length).filter(|id| id % odd == 0 || id == low);
            let texts: Vec<(u64, String)> = ids.map(|id| (id, format!("{stamp}.{low}.{id}"))).collect();
            let block = Block::pack(*low, texts.iter().map(|(id, text)| (*id, text.as_str())), &CODEC);
            pieces.push((*low, Piece { high, stamp: *stamp, block, voice: vec![(*low, 1)] }));
        }
        let of = |id: u64| {
            let may_hold = pieces.iter().filter(|(low, piece)| *low <= id && id < piece.high);
            let newest = may_hold.max_by_key(|(low, piece)| (piece.stamp, *low))?;
            newest.1.block.get(id, &CODEC)
        };
        let expected: Vec<(u64, String)> = (0..100).filter_map(|id| Some((id, of(id)?))).collect();
        let lows: Vec<u64> = pieces.iter().map(|(low, _)| *low).collect();
        let stayed = |low: &u64, kept: &[(u64, Piece)]| kept.iter().any(|(kept, _)| kept == low);
        let mut touched = Vec::new();
        let kept = without_overlaps(pieces, &CODEC, &mut touched);
        prop_assert!(kept.windows(2).all(|pair| pair[0].1.high <= pair[1].0));
        let mut found = Vec::new();
        for (low, piece) in &kept {
            prop_assert!(piece.block.low == *low && piece.block.ids().all(|id| *low <= id && id < piece.high));
            prop_assert!(piece.voice.iter().all(|(user, _)| piece.block.contains(*user)));
            piece.block.each(&CODEC, |id, text| found.push((id, text.to_owned())));
        }
        prop_assert_eq!(found, expected);
        for low in lows {
            prop_assert!(stayed(&low, &kept) || touched.contains(&low), "the record of {} must be removed", low);
        }
    }
}
