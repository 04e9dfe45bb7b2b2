//! Listeners and connections.
//!
//! Whatever waits for the kernel is a small task: one a listener, one a connection, one a dial.
//! They only report; the shard's loop does the reading and writing, in an order and amount of its
//! choosing, so that no connection starves another and no byte waits anywhere but in the core.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use distributary_core::{ConnId, Flow, Hangup, Input, Linger, Service, Shard};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::node::plain_socket_addr;
use crate::shard_loop::TURN_TIME_MAX;

/// Bytes read from one connection before the next one has its turn.
const READ_BYTES: usize = 64 * 1024;
/// Connections read, and connections accepted, in one turn of the loop.
const CONNECTIONS_A_TURN: usize = 64;
/// How long dialing may take.
const DIAL_TIME: Duration = Duration::from_secs(5);
/// How long the rest of a closed connection's bytes may take.
const FLUSH_TIME: Duration = Duration::from_secs(5);
/// How long accepting pauses when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listeners and connections of one shard.
#[derive(Debug)]
pub(crate) struct Tcp {
    connections: HashMap<ConnId, Connection>,
    dialing: HashMap<ConnId, Task>,
    accepted: u64,
    arrivals: mpsc::Receiver<(Service, TcpStream)>,
    news: mpsc::UnboundedReceiver<News>,
    reporter: mpsc::UnboundedSender<News>,
    /// What arrived while the loop waited.
    first_arrival: Option<(Service, TcpStream)>,
    first_news: Option<News>,
    /// Connections that may have something to read, in the order they get to.
    readable: VecDeque<ConnId>,
    /// When closed connections are given up, the oldest first.
    expiries: VecDeque<(Instant, ConnId)>,
    room: Box<[u8]>,
    _listening: Vec<Task>,
}

#[derive(Debug)]
struct Connection {
    stream: Arc<TcpStream>,
    wanted: Arc<Wanted>,
    /// Whether the shard closed it already.
    closing: Option<Closing>,
    /// Whether the far side said all that it had to say, after the shard closed the connection.
    heard_out: bool,
    _watching: Task,
}

/// What is still to be done for a connection that the shard closed with [`Linger::Flush`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Closing {
    /// Its bytes are being written.
    Flushing,
    /// All is written; the far side's end is awaited, because closing a socket with unread bytes
    /// would reset the connection under what was just written (RFC 9293, section 3.10.4).
    Flushed,
}

/// What the tasks report.
#[derive(Debug)]
enum News {
    Ready { conn: ConnId, readable: bool, writable: bool },
    Dialed { conn: ConnId, result: io::Result<TcpStream> },
}

impl Tcp {
    /// Starts to listen. Must be called inside the runtime.
    pub(crate) fn new(listeners: Vec<(Service, std::net::TcpListener)>) -> io::Result<Self> {
        let (sender, arrivals) = mpsc::channel(CONNECTIONS_A_TURN);
        let (reporter, news) = mpsc::unbounded_channel();
        let mut listening = Vec::with_capacity(listeners.len());
        for (service, listener) in listeners {
            let listener = TcpListener::from_std(listener)?;
            listening.push(Task(tokio::spawn(accept(service, listener, sender.clone()))));
        }
        Ok(Self {
            connections: HashMap::new(),
            dialing: HashMap::new(),
            accepted: 0,
            arrivals,
            news,
            reporter,
            first_arrival: None,
            first_news: None,
            readable: VecDeque::new(),
            expiries: VecDeque::new(),
            room: vec![0; READ_BYTES].into_boxed_slice(),
            _listening: listening,
        })
    }

    /// Waits until there is something to do.
    pub(crate) async fn ready(&mut self) {
        tokio::select! {
            Some(arrival) = self.arrivals.recv() => self.first_arrival = Some(arrival),
            Some(news) = self.news.recv() => self.first_news = Some(news),
            else => std::future::pending().await,
        }
    }

    /// Whether there is something to do at once.
    pub(crate) fn has_work(&self) -> bool {
        !self.readable.is_empty() || !self.arrivals.is_empty() || !self.news.is_empty()
    }

