//! The server's codec: prost, with a clear error for a message that cannot be decoded.
//!
//! tonic's own codec reports such a message as INTERNAL, as if the server had failed. It is the caller's mistake:
//! invalid UTF-8, a wrong wire type, a `Struct` nested too deep. So the server says INVALID_ARGUMENT, with an
//! `ErrorInfo` of the reason [`UNDECODABLE`].

use std::collections::HashMap;

use prost::Message;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};
use tonic_types::{ErrorDetails, StatusExt};

use crate::ERROR_DOMAIN;

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

/// Decodes a request. The error is INVALID_ARGUMENT, [`UNDECODABLE`].
#[derive(Debug)]
pub struct RequestDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default> Decoder for RequestDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        self.0.decode(buf).map_err(|status| {
            let message = format!("the message cannot be decoded: {}", status.message());
            let details = ErrorDetails::with_error_info(UNDECODABLE, ERROR_DOMAIN, HashMap::new());
            Status::with_error_details(Code::InvalidArgument, message, details)
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
