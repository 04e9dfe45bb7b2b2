//! The way of datagrams to a media port, on which some of them are lost.
//!
//! A server binds one address and announces another one. What is announced is the near end of a
//! path: whoever sends there gets a socket of its own at the far end, as behind a router, so that
//! to the server every remote is another one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

/// The near end; far ends have the numbers from 0 on.
const NEAR: Token = Token(usize::MAX >> 1);
const EVENTS_A_TURN: usize = 256;
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Datagrams that are on their way at once, where that takes time.
const WAITING_MAX: usize = 20_000;
/// Longer than a server waits for a peer that is silent.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Between two looks at who is silent, and at whether it is over.
const SWEEP: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);
/// Room for bursts, where the kernel grants it: what the path loses is for the dice to say.
const NEAR_BUFFER: usize = 4 * 1024 * 1024;
const FAR_BUFFER: usize = 1024 * 1024;

/// What becomes of datagrams.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Terms {
    /// The share that is lost, each way.
    pub loss: f64,
    /// What decides which.
    pub seed: u64,
    /// How long the others take, each way.
    pub delay: Duration,
    /// Remotes at once. For one more, the one that was silent for longest is forgotten.
    pub remotes_max: usize,
    /// Remotes at this address lose nothing.
    pub spared: Option<IpAddr>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { loss: 0.0, seed: 1, delay: Duration::ZERO, remotes_max: 1_000, spared: None }
    }
}

/// What became of datagrams so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Passage {
    /// To the server: those that were passed on, and those that were lost.
    pub there: (u64, u64),
    /// The same from the server.
    pub back: (u64, u64),
    /// Remotes now.
    pub remotes: u64,
}

/// A path to one port, on a thread of its own. It ends with this value.
#[derive(Debug)]
pub struct LossyPath {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    there: [AtomicU64; 2],
    back: [AtomicU64; 2],
    remotes: AtomicU64,
    /// Addresses from and to which everything is lost.
    parted: Mutex<BTreeSet<IpAddr>>,
}

impl LossyPath {
    /// Lets datagrams to `near` end up at `server`, and what it answers come from `near`.
    ///
    /// # Errors
    ///
    /// If `near` cannot be bound.
    pub fn new(near: SocketAddr, server: SocketAddr, terms: Terms) -> io::Result<Self> {
        let poll = Poll::new()?;
        let near = bind(&poll, near, NEAR, NEAR_BUFFER)?;
        let shared = Arc::new(Shared::default());
        let carrier = Carrier {
            poll,
            ip: near.local_addr()?.ip(),
            near,
            server,
            terms,
            chance: fastrand::Rng::with_seed(terms.seed),
            far: Vec::new(),
            known: BTreeMap::new(),
            waiting: VecDeque::new(),
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new().name("lossy-path".to_owned());
        let thread = thread.spawn(move || carrier.carry())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What became of datagrams so far.
    pub fn passage(&self) -> Passage {
        let pair = |[passed, lost]: &[AtomicU64; 2]| {
            (passed.load(Ordering::Relaxed), lost.load(Ordering::Relaxed))
        };
        let Shared { there, back, remotes, .. } = &*self.shared;
        let remotes = remotes.load(Ordering::Relaxed);
        Passage { there: pair(there), back: pair(back), remotes }
    }

    /// Loses everything from and to remotes at this address from now on, or what it loses of
    /// others.
    pub fn set_parted(&self, remote: IpAddr, parted: bool) {
        let mut all = self.shared.parted.lock().unwrap_or_else(PoisonError::into_inner);
        if parted {
            all.insert(remote);
        } else {
            all.remove(&remote);
        }
    }
}

impl Shared {
    fn is_parted(&self, remote: IpAddr) -> bool {
        self.parted.lock().unwrap_or_else(PoisonError::into_inner).contains(&remote)
    }
}

impl Drop for LossyPath {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Should it have panicked, it has said so on its own, and nothing comes through.
            let _ = thread.join();
        }
    }
}

