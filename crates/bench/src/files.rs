//! Certificates and a token for one run.

use std::{fs, path::PathBuf};

use kelvin_credentials::ca;

/// What the servers and the load need, in a folder that goes with it.
pub(crate) struct Files {
    pub folder: tempfile::TempDir,
}

pub(crate) const TOKEN: &str = "Bearer bench";

impl Files {
    pub(crate) fn make() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let ca = ca::LocalCa::generate()?;
        let server = ca.issue(ca::Usage::Server, &["localhost"])?;
        let made = Self { folder };
        fs::write(made.path("ca.crt"), ca.pem())?;
        fs::write(made.path("token"), TOKEN)?;
        server.write(&made.path("server.crt"), &made.path("server.key"))?;
        Ok(made)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
