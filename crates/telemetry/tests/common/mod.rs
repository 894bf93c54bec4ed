//! The example program, run with its own environment, and TLS for the receiver.
#![allow(dead_code, reason = "compiled into each test program, and each uses a part of it")]

use std::{process::Stdio, sync::Arc};

use kelvin_credentials::ca::Pair;
use rustls::{ServerConfig, crypto::ring, server::danger::ClientCertVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    process::Command,
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

pub(crate) struct Done {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The example, with these variables and no others.
pub(crate) fn emit(variables: &[(&str, &str)]) -> Command {
    let test = std::env::current_exe().unwrap();
    let examples = test.parent().unwrap().parent().unwrap().join("examples");
    let mut command = Command::new(examples.join("emit"));
    command.env_clear().envs(variables.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) async fn run(mut command: Command) -> Done {
    let output = command.output().await.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stdout}{stderr}");
    Done { stdout, stderr }
}

/// The configuration of a server that shows `pair`.
pub(crate) fn server_config(pair: &Pair, clients: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Takes TLS off connections and passes them on. Whoever is connected is disconnected when the configuration changes.
pub(crate) struct Terminator {
    pub(crate) config: watch::Sender<Arc<ServerConfig>>,
    pub(crate) port: u16,
}

impl Terminator {
    pub(crate) async fn start(config: Arc<ServerConfig>, to: String) -> Self {
        let (sender, configs) = watch::channel(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut rotations = configs.clone();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { return };
                        let acceptor = TlsAcceptor::from(configs.borrow().clone());
                        let to = to.clone();
                        connections.spawn(async move {
                            let mut stream = acceptor.accept(stream).await?;
                            copy_bidirectional(&mut stream, &mut TcpStream::connect(to).await?).await
                        });
                    }
                    rotated = rotations.changed() => match rotated {
                        Ok(()) => connections = JoinSet::new(),
                        Err(_) => return,
                    },
                }
            }
        });
        Self { config: sender, port }
    }
}
