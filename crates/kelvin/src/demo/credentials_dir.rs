use std::{
    fs,
    path::{Path, PathBuf},
};

use kelvin_app::{BoxError, signal};
use kelvin_credentials::ca::{LocalCa, Usage, write_private};
use kelvin_proto::CallType;
use tempfile::TempDir;

/// A temporary directory with the demo's CA, certificates and token, removed when dropped.
pub(super) struct CredentialsDir(TempDir);

impl CredentialsDir {
    /// Creates the directory and its files below `TMPDIR`.
    pub(super) fn create() -> Result<Self, BoxError> {
        let dir = tempfile::Builder::new().prefix("kelvin-").rand_bytes(4).tempdir().map_err(|error| {
            format!("cannot create a temporary directory: {error}; set TMPDIR to a writable one")
        })?;
        signal::remove_at_exit(dir.path().to_owned());
        write(dir.path())?;
        Ok(Self(dir))
    }

    /// Returns the path of a file.
    pub(super) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

fn write(dir: &Path) -> Result<(), BoxError> {
    let path = |name: &str, extension| -> PathBuf { dir.join(name).with_extension(extension) };
    let ca = LocalCa::generate()?;
    fs::write(path("ca", "crt"), ca.pem())?;
    let server = ca.issue(Usage::Server, &["localhost", "127.0.0.1", "::1"])?;
    server.write(&path("server", "crt"), &path("server", "key"))?;
    for kind in CallType::ALL {
        let name = kind.name();
        ca.issue(Usage::Client, &[name])?.write(&path(name, "crt"), &path(name, "key"))?;
    }
    // Part of a random key that is not used otherwise is a good secret.
    let key = LocalCa::generate()?.key_pem();
    let secret = key.lines().nth(2).ok_or("the generated key is not valid PEM")?;
    write_private(&dir.join("token"), secret.as_bytes())?;
    Ok(())
}
