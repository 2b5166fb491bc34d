use super::*;

fn shape() -> Shape {
    Shape { guilds: vec![1 << 22, 2 << 22], length: Duration::from_hours(1), ..Shape::default() }
}

#[test]
fn a_seed_is_a_plan() {
    let one = plan(1, &shape());
    assert_eq!(one, plan(1, &shape()));
    assert_ne!(one, plan(2, &shape()));
    assert!(one.is_sorted_by_key(|planned| planned.at));
    // What a seed means changes only with the kinds that it draws from: a seed in an old report still replays.
    let short = plan(7, &Shape { length: Duration::from_secs(20), ..Shape::default() });
    let text: Vec<String> = short.iter().map(ToString::to_string).collect();
    assert_eq!(text, SEED_7, "{text:#?}");
}

const SEED_7: &[&str] = &[
    "   2.859 s for  8.537 s  Switch(ResumeWhileOpen(Both))",
    "   2.946 s for  3.444 s  SecondCoordinator",
    "   5.054 s for  5.937 s  resumed_then_close with Close { shards: Some([8]), code: 4000, reason: \"\" }",
    "   6.397 s               Close { shards: Some([4]), code: 1001, reason: \"\" }",
    "   7.961 s for  0.473 s  Freeze { shards: Some([9]), on: true }",
    "   8.683 s               InvalidSession { shards: Some([8]), resumable: true }",
    "  14.802 s for  4.070 s  KillCoordinator",
    "  19.652 s               AcceptThenClose { connections: 1 }",
];

#[test]
fn every_default_kind_is_drawn_and_costly_kinds_only_on_request() {
    let drawn = plan(3, &shape());
    assert_eq!(cost(&drawn, &shape()), Cost::AtMost(0));
    let has = |wanted: fn(&Fault) -> bool| drawn.iter().any(|planned| wanted(&planned.fault));
    assert!(has(|fault| matches!(fault, Fault::KillWorker(2))));
    assert!(has(|fault| matches!(fault, Fault::StopWorker(_))));
    assert!(has(|fault| *fault == Fault::KillCoordinator));
    assert!(has(|fault| *fault == Fault::SecondCoordinator));
    assert!(has(|fault| *fault == Fault::EmptyRedis));
    assert!(has(|fault| *fault == Fault::PauseRedis));
    assert!(has(|fault| *fault == Fault::RedisAway));
    assert!(has(|fault| *fault == Fault::RestartFleet));
    assert!(has(|fault| matches!(fault, Fault::DrainWorker(_))));
    assert!(has(|fault| matches!(fault, Fault::Move(..))));
    assert!(has(|fault| *fault == Fault::Deploy));
    for wanted in [Link::WorkerCoordinator(0), Link::WorkerRedis(1), Link::CoordinatorRedis, Link::Discord] {
        assert!(drawn.iter().any(|planned| planned.fault == Fault::Cut(wanted)), "{wanted:?}");
        assert!(drawn.iter().any(|planned| planned.fault == Fault::Hang(wanted)), "{wanted:?}");
    }
    let once = |wanted: fn(&DiscordFault) -> bool| {
        drawn.iter().any(|planned| matches!(&planned.fault, Fault::Discord(fault) if wanted(fault)))
    };
    assert!(once(|fault| matches!(fault, DiscordFault::Reconnect { .. })));
    assert!(once(|fault| matches!(fault, DiscordFault::InvalidSession { resumable: true, .. })));
    assert!(once(|fault| matches!(fault, DiscordFault::Close { .. })));
    assert!(once(|fault| matches!(fault, DiscordFault::Abort { .. })));
    assert!(once(|fault| matches!(fault, DiscordFault::AcceptThenClose { .. })));
    let ended = |wanted: fn(&[DiscordFault; 2]) -> bool| {
        drawn.iter().any(|planned| matches!(&planned.fault, Fault::DiscordFor(both) if wanted(both)))
    };
    assert!(ended(|both| {
        matches!(both, [DiscordFault::Freeze { on: true, .. }, DiscordFault::Freeze { on: false, .. }])
    }));
    assert!(ended(|both| {
        matches!(
            both,
            [DiscordFault::GuildOutage { on: true, .. }, DiscordFault::GuildOutage { on: false, .. }]
        )
    }));
    for name in [
        "resumed_then_close",
        "resume_invalid_for_now",
        "slow_replay",
        "resume_url_unavailable",
        "resume_url_silent",
        "guild_emoji_name_null",
    ] {
        let is_it =
            |planned: &Planned| matches!(&planned.fault, Fault::Oddity(odd) if odd.preset.name == name);
        assert!(drawn.iter().any(is_it), "{name}");
    }
    assert!(has(|fault| matches!(fault, Fault::Switch(Switch::ResumeWhileOpen(ResumeWhileOpen::Both)))));

    let only = |kind| {
        let shape = Shape { kinds: vec![kind], length: Duration::from_mins(2), ..shape() };
        let drawn = plan(3, &shape);
        (drawn.len() as u32, cost(&drawn, &shape))
    };
    let (invalid, paid) = only(Kind::InvalidSession);
    assert!(invalid > 10);
    assert_eq!(paid, Cost::AtMost(invalid));
    let (slow, paid) = only(Kind::SlowReady);
    assert_eq!(paid, Cost::AtMost(slow));
    let (both, paid) = only(Kind::RedisEmptyAndWorkerKill);
    assert_eq!(paid, Cost::AtMost(both * 12));
    assert_eq!(only(Kind::CostlySwitch).1, Cost::Any);
    assert!(Cost::AtMost(2).allows(2) && !Cost::AtMost(2).allows(3) && Cost::Any.allows(99));
}

#[test]
fn heavy_faults_leave_time_to_recover() {
    let heavy: Vec<Planned> = plan(5, &shape())
        .into_iter()
        .filter(|planned| {
            !matches!(
                planned.fault,
                Fault::Discord(_) | Fault::DiscordFor(_) | Fault::Oddity(_) | Fault::Switch(_)
            )
        })
        .collect();
    assert!(heavy.len() > 100, "{}", heavy.len());
    for pair in heavy.windows(2) {
        assert!(pair[0].at + pair[0].lasts + shape().recovery <= pair[1].at, "{} {}", pair[0], pair[1]);
    }
}

#[test]
fn no_fault_lasts_longer_than_it_may() {
    let shape = Shape { longest: Duration::from_secs(2), ..shape() };
    assert!(plan(9, &shape).iter().all(|planned| planned.lasts <= shape.longest));
}

#[test]
fn kinds_have_names() {
    for kind in Kind::ALL {
        assert_eq!(kind.name().parse::<Kind>(), Ok(*kind));
    }
    assert!("nonsense".parse::<Kind>().unwrap_err().contains("worker-kill"));
    assert!(Kind::DEFAULT.iter().all(|kind| Kind::ALL.contains(kind)));
}
