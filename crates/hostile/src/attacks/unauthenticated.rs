//! Attacks by callers without a token.

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::{Case, DEFAULTS, UNAUTHENTICATED, case};
use crate::{
    attack::Attack,
    client::{HEALTH_CHECK, HEALTH_WATCH, UNARY},
    frames::{CONTINUATION, Call, Frames, INITIAL_WINDOW_SIZE},
    test_server::{Failure, TestServer},
};

/// Number of connections that must all stay open in [`full_connections`].
const FULL_CONNECTIONS: usize = 200;

/// Maximum memory growth in KiB for each of these connections.
const CONNECTION_KIB: usize = 256;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(health_bodies, UNAUTHENTICATED, DEFAULTS, "unfinished health checks with bodies"),
        case!(large_headers, UNAUTHENTICATED, DEFAULTS, "open calls with 15 KiB of headers"),
        case!(indexed_headers, UNAUTHENTICATED, DEFAULTS, "headers of 15 KiB in a few bytes (HPACK)"),
        case!(watches_and_settings, UNAUTHENTICATED, DEFAULTS, "Health/Watch, then alternating SETTINGS"),
        case!(sampled_by_caller, UNAUTHENTICATED, DEFAULTS, "traceparent with the sampled flag, long paths"),
        case!(silent_connections, UNAUTHENTICATED, DEFAULTS, "1500 TLS connections that make no call"),
        case!(baggage, UNAUTHENTICATED, DEFAULTS, "calls without a token and with baggage"),
        case!(refused_calls, UNAUTHENTICATED, DEFAULTS, "calls with wrong tokens, reconnecting when closed"),
        case!(pings, UNAUTHENTICATED, DEFAULTS, "PING flood"),
        case!(
            unsolicited_acks,
            UNAUTHENTICATED,
            DEFAULTS,
            "unsolicited PING acknowledgements, which h2 logs as warnings"
        ),
        case!(resets, UNAUTHENTICATED, DEFAULTS, "rapid reset (CVE-2023-44487)"),
        case!(
            endless_continuation,
            UNAUTHENTICATED,
            DEFAULTS,
            "endless CONTINUATION frames (CVE-2024-27316)"
        ),
        case!(
            full_connections,
            FULL_CONNECTIONS * CONNECTION_KIB / 1024,
            DEFAULTS,
            "200 connections that each buffer as much as allowed"
        ),
        case!(unknown_frames, UNAUTHENTICATED, DEFAULTS, "frames of an unknown type"),
    ]
}

async fn health_bodies(server: &TestServer) -> Result<String, Failure> {
    let attack = Attack { connections: 64, ..Attack::default() };
    let open = |frames: &mut Frames| {
        for _ in 0..128 {
            let stream = frames.call(&Call::new(HEALTH_CHECK, None));
            frames.data(stream, &[&[0, 0, 0x40, 0, 0][..], &[0; 16_000]].concat());
            for _ in 0..2 {
                frames.data(stream, &[0; 16_000]);
            }
        }
    };
    attack.run(server, open, |_| ()).await
}

/// Buffers almost as much per connection as the server allows.
///
/// Each connection has four calls, two of which send frames of one byte. The server counts at most 125,000 bytes (frames
/// that arrive together count as one), and would close the connection at 131,072.
async fn full_connections(server: &TestServer) -> Result<String, Failure> {
    let attack = Attack { connections: FULL_CONNECTIONS, ..Attack::default() };
    let open = |frames: &mut Frames| {
        for tiny in [false, false, true, true] {
            let stream = frames.call(&Call::new(HEALTH_CHECK, None));
            frames.data(stream, &[0, 0, 0x80, 0, 0]);
            if tiny {
                (0..95).for_each(|_| frames.data(stream, &[0]));
            } else {
                (0..2).for_each(|_| frames.data(stream, &[0; 13_000]));
            }
        }
    };
    let sent = attack.send(server, open, |_| ()).await;
    if sent.connections > FULL_CONNECTIONS {
        return Err(format!("{sent}: the server closed some connections"));
    }
    Ok(sent.to_string())
}

async fn large_headers(server: &TestServer) -> Result<String, Failure> {
    let value = "x".repeat(15_000);
    let attack = Attack { connections: 64, ..Attack::default() };
    let open = |frames: &mut Frames| {
        for _ in 0..128 {
            frames.call(&Call::new(HEALTH_WATCH, None).with("large", &value));
        }
    };
    attack.run(server, open, |_| ()).await
}

