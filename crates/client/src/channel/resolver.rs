//! Resolves the server's name again and again.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{connection::Connector, endpoint_set::Event, endpoints::Endpoints};

/// The shortest time between two look-ups.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Keeps a connection to every address that `lookup` returns: connects to new addresses, drains removed ones. Open calls on
/// removed ones end by themselves; long-lived calls are handed over.
pub(super) async fn resolve_loop<F, A>(
    mut lookup: F,
    refresh: Duration,
    connector: Arc<Connector>,
    endpoints: Endpoints,
) where
    F: FnMut() -> A,
    A: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    let mut connections: HashMap<SocketAddr, AbortOnDropHandle<()>> = HashMap::new();
    let mut logged = false;
    loop {
        let wait = match lookup().await {
            Ok(found) => {
                let effects = endpoints.apply(Event::Resolved(found.into_iter().collect()));
                for address in effects.disconnect {
                    tracing::info!(%address, "the server's name no longer resolves to this address; closing its connection");
                    connections.remove(&address);
                }
                for address in effects.connect {
                    let connection = tokio::spawn(connector.clone().run(address, endpoints.clone()));
                    connections.insert(address, AbortOnDropHandle::new(connection));
                }
                logged = false;
                // The successor of a draining server is found soon.
                if endpoints.any_draining() { MIN_INTERVAL } else { refresh }
            }
            Err(error) => {
                if !logged {
                    tracing::warn!(%error, "cannot resolve the server's name; retrying every {RETRY_INTERVAL:?}");
                    logged = true;
                }
                endpoints.apply(Event::ResolveFailed(format!("cannot resolve its name: {error}")));
                RETRY_INTERVAL
            }
        };
        sleep(MIN_INTERVAL).await;
        let _ = timeout(wait.saturating_sub(MIN_INTERVAL), endpoints.resolve_requested()).await;
    }
}
