//! However a request body is cut into frames, the same messages come out, within the limit.
//!
//! The first byte chooses the encoding; the bytes of the body also say where it is cut.

#![no_main]

use kelvin_server::fuzz::{Deframed, deframe};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 300;

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let gzip = first & 1 == 1;
    let whole: Deframed = deframe([body], gzip, LIMIT);
    assert!(whole.messages.iter().all(|message| message.len() <= LIMIT));
    assert_eq!(deframe(body.chunks(1), gzip, LIMIT), whole);

    let mut rest = body;
    let cuts = std::iter::from_fn(|| {
        let (first, _) = rest.split_first()?;
        let (part, after) = rest.split_at((usize::from(*first) + 1).min(rest.len()));
        rest = after;
        Some(part)
    });
    assert_eq!(deframe(cuts, gzip, LIMIT), whole);
});
