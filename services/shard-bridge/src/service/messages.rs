//! Messages to one shard and to the manager, and questions that each shard answers.

use std::pin::Pin;

use altergolden_proto::{convert, v1};
use event_bus::Recipient;
use fleet_model::ErrorClass;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::BridgeService;
use crate::{
    answer::{BridgeError, ShardReplies},
    content,
    hub::{HubItem, HubSubscription, SUBSCRIBERS},
    replies, wire,
};

pub(super) type MessageStream = Pin<Box<dyn Stream<Item = Result<v1::SubscribeResponse, Status>> + Send>>;

pub(super) fn subscribe(
    service: &BridgeService,
    request: Request<v1::SubscribeRequest>,
) -> Result<MessageStream, Status> {
    let v1::SubscribeRequest { types, recipients } = request.into_inner();
    let wants = wire::wants(types, &recipients);
    let subscription = service.bridge.hub().subscribe(wants).ok_or_else(|| {
        BridgeError::new(ErrorClass::TooBusy, format!("this process has {SUBSCRIBERS} subscribers already"))
    })?;
    Ok(Box::pin(futures_util::stream::unfold(subscription, |mut subscription| async {
        let item = next(&mut subscription).await?;
        Some((Ok(item), subscription))
    })))
}

async fn next(subscription: &mut HubSubscription) -> Option<v1::SubscribeResponse> {
    loop {
        if let Some(item) = item(subscription.next().await?) {
            return Some(v1::SubscribeResponse { item: Some(item) });
        }
    }
}

/// `None` for a malformed item.
fn item(item: HubItem) -> Option<v1::subscribe_response::Item> {
    use v1::subscribe_response::Item;
    let (message, recipient, shard) = match item {
        HubItem::Missed { count, reason } => {
            return Some(Item::Missed(v1::MissedMessages { count, reason }));
        }
        HubItem::ToShard(message) => {
            return Some(Item::Message(v1::BroadcastMessage {
                message_id: String::new(),
                r#type: message.kind.clone(),
                data: Some(convert::from_json(message.data.clone())),
                data_json: message.json.clone(),
                sender: message.sender.clone(),
                recipient: v1::MessageRecipient::Shard.into(),
                shard_id: Some(message.shard.0),
            }));
        }
        HubItem::Message(message) => match message.content.recipient {
            Recipient::All => (message, v1::MessageRecipient::All, None),
            Recipient::Manager { from } => (message, v1::MessageRecipient::Manager, from),
        },
    };
    let body = &message.content.body;
    if let Err(error) = content::check(&message.content.kind, body) {
        tracing::warn!(id = %message.id.0, %error, "malformed message on the event bus");
        return None;
    }
    Some(Item::Message(v1::BroadcastMessage {
        message_id: message.id.0.clone(),
        r#type: message.content.kind.clone(),
        data: Some(content::value_for_old_peers(body)),
        data_json: body.clone(),
        sender: message.content.sender.clone(),
        recipient: recipient.into(),
        shard_id: shard.map(|shard| shard.0),
    }))
}

pub(super) async fn send_to_shard(
    service: &BridgeService,
    request: Request<v1::SendToShardRequest>,
) -> Result<Response<v1::SendToShardResponse>, Status> {
    let since = Instant::now();
    let until = service.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
    let v1::SendToShardRequest { shard_id, r#type, data, data_json, .. } = request.into_inner();
    let json = content::received(data_json, data);
    let answer = service.bridge.send_text_to_shard(shard_id, &r#type, json, until).await;
    service.bridge.metrics().observe("SendToShard", since);
    Ok(Response::new(answer?.into()))
}

pub(super) async fn send_to_manager(
    service: &BridgeService,
    request: Request<v1::SendToManagerRequest>,
) -> Result<Response<v1::SendToManagerResponse>, Status> {
    let since = Instant::now();
    let until = service.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
    let v1::SendToManagerRequest { r#type, data, data_json, shard_id, .. } = request.into_inner();
    let json = content::received(data_json, data);
    let sent = service.bridge.send_text_to_manager(shard_id, &r#type, json, until).await;
    service.bridge.metrics().observe("SendToManager", since);
    Ok(Response::new(v1::SendToManagerResponse { message_id: sent? }))
}

pub(super) async fn request(
    service: &BridgeService,
    request: Request<v1::RequestRequest>,
) -> Result<Response<v1::RequestResponse>, Status> {
    let since = Instant::now();
    let until = service.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
    let v1::RequestRequest { r#type, data, data_json, shard_ids, max_bytes, .. } = request.into_inner();
    let json = content::received(data_json, data);
    let max_bytes = replies::max_bytes(max_bytes);
    let answer = service.bridge.request_within(&shard_ids, &r#type, json, max_bytes, until).await;
    service.bridge.metrics().observe("Request", since);
    let ShardReplies { complete, replies } = answer?;
    let mut messages = Vec::with_capacity(replies.len());
    for reply in replies {
        messages.push(reply.into());
        // Large replies take milliseconds, and lease renewals run on these threads too.
        tokio::task::yield_now().await;
    }
    Ok(Response::new(v1::RequestResponse { complete, replies: messages }))
}
