//! The least HTTP that a test needs: one request, one answer, every byte as given.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::world;

const TIMEOUT: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Its status; 0 if the server said nothing that is HTTP.
    pub status: u16,
    /// Its header lines.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// Reads all that a server said until it closed.
    pub fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }
}

/// `GET`s a path, sent as it is, and reads until the server closes.
///
/// # Errors
///
/// If the server cannot be reached or does not answer within 5 s.
pub fn get(server: SocketAddr, path: &str) -> io::Result<Answer> {
    exchange(
        server,
        format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").as_bytes(),
    )
}

/// Sends any bytes and reads until the server closes.
///
/// # Errors
///
/// If the server cannot be reached or neither answers nor closes within 5 s.
pub fn exchange(server: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut socket = TcpStream::connect_timeout(&server, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    // A server may answer and close before it has read everything.
    let sent = socket.write_all(request);
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Err(error) if bytes.is_empty() => return Err(sent.err().unwrap_or(error)),
        Ok(_) | Err(_) => {}
    }
    Ok(Answer::read(&String::from_utf8_lossy(&bytes)))
}

/// One figure of `?action=stat`; `None` if the server does not tell it.
///
/// # Errors
///
/// As for [`get`].
pub fn figure(server: SocketAddr, key: &str) -> io::Result<Option<u64>> {
    Ok(world::figure(&get(server, "/?action=stat")?.body, key))
}
