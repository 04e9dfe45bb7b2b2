//! The browser's end of a WebSocket, over bytes that somebody else carries.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use tungstenite::client::client_with_config;
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::http::Request;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

const READ_BUFFER: usize = 4 * 1024;

/// What a WebSocket reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// The upgrade is done.
    Opened,
    /// The server refused the upgrade with this HTTP status.
    Refused(u16),
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// It is over: the code of the close frame, if one came (RFC 6455, section 7.4).
    Closed(Option<u16>),
}

/// A WebSocket without its socket.
#[derive(Debug)]
pub struct Wire {
    state: State,
    incoming: VecDeque<Incoming>,
}

#[derive(Debug)]
enum State {
    Upgrading(Box<MidHandshake<ClientHandshake<Pipe>>>),
    Open(Box<WebSocket<Pipe>>),
    Over(Vec<u8>),
}

impl Wire {
    /// Starts an upgrade at `ws://{host}{path}`, as a browser does on behalf of a page.
    pub fn new(host: &str, path: &str) -> Self {
        let mut wire = Self { state: State::Over(Vec::new()), incoming: VecDeque::new() };
        let key: String = std::iter::repeat_with(fastrand::alphanumeric).take(21).collect();
        let request = Request::builder()
            .uri(format!("ws://{host}{path}"))
            .header("Host", host)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Origin", format!("http://{host}"))
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", format!("{key}A=="))
            .body(())
            .expect("host and path make a valid request");
        // Messages are small, and one machine may be thousands of pages.
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let started = client_with_config(request, Pipe::default(), Some(config));
        wire.upgraded(started);
        wire
    }

    /// Takes bytes from the network; an empty slice is the end of the stream.
    pub fn receive(&mut self, bytes: &[u8]) {
        match std::mem::replace(&mut self.state, State::Over(Vec::new())) {
            State::Upgrading(mut handshake) => {
                let pipe = handshake.get_mut().get_mut();
                pipe.feed(bytes);
                // tungstenite takes a head in many small pieces for an attack.
                if !pipe.has_head() {
                    self.state = State::Upgrading(handshake);
                    return;
                }
                self.upgraded(handshake.handshake());
                if matches!(self.state, State::Open(_)) {
                    self.read();
                }
            }
            State::Open(mut socket) => {
                socket.get_mut().feed(bytes);
                self.state = State::Open(socket);
                self.read();
            }
            State::Over(rest) => self.state = State::Over(rest),
        }
    }

    /// Sends a text message.
    pub fn send(&mut self, text: &str) {
        self.write(Message::text(text));
    }

    /// Says goodbye (RFC 6455, section 7.1.2).
    pub fn close(&mut self) {
        if let State::Open(socket) = &mut self.state {
            // A far side that is gone does not hear it.
            let _ = socket.close(None);
            let _ = socket.flush();
        }
    }

    /// Whether messages can be sent.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// The next report.
    pub fn poll(&mut self) -> Option<Incoming> {
        self.incoming.pop_front()
    }

    /// The bytes that are to be sent.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        match &mut self.state {
            State::Upgrading(handshake) => {
                std::mem::take(&mut handshake.get_mut().get_mut().outgoing)
            }
            State::Open(socket) => std::mem::take(&mut socket.get_mut().outgoing),
            State::Over(rest) => std::mem::take(rest),
        }
    }

    fn upgraded(
        &mut self,
        result: Result<
            (WebSocket<Pipe>, tungstenite::handshake::client::Response),
            HandshakeError<ClientHandshake<Pipe>>,
        >,
    ) {
        match result {
            Ok((socket, _)) => {
                self.state = State::Open(Box::new(socket));
                self.incoming.push_back(Incoming::Opened);
            }
            Err(HandshakeError::Interrupted(handshake)) => {
                self.state = State::Upgrading(Box::new(handshake));
            }
            Err(HandshakeError::Failure(Error::Http(response))) => {
                self.incoming.push_back(Incoming::Refused(response.status().as_u16()));
            }
            Err(HandshakeError::Failure(_)) => self.incoming.push_back(Incoming::Closed(None)),
        }
    }

    fn write(&mut self, message: Message) {
        if let State::Open(socket) = &mut self.state {
            // The pipe takes everything, so only a closed WebSocket fails, which `poll` reports.
            let _ = socket.send(message);
        }
    }

    fn read(&mut self) {
        let State::Open(socket) = &mut self.state else { return };
        let mut code = None;
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => {
                    self.incoming.push_back(Incoming::Text(text.to_string()));
                }
                Ok(Message::Binary(bytes)) => {
                    self.incoming.push_back(Incoming::Binary(bytes.to_vec()));
                }
                Ok(Message::Close(frame)) => code = frame.map(|frame| u16::from(frame.code)),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.incoming.push_back(Incoming::Closed(code));
                    let rest = std::mem::take(&mut socket.get_mut().outgoing);
                    self.state = State::Over(rest);
                    return;
                }
            }
        }
        if code.is_some() {
            // The close frame was answered; what is left is for the network to end.
            let _ = socket.flush();
            let rest = std::mem::take(&mut socket.get_mut().outgoing);
            self.state = State::Over(rest);
            self.incoming.push_back(Incoming::Closed(code));
        }
    }
}

/// Both directions of a connection, in memory.
#[derive(Debug, Default)]
struct Pipe {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
    ended: bool,
}

impl Pipe {
    fn feed(&mut self, bytes: &[u8]) {
        self.ended |= bytes.is_empty();
        self.incoming.extend(bytes);
    }

    /// Whether the head of a response is there, or will never be.
    fn has_head(&mut self) -> bool {
        let bytes = self.incoming.make_contiguous();
        self.ended || bytes.windows(4).any(|window| window == b"\r\n\r\n")
    }
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.read(buf)
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
