//! The pure parts of `cargo bench -p chaos --bench peers`.

#[allow(dead_code, reason = "the benchmark uses the rest")]
#[path = "../../benches/peers/chart.rs"]
mod chart;
#[path = "../../benches/peers/figures.rs"]
mod figures;
#[allow(dead_code, reason = "the benchmark uses the rest")]
#[path = "../../benches/peers/seen.rs"]
mod seen;
#[path = "../../benches/peers/tables.rs"]
mod tables;
#[path = "../../benches/peers/verdict.rs"]
mod verdict;
#[allow(dead_code, reason = "benchmarks use the rest")]
#[path = "../../../guild-cache/benches/guilds/world.rs"]
mod world;

use std::collections::BTreeMap;

use figures::{Measured, medians};
use seen::{Account, Seen};
use verdict::{Known, Question, Said, Tally, Truth, Verdict, percentile};
use world::{Random, Size, guild};

fn known(name: &str, members: u64) -> Known {
    Known { name: name.to_owned(), members }
}

fn measured(figures: &[(&str, f64)]) -> Measured {
    let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    Measured { figures, failures: BTreeMap::new() }
}

#[test]
fn answers_are_judged_by_the_truth() {
    let truth = Truth(BTreeMap::from([(1, known("one", 5)), (2, known("two", 6))]));
    let total = |guilds, is_complete| truth.judge(Question::Total, &Said::Total { guilds, is_complete });
    assert_eq!(total(2, true), Verdict::Right);
    assert_eq!(total(1, true), Verdict::Wrong);
    assert_eq!(total(1, false), Verdict::Incomplete);
    let guild =
        |id, found, is_complete| truth.judge(Question::Guild(id), &Said::Guild { found, is_complete });
    assert_eq!(guild(1, Some(known("one", 5)), true), Verdict::Right);
    assert_eq!(guild(1, Some(known("", 5)), true), Verdict::Wrong);
    assert_eq!(guild(1, None, true), Verdict::Wrong);
    assert_eq!(guild(3, None, true), Verdict::Right);
    assert_eq!(guild(1, None, false), Verdict::Incomplete);
    assert_eq!(truth.judge(Question::Total, &Said::Nothing), Verdict::Unanswered);
    // An answer to the other question.
    assert_eq!(
        truth.judge(Question::Guild(1), &Said::Total { guilds: 2, is_complete: true }),
        Verdict::Wrong
    );

    let mut tally = Tally::default();
    for verdict in [Verdict::Right, Verdict::Wrong, Verdict::Incomplete, Verdict::Unanswered, Verdict::Wrong]
    {
        tally.add(verdict, 1.0);
    }
    assert_eq!((tally.calls(), tally.wrong, tally.incomplete, tally.unanswered), (5, 2, 1, 1));
}

#[test]
fn percentiles_are_values_that_occurred() {
    let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
    let at = |share| percentile(&values, share).unwrap() as u32;
    assert_eq!((at(0.0), at(0.5), at(0.99), at(1.0)), (1, 50, 99, 100));
    assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
    assert_eq!(percentile(&[], 0.5), None);
}

#[test]
fn lost_and_repeated_messages_are_counted_per_phase() {
    let mut seen = Seen::default();
    // 1 and 2 are of an earlier phase; 4 is lost; 5 came twice, the second time marked; 6 came twice without a mark.
    for (number, is_marked) in
        [(1, false), (1, false), (3, false), (5, false), (5, true), (6, false), (6, false)]
    {
        seen.add(number, is_marked);
    }
    assert_eq!(seen.account(3..=6), Account { sent: 4, lost: 1, twice: 2, twice_unmarked: 1 });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("7.seen"), "1\n2\n2\n").unwrap();
    let start = r#"{"line":"start","at_us":1,"shard":0,"epoch":1,"session":1,"sequence":2,"name":"MESSAGE_CREATE","replayed":true,"message":3}"#;
    std::fs::write(folder.path().join("w0-1.ledger"), format!("{start}\n{start}\n")).unwrap();
    let seen = Seen::read(folder.path()).unwrap();
    assert_eq!(seen.account(1..=4), Account { sent: 4, lost: 1, twice: 2, twice_unmarked: 1 });
}

