//! Calls that must succeed, from outside the cluster through a port-forward and from inside with `helm test`.

use anyhow::{Context, Result, bail, ensure};
use kelvin_app::{unix_now, unix_time};
use kelvin_proto::{Method, SensorReading, SensorRequest};
use tokio::process::Command;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{cluster::Cluster, forward::Forward, server::Caller};

/// Checks that grpcurl can write and read with only the address, the CA and a token, as in the README.
pub async fn grpcurl(cluster: &Cluster) -> Result<String> {
    let forward = Forward::open(cluster).await?;
    let address = format!("localhost:{}", forward.address.port());
    let folder = std::env::temp_dir().join(format!("kelvin-e2e-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let ca = folder.join("ca.crt");
    std::fs::write(&ca, cluster.secret("check-tls", "ca.crt").await?)?;
    let token = format!("authorization: {}", cluster.token().await?);
    let call = async |data: &str, what: &[&str]| {
        let mut command = Command::new("grpcurl");
        command.arg("-cacert").arg(&ca).args(["-H", &token, "-d", data, &address]).args(what);
        output(command).await
    };

    let services = call("", &["list"]).await?;
    ensure!(
        services.lines().any(|line| line == "SensorService"),
        "reflection does not list SensorService: {services:?}"
    );
    let reading = reading("grpcurl", 20.5);
    let id = &reading.sensor_id;
    let sent = format!(r#"{{"sensor_id":"{id}","temperature":20.5,"timestamp":{}}}"#, reading.timestamp);
    call(&sent, &[Method::SendSingleReading.full_name()]).await?;
    let back = call(&format!(r#"{{"sensor_id":"{id}"}}"#), &[Method::GetSensorReadings.full_name()]).await?;
    std::fs::remove_dir_all(&folder)?;
    ensure!(
        back.contains(id.as_str()) && back.contains("20.5"),
        "the reading was not read back; got: {back}"
    );
    Ok(format!("{id}: 20.5"))
}

/// Checks that readings written by all three types of writing call are returned in order by a server-streaming call.
pub async fn all_call_types(cluster: &Cluster) -> Result<String> {
    let mut client = Caller::new(cluster).await?.client().await?;
    let template = reading("ours", 0.0);
    let readings: Vec<_> =
        (1..=6).map(|n| SensorReading { temperature: f64::from(n), ..template.clone() }).collect();
    client.send_single_reading(readings[0].clone()).await?;
    let ack = client.stream_sensor_readings(tokio_stream::iter(readings[1..4].to_vec())).await?.into_inner();
    ensure!(ack.accepted == Some(3), "a stream of 3 readings returned {ack:?}");
    let mut chat = client.sensor_chat(tokio_stream::iter(readings[4..].to_vec())).await?.into_inner();
    let mut answers = 0;
    while chat.message().await?.is_some() {
        answers += 1;
    }
    ensure!(answers >= 2, "a chat of 2 readings returned {answers} responses");

    let request = SensorRequest { sensor_id: template.sensor_id, ..SensorRequest::default() };
    let mut stored = client.get_sensor_readings(request).await?.into_inner();
    let mut back = Vec::new();
    while let Some(reading) = stored.message().await? {
        back.push(reading);
    }
    ensure!(back == readings, "the readings read back differ from those sent: {back:?}");
    Ok(format!("{} readings in order", back.len()))
}

/// Checks that the health service answers without a token.
pub async fn health(cluster: &Cluster) -> Result<String> {
    let channel = Caller::new(cluster).await?.channel().await?;
    let mut client = HealthClient::new(channel);
    for service in ["", "SensorService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = client.check(request).await?.into_inner().status();
        ensure!(status == ServingStatus::Serving, "{service:?} is {status:?}");
    }
    Ok("serving".to_owned())
}

/// Runs the chart's own test, which makes calls from a pod.
pub async fn helm_test(cluster: &Cluster) -> Result<String> {
    let text = helm(cluster, &["test", &cluster.release, "--timeout", "2m", "--logs"]).await?;
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    Ok(last.chars().take(80).collect())
}

/// Runs helm in the release's context and namespace, and returns its output.
pub(super) async fn helm(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("helm");
    command.args(["--kube-context", &cluster.name, "--namespace", &cluster.namespace]).args(arguments);
    output(command).await
}

/// Runs a program and returns its standard output, or an error with its whole output if it fails.
pub(super) async fn output(mut command: Command) -> Result<String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{program}: {} {}", error.trim(), out.trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns a reading with the current time and a unique sensor ID.
pub(super) fn reading(name: &str, temperature: f64) -> SensorReading {
    let sensor_id = format!("e2e-{name}-{}", unix_time().as_millis());
    SensorReading { sensor_id, temperature, timestamp: unix_now() }
}
