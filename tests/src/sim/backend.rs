//! A backend that nodes ask who may publish and play.

use std::net::{Ipv4Addr, SocketAddr};

use distributary_core::Hangup;

use super::Sim;
use super::tcp::{End, Item};

/// Where it listens, for `auth.hook.url`.
pub const BACKEND: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 4, 0, 1)), 9000);

/// What it does with what it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Nobody listens there.
    Absent,
    /// It answers with this status.
    Answers(u16),
    /// It answers with what is no HTTP.
    Babbles,
    /// It takes a question and says nothing.
    Hangs,
    /// It takes a question and hangs up.
    HangsUp,
}

/// The one backend of a world.
#[derive(Debug)]
pub(super) struct Backend {
    manner: Manner,
    /// What came on each connection.
    heard: Vec<Vec<u8>>,
    /// Connections that are open now, and the most that ever were.
    open: (usize, usize),
}

impl Default for Backend {
    fn default() -> Self {
        Self { manner: Manner::Absent, heard: Vec::new(), open: (0, 0) }
    }
}

impl Backend {
    /// Somebody connects, if somebody is there.
    pub(super) fn accept(&mut self) -> Option<End> {
        if self.manner == Manner::Absent {
            return None;
        }
        self.heard.push(Vec::new());
        let open = self.open.0 + 1;
        self.open = (open, open.max(self.open.1));
        Some(End::Backend(self.heard.len() - 1))
    }

    /// What is due once a question is whole.
    fn answer(&mut self, index: usize, bytes: &[u8]) -> Option<Vec<Item>> {
        let heard = self.heard.get_mut(index)?;
        heard.extend(bytes);
        let text = String::from_utf8_lossy(heard);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        if length.and_then(|length| length.parse().ok()) != Some(body.len()) {
            return None;
        }
        match self.manner {
            Manner::Absent | Manner::Hangs => None,
            Manner::Answers(status) => {
                let text = format!("HTTP/1.1 {status} Word\r\nContent-Length: 2\r\n\r\n{{}}");
                Some(vec![Item::Bytes(text.into_bytes())])
            }
            Manner::Babbles => Some(vec![Item::Bytes(b"\x16\x03what?\r\n\r\n".to_vec())]),
            Manner::HangsUp => Some(vec![Item::End(Hangup::Eof)]),
        }
    }
}

impl Sim {
    /// Decides what the backend does from now on.
    pub fn set_backend(&mut self, manner: Manner) {
        self.note(format_args!("the backend {manner:?}"));
        self.backend.manner = manner;
    }

    /// What the backend was asked, head and body.
    pub fn asked(&self) -> Vec<String> {
        let heard = self.backend.heard.iter();
        heard.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    /// Connections to the backend: those that are open, and the most that ever were at once.
    pub fn backend_connections(&self) -> (usize, usize) {
        self.backend.open
    }

    pub(super) fn tcp_deliver_backend(
        &mut self,
        index: usize,
        item: Item,
        (connection, side): (usize, usize),
    ) {
        match item {
            Item::Up(_) => {}
            Item::Bytes(bytes) => {
                for item in self.backend.answer(index, &bytes).unwrap_or_default() {
                    if matches!(item, Item::End(_)) {
                        self.leave_backend(connection, side);
                    }
                    self.tcp_send(connection, 1 - side, item);
                }
            }
            Item::End(_) => {
                self.leave_backend(connection, side);
                self.tcp_send(connection, 1 - side, Item::End(Hangup::Eof));
            }
        }
    }

    fn leave_backend(&mut self, connection: usize, side: usize) {
        self.backend.open.0 -= 1;
        self.forget(connection, side);
    }
}
