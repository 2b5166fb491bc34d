//! Whole screens, on a fixed clock.

use std::{collections::HashSet, time::Duration};

use altergolden_proto::v1::{self, PlanState, ProblemWeight, ShardStatus};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Cell,
    style::{Color, Modifier},
};

use super::*;
use crate::watch::state::{Key, News};

mod screens;

/// 23:18:47 UTC on 22 November 2026.
const UNIX_MS: u64 = 1_795_389_527_000;

fn shard(shard_id: u32, worker: &str, status: ShardStatus) -> v1::Shard {
    v1::Shard {
        shard_id,
        worker_id: worker.to_owned(),
        epoch: UNIX_MS - 200_000,
        status: status.into(),
        guilds: 1_000 + shard_id,
        latency_ms: Some(41.25),
        sequence: 1_000,
        uptime_seconds: 195,
        age_ms: Some(300),
        detail: String::new(),
        outcome: Some(v1::StartOutcome {
            kind: v1::StartKind::Resumed.into(),
            took_ms: 240,
            replayed: 3,
            at_unix_ms: UNIX_MS - 195_000,
            gap: None,
        }),
        since_unix_ms: None,
    }
}

fn worker(name: &str, generation: &str, shards: (u32, u32)) -> v1::Worker {
    v1::Worker {
        worker_id: name.to_owned(),
        url: "http://127.0.0.1:41235".to_owned(),
        version: "0.1.0".to_owned(),
        shards: vec![v1::ShardRange { first: shards.0, last: shards.1, epoch: 1 }],
        rss_bytes: 99 << 20,
        connected: true,
        last_heard_ms: 300,
        generation: generation.to_owned(),
        ..v1::Worker::default()
    }
}

fn fleet(shards: Vec<v1::Shard>, workers: Vec<v1::Worker>) -> v1::FleetStatus {
    v1::FleetStatus {
        acting: true,
        term: 1_795_389_000_000,
        shard_total: shards.len() as u32,
        shards,
        workers,
        identify_budget: Some(v1::IdentifyBudget {
            total: 1_000,
            remaining: 991,
            reserve: 50,
            resets_in_ms: 80_000_000,
            waiting: 0,
            max_concurrency: 1,
            last_turn_in_ms: None,
        }),
        active_generation: "blue".to_owned(),
        ..v1::FleetStatus::default()
    }
}

/// Two workers with two shards each.
fn small_fleet() -> v1::FleetStatus {
    let shards = (0..4).map(|id| shard(id, if id < 2 { "worker-0" } else { "worker-1" }, ShardStatus::Ready));
    let workers = vec![worker("worker-0", "blue", (0, 1)), worker("worker-1", "blue", (2, 3))];
    fleet(shards.collect(), workers)
}

/// `workers` workers with equal shares of `shards` shards.
fn large_fleet(shards: u32, workers: u32) -> v1::FleetStatus {
    let share = shards / workers;
    let all = (0..shards).map(|id| shard(id, &format!("worker-{}", id / share), ShardStatus::Ready));
    let workers =
        (0..workers).map(|n| worker(&format!("worker-{n}"), "blue", (n * share, n * share + share - 1)));
    fleet(all.collect(), workers.collect())
}

/// A screen that has just received two statuses, a second apart, with 128 events a second on each shard.
fn state(fleet: v1::FleetStatus) -> State {
    let mut state = State::new("http://127.0.0.1:50051", (80, 24));
    for seconds in [9, 10] {
        let mut fleet = fleet.clone();
        for shard in &mut fleet.shards {
            shard.sequence += 128 * seconds;
        }
        state.apply(News::Status(Box::new(fleet)), Duration::from_secs(seconds));
    }
    state
}

/// 0.4 s after the last status.
fn now() -> Now {
    Now { mono: Duration::from_millis(10_400), unix_ms: UNIX_MS }
}

