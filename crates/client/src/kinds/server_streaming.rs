//! `GetSensorReadings`: what is stored, and with `follow` what is new.

use std::time::Duration;

use kelvin_proto::{SensorReading, SensorRequest};
use tokio::time::sleep;
use tonic::Status;

use super::kind::Kind;
use crate::{Config, session::Session};

/// The number of newest readings that the first call requests.
const FIRST_LIMIT: u64 = 100;

/// Reads one sensor after the other, each from where it was left.
#[derive(Debug)]
pub(crate) struct ServerStreaming {
    sensors: Vec<Cursor>,
    next: usize,
}

/// The position up to which a sensor was read.
#[derive(Debug, Default)]
struct Cursor {
    sensor_id: String,
    /// The latest timestamp received, in Unix seconds.
    latest: Option<i64>,
    /// The number of readings received with that timestamp.
    at_latest: usize,
    /// The number of those that the current call has returned again.
    repeated: usize,
}

impl ServerStreaming {
    pub(crate) fn new(config: &Config) -> Self {
        let sensors =
            config.sensor_ids().map(|sensor_id| Cursor { sensor_id, ..Cursor::default() }).collect();
        Self { sensors, next: 0 }
    }
}

impl Kind for ServerStreaming {
    async fn call(&mut self, session: &Session, probe: bool) -> Result<(), Status> {
        let follow = session.config.follow;
        let length = if follow { session.stream_duration() } else { Duration::ZERO };
        let wait = if probe { Duration::ZERO } else { session.interval() };
        tokio::select! {
            () = sleep(wait) => {}
            () = session.closing.cancelled() => return Ok(()),
        }
        let index = self.next % self.sensors.len();
        self.next = index + 1;
        let cursor = &mut self.sensors[index];
        let request = session.retryable_request(cursor.request(follow), length);
        let mut readings = session.client().get_sensor_readings(request).await?.into_inner();
        session.progress.record_success();
        let end = async {
            tokio::select! {
                () = sleep(length), if follow => {}
                () = session.closing.cancelled() => {}
            }
        };
        let mut end = std::pin::pin!(end);
        loop {
            let reading = tokio::select! {
                reading = readings.message() => reading?,
                () = &mut end => return Ok(()),
            };
            let Some(reading) = reading else { return Ok(()) };
            if cursor.is_new(&reading) {
                session.metrics.received();
            }
        }
    }
}

impl Cursor {
    fn request(&mut self, follow: bool) -> SensorRequest {
        self.repeated = 0;
        SensorRequest {
            sensor_id: self.sensor_id.clone(),
            since: self.latest,
            until: None,
            limit: self.latest.is_none().then_some(FIRST_LIMIT),
            follow,
        }
    }

    /// Returns whether `reading` is new. A server without `since` returns all readings again, and every server those of the
    /// latest second.
    fn is_new(&mut self, reading: &SensorReading) -> bool {
        let latest = *self.latest.get_or_insert(reading.timestamp);
        if reading.timestamp > latest {
            (self.latest, self.at_latest, self.repeated) = (Some(reading.timestamp), 1, 1);
            return true;
        }
        if reading.timestamp < latest {
            return false;
        }
        self.repeated += 1;
        let new = self.repeated > self.at_latest;
        self.at_latest = self.at_latest.max(self.repeated);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(cursor: &mut Cursor, timestamps: &[i64]) -> Vec<i64> {
        cursor.request(false);
        let reading = |timestamp| SensorReading { timestamp, ..SensorReading::default() };
        timestamps.iter().copied().filter(|timestamp| cursor.is_new(&reading(*timestamp))).collect()
    }

    #[test]
    fn repeated_reading_is_not_new() {
        let mut cursor = Cursor::default();
        assert_eq!(new(&mut cursor, &[1, 2, 2]), [1, 2, 2]);
        assert_eq!(cursor.request(true).since, Some(2));
        // `since` gives the readings of that second again, with one that arrived later.
        assert_eq!(new(&mut cursor, &[2, 2, 2, 3]), [2, 3]);
        // An old server returns all.
        assert_eq!(new(&mut cursor, &[1, 2, 2, 2, 3, 3]), [3]);
        assert_eq!(new(&mut cursor, &[]), [0; 0]);
    }
}
