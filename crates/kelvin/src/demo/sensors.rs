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

/// Values that a sparkline can show.
const HISTORY: usize = 120;
const EVERY: Duration = Duration::from_millis(500);
/// The demo's own sensors measure several times a second.
const SILENT: Duration = Duration::from_secs(5);

/// What the server says of one sensor. Temperatures are in degrees Celsius.
#[derive(Debug, Clone)]
pub(super) struct Sensor {
    pub(super) id: String,
    pub(super) count: u64,
    pub(super) last: f64,
    pub(super) mean: f64,
    pub(super) alerts: u64,
    pub(super) alerting: bool,
    /// When its last reading was seen.
    pub(super) heard: Instant,
    /// The last values that were seen, the newest last.
    pub(super) history: VecDeque<f64>,
}

/// What to know of a sensor at one look.
pub(super) enum State {
    /// It is in alert: an alert has begun, and no later reading has ended it yet.
    Alerting,
    /// It has sent nothing for so long.
    Silent(Duration),
    Heard,
}

/// All sensors, by id, as of a moment ago.
#[derive(Debug, Clone, Default)]
pub(super) struct Sensors(Arc<Mutex<Vec<Sensor>>>);

impl Sensors {
    pub(super) fn get(&self) -> Vec<Sensor> {
        self.0.lock().clone()
    }

    /// Queries the server until the demo ends.
    pub(super) async fn follow(self, channel: Channel) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(status) = self.ask(channel.client()).await {
                tracing::warn!(%status, "cannot list the sensors");
            }
        }
    }

    async fn ask(&self, mut client: Client) -> Result<(), Status> {
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
        let silent = self.heard.elapsed();
        if self.alerting {
            State::Alerting
        } else if silent >= SILENT {
            State::Silent(silent)
        } else {
            State::Heard
        }
    }

    fn unknown() -> Self {
        let heard = Instant::now();
        let (id, history) = (String::new(), VecDeque::new());
        Self { id, count: 0, last: 0.0, mean: 0.0, alerts: 0, alerting: false, heard, history }
    }

    fn updated(self, stats: SensorStats, now: Instant) -> Self {
        let (mut history, mut heard) = (self.history, self.heard);
        let last = stats.last.map_or(0.0, |reading| reading.temperature);
        if stats.count > self.count {
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back(last);
            heard = now;
        }
        let SensorStats { sensor_id: id, count, mean, alerts, alerting, .. } = stats;
        Self { id, count, last, mean, alerts, alerting, heard, history }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensor_without_new_readings_becomes_silent() {
        let stats = |count| SensorStats { count, ..SensorStats::default() };
        let long_ago = Instant::now().checked_sub(SILENT * 2).unwrap();
        let sensor = Sensor::unknown().updated(stats(1), long_ago);
        assert!(matches!(sensor.state(), State::Silent(_)));
        let same = sensor.updated(stats(1), Instant::now());
        assert!(matches!(same.state(), State::Silent(duration) if duration >= SILENT * 2));
        assert!(matches!(same.updated(stats(2), Instant::now()).state(), State::Heard));
    }

    #[test]
    fn alert_is_the_state_of_a_sensor_until_it_ends() {
        let stats = |alerting| SensorStats { count: 1, alerting, ..SensorStats::default() };
        let sensor = Sensor::unknown().updated(stats(true), Instant::now());
        assert!(matches!(sensor.state(), State::Alerting));
        assert!(matches!(sensor.updated(stats(false), Instant::now()).state(), State::Heard));
    }
}
