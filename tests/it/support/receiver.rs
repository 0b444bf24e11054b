//! The agency's own system, to which events are forwarded: it does what a test says, and remembers what it got.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// The secret that signs, unless a test has others.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const TIMEOUT: Duration = Duration::from_secs(60);

/// What the receiver does with a request.
#[derive(Clone, Debug)]
pub enum Reaction {
    /// A whole answer, as it is on the wire.
    Answer(String),
    /// The answer comes after this time.
    Slow(Duration, String),
    /// It closes the connection.
    Close,
    /// It never answers.
    Hang,
    /// A body without an end behind this status.
    Endless(u16),
    /// An answer whose head has no end.
    EndlessHead,
}

impl Reaction {
    pub fn status(status: u16) -> Self {
        Self::with(status, "")
    }

    /// With lines of the head.
    pub fn with(status: u16, lines: &str) -> Self {
        Self::Answer(format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n{lines}\r\n"))
    }

    /// Whether it is a yes.
    fn accepts(&self) -> bool {
        match self {
            Self::Answer(answer) | Self::Slow(_, answer) => answer.starts_with("HTTP/1.1 2"),
            Self::Endless(status) => (200..300).contains(status),
            Self::Close | Self::Hang | Self::EndlessHead => false,
        }
    }
}

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: HashMap<String, String>,
    pub text: String,
    pub body: Value,
    pub at: Instant,
    /// How many requests there were for this event before.
    pub earlier: usize,
    /// Whether the answer is a yes.
    pub is_accepted: bool,
}

impl Received {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn data(&self) -> &Value {
        &self.body["data"]
    }

    pub fn booking(&self) -> String {
        format!("{}/{}/{}", self.data()["provider"], self.data()["environment"], self.data()["booking_ref"])
    }
}

type React = dyn Fn(&Received) -> Reaction + Send + Sync;

struct Shared {
    react: Box<React>,
    received: Mutex<Vec<Received>>,
    news: Notify,
    tls: Option<TlsAcceptor>,
}

/// A receiver on a port of the loopback.
pub struct Receiver {
    pub url: String,
    port: u16,
    shared: Arc<Shared>,
    /// Ends with its connections.
    running: Option<JoinSet<()>>,
}

impl Receiver {
    pub async fn start(react: impl Fn(&Received) -> Reaction + Send + Sync + 'static) -> Self {
        Self::start_over(None, react).await
    }

    /// Over TLS.
    pub async fn start_over(
        tls: Option<TlsAcceptor>,
        react: impl Fn(&Received) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let scheme = if tls.is_some() { "https://localhost" } else { "http://127.0.0.1" };
        let (received, news) = (Mutex::default(), Notify::new());
        let shared = Arc::new(Shared { react: Box::new(react), received, news, tls });
        let mut receiver = Self { url: String::new(), port: 0, shared, running: None };
        receiver.start_again().await;
        receiver.url = format!("{scheme}:{}/tickets?token=in-the-url", receiver.port);
        receiver
    }

    /// Variables that configure the forward `back` to it, from the start.
    pub fn settings(&self) -> Vec<(String, String)> {
        [("URL", self.url.as_str()), ("SECRETS", SECRET), ("FROM", "start")]
            .map(|(key, value)| (format!("TICKET_WEBHOOKS__FORWARD__BACK__{key}"), value.to_owned()))
            .to_vec()
    }

    /// Listens again after it was killed.
    pub async fn start_again(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let (shared, mut running) = (Arc::clone(&self.shared), JoinSet::new());
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        self.running = Some(running);
    }

    /// Closes the port and all connections.
    pub async fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.shutdown().await;
        }
    }

    /// Everything so far, in the order in which it came.
    pub fn received(&self) -> Vec<Received> {
        self.lock().clone()
    }

    /// The ids that were accepted, each as often as it was.
    pub fn accepted(&self) -> Vec<String> {
        self.lock().iter().filter(|one| one.is_accepted).map(|one| one.id().to_owned()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Received>> {
        self.shared.received.lock().unwrap()
    }

    /// Waits until a condition holds for what has come.
    pub async fn until(&self, condition: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        self.until_within(TIMEOUT, condition).await
    }

    pub async fn until_within(&self, limit: Duration, condition: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let news = self.shared.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if condition(&self.lock()) {
                return self.received();
            }
            if tokio::time::timeout_at(deadline, news).await.is_err() {
                let received = self.received();
                let lines: Vec<_> = received.iter().map(|one| (one.id(), one.booking(), one.is_accepted)).collect();
                panic!(
                    "the condition never held: {} requests, the last of {:#?}",
                    received.len(),
                    lines.iter().rev().take(20)
                );
            }
        }
    }

    /// No event of a booking was sent before each earlier one had been accepted.
    pub fn assert_in_order(&self) {
        let mut accepted: HashMap<String, Vec<(u64, u64)>> = HashMap::new();
        let mut sent: HashMap<String, (u64, u64)> = HashMap::new();
        for one in self.lock().iter() {
            let number = |key: &str| one.data()[key].as_str().unwrap().parse::<u64>().unwrap();
            let position = (number("recorded_xid"), number("sequence"));
            let last = sent.entry(one.booking()).or_insert(position);
            let accepted = accepted.entry(one.booking()).or_default();
            assert!(position <= *last || accepted.contains(last), "{position:?} before {last:?} was accepted: {one:?}");
            *last = (*last).max(position);
            if one.is_accepted {
                accepted.push(position);
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let served = async {
        match &shared.tls {
            Some(tls) => answer(tls.accept(stream).await?, &shared).await,
            None => answer(stream, &shared).await,
        }
    };
    // the client has gone
    let _: std::io::Result<()> = served.await;
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some((headers, text)) = request(&mut stream).await? {
        let body = serde_json::from_str(&text).unwrap();
        let reaction = {
            let mut received = shared.received.lock().unwrap();
            let earlier = received.iter().filter(|one| one.headers["webhook-id"] == headers["webhook-id"]).count();
            let mut one = Received { headers, text, body, at: Instant::now(), earlier, is_accepted: false };
            let reaction = (shared.react)(&one);
            one.is_accepted = reaction.accepts();
            received.push(one);
            reaction
        };
        shared.news.notify_waiters();
        match reaction {
            Reaction::Answer(answer) => stream.write_all(answer.as_bytes()).await?,
            Reaction::Slow(time, answer) => {
                tokio::time::sleep(time).await;
                stream.write_all(answer.as_bytes()).await?;
            }
            Reaction::Close => return Ok(()),
            Reaction::Hang => std::future::pending().await,
            Reaction::Endless(status) => {
                let head = format!("HTTP/1.1 {status} Status\r\ntransfer-encoding: chunked\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                loop {
                    stream.write_all(b"4\r\nmore\r\n").await?;
                }
            }
            Reaction::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nx-more: ").await?;
                loop {
                    stream.write_all(b"more").await?;
                }
            }
        }
        stream.flush().await?;
    }
    Ok(())
}

/// The headers, in lower case, and the body; `None` at the end of the connection.
async fn request(
    stream: &mut (impl AsyncBufReadExt + Unpin),
) -> std::io::Result<Option<(HashMap<String, String>, String)>> {
    let (mut headers, mut line) = (HashMap::new(), String::new());
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    headers.insert(":line".to_owned(), line.trim_end().to_owned());
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let Some(length) = headers.get("content-length") else { return Ok(None) };
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await?;
    Ok(Some((headers, String::from_utf8(body).unwrap())))
}