#[test]
fn tables_have_ratios_and_reasons_of_failures() {
    let ours =
        measured(&[("start_pss_mib", 100.0), ("start_cpu_s", 0.5), ("kill_lost", 0.0), ("kill_sent", 7.0)]);
    let mut peer = measured(&[
        ("start_pss_mib", 1_234.0),
        ("start_cpu_s", 1.25),
        ("kill_lost", 32.0),
        ("kill_sent", 14.0),
    ]);
    peer.failures.insert("deploy", "not done within 360 s\nand more".to_owned());
    let text = tables::markdown(&[("ours", ours), ("peer", peer)]);
    let row = |what: &str| text.lines().find(|line| line.contains(what)).unwrap().to_owned();
    assert_eq!(row("(PSS)"), "| memory of all processes (PSS) | 100 MiB | 1,234 MiB (12 x) |");
    assert_eq!(
        row("until all guilds"),
        "| processor time until all guilds are cached | 0.50 s | 1.2 s (2.5 x) |"
    );
    // There is no ratio to nothing, and none of what is no cost.
    assert_eq!(row("SIGKILL: events lost"), "| SIGKILL: events lost | 0 | 32 |");
    assert_eq!(row("SIGKILL: events sent"), "| SIGKILL: events sent | 7 | 14 |");
    assert_eq!(row("SIGKILL: IDENTIFYs"), "| SIGKILL: IDENTIFYs | – | – |");
    assert_eq!(row("duration"), "| duration | – | failed: not done within 360 s |");
}

#[test]
fn medians_are_of_the_runs_that_have_the_figure() {
    let mut failed = measured(&[("a", 9.0)]);
    failed.failures.insert("b", "why".to_owned());
    let runs = [measured(&[("a", 1.0), ("b", 4.0)]), failed, measured(&[("a", 2.0), ("b", 6.0)])];
    let medians = medians(&runs);
    assert_eq!(medians.figures, measured(&[("a", 2.0), ("b", 5.0)]).figures);
    assert_eq!(medians.failures["b"], "why");
}

#[test]
fn chart_says_its_figures_in_words() {
    let systems =
        [("ours", measured(&[("start_pss_mib", 100.0)])), ("a < b", measured(&[("start_pss_mib", 200.4)]))];
    let svg = chart::svg(&systems);
    assert!(svg.starts_with("<svg ") && svg.contains("<title "), "{svg}");
    assert!(svg.contains("Memory with all guilds cached: ours 100 MiB, a &lt; b 200 MiB."), "{svg}");
    assert!(!svg.contains("a < b"), "{svg}");
}

#[test]
fn guild_sizes_are_skewed_and_follow_from_the_seed() {
    let sizes = |seed| {
        let mut random = Random(seed);
        let mut sizes: Vec<usize> = (0..2_000).map(|_| Size::skewed(&mut random).members).collect();
        sizes.sort_unstable();
        sizes
    };
    let all = sizes(1);
    assert_eq!(all, sizes(1));
    assert_ne!(all, sizes(2));
    let total: usize = all.iter().sum();
    let largest: usize = all[1_900..].iter().sum();
    assert!(
        largest * 10 > total * 4,
        "the largest twentieth has less than 40 % of all: {largest} of {total}"
    );
    assert!(all[1_000] < 10 && all[1_999] > 300, "{} and {}", all[1_000], all[1_999]);
    let text = |seed| guild(&mut Random(seed), Size::skewed(&mut Random(seed))).text;
    assert_eq!(text(3), text(3));
    assert_ne!(text(3), text(4));
}
