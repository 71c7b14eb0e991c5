//! Calls of a stream of calls that are sent without a copy: whoever may have to send a call again keeps the change too.

use std::sync::Arc;

use prost::Message;
use prost::bytes::BufMut;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{IntoStreamingRequest, Response, Status, Streaming, client};
use tonic_prost::{ProstCodec, ProstDecoder};

use crate::v1::change_availability_request::Change;
use crate::v1::{ChangeAvailabilityRequest, ChangeAvailabilityResponse};

/// The path of the method.
const PATH: &str = "/inventory.v1.AvailabilityService/ChangeAvailability";

/// One call of a stream of calls. On the wire it is a [`ChangeAvailabilityRequest`].
#[derive(Clone, Debug)]
pub struct SharedCall {
    /// The change.
    pub change: Arc<Change>,
    /// Everything else. It has no change.
    pub head: ChangeAvailabilityRequest,
}

impl SharedCall {
    /// The fields of a message may stand in any order, so those of the head can stand before the change.
    fn put(&self, buffer: &mut impl BufMut) -> Result<(), Status> {
        self.head.encode(buffer).map_err(|error| Status::internal(error.to_string()))?;
        self.change.encode(buffer);
        Ok(())
    }
}

/// Opens a stream of calls, as `AvailabilityServiceClient::change_availability` does.
pub async fn change_availability(
    channel: Channel,
    calls: impl IntoStreamingRequest<Message = SharedCall>,
) -> Result<Response<Streaming<ChangeAvailabilityResponse>>, Status> {
    let mut client = client::Grpc::new(channel);
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(format!("the channel is closed: {error}")))?;
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(PATH);
    client.streaming(calls.into_streaming_request(), path, SharedCallCodec).await
}

/// Encodes shared calls, and decodes answers as prost does.
struct SharedCallCodec;

impl Codec for SharedCallCodec {
    type Encode = SharedCall;
    type Decode = ChangeAvailabilityResponse;
    type Encoder = SharedCallEncoder;
    type Decoder = ProstDecoder<ChangeAvailabilityResponse>;

    fn encoder(&mut self) -> Self::Encoder {
        SharedCallEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<ChangeAvailabilityRequest, ChangeAvailabilityResponse>::default().decoder()
    }
}

struct SharedCallEncoder;

impl Encoder for SharedCallEncoder {
    type Item = SharedCall;
    type Error = Status;

    fn encode(&mut self, call: SharedCall, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        call.put(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DESCRIPTORS;
    use crate::v1::{DecrementAvailabilityRequest, Item};

    #[test]
    fn a_shared_call_is_the_same_message_on_the_wire() {
        let item = Item { quantity: 3, ..Default::default() };
        let order = DecrementAvailabilityRequest { site_id: "s".into(), items: vec![item], ..Default::default() };
        let head = ChangeAvailabilityRequest {
            correlation_id: 7,
            timeout: Some(prost_types::Duration { seconds: 2, nanos: 5 }),
            return_levels: true,
            traceparent: "00-x".into(),
            ..Default::default()
        };
        let shared = SharedCall { change: Arc::new(order.clone().into()), head: head.clone() };
        let mut bytes = Vec::new();
        shared.put(&mut bytes).expect("there is room");
        let sent = ChangeAvailabilityRequest { change: Some(order.into()), ..head };
        assert_eq!(ChangeAvailabilityRequest::decode(&*bytes).expect("it can be decoded"), sent);
    }

    #[test]
    fn the_path_names_a_method_of_the_contract() {
        let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).expect("the descriptors can be read").file;
        let paths = files.iter().flat_map(|file| {
            file.service.iter().flat_map(move |service| {
                let of = move |method: &str| format!("/{}.{}/{method}", file.package(), service.name());
                service.method.iter().map(move |method| of(method.name()))
            })
        });
        assert_eq!(paths.filter(|path| path == PATH).count(), 1);
    }
}
