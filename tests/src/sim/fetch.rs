//! HTTP inside the simulation: whoever asks a node how it is.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::tcp::{End, Item};
use super::{HTTP_PORT, Sim};
use crate::http::Answer;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One request.
#[derive(Debug)]
pub(super) struct Fetch {
    request: String,
    response: Vec<u8>,
    over: bool,
}

impl Sim {
    /// Lets time pass until a node has answered `GET path`, and answers with the body; `None` if
    /// nobody listens, or if the answer is no 200.
    pub fn get(&mut self, node: usize, path: &str) -> Option<String> {
        let to = SocketAddr::new(self.node_ip(node), HTTP_PORT);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
        let answer = self.exchange(node, request)?;
        (answer.status == 200).then_some(answer.body)
    }

    /// The same for any request that has the connection closed, and any answer.
    pub(super) fn exchange(&mut self, node: usize, request: String) -> Option<Answer> {
        let to = SocketAddr::new(self.node_ip(node), HTTP_PORT);
        let index = self.fetches.len();
        let port = 1024 + u16::try_from(index % 60_000).unwrap_or_default();
        let from = SocketAddr::from((Ipv4Addr::new(10, 3, 0, 1), port));
        self.fetches.push(Fetch { request, response: Vec::new(), over: false });
        self.dial(End::Fetch(index), from, to)?;
        self.advance_until(PATIENCE, |sim| sim.fetches.get(index).is_some_and(|f| f.over));
        let response = std::mem::take(&mut self.fetches.get_mut(index)?.response);
        let response = String::from_utf8(response).ok()?;
        response.contains("\r\n\r\n").then(|| Answer::read(&response))
    }

    /// One number of a node's statistics.
    pub fn statistic(&mut self, node: usize, key: &str) -> Option<u64> {
        let text = self.get(node, "/?action=stat")?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line?.parse().ok()
    }

    pub(super) fn tcp_deliver_fetch(
        &mut self,
        index: usize,
        item: Item,
        (connection, side): (usize, usize),
    ) {
        let Some(fetch) = self.fetches.get_mut(index) else { return };
        match item {
            Item::Up(_) => {
                let request = fetch.request.clone().into_bytes();
                self.tcp_send(connection, 1 - side, Item::Bytes(request));
            }
            Item::Bytes(bytes) => fetch.response.extend(bytes),
            Item::End(_) => {
                fetch.over = true;
                self.tcp_send(connection, 1 - side, Item::End(distributary_core::Hangup::Eof));
                self.forget(connection, side);
            }
        }
    }
}
