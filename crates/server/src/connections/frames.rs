//! The headers of HTTP/2 frames in a stream of bytes (RFC 9113, 4.1). Payloads are skipped.

use super::preface::PREFACE;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const CONTINUATION: u8 = 9;

/// Of SETTINGS.
const ACK: u8 = 0x1;
/// Of DATA and HEADERS.
pub(super) const END_STREAM: u8 = 0x1;

const HEADER: usize = 9;

/// The header of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FrameHeader {
    /// Bytes of the payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHeader {
    pub(super) fn is_ack(self) -> bool {
        self.flags & ACK != 0
    }

    pub(super) fn ends_stream(self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    fn parse(bytes: [u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Self { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff }
    }
}

/// Finds the frames of one direction of a connection.
#[derive(Debug)]
pub(super) struct FrameParser {
    header: [u8; HEADER],
    filled: usize,
    /// Bytes until the next header.
    skip: usize,
    current: FrameHeader,
    when: When,
}

/// When a frame is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Header,
    End,
}

impl FrameParser {
    /// Of what a client sends, from its preface on. Frames are reported at their headers: by then HTTP/2 buffers them.
    pub(super) fn received() -> Self {
        Self::new(When::Header, PREFACE.len())
    }

    /// Of what is sent. Frames are reported at their ends: until then they are held.
    pub(super) fn sent() -> Self {
        Self::new(When::End, 0)
    }

    fn new(when: When, skip: usize) -> Self {
        Self { header: [0; HEADER], filled: 0, skip, current: FrameHeader::default(), when }
    }

    /// Takes the next bytes and calls `each` with the frames that begin or end in them.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(FrameHeader)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                (self.skip, bytes) = (self.skip - skipped, &bytes[skipped..]);
                if self.skip == 0 && self.when == When::End {
                    each(self.current);
                }
                continue;
            }
            let taken = (HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            (self.filled, bytes) = (self.filled + taken, &bytes[taken..]);
            if self.filled == HEADER {
                self.current = FrameHeader::parse(self.header);
                (self.filled, self.skip) = (0, self.current.length);
                if self.when == When::Header || self.skip == 0 {
                    each(self.current);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(frame: FrameHeader) -> Vec<u8> {
        let length = u32::try_from(frame.length).unwrap().to_be_bytes();
        let head = [&length[1..], &[frame.kind, frame.flags], &frame.stream.to_be_bytes()].concat();
        [head, vec![0xff; frame.length]].concat()
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_cut(
            sent in prop::collection::vec((0_usize..40, 0_u8..12, any::<u8>(), 0_u32..1 << 31), 0..20),
            cuts in prop::collection::vec(1_usize..60, 1..40),
        ) {
            let sent: Vec<_> = sent
                .into_iter()
                .map(|(length, kind, flags, stream)| FrameHeader { length, kind, flags, stream })
                .collect();
            let frames: Vec<u8> = sent.iter().flat_map(|frame| bytes(*frame)).collect();
            for (mut parser, prefix) in [(FrameParser::received(), PREFACE), (FrameParser::sent(), &[])] {
                let all = [prefix, &frames].concat();
                let (mut found, mut rest) = (Vec::new(), &all[..]);
                for cut in cuts.iter().cycle() {
                    if rest.is_empty() {
                        break;
                    }
                    let (head, tail) = rest.split_at((*cut).min(rest.len()));
                    parser.push(head, |frame| found.push(frame));
                    rest = tail;
                }
                prop_assert_eq!(&found, &sent);
            }
        }
    }

    #[test]
    fn received_frame_is_reported_at_its_header_and_sent_frame_at_its_end() {
        let frame = bytes(FrameHeader { length: 10, kind: DATA, flags: END_STREAM, stream: 1 });
        let count = |parser: &mut FrameParser, bytes: &[u8]| {
            let mut count = 0;
            parser.push(bytes, |frame| count += usize::from(frame.ends_stream()));
            count
        };
        let mut received = FrameParser::received();
        assert_eq!(count(&mut received, PREFACE), 0);
        assert_eq!(count(&mut received, &frame[..HEADER]), 1);
        let mut sent = FrameParser::sent();
        assert_eq!(count(&mut sent, &frame[..HEADER + 9]), 0);
        assert_eq!(count(&mut sent, &frame[HEADER + 9..]), 1);
    }
}
