use super::*;
use crate::{NoHandler, testing};

/// Takes nothing.
struct Away;

#[async_trait::async_trait]
impl ::relay::RelayStore for Away {
    async fn append(
        &self,
        _: fleet_model::ShardNumber,
        _: fleet_model::Epoch,
        _: Option<::relay::Position>,
        _: &[::relay::NewEntry],
    ) -> Result<::relay::Appended, ::relay::RelayError> {
        Err(::relay::RelayError::Away("a test".to_owned()))
    }

    async fn rewind(
        &self,
        _: fleet_model::ShardNumber,
        _: fleet_model::Epoch,
        _: ::relay::Position,
        _: ::relay::Position,
    ) -> Result<::relay::Appended, ::relay::RelayError> {
        Err(::relay::RelayError::Away("a test".to_owned()))
    }

    fn reader(&self) -> Arc<dyn ::relay::RelayStore> {
        Arc::new(Self)
    }

    async fn newest(&self) -> Result<::relay::EntryId, ::relay::RelayError> {
        Ok(::relay::EntryId::default())
    }

    async fn read(
        &self,
        _: &::relay::EventNames,
        _: ::relay::EntryId,
        _: Duration,
    ) -> Result<::relay::Page, ::relay::RelayError> {
        Ok(::relay::Page::default())
    }
}

fn event(sequence: u64) -> Queued {
    Queued::Event(Event {
        name: Kind::from("MESSAGE_CREATE"),
        session: 1,
        sequence,
        guild: Some(5),
        mark: Mark::Fresh,
        received_at_unix_ms: 1,
        text: format!(r#"{{"op":0,"t":"MESSAGE_CREATE","s":{sequence},"d":{{}}}}"#),
    })
}

#[tokio::test(start_paused = true)]
async fn what_only_the_relay_lacks_is_pending_as_handled() {
    let shard = testing::shard_at(testing::EPOCH, "all");
    let mut bot = testing::bot(Arc::new(NoHandler));
    bot.relaying = Some(Relaying {
        relay: crate::Relay { store: Arc::new(Away), redis: None, names: ::relay::EventNames::All },
        bounds: ::relay::Bounds { events: 8, bytes: 1_024 },
        metrics: ::relay::RelayMetrics::default(),
        status: ::relay::RelayStatus::default(),
        runtime: tokio::runtime::Handle::current(),
    });
    let deliveries = bot.deliveries(&shard, &testing::lease(), false);
    deliveries.pending_came();
    for sequence in 1..=3 {
        assert!(deliveries.has_room("MESSAGE_CREATE", 50) && deliveries.push(event(sequence)));
    }
    // The first is written as handled, the second as one that is not.
    let known = |at: (u64, u64), handled: bool| at == (1, 1) || (at == (1, 2) && !handled);
    let pending = deliveries.pending((1, 2), known);
    assert_eq!(pending.positions, [(1, 1), (1, 2)]);
    let [(at, again)] = pending.unknown.as_slice() else { panic!("{:?}", pending.unknown) };
    assert!(*at == (1, 2) && again.handled && again.started);

    let left = deliveries.close(Duration::from_millis(250)).await;
    assert!(left.len() == 3 && left.iter().all(|(_, event)| event.handled));
}

#[tokio::test]
async fn a_shard_that_has_ended_is_forgotten_with_its_cache() {
    let shard = testing::shard_at(testing::EPOCH, "all");
    let deliveries = testing::bot(Arc::new(NoHandler)).deliveries(&shard, &testing::lease(), false);
    shard.set_deliveries(deliveries.clone());
    let left = Arc::downgrade(&shard);
    deliveries.abandon();
    drop(deliveries);
    shard.let_deliveries_go();
    drop(shard);
    assert_eq!(left.strong_count(), 0);
}
