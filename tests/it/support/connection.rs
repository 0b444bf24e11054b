//! A keep-alive connection that, unlike an HTTP client's, never sends a request twice.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{Provider, provider};

/// A service that takes longer than this hangs.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    Refused,
    /// The connection broke before the answer.
    InDoubt,
}

pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub async fn to(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Whether the service has closed it between requests.
    pub fn is_closed(&self) -> bool {
        !matches!(self.0.get_ref().try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Delivers as the account `main`. After `InDoubt` the connection cannot be used any more.
    pub async fn deliver(&mut self, provider: &Provider, body: &str) -> Outcome {
        let authorization = (provider.authorization)("main").map(|value| format!("authorization: {value}\r\n"));
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: x\r\n{}content-length: {}\r\n\r\n{body}",
            provider.path,
            authorization.unwrap_or_default(),
            body.len()
        );
        match timeout(TIMEOUT, self.exchange(&request)).await.expect("the service answers") {
            Ok(answer) => judge(provider.name, &answer),
            Err(_) => Outcome::InDoubt,
        }
    }

    /// Sends a request as it is, and returns the answer.
    pub async fn exchange(&mut self, request: &str) -> io::Result<Answer> {
        self.0.write_all(request.as_bytes()).await?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.expect("an answer has a length").parse().unwrap()];
        self.0.read_exact(&mut body).await?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answer {
            status,
            asks_to_try_again: head.contains("\r\nretry-after: "),
            body: String::from_utf8(body).unwrap(),
        })
    }
}

pub struct Answer {
    pub status: u16,
    asks_to_try_again: bool,
    body: String,
}

/// Success, or the answer which the contract has for what cannot be made durable now; there is no third.
fn judge(name: &str, answer: &Answer) -> Outcome {
    let documented = match name {
        "ticket_status_update" => (422, r#"{"code":422,"message":["Something went wrong..."]}"#),
        "booking_callback" => (503, r#"{"Error":{"ErrorCode":503,"#),
        _ => (503, r#"{"status":503,"#),
    };
    match answer.status {
        200 => Outcome::Acknowledged,
        status => {
            let is_documented =
                (status, true) == (documented.0, answer.asks_to_try_again) && answer.body.starts_with(documented.1);
            assert!(is_documented, "{name}: {status} {} (retry-after: {})", answer.body, answer.asks_to_try_again);
            Outcome::Refused
        }
    }
}

/// A delivery about a booking that says something which no other says.
pub fn body(name: &'static str, booking: &str, says: u32) -> (&'static Provider, String) {
    let provider = provider(name);
    let mut delivery = (provider.delivery)("main", booking);
    if name == "booking_callback" {
        delivery["Remark"] = says.to_string().into();
        delivery["Status"] = ["Pending", "Success", "Failed"][says as usize % 3].into();
    }
    (provider, delivery.to_string())
}
