//! Clients and sessions that are refused.

use futures_util::SinkExt as _;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{client::Client, fleet::Fleet};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_clients_are_closed_with_discords_codes() {
    let fleet = Fleet::start().await;
    let url = &fleet.gateways[0];
    let closed = async |mut client: Client| {
        while client.take().await {}
        client.close.unwrap()
    };
    let mut stranger = Client::connect(url).await;
    stranger.send(json!({"op": 2, "d": {"token": "another", "intents": 1}})).await;
    assert_eq!(closed(stranger).await.0, 4004);
    let (code, reason) = closed(Client::identify(url, (0, 1), 1 | 1 << 8).await).await;
    assert!(code == 4014 && reason.contains("GUILD_PRESENCES"), "{code} {reason}");
    assert_eq!(closed(Client::identify(url, (0, 1), 1 << 30).await).await.0, 4013);
    assert_eq!(closed(Client::identify(url, (4, 4), 1).await).await.0, 4010);
    for query in ["v=10&encoding=etf", "v=6&encoding=json", "v=10&encoding=json&compress=zstd-stream"] {
        assert_eq!(closed(Client::connect_with(url, query).await).await.0, 4012, "{query}");
    }
    let mut silly = Client::connect(url).await;
    silly.send(json!({"op": 2, "d": 5})).await;
    assert_eq!(closed(silly).await.0, 4000);

    // Up to its last guild a session cannot be resumed, and neither can a foreign one, or one that is ahead of the relay.
    let mut early = Client::ready(url, (0, 1)).await;
    early.sequence = 5;
    early.must_identify(&fleet.gateways[1]).await;
    let mut foreign = Client::ready(url, (0, 1)).await;
    foreign.session.replace_range(..4, "AAAA");
    foreign.must_identify(url).await;
    let mut ahead = Client::ready(url, (0, 1)).await;
    ahead.sequence += 1_000_000;
    ahead.must_identify(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_count_as_messages() {
    let fleet = Fleet::start().await;
    let mut client = Client::connect(&fleet.gateways[0]).await;
    // As many as a client may send in a minute, and one more when they have been answered: the close frame is not lost with what the
    // gateway does not read.
    for _ in 0..240 {
        client.socket.send(Message::Ping("0".repeat(125).into())).await.unwrap();
    }
    // HELLO and the answers.
    for _ in 0..241 {
        assert!(client.take().await, "{:?}", client.close);
    }
    client.socket.send(Message::Ping("one more".into())).await.unwrap();
    while client.take().await {}
    assert_eq!(client.close, Some((4000, "too many messages".to_owned())));
}
