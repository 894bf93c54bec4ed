//! `kelvin certs`: a CA and certificates for trying things out.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder},
    net::IpAddr,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
};

use clap::Args;
use kelvin_app::{BoxError, print, signal};
use kelvin_credentials::ca::{LocalCa, Pair, Usage};
use kelvin_load::ServerName;

/// Creates a CA, a server certificate and a client certificate, each with its key (ECDSA P-256)
///
/// Writes ca.crt, ca.key, server.crt, server.key, client.crt and client.key; only their owner can read the keys. The
/// CA is valid for ten years, the others for one.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Output directory; created if it does not exist
    dir: PathBuf,
    /// Host names and IP addresses in the server certificate
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "localhost,127.0.0.1,::1", value_parser = name)]
    names: Vec<String>,
    /// Overwrite existing files
    #[arg(long)]
    force: bool,
}

/// A name that a certificate can have: a host name, perhaps with `*` as its first label, or an IP address.
fn name(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("*.").filter(|domain| domain.parse::<IpAddr>().is_err()).unwrap_or(text);
    let expected = "expected a host name such as kelvin.example or *.kelvin.example, or an IP address";
    ServerName::try_from(host).map(|_| text.to_owned()).map_err(|_| expected.to_owned())
}

pub(crate) fn run(Arguments { dir, names, force }: &Arguments) -> Result<(), BoxError> {
    let ca = LocalCa::generate()?;
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let pairs = [
        ("server", ca.issue(Usage::Server, &names)?),
        ("client", ca.issue(Usage::Client, &["kelvin-client"])?),
        ("ca", Pair { cert: ca.pem(), key: ca.key_pem() }),
    ];
    let path = |name: &str, extension| dir.join(name).with_extension(extension);

    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut existing = Vec::new();
    for file in pairs.iter().flat_map(|(name, _)| [path(name, "crt"), path(name, "key")]) {
        let Ok(metadata) = fs::symlink_metadata(&file) else { continue };
        if metadata.is_dir() {
            return Err(format!("{} is a directory", file.display()).into());
        }
        existing.push(file.display().to_string());
    }
    if !existing.is_empty() && !force {
        return Err(format!("files already exist: {} (--force overwrites them)", existing.join(", ")).into());
    }
    // Whole or absent: a disk that fills up leaves no half of a pair, and the list is printed when all files are there.
    // A first signal does not interrupt this, which takes milliseconds.
    let _signals = signal::shutdown();
    let staging = tempfile::Builder::new().prefix(".kelvin-").tempdir_in(dir)?;
    signal::remove_at_exit(staging.path().to_owned());
    let staged = |name: &str, extension| staging.path().join(name).with_extension(extension);
    for (name, pair) in &pairs {
        let cert = path(name, "crt");
        pair.write(&staged(name, "crt"), &staged(name, "key"))
            .map_err(|error| format!("{}: {error}", cert.display()))?;
    }
    let mut list = String::new();
    for (name, _) in pairs {
        for extension in ["key", "crt"] {
            let file = path(name, extension);
            fs::rename(staged(name, extension), &file)
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
        let _ = writeln!(list, "{} and {}", path(name, "crt").display(), path(name, "key").display());
    }
    drop(staging);
    Ok(print(&list)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use kelvin_credentials::{ClientAuth, ClientFiles, ClientTls, ServerFiles, ServerTls};

    use super::*;

    #[test]
    fn pairs_load_and_keys_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new").join("certs");
        let mut arguments =
            Arguments { dir: dir.clone(), names: vec!["localhost".into(), "::1".into()], force: false };
        run(&arguments).unwrap();

        let ca = dir.join("ca.crt");
        let files = ServerFiles {
            cert: dir.join("server.crt"),
            key: dir.join("server.key"),
            external: None,
            client_ca: Some(ca.clone()),
        };
        ServerTls::load(files, ClientAuth::Required).unwrap();
        ClientTls::load(ClientFiles {
            ca: Some(ca),
            cert: Some(dir.join("client.crt")),
            key: Some(dir.join("client.key")),
        })
        .unwrap();
        for key in ["ca.key", "server.key", "client.key"] {
            let mode = fs::metadata(dir.join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }

        let before = fs::read(dir.join("server.crt")).unwrap();
        let error = run(&arguments).unwrap_err().to_string();
        assert!(error.contains("server.key") && error.contains("--force"), "{error}");
        assert_eq!(fs::read(dir.join("server.crt")).unwrap(), before);
        arguments.force = true;
        run(&arguments).unwrap();
        assert_ne!(fs::read(dir.join("server.crt")).unwrap(), before);

        let before = fs::read(dir.join("server.crt")).unwrap();
        fs::remove_file(dir.join("ca.crt")).unwrap();
        fs::create_dir(dir.join("ca.crt")).unwrap();
        let error = run(&arguments).unwrap_err().to_string();
        assert!(error.contains("ca.crt is a directory"), "{error}");
        assert_eq!(fs::read(dir.join("server.crt")).unwrap(), before, "all files or none");
    }

    #[test]
    fn names_are_hosts_and_addresses() {
        for valid in ["localhost", "*.kelvin.example", "kelvin_1", "127.0.0.1", "::1"] {
            assert_eq!(name(valid).as_deref(), Ok(valid));
        }
        for invalid in ["", "a b", "*", "*.", "*.127.0.0.1", "a.*.b", "[::1]", "localhost:1", "kélvin"] {
            assert!(name(invalid).is_err(), "{invalid}");
        }
    }
}
