use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use kelvin_client::{Channel, Client};
use kelvin_proto::{ListSensorsRequest, SensorStats};
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;

/// The number of values that a sparkline can show.
const HISTORY_LEN: usize = 120;
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The demo's own sensors send readings several times a second.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// What the server reports of one sensor. Temperatures are in degrees Celsius.
#[derive(Debug, Clone)]
pub(super) struct Sensor {
    pub(super) id: String,
    pub(super) count: u64,
    pub(super) last: f64,
    pub(super) mean: f64,
    pub(super) alerts: u64,
    pub(super) alerting: bool,
    /// The time at which its last new reading was seen.
    pub(super) last_seen: Instant,
    /// The last values that were seen, the newest last.
    pub(super) history: VecDeque<f64>,
}

/// The state of a sensor.
pub(super) enum State {
    /// An alert has begun, and no later reading has ended it yet.
    Alerting,
    /// It has sent nothing for this long.
    Silent(Duration),
    Active,
}

/// All sensors in order of their ids, as last polled.
#[derive(Debug, Clone, Default)]
pub(super) struct Sensors(Arc<Mutex<Vec<Sensor>>>);

impl Sensors {
    pub(super) fn get(&self) -> Vec<Sensor> {
        self.0.lock().clone()
    }

    /// Queries the server until the demo ends.
    pub(super) async fn poll(self, channel: Channel) {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(status) = self.refresh(channel.client()).await {
                tracing::warn!(%status, "cannot list the sensors");
            }
        }
    }

    async fn refresh(&self, mut client: Client) -> Result<(), Status> {
        let mut listed = Vec::new();
        let mut request = ListSensorsRequest::default();
        loop {
            let page = client.list_sensors(request).await?.into_inner();
            listed.extend(page.sensors);
            if page.next_page_token.is_empty() {
                break;
            }
            request = ListSensorsRequest { page_token: page.next_page_token, ..Default::default() };
        }
        let mut sensors = self.0.lock();
        let mut known: HashMap<_, _> = sensors.drain(..).map(|sensor| (sensor.id.clone(), sensor)).collect();
        sensors.extend(listed.into_iter().map(|stats| {
            let before = known.remove(&stats.sensor_id).unwrap_or_else(Sensor::unknown);
            before.updated(stats, Instant::now())
        }));
        sensors.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(())
    }
}

impl Sensor {
    pub(super) fn state(&self) -> State {
        let silent = self.last_seen.elapsed();
        if self.alerting {
            State::Alerting
        } else if silent >= SILENT_AFTER {
            State::Silent(silent)
        } else {
            State::Active
        }
    }

    fn unknown() -> Self {
        let last_seen = Instant::now();
        let (id, history) = (String::new(), VecDeque::new());
        Self { id, count: 0, last: 0.0, mean: 0.0, alerts: 0, alerting: false, last_seen, history }
    }

    fn updated(self, stats: SensorStats, now: Instant) -> Self {
        let (mut history, mut last_seen) = (self.history, self.last_seen);
        let last = stats.last.map_or(0.0, |reading| reading.temperature);
        if stats.count > self.count {
            if history.len() == HISTORY_LEN {
                history.pop_front();
            }
            history.push_back(last);
            last_seen = now;
        }
        let SensorStats { sensor_id: id, count, mean, alerts, alerting, .. } = stats;
        Self { id, count, last, mean, alerts, alerting, last_seen, history }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensor_without_new_readings_becomes_silent() {
        let stats = |count| SensorStats { count, ..SensorStats::default() };
        let long_ago = Instant::now().checked_sub(SILENT_AFTER * 2).unwrap();
        let sensor = Sensor::unknown().updated(stats(1), long_ago);
        assert!(matches!(sensor.state(), State::Silent(_)));
        let same = sensor.updated(stats(1), Instant::now());
        assert!(matches!(same.state(), State::Silent(duration) if duration >= SILENT_AFTER * 2));
        assert!(matches!(same.updated(stats(2), Instant::now()).state(), State::Active));
    }

    #[test]
    fn sensor_is_alerting_until_its_alert_ends() {
        let stats = |alerting| SensorStats { count: 1, alerting, ..SensorStats::default() };
        let sensor = Sensor::unknown().updated(stats(true), Instant::now());
        assert!(matches!(sensor.state(), State::Alerting));
        assert!(matches!(sensor.updated(stats(false), Instant::now()).state(), State::Active));
    }
}
