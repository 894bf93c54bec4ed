//! Writers that send readings in the background while a check disturbs the cluster.
//!
//! The ledger records which readings are acknowledged, and at the end checks which of them can be read back.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail};
use kelvin_app::{unix_now, unix_time};
use kelvin_proto::{Ack, SensorReading, SensorRequest};
use kelvin_testing::was_never_processed;
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tonic::{Code, Request, Response, Status};

use crate::{
    poll,
    server::{Caller, Client},
};

/// Pause between two readings of a writer.
const WRITE_INTERVAL: Duration = Duration::from_millis(40);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ATTEMPTS: u32 = 3;
/// Stays below the default limit of readings per sensor, so that none is evicted.
const MAX_PER_SENSOR: u32 = 9000;

/// Writers that run in the background.
pub struct Ledger {
    caller: Caller,
    stop: watch::Sender<bool>,
    writers: Vec<JoinHandle<WriterLog>>,
}

/// What one writer has recorded about its own sensor.
struct WriterLog {
    sensor_id: String,
    acknowledged: Vec<Entry>,
    failures: HashMap<Code, u32>,
    first_failure: Option<String>,
}

/// An acknowledged reading, with the time of the acknowledgement.
#[derive(Clone, Copy)]
struct Entry {
    number: u32,
    at: SystemTime,
}

/// Totals of all writers.
#[derive(Debug)]
pub struct Outcome {
    /// Number of acknowledged readings.
    pub acknowledged: usize,
    /// Acknowledgement times of the readings that cannot be read back.
    pub lost: Vec<SystemTime>,
    /// Number of failed calls by status code. Their readings were not sent again.
    pub failures: HashMap<Code, u32>,
    /// Status of a writer's first failed call.
    pub first_failure: Option<String>,
}

impl Ledger {
    /// Starts the writers, each with a sensor and a connection of its own.
    pub async fn start(caller: &Caller, writers: usize) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let run = unix_time().as_millis();
        let mut tasks = Vec::new();
        for writer in 0..writers {
            let client = caller.client().await?;
            tasks.push(tokio::spawn(write(client, format!("e2e-{run}-{writer}"), stopped.clone())));
        }
        Ok(Self { caller: caller.clone(), stop, writers: tasks })
    }

    /// Stops the writers, reads the stored readings and compares them with the acknowledged ones.
    pub async fn finish(self) -> Result<Outcome> {
        self.stop.send_replace(true);
        let mut outcome =
            Outcome { acknowledged: 0, lost: Vec::new(), failures: HashMap::new(), first_failure: None };
        for writer in self.writers {
            let log = writer.await?;
            let stored =
                poll::until(Duration::from_mins(1), async || read(&self.caller, &log.sensor_id).await)
                    .await?;
            let lost = log.acknowledged.iter().filter(|entry| !stored.contains(&entry.number));
            outcome.lost.extend(lost.map(|entry| entry.at));
            outcome.acknowledged += log.acknowledged.len();
            outcome.first_failure = outcome.first_failure.or(log.first_failure);
            for (code, count) in log.failures {
                *outcome.failures.entry(code).or_default() += count;
            }
        }
        if outcome.acknowledged == 0 {
            bail!("no reading was acknowledged: {:?}", outcome.first_failure);
        }
        Ok(outcome)
    }
}

impl Outcome {
    /// Checks that every call succeeded and every acknowledged reading was read back.
    pub fn verify(&self) -> Result<()> {
        if !self.failures.is_empty() {
            bail!("calls failed: {:?}, the first: {:?}", self.failures, self.first_failure);
        }
        if !self.lost.is_empty() {
            bail!("{} of {} acknowledged readings are lost", self.lost.len(), self.acknowledged);
        }
        Ok(())
    }
}

/// Sends readings until `stopped` is true or [`MAX_PER_SENSOR`] is reached.
async fn write(mut client: Client, sensor_id: String, mut stopped: watch::Receiver<bool>) -> WriterLog {
    let mut log =
        WriterLog { sensor_id, acknowledged: Vec::new(), failures: HashMap::new(), first_failure: None };
    for number in 0..MAX_PER_SENSOR {
        let request = reading(&log.sensor_id, number);
        match send(&mut client, request).await {
            Ok(_) => log.acknowledged.push(Entry { number, at: SystemTime::now() }),
            Err(status) => {
                *log.failures.entry(status.code()).or_default() += 1;
                log.first_failure.get_or_insert_with(|| format!("{status}"));
            }
        }
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            () = sleep(WRITE_INTERVAL) => {}
        }
    }
    log
}

/// Sends a reading in at most [`MAX_ATTEMPTS`] attempts.
///
/// It retries only if the server certainly has not processed the call. gRPC calls that a transparent retry, which tonic's
/// channel does not implement.
async fn send(client: &mut Client, reading: SensorReading) -> Result<Response<Ack>, Status> {
    let mut attempt = 1;
    loop {
        let mut request = Request::new(reading.clone());
        request.set_timeout(CALL_TIMEOUT);
        match client.send_single_reading(request).await {
            Err(status) if attempt < MAX_ATTEMPTS && was_never_processed(&status) => attempt += 1,
            result => return result,
        }
    }
}

/// Returns a reading whose temperature encodes `number` as a multiple of 1/256, which floating point represents exactly.
fn reading(sensor_id: &str, number: u32) -> SensorReading {
    let temperature = f64::from(number) / 256.0;
    SensorReading { sensor_id: sensor_id.to_owned(), temperature, timestamp: unix_now() }
}

/// Reads the numbers of all stored readings of a sensor.
async fn read(caller: &Caller, sensor_id: &str) -> Result<HashSet<u32>> {
    let request = SensorRequest { sensor_id: sensor_id.to_owned(), ..SensorRequest::default() };
    let mut readings = caller.client().await?.get_sensor_readings(request).await?.into_inner();
    let mut numbers = HashSet::new();
    while let Some(reading) = readings.message().await? {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "reading() encodes a u32"
        )]
        numbers.insert((reading.temperature * 256.0) as u32);
    }
    Ok(numbers)
}
