//! Receives the bodies of calls, within bounds that all calls of the process share.
//!
//! A body is charged for what has arrived, and stays charged until its call is answered. The first bytes of each come
//! from a part of the memory of their own, so large bodies that never end keep no order of a usual size from an answer.
//! A call for which there is no memory is refused at once.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt;
use inventory_program::memory::{Charged, Memory};
use inventory_program::repeat::{Repeats, Told};

use crate::answer::Answer;

/// Bytes of a body. Wix states no bound; 300 items with long options take about 0.35 MB.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Time for a body to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes of a body that count as its first ones. An order of a few items fits into them.
const FIRST_BYTES: usize = 16 * 1024;
/// First bytes of all bodies together.
const FIRST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Other bytes of all bodies together.
const OTHER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of a refused body that are read, and forgotten, so that its caller gets the answer and can use its connection
/// again: if a connection is closed before its body is read, the answer may be lost with it.
const REFUSED_BYTES_MAX: u64 = 512 * 1024;
/// The same for what is no call of the plugin.
pub(crate) const STRAY_BYTES_MAX: u64 = 64 * 1024;

const _: () = assert!(BODY_BYTES_MAX <= OTHER_BYTES_MAX);

/// Receives bodies into the memory that they share.
pub(crate) struct Bodies(Memory);

impl Bodies {
    pub(crate) fn new() -> Self {
        Self(Memory::new(FIRST_BYTES, FIRST_BYTES_MAX, OTHER_BYTES_MAX))
    }

    /// Receives a body. What it is charged for must live as long as the call.
    pub(crate) async fn receive(&self, mut body: Body) -> Result<(Bytes, Charged), Answer> {
        match tokio::time::timeout(BODY_TIME_MAX, self.collect(&mut body)).await {
            Ok(Ok(received)) => Ok(received),
            Ok(Err(answer)) => {
                discard(body, REFUSED_BYTES_MAX);
                Err(answer)
            }
            Err(_) => Err(Answer::TooSlow),
        }
    }

    async fn collect(&self, body: &mut Body) -> Result<(Bytes, Charged), Answer> {
        // Refused by what the head announces: under overload, to keep more of it would cost time that others need.
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > BODY_BYTES_MAX {
            return Err(Answer::TooLarge);
        }
        if !self.0.has_room(announced) {
            return Err(no_memory());
        }
        let (mut bytes, mut charged) = (Vec::new(), Charged::default());
        while let Some(frame) = body.frame().await {
            // The connection broke, so nobody reads this answer.
            let frame = frame.map_err(|_| Answer::TooSlow)?;
            // Trailers mean nothing here.
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > BODY_BYTES_MAX {
                return Err(Answer::TooLarge);
            }
            if !self.0.charge(&mut charged, length) {
                return Err(no_memory());
            }
            if bytes.is_empty() && body.is_end_stream() {
                return Ok((data, charged));
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.into(), charged))
    }
}

/// Reads on in a body that nobody wants, and forgets it: if it has no more than so many bytes, and for a short time. A
/// longer one costs its caller the connection.
pub(crate) fn discard(mut body: Body, bytes_max: u64) {
    if body.is_end_stream() || body.size_hint().lower() > bytes_max {
        return;
    }
    let read = async move {
        let mut left = bytes_max;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(less) = left.checked_sub(bytes) else { return };
            left = less;
        }
    };
    // The answer does not wait for it.
    tokio::spawn(tokio::time::timeout(BODY_TIME_MAX, read));
}

/// The answer to a body for which there is no memory. The log tells it at growing intervals.
fn no_memory() -> Answer {
    static REFUSED: Repeats = Repeats::new();
    if let Some(Told { count, .. }) = REFUSED.count("no memory", Instant::now()) {
        tracing::warn!(calls = count, "calls were refused: too many large bodies arrive at the same time");
    }
    Answer::Unavailable
}
