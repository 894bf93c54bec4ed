use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    account::Account,
    backpressure::Backpressure,
    frames::{ReceivedFrames, SentFrames},
};

/// A connection that charges its frames to its account.
#[derive(Debug)]
pub(super) struct Metered<I> {
    io: I,
    account: Arc<Account>,
    received: ReceivedFrames,
    sent: SentFrames,
    backpressure: Backpressure,
}

impl<I> Metered<I> {
    pub(super) fn new(io: I, account: Arc<Account>) -> Self {
        Self {
            io,
            account,
            received: ReceivedFrames::new(),
            sent: SentFrames::default(),
            backpressure: Backpressure::default(),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Metered<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.account.closing().is_some() {
            // Nothing more is read; the connection ends when its last frames are sent.
            return Poll::Pending;
        }
        if this.account.is_drained() {
            // h2 reads again for each call that it returns. The pending read has registered the waker of the connection's
            // task, because h2 reads only when the connection is polled, never when a call is polled, whose waker differs.
            // Data that has arrived since then wakes the task for its next turn.
            return Poll::Pending;
        }
        if !this.account.has_turn() {
            this.account.use_up_turn(cx);
            return Poll::Pending;
        }
        ready!(this.backpressure.poll_may_grow(&this.account, cx));
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, buffer) else {
            this.account.set_drained();
            return Poll::Pending;
        };
        read?;
        let Self { account, received, .. } = this;
        let mut length = 0;
        account.received(|each| length = received.join(&mut buffer.filled_mut()[before..], each));
        buffer.set_filled(before + length);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Metered<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, data))?;
        let Self { account, sent, .. } = &mut *self;
        account.sent(|each| sent.push(&data[..written], each));
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, data))?;
        let Self { account, sent, .. } = &mut *self;
        account.sent(|each| {
            let mut left = written;
            for slice in data {
                let part = left.min(slice.len());
                sent.push(&slice[..part], &mut *each);
                left -= part;
            }
        });
        Poll::Ready(Ok(written))
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
