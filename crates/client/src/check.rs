//! `kelvin-client check`: checks that the server works for this client, and rejects calls without credentials.

use std::io;

use futures_util::stream;
use kelvin_app::{BoxError, print, unix_now};
use kelvin_proto::{SensorReading, SensorRequest};
use kelvin_telemetry::Telemetry;
use tonic::{Code, Request, Status};

use crate::{Channel, Client, ClientError, Config, channel::Deadline};

/// The sensor whose readings the check sends.
const SENSOR: &str = "check";
/// The number of readings in the stream.
const READINGS_PER_STREAM: u64 = 3;

/// Makes calls of each kind, and one without credentials, with the client's settings. Prints a line for each.
pub async fn run(config: &Config, telemetry: &Telemetry) -> Result<(), BoxError> {
    let client = Channel::open(config, telemetry)?.client();
    let calls = Calls {
        client,
        config,
        started: unix_now(),
        temperature: (fastrand::f64() * 1000.0).round() / 100.0,
    };
    let results = [
        print_result("a reading is stored", &calls.unary().await)?,
        print_result("a stream of readings is stored", &calls.stream().await)?,
        print_result("the readings are read back", &calls.read_back().await)?,
        print_result("a call without credentials is refused", &without_credentials(config, telemetry).await)?,
    ];
    match results.iter().filter(|passed| !**passed).count() {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} checks failed", results.len()).into()),
    }
}

/// Prints the result of one check. Returns whether it passed.
fn print_result(what: &str, result: &Result<String, Status>) -> io::Result<bool> {
    print(&match result {
        Ok(found) => format!("ok      {what}: {found}\n"),
        Err(status) => format!("FAILED  {what}: {:?}: {}\n", status.code(), status.message()),
    })?;
    Ok(result.is_ok())
}

struct Calls<'a> {
    client: Client,
    config: &'a Config,
    started: i64,
    /// Degrees Celsius; another one at each check, to know its readings by.
    temperature: f64,
}

impl Calls<'_> {
    async fn unary(&self) -> Result<String, Status> {
        let reading = self.reading();
        let ack = self.client.clone().send_single_reading(request(self.config, reading)).await?.into_inner();
        Ok(ack.message)
    }

    async fn stream(&self) -> Result<String, Status> {
        let readings = stream::iter((0..READINGS_PER_STREAM).map(|_| self.reading()).collect::<Vec<_>>());
        let ack =
            self.client.clone().stream_sensor_readings(request(self.config, readings)).await?.into_inner();
        match ack.accepted {
            Some(accepted) if accepted != READINGS_PER_STREAM => {
                Err(Status::data_loss(format!("{accepted} of {READINGS_PER_STREAM} readings were accepted")))
            }
            _ => Ok(ack.message),
        }
    }

    async fn read_back(&self) -> Result<String, Status> {
        let sensor_id = SENSOR.to_owned();
        let query = SensorRequest { sensor_id, since: Some(self.started), ..SensorRequest::default() };
        let mut readings =
            self.client.clone().get_sensor_readings(request(self.config, query)).await?.into_inner();
        let mut found = 0;
        while let Some(reading) = readings.message().await? {
            found += u64::from(reading == SensorReading { timestamp: reading.timestamp, ..self.reading() });
        }
        // A call that was repeated may have stored its reading twice.
        if found > READINGS_PER_STREAM {
            Ok(format!("{found} readings"))
        } else {
            Err(Status::data_loss(format!("{found} of {} readings came back", READINGS_PER_STREAM + 1)))
        }
    }

    fn reading(&self) -> SensorReading {
        SensorReading { sensor_id: SENSOR.to_owned(), temperature: self.temperature, timestamp: unix_now() }
    }
}

/// Without the token, and without the certificate, which stands in for one.
async fn without_credentials(config: &Config, telemetry: &Telemetry) -> Result<String, Status> {
    let anonymous = Config { token_file: None, tls_cert: None, tls_key: None, ..config.clone() };
    let channel = Channel::open(&anonymous, telemetry)
        .map_err(|error: ClientError| Status::internal(error.to_string()))?;
    let query = SensorRequest { sensor_id: SENSOR.to_owned(), ..SensorRequest::default() };
    match channel.client().get_sensor_readings(request(&anonymous, query)).await {
        Ok(_) => Err(Status::ok("the call succeeded")),
        Err(status) if status.code() == Code::Unauthenticated => Ok(status.message().to_owned()),
        // A server that requires certificates ends the handshake.
        Err(status) if status.message().contains("CertificateRequired") => Ok(status.message().to_owned()),
        Err(status) => Err(status),
    }
}

fn request<T>(config: &Config, message: T) -> Request<T> {
    let mut request = Request::new(message);
    Deadline::after(config.deadline).set_on(&mut request);
    request
}
