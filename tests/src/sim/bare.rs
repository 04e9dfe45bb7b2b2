//! The shards of one node with no network around them: for inputs that no network would deliver in
//! this order.

mod visitor;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_core::config::Config;
use distributary_core::{
    Command, ConnId, Epoch, Event, Flow, Hangup, Input, LookupId, Output, SendBuffer, Service,
    Shard, ShardId, ShardMessage, SocketId,
};

pub use self::visitor::Visitor;
pub use self::words::{CONNECTION, UPGRADE, server_text_frame, text_frame};
use super::UNIX_AT_START;
use super::balance::Balance;
use super::node::{self, MEDIA_PORT, Plan, WS_PORT};

/// Outputs after one input, beyond which a shard counts as endless.
const OUTPUTS_MAX: usize = 100_000;

/// Wake-ups of one shard while time passes: so many, and so many for each second of it.
const WAKES_MAX: u32 = 1_000;

/// What may wait for a slow reader beyond the bound: the frame that says why it ends.
const GOODBYE_BYTES_MAX: usize = 4 * 1024;

/// The shards of a node that listens, and whoever talks to them.
#[derive(Debug)]
pub struct Bare {
    config: Arc<Config>,
    slots: Vec<Slot>,
    now: Instant,
    accepted: u64,
    open: BTreeMap<ConnId, Open>,
    /// What the shards wrote to connections, also to those that they ended.
    written: BTreeMap<ConnId, Vec<u8>>,
    asked: VecDeque<Asked>,
    dialed: VecDeque<ConnId>,
    sent: Vec<Sent>,
    events: Vec<Event>,
    /// Host names that have an address.
    names: BTreeMap<String, IpAddr>,
    /// Whether what the shards ask for is done at once.
    obliging: bool,
    balance: Balance,
}

#[derive(Debug)]
struct Slot {
    shard: Shard,
    send: SendBuffer,
    /// The latest time that it was told.
    now: Instant,
    due: Option<Instant>,
    sockets: BTreeSet<u16>,
}

/// A connection that neither side has ended.
#[derive(Debug)]
struct Open {
    shard: usize,
    /// Whether the far side reads nothing any more.
    stalled: bool,
}

/// Something that a shard asked for.
#[derive(Debug)]
pub enum Asked {
    /// To carry this to another shard.
    Post {
        /// Who asks.
        from: ShardId,
        /// To whom.
        to: ShardId,
        /// What.
        message: ShardMessage,
    },
    /// To read the settings again.
    Reload {
        /// Who asks.
        shard: usize,
        /// The wish's number.
        wish: u64,
    },
    /// To open a socket.
    Bind {
        /// Who asks.
        shard: usize,
        /// The socket.
        socket: SocketId,
    },
    /// To look up a name. Shard 0 asks.
    Resolve {
        /// The question.
        lookup: LookupId,
        /// The name.
        host: String,
    },
    /// To dial. Shard 0 asks.
    Connect {
        /// The connection.
        conn: ConnId,
    },
}

/// A run's datagram that a shard sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    /// From which of our addresses.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

impl Bare {
    /// The shards of the node that `plan` describes.
    pub fn new(plan: Plan) -> Self {
        fastrand::seed(1);
        let now = Instant::now();
        let shards = plan.shards;
        let config = node::Node::new(plan, node::address(0)).config;
        let epoch = Epoch { instant: now, unix: UNIX_AT_START };
        let slots = (0..shards)
            .map(|id| Slot {
                shard: Shard::new(config.clone(), ShardId(id), [7; 32], epoch),
                send: SendBuffer::new(4),
                now,
                due: None,
                sockets: BTreeSet::new(),
            })
            .collect();
        let mut bare = Self {
            config,
            slots,
            now,
            accepted: 0,
            open: BTreeMap::new(),
            written: BTreeMap::new(),
            asked: VecDeque::new(),
            dialed: VecDeque::new(),
            sent: Vec::new(),
            events: Vec::new(),
            names: BTreeMap::new(),
            obliging: true,
            balance: Balance::default(),
        };
        for shard in 0..bare.slots.len() {
            bare.drain(shard);
        }
        bare.oblige();
        bare
    }

    /// What the shards were started with.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.slots.len()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Opens a connection to a listener of shard 0.
    pub fn connect(&mut self, service: Service) -> ConnId {
        self.connect_to(0, service)
    }

