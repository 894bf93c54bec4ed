//! Secrets of a store client: a password and TLS files, as bytes for a client library that parses PEM itself.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use opentelemetry::metrics::Meter;

use crate::{
    Role, TlsError, certificates,
    file::{File, Loaded, Purpose, Reload, ReloadableFile},
    reload::{Reloadable, Source},
};

/// The paths of the files; each is optional.
#[derive(Debug, Clone)]
pub struct SecretFiles {
    /// The password. White space at its end is ignored.
    pub password: Option<PathBuf>,
    /// The CA bundle that the store's certificate is verified with, PEM.
    pub ca: Option<PathBuf>,
    /// The certificate chain to present to the store, its own first, PEM. Goes with `key`.
    pub cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    pub key: Option<PathBuf>,
}

/// The content of the files. The PEM is encoded again from the parsed content, so that every parser reads all of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// The password.
    pub password: Option<String>,
    /// The CA bundle, PEM.
    pub ca: Option<Vec<u8>>,
    /// Certificate chain and key, PEM.
    pub pair: Option<(Vec<u8>, Vec<u8>)>,
}

/// The secrets for a store, updated when their files change while [`watch`](Self::watch) runs.
pub struct StoreSecrets(Arc<Reloadable<Files>>);

struct Files {
    password: Option<ReloadableFile<String>>,
    ca: Option<ReloadableFile<Vec<u8>>>,
    pair: Option<ReloadableFile<Pair>>,
}

/// Certificate chain and key, PEM.
type Pair = (Vec<u8>, Vec<u8>);

impl StoreSecrets {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Returns an error if any file is invalid.
    pub fn load(files: SecretFiles) -> Result<Self, TlsError> {
        let password = files
            .password
            .map(|path| ReloadableFile::load(Purpose::StorePassword, vec![(Role::Password, path)], password));
        let ca = files.ca.map(|path| ReloadableFile::load(Purpose::StoreCa, vec![(Role::Ca, path)], ca));
        let pair = match (files.cert, files.key) {
            (Some(cert), Some(key)) => {
                let paths = vec![(Role::Certificate, cert), (Role::Key, key)];
                ReloadableFile::load(Purpose::StoreCertificate, paths, pair).map(Some)
            }
            (None, None) => Ok(None),
            _ => Err(TlsError::IncompletePair),
        };
        let ((password, ca), pair) =
            TlsError::both(TlsError::both(password.transpose(), ca.transpose()), pair)?;
        Ok(Self(Reloadable::new(Files { password, ca, pair })?))
    }

    /// Returns the secrets in use.
    #[must_use]
    pub fn current(&self) -> Arc<Secrets> {
        self.0.current()
    }

    /// Reads the files again every `interval` and calls `changed` after each valid change; never completes.
    /// Counts `kelvin.reloads` and records `kelvin.certificate.expiry` with `meter`.
    pub fn watch(
        &self,
        interval: Duration,
        meter: &Meter,
        changed: impl FnMut(Arc<Secrets>) + Send,
    ) -> impl Future<Output = ()> + Send {
        self.0.watch_with(interval, meter, changed)
    }
}

fn password(files: &[File]) -> Result<Loaded<String>, TlsError> {
    match files[0].text()?.trim_end() {
        "" => Err(files[0].error("contains no password")),
        password if password.contains(char::is_control) => {
            Err(files[0].error("contains a line break or another control character in the password"))
        }
        password => Ok(Loaded { value: password.to_owned(), expires: None }),
    }
}

fn ca(files: &[File]) -> Result<Loaded<Vec<u8>>, TlsError> {
    let Loaded { expires, .. } = certificates::roots(files)?;
    let value = certificates::chain_to_pem(&certificates::certificates(&files[0])?);
    Ok(Loaded { value, expires })
}

fn pair(files: &[File]) -> Result<Loaded<Pair>, TlsError> {
    certificates::pair(files)?;
    let Loaded { value, expires } = certificates::identity(files)?;
    Ok(Loaded { value: certificates::to_pem(&value), expires })
}

impl Source for Files {
    type Snapshot = Secrets;

    fn snapshot(&self) -> Result<Arc<Secrets>, TlsError> {
        Ok(Arc::new(Secrets {
            password: self.password.as_ref().map(|password| password.value().as_ref().clone()),
            ca: self.ca.as_ref().map(|ca| ca.value().as_ref().clone()),
            pair: self.pair.as_ref().map(|pair| pair.value().as_ref().clone()),
        }))
    }

    fn files(&mut self) -> Vec<&mut dyn Reload> {
        let Self { password, ca, pair } = self;
        let password = password.as_mut().map(|password| password as &mut dyn Reload);
        let ca = ca.as_mut().map(|ca| ca as &mut dyn Reload);
        let pair = pair.as_mut().map(|pair| pair as &mut dyn Reload);
        password.into_iter().chain(ca).chain(pair).collect()
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
