//! The bytes of a connection: counted as they come in, and with a time limit for those that go out.

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

/// A stream with a write timeout.
pub(super) struct TimeoutStream {
    stream: TcpStream,
    state: Arc<ConnectionState>,
    /// How long a client may take to take an answer that does not go out at once.
    write_timeout: Duration,
    stuck: Option<Pin<Box<time::Sleep>>>,
}

impl TimeoutStream {
    pub(super) fn new(stream: TcpStream, state: Arc<ConnectionState>, write_timeout: Duration) -> Self {
        Self { stream, state, write_timeout, stuck: None }
    }

    /// Gives a write up that has waited for too long since everything had gone out, or has to make room.
    fn unless_stuck(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            return written;
        }
        let (state, timeout) = (&self.state, self.write_timeout);
        let stuck = self.stuck.get_or_insert_with(|| {
            state.is_stuck(true);
            Box::pin(time::sleep(timeout))
        });
        if state.is_evicted() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        stuck.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for TimeoutStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(context, into);
        this.state.has_received(into.filled().len() - before);
        result
    }
}

impl AsyncWrite for TimeoutStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.unless_stuck(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.unless_stuck(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper asks for this once it has nothing left to write.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stuck.take().is_some() {
            this.state.is_stuck(false);
        }
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
