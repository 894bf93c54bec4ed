//! TLS whose peer cannot make rustls keep much: it keeps up to 64 KiB of a handshake message that does not end, in the
//! handshake and at any time after it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// Bytes that a peer may send before it completes the handshake, and then before any plaintext comes of them. Handshakes
/// with a chain of client certificates and records of 16 KiB take less.
const MAX_WITHOUT_PLAINTEXT: usize = 32 * 1024;

/// A TCP stream that fails when too much is read from it.
#[derive(Debug)]
pub(crate) struct Bounded {
    io: TcpStream,
    left: usize,
}

impl Bounded {
    pub(crate) fn new(io: TcpStream) -> Self {
        Self { io, left: MAX_WITHOUT_PLAINTEXT }
    }
}

/// TLS on a [`Bounded`] stream, which may go on with each plaintext.
#[derive(Debug)]
pub(crate) struct BoundedTls(TlsStream<Bounded>);

impl BoundedTls {
    pub(crate) fn new(stream: TlsStream<Bounded>) -> Self {
        Self(stream)
    }

    pub(crate) fn get_ref(&self) -> &TlsStream<Bounded> {
        &self.0
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let error = format!("more than {MAX_WITHOUT_PLAINTEXT} bytes of TLS without application data");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for BoundedTls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.0.get_mut().0.left = MAX_WITHOUT_PLAINTEXT;
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes by a field.
macro_rules! async_write {
    ($stream:ty, $field:tt) => {
        impl AsyncWrite for $stream {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                data: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$field).poll_write(cx, data)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_shutdown(cx)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                data: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$field).poll_write_vectored(cx, data)
            }

            fn is_write_vectored(&self) -> bool {
                self.$field.is_write_vectored()
            }
        }
    };
}

async_write!(Bounded, io);
async_write!(BoundedTls, 0);
