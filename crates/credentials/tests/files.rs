//! Files that are not what a file should be: too large, endless, or pipes.

mod common;

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::fd::AsRawFd as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use common::{Metrics, POLL};
use kelvin_credentials::{ClientFiles, ClientTls, SecretFiles, StoreSecrets, Tokens};
use kelvin_testing::eventually;

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn oversized_or_special_file_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    File::create(&large).unwrap().set_len(250_000_000).unwrap();
    for (path, reason) in [
        (large.as_path(), "is larger than 4 MiB"),
        (Path::new("/dev/zero"), "is neither a regular file nor a pipe"),
        (folder.path(), "is neither a regular file nor a pipe"),
    ] {
        let secrets = SecretFiles { password: Some(path.into()), ca: None, cert: None, key: None };
        let client = ClientFiles { ca: Some(path.into()), ..ClientFiles::default() };
        for error in [
            Tokens::load(path).unwrap_err(),
            StoreSecrets::load(secrets).unwrap_err(),
            ClientTls::load(client).unwrap_err(),
        ] {
            assert_eq!(error.to_string(), format!("{}: {reason}", path.display()));
        }
    }
}

#[test]
fn file_of_the_largest_size_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let mut content = vec![b'\n'; 4 << 20];
    content[..5].copy_from_slice(b"alpha");
    fs::write(&path, content).unwrap();
    assert!(Tokens::load(path).unwrap().authenticate(b"alpha").is_ok());
}

#[tokio::test]
async fn pipe_is_read_once_up_to_its_end() {
    // As the shell's `<(…)`.
    let (reader, mut writer) = std::io::pipe().unwrap();
    let written = thread::spawn(move || {
        for part in ["al", "pha\n"] {
            thread::sleep(Duration::from_millis(100));
            writer.write_all(part.as_bytes()).unwrap();
        }
    });
    let tokens = Tokens::load(format!("/dev/fd/{}", reader.as_raw_fd())).unwrap();
    written.join().unwrap();
    assert!(tokens.authenticate(b"alpha").is_ok());

    let metrics = Metrics::new();
    let _ = tokio::time::timeout(10 * POLL, tokens.watch(POLL, &metrics.meter())).await;
    assert!(metrics.has("kelvin.reloads[{reload}]{file=tokens,result=rejected} 0"), "{:?}", metrics.lines());
}

#[test]
fn pipe_may_be_opened_by_its_writer_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    make_fifo(&path);
    let written = thread::spawn({
        let path = path.clone();
        move || {
            thread::sleep(Duration::from_millis(100));
            OpenOptions::new().write(true).open(path).unwrap().write_all(b"alpha\n").unwrap();
        }
    });
    assert!(Tokens::load(path).unwrap().authenticate(b"alpha").is_ok());
    written.join().unwrap();
}

#[test]
fn pipe_that_is_not_written_ends_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let without_writer = folder.path().join("tokens");
    make_fifo(&without_writer);
    let (reader, _silent) = std::io::pipe().unwrap();
    let silent = format!("/dev/fd/{}", reader.as_raw_fd());
    let load = |path: &Path| Tokens::load(path).unwrap_err().to_string();
    let begin = Instant::now();
    let errors = thread::scope(|scope| {
        let other = scope.spawn(|| load(&without_writer));
        [load(Path::new(&silent)), other.join().unwrap()]
    });
    assert!(begin.elapsed() < Duration::from_secs(15));
    for error in errors {
        assert!(error.ends_with("is a pipe that its writer did not close within 5 s of startup"), "{error}");
    }
}

#[tokio::test]
async fn unreadable_file_keeps_previous_until_next_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    fs::write(&path, "alpha").unwrap();
    let tokens = Tokens::load(&path).unwrap();
    let metrics = Metrics::new();
    let _watch = tokio::spawn(tokens.watch(POLL, &metrics.meter()));
    let replace = |make: &dyn Fn(&Path)| {
        let new = folder.path().join("new");
        make(&new);
        fs::rename(new, &path).unwrap();
    };
    let large = |path: &Path| File::create(path).unwrap().set_len(250_000_000).unwrap();
    for (count, make) in (1..).zip([&make_fifo as &dyn Fn(&Path), &large]) {
        replace(make);
        let rejected = format!("kelvin.reloads[{{reload}}]{{file=tokens,result=rejected}} {count}");
        metrics.until_has(&rejected).await;
        assert!(tokens.authenticate(b"alpha").is_ok());
    }
    replace(&|path| fs::write(path, "beta").unwrap());
    eventually("the next good one is read", async || tokens.authenticate(b"beta").is_ok()).await;
}
