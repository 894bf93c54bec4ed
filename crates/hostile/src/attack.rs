//! Connections that send frames as fast as they can.

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
    world::{Failure, World},
};

/// Bytes that are written at once.
const CHUNK: usize = 64 * 1024;

/// Before a connection that was closed is replaced.
const RECONNECT: Duration = Duration::from_millis(5);

/// How connections attack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) connections: usize,
    /// Of the streams of the server's answers.
    pub(crate) window: u32,
    /// For the answers of the whole connection, beyond HTTP/2's default.
    pub(crate) connection_window: u32,
    /// Takes what the server sends.
    pub(crate) reads: bool,
}

impl Default for Attack {
    fn default() -> Self {
        Self { connections: 8, window: 65_535, connection_window: 1 << 30, reads: true }
    }
}

/// What an attack came to.
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
    /// Each connection sends what `open` makes, then what `repeat` makes again and again. One that makes nothing
    /// holds its connection.
    pub(crate) async fn run(
        self,
        world: &World,
        open: impl Fn(&mut Frames),
        repeat: impl Fn(&mut Frames),
    ) -> Result<String, Failure> {
        Ok(self.send(world, open, repeat).await.to_string())
    }

    /// The same, but returns the counts.
    pub(crate) async fn send(
        self,
        world: &World,
        open: impl Fn(&mut Frames),
        repeat: impl Fn(&mut Frames),
    ) -> Sent {
        let one = || async {
            let mut sent = Sent::default();
            while !world.left().is_zero() {
                self.connect(world, &open, &repeat, &mut sent).await;
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

    /// Errors mean that the server has closed the connection, as it may.
    async fn connect(
        self,
        world: &World,
        open: &impl Fn(&mut Frames),
        repeat: &impl Fn(&mut Frames),
        sent: &mut Sent,
    ) {
        let Ok(Ok(io)) = timeout(world.left(), world.connect()).await else { return };
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
                if written.is_err() || Instant::now() >= world.until {
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
                // Others on this thread have a turn.
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
        let _ = timeout(world.left(), both).await;
    }
}
