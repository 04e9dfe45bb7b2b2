//! Everything that TCP connections carry, on several of them at once.

use std::time::Duration;

use distributary_core::{ConnId, Hangup, Service};
use distributary_tests::sim::Plan;
use distributary_tests::sim::bare::{Bare, UPGRADE};

use crate::bytes::Bytes;
use crate::room;

/// Conversations over TCP. Each step is an opcode, a length, and as many bytes as that says: bytes
/// on the current connection, a text message, another connection, a wait, an end, a far side that
/// reads no more or reads again.
pub fn stream(data: &[u8]) {
    let mut bare = Bare::new(Plan::new("node.example"));
    let mut conns: Vec<ConnId> = vec![bare.connect(Service::Ws)];
    let mut rest = Bytes::new(data);
    while let (Some(op), Some(wanted)) = (rest.byte(), rest.word()) {
        let bytes = rest.piece(wanted.into());
        let conn = *conns.last().expect("there is always one");
        match op % 9 {
            0 => bare.receive(conn, bytes),
            1 => bare.say(conn, bytes),
            2 => bytes.iter().for_each(|byte| bare.receive(conn, &[*byte])),
            3 => bare.receive(conn, UPGRADE),
            4 if conns.len() < 16 => {
                let service = if wanted % 2 == 0 { Service::Ws } else { Service::Http };
                conns.push(bare.connect(service));
            }
            5 => bare.advance(Duration::from_millis(wanted.into())),
            6 => bare.close(conn, if wanted % 2 == 0 { Hangup::Eof } else { Hangup::Reset }),
            8 => bare.stall(conn, wanted % 2 == 0),
            _ => conns.rotate_left(1),
        }
    }
    room::leave(&mut bare);
}
