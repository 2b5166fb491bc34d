use fleet_model::{Epoch, Route, ShardKey};

use super::*;
use crate::{content::MOST_SHARDS, local::AnswerOutcome};

fn routes(total: u32, workers: &[(&str, &[(u32, u64)])]) -> Routes {
    let route = |&(name, shards): &(&str, &[(u32, u64)])| {
        let shards =
            shards.iter().map(|&(shard, epoch)| (ShardKey::new(shard, total), Epoch(epoch))).collect();
        (name.parse().unwrap(), Route { url: format!("http://{name}"), shards, draining: false })
    };
    Routes::new(total, workers.iter().map(route).collect())
}

#[test]
fn each_shard_is_asked_of_the_worker_that_owns_it() {
    let table = routes(5, &[("a", &[(0, 1), (1, 9)]), ("b", &[(1, 3), (2, 4), (3, 1)])]);
    let (shares, unassigned) = shares(&table, &[0, 1, 2, 4].map(ShardSlot));
    let shares: Vec<_> = shares
        .iter()
        .map(|share| (share.worker.as_str(), share.url.as_str(), share.shards.clone()))
        .collect();
    assert_eq!(
        shares,
        [("a", "http://a", vec![ShardSlot(0), ShardSlot(1)]), ("b", "http://b", vec![ShardSlot(2)])]
    );
    assert_eq!(unassigned, [ShardSlot(4)]);
    for shard in 0..5 {
        let owner = table.owner(ShardSlot(shard)).map(|owner| owner.worker.as_str());
        let share = shares.iter().find(|share| share.2.contains(&ShardSlot(shard)));
        assert_eq!(share.map(|share| share.0), owner.filter(|_| shard != 3), "as `Routes::owner` has it");
    }
}

#[test]
fn which_shards_are_wanted() {
    let numbers = |shards: Vec<ShardSlot>| shards.into_iter().map(|shard| shard.0).collect::<Vec<_>>();
    assert_eq!(numbers(wanted(&[], 3).unwrap()), [0, 1, 2]);
    assert_eq!(numbers(wanted(&[2, 0, 2], 3).unwrap()), [0, 2]);
    let refused = |ids: &[u32], total| wanted(ids, total).unwrap_err().class();
    assert_eq!(refused(&[0, 3], 3), ErrorClass::NotFound);
    assert_eq!(refused(&[0], 0), ErrorClass::Unavailable);
    assert_eq!(refused(&[], 0), ErrorClass::Unavailable);
    assert_eq!(refused(&vec![0; MOST_SHARDS + 1], 3), ErrorClass::InvalidInput);
    assert_eq!(wanted(&[], MOST_SHARDS as u32).unwrap().len(), MOST_SHARDS);
}

#[test]
fn answer_counts_only_for_the_shards_that_were_asked() {
    let shards = [0, 1, 2, 3].map(ShardSlot);
    let share = WorkerShare { worker: "a".parse().unwrap(), url: String::new(), shards: shards.to_vec() };
    let answer = |shard, outcome| ShardAnswer { shard: ShardSlot(shard), outcome };
    let long = ReplyFailure { kind: Kind::Failed, reason: "x".repeat(10_000) };
    let answers = vec![
        answer(0, AnswerOutcome::Json("1".to_owned())),
        answer(1, AnswerOutcome::NotMine),
        answer(2, AnswerOutcome::Failed(long)),
        answer(9, AnswerOutcome::Json("2".to_owned())),
    ];
    let replied = sorted_out(&share, Ok(answers));
    let numbers: Vec<u32> = replied.iter().map(|reply| reply.shard.0).collect();
    assert_eq!(numbers, [0, 2, 3], "the disowned shard is asked again, the unasked one is not");
    assert_eq!(replied[0].outcome, Ok("1".to_owned()));
    let failure = replied[1].outcome.clone().unwrap_err();
    assert!(failure.kind == Kind::Failed && failure.reason.len() <= 256);
    assert_eq!(replied[2].outcome.clone().unwrap_err().kind, Kind::Unreachable);

    let late = ReplyFailure::new(Kind::TooLate, "late");
    let replied = sorted_out(&share, Err(late.clone()));
    assert!(replied.len() == 4 && replied.iter().all(|reply| reply.outcome == Err(late.clone())));
}

