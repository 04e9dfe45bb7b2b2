//! People whose TCP connections say what no page would, too slowly, or nothing at all.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use distributary_core::Hangup;

use super::Sim;
use super::tcp::{End, Item};

/// A connection of somebody who may say anything.
#[derive(Debug, Default)]
pub(super) struct Stranger {
    connection: Option<(usize, usize)>,
    told: Vec<u8>,
    ended: Option<(Duration, Hangup)>,
}

impl Sim {
    /// Connects somebody at this address to a port of a node. Answers with their number.
    pub fn add_stranger(&mut self, ip: IpAddr, node: usize, port: u16) -> usize {
        let index = self.strangers.len();
        let from = SocketAddr::new(ip, 1_024 + u16::try_from(index % 60_000).unwrap_or_default());
        let to = SocketAddr::new(self.node_ip(node), port);
        self.strangers.push(Stranger::default());
        let connection = self.dial(End::Stranger(index), from, to);
        let refused = connection.is_none().then_some((self.elapsed(), Hangup::Refused));
        if let Some(stranger) = self.strangers.get_mut(index) {
            stranger.connection = connection.map(|connection| (connection, 0));
            stranger.ended = refused;
        }
        index
    }

    /// Sends bytes as a stranger. On a connection that is over, they are lost.
    pub fn mutter(&mut self, stranger: usize, bytes: &[u8]) {
        let connection = self.strangers.get(stranger).and_then(|stranger| stranger.connection);
        if let Some((connection, side)) = connection {
            self.tcp_send(connection, 1 - side, Item::Bytes(bytes.to_vec()));
        }
    }

    /// Everything that a stranger was told.
    pub fn told(&self, stranger: usize) -> &[u8] {
        self.strangers.get(stranger).map_or(&[], |stranger| &stranger.told)
    }

    /// When and how a stranger's connection ended.
    pub fn ended(&self, stranger: usize) -> Option<(Duration, Hangup)> {
        self.strangers.get(stranger)?.ended
    }

    pub(super) fn tcp_deliver_stranger(
        &mut self,
        index: usize,
        item: Item,
        (connection, side): (usize, usize),
    ) {
        let now = self.elapsed();
        let Some(stranger) = self.strangers.get_mut(index) else { return };
        match item {
            Item::Up(_) => {}
            Item::Bytes(bytes) => stranger.told.extend(bytes),
            Item::End(cause) => {
                stranger.ended = Some((now, cause));
                stranger.connection = None;
                self.tcp_send(connection, 1 - side, Item::End(Hangup::Eof));
                self.forget(connection, side);
            }
        }
    }
}
