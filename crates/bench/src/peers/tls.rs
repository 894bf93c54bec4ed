use std::{error::Error, net::SocketAddr, path::Path};

use kelvin_credentials::{ClientAuth, ServerFiles, ServerTls};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Accepts TLS connections until the process ends; each is handed to `serve` in a task.
pub(super) fn accept<F>(
    address: SocketAddr,
    files: &Path,
    serve: impl Fn(TlsStream<TcpStream>) -> F + Clone + 'static,
) -> Result<(), Box<dyn Error>>
where
    F: Future<Output = ()> + 'static,
{
    let (cert, key) = (files.join("server.crt"), files.join("server.key"));
    let files = ServerFiles { cert, key, external: None, client_ca: None };
    let acceptor = TlsAcceptor::from(ServerTls::load(files, ClientAuth::None)?.config());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (acceptor, serve) = (acceptor.clone(), serve.clone());
            tokio::task::spawn_local(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream).await;
                }
            });
        }
    })
}
