//! The messages of a connection.

#[cfg(doc)]
use super::Connection;
use super::http::Request;

/// What the far side said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Incoming {
    /// A complete request. The next one is delivered only after [`Connection::respond`].
    Request(Request),
    /// The wish to turn the connection into a WebSocket: [`Connection::accept_upgrade`] does, and
    /// [`Connection::respond`] refuses.
    Upgrade(Request),
    /// The WebSocket that was dialed is open.
    Opened,
    /// A text message on the WebSocket.
    Text(String),
    /// The answer to the request that was dialed with [`Connection::dial_request`]. It is the last
    /// that comes.
    Response {
        /// The status code.
        status: u16,
        /// The body.
        body: Vec<u8>,
    },
    /// The conversation ended in good order: what is outgoing goes out, then the connection ends.
    Closed,
}
