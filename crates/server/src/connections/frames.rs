//! Parses the headers of HTTP/2 frames in a byte stream (RFC 9113, 4.1) and skips their payloads.

use super::preface::PREFACE;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const CONTINUATION: u8 = 9;

/// A flag of SETTINGS frames.
const ACK: u8 = 0x1;
/// A flag of DATA and HEADERS frames.
pub(super) const END_STREAM: u8 = 0x1;
/// A flag of DATA frames.
pub(super) const PADDED: u8 = 0x8;

const HEADER: usize = 9;

/// The default of `SETTINGS_MAX_FRAME_SIZE`, which the server does not raise.
const MAX_FRAME_SIZE: usize = 16_384;

/// The header of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FrameHeader {
    /// The length of the payload in bytes.
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

    pub(super) fn is_padded(self) -> bool {
        self.kind == DATA && self.flags & PADDED != 0
    }

    /// Returns whether this is a DATA frame without padding on a stream.
    fn is_plain_data(self) -> bool {
        self.kind == DATA && self.flags & !END_STREAM == 0 && self.stream != 0
    }

    fn parse(bytes: [u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Self { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff }
    }

    fn write(self, bytes: &mut [u8]) {
        let [_, length @ ..] = u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes();
        bytes[..3].copy_from_slice(&length);
        bytes[3..5].copy_from_slice(&[self.kind, self.flags]);
        bytes[5..].copy_from_slice(&self.stream.to_be_bytes());
    }
}

/// Finds the ends of sent frames. The memory of a frame is held until its last byte is sent.
#[derive(Debug, Default)]
pub(super) struct SentFrames {
    header: [u8; HEADER],
    filled: usize,
    /// The number of bytes until the next header.
    skip: usize,
    current: FrameHeader,
}

impl SentFrames {
    /// Parses the next bytes and calls `each` with every frame that ends in them.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(FrameHeader)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                (self.skip, bytes) = (self.skip - skipped, &bytes[skipped..]);
                if self.skip == 0 {
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
                if self.skip == 0 {
                    each(self.current);
                }
            }
        }
    }
}

/// Parses the frames that a client sends, starting with its connection preface, and joins consecutive DATA frames of a
/// stream: h2 needs 260 bytes and some hundred instructions per frame, and callers that send one message per frame send
/// many. The boundaries of DATA frames have no meaning in HTTP/2 (RFC 9113, 6.1 and 8.1), and flow control counts payload
/// bytes, which joining does not change.
#[derive(Debug)]
pub(super) struct ReceivedFrames {
    header: [u8; HEADER],
    filled: usize,
    /// The number of bytes until the next header.
    skip: usize,
}

/// A DATA frame that the next one may be joined to.
struct Joinable {
    /// The index of its header.
    at: usize,
    header: FrameHeader,
}

impl ReceivedFrames {
    pub(super) fn new() -> Self {
        Self { header: [0; HEADER], filled: 0, skip: PREFACE.len() }
    }

    /// Parses the next bytes, joins complete frames in place, and returns the number of bytes that are left. Calls `each`
    /// with every frame whose header is left.
    pub(super) fn join(&mut self, bytes: &mut [u8], mut each: impl FnMut(FrameHeader)) -> usize {
        let (mut read, mut written) = (0, 0);
        let mut last: Option<Joinable> = None;
        while read < bytes.len() {
            let mut keep = self.skip.min(bytes.len() - read);
            self.skip -= keep;
            if keep == 0 {
                let rest = &bytes[read..];
                if let (0, Some(header)) = (self.filled, rest.first_chunk()) {
                    let header = FrameHeader::parse(*header);
                    let complete = header.is_plain_data() && HEADER + header.length <= rest.len();
                    self.skip = header.length;
                    if complete
                        && let Some(before) = &mut last
                        && before.join(header)
                    {
                        read += HEADER;
                        continue;
                    }
                    if let Some(before) = last.take() {
                        each(before.write(bytes));
                    }
                    if complete {
                        last = Some(Joinable { at: written, header });
                    } else {
                        each(header);
                    }
                    keep = HEADER;
                } else {
                    keep = self.take_header(rest, &mut each);
                }
            }
            if read > written {
                bytes.copy_within(read..read + keep, written);
            }
            (read, written) = (read + keep, written + keep);
        }
        if let Some(before) = last {
            each(before.write(bytes));
        }
        written
    }

    /// Collects the bytes of a header that is split across reads; returns their number.
    fn take_header(&mut self, bytes: &[u8], each: impl FnOnce(FrameHeader)) -> usize {
        let taken = (HEADER - self.filled).min(bytes.len());
        self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        if self.filled == HEADER {
            let header = FrameHeader::parse(self.header);
            (self.filled, self.skip) = (0, header.length);
            each(header);
        }
        taken
    }
}

impl Joinable {
    /// Extends the frame by `next`; returns false if the two cannot be joined.
    fn join(&mut self, next: FrameHeader) -> bool {
        let length = self.header.length + next.length;
        if self.header.stream != next.stream || self.header.ends_stream() || length > MAX_FRAME_SIZE {
            return false;
        }
        (self.header.length, self.header.flags) = (length, next.flags);
        true
    }

