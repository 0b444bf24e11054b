//! How long a connection may take: to be idle, to send the head of a request, to take its answer.
//!
//! hyper has one time limit for the head, which it counts from the moment at which it begins to wait for it: an idle
//! connection and one that sends a byte a second are the same to it. They are not to us: an idle one must be kept for
//! longer than a load balancer keeps it, and a slow one must not. hyper makes a [`Sleep`] whenever it begins to wait, and
//! asks it each time there is nothing more to read. The one that it gets here, [`Wait`], has another deadline once a byte
//! of the head is there, and it is over at once when somebody else needs the place. (The beginning of a head that was
//! read together with the request before it is not seen. Until more comes, that connection counts as idle, which it could
//! as well be.)
//!
//! A connection that ends because of [`Wait`] ends without an answer. The bodies have their own limit: see
//! [`super::body`].

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time,
};

/// What others may know of a connection.
#[derive(Debug)]
pub(super) struct Visit {
    began: Instant,
    /// Bytes that have been read.
    read: AtomicU64,
    /// Since when it waits for a request, in microseconds since it began and 1; 0 while it is at work.
    waits_since: AtomicU64,
    /// Whether there was a request before.
    is_known: AtomicBool,
    /// Whether somebody else needs the place.
    is_over: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Visit {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            read: AtomicU64::new(0),
            waits_since: AtomicU64::new(0),
            is_known: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// Since when it waits for a request, and whether there was one before. `None` while it is at work or about to end.
    pub(super) fn waits_since(&self) -> Option<(bool, Instant)> {
        match self.waits_since.load(Ordering::Relaxed) {
            0 => None,
            _ if self.is_over.load(Ordering::Relaxed) => None,
            since => Some((self.is_known.load(Ordering::Relaxed), self.began + Duration::from_micros(since))),
        }
    }

    /// Ends it unless there is a whole head to read. What is at work is finished first.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wake_by(&self, waker: &Waker) {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}

/// Gives hyper a [`Wait`] for each head.
pub(super) struct Patience {
    pub(super) visit: Arc<Visit>,
    /// From the first byte of a head to its last.
    pub(super) head: Duration,
}

impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, idle_until: Instant) -> Pin<Box<dyn Sleep>> {
        let visit = Arc::clone(&self.visit);
        let since = u64::try_from(visit.began.elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1;
        visit.waits_since.store(since, Ordering::Relaxed);
        let read_before = visit.read.load(Ordering::Relaxed);
        let sleep = time::sleep_until(idle_until.into());
        Box::pin(Wait { sleep, visit, read_before, has_begun: false, head: self.head })
    }
}

pin_project! {
    /// The time in which a connection waits for a head and reads it.
    struct Wait {
        #[pin]
        sleep: time::Sleep,
        visit: Arc<Visit>,
        read_before: u64,
        has_begun: bool,
        head: Duration,
    }

    impl PinnedDrop for Wait {
        fn drop(this: Pin<&mut Self>) {
            this.visit.waits_since.store(0, Ordering::Relaxed);
            this.visit.is_known.store(true, Ordering::Relaxed);
        }
    }
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !*this.has_begun && this.visit.read.load(Ordering::Relaxed) != *this.read_before {
            *this.has_begun = true;
            this.sleep.as_mut().reset(time::Instant::now() + *this.head);
        }
        this.visit.wake_by(context.waker());
        if this.visit.is_over.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        this.sleep.poll(context)
    }
}

/// A connection's bytes, counted as they come in. Going out they must make room for the rest of the answer in time.
pub(super) struct Wire {
    stream: TcpStream,
    visit: Arc<Visit>,
    /// How long a client may take to take an answer that does not go out at once.
    answer: Duration,
    stuck: Option<Pin<Box<time::Sleep>>>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, visit: Arc<Visit>, answer: Duration) -> Self {
        Self { stream, visit, answer, stuck: None }
    }

    /// Gives a write up that has waited for too long since everything had gone out.
    fn unless_stuck(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            return written;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(time::sleep(self.answer)));
        stuck.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(context, into);
        this.visit.read.fetch_add((into.filled().len() - before) as u64, Ordering::Relaxed);
        result
    }
}

impl AsyncWrite for Wire {
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
        this.stuck = None;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
