//! The stand-in over real sockets: many pages, one thread, one loop.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Registry, Token};
use socket2::{Domain, SockRef, Socket, Type};
use str0m::config::CryptoProvider;

use crate::browser::{Browser, Shape};
use crate::page::{Output, Page};
use crate::world::{Party, Seen};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const EVENTS_A_TURN: usize = 256;
/// A second of a stream for one viewer, so that no packet is lost to this process being kept from
/// a core by the servers.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// Pages on this machine, and the loop that carries their bytes.
#[derive(Debug)]
pub struct Pages {
    pages: Vec<Live>,
    crypto: Arc<CryptoProvider>,
    clock: Instant,
    first_number: u32,
    poll: Poll,
    reported: Events,
}

#[derive(Debug)]
struct Live {
    page: Page,
    socket: Option<TcpStream>,
    ip: IpAddr,
    backlog: Vec<u8>,
    media: Vec<(SocketAddr, UdpSocket)>,
    due: Option<Instant>,
    leaving: bool,
    /// Whether there may be something to do: a socket was reported, or a button was pressed.
    ready: bool,
}

impl Default for Pages {
    fn default() -> Self {
        Self::new(Instant::now(), 1)
    }
}

impl Pages {
    /// No pages yet. Their clocks count from `clock`, and their numbers go up from `first_number`.
    ///
    /// # Panics
    ///
    /// If the process has no file descriptor left.
    pub fn new(clock: Instant, first_number: u32) -> Self {
        Self {
            pages: Vec::new(),
            crypto: Arc::new(str0m::crypto::from_feature_flags()),
            clock,
            first_number,
            poll: Poll::new().expect("a test has file descriptors left"),
            reported: Events::with_capacity(EVENTS_A_TURN),
        }
    }

    /// Opens a page that connects to a plain WebSocket. Answers with its number.
    ///
    /// # Errors
    ///
    /// If nobody listens there.
    pub fn open(&mut self, server: SocketAddr) -> io::Result<usize> {
        self.open_at(server, "/")
    }

    /// The same with a path and query of the WebSocket's URL.
    ///
    /// # Errors
    ///
    /// If nobody listens there.
    pub fn open_at(&mut self, server: SocketAddr, path: &str) -> io::Result<usize> {
        let socket = std::net::TcpStream::connect_timeout(&server, CONNECT_TIMEOUT)?;
        self.take(socket, server, path)
    }

    /// The same from an address of this machine; media will come from there too.
    ///
    /// # Errors
    ///
    /// If the address is not this machine's, or nobody listens there.
    pub fn open_from(&mut self, ip: IpAddr, server: SocketAddr) -> io::Result<usize> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(ip, 0).into())?;
        socket.connect_timeout(&server.into(), CONNECT_TIMEOUT)?;
        self.take(socket.into(), server, "/")
    }

    fn take(
        &mut self,
        socket: std::net::TcpStream,
        server: SocketAddr,
        path: &str,
    ) -> io::Result<usize> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let mut socket = TcpStream::from_std(socket);
        let index = self.pages.len();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(index), both)?;
        let number = self.first_number + u32::try_from(index).expect("a test opens few pages");
        let mut page = Page::new(self.clock, number, self.crypto.clone());
        page.path = path.to_owned();
        page.connected(&server.to_string());
        self.pages.push(Live {
            page,
            ip: socket.local_addr()?.ip(),
            socket: Some(socket),
            backlog: Vec::new(),
            media: Vec::new(),
            due: None,
            leaving: false,
            ready: true,
        });
        Ok(index)
    }

    /// Publishes on a page.
    ///
    /// # Errors
    ///
    /// If the machine has no UDP port left.
    pub fn publish(&mut self, page: usize, name: &str, shape: Shape) -> io::Result<Party> {
        let (live, registry) = self.live(page);
        let local = live.bind(registry, Token(page))?;
        let id = live.page.browser.publish(Instant::now(), name, shape, local);
        Ok(Party { page, id })
    }

    /// Plays on a page.
    ///
    /// # Errors
    ///
    /// If the machine has no UDP port left.
    pub fn play(&mut self, page: usize, name: &str, shape: Shape) -> io::Result<Party> {
        let (live, registry) = self.live(page);
        let local = live.bind(registry, Token(page))?;
        let id = live.page.browser.play(Instant::now(), name, shape, local);
        Ok(Party { page, id })
    }

    /// Presses Stop.
    pub fn stop(&mut self, party: &Party) {
        self.live(party.page).0.page.browser.stop(Instant::now(), &party.id);
    }

    /// Closes a page.
    pub fn leave(&mut self, page: usize) {
        let (live, _) = self.live(page);
        live.page.leave(Instant::now());
        live.leaving = true;
    }

    /// Ends a page as a power failure does: nobody is told anything, except by the machine's
    /// kernel, which resets what was open.
    pub fn lose(&mut self, page: usize) {
        let (live, _) = self.live(page);
        live.page.vanish(Instant::now());
        live.media.clear();
        live.backlog.clear();
        if let Some(socket) = live.socket.take() {
            // Without it the kernel would say goodbye. A socket that refuses is reset already.
            let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        }
    }

    /// A page.
    pub fn page(&self, page: usize) -> &Page {
        &self.pages.get(page).expect("the page was opened").page
    }

    /// A page's browser, to make it do what no button does.
    pub fn browser(&mut self, page: usize) -> &mut Browser {
        &mut self.live(page).0.page.browser
    }

    /// What their clocks show.
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// What a party got to know so far.
    pub fn seen(&self, party: &Party) -> Seen {
        Seen::of(&self.page(party.page).browser, &party.id)
    }

    /// Runs all pages for this long.
    pub fn run(&mut self, span: Duration) {
        self.run_until(span, |_| false);
    }

    /// Runs all pages until `done`, and answers whether that came within `span`.
    pub fn run_until(&mut self, span: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = Instant::now() + span;
        loop {
            if done(self) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            self.wait(end);
            self.turn();
        }
    }

    /// Waits until a socket is reported or something is due, but not beyond `end`.
    fn wait(&mut self, end: Instant) {
        let now = Instant::now();
        let due = self.pages.iter().map(|live| if live.ready { Some(now) } else { live.due });
        let until = due.flatten().fold(end, Instant::min);
        match self.poll.poll(&mut self.reported, Some(until.saturating_duration_since(now))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => result.expect("epoll works on sockets that it took"),
        }
        for event in &self.reported {
            if let Some(live) = self.pages.get_mut(event.token().0) {
                live.ready = true;
            }
        }
    }

    fn turn(&mut self) {
        for live in &mut self.pages {
            if live.ready || live.due.is_some_and(|due| due <= Instant::now()) {
                live.ready = live.turn();
            }
        }
    }

    fn live(&mut self, page: usize) -> (&mut Live, &Registry) {
        let live = self.pages.get_mut(page).expect("the page was opened");
        live.ready = true;
        (live, self.poll.registry())
    }
}