fn drawn(state: &State, now: Now, colour: bool) -> Buffer {
    let (width, height) = state.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, now, Palette { colour }, frame.buffer_mut())).unwrap();
    terminal.backend().buffer().clone()
}

/// The rows of the screen, without spaces at their ends.
fn rows(state: &State, now: Now) -> Vec<String> {
    let buffer = drawn(state, now, false);
    let width = usize::from(buffer.area.width);
    let rows = buffer.content().chunks(width);
    rows.map(|row| row.iter().map(Cell::symbol).collect::<String>().trim_end().to_owned()).collect()
}

/// Asserts the whole screen; empty rows at the end of `expected` may be left out, the last row is the footer.
#[track_caller]
fn assert_screen(state: &State, now: Now, expected: &str) {
    let found = rows(state, now);
    let mut expected: Vec<&str> = expected.trim_start_matches('\n').lines().collect();
    let footer = expected.pop().unwrap();
    expected.resize(found.len() - 1, "");
    expected.push(footer);
    assert_eq!(found, expected, "\n{}\n", found.join("\n"));
}

fn press(state: &mut State, keys: &[Key]) {
    for key in keys {
        state.press(*key);
    }
}

fn type_text(state: &mut State, text: &str) {
    for letter in text.chars() {
        state.press(Key::Letter(letter));
    }
}

/// Four workers in a promotion: shards in every kind of state, a queue, problems.
fn busy_fleet() -> v1::FleetStatus {
    let mut fleet = large_fleet(16, 4);
    for (id, status) in [
        (3, ShardStatus::Queued),
        (5, ShardStatus::Moving),
        (6, ShardStatus::Resuming),
        (9, ShardStatus::Failed),
        (12, ShardStatus::Reconnecting),
    ] {
        fleet.shards[id].status = status.into();
    }
    fleet.shards[9].detail = "closed with 4014: Disallowed intent(s)".to_owned();
    fleet.shards[9].outcome = None;
    fleet.shards[12].outcome.as_mut().unwrap().gap = Some(v1::Gap {
        since_unix_ms: UNIX_MS - 200_000,
        until_unix_ms: UNIX_MS - 195_000,
        last_sequence: 1_234,
        reason: "the session was invalidated".to_owned(),
    });
    fleet.workers[2].generation = "green".to_owned();
    fleet.workers[3].draining = true;
    fleet.workers[1].connected = false;
    fleet.workers[1].last_heard_ms = 4_200;
    let budget = fleet.identify_budget.as_mut().unwrap();
    (budget.waiting, budget.last_turn_in_ms) = (8, Some(41_400));
    let steps = (0..12).map(|id| v1::PlanStep {
        shard_id: id,
        from: format!("worker-{}", id / 4),
        to: "green-0".to_owned(),
        identifies: id == 11,
        done: id < 5,
    });
    fleet.plan = Some(v1::Plan {
        id: 7,
        description: "promote generation green".to_owned(),
        state: PlanState::Running.into(),
        steps: steps.collect(),
        steps_done: 5,
        elapsed_ms: 5_000,
        estimated_ms: 9_000,
        ..v1::Plan::default()
    });
    let problem = |code: &str, message: &str, weight: ProblemWeight, ago_ms| v1::Problem {
        code: code.to_owned(),
        message: message.to_owned(),
        weight: weight.into(),
        since_unix_ms: Some(UNIX_MS - ago_ms),
        shards: Vec::new(),
    };
    fleet.problem_details = vec![
        problem("worker_cut_off", "worker worker-1 is cut off", ProblemWeight::Problem, 4_000),
        problem(
            "shard_failed",
            "shard 9 failed: closed with 4014: Disallowed intent(s): enable them for the application; next attempt in 10 min",
            ProblemWeight::Problem,
            190_000,
        ),
        problem(
            "shard_queued",
            "shard 3 waiting in the identify queue, 8 requests long: the last turn is in about 41 s",
            ProblemWeight::Progress,
            12_000,
        ),
    ];
    fleet
}

