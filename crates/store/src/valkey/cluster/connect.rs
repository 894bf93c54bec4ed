//! Opens connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
    aio::{MultiplexedConnection, SendError},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::time::timeout;

use super::{
    super::{
        keys::SLOTS,
        scripts,
        settings::{Acknowledge, ValkeySettings},
    },
    failure::{Failure, describe},
    handshake,
};
use crate::StoreError;

/// The role of a connection. `WAIT` blocks the connection it is sent on until replicas or disk have caught up, so
/// reads, and other flushes, have connections of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::valkey) enum ConnectionRole {
    /// Everything that reads.
    Read,
    /// Writes, by number.
    Write(usize),
}

/// Rejects settings that cannot work, without connecting.
pub(in crate::valkey) fn validate(settings: &ValkeySettings) -> Result<(), StoreError> {
    let invalid = |text: String| Err(StoreError::Settings(text));
    if settings.addresses.is_empty() {
        return invalid("the Valkey store needs an address, host:port".to_owned());
    }
    if let Some(address) = settings.addresses.iter().find(|address| split(address).is_none()) {
        return invalid(format!("`{address}` is not an address of Valkey: expected host:port"));
    }
    if settings.prefix.contains(['{', '}']) {
        return invalid("the prefix of the Valkey store's keys must not contain braces".to_owned());
    }
    if settings.partitions == 0 || settings.partitions > SLOTS {
        return invalid(format!("the Valkey store needs 1 to {SLOTS} partitions"));
    }
    if settings.timeout.is_zero() {
        return invalid("the timeout of the Valkey store must be greater than zero".to_owned());
    }
    let credentials = settings.credentials.borrow().clone();
    let mut certificates = credentials.tls.iter().flat_map(|tls| CertificateDer::pem_slice_iter(&tls.ca));
    if credentials.tls.is_some() && certificates.next().is_none_or(|first| first.is_err()) {
        return invalid("invalid TLS files for Valkey: the CA bundle has no certificate".to_owned());
    }
    client(settings, &settings.addresses[0])
        .map_err(|error| StoreError::Settings(format!("invalid TLS files for Valkey: {error}")))?;
    Ok(())
}

/// Splits `host:port`; an IPv6 address stands in brackets or not.
pub(super) fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
}

/// Returns how long `WAIT` or `WAITAOF` may take: a file written once a second needs up to two.
pub(in crate::valkey) fn wait_limit(settings: &ValkeySettings) -> Duration {
    match settings.acknowledge {
        Acknowledge::Primary => Duration::ZERO,
        Acknowledge::Replica => settings.timeout,
        Acknowledge::Fsync => settings.timeout.max(Duration::from_secs(3)),
    }
}

/// A client with the current credentials.
pub(in crate::valkey) fn client(settings: &ValkeySettings, address: &str) -> RedisResult<Client> {
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

pub(in crate::valkey) fn limits(settings: &ValkeySettings, role: ConnectionRole) -> AsyncConnectionConfig {
    let wait = if role == ConnectionRole::Read { Duration::ZERO } else { wait_limit(settings) };
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.timeout.min(Duration::from_secs(1))))
        .set_response_timeout(Some(settings.timeout + wait))
}

/// Connects, verifies that the server is compatible and loads the scripts. All of it shares the time limit of one
/// answer, because other calls wait for this connection. `closed` becomes true when the server closes it.
pub(super) async fn connect(
    settings: &ValkeySettings,
    address: &str,
    role: ConnectionRole,
    closed: Arc<AtomicBool>,
) -> Result<MultiplexedConnection, Failure> {
    let not_sent = |error: RedisError| Failure::NotSent(format!("{address}: {}", describe(&error)));
    let connected = async {
        let client = client(settings, address).map_err(not_sent)?;
        let limits = limits(settings, role).set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                closed.store(true, Relaxed);
            }
            Ok::<_, SendError>(())
        });
        let connection = client.get_multiplexed_async_connection_with_config(&limits);
        let mut connection = connection.await.map_err(not_sent)?;
        let commands = handshake::commands(settings);
        let replies = connection.send_packed_commands(&commands, 0, commands.len()).await;
        handshake::validate_replies(settings, &replies.map_err(not_sent)?)
            .map_err(|text| Failure::Incompatible(format!("{address}: {text}")))?;
        scripts::load().exec_async(&mut connection).await.map_err(not_sent)?;
        Ok(connection)
    };
    let timed_out = |_| Err(Failure::NotSent(format!("{address}: timed out")));
    timeout(settings.timeout, connected).await.unwrap_or_else(timed_out)
}
