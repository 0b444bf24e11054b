//! A connection's byte stream: counts what it reads, and limits how long a write may stay blocked.
//!
//! hyper has no write timeout (hyperium/hyper#1628), so a client that does not take its answer would keep its connection.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time,
};

use super::connection_state::ConnectionState;

pub(super) struct TimeoutStream {
    stream: TcpStream,
    state: Arc<ConnectionState>,
    write_timeout: Duration,
    /// Set while a write is blocked.
    write_deadline: Option<Pin<Box<time::Sleep>>>,
}

impl TimeoutStream {
    pub(super) fn new(stream: TcpStream, state: Arc<ConnectionState>, write_timeout: Duration) -> Self {
        Self { stream, state, write_timeout, write_deadline: None }
    }

    /// Fails a blocked write once the timeout has passed since it first blocked, or when the connection is evicted. Only a
    /// flush resets the timeout: a client that takes a byte at a time does not.
    fn with_deadline(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            return written;
        }
        let (state, timeout) = (&self.state, self.write_timeout);
        let deadline = self.write_deadline.get_or_insert_with(|| {
            state.set_write_blocked(true);
            Box::pin(time::sleep(timeout))
        });
        if state.is_evicted() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for TimeoutStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(context, into);
        this.state.add_received(into.filled().len() - before);
        result
    }
}

impl AsyncWrite for TimeoutStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.with_deadline(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.with_deadline(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes once it has nothing left to write.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.write_deadline.take().is_some() {
            this.state.set_write_blocked(false);
        }
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