async fn indexed_headers(server: &TestServer) -> Result<String, Failure> {
    let attack = Attack { connections: 64, ..Attack::default() };
    let open = |frames: &mut Frames| {
        // Adds a header of 3.9 KiB to the dynamic table, then refers to it three times per call.
        let mut block = head(HEALTH_WATCH);
        block.extend_from_slice(&[0x40, 1, b'a', 127, 0x80 | 0x4d, 0x1d]);
        block.extend_from_slice(&[b'v'; 127 + 0x4d + (0x1d << 7)]);
        frames.open_stream(&block);
        for _ in 0..127 {
            frames.open_stream(&[head(HEALTH_WATCH), vec![0xbe; 3]].concat());
        }
    };
    attack.run(server, open, |_| ()).await
}

/// Encodes the minimum headers of a gRPC call, without changing the dynamic table.
fn head(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x87, 0x04, u8::try_from(path.len()).expect("a short path")];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(&[0x01, 9]);
    block.extend_from_slice(b"localhost");
    // Index 31 of the static table: `content-type`.
    block.extend_from_slice(&[0x0f, 0x10, 16]);
    block.extend_from_slice(b"application/grpc");
    block
}

async fn watches_and_settings(server: &TestServer) -> Result<String, Failure> {
    let open = |frames: &mut Frames| {
        for _ in 0..128 {
            let stream = frames.call(&Call::new(HEALTH_WATCH, None));
            frames.last_message(stream, b"");
        }
    };
    Attack::default().run(server, open, alternate_window_sizes).await
}

/// Appends two SETTINGS frames that change the initial window size, for each of which h2 visits all open streams.
pub(super) fn alternate_window_sizes(frames: &mut Frames) {
    frames.settings(&[(INITIAL_WINDOW_SIZE, 1)]);
    frames.settings(&[(INITIAL_WINDOW_SIZE, 65_535)]);
}

async fn sampled_by_caller(server: &TestServer) -> Result<String, Failure> {
    let paths = [format!("/SensorService/{}", "x".repeat(6_000)), UNARY.to_owned(), HEALTH_CHECK.to_owned()];
    let repeat = |frames: &mut Frames| {
        for path in &paths {
            let call = Call::new(path, None)
                .with("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
                .with("tracestate", "vendor=value");
            let stream = frames.call(&call);
            frames.last_message(stream, b"");
        }
    };
    Attack::default().run(server, |_| (), repeat).await
}

async fn baggage(server: &TestServer) -> Result<String, Failure> {
    let entries: Vec<_> = (0..60).map(|n| format!("key-{n}=value-{n}")).collect();
    let entries = entries.join(",");
    let repeat = |frames: &mut Frames| {
        let stream = frames.call(&Call::new(UNARY, None).with("baggage", &entries));
        frames.last_message(stream, b"");
    };
    Attack::default().run(server, |_| (), repeat).await
}

async fn refused_calls(server: &TestServer) -> Result<String, Failure> {
    let repeat = |frames: &mut Frames| {
        let stream = frames.call(&Call::new(UNARY, Some("wrong")));
        frames.last_message(stream, b"");
    };
    Attack::default().run(server, |_| (), repeat).await
}

async fn pings(server: &TestServer) -> Result<String, Failure> {
    Attack::default().run(server, |_| (), Frames::ping).await
}

async fn unsolicited_acks(server: &TestServer) -> Result<String, Failure> {
    Attack::default().run(server, |_| (), |frames| frames.raw(6, 1, 0, &[7; 8])).await
}

async fn resets(server: &TestServer) -> Result<String, Failure> {
    let repeat = |frames: &mut Frames| {
        let stream = frames.call(&Call::new(HEALTH_CHECK, None));
        frames.reset(stream);
    };
    Attack::default().run(server, |_| (), repeat).await
}

async fn endless_continuation(server: &TestServer) -> Result<String, Failure> {
    let open = |frames: &mut Frames| {
        frames.open_with_unfinished_headers(&Call::new(HEALTH_CHECK, None));
    };
    let repeat = |frames: &mut Frames| {
        // Headers with the name `x` and an empty value.
        frames.raw(CONTINUATION, 0, 1, &[0, 1, b'x', 0].repeat(1_000));
    };
    Attack::default().run(server, open, repeat).await
}

async fn unknown_frames(server: &TestServer) -> Result<String, Failure> {
    Attack::default().run(server, |_| (), |frames| frames.raw(0xfa, 0, 0, &[0; 4])).await
}

async fn silent_connections(server: &TestServer) -> Result<String, Failure> {
    const CONNECTIONS: usize = 1500;
    const AT_A_TIME: usize = 25;
    let mut open = Vec::new();
    while open.len() < CONNECTIONS && !server.remaining().is_zero() {
        let some = timeout(server.remaining(), join_all((0..AT_A_TIME).map(|_| server.connect()))).await;
        open.extend(some.into_iter().flatten().flatten());
    }
    sleep(server.remaining()).await;
    Ok(format!("{} connections", open.len()))
}
