//! Attacks by callers with a token.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use kelvin_proto::{AggregateRequest, SensorReading, SensorRequest};
use prost::Message as _;

use super::{AUTHENTICATED, Case, DEFAULTS, case, unauthenticated::alternate_window_sizes};
use crate::{
    attack::Attack,
    client::{AGGREGATE, CHAT, CLIENT_STREAM, Client, READ, Reply, reading},
    frames::{Call, Frames, INITIAL_WINDOW_SIZE, prefixed},
    test_server::{Failure, TOKEN, TestServer, text},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(chats_and_settings, AUTHENTICATED, DEFAULTS, "chats, then alternating SETTINGS"),
        case!(
            tiny_frames,
            AUTHENTICATED,
            DEFAULTS,
            "chats with unread responses, in DATA frames of one byte"
        ),
        case!(partial_messages, AUTHENTICATED, DEFAULTS, "messages of 64 KiB that are not completed"),
        case!(dropped_streams, AUTHENTICATED, DEFAULTS, "client streams that are opened and reset"),
        case!(unread_replies, AUTHENTICATED, DEFAULTS, "GetSensorReadings, unread responses"),
        case!(unread_aggregates, AUTHENTICATED, DEFAULTS, "AggregateSensorReadings, unread responses"),
        case!(shrunken_windows, AUTHENTICATED, DEFAULTS, "windows set to 0 after responses are queued"),
        case!(
            fruitless_queries,
            AUTHENTICATED,
            DEFAULTS,
            "queries with `limit` whose `since` matches no reading"
        ),
        case!(empty_frames, AUTHENTICATED, DEFAULTS, "DATA frames without payload"),
        case!(idle_streams, AUTHENTICATED, DEFAULTS, "streams that stay idle after a burst of messages"),
        case!(idle_followers, AUTHENTICATED, DEFAULTS, "followers that stay idle after a burst"),
        case!(gzip_bombs, AUTHENTICATED, DEFAULTS, "messages that inflate to 16 MiB"),
    ]
}

const STREAMS: u32 = 128;

async fn chats_and_settings(server: &TestServer) -> Result<String, Failure> {
    Attack::default().run(server, |frames| chats(frames, 1), alternate_window_sizes).await
}

fn chats(frames: &mut Frames, messages: usize) {
    let message = reading("chat").encode_to_vec();
    for _ in 0..STREAMS {
        let stream = frames.call(&Call::new(CHAT, Some(TOKEN)));
        for _ in 0..messages {
            frames.message(stream, &message);
        }
    }
}

async fn tiny_frames(server: &TestServer) -> Result<String, Failure> {
    let attack = Attack { window: 0, ..Attack::default() };
    let open = |frames: &mut Frames| {
        for _ in 0..STREAMS {
            let stream = frames.call(&Call::new(CHAT, Some(TOKEN)));
            frames.data(stream, &[0; 5].repeat(1_600));
            for _ in 0..20_000 {
                frames.data(stream, &[0]);
            }
        }
    };
    attack.run(server, open, |_| ()).await
}

async fn partial_messages(server: &TestServer) -> Result<String, Failure> {
    let open = |frames: &mut Frames| {
        for _ in 0..STREAMS {
            let stream = frames.call(&Call::new(CLIENT_STREAM, Some(TOKEN)));
            frames.data(stream, &[&[0, 0, 0, 0xff, 0xff][..], &[0; 16_000]].concat());
            for _ in 0..2 {
                frames.data(stream, &[0; 16_000]);
            }
            frames.data(stream, &[0; 15_000]);
        }
    };
    Attack { connections: 64, ..Attack::default() }.run(server, open, |_| ()).await
}

/// Keeps streams open after the server has read many messages at once on each.
async fn idle_streams(server: &TestServer) -> Result<String, Failure> {
    let message = reading("i").encode_to_vec();
    let burst = prefixed(&message).repeat(16_000 / (message.len() + 5));
    let open = |frames: &mut Frames| {
        for _ in 0..STREAMS {
            let stream = frames.call(&Call::new(CLIENT_STREAM, Some(TOKEN)));
            for _ in 0..4 {
                frames.data(stream, &burst);
            }
        }
    };
    Attack { connections: 64, ..Attack::default() }.run(server, open, |_| ()).await
}

/// Keeps followers open after they have received many readings at once.
async fn idle_followers(server: &TestServer) -> Result<String, Failure> {
    fill(server, "long", 20_000).await?;
    let request = SensorRequest { follow: true, limit: Some(2_000), ..query("long") }.encode_to_vec();
    let open = |frames: &mut Frames| {
        for _ in 0..STREAMS {
            let stream = frames.call(&Call::new(READ, Some(TOKEN)));
            frames.last_message(stream, &request);
        }
    };
    Attack { connections: 64, ..Attack::default() }.run(server, open, |_| ()).await
}

