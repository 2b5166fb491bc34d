use fleet_model::Route;

use super::*;

fn routes(total: u32, workers: &[(&str, &[(u32, u64)])]) -> Routes {
    let route = |&(name, shards): &(&str, &[(u32, u64)])| {
        let shards = shards.iter().map(|&(shard, epoch)| (ShardNumber(shard), Epoch(epoch))).collect();
        (name.parse().unwrap(), Route { url: format!("http://{name}"), shards, draining: false })
    };
    Routes { shard_total: total, workers: workers.iter().map(route).collect(), ..Routes::default() }
}

#[test]
fn each_shard_is_asked_of_the_worker_that_owns_it() {
    let table = routes(5, &[("a", &[(0, 1), (1, 9)]), ("b", &[(1, 3), (2, 4), (3, 1)])]);
    let (shares, unassigned) = shares(&table, &[0, 1, 2, 4].map(ShardNumber));
    let shares: Vec<_> = shares
        .iter()
        .map(|share| (share.worker.as_str(), share.url.as_str(), share.shards.clone()))
        .collect();
    assert_eq!(
        shares,
        [("a", "http://a", vec![ShardNumber(0), ShardNumber(1)]), ("b", "http://b", vec![ShardNumber(2)])]
    );
    assert_eq!(unassigned, [ShardNumber(4)]);
    for shard in 0..5 {
        let owner = table.owner(ShardNumber(shard)).map(|owner| owner.worker.as_str());
        let share = shares.iter().find(|share| share.2.contains(&ShardNumber(shard)));
        assert_eq!(share.map(|share| share.0), owner.filter(|_| shard != 3), "as `Routes::owner` has it");
    }
}

#[test]
fn which_shards_are_wanted() {
    let numbers = |shards: Vec<ShardNumber>| shards.into_iter().map(|shard| shard.0).collect::<Vec<_>>();
    assert_eq!(numbers(wanted(&[], 3).unwrap()), [0, 1, 2]);
    assert_eq!(numbers(wanted(&[2, 0, 2], 3).unwrap()), [0, 2]);
    let refused = |ids: &[u32], total| wanted(ids, total).unwrap_err().code();
    assert_eq!(refused(&[0, 3], 3), Code::NotFound);
    assert_eq!(refused(&[0], 0), Code::Unavailable);
    assert_eq!(refused(&[], 0), Code::Unavailable);
    assert_eq!(refused(&vec![0; 10_001], 3), Code::InvalidArgument);
    assert_eq!(refused(&[], 10_001), Code::InvalidArgument);
}

#[test]
fn a_worker_s_answer_counts_for_what_it_was_asked() {
    let shards = [0, 1, 2, 3].map(ShardNumber);
    let share = Share { worker: "a".parse().unwrap(), url: String::new(), shards: shards.to_vec() };
    let answer = |shard, outcome| ShardAnswer { shard: ShardNumber(shard), outcome };
    let long = v1::ReplyFailure { kind: Kind::Failed.into(), reason: "x".repeat(10_000) };
    let answers = vec![
        answer(0, AnswerOutcome::Json("1".to_owned())),
        answer(1, AnswerOutcome::NotMine),
        answer(2, AnswerOutcome::Failed(long)),
        answer(9, AnswerOutcome::Json("2".to_owned())),
    ];
    let replied = sorted_out(&share, Ok(answers));
    let numbers: Vec<u32> = replied.iter().map(|reply| reply.shard.0).collect();
    assert_eq!(numbers, [0, 2, 3], "the disowned one is asked again, the one that nobody asked about is not");
    assert_eq!(replied[0].outcome, Ok("1".to_owned()));
    let failure = replied[1].outcome.clone().unwrap_err();
    assert!(failure.kind() == Kind::Failed && failure.reason.len() <= 256);
    assert_eq!(replied[2].outcome.clone().unwrap_err().kind(), Kind::Unreachable);

    let late = replies::failure(Kind::TooLate, "late");
    let replied = sorted_out(&share, Err(late.clone()));
    assert!(replied.len() == 4 && replied.iter().all(|reply| reply.outcome == Err(late.clone())));
}

#[test]
fn whether_a_message_may_have_arrived_is_said() {
    let worker: WorkerId = "a".parse().unwrap();
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let no_connection = Status::from_error(Box::new(tonic::ConnectError(Box::new(refused))));
    for (status, code, says) in [
        (no_connection, Code::Unavailable, "it did not arrive"),
        (Status::unimplemented(""), Code::Unavailable, "takes no messages"),
        (Status::cancelled("Timeout expired"), Code::DeadlineExceeded, "may have arrived"),
        (Status::cancelled("connection closed"), Code::Unavailable, "may have arrived"),
        (Status::unknown("broken pipe"), Code::Unavailable, "broken pipe: the message may have arrived"),
    ] {
        let told = undelivered(&worker, &status);
        assert!(told.code() == code && told.message().contains(says), "{told:?}");
        assert!(told.message().contains("worker a"), "{told:?}");
    }
}