fn many_shards() -> v1::FleetStatus {
    let mut fleet = large_fleet(2_048, 32);
    for id in 700..740 {
        fleet.shards[id].status = ShardStatus::Queued.into();
    }
    fleet.shards[1_999].status = ShardStatus::Failed.into();
    fleet
}

#[test]
fn before_the_first_status_the_screen_says_what_it_waits_for() {
    let mut state = State::new("http://127.0.0.1:50051", (80, 24));
    assert_screen(
        &state,
        now(),
        "
 asking http://127.0.0.1:50051 for the fleet
 connecting
 1 overview  2 shards  3 workers  4 problems  5 plan  / filter  ? help  q quit",
    );
    state.apply(News::Status(Box::default()), Duration::from_secs(1));
    let rows = rows(&state, Now { mono: Duration::from_secs(1), ..now() });
    assert!(rows[0].contains("no shards yet") && rows[1].contains("standby"), "{rows:?}");
}

#[test]
fn colours_are_optional_and_letters_are_not() {
    let colours = |colour| {
        let buffer = drawn(&state(busy_fleet()), now(), colour);
        buffer.content().iter().map(|cell| cell.fg).collect::<HashSet<Color>>()
    };
    assert_eq!(colours(false), [Color::Reset].into());
    for colour in [Color::Green, Color::Yellow, Color::Red, Color::Cyan] {
        assert!(colours(true).contains(&colour), "{colour}");
    }
    // The selected shard is reversed, with and without colours.
    let buffer = drawn(&state(small_fleet()), now(), false);
    let reversed = buffer.content().iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count();
    assert!(reversed >= 2, "{reversed}");
}

#[test]
fn text_from_outside_is_escaped_everywhere() {
    let bad = "\u{1b}[31mred\u{202e}\n";
    let mut fleet = busy_fleet();
    for shard in &mut fleet.shards {
        (shard.worker_id, shard.detail) = (bad.to_owned(), bad.to_owned());
        let outcome = shard.outcome.get_or_insert_default();
        outcome.gap = Some(v1::Gap { reason: bad.to_owned(), ..v1::Gap::default() });
    }
    for worker in &mut fleet.workers {
        (worker.worker_id, worker.url) = (bad.to_owned(), bad.to_owned());
        (worker.generation, worker.version) = (bad.to_owned(), bad.to_owned());
    }
    for problem in &mut fleet.problem_details {
        (problem.code, problem.message) = (bad.to_owned(), bad.to_owned());
    }
    let plan = fleet.plan.as_mut().unwrap();
    (plan.description, plan.reason) = (bad.to_owned(), bad.to_owned());
    plan.state = PlanState::Paused.into();
    plan.steps[0].from = bad.to_owned();
    fleet.active_generation = bad.to_owned();
    let mut state = state(fleet);
    state.apply(News::Lost { reason: bad.to_owned(), next: Duration::ZERO }, Duration::from_secs(10));
    state.resize((200, 60));
    let mut shown = 0;
    for keys in [&[Key::Enter][..], &[Key::Escape], &[Key::Tab], &[Key::Tab], &[Key::Tab], &[Key::Tab]] {
        press(&mut state, keys);
        for row in rows(&state, now()) {
            assert!(!row.chars().any(|c| c.is_control() || c == '\u{202e}'), "{row:?}");
            shown += row.matches("\\u{1b}[31mred").count();
        }
    }
    assert!(shown > 20, "{shown}");
}

