//! What the fuzz targets do with their bytes, as plain functions, so that tests replay the corpora
//! on any toolchain.
//!
//! Each one panics when the core does, when a shard has no end of outputs, and when it spins.

use std::net::SocketAddr;
use std::time::Duration;

use distributary_core::config::{Settings, SettingsFiles};
use distributary_core::{ConnId, Hangup, Service};
use distributary_tests::sim::Plan;
use distributary_tests::sim::bare::{Bare, CONNECTION, UPGRADE};

/// Reads the two settings files: the bytes up to the first NUL, and those after it, if any.
pub fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (properties, balancing) = match text.split_once('\0') {
        Some((properties, balancing)) => (properties, Some(balancing)),
        None => (&*text, None),
    };
    let files = SettingsFiles { properties, balancing };
    if let Err(error) = Settings::parse(files, &[]) {
        let lines = 1 + text.lines().count();
        assert!(error.line <= lines, "{error} is beyond the end");
        assert!(!error.problem.is_empty(), "an error says what is wrong");
    }
}

/// Conversations over TCP. Each step is an opcode, a length, and as many bytes as that says: bytes
/// on the current connection, a text message, another connection, a wait, an end.
pub fn stream(data: &[u8]) {
    let mut bare = Bare::new(Plan::new("node.example"));
    let mut conns: Vec<ConnId> = vec![bare.connect(Service::Ws)];
    let mut rest = data;
    while let [op, high, low, tail @ ..] = rest {
        let wanted = usize::from(u16::from_be_bytes([*high, *low]));
        let (bytes, tail) = tail.split_at(wanted.min(tail.len()));
        rest = tail;
        let conn = *conns.last().expect("there is always one");
        match op % 8 {
            0 => bare.receive(conn, bytes),
            1 => bare.say(conn, bytes),
            2 => bytes.iter().for_each(|byte| bare.receive(conn, &[*byte])),
            3 => bare.receive(conn, UPGRADE),
            4 if conns.len() < 16 => {
                let service = if wanted % 2 == 0 { Service::Ws } else { Service::Http };
                conns.push(bare.connect(service));
            }
            5 => bare.advance(Duration::from_millis(u64::from(u16::from_be_bytes([*high, *low])))),
            6 => bare.close(conn, if wanted % 2 == 0 { Hangup::Eof } else { Hangup::Reset }),
            _ => conns.rotate_left(1),
        }
    }
    for conn in conns {
        bare.close(conn, Hangup::Reset);
    }
    bare.advance(Duration::from_secs(30));
}

/// A session that is established, and a message a line.
pub fn signal(data: &[u8]) {
    let mut bare = Bare::new(Plan::new("node.example"));
    let conn = session(&mut bare);
    for line in data.split(|byte| *byte == b'\n') {
        bare.say(conn, line);
    }
    bare.advance(Duration::from_secs(3));
    bare.close(conn, Hangup::Eof);
    bare.advance(Duration::from_secs(30));
}

/// Datagrams to the media port beside a publisher that is about to connect. Each begins with the
/// last digit of its sender, the length of a datagram, and the length of the run.
pub fn datagrams(data: &[u8]) {
    let mut bare = Bare::new(Plan::new("node.example"));
    let conn = session(&mut bare);
    bare.say(conn, PUBLISH);
    let mut rest = data;
    while let [sender, stride, high, low, tail @ ..] = rest {
        let wanted = usize::from(u16::from_be_bytes([*high, *low]));
        let (bytes, tail) = tail.split_at(wanted.min(tail.len()));
        rest = tail;
        let remote = SocketAddr::from(([10, 9, 9, 1 + sender % 4], 40_000));
        let stride = if *stride == 0 { bytes.len() } else { usize::from(*stride) };
        bare.datagram(remote, bytes, stride);
    }
    bare.advance(Duration::from_secs(20));
}

fn session(bare: &mut Bare) -> ConnId {
    let conn = bare.connect(Service::Ws);
    bare.receive(conn, UPGRADE);
    bare.say(conn, CONNECTION);
    conn
}

/// Publishes sound alone: the shortest offer that a browser would make.
const PUBLISH: &[u8] = include_bytes!("publish.json");