impl Live {
    /// One socket for one peer connection, as browsers have it.
    fn bind(&mut self, registry: &Registry, token: Token) -> io::Result<SocketAddr> {
        let mut socket = UdpSocket::bind((self.ip, 0).into())?;
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
        registry.register(&mut socket, token, Interest::READABLE)?;
        let local = socket.local_addr()?;
        self.media.push((local, socket));
        Ok(local)
    }

    /// Moves what can be moved now, and tells whether anything came in.
    fn turn(&mut self) -> bool {
        let busy = self.read_stream() | self.read_datagrams();
        let now = Instant::now();
        if self.due.is_some_and(|due| due <= now) {
            self.page.timeout(now);
        }
        loop {
            match self.page.poll() {
                Output::Write(bytes) => self.backlog.extend(bytes),
                Output::Datagram(datagram) => {
                    let socket = self.media.iter().find(|(local, _)| *local == datagram.local);
                    if let Some((_, socket)) = socket {
                        // A datagram that the kernel refuses is a lost datagram.
                        let _ = socket.send_to(&datagram.bytes, datagram.remote);
                    }
                }
                Output::Timeout(due) => {
                    self.due = due;
                    break;
                }
            }
        }
        self.write_stream();
        busy
    }

    fn read_stream(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        let mut buf = [0; 16 * 1024];
        match socket.read(&mut buf) {
            Ok(0) => self.hang_up(),
            Ok(len) => {
                let bytes = buf.get(..len).unwrap_or_default();
                self.page.received(Instant::now(), bytes);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.hang_up(),
        }
        true
    }

    fn read_datagrams(&mut self) -> bool {
        let mut busy = false;
        let mut buf = [0; 2048];
        for (local, socket) in &self.media {
            // A bound on the work of one turn; what is left comes in the next.
            for _ in 0..64 {
                let Ok((len, remote)) = socket.recv_from(&mut buf) else { break };
                busy = true;
                let bytes = buf.get(..len).unwrap_or_default();
                self.page.datagram(Instant::now(), *local, remote, bytes);
            }
        }
        busy
    }

    fn write_stream(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        while !self.backlog.is_empty() {
            match socket.write(&self.backlog) {
                Ok(len) => {
                    self.backlog.drain(..len);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.hang_up(),
            }
        }
        if self.leaving && self.backlog.is_empty() {
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        self.socket = None;
        self.page.hung_up(Instant::now());
    }
}
