use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
    aio::MultiplexedConnection,
};
use tokio::time::timeout;

use super::{
    Acknowledge, ValkeySettings, check,
    failure::{Failure, describe},
    scripts,
};

/// What a connection is for: what waits for replicas or disks must not hold up the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Everything that reads.
    Read,
    /// Writes, by number.
    Write(usize),
}

/// Splits `host:port`; an IPv6 address stands in brackets or not.
pub(super) fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
}

/// How long `WAIT` or `WAITAOF` may take: a file written once a second needs up to two.
pub(super) fn wait_limit(settings: &ValkeySettings) -> Duration {
    match settings.acknowledge {
        Acknowledge::Primary => Duration::ZERO,
        Acknowledge::Replica => settings.timeout,
        Acknowledge::Fsync => settings.timeout.max(Duration::from_secs(3)),
    }
}

/// A client by the credentials of this moment.
pub(super) fn client(settings: &ValkeySettings, address: &str) -> RedisResult<Client> {
    let (host, port) = split(address).unwrap_or_default();
    let credentials = settings.credentials.borrow().clone();
    let mut redis = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
    if let Some(username) = &settings.username {
        redis = redis.set_username(username);
    }
    if let Some(password) = &credentials.password {
        redis = redis.set_password(password);
    }
    let info = |addr: ConnectionAddr| -> RedisResult<ConnectionInfo> {
        Ok(addr.into_connection_info()?.set_redis_settings(redis))
    };
    match credentials.tls {
        None => Client::open(info(ConnectionAddr::Tcp(host, port))?),
        Some(tls) => {
            let client_tls =
                tls.client.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
            let addr = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
            Client::build_with_tls(info(addr)?, TlsCertificates { client_tls, root_cert: Some(tls.ca) })
        }
    }
}

pub(super) fn limits(settings: &ValkeySettings, lane: Lane) -> AsyncConnectionConfig {
    let wait = if lane == Lane::Read { Duration::ZERO } else { wait_limit(settings) };
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.timeout.min(Duration::from_secs(1))))
        .set_response_timeout(Some(settings.timeout + wait))
}

/// A connection to a server that can do what is wanted; it knows the scripts. All of it takes no longer than one answer
/// may, since others wait for it.
pub(super) async fn connect(
    settings: &ValkeySettings,
    address: &str,
    lane: Lane,
) -> Result<MultiplexedConnection, Failure> {
    let not_sent = |error: RedisError| Failure::NotSent(format!("{address}: {}", describe(&error)));
    let connected = async {
        let client = client(settings, address).map_err(not_sent)?;
        let limits = limits(settings, lane);
        let connection = client.get_multiplexed_async_connection_with_config(&limits);
        let mut connection = connection.await.map_err(not_sent)?;
        let questions = check::questions(settings);
        let answers = connection.send_packed_commands(&questions, 0, questions.len()).await;
        check::answers(settings, &answers.map_err(not_sent)?)
            .map_err(|text| Failure::Unfit(format!("{address}: {text}")))?;
        scripts::load().exec_async(&mut connection).await.map_err(not_sent)?;
        Ok(connection)
    };
    let silence = |_| Err(Failure::NotSent(format!("{address}: no answer in time")));
    timeout(settings.timeout, connected).await.unwrap_or_else(silence)
}