struct Carrier {
    poll: Poll,
    ip: IpAddr,
    near: UdpSocket,
    server: SocketAddr,
    terms: Terms,
    chance: fastrand::Rng,
    far: Vec<Option<Remote>>,
    /// Where in `far` each remote is.
    known: BTreeMap<SocketAddr, usize>,
    /// In the order in which they are due, because all take the same time.
    waiting: VecDeque<(Instant, Way, Vec<u8>)>,
    shared: Arc<Shared>,
}

struct Remote {
    address: SocketAddr,
    socket: UdpSocket,
    heard: Instant,
}

/// Where a datagram goes: from or to this remote.
#[derive(Clone, Copy)]
enum Way {
    There(SocketAddr),
    Back(SocketAddr),
}

impl Carrier {
    fn carry(mut self) {
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        let mut room = vec![0; DATAGRAM_BYTES_MAX];
        let mut sweep_at = Instant::now() + SWEEP;
        while !self.shared.over.load(Ordering::Relaxed) {
            let due = self.waiting.front().map(|(due, ..)| due);
            let wait = due.map_or(LOOK, |due| due.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, Some(wait.min(LOOK))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => result.expect("epoll works on sockets that it took"),
            }
            for event in &events {
                match event.token() {
                    NEAR => self.take_there(&mut room),
                    Token(index) => self.take_back(index, &mut room),
                }
            }
            let now = Instant::now();
            while self.waiting.front().is_some_and(|(due, ..)| *due <= now) {
                let Some((_, way, datagram)) = self.waiting.pop_front() else { break };
                self.deliver(way, &datagram);
            }
            if sweep_at <= now {
                sweep_at = now + SWEEP;
                self.forget_the_silent(now);
            }
        }
    }

