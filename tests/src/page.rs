//! A browser with the WebSocket of its one page: bytes and datagrams in, bytes and datagrams out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use str0m::config::CryptoProvider;

use crate::browser::{self, Browser, Datagram};
use crate::websocket::{Incoming, Wire};

/// What a page wants done.
#[derive(Debug)]
pub enum Output {
    /// Write this to the TCP connection.
    Write(Vec<u8>),
    /// Send this.
    Datagram(Datagram),
    /// Nothing until then.
    Timeout(Option<Instant>),
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// What runs in it.
    pub browser: Browser,
    /// How the WebSocket ended: the HTTP status that refused it, or the code that closed it.
    pub ending: Option<Incoming>,
    /// Path and query of the URL that it connects to.
    pub path: String,
    wire: Option<Wire>,
    left: Vec<u8>,
    /// Whether the page closed its WebSocket, from when on it is told nothing that comes.
    is_closing: bool,
}

impl Page {
    /// A page that is not connected yet.
    pub fn new(now: Instant, number: u32, crypto: Arc<CryptoProvider>) -> Self {
        let browser = Browser::new(now, number, crypto);
        let path = "/".to_owned();
        Self { browser, ending: None, path, wire: None, left: Vec::new(), is_closing: false }
    }

    /// The TCP connection to `host` (as in a URL) is up: upgrades it.
    pub fn connected(&mut self, host: &str) {
        self.wire = Some(Wire::new(host, &self.path));
    }

    /// Bytes came in.
    pub fn received(&mut self, now: Instant, bytes: &[u8]) {
        if let Some(wire) = &mut self.wire
            && !bytes.is_empty()
        {
            wire.receive(bytes);
            self.read(now);
        }
    }

    /// The TCP connection is over, or never came up.
    pub fn hung_up(&mut self, now: Instant) {
        if let Some(wire) = &mut self.wire {
            wire.receive(&[]);
            self.read(now);
        }
        if self.wire.take().is_some() || self.ending.is_none() {
            self.over(now, Incoming::Closed(None));
        }
    }

    /// A datagram came in.
    pub fn datagram(&mut self, now: Instant, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) {
        self.browser.datagram(now, local, remote, bytes);
    }

    /// Time passed.
    pub fn timeout(&mut self, now: Instant) {
        self.browser.timeout(now);
    }

    /// Closes the WebSocket, as a page does that is left.
    pub fn leave(&mut self, now: Instant) {
        if let Some(wire) = &mut self.wire {
            wire.close();
            self.left.extend(wire.take_outgoing());
        }
        self.is_closing = true;
        self.browser.closed(now);
    }

    /// The machine loses its power: nothing goes out any more.
    pub fn vanish(&mut self, now: Instant) {
        self.wire = None;
        self.left.clear();
        self.browser.vanish(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Output {
        loop {
            if !self.left.is_empty() {
                return Output::Write(std::mem::take(&mut self.left));
            }
            if let Some(wire) = &mut self.wire {
                let bytes = wire.take_outgoing();
                if !bytes.is_empty() {
                    return Output::Write(bytes);
                }
            }
            match self.browser.poll() {
                browser::Output::Text(text) => {
                    // As in the SDK, what is said on a closed socket is lost.
                    if let Some(wire) = &mut self.wire {
                        wire.send(&text);
                    }
                }
                browser::Output::Datagram(datagram) => return Output::Datagram(datagram),
                browser::Output::Timeout(due) => return Output::Timeout(due),
            }
        }
    }

    fn read(&mut self, now: Instant) {
        while let Some(incoming) = self.wire.as_mut().and_then(Wire::poll) {
            match incoming {
                Incoming::Opened | Incoming::Text(_) if self.is_closing => {}
                Incoming::Opened => self.browser.opened(),
                Incoming::Text(text) => self.browser.text(now, &text),
                // The SDK logs it as an unknown message.
                Incoming::Binary(_) => {}
                Incoming::Refused(_) | Incoming::Closed(_) => self.over(now, incoming),
            }
        }
    }

    fn over(&mut self, now: Instant, how: Incoming) {
        if self.ending.is_none() {
            self.ending = Some(how);
            if let Some(mut wire) = self.wire.take() {
                self.left.extend(wire.take_outgoing());
            }
            self.browser.closed(now);
        }
    }
}
