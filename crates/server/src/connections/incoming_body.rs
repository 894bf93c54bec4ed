use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body, Frame};
use kelvin_proto::frame::PREFIX;

use super::account::Account;

/// The memory of one message in a handler's batch, in addition to its bytes: a list entry. A handler keeps the memory of its
/// largest batch until its call ends.
const MESSAGE_OVERHEAD: usize = 32;

/// The body of a request. Releases from the account what is read.
#[derive(Debug)]
pub(crate) struct IncomingBody {
    stream: RecvStream,
    account: Arc<Account>,
    id: u32,
    messages: MessageBounds,
    /// The number of bytes read since the handler last waited.
    burst: usize,
    largest_burst: usize,
    /// Whether a frame was read since the handler last waited.
    in_burst: bool,
    data_ended: bool,
}

impl IncomingBody {
    pub(super) fn new(stream: RecvStream, account: Arc<Account>) -> Self {
        let id = stream.stream_id().as_u32();
        let messages = MessageBounds::default();
        Self { stream, account, id, messages, burst: 0, largest_burst: 0, in_burst: false, data_ended: false }
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = &mut *self;
        if !this.data_ended {
            if this.in_burst {
                // Not before the first frame: the call itself has just read the clock.
                ready!(this.account.poll_turn(cx));
            }
            let polled = this.stream.poll_data(cx);
            this.in_burst = polled.is_ready();
            if polled.is_pending() {
                this.burst = 0;
            }
            match ready!(polled) {
                Some(Ok(data)) => {
                    // An error means that the stream is reset, which the next poll reports.
                    let _ = this.stream.flow_control().release_capacity(data.len());
                    let messages = this.messages.push(&data);
                    this.burst += data.len() + messages * MESSAGE_OVERHEAD;
                    this.largest_burst = this.largest_burst.max(this.burst);
                    let kept = this.messages.begun + this.largest_burst;
                    this.account.body_read(this.id, data.len(), kept);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // RST_STREAM with NO_ERROR ends the body without a failure (RFC 9113, 8.1).
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.data_ended = true,
            }
        }
        let trailers = ready!(this.stream.poll_trailers(cx)).transpose();
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        self.account.body_dropped(self.id);
    }
}

/// Tracks where messages begin and end, because a handler has to keep the bytes of an incomplete message.
#[derive(Debug, Default)]
struct MessageBounds {
    /// The number of bytes received of an incomplete message, including its prefix.
    begun: usize,
    /// The part of the prefix that has been received.
    prefix: [u8; PREFIX],
    /// The number of bytes missing from the message, once its prefix is complete.
    missing: usize,
}

impl MessageBounds {
    /// Returns how many messages end in `data`.
    fn push(&mut self, mut data: &[u8]) -> usize {
        let mut ended = 0;
        while !data.is_empty() {
            if self.begun == 0 {
                data = after_whole_messages(data, &mut ended);
            }
            if self.begun < PREFIX {
                let taken = (PREFIX - self.begun).min(data.len());
                self.prefix[self.begun..self.begun + taken].copy_from_slice(&data[..taken]);
                (self.begun, data) = (self.begun + taken, &data[taken..]);
                if self.begun < PREFIX {
                    break;
                }
                let [_, length @ ..] = self.prefix;
                self.missing = u32::from_be_bytes(length) as usize;
            }
            let taken = self.missing.min(data.len());
            (self.begun, self.missing, data) = (self.begun + taken, self.missing - taken, &data[taken..]);
            if self.missing == 0 {
                self.begun = 0;
                ended += 1;
            }
        }
        ended
    }
}

/// Skips and counts complete messages without copying their prefixes. Nearly all messages take this path.
fn after_whole_messages<'a>(mut data: &'a [u8], ended: &mut usize) -> &'a [u8] {
    while let Some(([_, length @ ..], rest)) = data.split_first_chunk::<PREFIX>()
        && let Some(rest) = rest.get(u32::from_be_bytes(*length) as usize..)
    {
        data = rest;
        *ended += 1;
    }
    data
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn begun_message_is_what_follows_the_last_complete_one(
            lengths in prop::collection::vec(0_usize..40, 0..20),
            cuts in prop::collection::vec(1_usize..60, 1..40),
        ) {
            let framed = |length: &usize| {
                let prefix = u32::try_from(*length).unwrap().to_be_bytes();
                [&[0], &prefix[..], &vec![0xff; *length]].concat()
            };
            let bytes: Vec<u8> = lengths.iter().flat_map(framed).collect();
            let ends: Vec<_> = lengths
                .iter()
                .scan(0, |end, length| { *end += PREFIX + length; Some(*end) })
                .collect();
            let (mut bounds, mut at, mut ended) = (MessageBounds::default(), 0, 0);
            for cut in cuts.iter().cycle() {
                if at == bytes.len() {
                    break;
                }
                let end = (at + cut).min(bytes.len());
                ended += bounds.push(&bytes[at..end]);
                at = end;
                let complete = ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
                prop_assert_eq!(bounds.begun, at - complete);
                prop_assert_eq!(ended, ends.iter().filter(|end| **end <= at).count());
            }
        }
    }
}
