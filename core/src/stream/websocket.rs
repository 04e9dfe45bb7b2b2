//! An open WebSocket (RFC 6455), either end, over bytes in memory.

use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Message, Utf8Bytes};

use super::StreamFault;
use super::pipe::Pipe;

/// The most that a frame's head takes (RFC 6455, section 5.2).
pub(super) const FRAME_HEAD_BYTES_MAX: usize = 14;

/// What is read ahead. The messages are small and the connections many.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// The longest reason that fits into a close frame (RFC 6455, section 5.5).
const REASON_BYTES_MAX: usize = 123;

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket {
    context: WebSocketContext,
}

/// What the far side said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// A text message.
    Text(String),
    /// Goodbye. Nothing follows.
    Close,
}

impl WebSocket {
    /// Starts right behind the handshake; `early` are the bytes that came together with it.
    pub(super) fn new(role: Role, early: Vec<u8>, message_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            // The pipe takes everything, so nothing needs to be held back before it.
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        Self { context: WebSocketContext::from_partially_read(early, role, Some(config)) }
    }

    /// Takes what came in. `said` gets what it amounts to, and the bytes that are due in return
    /// (pongs, the answer to a close frame, the close frame that tells of a fault) are returned.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        said: &mut Vec<Said>,
    ) -> (Vec<u8>, Result<(), StreamFault>) {
        let mut pipe = Pipe::new(bytes);
        let result = loop {
            match self.context.read(&mut pipe) {
                Ok(Message::Text(text)) => said.push(Said::Text(text.as_str().to_owned())),
                Ok(Message::Close(_)) => {
                    // The server's end reports here that the conversation is over: it is.
                    let _over = self.context.flush(&mut pipe);
                    said.push(Said::Close);
                    break Ok(());
                }
                // Nobody sends binary messages in this dialogue, and pings are answered below.
                Ok(
                    Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
                ) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    break Ok(());
                }
                Err(error) => {
                    let (fault, code) = fault_of(&error);
                    self.send_close(&mut pipe, code, &fault.to_string());
                    break Err(fault);
                }
            }
        };
        (pipe.output, result)
    }

    /// The bytes that send a text message; none once the conversation is being closed.
    pub(super) fn text(&mut self, text: &str) -> Vec<u8> {
        let mut pipe = Pipe::new(&[]);
        if self.context.can_write() {
            self.context
                .write(&mut pipe, Message::text(text))
                .and_then(|()| self.context.flush(&mut pipe))
                .expect("an open WebSocket over a pipe that takes everything");
        }
        pipe.output
    }

    /// The bytes that say goodbye; none if that was said before.
    pub(super) fn close(&mut self, code: u16, reason: &str) -> Vec<u8> {
        let mut pipe = Pipe::new(&[]);
        self.send_close(&mut pipe, CloseCode::from(code), reason);
        pipe.output
    }

    fn send_close(&mut self, pipe: &mut Pipe<'_>, code: CloseCode, reason: &str) {
        if !self.context.can_write() {
            return;
        }
        let len = reason.len().min(REASON_BYTES_MAX);
        let reason = (0..=len).rev().find_map(|len| reason.get(..len)).unwrap_or_default();
        let frame = CloseFrame { code, reason: Utf8Bytes::from(reason) };
        self.context
            .close(pipe, Some(frame))
            .expect("an open WebSocket over a pipe that takes everything");
    }
}

/// Who did what, and the code that tells the far side (RFC 6455, section 7.4.1).
fn fault_of(error: &Error) -> (StreamFault, CloseCode) {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            (StreamFault::MessageTooLarge, CloseCode::Size)
        }
        Error::Utf8(_) => (StreamFault::NotUtf8, CloseCode::Invalid),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::Capacity(_)
        | Error::Protocol(_)
        | Error::WriteBufferFull(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => (StreamFault::Protocol(error.to_string()), CloseCode::Protocol),
    }
}
