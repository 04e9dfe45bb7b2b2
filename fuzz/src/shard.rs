//! One to three shards by inputs of any kind in any order.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use distributary_core::config::Config;
use distributary_core::{
    Command, ConnId, Event, Flow, Hangup, Input, Limits, LookupId, Service, SocketId,
};
use distributary_tests::sim::Plan;
use distributary_tests::sim::bare::{
    Asked, Bare, CONNECTION, UPGRADE, server_text_frame, text_frame,
};

use crate::bytes::Bytes;
use crate::{edge, offers, room};

/// Time that one run may take; links are dialed every second of it.
const TIME_MAX: Duration = Duration::from_secs(60);

/// A byte that says how many shards there are and whether they push to an edge, then steps of an
/// opcode, the shard that it is for, and arguments: bytes, ends, answers and commands, most of them
/// about things that the shard knows, some about such that nobody ever asked for.
///
/// The bounds are narrow, and held. When everybody has left, nothing is left.
pub fn shard(data: &[u8]) {
    let mut data = Bytes::new(data);
    let Some(first) = data.byte() else { return };
    let mut plan = Plan { limits: narrow(), ..room::plan() }.shards(1 + u16::from(first % 3));
    if first & 0x80 != 0 {
        plan = plan.edges(&["edge.example"]);
    }
    let mut bare = Bare::new(plan.with("link.grace=3000"));
    bare.hold();
    bare.name("edge.example", IpAddr::from([10, 9, 9, 8]));
    let mut crowd = Crowd { bare, conns: Vec::new(), time: Duration::ZERO, draining: false };
    while crowd.step(&mut data).is_some() {}
    crowd.end(first & 0x80 != 0);
}

/// Bounds that a run of few bytes can reach.
fn narrow() -> Limits {
    Limits {
        connections_max: 6,
        http_head_bytes_max: 512,
        http_body_bytes_max: 256,
        websocket_message_bytes_max: 16 * 1024,
        outgoing_bytes_max: 24 * 1024,
        session_streams_max: 2,
        name_bytes_max: 16,
        event_bytes_max: 64,
        sdp_bytes_max: 8 * 1024,
        streams_max: 3,
        peers_max: 3,
        dial_sockets_max: 1,
        relays_offering_max: 1,
        ..Limits::default()
    }
}

struct Crowd {
    bare: Bare,
    /// Every connection that there ever was.
    conns: Vec<ConnId>,
    time: Duration,
    draining: bool,
}

impl Crowd {
    fn step(&mut self, data: &mut Bytes<'_>) -> Option<()> {
        let op = data.byte()?;
        let nth = data.byte()?;
        let shard = usize::from(nth) % self.bare.shards();
        let conn = usize::from(nth).checked_rem(self.conns.len());
        let conn = conn.and_then(|nth| self.conns.get(nth).copied());
        match (op % 24, conn) {
            (0, _) => {
                let services =
                    [Service::Ws, Service::Wss, Service::Http, Service::Https, Service::Page];
                let service = services.get(usize::from(data.byte()?) % 5).copied()?;
                self.conns.push(self.bare.connect_to(shard, service));
            }
            (1, Some(conn)) => self.bare.receive(conn, data.counted()?),
            (2, Some(conn)) => self.bare.receive(conn, UPGRADE),
            (3, Some(conn)) => self.bare.receive(conn, &text_frame(CONNECTION)),
            (4, Some(conn)) => {
                let text = data.counted()?;
                self.bare.receive(conn, &text_frame(text));
            }
            (5, Some(conn)) => self.ask(conn, data.byte()?),
            (6, Some(conn)) => self.bare.close(conn, hangup(data.byte()?)),
            (7, Some(conn)) => self.bare.stall(conn, data.byte()? % 2 == 0),
            (8..=11, _) => {
                if let Some(asked) = self.bare.take_asked(nth.into()) {
                    self.grant(asked, op % 24);
                }
            }
            (12, _) => self.conns.extend(edge::accept(&mut self.bare)),
            (13, Some(conn)) => {
                let text = data.counted()?;
                self.bare.receive(conn, &server_text_frame(text));
            }
            (14, _) => self.wait(Duration::from_millis(data.word()?.into())),
            (15, _) => {
                let span = Duration::from_millis(data.word()?.into());
                self.time += span;
                self.bare.jump(span);
            }
            (16, _) => {
                let ago = Duration::from_millis(data.word()?.into());
                self.bare.input_late(shard, ago, Input::Timeout);
            }
            (17, _) => self.command(shard, data.byte()?),
            (18, _) => {
                let (sender, stride) = (data.byte()?, data.word()?);
                let bytes = data.counted()?;
                self.datagram(shard, sender, bytes, stride.into());
            }
            (19.., _) => self.unheard_of(shard, op, data)?,
            // There is no connection yet.
            (1..=7 | 13, None) => {}
        }
        self.judge();
        (self.time < TIME_MAX).then_some(())
    }

    /// Says one of the things that pages say.
    fn ask(&mut self, conn: ConnId, which: u8) {
        let name = if which & 0x40 == 0 { "n" } else { "m" };
        let id = format!("{}{}", which % 7, conn);
        let text = match which % 6 {
            0 | 1 => offers::publish(&id, name, which % 6 == 1),
            2 | 3 => offers::play(&id, name, which % 6 == 3),
            4 => offers::stop(&id, name, true),
            _ => offers::stop(&id, name, false),
        };
        self.bare.receive(conn, &text_frame(text.as_bytes()));
    }

