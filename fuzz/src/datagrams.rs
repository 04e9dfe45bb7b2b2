//! Datagrams, before anybody knows whose they are.

use std::net::SocketAddr;
use std::time::Duration;

use distributary_tests::sim::Plan;
use distributary_tests::sim::bare::Bare;

use crate::bytes::Bytes;
use crate::room;

/// Datagrams to the media port beside a publisher that is about to connect. Each begins with the
/// last digit of its sender, the length of a datagram, and the length of the run.
///
/// Nobody gets more datagrams than he sent, nor, as long as no check of ICE has succeeded, more
/// bytes: forged senders make no flood (RFC 8445, section 19.4). [`Bare`] looks at the bytes, also
/// while time passes.
pub fn datagrams(data: &[u8]) {
    let mut bare = Bare::new(Plan::new("node.example"));
    let conn = room::session(&mut bare);
    bare.say(conn, PUBLISH);
    let mut rest = Bytes::new(data);
    while let (Some(sender), Some(stride), Some(wanted)) = (rest.byte(), rest.byte(), rest.word()) {
        let bytes = rest.piece(wanted.into());
        let remote = SocketAddr::from(([10, 9, 9, 1 + sender % 4], 40_000));
        let stride = if stride == 0 { bytes.len() } else { usize::from(stride) };
        bare.datagram(remote, bytes, stride);
        let runs = bytes.len().div_ceil(stride.max(1));
        let answered = bare.take_sent();
        assert!(answered.len() <= runs, "{} answers to {runs} datagrams", answered.len());
    }
    bare.advance(Duration::from_secs(20));
    room::leave(&mut bare);
}

/// Publishes sound alone: the shortest offer that a browser would make.
const PUBLISH: &[u8] = include_bytes!("publish.json");
