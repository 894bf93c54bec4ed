use std::{
    fs,
    path::{Path, PathBuf},
};

use kelvin_app::{BoxError, signal};
use kelvin_credentials::ca::{LocalCa, Usage, write_private};
use kelvin_proto::CallType;
use tempfile::TempDir;

/// The demo's CA, certificates and token; they go with it.
pub(super) struct Folder(TempDir);

impl Folder {
    /// Creates them in the system's folder for temporary files.
    pub(super) fn make() -> Result<Self, BoxError> {
        let folder = tempfile::Builder::new().prefix("kelvin-").rand_bytes(4).tempdir().map_err(|error| {
            format!("cannot create a temporary directory: {error}; set TMPDIR to a writable one")
        })?;
        signal::remove_at_exit(folder.path().to_owned());
        write(folder.path())?;
        Ok(Self(folder))
    }

    /// Where a file of this name is.
    pub(super) fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

fn write(folder: &Path) -> Result<(), BoxError> {
    let path = |name: &str, extension| -> PathBuf { folder.join(name).with_extension(extension) };
    let ca = LocalCa::generate()?;
    fs::write(path("ca", "crt"), ca.pem())?;
    let server = ca.issue(Usage::Server, &["localhost", "127.0.0.1", "::1"])?;
    server.write(&path("server", "crt"), &path("server", "key"))?;
    for kind in CallType::ALL {
        let name = kind.name();
        ca.issue(Usage::Client, &[name])?.write(&path(name, "crt"), &path(name, "key"))?;
    }
    // The middle of a key that nobody else will use is as good a secret as any.
    let key = LocalCa::generate()?.key_pem();
    let secret = key.lines().nth(2).ok_or("the generated key is not valid PEM")?;
    write_private(&folder.join("token"), secret.as_bytes())?;
    Ok(())
}