    /// When a closed connection is given up next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.expiries.front().map(|(deadline, _)| *deadline)
    }

    /// Whether bytes of connections that the shard closed still wait to be written.
    pub(crate) fn is_flushing(&self) -> bool {
        self.connections.values().any(|it| it.closing == Some(Closing::Flushing))
    }

    /// Tells the shard what happened, up to a budget.
    pub(crate) fn turn(&mut self, shard: &mut Shard, now: Instant) {
        self.accept_arrivals(shard, now);
        self.hear_news(shard, now);
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
            self.forget_closing(conn, shard);
        }
    }

    /// Writes what waits for a connection, as far as the kernel takes it.
    pub(crate) fn write(&mut self, conn: ConnId, shard: &mut Shard, now: Instant) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        loop {
            let bytes = shard.outgoing(conn);
            if bytes.is_empty() {
                break;
            }
            match connection.stream.try_write(bytes) {
                Ok(written) => shard.wrote(conn, written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.wanted.add(Wanted::WRITE);
                    return;
                }
                Err(_) => return self.lose(conn, shard, now, Hangup::Reset),
            }
        }
        if connection.closing == Some(Closing::Flushing) {
            connection.closing = Some(Closing::Flushed);
            let ended = SockRef::from(&*connection.stream).shutdown(Shutdown::Write);
            if connection.heard_out || ended.is_err() {
                self.connections.remove(&conn);
            }
        }
    }

    /// Opens a connection; the news of it comes later.
    pub(crate) fn dial(&mut self, conn: ConnId, addr: SocketAddr) {
        let reporter = self.reporter.clone();
        let task = tokio::spawn(async move {
            let result = match tokio::time::timeout(DIAL_TIME, TcpStream::connect(addr)).await {
                Ok(result) => result,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            // The loop has ended if nobody listens.
            let _ = reporter.send(News::Dialed { conn, result });
        });
        self.dialing.insert(conn, Task(task));
    }

    /// Ends a connection, or the attempt to make one.
    pub(crate) fn close(&mut self, conn: ConnId, how: Linger, shard: &mut Shard, now: Instant) {
        if self.dialing.remove(&conn).is_some() {
            return discard(conn, shard);
        }
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        match how {
            Linger::Flush => {
                connection.closing = Some(Closing::Flushing);
                self.expiries.push_back((now + FLUSH_TIME, conn));
                self.write(conn, shard, now);
            }
            Linger::Abort => {
                // A refusal leaves an orderly end, which is as good.
                let _ = SockRef::from(&*connection.stream).set_linger(Some(Duration::ZERO));
                self.connections.remove(&conn);
            }
        }
    }

    fn accept_arrivals(&mut self, shard: &mut Shard, now: Instant) {
        let first = self.first_arrival.take();
        let more = std::iter::from_fn(|| self.arrivals.try_recv().ok());
        let arrivals: Vec<_> = first.into_iter().chain(more).take(CONNECTIONS_A_TURN).collect();
        for (service, stream) in arrivals {
            let conn = ConnId::accepted(self.accepted);
            // One that was reset before it was looked at is no connection.
            let Ok(flow) = flow(&stream) else { continue };
            self.accepted += 1;
            self.insert(conn, stream);
            shard.handle_input(now, Input::Accepted { conn, service, flow });
        }
    }

    fn hear_news(&mut self, shard: &mut Shard, now: Instant) {
        // Each task reports once and then waits for the loop, so this ends.
        let mut next = self.first_news.take();
        while let Some(news) = next.or_else(|| self.news.try_recv().ok()) {
            match news {
                News::Ready { conn, readable, writable } => {
                    if writable {
                        self.write(conn, shard, now);
                    }
                    if readable && self.connections.contains_key(&conn) {
                        self.readable.push_back(conn);
                    }
                }
                News::Dialed { conn, result } => self.dialed(conn, result, shard, now),
            }
            next = None;
        }
    }

    fn dialed(
        &mut self,
        conn: ConnId,
        result: io::Result<TcpStream>,
        shard: &mut Shard,
        now: Instant,
    ) {
        if self.dialing.remove(&conn).is_none() {
            return; // The shard lost interest meanwhile.
        }
        let input = match result.and_then(|stream| Ok((flow(&stream)?, stream))) {
            Ok((flow, stream)) => {
                self.insert(conn, stream);
                Input::Connected { conn, flow }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Input::Closed { conn, cause: Hangup::Refused }
            }
            Err(_) => Input::Closed { conn, cause: Hangup::Unreachable },
        };
        shard.handle_input(now, input);
    }

    fn insert(&mut self, conn: ConnId, stream: TcpStream) {
        // What is sent is complete messages that somebody waits for. Without it they wait longer.
        let _ = stream.set_nodelay(true);
        let stream = Arc::new(stream);
        let wanted = Arc::new(Wanted::default());
        wanted.add(Wanted::READ);
        let watching = tokio::spawn(watch(
            conn,
            Arc::clone(&stream),
            Arc::clone(&wanted),
            self.reporter.clone(),
        ));
        let connection = Connection {
            stream,
            wanted,
            closing: None,
            heard_out: false,
            _watching: Task(watching),
        };
        self.connections.insert(conn, connection);
    }

    /// Reads once; if there was something, there may be more, so the connection queues again.
    fn read(&mut self, conn: ConnId, shard: &mut Shard, now: Instant) {
        let Some(connection) = self.connections.get(&conn) else { return };
        match connection.stream.try_read(&mut self.room) {
            Ok(0) => self.lose(conn, shard, now, Hangup::Eof),
            Ok(length) => {
                self.readable.push_back(conn);
                if connection.closing.is_none()
                    && let Some(bytes) = self.room.get(..length)
                {
                    shard.handle_input(now, Input::Received { conn, bytes });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                connection.wanted.add(Wanted::READ);
            }
            Err(_) => self.lose(conn, shard, now, Hangup::Reset),
        }
    }

    /// The far side ended the connection, or it broke.
    fn lose(&mut self, conn: ConnId, shard: &mut Shard, now: Instant, cause: Hangup) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        match connection.closing {
            // It may still read what is left for it.
            Some(Closing::Flushing) if cause == Hangup::Eof => connection.heard_out = true,
            Some(Closing::Flushing | Closing::Flushed) => self.forget_closing(conn, shard),
            None => {
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
}

/// Takes what is left of a closed connection's bytes off the shard.
fn discard(conn: ConnId, shard: &mut Shard) {
    let left = shard.outgoing(conn).len();
    if left > 0 {
        shard.wrote(conn, left);
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the loop waits for on one connection. Both sides run on one thread; the types are those
/// that tasks ask for.
#[derive(Debug, Default)]
struct Wanted {
    bits: AtomicU8,
    changed: Notify,
}

impl Wanted {
    const READ: u8 = 1;
    const WRITE: u8 = 2;

    fn add(&self, bit: u8) {
        self.bits.fetch_or(bit, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn remove(&self, bits: u8) {
        self.bits.fetch_and(!bits, Ordering::Relaxed);
    }

    fn interest(&self) -> Option<Interest> {
        match self.bits.load(Ordering::Relaxed) {
            Self::READ => Some(Interest::READABLE),
            Self::WRITE => Some(Interest::WRITABLE),
            0 => None,
            _ => Some(Interest::READABLE | Interest::WRITABLE),
        }
    }
}

/// Reports when a connection is ready for what the loop wants, once for each time it wants it.
async fn watch(
    conn: ConnId,
    stream: Arc<TcpStream>,
    wanted: Arc<Wanted>,
    reporter: mpsc::UnboundedSender<News>,
) {
    loop {
        let Some(interest) = wanted.interest() else {
            wanted.changed.notified().await;
            continue;
        };
        let ready = tokio::select! {
            () = wanted.changed.notified() => continue,
            ready = stream.ready(interest) => ready,
        };
        let Ok(ready) = ready else { return };
        // An error shows when the loop reads or writes, so it gets to.
        let readable = interest.is_readable() && (ready.is_readable() || ready.is_error());
        let writable = interest.is_writable() && (ready.is_writable() || ready.is_error());
        wanted.remove(if readable { Wanted::READ } else { 0 });
        wanted.remove(if writable { Wanted::WRITE } else { 0 });
        if reporter.send(News::Ready { conn, readable, writable }).is_err() {
            return;
        }
    }
}

/// Accepts connections as fast as the loop takes them.
async fn accept(
    service: Service,
    listener: TcpListener,
    arrivals: mpsc::Sender<(Service, TcpStream)>,
) {
    let mut warned = false;
    while let Ok(place) = arrivals.reserve().await {
        match listener.accept().await {
            Ok((stream, _)) => place.send((service, stream)),
            // The one that was next in line is gone already.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                if !warned {
                    warn!("cannot accept connections, trying on: {error}; see ulimit -n");
                    warned = true;
                }
                drop(place);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn flow(stream: &TcpStream) -> io::Result<Flow> {
    Ok(Flow {
        local: plain_socket_addr(stream.local_addr()?),
        remote: plain_socket_addr(stream.peer_addr()?),
    })
}
