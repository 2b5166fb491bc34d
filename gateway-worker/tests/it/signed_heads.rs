//! Workers with keys sign the heads of their checkpoints, and resume from none that another program wrote.

use std::{sync::Arc, time::Duration};

use checkpoint::{
    CheckpointStore as _, ClaimAnswer, FORMAT_MAX, HeadKeys, HeadWrite, WriteStep, decode_head, encode_head,
};
use fleet_model::{Epoch, ShardKey};
use fleet_store::FleetStore as _;
use gateway_worker::NoHandler;

use crate::bench::{Bench, Recorder, sim};

const SHARD: ShardKey = ShardKey::new(0, 1);
const OLD: &str = "the older key of this fleet";
const NEW: &str = "the newer key of this fleet";

async fn worker(bench: &mut Bench, name: &str, keys: &[&str]) {
    let keys = HeadKeys::new(keys).unwrap();
    bench.worker_with(name, Arc::new(NoHandler), &[], |config| config.head_keys = keys).await;
}

/// Waits until the store holds this decision: the key, and whether unsigned heads are refused.
async fn until_decided(bench: &Bench, key: &str, required: bool) {
    let id = HeadKeys::new([key]).unwrap().ids().first().copied();
    let deciding = async {
        loop {
            let signing = bench.store.load().await.unwrap().head_signing;
            if signing.by == id && signing.required == required {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), deciding).await;
    assert!(waited.is_ok(), "{:?}", bench.store.load().await.unwrap().head_signing);
}

fn identifies(bench: &Bench) -> usize {
    bench.control().identifies().items.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_session_moves_and_a_forged_one_does_not() {
    let mut bench = Bench::without_workers(sim(1), Recorder::default()).await;
    worker(&mut bench, "a", &[OLD]).await;
    bench.until_ready("the shard on a").await;
    until_decided(&bench, OLD, true).await;

    // A worker with a newer key too: both hold the old one, so that one signs, and a failover needs no IDENTIFY.
    worker(&mut bench, "b", &[NEW, OLD]).await;
    bench.until_registered("b").await;
    bench.kill("a");
    bench.until("the shard on b", |shard| shard.worker_id == "b").await;
    bench.until_ready("the shard on b").await;
    assert_eq!(identifies(&bench), 1, "b resumed");
    until_decided(&bench, NEW, true).await;

    worker(&mut bench, "c", &[NEW]).await;
    bench.until_registered("c").await;
    // Another program claims the shard and writes a head of its own, which leads to its own gateway. The next owner finds that head.
    let above = Epoch(bench.until("the shard", |_| true).await.epoch + 1);
    let ClaimAnswer::Yours(stored) = bench.checkpoints.claim(SHARD, above).await.unwrap() else {
        panic!("the shard has a higher epoch");
    };
    let mut head = decode_head(&stored.head.unwrap().bytes).unwrap();
    head.session.resume_url = "ws://127.0.0.1:1".to_owned();
    let bytes = encode_head(&head, FORMAT_MAX).unwrap();
    let step = WriteStep { head: Some(HeadWrite { bytes, total: 1 }), ..WriteStep::default() };
    bench.checkpoints.write(SHARD, above, stored.serial, &step).await.unwrap();
    bench.kill("b");
    bench.until("the shard on c", |shard| shard.worker_id == "c").await;
    bench.until_ready("the shard on c").await;
    assert_eq!(identifies(&bench), 2, "c identified");
    let mut fleet = bench.client.watch().await.unwrap();
    let named = async {
        while let Some(status) = fleet.message().await.unwrap() {
            if status.problem_details.iter().any(|problem| problem.code == "checkpoints_refused") {
                return;
            }
        }
        panic!("the stream ended");
    };
    tokio::time::timeout(Duration::from_mins(1), named).await.expect("no problem was shown");
}