    /// Does what was asked for, or fails to.
    fn grant(&mut self, asked: Asked, how: u8) {
        match asked {
            // A runtime may drop these, and no others.
            Asked::Post { message, .. } if how == 9 && message.may_be_lost() => {}
            Asked::Bind { shard, socket } if how == 9 => {
                self.bare.input(shard, Input::Bound { socket, port: None });
            }
            Asked::Resolve { lookup, .. } if how == 9 => {
                self.bare.input(0, Input::Resolved { lookup, addrs: &[] });
            }
            Asked::Connect { conn } if how == 9 => {
                self.bare.input(0, Input::Closed { conn, cause: Hangup::Refused });
            }
            Asked::Reload { shard, wish } if how == 9 => {
                let outcome = Err("they are not fit to use".into());
                self.bare.input(shard, Input::Command(Command::Reloaded { wish, outcome }));
            }
            Asked::Post { .. }
            | Asked::Bind { .. }
            | Asked::Reload { .. }
            | Asked::Resolve { .. }
            | Asked::Connect { .. } => self.bare.grant(asked),
        }
    }

    fn wait(&mut self, span: Duration) {
        self.time += span;
        self.bare.advance(span);
    }

    fn command(&mut self, shard: usize, which: u8) {
        match which % 8 {
            0 => {
                self.draining = true;
                // A runtime tells all of them.
                for shard in 0..self.bare.shards() {
                    self.bare.input(shard, Input::Command(Command::Drain));
                }
            }
            1..=3 => {
                let config =
                    Config { limits: self.limits(which), ..Config::clone(self.bare.config()) };
                let config = Arc::new(config);
                for shard in 0..self.bare.shards() {
                    let command = Command::Reload(config.clone());
                    self.bare.input(shard, Input::Command(command));
                }
            }
            _ => self.bare.input(shard, Input::Command(Command::CpuLoad(which))),
        }
    }

    /// Bounds may change while things are bound by them, but not to more than is looked for here.
    fn limits(&self, which: u8) -> Limits {
        let limits = self.bare.config().limits.clone();
        Limits { streams_max: usize::from(which % 4), ..limits }
    }

    fn datagram(&mut self, shard: usize, sender: u8, bytes: &[u8], stride: usize) {
        let remote = SocketAddr::from(([10, 9, 9, sender % 4], 40_000 + u16::from(sender % 2)));
        let local = self.bare.config().media.get(shard).copied();
        if let Some(local) = local.filter(|_| !bytes.is_empty()) {
            let stride = if stride == 0 { bytes.len() } else { stride };
            self.bare.input(shard, Input::Datagram { flow: Flow { local, remote }, bytes, stride });
        }
    }

    /// What no runtime has any business saying; nothing may come of it.
    fn unheard_of(&mut self, shard: usize, op: u8, data: &mut Bytes<'_>) -> Option<()> {
        let number = u64::from(data.byte()?) + 1_000;
        let nobody = [ConnId::accepted(number), ConnId::dialed(number)];
        let conn = nobody.get(usize::from(op >> 5) % 2).copied()?;
        let flow = Flow { local: ([10, 1, 0, 1], 1).into(), remote: ([10, 9, 9, 9], 1).into() };
        let addrs = [IpAddr::from([10, 9, 9, 7])];
        let input = match op % 24 {
            19 => Input::Connected { conn, flow },
            20 => Input::Received { conn, bytes: b"GET / HTTP/1.1\r\n\r\n" },
            21 => Input::Closed { conn, cause: hangup(data.byte()?) },
            22 => Input::Bound { socket: SocketId(1_000), port: Some(9) },
            _ => Input::Resolved { lookup: LookupId(number), addrs: &addrs },
        };
        self.bare.input(shard, input);
        Some(())
    }

    /// What everybody together must keep to.
    fn judge(&mut self) {
        let limits = &self.bare.config().limits;
        let accepted = self.bare.conns().into_iter().filter(|conn| !conn.is_dialed()).count();
        let bound = limits.connections_max * self.bare.shards();
        assert!(accepted <= bound, "{accepted} connections");
    }

    fn end(mut self, links: bool) {
        let limits = self.bare.config().limits.clone();
        let drained = self.draining;
        if !drained {
            self.bare.oblige();
            self.make_room();
            let all = self.bare.statistics();
            let number = |key: &str| all.get(key).copied().unwrap_or_default() as usize;
            assert!(number("streams_webrtc_in") <= limits.streams_max, "{all:?}");
            assert!(number("core_peers") <= limits.peers_max * self.bare.shards(), "{all:?}");
        }
        self.bare.oblige();
        for conn in self.bare.conns() {
            self.bare.close(conn, Hangup::Reset);
        }
        self.bare.advance(Duration::from_secs(30));
        if drained {
            let events = self.bare.take_events();
            let drained = events.iter().filter(|event| **event == Event::Drained).count();
            assert_eq!(drained, self.bare.shards(), "every shard says once that it is drained");
        } else if links {
            room::assert_empty(&mut self.bare);
        } else {
            room::leave(&mut self.bare);
        }
    }

    /// Whoever asks for the statistics wants in at shard 0 too.
    fn make_room(&mut self) {
        let accepted = self.bare.conns_of(0);
        if let Some(conn) = accepted.into_iter().find(|conn| !conn.is_dialed()) {
            self.bare.close(conn, Hangup::Eof);
        }
    }
}

fn hangup(byte: u8) -> Hangup {
    match byte % 4 {
        0 => Hangup::Eof,
        1 => Hangup::Reset,
        2 => Hangup::Refused,
        _ => Hangup::Unreachable,
    }
}
