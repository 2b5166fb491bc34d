//! Discord's events for bots in any language.

use std::pin::Pin;

use altergolden_proto::v1;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::BridgeService;

pub(super) type EventStream = Pin<Box<dyn Stream<Item = Result<v1::EventsResponse, Status>> + Send>>;

pub(super) async fn events(
    _: &BridgeService,
    _: Request<v1::EventsRequest>,
) -> Result<Response<EventStream>, Status> {
    Err(Status::unimplemented("not yet"))
}
