//! What a client is told whose connection gets no permit: 503, whatever its request is.
//!
//! Many clients report an error of the connection, not the answer, when the answer comes before they have sent their
//! request, or when the connection is closed while they send. So the answer waits for the request, and the rest of it is
//! discarded (lingering close). That takes a while, and an open file: a limited number of connections is refused in this
//! way, all others at once.

use std::{io::Write, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::TcpStream,
    time::timeout,
};

use super::{
    body::{LINGER_BYTES, LINGER_TIME},
    connection_limiter::LingerPermit,
};
use crate::request_id::RequestId;

/// How long the answer waits for the first byte of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(500);

/// Answers, and closes the connection: at once if it may not linger.
pub(super) fn refuse(stream: TcpStream, reason: &str, linger: Option<LingerPermit>) {
    let answer = answer(reason);
    match linger {
        Some(permit) => {
            tokio::spawn(async move {
                answer_request(stream, &answer).await;
                drop(permit);
            });
        }
        // not over the runtime, which does not know yet that the socket takes something: the send buffer of a new
        // connection is empty; if this fails, closing is answer enough
        None => drop(stream.into_std().and_then(|mut stream| stream.write(answer.as_bytes()))),
    }
}

async fn answer_request(mut stream: TcpStream, answer: &str) {
    let _ = timeout(REQUEST_TIMEOUT, stream.peek(&mut [0])).await;
    let _ = timeout(LINGER_TIME, async {
        stream.write_all(answer.as_bytes()).await?;
        // for a client that reads until the end
        stream.shutdown().await?;
        copy(&mut stream.take(LINGER_BYTES as u64), &mut sink()).await
    })
    .await;
}

fn answer(reason: &str) -> String {
    let id = RequestId::generate();
    let id = id.as_str();
    let body = json!({"error": {"code": "overloaded", "message": reason, "request_id": id}}).to_string();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nx-request-id: {id}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
