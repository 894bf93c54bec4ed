//! The side of one who calls a store: a password and TLS files, as bytes for a client library that is not ours.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use opentelemetry::metrics::Meter;

use crate::{
    TlsError, pem,
    reload::{self, Live},
    watched::{Event, Expiry, Loaded, Watched},
};

/// Where the files are; each may be left out.
#[derive(Debug, Clone)]
pub struct SecretFiles {
    /// The password, and nothing else but space at its end.
    pub password: Option<PathBuf>,
    /// The CAs that the store's certificate is checked with, PEM.
    pub ca: Option<PathBuf>,
    /// The certificate chain to show to the store, its own first, PEM. Goes with `key`.
    pub cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    pub key: Option<PathBuf>,
}

/// What the files hold. All of it is known to be good, but whether the store takes it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// The password.
    pub password: Option<String>,
    /// The CAs, PEM.
    pub ca: Option<Vec<u8>>,
    /// Certificate chain and key, PEM.
    pub pair: Option<(Vec<u8>, Vec<u8>)>,
}

/// A store's secrets, up to date with their files while [`watch`](Self::watch) runs.
pub struct StoreSecrets(Arc<Live<Parts>>);

struct Parts {
    password: Option<Watched<String>>,
    ca: Option<Watched<Vec<u8>>>,
    pair: Option<Watched<Pair>>,
}

/// Certificate chain and key, PEM.
type Pair = (Vec<u8>, Vec<u8>);

impl StoreSecrets {
    /// Reads the files. All must be good now.
    pub fn load(files: SecretFiles) -> Result<Self, TlsError> {
        let password = files.password.map(|path| Watched::load("store_password", vec![path], password));
        let ca = files.ca.map(|path| Watched::load("store_ca", vec![path], ca));
        let pair = match (files.cert, files.key) {
            (Some(cert), Some(key)) => Some(Watched::load("store_certificate", vec![cert, key], pair)),
            (None, None) => None,
            _ => return Err(TlsError::HalfPair),
        };
        let parts = Parts { password: password.transpose()?, ca: ca.transpose()?, pair: pair.transpose()? };
        Ok(Self(Live::new(parts)?))
    }

    /// What is in use at this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Secrets> {
        self.0.current()
    }

    /// Looks at the files every `interval`, for ever, and hands on what has changed and is good. Counts
    /// `kelvin.reloads` and records `kelvin.certificate.expiry` with `meter`.
    pub fn watch(
        &self,
        interval: Duration,
        meter: &Meter,
        changed: impl FnMut(Arc<Secrets>) + Send,
    ) -> impl Future<Output = ()> + Send {
        self.0.watch_for(interval, meter, changed)
    }
}

fn password(paths: &[PathBuf], contents: &[Vec<u8>]) -> Result<Loaded<String>, TlsError> {
    let text = str::from_utf8(&contents[0]).map_err(|_| TlsError::file(&paths[0], "is not UTF-8"))?;
    match text.trim_end() {
        "" => Err(TlsError::file(&paths[0], "holds no password")),
        password => Ok(Loaded { value: password.to_owned(), expires: None }),
    }
}

fn ca(paths: &[PathBuf], contents: &[Vec<u8>]) -> Result<Loaded<Vec<u8>>, TlsError> {
    let Loaded { expires, .. } = pem::roots(paths, contents)?;
    Ok(Loaded { value: contents[0].clone(), expires })
}

fn pair(paths: &[PathBuf], contents: &[Vec<u8>]) -> Result<Loaded<Pair>, TlsError> {
    let Loaded { expires, .. } = pem::pair(paths, contents)?;
    Ok(Loaded { value: (contents[0].clone(), contents[1].clone()), expires })
}

impl reload::Parts for Parts {
    type Whole = Secrets;

    fn whole(&self) -> Result<Arc<Secrets>, TlsError> {
        Ok(Arc::new(Secrets {
            password: self.password.as_ref().map(|password| password.value().as_ref().clone()),
            ca: self.ca.as_ref().map(|ca| ca.value().as_ref().clone()),
            pair: self.pair.as_ref().map(|pair| pair.value().as_ref().clone()),
        }))
    }

    fn reload(&mut self) -> Vec<Event> {
        let password = self.password.as_mut().and_then(Watched::reload);
        let ca = self.ca.as_mut().and_then(Watched::reload);
        let pair = self.pair.as_mut().and_then(Watched::reload);
        password.into_iter().chain(ca).chain(pair).collect()
    }

    fn files(&self) -> Vec<&'static str> {
        let password = self.password.as_ref().map(Watched::file);
        let ca = self.ca.as_ref().map(Watched::file);
        let pair = self.pair.as_ref().map(Watched::file);
        password.into_iter().chain(ca).chain(pair).collect()
    }

    fn expiries(&self) -> Vec<Expiry> {
        let ca = self.ca.as_ref().and_then(Watched::expiry);
        let pair = self.pair.as_ref().and_then(Watched::expiry);
        ca.into_iter().chain(pair).collect()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl fmt::Debug for StoreSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSecrets").finish_non_exhaustive()
    }
}
