use std::{fmt::Write as _, sync::Arc};

use compact_str::CompactString;
use kelvin_app::pluralize;
use kelvin_proto::Ack;
use kelvin_store::{Alert, Outcome, Report};
use tonic::Status;

use super::{core::Core, request_message::single};
use crate::{
    status,
    validate::{check_reading, latest_timestamp},
    wire::{Messages, Reply, RequestBody, framed, message, read_reading},
};

/// The everyday answer, encoded: message `stored`, accepted 1.
const STORED: &[u8] = b"\x00\x00\x00\x00\x0a\x0a\x06stored\x10\x01";

/// Stores one reading.
pub(super) async fn send_single_reading(
    core: Arc<Core>,
    messages: Messages<impl RequestBody>,
) -> Result<Reply, Status> {
    let latest = latest_timestamp(core.max_clock_skew);
    let (sensor_id, reading) = single(messages, |message| {
        read_reading(message, |sensor_id, reading| {
            check_reading(sensor_id, reading, latest)
                .map(|()| (CompactString::from(sensor_id.as_str()), reading))
        })
    })
    .await?
    .map_err(|invalid| {
        core.metrics.invalid(invalid);
        status::invalid(invalid)
    })?;
    let mut report = Report::default();
    let stored = core.append_one(&sensor_id, reading, &mut report).await;
    stored.map_err(|error| status::store_error(&error, Some(report.stored as u64)))?;
    match report.outcome(0) {
        Outcome::Rejected(refusal) => Err(status::refused(refusal)),
        Outcome::Stored(None) if report.evicted == 0 => Ok(framed(STORED)),
        Outcome::Stored(alert) => {
            Ok(message(&Ack { message: text(report.evicted, alert), accepted: Some(1) }))
        }
    }
}

fn text(evicted: usize, alert: Option<Alert>) -> String {
    let mut text = "stored".to_owned();
    if evicted > 0 {
        let _ = write!(text, "; {} evicted", pluralize(evicted as u64, "older reading"));
    }
    if let Some(alert) = alert {
        let _ = write!(text, "; {alert}");
    }
    text
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn stored_ack_equals_prost_encoding() {
        let ack = Ack { message: text(0, None), accepted: Some(1) };
        assert_eq!(STORED[..5], [0, 0, 0, 0, u8::try_from(ack.encoded_len()).unwrap()]);
        assert_eq!(STORED[5..], ack.encode_to_vec());
    }
}
