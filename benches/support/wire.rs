//! The minimum of HTTP/1.1 that a load generator needs: of an answer only the status and the end are read.

use std::io;

use anyhow::{Context, bail};
use memchr::memmem;
use tokio::net::TcpStream;

/// Sends a request and returns the whole answer, which must fit into the buffer.
pub async fn exchange<'a>(stream: &TcpStream, request: &[u8], buffer: &'a mut [u8]) -> anyhow::Result<&'a [u8]> {
    write(stream, request).await?;
    read(stream, buffer).await
}

/// The status of an answer; 0 if there is none.
pub fn status(answer: &[u8]) -> u16 {
    let digits = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
}

async fn write(stream: &TcpStream, mut request: &[u8]) -> io::Result<()> {
    while !request.is_empty() {
        match stream.try_write(request) {
            Ok(written) => request = &request[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads one answer to its end.
async fn read<'a>(stream: &TcpStream, buffer: &'a mut [u8]) -> anyhow::Result<&'a [u8]> {
    let mut filled = 0;
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer[filled..]) {
            Ok(0) => bail!("the connection was closed under a delivery"),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        let answer = &buffer[..filled];
        if let Some(head) = memmem::find(answer, b"\r\n\r\n") {
            let length = content_length(&answer[..head]).context("an answer without content-length")?;
            if filled >= head + 4 + length {
                return Ok(&buffer[..filled]);
            }
        }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length: ";
    let value = &head[memmem::find(head, NAME)? + NAME.len()..];
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}