#[test]
fn failure_says_whether_the_message_may_have_arrived() {
    let worker: WorkerId = "a".parse().unwrap();
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let no_connection = Status::from_error(Box::new(tonic::ConnectError(Box::new(refused))));
    for (status, class, says) in [
        (no_connection, ErrorClass::Unavailable, "the message did not arrive"),
        (Status::unimplemented(""), ErrorClass::Unavailable, "takes no messages"),
        (Status::cancelled("Timeout expired"), ErrorClass::TooLate, "may have arrived"),
        (Status::cancelled("connection closed"), ErrorClass::Unavailable, "may have arrived"),
        (
            Status::unknown("broken pipe"),
            ErrorClass::Unavailable,
            "broken pipe: the message may have arrived",
        ),
    ] {
        let told = undelivered(&worker, &status);
        assert!(told.class() == class && told.message().contains(says), "{told:?}");
        assert!(told.message().contains("worker a"), "{told:?}");
    }
}

/// A bridge over workers at these addresses, each with the shard of its place.
fn bridge(workers: &[std::net::SocketAddr]) -> Bridge {
    let route = |(shard, address): (usize, &std::net::SocketAddr)| {
        let shards = BTreeMap::from([(ShardKey::new(shard as u32, workers.len() as u32 + 1), Epoch(1))]);
        let url = format!("http://{address}");
        (format!("w{shard}").parse().unwrap(), Route { url, shards, draining: false })
    };
    // One shard has no worker.
    let routes = Routes::new(workers.len() as u32 + 1, workers.iter().enumerate().map(route).collect());
    let metrics = crate::BridgeMetrics::default();
    let hub = crate::Hub::new(Arc::new(event_bus::MemoryBus::new()), metrics.clone());
    Bridge::new(crate::BridgeParts {
        routes: watch::channel(Arc::new(routes)).1,
        local: None,
        recent: None,
        hub,
        metrics,
        sender: "test",
        relay: None,
        credentials: process::credentials::Credentials::none(),
    })
}

#[tokio::test]
async fn silent_workers_are_named_and_cost_at_most_the_deadline() {
    let listener = || tokio::net::TcpListener::bind("127.0.0.1:0");
    // A version without these calls.
    let older = listener().await.unwrap();
    let older_at = older.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(older);
    let server = tonic::transport::Server::builder().add_routes(tonic::service::Routes::default());
    let serving = tokio::spawn(server.serve_with_incoming(incoming));
    // One that hangs: its kernel takes connections, no process reads.
    let hanging = listener().await.unwrap();
    // One that is gone.
    let gone_at = listener().await.unwrap().local_addr().unwrap();
    let bridge = bridge(&[older_at, hanging.local_addr().unwrap(), gone_at]);
    let patience = std::time::Duration::from_millis(500);

    let began = Instant::now();
    let answer = bridge.request(&[], "k", Value::Null, began + patience).await.unwrap();
    assert!(began.elapsed() < patience * 3, "{:?}", began.elapsed());
    let failures = answer.replies.iter().map(|reply| match &reply.outcome {
        Err(failure) => (failure.kind, failure.reason.as_str()),
        Ok(value) => panic!("{value:?}"),
    });
    let expected = [
        (Kind::Unreachable, "worker w0 is of a version that does not take questions to shards"),
        (Kind::TooLate, "worker w1 did not answer by the deadline"),
        (Kind::Unreachable, "worker w2 cannot be reached"),
        (Kind::Unassigned, "no worker runs it"),
    ];
    assert_eq!(failures.collect::<Vec<_>>(), expected);

    for (shard, class, says) in [
        (0, ErrorClass::Unavailable, "worker w0 is of a version that takes no messages"),
        (1, ErrorClass::TooLate, "worker w1 did not answer by the deadline: the message may have arrived"),
        (2, ErrorClass::Unavailable, "worker w2 cannot be reached: the message did not arrive"),
        (3, ErrorClass::Unavailable, "no worker runs shard 3"),
        (4, ErrorClass::NotFound, "there is no shard 4: the bot has 4, from 0"),
    ] {
        let began = Instant::now();
        let sent = bridge.send_to_shard(shard, "k", Value::Null, began + patience).await.unwrap_err();
        assert!(began.elapsed() < patience * 3, "{:?}", began.elapsed());
        assert_eq!((sent.class(), sent.message()), (class, says));
    }
    serving.abort();
}