#[test]
fn every_size_and_page_is_drawn() {
    let fleets = [v1::FleetStatus::default(), small_fleet(), busy_fleet(), many_shards()];
    for fleet in fleets {
        let mut state = state(fleet);
        for (width, height) in [(1, 1), (2, 2), (7, 3), (20, 5), (40, 9), (80, 24), (81, 25), (250, 80)] {
            state.resize((width, height));
            for key in (1..=5).map(|page| Key::Letter(char::from_digit(page, 10).unwrap())) {
                press(&mut state, &[key, Key::End, Key::Enter]);
                drawn(&state, now(), true);
                press(
                    &mut state,
                    &[Key::Right, Key::Escape, Key::Escape, Key::PageUp, Key::Home, Key::Letter('?')],
                );
                drawn(&state, now(), false);
                press(&mut state, &[Key::Letter('?'), Key::Letter('/')]);
                drawn(&state, now(), true);
                press(&mut state, &[Key::Escape]);
            }
        }
    }
}

#[test]
fn hostile_figures_are_drawn() {
    let mut fleet = busy_fleet();
    for shard in &mut fleet.shards {
        (shard.shard_id, shard.guilds, shard.sequence) = (u32::MAX, u32::MAX, u64::MAX);
        (shard.uptime_seconds, shard.age_ms, shard.epoch) = (u64::MAX, Some(u64::MAX), u64::MAX);
        (shard.latency_ms, shard.status) = (Some(f64::MAX), 99);
        shard.outcome = Some(v1::StartOutcome {
            took_ms: u64::MAX,
            replayed: u64::MAX,
            at_unix_ms: u64::MAX,
            ..Default::default()
        });
    }
    for worker in &mut fleet.workers {
        (worker.rss_bytes, worker.last_heard_ms) = (u64::MAX, u64::MAX);
        worker.shards = vec![v1::ShardRange { first: u32::MAX, last: u32::MAX, epoch: 0 }; 2];
    }
    fleet.identify_budget = Some(v1::IdentifyBudget {
        total: u32::MAX,
        remaining: u32::MAX,
        reserve: u32::MAX,
        resets_in_ms: u64::MAX,
        waiting: u32::MAX,
        max_concurrency: u32::MAX,
        last_turn_in_ms: Some(u64::MAX),
    });
    let plan = fleet.plan.as_mut().unwrap();
    (plan.steps_done, plan.elapsed_ms, plan.estimated_ms, plan.state) = (u32::MAX, u64::MAX, u64::MAX, 77);
    let mut state = State::new("x", (80, 24));
    for seconds in 0..3 {
        state.apply(News::Status(Box::new(fleet.clone())), Duration::from_secs(seconds));
    }
    for _ in 0..10 {
        press(&mut state, &[Key::Enter]);
        drawn(&state, Now { mono: Duration::MAX, unix_ms: u64::MAX }, true);
        press(&mut state, &[Key::Escape, Key::Tab]);
        drawn(&state, Now::default(), true);
    }
}

#[test]
fn cursor_moves_by_cells_and_details_by_shards() {
    let mut state = state(large_fleet(64, 4));
    press(&mut state, &[Key::Down, Key::Right, Key::Right, Key::Left, Key::Enter]);
    assert_eq!(state.detail, Some(state.overview().cells.per_row as u32 + 1));
    press(&mut state, &[Key::Right]);
    let next = state.overview().cells.per_row as u32 + 2;
    assert_eq!((state.detail, state.selected()), (Some(next), next as usize));
    press(&mut state, &[Key::End, Key::Right]);
    assert_eq!(state.detail, Some(63));
    press(&mut state, &[Key::Escape, Key::Home, Key::Up, Key::Left]);
    assert_eq!((state.detail, state.selected()), (None, 0));
    // The failed shard of a group is opened.
    let mut state = self::state(many_shards());
    press(&mut state, &[Key::End, Key::Enter]);
    assert!(state.detail.unwrap() >= 2_000);
    press(&mut state, &[Key::Escape]);
    type_filter(&mut state, "fail");
    press(&mut state, &[Key::Enter]);
    assert_eq!(state.detail, Some(1_999));
}

fn type_filter(state: &mut State, text: &str) {
    press(state, &[Key::Letter('/')]);
    type_text(state, text);
    press(state, &[Key::Enter]);
}
