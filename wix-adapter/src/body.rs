//! Receives the bodies of calls, within bounds that all calls of the process share.
//!
//! A body is charged for what has arrived, and stays charged until its call is answered. The first bytes of each come
//! from a part of the memory of their own, so large bodies that never end keep no order of a usual size from an answer.
//! A call for which there is no memory is refused at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt;
use inventory_program::repeat::{Repeats, Told};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
/// Bytes of an unwanted body that are read, and forgotten, so that its connection can be used again.
const UNWANTED_BYTES_MAX: u64 = 64 * 1024;

const _: () = assert!(BODY_BYTES_MAX <= OTHER_BYTES_MAX);

/// The memory for bodies.
pub(crate) struct Bodies {
    first: Arc<Semaphore>,
    other: Arc<Semaphore>,
}

/// What a body is charged for. Dropping it gives the memory back.
#[derive(Default)]
pub(crate) struct Charged {
    first: Share,
    other: Share,
}

/// A part of the memory.
#[derive(Default)]
struct Share {
    bytes: usize,
    permits: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Makes it `bytes` large, if there is room.
    fn grow(&mut self, memory: &Arc<Semaphore>, bytes: usize) -> Option<()> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Some(());
        }
        let permits = memory.clone().try_acquire_many_owned(u32::try_from(more).ok()?).ok()?;
        match &mut self.permits {
            Some(held) => held.merge(permits),
            None => self.permits = Some(permits),
        }
        self.bytes = bytes;
        Some(())
    }
}

impl Bodies {
    pub(crate) fn new() -> Self {
        let memory = |bytes| Arc::new(Semaphore::new(bytes));
        Self { first: memory(FIRST_BYTES_MAX), other: memory(OTHER_BYTES_MAX) }
    }

    /// Receives a body. What it is charged for must live as long as the call.
    pub(crate) async fn receive(&self, mut body: Body) -> Result<(Bytes, Charged), Answer> {
        // The length that the head announces.
        if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
            discard(body);
            return Err(Answer::TooLarge);
        }
        match tokio::time::timeout(BODY_TIME_MAX, self.collect(&mut body)).await {
            Ok(Ok(received)) => Ok(received),
            Ok(Err(answer)) => {
                discard(body);
                Err(answer)
            }
            Err(_) => Err(Answer::TooSlow),
        }
    }

    async fn collect(&self, body: &mut Body) -> Result<(Bytes, Charged), Answer> {
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
            self.charge(&mut charged, length)?;
            if bytes.is_empty() && body.is_end_stream() {
                return Ok((data, charged));
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.into(), charged))
    }

    /// Charges a body that is `length` bytes long so far.
    fn charge(&self, charged: &mut Charged, length: usize) -> Result<(), Answer> {
        let first = length.min(FIRST_BYTES);
        let grown = charged.first.grow(&self.first, first);
        let grown = grown.and_then(|()| charged.other.grow(&self.other, length - first));
        grown.ok_or_else(|| {
            tell_no_memory();
            Answer::Unavailable
        })
    }
}

/// Reads on in a body that nobody wants, and forgets it: a few bytes, for a short time. A longer one costs its caller
/// the connection.
pub(crate) fn discard(mut body: Body) {
    if body.is_end_stream() || body.size_hint().lower() > UNWANTED_BYTES_MAX {
        return;
    }
    let read = async move {
        let mut left = UNWANTED_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(less) = left.checked_sub(bytes) else { return };
            left = less;
        }
    };
    // The answer does not wait for it.
    tokio::spawn(tokio::time::timeout(BODY_TIME_MAX, read));
}

/// Logs that bodies are refused, at growing intervals.
fn tell_no_memory() {
    static REFUSED: Repeats = Repeats::new();
    if let Some(Told { count, .. }) = REFUSED.count("no memory", Instant::now()) {
        tracing::warn!(calls = count, "calls were refused: too many large bodies arrive at the same time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_leave_room_for_the_first_bytes_of_others() {
        let bodies = Bodies::new();
        let mut large: Vec<Charged> = Vec::new();
        loop {
            let mut charged = Charged::default();
            if bodies.charge(&mut charged, BODY_BYTES_MAX).is_err() {
                break;
            }
            large.push(charged);
        }
        assert_eq!(large.len(), OTHER_BYTES_MAX / (BODY_BYTES_MAX - FIRST_BYTES));
        let mut small = Charged::default();
        bodies.charge(&mut small, 100).expect("there is room");
        bodies.charge(&mut small, FIRST_BYTES).expect("there is room");
        assert!(bodies.charge(&mut small, BODY_BYTES_MAX).is_err());
        large.clear();
        bodies.charge(&mut small, BODY_BYTES_MAX).expect("the memory was given back");
    }
}
