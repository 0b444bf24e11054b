//! A raw connection, for requests that no HTTP client sends.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use tokio::net::TcpSocket;

use super::Service;

/// A connection to the public listener.
pub struct Wire(TcpStream);

impl Wire {
    pub fn to(service: &Service) -> Self {
        let stream = TcpStream::connect(service.public.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    /// Connects from an address of the loopback, with a small receive buffer: the service soon has to wait.
    pub async fn from(address: [u8; 4], service: &Service) -> Self {
        Self::connect(address, &service.public, Duration::from_secs(20)).await.unwrap()
    }

    /// As [`Self::from`], to either listener; `None` if it does not accept within a second.
    pub async fn try_from(address: [u8; 4], url: &str) -> Option<Self> {
        Self::connect(address, url, Duration::from_secs(1)).await
    }

    async fn connect(address: [u8; 4], url: &str, within: Duration) -> Option<Self> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::from(address), 0))).unwrap();
        let connecting = socket.connect(url.trim_start_matches("http://").parse().unwrap());
        let stream = tokio::time::timeout(within, connecting).await.ok()?.ok()?;
        let stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        Some(Self(stream))
    }

    /// Sends until the service hangs up; returns whether it took all.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        match self.0.write_all(bytes) {
            Ok(()) => true,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "the service neither takes more nor hangs up");
                false
            }
        }
    }

    /// Sends until the service has read nothing for 300 ms.
    pub fn send_what_is_taken(&self, bytes: &[u8]) {
        self.0.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!((&self.0).write_all(bytes).is_err(), "the service takes all");
    }

    /// Whether the next bytes contain a text; `false` if none arrive within a second.
    pub fn has_heard(&mut self, text: &str) -> bool {
        let mut bytes = [0; 4096];
        self.0.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let count = self.0.read(&mut bytes).unwrap_or_default();
        String::from_utf8_lossy(&bytes[..count]).contains(text)
    }

    /// Reads until the service hangs up; returns the bytes and the time.
    pub fn rest(&mut self) -> (String, Duration) {
        let since = Instant::now();
        let mut rest = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the service does not hang up");
        }
        (String::from_utf8_lossy(&rest).into_owned(), since.elapsed())
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Half-closes or closes the connection.
    pub fn close(&self, how: Shutdown) {
        self.0.shutdown(how).unwrap();
    }

    /// Fills the buffer with the next bytes.
    pub fn read(&mut self, bytes: &mut [u8]) {
        self.0.read_exact(bytes).unwrap();
    }

    /// Reads the head of the next answer, in lower case.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(self.0.read(&mut byte).unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap().to_lowercase()
    }

    /// As [`Self::head`], or what came until the connection ended.
    pub fn head_if_any(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && self.0.read(&mut byte).is_ok_and(|count| count == 1) {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap().to_lowercase()
    }

    /// Reads the next answer: head in lower case, and body.
    pub fn answer(&mut self) -> (String, String) {
        let head = self.head();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }
}
