use super::*;

/// The largest number of connections within 15 s.
fn most_within_15_s(dialed: &[Instant]) -> usize {
    let within = |from: &Instant| dialed.iter().filter(|at| *at >= from && **at < *from + WITHIN).count();
    dialed.iter().map(within).max().unwrap_or_default()
}

/// Connects for ten minutes. Each connection lasts for `held` after READY and ends by `ends`.
async fn dial_for_10_min(held: Duration, mut ends: impl FnMut(&Dialing)) -> Vec<Instant> {
    let dialing = Dialing::default();
    let mut dialed = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_mins(10) {
        let _grant = dialing.grant().await;
        dialed.push(Instant::now());
        dialing.succeeded();
        tokio::time::sleep(held).await;
        ends(&dialing);
    }
    dialed
}

#[tokio::test(start_paused = true)]
async fn at_most_one_connection_a_second_over_15_s() {
    // With the smallest jitter the back-off alone would not wait.
    for jitter in [0.0, 0.01, 0.5, 1.0] {
        let dialed = dial_for_10_min(Duration::ZERO, |dialing| dialing.failed(jitter)).await;
        assert!(most_within_15_s(&dialed) <= 15, "failures, jitter {jitter}");
    }
    // The worker closes the connection itself, for its lease or because handlers are behind.
    let dialed = dial_for_10_min(Duration::ZERO, |_| {}).await;
    assert!(most_within_15_s(&dialed) <= 15, "closed by the worker");
    let mut turn = 0_u32;
    let mixed = dial_for_10_min(Duration::from_millis(100), |dialing| {
        turn += 1;
        if !turn.is_multiple_of(3) {
            dialing.failed(f64::from(turn % 7) / 7.0);
        }
    });
    assert!(most_within_15_s(&mixed.await) <= 15, "both");
}

#[tokio::test(start_paused = true)]
async fn waits_grow_until_a_session_has_held_for_30_s() {
    let dialing = Dialing::default();
    let mut waits = Vec::new();
    for held in [0, 29, 29, 29, 30, 1, 1] {
        let _grant = dialing.grant().await;
        dialing.succeeded();
        tokio::time::sleep(Duration::from_secs(held)).await;
        dialing.failed(1.0);
        waits.push(dialing.wait().as_secs());
    }
    assert_eq!(waits, [0, 1, 2, 4, 0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn another_task_of_the_shard_goes_on_with_the_same_waits() {
    let dialing = Dialing::default();
    for _ in 0..7 {
        dialing.failed(1.0);
    }
    let next = dialing.clone();
    assert_eq!((next.failures(), next.wait().as_secs()), (7, 32));
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(next.wait().as_secs(), 12, "the time between counts");
    next.failed(1.0);
    assert_eq!(next.wait().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn refused_shard_tries_again_after_growing_waits() {
    for (accepted_before, minutes) in [(false, [10, 20, 40, 60, 60]), (true, [1, 2, 4, 8, 16])] {
        let dialing = Dialing::default();
        for minutes in minutes {
            dialing.refused(accepted_before);
            assert_eq!(dialing.wait(), Duration::from_mins(minutes), "{accepted_before}");
            let _grant = dialing.grant().await;
        }
        dialing.succeeded();
        tokio::time::advance(Policy::DISCORD.steady).await;
        dialing.refused(accepted_before);
        assert_eq!(dialing.wait(), Duration::from_mins(minutes[0]), "a session has lasted");
    }
}

/// twilight's `Shard` reconnects by itself, and another WebSocket client would not ask for a grant.
#[test]
fn only_the_socket_connects() {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![sources];
    let mut places = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("dialing/tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let clients = ["ClientBuilder::", "twilight_gateway", "tokio_tungstenite"];
                let found = clients.iter().map(|client| text.matches(client).count()).sum::<usize>();
                places.extend(std::iter::repeat_n(path, found));
            }
        }
    }
    assert!(matches!(places.as_slice(), [place] if place.ends_with("shard/socket.rs")), "{places:?}");
}
