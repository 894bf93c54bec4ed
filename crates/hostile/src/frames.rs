//! Encodes valid and invalid HTTP/2 frames (RFC 9113). Headers are HPACK literals without Huffman coding (RFC 7541).

/// Identifier of the setting (RFC 9113, section 6.5.2).
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A buffer of encoded frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub(crate) bytes: Vec<u8>,
    /// ID of the stream that was opened last; 0 before the first.
    last: u32,
}

/// The request headers of a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call<'a> {
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(path: &'a str, token: Option<&'a str>) -> Self {
        Self { path, token, headers: Vec::new() }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Encodes the headers as an HPACK header block.
    fn encode(&self) -> Vec<u8> {
        // `:method: POST` and `:scheme: https` from the static table.
        let mut block = vec![0x83, 0x87];
        literal(&mut block, ":path", self.path);
        literal(&mut block, ":authority", "localhost");
        literal(&mut block, "content-type", "application/grpc");
        literal(&mut block, "te", "trailers");
        if let Some(token) = self.token {
            literal(&mut block, "authorization", token);
        }
        for (name, value) in &self.headers {
            literal(&mut block, name, value);
        }
        block
    }
}

/// Appends a literal header field without indexing (RFC 7541, section 6.2.2).
fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    string(block, name);
    string(block, value);
}

/// Appends a string whose length is an integer with a 7-bit prefix (RFC 7541, sections 5.1 and 5.2).
fn string(block: &mut Vec<u8>, text: &str) {
    let low = |length: usize| u8::try_from(length % 128).expect("7 bits");
    match text.len().checked_sub(127) {
        None => block.push(low(text.len())),
        Some(mut rest) => {
            block.push(127);
            while rest >= 128 {
                block.push(0x80 | low(rest));
                rest /= 128;
            }
            block.push(low(rest));
        }
    }
    block.extend_from_slice(text.as_bytes());
}

impl Frames {
    /// Appends the connection preface and a SETTINGS frame.
    pub(crate) fn preface(&mut self, settings: &[(u16, u32)]) {
        self.bytes.extend_from_slice(PREFACE);
        self.settings(settings);
    }

    /// Appends a frame with any type and flags.
    pub(crate) fn raw(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("frames are short").to_be_bytes();
        self.bytes.extend_from_slice(&length[1..]);
        self.bytes.extend_from_slice(&[kind, flags]);
        self.bytes.extend_from_slice(&stream.to_be_bytes());
        self.bytes.extend_from_slice(payload);
    }

    /// Appends a SETTINGS frame.
    pub(crate) fn settings(&mut self, settings: &[(u16, u32)]) {
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        self.raw(SETTINGS, 0, 0, &payload);
    }

    /// Opens a stream with the headers of a call and returns the stream's ID.
    pub(crate) fn call(&mut self, call: &Call<'_>) -> u32 {
        self.open_stream(&call.encode())
    }

    /// Opens a stream with an encoded header block and returns the stream's ID.
    ///
    /// What exceeds the default `SETTINGS_MAX_FRAME_SIZE` goes into CONTINUATION frames.
    pub(crate) fn open_stream(&mut self, block: &[u8]) -> u32 {
        let stream = self.next_stream();
        let (first, mut rest) = block.split_at(block.len().min(16_384));
        self.raw(HEADERS, if rest.is_empty() { END_HEADERS } else { 0 }, stream, first);
        while !rest.is_empty() {
            let (part, tail) = rest.split_at(rest.len().min(16_384));
            self.raw(CONTINUATION, if tail.is_empty() { END_HEADERS } else { 0 }, stream, part);
            rest = tail;
        }
        stream
    }

    /// Opens a stream with a HEADERS frame that lacks `END_HEADERS`, and returns the stream's ID.
    pub(crate) fn open_with_unfinished_headers(&mut self, call: &Call<'_>) -> u32 {
        let stream = self.next_stream();
        self.raw(HEADERS, 0, stream, &call.encode());
        stream
    }

    fn next_stream(&mut self) -> u32 {
        self.last = if self.last == 0 { 1 } else { self.last + 2 };
        self.last
    }

    /// Appends a DATA frame.
    pub(crate) fn data(&mut self, stream: u32, payload: &[u8]) {
        self.raw(DATA, 0, stream, payload);
    }

    /// Appends a gRPC message in a DATA frame that ends the request.
    pub(crate) fn last_message(&mut self, stream: u32, message: &[u8]) {
        self.raw(DATA, END_STREAM, stream, &prefixed(message));
    }

    /// Appends a gRPC message in a DATA frame.
    pub(crate) fn message(&mut self, stream: u32, message: &[u8]) {
        self.data(stream, &prefixed(message));
    }

    /// Appends `RST_STREAM` with the error code `CANCEL`.
    pub(crate) fn reset(&mut self, stream: u32) {
        self.raw(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }

    /// Appends a PING frame.
    pub(crate) fn ping(&mut self) {
        self.raw(PING, 0, 0, &[7; 8]);
    }

    /// Appends a `WINDOW_UPDATE` frame.
    pub(crate) fn window_update(&mut self, stream: u32, increment: u32) {
        self.raw(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
    }
}

/// Returns an uncompressed message with gRPC's five-byte prefix.
pub(crate) fn prefixed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("messages are short").to_be_bytes();
    [&[0], &length[..], message].concat()
}
