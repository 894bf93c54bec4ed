//! Counts gRPC messages in a body, frame by frame, without copying.
//!
//! A message is a prefix of five bytes (a flag, then the length, big-endian) and that many bytes
//! ([PROTOCOL-HTTP2]). DATA frames may hold many messages, or a part of one.
//!
//! [PROTOCOL-HTTP2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

const PREFIX: usize = 5;

/// A message that has passed completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Which one of its direction, from 0.
    pub(crate) sequence: u64,
    /// Bytes without the prefix, as on the wire.
    pub(crate) size: u32,
    /// Whether its flag says compressed.
    pub(crate) compressed: bool,
}

/// Where in the sequence of messages a body stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrameParser {
    prefix: [u8; PREFIX],
    /// How many bytes of `prefix` have come.
    filled: usize,
    /// How many bytes of the current message are still to come, once the prefix is complete.
    missing: usize,
    messages: u64,
    bytes: u64,
}

impl FrameParser {
    /// Bytes of all complete messages, without prefixes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next part of the body; `complete` sees each message that ends in it.
    #[inline]
    pub(crate) fn push(&mut self, mut data: &[u8], mut complete: impl FnMut(Message)) {
        if self.filled != 0 {
            data = self.resume(data, &mut complete);
        }
        while let Some((prefix, rest)) = data.split_first_chunk::<PREFIX>() {
            let size = length(*prefix);
            let Some(rest) = rest.get(size as usize..) else {
                self.prefix = *prefix;
                self.filled = PREFIX;
                self.missing = size as usize - rest.len();
                return;
            };
            self.finish(prefix[0], size, &mut complete);
            data = rest;
        }
        self.prefix[..data.len()].copy_from_slice(data);
        self.filled = data.len();
    }

    /// Completes the message that began in an earlier part; what follows it is returned.
    fn resume<'a>(&mut self, mut data: &'a [u8], complete: &mut impl FnMut(Message)) -> &'a [u8] {
        if self.filled < PREFIX {
            let (head, rest) = data.split_at(data.len().min(PREFIX - self.filled));
            self.prefix[self.filled..self.filled + head.len()].copy_from_slice(head);
            self.filled += head.len();
            data = rest;
            if self.filled < PREFIX {
                return data;
            }
            self.missing = length(self.prefix) as usize;
        }
        let (part, rest) = data.split_at(data.len().min(self.missing));
        self.missing -= part.len();
        if self.missing == 0 {
            self.filled = 0;
            self.finish(self.prefix[0], length(self.prefix), complete);
        }
        rest
    }

    #[inline]
    fn finish(&mut self, flag: u8, size: u32, complete: &mut impl FnMut(Message)) {
        complete(Message { sequence: self.messages, size, compressed: flag != 0 });
        self.messages += 1;
        self.bytes += u64::from(size);
    }
}

#[inline]
fn length(prefix: [u8; PREFIX]) -> u32 {
    u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]])
}
