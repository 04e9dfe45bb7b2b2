//! Listeners and connections.
//!
//! Everything is registered once, edge-triggered: the kernel reports that something became ready,
//! the loop remembers it until a call would block, and does the reading and writing in an order
//! and amount of its choosing, so that no connection starves another and no byte waits anywhere
//! but in the core. A socket leaves the poll by being closed.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use distributary_core::{ConnId, Flow, Hangup, Input, Linger, Service, Shard};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use tracing::warn;

use crate::node::plain_socket_addr;
use crate::shard_loop::TURN_TIME_MAX;

/// Bytes read from one connection before the next one has its turn.
const READ_BYTES: usize = 64 * 1024;
/// Connections read, and connections accepted, in one turn of the loop.
const CONNECTIONS_A_TURN: usize = 64;
/// How long dialing may take, and how long the rest of a closed connection's bytes may take. They
/// are one, so that the deadlines of both stand in one queue in order.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long accepting pauses when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listeners and connections of one shard.
#[derive(Debug)]
pub(crate) struct Tcp {
    registry: Registry,
    /// The token of the first listener; connections come after the last.
    first_token: usize,
    listeners: Vec<Listener>,
    connections: HashMap<ConnId, Connection>,
    accepted: u64,
    /// Set while accepting pauses.
    accept_at: Option<Instant>,
    accept_warned: bool,
    /// Connections that may have something to read, in the order they get to.
    readable: VecDeque<ConnId>,
    /// When dials and closed connections are given up, the oldest first.
    expiries: VecDeque<(Instant, ConnId)>,
    room: Box<[u8]>,
}

#[derive(Debug)]
struct Listener {
    service: Service,
    socket: TcpListener,
    ready: bool,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    state: State,
    /// Whether it stands in `Tcp::readable`.
    queued: bool,
    /// Whether the kernel had no room for more bytes.
    blocked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Dialing,
    Open,
    /// The shard closed it with [`Linger::Flush`], and its bytes are being written.
    Flushing {
        /// Whether the far side said all that it had to say.
        heard_out: bool,
    },
    /// All is written; the far side's end is awaited, because closing a socket with unread bytes
    /// would reset the connection under what was just written (RFC 9293, section 3.10.4).
    Flushed,
}

