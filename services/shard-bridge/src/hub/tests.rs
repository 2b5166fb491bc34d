use altergolden_proto::v1::MessageRecipient;
use event_bus::{MemoryBus, MessageId, NewMessage};
use fleet_model::ShardSlot;

use super::*;
use crate::wire;

fn hub() -> Hub {
    Hub::new(Arc::new(MemoryBus::new()), BridgeMetrics::default())
}

fn bus_message(kind: &str, recipient: Recipient) -> HubItem {
    let content = NewMessage {
        kind: kind.to_owned(),
        body: "1".to_owned(),
        sender: "s".to_owned(),
        recipient,
        traceparent: None,
    };
    let id = MessageId("1".to_owned());
    HubItem::Message(Arc::new(Message { id, content, acknowledge_to: String::new() }))
}

fn to_shard(kind: &str) -> Arc<ShardMessage> {
    Arc::new(ShardMessage {
        shard: ShardSlot(3),
        kind: kind.to_owned(),
        data: serde_json::Value::Null,
        json: "null".to_owned(),
        sender: "s".to_owned(),
    })
}

/// What of everything there is a subscriber is given.
async fn given(wants: Wants) -> Vec<&'static str> {
    let hub = hub();
    let mut subscription = hub.subscribe(wants).unwrap();
    hub.to_all(&bus_message("a", Recipient::All));
    hub.to_all(&bus_message("b", Recipient::All));
    hub.to_all(&bus_message("a", Recipient::Manager { from: None }));
    hub.give_to_shard(to_shard("a"));
    hub.to_all(&HubItem::Missed { count: None, reason: String::new() });
    hub.lock().clear();
    let mut given = Vec::new();
    while let Some(item) = subscription.next().await {
        given.push(match item {
            HubItem::Message(message) => match (message.content.recipient, message.content.kind.as_str()) {
                (Recipient::Manager { .. }, _) => "manager a",
                (Recipient::All, "a") => "all a",
                (Recipient::All, _) => "all b",
            },
            HubItem::ToShard(_) => "shard a",
            HubItem::Missed { .. } => "missed",
        });
    }
    given
}

#[tokio::test]
async fn subscriber_receives_only_what_it_wants() {
    use MessageRecipient::{All, Manager, Shard, Unspecified};
    let only = |types: &[&str], recipients: &[MessageRecipient]| {
        let recipients: Vec<i32> = recipients.iter().map(|recipient| i32::from(*recipient)).collect();
        wire::wants(types.iter().map(|&kind| kind.to_owned()).collect(), &recipients)
    };
    assert_eq!(only(&[], &[]), Wants::everything());
    assert_eq!(given(Wants::everything()).await, ["all a", "all b", "manager a", "shard a", "missed"]);
    assert_eq!(given(only(&["a"], &[])).await, ["all a", "manager a", "shard a", "missed"]);
    assert_eq!(given(only(&["b"], &[All])).await, ["all b", "missed"]);
    assert_eq!(given(only(&[], &[Unspecified])).await, ["all a", "all b", "missed"]);
    assert_eq!(given(only(&[], &[Manager])).await, ["manager a", "missed"]);
    assert_eq!(given(only(&[], &[Shard])).await, ["shard a"], "no hole of the bus is theirs");
    assert!(
        given(wire::wants(Vec::new(), &[77])).await.is_empty(),
        "what a newer client means is not everything"
    );
}

#[tokio::test]
async fn recipients_of_a_message_are_counted() {
    let hub = hub();
    assert_eq!(hub.give_to_shard(to_shard("a")), 0);
    let mut one = hub.subscribe(Wants::everything()).unwrap();
    let other = hub.subscribe(Wants::only(["b".to_owned()], None)).unwrap();
    assert_eq!(hub.give_to_shard(to_shard("a")), 1);
    for _ in 1..QUEUE {
        hub.give_to_shard(to_shard("a"));
    }
    assert_eq!(hub.give_to_shard(to_shard("a")), 0, "there is no room");
    for _ in 0..QUEUE {
        assert!(matches!(one.next().await, Some(HubItem::ToShard(_))));
    }
    assert_eq!(hub.give_to_shard(to_shard("b")), 2);
    assert!(matches!(one.next().await, Some(HubItem::Missed { count: Some(1), .. })));
    drop((one, other));
    assert_eq!(hub.give_to_shard(to_shard("b")), 0);
    assert!(hub.lock().is_empty(), "who has left is forgotten");
}
