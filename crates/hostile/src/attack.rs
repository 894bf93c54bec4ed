//! Connections that send frames as fast as the server reads them.

use std::{
    fmt,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, split},
    time::{sleep, timeout},
};

use crate::{
    frames::{Frames, INITIAL_WINDOW_SIZE},
    test_server::{Failure, TestServer},
};

/// Minimum number of bytes per write, once the opening frames are sent.
const CHUNK: usize = 64 * 1024;

/// Delay before a closed connection is replaced.
const RECONNECT: Duration = Duration::from_millis(5);

/// Parameters of an attack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attack {
    /// Number of concurrent connections.
    pub(crate) connections: usize,
    /// Initial flow-control window of each stream, for the server's responses.
    pub(crate) window: u32,
    /// Increment of the connection's flow-control window above HTTP/2's default, for the server's responses.
    pub(crate) connection_window: u32,
    /// Whether the attacker reads from its sockets.
    pub(crate) reads: bool,
}

impl Default for Attack {
    fn default() -> Self {
        Self { connections: 8, window: 65_535, connection_window: 1 << 30, reads: true }
    }
}

/// Totals of an attack.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) bytes: u64,
    pub(crate) connections: usize,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MB over {} connections", self.bytes as f64 / 1e6, self.connections)
    }
}

impl Attack {
    /// Runs the attack until the server's deadline, and returns a summary.
    ///
    /// Each connection sends the frames of `open` once, then those of `repeat` in a loop. If `repeat` adds no frame, the
    /// connection stays open and sends nothing more.
    pub(crate) async fn run(
        self,
        server: &TestServer,
        open: impl Fn(&mut Frames),
        repeat: impl Fn(&mut Frames),
    ) -> Result<String, Failure> {
        Ok(self.send(server, open, repeat).await.to_string())
    }

    /// Runs the attack like [`Attack::run`], and returns its totals.
    pub(crate) async fn send(
        self,
        server: &TestServer,
        open: impl Fn(&mut Frames),
        repeat: impl Fn(&mut Frames),
    ) -> Sent {
        let one = || async {
            let mut sent = Sent::default();
            while !server.remaining().is_zero() {
                self.connect(server, &open, &repeat, &mut sent).await;
                sleep(RECONNECT).await;
            }
            sent
        };
        let all = join_all((0..self.connections).map(|_| one())).await;
        all.iter().fold(Sent::default(), |all, one| Sent {
            bytes: all.bytes + one.bytes,
            connections: all.connections + one.connections,
        })
    }

    /// Attacks on one connection until it closes or the deadline passes. The server may close it, so errors are ignored.
    async fn connect(
        self,
        server: &TestServer,
        open: &impl Fn(&mut Frames),
        repeat: &impl Fn(&mut Frames),
        sent: &mut Sent,
    ) {
        let Ok(Ok(io)) = timeout(server.remaining(), server.connect()).await else { return };
        sent.connections += 1;
        let (mut read, mut write) = split(io);
        let mut frames = Frames::default();
        frames.preface(&[(INITIAL_WINDOW_SIZE, self.window)]);
        if self.connection_window > 0 {
            frames.window_update(0, self.connection_window);
        }
        open(&mut frames);
        let write_all = async {
            loop {
                let written = write.write_all(&frames.bytes).await;
                let written = match written {
                    Ok(()) => write.flush().await,
                    error => error,
                };
                if written.is_err() || Instant::now() >= server.deadline {
                    return;
                }
                sent.bytes += frames.bytes.len() as u64;
                frames.bytes.clear();
                while frames.bytes.len() < CHUNK {
                    let before = frames.bytes.len();
                    repeat(&mut frames);
                    if frames.bytes.len() == before {
                        break;
                    }
                }
                if frames.bytes.is_empty() {
                    return std::future::pending().await;
                }
                // Lets the other connections on this thread run.
                tokio::task::yield_now().await;
            }
        };
        let read_all = async {
            let mut buffer = vec![0; CHUNK];
            if !self.reads {
                return std::future::pending().await;
            }
            while matches!(read.read(&mut buffer).await, Ok(1..)) {}
        };
        let both = async {
            tokio::select! {
                () = write_all => {}
                () = read_all => {}
            }
        };
        let _ = timeout(server.remaining(), both).await;
    }
}
