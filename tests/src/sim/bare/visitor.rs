//! Pages that visit a node without a network between them: bytes and datagrams are there at once.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use distributary_core::{ConnId, Service};

use super::Bare;
use crate::page::{Output, Page};
use crate::sim::crypto::{self, Srtp};

/// Times that everybody may be asked at one moment what they want.
const ROUNDS_MAX: usize = 10_000;

/// A page, and where it is.
#[derive(Debug)]
pub struct Visitor {
    /// The page.
    pub page: Page,
    /// Where its media come from.
    pub addr: SocketAddr,
    /// The datagrams that it sent, since somebody took them.
    pub sent: Vec<Vec<u8>>,
    /// The datagrams that it got, since somebody took them.
    pub got: Vec<Vec<u8>>,
    conn: ConnId,
    due: Option<Instant>,
    over: bool,
}

impl Visitor {
    /// Opens page number `number`, at most 99.
    pub fn new(bare: &mut Bare, number: u8) -> Self {
        let conn = bare.connect(Service::Ws);
        let mut page = Page::new(bare.now(), number.into(), crypto::provider(Srtp::Null));
        page.connected("node.example:8080");
        let addr = SocketAddr::new(IpAddr::from([10, 9, 9, 100 + number % 100]), 40_001);
        Self { page, addr, sent: Vec::new(), got: Vec::new(), conn, due: None, over: false }
    }

    /// The connection of its WebSocket.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    fn visit(&mut self, bare: &mut Bare) -> bool {
        let mut busy = false;
        let bytes = bare.take(self.conn);
        if !bytes.is_empty() {
            self.page.received(bare.now(), &bytes);
            busy = true;
        }
        if !self.over && !bare.is_open(self.conn) {
            self.over = true;
            self.page.hung_up(bare.now());
        }
        loop {
            match self.page.poll() {
                Output::Write(bytes) => bare.receive(self.conn, &bytes),
                Output::Datagram(datagram) => {
                    let port = datagram.remote.port();
                    bare.datagram_to(port, self.addr, &datagram.bytes, datagram.bytes.len());
                    self.sent.push(datagram.bytes);
                }
                Output::Timeout(due) => {
                    self.due = due;
                    return busy;
                }
            }
            busy = true;
        }
    }
}

impl Bare {
    /// Lets time pass while these pages are open.
    pub fn meet(&mut self, visitors: &mut [Visitor], span: Duration) {
        let end = self.now() + span;
        loop {
            self.meet_now(visitors);
            let dues = visitors.iter().filter_map(|visitor| visitor.due);
            let due = dues.chain(self.due()).min().filter(|due| *due < end);
            let now = self.now();
            self.advance(due.unwrap_or(end).saturating_duration_since(now));
            let now = self.now();
            for visitor in visitors.iter_mut().filter(|v| v.due.is_some_and(|due| due <= now)) {
                visitor.page.timeout(now);
            }
            if due.is_none() {
                self.meet_now(visitors);
                return;
            }
        }
    }

    fn meet_now(&mut self, visitors: &mut [Visitor]) {
        for _ in 0..ROUNDS_MAX {
            let mut busy = false;
            for visitor in visitors.iter_mut() {
                busy |= visitor.visit(self);
            }
            for sent in self.take_sent() {
                busy = true;
                if let Some(visitor) = visitors.iter_mut().find(|v| v.addr == sent.to) {
                    visitor.page.datagram(self.now(), sent.to, sent.from, &sent.bytes);
                    visitor.got.push(sent.bytes);
                }
            }
            if !busy {
                return;
            }
        }
        panic!("visitors and shards have no end of what they say");
    }
}