    /// All that remotes sent.
    fn take_there(&mut self, room: &mut [u8]) {
        loop {
            match self.near.recv_from(room) {
                Ok((length, from)) => {
                    // Who cannot be given a socket is not heard.
                    if self.index_of(from).is_ok() {
                        self.pass(Way::There(from), room.get(..length).unwrap_or_default());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The echo of something sent, for example to a port that closed.
                Err(_) => {}
            }
        }
    }

    /// All that the server sent to one remote.
    fn take_back(&mut self, index: usize, room: &mut [u8]) {
        while let Some(Some(remote)) = self.far.get_mut(index) {
            match remote.socket.recv(room) {
                Ok(length) => {
                    let to = remote.address;
                    self.pass(Way::Back(to), room.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // As above.
                Err(_) => {}
            }
        }
    }

    fn pass(&mut self, way: Way, datagram: &[u8]) {
        let (remote, [passed, dropped]) = match way {
            Way::There(from) => (from, &self.shared.there),
            Way::Back(to) => (to, &self.shared.back),
        };
        let parted = self.shared.is_parted(remote.ip());
        let exposed = self.terms.loss > 0.0 && self.terms.spared != Some(remote.ip());
        let unlucky = exposed && self.chance.f64() < self.terms.loss;
        if parted || unlucky || self.waiting.len() >= WAITING_MAX {
            dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        passed.fetch_add(1, Ordering::Relaxed);
        if self.terms.delay.is_zero() {
            self.deliver(way, datagram);
        } else {
            let due = Instant::now() + self.terms.delay;
            self.waiting.push_back((due, way, datagram.to_vec()));
        }
    }

    fn deliver(&self, way: Way, datagram: &[u8]) {
        // A datagram that the kernel refuses, or whose remote is forgotten, is a lost datagram.
        match way {
            Way::There(from) => {
                let index = self.known.get(&from);
                if let Some(Some(remote)) = index.and_then(|index| self.far.get(*index)) {
                    let _ = remote.socket.send(datagram);
                }
            }
            Way::Back(to) => {
                let _ = self.near.send_to(datagram, to);
            }
        }
    }

    /// Where in `far` a remote is that was just heard; a new one gets its socket.
    fn index_of(&mut self, address: SocketAddr) -> io::Result<usize> {
        let now = Instant::now();
        if let Some(index) = self.known.get(&address) {
            if let Some(Some(remote)) = self.far.get_mut(*index) {
                remote.heard = now;
            }
            return Ok(*index);
        }
        if self.known.len() >= self.terms.remotes_max.max(1) {
            self.forget_the_most_silent();
        }
        let vacant = self.far.iter().position(Option::is_none);
        let index = vacant.unwrap_or_else(|| {
            self.far.push(None);
            self.far.len() - 1
        });
        let socket = bind(&self.poll, SocketAddr::new(self.ip, 0), Token(index), FAR_BUFFER)?;
        socket.connect(self.server)?;
        if let Some(seat) = self.far.get_mut(index) {
            *seat = Some(Remote { address, socket, heard: now });
            self.known.insert(address, index);
        }
        self.shared.remotes.store(self.known.len() as u64, Ordering::Relaxed);
        Ok(index)
    }

    fn forget_the_most_silent(&mut self) {
        let remotes = self.far.iter().flatten();
        let silent = remotes.min_by_key(|remote| remote.heard).map(|remote| remote.address);
        self.forget(silent);
    }

    fn forget_the_silent(&mut self, now: Instant) {
        let silent = |remote: &&Remote| remote.heard + SILENCE_MAX <= now;
        let remotes = self.far.iter().flatten().filter(silent);
        let silent: Vec<SocketAddr> = remotes.map(|remote| remote.address).collect();
        self.forget(silent);
    }

    fn forget(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        for address in addresses {
            let index = self.known.remove(&address);
            if let Some(seat) = index.and_then(|index| self.far.get_mut(index)) {
                // With its socket.
                *seat = None;
            }
        }
        self.shared.remotes.store(self.known.len() as u64, Ordering::Relaxed);
    }
}

fn bind(poll: &Poll, at: SocketAddr, token: Token, buffer: usize) -> io::Result<UdpSocket> {
    let mut socket = UdpSocket::bind(at)?;
    // The kernel may grant less.
    SockRef::from(&socket).set_recv_buffer_size(buffer)?;
    poll.registry().register(&mut socket, token, Interest::READABLE)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(300);
    const NUMBERS: u32 = 2_000;

    fn socket() -> std::net::UdpSocket {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// A path to a socket that is the server, and where it begins.
    fn path(server: &std::net::UdpSocket, terms: Terms) -> (LossyPath, SocketAddr) {
        // Nobody else has this address.
        let port = server.local_addr().unwrap().port();
        let near = SocketAddr::from(([127, 0, 0, 99], port));
        (LossyPath::new(near, server.local_addr().unwrap(), terms).unwrap(), near)
    }

    /// What comes while numbers are sent from one socket: numbers, and from where.
    fn sent(
        from: &std::net::UdpSocket,
        to: SocketAddr,
        at: &std::net::UdpSocket,
    ) -> Vec<(u32, SocketAddr)> {
        let at = at.try_clone().unwrap();
        let receiving = std::thread::spawn(move || all(&at));
        send(from, to, 0..NUMBERS);
        receiving.join().unwrap()
    }

    /// What comes, until nothing does.
    fn all(socket: &std::net::UdpSocket) -> Vec<(u32, SocketAddr)> {
        let mut room = [0; 16];
        let mut came = Vec::new();
        while let Ok((4, from)) = socket.recv_from(&mut room) {
            came.push((u32::from_be_bytes(room[..4].try_into().unwrap()), from));
        }
        came
    }

    /// Sends these numbers a few at a time, so that no buffer is too small.
    fn send(from: &std::net::UdpSocket, to: SocketAddr, numbers: std::ops::Range<u32>) {
        for number in numbers {
            from.send_to(&number.to_be_bytes(), to).unwrap();
            if number % 50 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn the_dice_take_their_share_each_way_and_the_same_with_one_seed() {
        let run = |seed| {
            let (server, remote) = (socket(), socket());
            let (path, near) = path(&server, Terms { loss: 0.1, seed, ..Terms::default() });
            let there = sent(&remote, near, &server);
            let back = sent(&server, there[0].1, &remote);
            assert!(back.iter().all(|(_, from)| *from == near));
            let numbers = |came: &[(u32, SocketAddr)]| -> Vec<u32> {
                came.iter().map(|(number, _)| *number).collect()
            };
            let passage = path.passage();
            for (came, (passed, lost)) in [(&there, passage.there), (&back, passage.back)] {
                assert!((120..=280).contains(&lost), "{passage:?}");
                let passed_and_all = (came.len() as u64, NUMBERS.into());
                assert_eq!((passed, passed + lost), passed_and_all, "{passage:?}");
                assert!(came.is_sorted_by_key(|(number, _)| *number));
            }
            (numbers(&there), numbers(&back))
        };
        let first = run(7);
        assert_ne!(first.0, first.1);
        assert_eq!(first, run(7));
        assert_ne!(first, run(8));
    }

    #[test]
    fn what_takes_time_comes_after_it() {
        let (server, remote) = (socket(), socket());
        let delay = Duration::from_millis(60);
        let (_path, near) = path(&server, Terms { delay, ..Terms::default() });
        let begin = Instant::now();
        send(&remote, near, 1..2);
        let mut room = [0; 16];
        let (_, far) = server.recv_from(&mut room).unwrap();
        let there = begin.elapsed();
        server.send_to(&[1; 4], far).unwrap();
        remote.recv_from(&mut room).unwrap();
        assert!(there >= delay && begin.elapsed() >= 2 * delay, "{there:?} {:?}", begin.elapsed());
    }

    #[test]
    fn everything_is_lost_of_an_address_that_is_parted_and_nothing_of_others() {
        let server = socket();
        let (path, near) = path(&server, Terms::default());
        let [parted, other] = [97, 98].map(|host| {
            let socket = std::net::UdpSocket::bind((Ipv4Addr::new(127, 0, 0, host), 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        });
        let remotes = [&parted, &other];
        remotes.iter().for_each(|remote| send(remote, near, 0..1));
        let ends: Vec<SocketAddr> = all(&server).into_iter().map(|(_, from)| from).collect();
        for (is_parted, expected) in [(true, [0, 1]), (false, [1, 1])] {
            path.set_parted(parted.local_addr().unwrap().ip(), is_parted);
            remotes.iter().for_each(|remote| send(remote, near, 0..1));
            assert_eq!(all(&server).len(), expected.iter().sum::<usize>());
            for end in &ends {
                server.send_to(&[2; 4], end).unwrap();
            }
            assert_eq!(remotes.map(|remote| all(remote).len()), expected);
        }
    }

    #[test]
    fn every_remote_has_a_way_back_of_its_own_as_long_as_there_is_room() {
        let server = socket();
        let (path, near) = path(&server, Terms { remotes_max: 3, ..Terms::default() });
        let remotes: Vec<_> = (0..3).map(|_| socket()).collect();
        for (number, remote) in (0..).zip(&remotes) {
            send(remote, near, number..number + 1);
        }
        let came = all(&server);
        assert_eq!(came.len(), 3);
        for (number, far) in &came {
            server.send_to(&number.to_be_bytes(), far).unwrap();
        }
        for (number, remote) in (0..).zip(&remotes) {
            assert_eq!(all(remote), [(number, near)]);
        }
        // One more takes the place of the one that was silent for longest.
        let fourth = socket();
        send(&remotes[0], near, 0..1);
        send(&fourth, near, 4..5);
        assert_eq!(all(&server).len(), 2);
        assert_eq!(path.passage().remotes, 3);
        for (number, far) in came {
            server.send_to(&number.to_be_bytes(), far).unwrap();
        }
        let came = remotes.iter().map(|remote| all(remote).len());
        assert_eq!(came.collect::<Vec<_>>(), [1, 0, 1]);
    }
}
