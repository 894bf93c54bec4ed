use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// The connection preface that every HTTP/2 client sends first (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose peer has sent the HTTP/2 preface. It is read here, so that the caller can limit the time, because h2
/// waits for it without a limit.
#[derive(Debug)]
pub(crate) struct PrefaceChecked<I> {
    io: I,
    /// The part of the preface that h2 has not read yet.
    preface: &'static [u8],
}

impl<I: AsyncRead + Unpin> PrefaceChecked<I> {
    /// Waits for the preface.
    pub(crate) async fn read(mut io: I) -> io::Result<Self> {
        let mut bytes = [0; PREFACE.len()];
        io.read_exact(&mut bytes).await?;
        if bytes != PREFACE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "invalid HTTP/2 connection preface"));
        }
        Ok(Self { io, preface: PREFACE })
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for PrefaceChecked<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.preface.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let (now, later) = self.preface.split_at(buffer.remaining().min(self.preface.len()));
        buffer.put_slice(now);
        self.preface = later;
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for PrefaceChecked<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
