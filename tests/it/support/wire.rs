//! Requests that no HTTP client would send: bytes over a connection.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use super::Service;

/// A connection to the public listener.
pub struct Wire(TcpStream);

impl Wire {
    pub fn to(service: &Service) -> Self {
        let stream = TcpStream::connect(service.public.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Says that nothing more will be sent, or hangs up.
    pub fn close(&self, how: Shutdown) {
        self.0.shutdown(how).unwrap();
    }

    /// The next bytes.
    pub fn read(&mut self, bytes: &mut [u8]) {
        self.0.read_exact(bytes).unwrap();
    }

    /// The head of the next answer, in lower case.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(self.0.read(&mut byte).unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap().to_lowercase()
    }

    /// The next answer: its head in lower case, and its body.
    pub fn answer(&mut self) -> (String, String) {
        let head = self.head();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }
}
