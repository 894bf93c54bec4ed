//! However a body is cut, the same messages are seen. `cargo +nightly fuzz run frame`, in the folder above.
//!
//! The input is a body; its first bytes also say where it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/frame.rs"]
#[allow(dead_code)]
mod frame;

use frame::{FrameParser, Message};

fn parse<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Message>, u64) {
    let mut parser = FrameParser::default();
    let mut seen = Vec::new();
    for part in parts {
        parser.push(part, |message| seen.push(message));
    }
    (seen, parser.bytes())
}

fuzz_target!(|body: &[u8]| {
    let whole = parse([body]);
    assert_eq!(whole.1, whole.0.iter().map(|message| u64::from(message.size)).sum::<u64>());
    assert_eq!(parse(body.chunks(1)), whole);

    let mut rest = body;
    let cuts = std::iter::from_fn(|| {
        let (first, _) = rest.split_first()?;
        let (part, after) = rest.split_at((usize::from(*first) + 1).min(rest.len()));
        rest = after;
        Some(part)
    });
    assert_eq!(parse(cuts), whole);
});
