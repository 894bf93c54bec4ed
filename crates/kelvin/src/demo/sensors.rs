use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use kelvin_client::{Channel, Client};
use kelvin_proto::{ListSensorsRequest, SensorStats};
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;

/// Values that a sparkline can show.
const HISTORY: usize = 120;
const EVERY: Duration = Duration::from_millis(500);

/// What the server says of one sensor. Temperatures are in degrees Celsius.
#[derive(Debug, Clone, Default)]
pub(super) struct Sensor {
    pub(super) id: String,
    pub(super) count: u64,
    pub(super) last: f64,
    pub(super) mean: f64,
    pub(super) alerts: u64,
    pub(super) alerting: bool,
    /// The last values that were seen, the newest last.
    pub(super) history: VecDeque<f64>,
}

/// All sensors, by id, as of a moment ago.
#[derive(Debug, Clone, Default)]
pub(super) struct Sensors(Arc<Mutex<Vec<Sensor>>>);

impl Sensors {
    pub(super) fn get(&self) -> Vec<Sensor> {
        self.0.lock().expect("never poisoned").clone()
    }

    /// Asks the server for ever.
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
        let mut sensors = self.0.lock().expect("never poisoned");
        let mut known: HashMap<_, _> = sensors.drain(..).map(|sensor| (sensor.id.clone(), sensor)).collect();
        sensors.extend(listed.into_iter().map(|stats| {
            let before = known.remove(&stats.sensor_id).unwrap_or_default();
            before.updated(stats)
        }));
        sensors.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(())
    }
}

impl Sensor {
    fn updated(self, stats: SensorStats) -> Self {
        let mut history = self.history;
        let last = stats.last.map_or(0.0, |reading| reading.temperature);
        if stats.count > self.count {
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back(last);
        }
        let SensorStats { sensor_id: id, count, mean, alerts, alerting, .. } = stats;
        Self { id, count, last, mean, alerts, alerting, history }
    }
}
