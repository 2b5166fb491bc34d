//! Every call of the contract, made with every kind of stolen credentials at a real coordinator and a real worker: who gets how far
//! is what the table of calls says, and nothing else.
#![allow(clippy::print_stdout, reason = "what was measured is shown")]

use futures_util::future::join_all;
use process::credentials::{Identity, Role, calls::allowed};
use time::{Duration, OffsetDateTime};

use super::{
    Scene, contract, credentials,
    thief::{Loot, Reach, Thief, issue},
};

/// What a thief has, and as what it counts; `Err` when it may not even connect.
struct Case {
    what: &'static str,
    loot: Loot,
    counts_as: Result<Option<Role>, ()>,
}

fn cases(scene: &Scene) -> Vec<Case> {
    let folder = &scene.folder;
    let case = |what, loot, counts_as| Case { what, loot, counts_as };
    let mut cases: Vec<Case> = Role::ALL
        .into_iter()
        .map(|role| {
            let path = folder.path().join(format!("{role}.pem"));
            case(role.as_str(), Loot::file(&path), Ok(Some(role)))
        })
        .collect();
    assert_eq!(credentials(folder, &["issue", "worker", "w-1"]).code, 0);
    let named = Loot::file(&folder.path().join("worker-w-1.pem"));
    cases.push(case("a worker's with a name", named, Ok(Some(Role::Worker))));
    for role in [Role::Bot, Role::Operator, Role::Monitor] {
        let made = credentials(folder, &["token", role.as_str(), "shop"]);
        assert_eq!(made.code, 0, "{}", made.err);
        cases.push(case("a token", Loot::token(made.out.trim()), Ok(Some(role))));
    }
    cases.push(case("a made-up token", Loot::token("0123456789"), Ok(None)));
    cases.push(case("nothing", Loot::default(), Ok(None)));
    cases.push(case("nothing, in plain text", Loot { is_plain: true, ..Loot::default() }, Ok(None)));

    let issued = credentials(folder, &["issue", "operator", "gone"]);
    let serial = issued.out.lines().find_map(|line| line.strip_prefix("serial number ")).unwrap();
    assert_eq!(credentials(folder, &["revoke", serial]).code, 0);
    cases.push(case("a revoked one", Loot::file(&folder.path().join("operator-gone.pem")), Err(())));
    let operator = Identity::new(Role::Operator, "operator").unwrap();
    let (now, day) = (OffsetDateTime::now_utc(), Duration::days(1));
    let made =
        |fleet, validity| Loot { file: Some(issue(folder, fleet, &operator, validity)), ..Loot::default() };
    cases.push(case("an expired one", made("altergolden", (now - day * 2, now - day)), Err(())));
    cases.push(case("one of tomorrow", made("altergolden", (now + day, now + day * 2)), Err(())));
    cases.push(case("one of another fleet", made("other", (now - day, now + day)), Err(())));
    let other = fleet_fixture::CredentialsFolder::new();
    cases.push(case("one of another CA", Loot::file(&other.path().join("operator.pem")), Err(())));
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn stolen_credentials_reach_what_the_table_says_and_no_more() {
    let scene = Scene::start().await;
    // The access list is read at the start.
    let cases = cases(&scene);
    let coordinator = scene.coordinator(&[]).await;
    let a = scene.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&a]).await;
    let identifies = scene.identifies();

    let mut made = 0;
    for (server, address) in [(Role::Coordinator, &coordinator.address), (Role::Worker, &a.address)] {
        let address = address.split_once("://").unwrap().1;
        for Case { what, loot, counts_as } in &cases {
            let paths: Vec<String> =
                contract().into_iter().chain(["/grpc.health.v1.Health/Check".to_owned()]).collect();
            made += paths.len();
            let reached = match Thief::connect(&scene.folder, loot, server, address).await {
                Ok(thief) => join_all(paths.iter().map(|path| thief.reach(path))).await,
                Err(_) => vec![Reach::NoConnection; paths.len()],
            };
            for (path, reached) in paths.iter().zip(reached) {
                let expected = match counts_as {
                    Err(()) => Reach::NoConnection,
                    Ok(role) if allowed(path).includes(*role) => match loot.token.as_deref() {
                        // A wrong token is refused at every call.
                        Some(_) if role.is_none() => Reach::Refused,
                        _ => Reach::Service,
                    },
                    Ok(_) => Reach::Refused,
                };
                assert_eq!(reached, expected, "{what} ({counts_as:?}) at the {server}: {path}");
            }
        }
    }
    println!("{made} calls with {} kinds of credentials", cases.len());
    // None of it has moved a shard.
    coordinator.until_balanced(&[&a]).await;
    assert_eq!(scene.identifies(), identifies);
    scene.deployment.assert_lawful();
}
