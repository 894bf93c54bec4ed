//! Messages from DATA frames.
//!
//! Between two calls of [`Deframer::feed`] `partial` holds nothing, or the beginning of exactly one message, prefix
//! included. Messages that lie whole in a frame are handed on without a copy. A length beyond the limit is an error at
//! its prefix, before anything is kept for it, so `partial` is never longer than a prefix and the limit.

use super::{
    PREFIX,
    encoding::{Encoding, gunzip},
    frame_error::FrameError,
};

/// Finds messages in the DATA frames of one stream; frames and messages need not begin or end together.
#[derive(Debug)]
pub(crate) struct Deframer {
    /// A message that has begun and not ended, with its prefix.
    partial: Vec<u8>,
    limit: usize,
    encoding: Encoding,
}

impl Deframer {
    /// `limit` is the length of the longest message allowed, in bytes, compressed or not.
    pub(crate) fn new(limit: usize, encoding: Encoding) -> Self {
        Self { partial: Vec::new(), limit, encoding }
    }

    /// False when the stream ends here in the middle of a message.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.partial.is_empty()
    }

    /// Calls `each` with every message that `data` completes, until it fails.
    pub(crate) fn feed<E: From<FrameError>>(
        &mut self,
        mut data: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.partial.is_empty() {
            if !self.top_up(PREFIX, &mut data) {
                return Ok(());
            }
            let (is_compressed, end) = self.prefix(&self.partial)?;
            if !self.top_up(end, &mut data) {
                return Ok(());
            }
            let result = self.decoded(is_compressed, &self.partial[PREFIX..], &mut each);
            self.partial.clear();
            result?;
        }
        while data.len() >= PREFIX {
            let (is_compressed, end) = self.prefix(data)?;
            if data.len() < end {
                break;
            }
            self.decoded(is_compressed, &data[PREFIX..end], &mut each)?;
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

    fn decoded<E: From<FrameError>>(
        &self,
        is_compressed: bool,
        message: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if is_compressed { each(&gunzip(message, self.limit)?) } else { each(message) }
    }

    /// Returns whether the message is compressed, and where it ends if `data` begins with its prefix.
    fn prefix(&self, data: &[u8]) -> Result<(bool, usize), FrameError> {
        let is_compressed = match (data[0], self.encoding) {
            (0, _) => false,
            (1, Encoding::Gzip) => true,
            (1, Encoding::Identity) => return Err(FrameError::Compressed),
            (flag, _) => return Err(FrameError::Flag(flag)),
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
        deframer.feed(data, |message| {
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
            let mut deframer = Deframer::new(40, Encoding::Identity);
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
        let mut deframer = Deframer::new(10, Encoding::Identity);
        assert_eq!(messages(&mut deframer, &framed(b"whole")[..7]), Ok(vec![]));
        assert!(!deframer.is_between_messages());
    }

    #[test]
    fn unreadable_frame_is_rejected_at_prefix() {
        let long = [0, 0, 0, 0, 11];
        let compressed = [1, 0, 0, 0, 1];
        let error = FrameError::TooLong { length: 11, limit: 10 };
        assert_eq!(messages(&mut Deframer::new(10, Encoding::Identity), &long), Err(error));
        assert_eq!(
            messages(&mut Deframer::new(10, Encoding::Identity), &compressed),
            Err(FrameError::Compressed)
        );
        assert_eq!(
            messages(&mut Deframer::new(10, Encoding::Identity), b"GET / HTTP/1.1"),
            Err(FrameError::Flag(b'G'))
        );
        let mut split = Deframer::new(10, Encoding::Identity);
        assert_eq!(messages(&mut split, &long[..3]), Ok(vec![]));
        assert_eq!(messages(&mut split, &long[3..]), Err(error));
    }
}
