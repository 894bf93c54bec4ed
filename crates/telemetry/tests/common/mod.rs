//! The example program, run with its own environment.
#![allow(dead_code, reason = "not every test file uses every helper")]

use std::{io::Write, process::Stdio, sync::Arc};

use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tempfile::NamedTempFile;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    process::Command,
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

/// A certificate for localhost, its key, and the file of the CA that vouches for it: itself.
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) ca: NamedTempFile,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut ca = NamedTempFile::new().unwrap();
        ca.write_all(pair.cert.pem().as_bytes()).unwrap();
        Self { cert: pair.cert.pem(), key: pair.signing_key.serialize_pem(), ca }
    }

    pub(crate) fn ca(&self) -> &str {
        self.ca.path().to_str().unwrap()
    }

    /// Takes TLS off connections and passes them on to `to`. Gives the port.
    pub(crate) async fn terminate(&self, to: String) -> u16 {
        let chain = vec![CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, to) = (acceptor.clone(), to.clone());
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    copy_bidirectional(&mut stream, &mut TcpStream::connect(to).await?).await
                });
            }
        });
        port
    }
}
