//! Counts gRPC messages in a body, frame by frame, without copying.
//!
//! A message is a prefix of five bytes (a flag, then the length, big-endian) and that many bytes
//! ([PROTOCOL-HTTP2]). DATA frames may hold many messages, or a part of one.
//!
//! [PROTOCOL-HTTP2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

/// Bytes before each message: its flag, then four of its length.
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

/// Where in the sequence of messages a body stands. Small, as bodies are moved often.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrameParser {
    messages: u64,
    bytes: u64,
    /// How many bytes of the current message are still to come, once the prefix is complete.
    missing: u32,
    prefix: [u8; PREFIX],
    /// How many bytes of `prefix` have come.
    filled: u8,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "no part is longer than the message or the prefix that it is of"
)]
impl FrameParser {
    /// Returns the bytes of all complete messages, without prefixes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next part of the body; `complete` sees each message that ends in it.
    #[inline]
    pub(crate) fn push(&mut self, mut data: &[u8], mut complete: impl FnMut(Message)) {
        if self.filled != 0 {
            data = self.resume(data, &mut complete);
            if self.filled != 0 {
                return;
            }
        }
        while let Some((prefix, rest)) = data.split_first_chunk::<PREFIX>() {
            let size = length(*prefix);
            let Some(rest) = rest.get(size as usize..) else {
                self.prefix = *prefix;
                self.filled = PREFIX as u8;
                self.missing = size - rest.len() as u32;
                return;
            };
            self.finish(prefix[0], size, &mut complete);
            data = rest;
        }
        if !data.is_empty() {
            self.prefix[..data.len()].copy_from_slice(data);
            self.filled = data.len() as u8;
        }
    }

    /// Completes the message that began in an earlier part; returns what follows it.
    fn resume<'a>(&mut self, mut data: &'a [u8], complete: &mut impl FnMut(Message)) -> &'a [u8] {
        let filled = usize::from(self.filled);
        if filled < PREFIX {
            let (head, rest) = data.split_at(data.len().min(PREFIX - filled));
            self.prefix[filled..filled + head.len()].copy_from_slice(head);
            self.filled += head.len() as u8;
            data = rest;
            if filled + head.len() < PREFIX {
                return data;
            }
            self.missing = length(self.prefix);
        }
        let (part, rest) = data.split_at(data.len().min(self.missing as usize));
        self.missing -= part.len() as u32;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What was sent, and the bytes it becomes.
    fn encode(messages: &[(bool, Vec<u8>)]) -> (Vec<Message>, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut sent = Vec::new();
        for (sequence, (compressed, payload)) in (0..).zip(messages) {
            let size = u32::try_from(payload.len()).unwrap();
            sent.push(Message { sequence, size, compressed: *compressed });
            bytes.push(u8::from(*compressed));
            bytes.extend(size.to_be_bytes());
            bytes.extend(payload);
        }
        (sent, bytes)
    }

    fn messages() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
        prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20)
    }

    /// `bytes` in parts that end where `cuts` say.
    fn parse(bytes: &[u8], cuts: &[usize]) -> (Vec<Message>, FrameParser) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut parser = FrameParser::default();
        let mut seen = Vec::new();
        for part in cuts.windows(2) {
            parser.push(&bytes[part[0]..part[1]], |message| seen.push(message));
        }
        (seen, parser)
    }

    proptest! {
        #[test]
        fn however_it_is_cut_all_messages_are_seen(
            messages in messages(),
            cuts in prop::collection::vec(any::<usize>(), 0..60),
        ) {
            let (sent, bytes) = encode(&messages);
            let (seen, parser) = parse(&bytes, &cuts);
            prop_assert_eq!(parser.bytes(), sent.iter().map(|message| u64::from(message.size)).sum::<u64>());
            prop_assert_eq!(seen, sent);
        }

        #[test]
        fn unfinished_message_is_not_counted(
            messages in messages(),
            missing in 1_usize..44,
            cuts in prop::collection::vec(any::<usize>(), 0..60),
        ) {
            let (mut sent, bytes) = encode(&messages);
            let whole = bytes.len().saturating_sub(missing);
            while sent.iter().map(|message| PREFIX + message.size as usize).sum::<usize>() > whole {
                sent.pop();
            }
            prop_assert_eq!(parse(&bytes[..whole], &cuts).0, sent);
        }

        #[test]
        fn nonsense_is_read_the_same_however_it_is_cut(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(any::<usize>(), 0..60),
        ) {
            prop_assert_eq!(parse(&bytes, &cuts).0, parse(&bytes, &[]).0);
        }
    }
}
