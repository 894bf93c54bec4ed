//! No certificate of a file is lost: what the loader accepts, an independent reader finds too, and nothing else.

#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use kelvin_credentials::{SecretFiles, StoreSecrets, read_identity};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

/// In memory, where the system has such a folder; a run of libFuzzer ends without destructors, so the name stays the same.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join("kelvin-fuzz.pem")
});

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().expect("it is PEM")
}

fuzz_target!(|content: &[u8]| {
    let path = &*FILE;
    fs::write(path, content).expect("space");
    let files = SecretFiles { password: None, ca: Some(path.clone()), cert: None, key: None };
    if let Ok(secrets) = StoreSecrets::load(files) {
        let loaded = certificates(secrets.current().ca.as_deref().expect("a bundle"));
        let begins = content.windows(15).filter(|window| window.starts_with(b"-----BEGIN CERT")).count();
        assert_eq!(loaded.len(), begins, "one certificate for each BEGIN");
    }
    // Chain and key in one file are refused, whatever else is in it.
    assert!(read_identity(path, path).is_err());
});
