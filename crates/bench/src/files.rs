//! Certificates and a token for one run.

use std::{fs, path::PathBuf};

use kelvin_credentials::ca;

/// What the servers and the load need, in a folder that goes with it.
#[derive(Debug)]
pub struct Files {
    /// The folder.
    pub folder: tempfile::TempDir,
}

/// The `authorization` metadata that the servers accept.
pub const TOKEN: &str = "Bearer bench";

impl Files {
    /// Makes a CA, a certificate of it for `localhost`, and the token file.
    pub fn make() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let ca = ca::LocalCa::generate()?;
        let server = ca.issue(ca::Usage::Server, &["localhost"])?;
        let made = Self { folder };
        fs::write(made.path("ca.crt"), ca.pem())?;
        fs::write(made.path("token"), TOKEN)?;
        server.write(&made.path("server.crt"), &made.path("server.key"))?;
        Ok(made)
    }

    /// Returns the path of a file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
