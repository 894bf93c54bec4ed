//! Messages from DATA frames.
//!
//! Between two calls of [`Deframer::feed`] `partial` holds nothing, or the beginning of exactly one message, prefix
//! included. Messages that lie whole in a frame are handed on without a copy. A length beyond the limit is an error at
//! its prefix, before anything is kept for it, so `partial` is never longer than a prefix and the limit.

use std::{error::Error, fmt};

use tonic::Status;

use crate::frame::PREFIX;

/// The reason why a stream cannot be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The compressed flag in a call whose messages are not compressed.
    Compressed,
    /// A message is longer than allowed.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The length allowed, in bytes.
        limit: usize,
    },
    /// A flag that is neither 0 nor 1.
    Flag(u8),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compressed => {
                f.write_str("a message has the compressed flag, but the call has no grpc-encoding")
            }
            Self::TooLong { length, limit } => {
                write!(f, "a message of {length} bytes is longer than the limit of {limit}")
            }
            Self::Flag(flag) => write!(f, "invalid compression flag {flag}"),
        }
    }
}

impl Error for FrameError {}

impl From<FrameError> for Status {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLong { .. } => Self::resource_exhausted(error.to_string()),
            FrameError::Compressed | FrameError::Flag(_) => Self::internal(error.to_string()),
        }
    }
}

/// Finds messages in the DATA frames of one stream; frames and messages need not begin or end together.
#[derive(Debug)]
pub struct Deframer {
    /// A message that has begun and not ended, with its prefix.
    partial: Vec<u8>,
    limit: usize,
    may_be_compressed: bool,
}

impl Deframer {
    /// Creates a deframer for messages of at most `limit` bytes, without the prefix.
    #[must_use]
    pub fn new(limit: usize, may_be_compressed: bool) -> Self {
        Self { partial: Vec::new(), limit, may_be_compressed }
    }

    /// Returns false when the stream ends here in the middle of a message.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.partial.is_empty()
    }

    /// Calls `each` with every message that `data` completes, and with whether it is compressed, until it fails.
    ///
    /// # Errors
    ///
    /// Returns the error of `each`, or a [`FrameError`] where the stream cannot be read further.
    #[inline]
    pub fn feed<E: From<FrameError>>(
        &mut self,
        mut data: &[u8],
        mut each: impl FnMut(bool, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.partial.is_empty() {
            if !self.top_up(PREFIX, &mut data) {
                return Ok(());
            }
            let (is_compressed, end) = self.prefix(&self.partial)?;
            if !self.top_up(end, &mut data) {
                return Ok(());
            }
            let result = each(is_compressed, &self.partial[PREFIX..]);
            self.partial.clear();
            result?;
        }
        while data.len() >= PREFIX {
            let (is_compressed, end) = self.prefix(data)?;
            if data.len() < end {
                break;
            }
            each(is_compressed, &data[PREFIX..end])?;
            data = &data[end..];
        }
        self.partial.extend_from_slice(data);
        Ok(())
    }

    /// Moves bytes until `partial` is `len` long; false when there are too few.
    fn top_up(&mut self, len: usize, data: &mut &[u8]) -> bool {
        let missing = len.saturating_sub(self.partial.len()).min(data.len());
        let (head, tail) = data.split_at(missing);
        self.partial.extend_from_slice(head);
        *data = tail;
        self.partial.len() >= len
    }

    /// Returns whether the message is compressed, and where it ends if `data` begins with its prefix.
    #[inline]
    fn prefix(&self, data: &[u8]) -> Result<(bool, usize), FrameError> {
        let is_compressed = match data[0] {
            0 => false,
            1 if self.may_be_compressed => true,
            1 => return Err(FrameError::Compressed),
            flag => return Err(FrameError::Flag(flag)),
        };
        let length = u32::from_be_bytes([data[1], data[2], data[3], data[4]]) as usize;
        if length > self.limit {
            return Err(FrameError::TooLong { length, limit: self.limit });
        }
        Ok((is_compressed, PREFIX + length))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], message].concat()
    }

    fn messages(deframer: &mut Deframer, data: &[u8]) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut found = Vec::new();
        deframer.feed(data, |_, message| {
            found.push(message.to_vec());
            Ok(())
        })?;
        Ok(found)
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_however_the_frames_are_cut(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            cuts in prop::collection::vec(1_usize..60, 1..40),
        ) {
            let bytes: Vec<u8> = sent.iter().flat_map(|message| framed(message)).collect();
            let mut deframer = Deframer::new(40, false);
            let mut received = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (frame, tail) = rest.split_at((*cut).min(rest.len()));
                received.extend(messages(&mut deframer, frame).unwrap());
                rest = tail;
            }
            prop_assert_eq!(received, sent);
            prop_assert!(deframer.is_between_messages());
        }
    }

    #[test]
    fn truncated_message_is_detected() {
        let mut deframer = Deframer::new(10, false);
        assert_eq!(messages(&mut deframer, &framed(b"whole")[..7]), Ok(vec![]));
        assert!(!deframer.is_between_messages());
    }

    #[test]
    fn unreadable_frame_is_rejected_at_prefix() {
        let long = [0, 0, 0, 0, 11];
        let compressed = [1, 0, 0, 0, 1];
        let error = FrameError::TooLong { length: 11, limit: 10 };
        assert_eq!(messages(&mut Deframer::new(10, false), &long), Err(error));
        assert_eq!(messages(&mut Deframer::new(10, false), &compressed), Err(FrameError::Compressed));
        assert_eq!(messages(&mut Deframer::new(10, false), b"GET / HTTP/1.1"), Err(FrameError::Flag(b'G')));
        let mut split = Deframer::new(10, false);
        assert_eq!(messages(&mut split, &long[..3]), Ok(vec![]));
        assert_eq!(messages(&mut split, &long[3..]), Err(error));
    }
}