impl Tcp {
    /// Starts to listen. Tokens from `first_token` on are its own.
    pub(crate) fn new(
        listeners: Vec<(Service, std::net::TcpListener)>,
        registry: &Registry,
        first_token: usize,
    ) -> io::Result<Self> {
        let mut registered = Vec::with_capacity(listeners.len());
        for (index, (service, listener)) in listeners.into_iter().enumerate() {
            let mut socket = TcpListener::from_std(listener);
            registry.register(&mut socket, Token(first_token + index), Interest::READABLE)?;
            registered.push(Listener { service, socket, ready: true });
        }
        Ok(Self {
            registry: registry.try_clone()?,
            first_token,
            listeners: registered,
            connections: HashMap::new(),
            accepted: 0,
            accept_at: None,
            accept_warned: false,
            readable: VecDeque::new(),
            expiries: VecDeque::new(),
            room: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// Notes what the kernel reports, and writes what it has room for again.
    pub(crate) fn heed(&mut self, event: &Event, shard: &mut Shard, now: Instant) {
        let number = event.token().0.saturating_sub(self.first_token);
        if let Some(listener) = self.listeners.get_mut(number) {
            listener.ready = true;
            return;
        }
        let conn = conn_of(number - self.listeners.len());
        // A report may be older than the end of its connection.
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.state == State::Dialing {
            return self.look_at_dial(conn, shard, now);
        }
        // An error shows when the loop reads or writes, so it gets to.
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            enqueue(connection, conn, &mut self.readable);
        }
        if connection.blocked && (event.is_writable() || event.is_error()) {
            self.write(conn, shard, now);
        }
    }

    /// Whether there is something to do at once.
    pub(crate) fn has_work(&self) -> bool {
        !self.readable.is_empty()
            || (self.accept_at.is_none() && self.listeners.iter().any(|it| it.ready))
    }

    /// When something is given up, or tried again, next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let expiry = self.expiries.front().map(|(deadline, _)| *deadline);
        [expiry, self.accept_at].into_iter().flatten().min()
    }

    /// Whether bytes of connections that the shard closed still wait to be written.
    pub(crate) fn is_flushing(&self) -> bool {
        self.connections.values().any(|it| matches!(it.state, State::Flushing { .. }))
    }

    /// Tells the shard what happened, up to a budget.
    pub(crate) fn turn(&mut self, shard: &mut Shard, now: Instant) {
        self.accept(shard, now);
        for _ in 0..self.readable.len().min(CONNECTIONS_A_TURN) {
            if let Some(conn) = self.readable.pop_front() {
                self.read(conn, shard, now);
            }
            if now.elapsed() >= TURN_TIME_MAX {
                break;
            }
        }
        while let Some((deadline, conn)) = self.expiries.front().copied()
            && deadline <= now
        {
            self.expiries.pop_front();
            match self.connections.get(&conn).map(|it| it.state) {
                Some(State::Dialing) => self.lose(conn, shard, now, Hangup::Unreachable),
                Some(State::Flushing { .. } | State::Flushed) => self.forget_closing(conn, shard),
                Some(State::Open) | None => {}
            }
        }
    }

    /// Writes what waits for a connection, as far as the kernel takes it.
    pub(crate) fn write(&mut self, conn: ConnId, shard: &mut Shard, now: Instant) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.blocked = false;
        loop {
            let bytes = shard.outgoing(conn);
            if bytes.is_empty() {
                break;
            }
            match connection.stream.write(bytes) {
                Ok(written) => shard.wrote(conn, written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.blocked = true;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.lose(conn, shard, now, Hangup::Reset),
            }
        }
        if let State::Flushing { heard_out } = connection.state {
            connection.state = State::Flushed;
            if heard_out || connection.stream.shutdown(Shutdown::Write).is_err() {
                self.connections.remove(&conn);
            }
        }
    }

    /// Opens a connection; the news of it comes later, or at once if there is no way.
    pub(crate) fn dial(&mut self, conn: ConnId, addr: SocketAddr, shard: &mut Shard, now: Instant) {
        let dialed = TcpStream::connect(addr);
        match dialed.and_then(|stream| self.insert(conn, stream, State::Dialing)) {
            Ok(()) => self.expiries.push_back((now + PATIENCE, conn)),
            Err(error) => {
                shard.handle_input(now, Input::Closed { conn, cause: dial_failure(&error) });
            }
        }
    }

    /// Ends a connection, or the attempt to make one.
    pub(crate) fn close(&mut self, conn: ConnId, how: Linger, shard: &mut Shard, now: Instant) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        match how {
            Linger::Flush if connection.state == State::Open => {
                connection.state = State::Flushing { heard_out: false };
                self.expiries.push_back((now + PATIENCE, conn));
                self.write(conn, shard, now);
            }
            Linger::Flush => self.forget_closing(conn, shard),
            Linger::Abort => {
                // A refusal leaves an orderly end, which is as good.
                let _ = SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO));
                self.connections.remove(&conn);
            }
        }
    }

    fn accept(&mut self, shard: &mut Shard, now: Instant) {
        if self.accept_at.is_some_and(|at| now < at) {
            return;
        }
        self.accept_at = None;
        let mut left = CONNECTIONS_A_TURN;
        for index in 0..self.listeners.len() {
            while left > 0
                && let Some(listener) = self.listeners.get_mut(index).filter(|it| it.ready)
            {
                left -= 1;
                let service = listener.service;
                match listener.socket.accept() {
                    Ok((stream, _)) => self.accepted(service, stream, shard, now),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        listener.ready = false;
                    }
                    Err(error) if is_gone(&error) => {}
                    Err(error) => return self.pause_accepting(&error, now),
                }
            }
        }
    }

    fn pause_accepting(&mut self, error: &io::Error, now: Instant) {
        self.accept_at = Some(now + ACCEPT_PAUSE);
        if !self.accept_warned {
            warn!("cannot accept connections, trying on: {error}; see ulimit -n");
            self.accept_warned = true;
        }
    }

    fn accepted(&mut self, service: Service, stream: TcpStream, shard: &mut Shard, now: Instant) {
        let conn = ConnId::accepted(self.accepted);
        // One that was reset before it was looked at is no connection.
        let Ok(flow) = flow(&stream) else { return };
        self.accepted += 1;
        if let Err(error) = self.insert(conn, stream, State::Open) {
            warn!("an accepted connection cannot be watched and is dropped: {error}");
            return;
        }
        shard.handle_input(now, Input::Accepted { conn, service, flow });
    }

    fn look_at_dial(&mut self, conn: ConnId, shard: &mut Shard, now: Instant) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let dialed = match connection.stream.take_error() {
            Ok(None) => flow(&connection.stream),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match dialed {
            Ok(flow) => {
                connection.state = State::Open;
                // The report may have been of bytes as well.
                enqueue(connection, conn, &mut self.readable);
                shard.handle_input(now, Input::Connected { conn, flow });
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => self.lose(conn, shard, now, dial_failure(&error)),
        }
    }

    fn insert(&mut self, conn: ConnId, mut stream: TcpStream, state: State) -> io::Result<()> {
        // What is sent is complete messages that somebody waits for. Without it they wait longer.
        let _ = stream.set_nodelay(true);
        let token = self.token_of(conn);
        self.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let connection = Connection { stream, state, queued: false, blocked: false };
        self.connections.insert(conn, connection);
        Ok(())
    }

    /// Reads once; if there was something, there may be more, so the connection queues again.
    fn read(&mut self, conn: ConnId, shard: &mut Shard, now: Instant) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.queued = false;
        match connection.stream.read(&mut self.room) {
            Ok(0) => self.lose(conn, shard, now, Hangup::Eof),
            Ok(length) => {
                enqueue(connection, conn, &mut self.readable);
                if connection.state == State::Open
                    && let Some(bytes) = self.room.get(..length)
                {
                    shard.handle_input(now, Input::Received { conn, bytes });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                enqueue(connection, conn, &mut self.readable);
            }
            Err(_) => self.lose(conn, shard, now, Hangup::Reset),
        }
    }

    /// The far side ended the connection, or it broke, or it never came up.
    fn lose(&mut self, conn: ConnId, shard: &mut Shard, now: Instant, cause: Hangup) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        match connection.state {
            // It may still read what is left for it.
            State::Flushing { .. } if cause == Hangup::Eof => {
                connection.state = State::Flushing { heard_out: true };
            }
            State::Flushing { .. } | State::Flushed => self.forget_closing(conn, shard),
            State::Dialing | State::Open => {
                self.connections.remove(&conn);
                shard.handle_input(now, Input::Closed { conn, cause });
            }
        }
    }

    /// Ends a connection that the shard closed.
    fn forget_closing(&mut self, conn: ConnId, shard: &mut Shard) {
        if self.connections.remove(&conn).is_some() {
            discard(conn, shard);
        }
    }

    fn token_of(&self, conn: ConnId) -> Token {
        let number = usize::try_from(conn.get()).expect("a machine outlives no 2^31 connections");
        Token(self.first_token + self.listeners.len() + number)
    }
}

/// Takes what is left of a closed connection's bytes off the shard.
fn discard(conn: ConnId, shard: &mut Shard) {
    let left = shard.outgoing(conn).len();
    if left > 0 {
        shard.wrote(conn, left);
    }
}

fn enqueue(connection: &mut Connection, conn: ConnId, readable: &mut VecDeque<ConnId>) {
    if !connection.queued {
        connection.queued = true;
        readable.push_back(conn);
    }
}

/// The inverse of [`ConnId::get`].
fn conn_of(number: usize) -> ConnId {
    let nth = number as u64 / 2;
    if number.is_multiple_of(2) { ConnId::dialed(nth) } else { ConnId::accepted(nth) }
}

/// Whether the connection that was next in line is gone already.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

fn dial_failure(error: &io::Error) -> Hangup {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        Hangup::Refused
    } else {
        Hangup::Unreachable
    }
}

fn flow(stream: &TcpStream) -> io::Result<Flow> {
    Ok(Flow {
        local: plain_socket_addr(stream.local_addr()?),
        remote: plain_socket_addr(stream.peer_addr()?),
    })
}
