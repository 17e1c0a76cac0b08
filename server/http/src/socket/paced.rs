//! A connection whose other end has to keep going.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use pillion_door::InProgress;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What a client gets that takes too long for the head of a request.
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A connection whose other end has to keep going: the head of a request must come whole in a while from its first byte (for the
/// first request: from the beginning), the next one must begin in a while, and answers must be read.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    inner: S,
    patience: Duration,
    idle_patience: Duration,
    /// While there are none, what comes is the head of a request.
    in_progress: InProgress,
    /// When the head of a request must have come.
    head: Option<Pin<Box<Sleep>>>,
    /// When the first byte of another request must have come.
    idle: Option<Pin<Box<Sleep>>>,
    /// When some of what is to be sent must have been taken.
    send: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(crate) fn new(
        inner: S,
        patience: Duration,
        idle_patience: Duration,
        in_progress: InProgress,
    ) -> Self {
        let head = Some(after(patience));
        Self { inner, patience, idle_patience, in_progress, head, idle: None, send: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let is_in_progress = this.in_progress.load(Ordering::Acquire) > 0;
        if is_in_progress {
            (this.head, this.idle) = (None, None);
        } else if this.head.is_none() {
            let patience = this.idle_patience;
            let idle = this.idle.get_or_insert_with(|| after(patience));
            if idle.as_mut().poll(context).is_ready() {
                // As if the client had closed it.
                return Poll::Ready(Ok(()));
            }
        }
        if let Some(head) = &mut this.head
            && head.as_mut().poll(context).is_ready()
        {
            // Nothing else is being written: no request is in progress. If there is no room, the client reads nothing anyway.
            let _ = Pin::new(&mut this.inner).poll_write(context, REQUEST_TIMEOUT);
            return Poll::Ready(Err(timed_out("the head of a request did not come")));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(context, buffer);
        if matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() > before && !is_in_progress {
            this.idle = None;
            this.head.get_or_insert_with(|| after(this.patience));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Paced<S> {
    /// The outcome of a write, or an error if the other end has taken nothing for too long.
    fn hurry<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut self.inner), context);
        if written.is_ready() {
            self.send = None;
            return written;
        }
        let patience = self.patience;
        match self.send.get_or_insert_with(|| after(patience)).as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(timed_out("the client does not read its answer"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().hurry(context, |inner, context| inner.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().hurry(context, |inner, context| inner.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().hurry(context, |inner, context| inner.poll_shutdown(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().hurry(context, |inner, context| inner.poll_write_vectored(context, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

fn after(patience: Duration) -> Pin<Box<Sleep>> {
    let now = Instant::now();
    // What lies beyond the clock is a year away.
    Box::pin(sleep_until(now.checked_add(patience).unwrap_or(now + Duration::from_secs(31_536_000))))
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
