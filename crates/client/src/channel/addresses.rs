//! The addresses of the server's name, looked up again and again.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{connection::Connector, peers::Peers};

/// No look-up follows another sooner.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps a connection to every address that `lookup` finds: connects to new ones, drains those that are gone.
/// Calls that are under way there end by themselves; those that go on for long move.
pub(super) async fn follow<F, A>(mut lookup: F, refresh: Duration, connector: Arc<Connector>, peers: Peers)
where
    F: FnMut() -> A,
    A: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    let mut tasks: HashMap<SocketAddr, AbortOnDropHandle<()>> = HashMap::new();
    let mut logged = false;
    loop {
        let wait = match lookup().await {
            Ok(found) => {
                let found: HashSet<_> = found.into_iter().collect();
                tasks.retain(|address, _| {
                    let keep = found.contains(address);
                    if !keep {
                        tracing::info!(%address, "no longer an address of the server");
                        peers.remove(*address);
                    }
                    keep
                });
                for address in found {
                    tasks.entry(address).or_insert_with(|| {
                        peers.add(address);
                        let keeping = connector.clone().keep(address, peers.clone());
                        AbortOnDropHandle::new(tokio::spawn(keeping))
                    });
                }
                peers.looked_up(Ok(()));
                logged = false;
                // Whoever takes the place of a server that goes is found soon.
                if peers.any_leaving() { PAUSE } else { refresh }
            }
            Err(error) => {
                // What was known stays: better old addresses than none.
                if !logged {
                    tracing::warn!(%error, "cannot look up the server; trying again");
                    logged = true;
                }
                peers.looked_up(Err(format!("cannot look up its name: {error}")));
                2 * PAUSE
            }
        };
        sleep(PAUSE).await;
        let _ = timeout(wait.saturating_sub(PAUSE), peers.lost()).await;
    }
}