async fn dropped_streams(server: &TestServer) -> Result<String, Failure> {
    // Resets streams 100 at a time; a closed connection also drops the streams that are open at that moment.
    let message = reading("dropped").encode_to_vec();
    let repeat = |frames: &mut Frames| {
        let streams: Vec<_> = (0..100)
            .map(|_| {
                let stream = frames.call(&Call::new(CLIENT_STREAM, Some(TOKEN)));
                frames.message(stream, &message);
                stream
            })
            .collect();
        for stream in streams {
            frames.reset(stream);
        }
    };
    Attack::default().run(server, |_| (), repeat).await
}

/// Stores `count` readings of one sensor, one second apart.
async fn fill(server: &TestServer, sensor_id: &str, count: u32) -> Result<(), Failure> {
    let last = reading(sensor_id);
    let (mut sender, response) = Client::connect(server).await?.open(CLIENT_STREAM).await?;
    for ago in (0..count).rev() {
        let reading = SensorReading { timestamp: last.timestamp - i64::from(ago), ..last.clone() };
        sender.send_message(&reading.encode_to_vec()).await?;
    }
    sender.finish()?;
    Reply::receive(response).await?.next().await?.map(|_| ()).ok_or_else(|| "no response".to_owned())
}

fn query(sensor_id: &str) -> SensorRequest {
    SensorRequest { sensor_id: sensor_id.to_owned(), ..SensorRequest::default() }
}

async fn unread_replies(server: &TestServer) -> Result<String, Failure> {
    fill(server, "long", 20_000).await?;
    let request = query("long").encode_to_vec();
    // Flow control allows the responses, but the attacker does not read its sockets.
    let attack = Attack { window: (1 << 31) - 1, reads: false, connections: 16, ..Attack::default() };
    let open = |frames: &mut Frames| {
        for _ in 0..STREAMS {
            let stream = frames.call(&Call::new(READ, Some(TOKEN)));
            frames.last_message(stream, &request);
        }
    };
    attack.run(server, open, |_| ()).await
}

/// Requests aggregates with the maximum number of windows.
///
/// Each handler keeps them in memory while flow control blocks its response.
async fn unread_aggregates(server: &TestServer) -> Result<String, Failure> {
    fill(server, "long", 11_000).await?;
    let request = AggregateRequest { sensor_id: "long".to_owned(), step: 1, ..AggregateRequest::default() };
    let request = request.encode_to_vec();
    let open = |frames: &mut Frames| {
        for _ in 0..STREAMS {
            let stream = frames.call(&Call::new(AGGREGATE, Some(TOKEN)));
            frames.last_message(stream, &request);
        }
    };
    Attack { window: 0, connections: 16, ..Attack::default() }.run(server, open, |_| ()).await
}

async fn shrunken_windows(server: &TestServer) -> Result<String, Failure> {
    fill(server, "long", 20_000).await?;
    let request = query("long").encode_to_vec();
    let attack = Attack { window: 1 << 20, connections: 16, ..Attack::default() };
    let open = |frames: &mut Frames| {
        for _ in 0..STREAMS {
            let stream = frames.call(&Call::new(READ, Some(TOKEN)));
            frames.last_message(stream, &request);
        }
        frames.settings(&[(INITIAL_WINDOW_SIZE, 0)]);
    };
    attack.run(server, open, |_| ()).await
}

async fn fruitless_queries(server: &TestServer) -> Result<String, Failure> {
    fill(server, "long", 50_000).await?;
    let request = SensorRequest { since: Some(i64::MAX), limit: Some(10), ..query("long") }.encode_to_vec();
    let repeat = |frames: &mut Frames| {
        let stream = frames.call(&Call::new(READ, Some(TOKEN)));
        frames.last_message(stream, &request);
    };
    Attack::default().run(server, |_| (), repeat).await
}

async fn empty_frames(server: &TestServer) -> Result<String, Failure> {
    let repeat = |frames: &mut Frames| frames.data(1, &[]);
    let open = |frames: &mut Frames| {
        frames.call(&Call::new(CHAT, Some(TOKEN)));
    };
    Attack::default().run(server, open, repeat).await
}

async fn gzip_bombs(server: &TestServer) -> Result<String, Failure> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 16 << 20]).and_then(|()| encoder.try_finish()).map_err(text)?;
    let bomb = encoder.get_ref();
    let length = u32::try_from(bomb.len()).map_err(text)?.to_be_bytes();
    let message = [&[1], &length[..], bomb].concat();
    let repeat = |frames: &mut Frames| {
        let stream = frames.call(&Call::new(CLIENT_STREAM, Some(TOKEN)).with("grpc-encoding", "gzip"));
        frames.data(stream, &message);
    };
    Attack::default().run(server, |_| (), repeat).await
}
