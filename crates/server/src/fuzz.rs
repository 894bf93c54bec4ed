//! Entry points of the fuzz targets in `fuzz/`; compiled for them alone.

use std::time::Instant;

use tonic::Status;

use crate::{
    Config,
    lifetime::jittered,
    wire::{Deframer, Encoding, read_reading},
};

/// The messages of a request body.
#[derive(Debug, PartialEq, Eq)]
pub struct Deframed {
    /// The messages, in order.
    pub messages: Vec<Vec<u8>>,
    /// The error that makes the rest unreadable.
    pub error: Option<String>,
    /// Whether the body ends at the end of a message.
    pub is_complete: bool,
}

/// Reads a body that comes in `frames`.
pub fn deframe<'a>(frames: impl IntoIterator<Item = &'a [u8]>, gzip: bool, limit: usize) -> Deframed {
    let mut deframer = Deframer::new(limit, if gzip { Encoding::Gzip } else { Encoding::Identity });
    let mut messages = Vec::new();
    for frame in frames {
        let fed = deframer.feed::<Status>(frame, |message| {
            messages.push(message.to_vec());
            Ok(())
        });
        if let Err(error) = fed {
            return Deframed { messages, error: Some(format!("{error:?}")), is_complete: false };
        }
    }
    Deframed { messages, error: None, is_complete: deframer.is_between_messages() }
}

/// Reads one message: sensor id, the bits of the temperature, timestamp.
#[must_use]
pub fn parse_reading(message: &[u8]) -> Option<(String, u64, i64)> {
    read_reading(message, |id, reading| {
        (id.as_str().to_owned(), reading.temperature.to_bits(), reading.timestamp)
    })
    .ok()
}

/// Does the arithmetic that the server does with accepted settings.
pub fn use_settings(config: &Config) {
    let now = Instant::now();
    for age in [config.max_stream_age, config.max_connection_age] {
        let _ = now + 2 * jittered(age);
    }
    for timeout in [
        config.reload_interval,
        config.handshake_timeout,
        config.drain_delay,
        config.drain_timeout,
        config.sensor_idle_timeout,
        config.valkey_timeout,
    ] {
        let _ = now + timeout;
    }
    let _ = crate::validate::latest_timestamp(config.max_clock_skew);
    let _ = (config.limits(), config.alerts());
}
