//! The server's codec: prost, with a clear error for a message that cannot be decoded.
//!
//! tonic's own codec reports such a message as INTERNAL, as if the server had failed. It is the caller's mistake:
//! invalid UTF-8, a wrong wire type, a `Struct` nested too deep. So the server says INVALID_ARGUMENT, with an
//! `ErrorInfo` of the reason [`UNDECODABLE`]. A message with far more fields than any request may have is not decoded.

use std::any::TypeId;
use std::collections::HashMap;

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{ERROR_DOMAIN, v1};

/// The `ErrorInfo.reason` of a message that cannot be decoded.
pub const UNDECODABLE: &str = "UNDECODABLE";

/// Encodes answers as prost does, and decodes requests with [`RequestDecoder`].
#[derive(Debug)]
pub struct ServerCodec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for ServerCodec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::new())
    }
}

impl<T, U> Codec for ServerCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = RequestDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        RequestDecoder(self.0.decoder())
    }
}

/// Bytes of a message whose fields are counted before it is decoded.
const LARGE_BYTES: usize = 64 * 1024;
/// Fields of a large message, without those of the messages in it, but with each element of a list. The longest list
/// that is accepted has 1,000 elements. An element of two bytes becomes a value of some hundred.
const FIELDS_MAX: usize = 4_000;
/// The fields of a `ChangeAvailabilityRequest` that hold a whole request. Its fields count as those of a message of its
/// own do.
const REQUESTS_IN_CHANGE: [u32; 2] = [3, 4];

fn undecodable(why: &str) -> Status {
    let message = format!("the message cannot be decoded: {why}");
    let details = ErrorDetails::with_error_info(UNDECODABLE, ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// The fields of a message of this type that hold requests.
fn requests_in<U: 'static>() -> &'static [u32] {
    if TypeId::of::<U>() == TypeId::of::<v1::ChangeAvailabilityRequest>() { &REQUESTS_IN_CHANGE } else { &[] }
}

/// Whether an encoded message has more than [`FIELDS_MAX`] fields, with those of the `requests` in it. What is no
/// message is left to the decoder.
fn has_too_many_fields(bytes: &[u8], requests: &[u32]) -> bool {
    count_fields(bytes, requests) > FIELDS_MAX
}

fn count_fields(mut bytes: &[u8], requests: &[u32]) -> usize {
    let mut fields = 0;
    while let Ok((tag, kind)) = decode_key(&mut bytes) {
        fields += 1;
        let skipped = match kind {
            WireType::Varint => decode_varint(&mut bytes).ok().map(|_| 0),
            WireType::SixtyFourBit => Some(8),
            WireType::ThirtyTwoBit => Some(4),
            WireType::LengthDelimited => decode_varint(&mut bytes).ok().and_then(|length| usize::try_from(length).ok()),
            // What stands in a group counts too.
            WireType::StartGroup | WireType::EndGroup => Some(0),
        };
        let Some((skipped, rest)) = skipped.and_then(|skipped| bytes.split_at_checked(skipped)) else { break };
        if kind == WireType::LengthDelimited && requests.contains(&tag) {
            fields += count_fields(skipped, &[]);
        }
        bytes = rest;
    }
    fields
}

/// Decodes a request. The error is INVALID_ARGUMENT, [`UNDECODABLE`].
#[derive(Debug)]
pub struct RequestDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default + 'static> Decoder for RequestDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        if buf.remaining() > LARGE_BYTES && has_too_many_fields(buf.chunk(), requests_in::<U>()) {
            return Err(undecodable(&format!("it has more than {FIELDS_MAX} fields")));
        }
        self.0.decode(buf).map_err(|status| undecodable(status.message()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::change_availability_request::Change;

    fn has_too_many_fields(bytes: &[u8]) -> bool {
        super::has_too_many_fields(bytes, &[])
    }

    #[test]
    fn the_requests_of_a_stream_are_looked_into() {
        let change = |count| v1::ChangeAvailabilityRequest {
            correlation_id: 1,
            change: Some(Change::Decrement(v1::DecrementAvailabilityRequest {
                items: vec![v1::Item::default(); count],
                ..Default::default()
            })),
            ..Default::default()
        };
        let requests = requests_in::<v1::ChangeAvailabilityRequest>();
        let has_too_many = |count| super::has_too_many_fields(&change(count).encode_to_vec(), requests);
        assert!(!has_too_many(FIELDS_MAX - 2) && has_too_many(FIELDS_MAX - 1));
        let increment =
            v1::IncrementAvailabilityRequest { items: vec![v1::Item::default(); FIELDS_MAX], ..Default::default() };
        let change = Some(Change::Increment(increment));
        let change = v1::ChangeAvailabilityRequest { change, ..Default::default() };
        assert!(super::has_too_many_fields(&change.encode_to_vec(), requests));
        assert!(requests_in::<v1::DecrementAvailabilityRequest>().is_empty());
    }

    #[test]
    fn fields_are_counted_as_far_as_there_are_any() {
        let request = |count| v1::DecrementAvailabilityRequest {
            site_id: "site".into(),
            items: vec![v1::Item { quantity: 1, location_id: "x".repeat(200), ..Default::default() }; count],
            restrict_inventory_value: Some(true),
            ..Default::default()
        };
        assert!(!has_too_many_fields(&request(FIELDS_MAX - 2).encode_to_vec()));
        assert!(has_too_many_fields(&request(FIELDS_MAX - 1).encode_to_vec()));
        // A varint, eight bytes, four bytes, a text, and the two ends of a group.
        let each = [&[0x08, 0xff, 0x01][..], &[0x11; 9], &[0x25; 5], &[0x2a, 1, b'x'], &[0x33, 0x34]].concat();
        assert!(!has_too_many_fields(&each.repeat(FIELDS_MAX / 6)));
        assert!(has_too_many_fields(&each.repeat(FIELDS_MAX / 6 + 1)));
        for broken in [&[][..], &[0x08], &[0x0a, 0xff], &[0x07], &[0xff; 20]] {
            assert!(!has_too_many_fields(broken), "{broken:?}");
        }
    }
}