    /// Opens a connection to a listener of one shard.
    pub fn connect_to(&mut self, shard: usize, service: Service) -> ConnId {
        let conn = ConnId::accepted(self.accepted);
        let port = 50_000 + u16::try_from(self.accepted % 10_000).unwrap_or_default();
        self.accepted += 1;
        self.open.insert(conn, Open::new(shard));
        let remote = SocketAddr::from(([10, 9, 9, 9], port));
        let flow = Flow { local: SocketAddr::new(node::address(0), WS_PORT), remote };
        self.input(shard, Input::Accepted { conn, service, flow });
        conn
    }

    /// Says that a connection that shard 0 dialed is up.
    pub fn connected(&mut self, conn: ConnId) {
        self.open.insert(conn, Open::new(0));
        let local = SocketAddr::new(node::address(0), 49_152);
        let flow = Flow { local, remote: SocketAddr::from(([10, 9, 9, 8], WS_PORT)) };
        self.input(0, Input::Connected { conn, flow });
    }

    /// Sends bytes on a connection, unless the shard has ended it.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(shard) = self.open.get(&conn).map(|open| open.shard) else { return };
        if !bytes.is_empty() {
            self.input(shard, Input::Received { conn, bytes });
            let bound = self.config.limits.outgoing_bytes_max + bytes.len() + GOODBYE_BYTES_MAX;
            assert!(self.outgoing(conn) <= bound, "{} bytes wait", self.outgoing(conn));
        }
    }

    /// Sends a text message on a connection that was upgraded, masked with zeros.
    pub fn say(&mut self, conn: ConnId, text: &[u8]) {
        self.receive(conn, &text_frame(text));
    }

    /// Ends a connection from the far side.
    pub fn close(&mut self, conn: ConnId, cause: Hangup) {
        if let Some(open) = self.open.remove(&conn) {
            self.input(open.shard, Input::Closed { conn, cause });
        }
    }

    /// Sends datagrams of `stride` bytes to the media port of shard 0.
    pub fn datagram(&mut self, remote: SocketAddr, bytes: &[u8], stride: usize) {
        self.datagram_to(MEDIA_PORT, remote, bytes, stride);
    }

    /// Sends datagrams of `stride` bytes to any port; what nobody has is lost.
    pub fn datagram_to(&mut self, port: u16, remote: SocketAddr, bytes: &[u8], stride: usize) {
        let flow = Flow { local: SocketAddr::new(node::address(0), port), remote };
        let media = port.checked_sub(MEDIA_PORT).map(usize::from);
        let owner = media.filter(|shard| *shard < self.slots.len());
        let owner = owner.or_else(|| self.slots.iter().position(|s| s.sockets.contains(&port)));
        if let Some(shard) = owner.filter(|_| !bytes.is_empty() && stride > 0) {
            self.input(shard, Input::Datagram { flow, bytes, stride });
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        let seconds = u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
        let bound = u64::from(WAKES_MAX) * self.slots.len() as u64 * (1 + u64::from(seconds));
        let mut wakes = 0;
        while let Some((due, shard)) = self.next_due().filter(|(due, _)| *due <= end) {
            self.now = self.now.max(due);
            self.input(shard, Input::Timeout);
            wakes += 1;
            assert!(wakes < bound, "shard {shard} spins");
        }
        self.now = end;
        for shard in 0..self.slots.len() {
            self.input(shard, Input::Timeout);
        }
    }

    /// Lets time pass without telling the shards: the next input will.
    pub fn jump(&mut self, span: Duration) {
        self.now += span;
    }

    /// Gives a shard an input that was read off the clock a while `ago`.
    pub fn input_late(&mut self, shard: usize, ago: Duration, input: Input<'_>) {
        let now = self.now.checked_sub(ago).unwrap_or(self.now);
        if let Input::Datagram { flow, bytes, stride } = &input {
            for datagram in bytes.chunks((*stride).max(1)) {
                self.balance.hears(flow.remote, datagram);
            }
        }
        if let Some(slot) = self.slots.get_mut(shard) {
            slot.now = slot.now.max(now);
            slot.shard.handle_input(now, input);
            self.drain(shard);
        }
    }

    /// Gives a shard any input at all.
    pub fn input(&mut self, shard: usize, input: Input<'_>) {
        self.input_late(shard, Duration::ZERO, input);
        self.run_errands();
    }

    /// Whether the shard still has the connection.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.open.contains_key(&conn)
    }

    /// Every connection that neither side has ended.
    pub fn conns(&self) -> Vec<ConnId> {
        self.open.keys().copied().collect()
    }

    /// Those of one shard.
    pub fn conns_of(&self, shard: usize) -> Vec<ConnId> {
        let open = self.open.iter().filter(|(_, open)| open.shard == shard);
        open.map(|(conn, _)| *conn).collect()
    }

    /// What the shard has written to a connection and nobody took yet.
    pub fn take(&mut self, conn: ConnId) -> Vec<u8> {
        self.written.remove(&conn).unwrap_or_default()
    }

    /// Has the far side of a connection stop reading, or go on.
    pub fn stall(&mut self, conn: ConnId, stalled: bool) {
        let Some(open) = self.open.get_mut(&conn) else { return };
        open.stalled = stalled;
        let shard = open.shard;
        if !stalled {
            self.write(shard, conn);
            self.drain(shard);
            self.run_errands();
        }
    }

    /// The datagrams that were sent since the last call.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// What happened since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The connection that shard 0 dialed longest ago and nobody answered.
    pub fn take_dialed(&mut self) -> Option<ConnId> {
        self.dialed.pop_front()
    }

    /// Gives a host name an address.
    pub fn name(&mut self, host: &str, addr: IpAddr) {
        self.names.insert(host.to_owned(), addr);
    }

    /// From now on the shards have to wait for what they ask for until somebody does it.
    pub fn hold(&mut self) {
        self.obliging = false;
    }

    /// From now on what the shards ask for is done at once.
    pub fn oblige(&mut self) {
        self.obliging = true;
        self.run_errands();
    }

    /// What was asked for and is not done yet, a part of it: the `nth`, counted around. Of what one
    /// shard has for another it is the first.
    pub fn take_asked(&mut self, nth: usize) -> Option<Asked> {
        let nth = nth.checked_rem(self.asked.len())?;
        let lane = self.asked.get(nth).and_then(Asked::lane);
        let first = self.asked.iter().position(|asked| lane.is_some() && asked.lane() == lane);
        self.asked.remove(first.unwrap_or(nth))
    }

    /// Does what was asked for. Nobody listens where connections are dialed until somebody says so
    /// with [`Bare::connected`].
    pub fn grant(&mut self, asked: Asked) {
        match asked {
            Asked::Post { from, to, message } => {
                self.input_late(
                    usize::from(to.0),
                    Duration::ZERO,
                    Input::Message { from, message },
                );
            }
            Asked::Bind { shard, socket } => {
                let port = 10_000 + u16::try_from(shard).unwrap_or_default() * 1_000;
                let port = port + u16::try_from(socket.0 % 1_000).unwrap_or_default();
                if let Some(slot) = self.slots.get_mut(shard) {
                    slot.sockets.insert(port);
                }
                self.input_late(shard, Duration::ZERO, Input::Bound { socket, port: Some(port) });
            }
            Asked::Resolve { lookup, host } => {
                let addrs: Vec<IpAddr> = self.names.get(&host).copied().into_iter().collect();
                let input = Input::Resolved { lookup, addrs: &addrs };
                self.input_late(0, Duration::ZERO, input);
            }
            Asked::Reload { shard, wish } => {
                for shard in 0..self.slots.len() {
                    let command = Command::Reload(self.config.clone());
                    self.input_late(shard, Duration::ZERO, Input::Command(command));
                }
                let told = Command::Reloaded { wish, outcome: Ok(()) };
                self.input_late(shard, Duration::ZERO, Input::Command(told));
            }
            Asked::Connect { conn } => self.dialed.push_back(conn),
        }
    }

    /// One number of the node's statistics; the rest of them come with it.
    pub fn statistics(&mut self) -> BTreeMap<String, u64> {
        let conn = self.connect(Service::Http);
        self.receive(conn, b"GET /?action=stat HTTP/1.1\r\nHost: n\r\n\r\n");
        let answer = self.take(conn);
        self.close(conn, Hangup::Eof);
        let answer = String::from_utf8(answer).expect("statistics are text");
        assert!(answer.starts_with("HTTP/1.1 200 "), "no statistics: {answer:?}");
        let lines = answer.lines().filter_map(|line| line.split_once('='));
        lines.filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?))).collect()
    }

    fn next_due(&self) -> Option<(Instant, usize)> {
        let dues = self.slots.iter().enumerate();
        dues.filter_map(|(shard, slot)| Some((slot.due?, shard))).min()
    }

    /// When the first of the shards wants to be woken, if any does.
    pub fn due(&self) -> Option<Instant> {
        self.next_due().map(|(due, _)| due)
    }

    fn run_errands(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            if !self.obliging {
                return;
            }
            let Some(asked) = self.asked.pop_front() else { return };
            self.grant(asked);
        }
        panic!("the shards have no end of what they ask for");
    }

    fn outgoing(&self, conn: ConnId) -> usize {
        let shard = self.open.get(&conn).and_then(|open| self.slots.get(open.shard));
        shard.map_or(0, |slot| slot.shard.outgoing(conn).len())
    }

    fn write(&mut self, shard: usize, conn: ConnId) {
        let Some(slot) = self.slots.get_mut(shard) else { return };
        if self.open.get(&conn).is_some_and(|open| !open.stalled) {
            let bytes = slot.shard.outgoing(conn);
            self.written.entry(conn).or_default().extend_from_slice(bytes);
            let len = bytes.len();
            slot.shard.wrote(conn, len);
        }
    }

    fn drain(&mut self, shard: usize) {
        for _ in 0..OUTPUTS_MAX {
            let Some(slot) = self.slots.get_mut(shard) else { return };
            match slot.shard.poll_output(&mut slot.send) {
                Output::Transmit(transmit) => {
                    let Flow { local, remote } = transmit.flow;
                    assert!(transmit.segment > 0, "a run of datagrams of no length");
                    for bytes in slot.send.run(&transmit).chunks(transmit.segment) {
                        assert_eq!(self.balance.says(remote, bytes), None);
                        self.sent.push(Sent { from: local, to: remote, bytes: bytes.into() });
                    }
                }
                Output::Write(conn) => self.write(shard, conn),
                Output::Close { conn, .. } => self.ended(shard, conn),
                Output::Post { to, message } => {
                    assert_ne!(usize::from(to.0), shard, "a shard posts to itself");
                    let from = ShardId(u16::try_from(shard).unwrap_or_default());
                    self.asked.push_back(Asked::Post { from, to, message });
                }
                Output::Bind { socket } => self.asked.push_back(Asked::Bind { shard, socket }),
                Output::Reload { wish } => self.asked.push_back(Asked::Reload { shard, wish }),
                Output::Resolve { lookup, host } => {
                    self.asked.push_back(Asked::Resolve { lookup, host });
                }
                Output::Connect { conn, .. } => {
                    assert!(conn.is_dialed(), "{conn} is not a number of a shard's own");
                    self.asked.push_back(Asked::Connect { conn });
                }
                Output::Event(event) => {
                    assert!(is_named(&event), "without a reason: {event:?}");
                    self.events.push(event);
                }
                Output::Timeout(due) => {
                    let now = slot.now;
                    assert!(due.is_none_or(|due| due > now), "shard {shard} has something due");
                    slot.due = due;
                    return;
                }
            }
        }
        panic!("shard {shard} has no end of outputs");
    }

    /// The shard ends a connection; what is left is read by whoever reads.
    fn ended(&mut self, shard: usize, conn: ConnId) {
        self.write(shard, conn);
        self.open.remove(&conn);
    }
}

impl Open {
    fn new(shard: usize) -> Self {
        Self { shard, stalled: false }
    }
}

impl Asked {
    /// Between whom order must be kept.
    fn lane(&self) -> Option<(ShardId, ShardId)> {
        match self {
            Self::Post { from, to, .. } => Some((*from, *to)),
            Self::Bind { .. }
            | Self::Reload { .. }
            | Self::Resolve { .. }
            | Self::Connect { .. } => None,
        }
    }
}

/// Whether an end says why.
fn is_named(event: &Event) -> bool {
    match event {
        Event::StreamEnded { info, .. } | Event::ViewerLeft { info, .. } => !info.is_empty(),
        Event::LinkDown { why, .. }
        | Event::RelayDown { why, .. }
        | Event::LinkRefused { why }
        | Event::Denied { why, .. }
        | Event::Refused { why, .. } => !why.is_empty(),
        Event::StreamStarted { .. }
        | Event::ViewerJoined { .. }
        | Event::LinkUp { .. }
        | Event::RelayUp { .. }
        | Event::Accepting(_)
        | Event::Drained => true,
    }
}