    fn write(self, bytes: &mut [u8]) -> FrameHeader {
        self.header.write(&mut bytes[self.at..self.at + HEADER]);
        self.header
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(frame: FrameHeader, fill: u8) -> Vec<u8> {
        let mut bytes = vec![fill; HEADER + frame.length];
        frame.write(&mut bytes[..HEADER]);
        bytes
    }

    fn cut(bytes: &[u8], cuts: &[usize], mut each: impl FnMut(&[u8])) {
        let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
        while !rest.is_empty() {
            let (head, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            each(head);
            rest = tail;
        }
    }

    /// Returns the frames with their payloads, consecutive DATA frames of a stream joined, since their boundaries have no
    /// meaning.
    fn meaning(mut bytes: &[u8]) -> Vec<(FrameHeader, Vec<u8>)> {
        let mut meaning: Vec<(FrameHeader, Vec<u8>)> = Vec::new();
        while let Some((header, rest)) = bytes.split_first_chunk() {
            let mut header = FrameHeader::parse(*header);
            let (payload, rest) = rest.split_at(header.length);
            assert!(header.length <= MAX_FRAME_SIZE);
            match meaning.last_mut() {
                Some((before, data))
                    if before.is_plain_data()
                        && header.is_plain_data()
                        && before.stream == header.stream
                        && !before.ends_stream() =>
                {
                    data.extend(payload);
                    (before.length, before.flags) = (data.len(), header.flags);
                }
                _ => {
                    header.length = payload.len();
                    meaning.push((header, payload.to_vec()));
                }
            }
            bytes = rest;
        }
        meaning
    }

    fn headers(mut bytes: &[u8]) -> Vec<FrameHeader> {
        let mut headers = Vec::new();
        while let Some((header, rest)) = bytes.split_first_chunk() {
            let header = FrameHeader::parse(*header);
            bytes = &rest[header.length..];
            headers.push(header);
        }
        headers
    }

    fn frames() -> impl Strategy<Value = Vec<FrameHeader>> {
        let length = prop_oneof![8 => 0_usize..40, 1 => 0_usize..=MAX_FRAME_SIZE];
        let kind = prop_oneof![4 => Just(DATA), 1 => 0_u8..12];
        let flags = prop_oneof![8 => Just(0), 1 => Just(END_STREAM), 1 => any::<u8>()];
        let frame = (length, kind, flags, 0_u32..4);
        let frame =
            frame.prop_map(|(length, kind, flags, stream)| FrameHeader { length, kind, flags, stream });
        prop::collection::vec(frame, 0..30)
    }

    fn cuts() -> impl Strategy<Value = Vec<usize>> {
        prop::collection::vec(prop_oneof![1_usize..60, 1_usize..20_000], 1..40)
    }

    proptest! {
        #[test]
        fn sent_frames_are_found_however_the_bytes_are_cut(sent in frames(), cuts in cuts()) {
            let all: Vec<u8> = sent.iter().flat_map(|frame| bytes(*frame, 0xff)).collect();
            let (mut parser, mut found) = (SentFrames::default(), Vec::new());
            cut(&all, &cuts, |part| parser.push(part, |frame| found.push(frame)));
            prop_assert_eq!(&found, &sent);
        }

        #[test]
        fn received_frames_keep_their_meaning_however_split(sent in frames(), cuts in cuts()) {
            let all: Vec<u8> =
                sent.iter().zip(0..).flat_map(|(frame, fill)| bytes(*frame, fill)).collect();
            let (mut parser, mut found, mut left) = (ReceivedFrames::new(), Vec::new(), Vec::new());
            cut(&[PREFACE, &all].concat(), &cuts, |part| {
                let mut part = part.to_vec();
                let length = parser.join(&mut part, |frame| found.push(frame));
                assert!(length > 0, "a read of 0 bytes means end of file");
                left.extend_from_slice(&part[..length]);
            });
            let (preface, left) = left.split_at(PREFACE.len());
            prop_assert_eq!(preface, PREFACE);
            prop_assert_eq!(headers(left), found);
            prop_assert_eq!(meaning(left), meaning(&all));
        }
    }

    #[test]
    fn only_complete_small_frames_of_a_stream_are_joined() {
        let data = |stream, flags| FrameHeader { length: 100, kind: DATA, flags, stream };
        let sent = [data(1, 0), data(1, 0), data(1, END_STREAM), data(3, 0), data(5, 0), data(5, 0)];
        let mut all: Vec<u8> = sent.iter().flat_map(|frame| bytes(*frame, 0)).collect();
        all.pop();
        let (mut parser, mut found) = (ReceivedFrames { skip: 0, ..ReceivedFrames::new() }, Vec::new());
        let length = parser.join(&mut all, |frame| found.push(frame));
        let first = FrameHeader { length: 300, ..data(1, END_STREAM) };
        assert_eq!(found, [first, data(3, 0), data(5, 0), data(5, 0)]);
        assert_eq!(length, 4 * HEADER + 6 * 100 - 1);
    }

    #[test]
    fn sent_frame_is_reported_at_its_end() {
        let frame = bytes(FrameHeader { length: 10, kind: DATA, flags: END_STREAM, stream: 1 }, 0);
        let mut parser = SentFrames::default();
        let mut ends = |bytes: &[u8]| {
            let mut count = 0;
            parser.push(bytes, |frame| count += usize::from(frame.ends_stream()));
            count
        };
        assert_eq!(ends(&frame[..HEADER + 9]), 0);
        assert_eq!(ends(&frame[HEADER + 9..]), 1);
    }
}
