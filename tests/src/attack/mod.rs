//! Far sides that mean no good, each kind on a thread of its own and at its own pace, until told to
//! stop.

mod connections;
mod datagrams;
mod figures;
mod words;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use self::datagrams::Sort;
pub use self::figures::{Figures, Plan};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(5);
/// Who is kept from a core for longer catches up on no more than this.
const LAG_MAX: Duration = Duration::from_secs(1);

/// Whom it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// A listener of TCP.
    pub tcp: SocketAddr,
    /// The media ports.
    pub media: Vec<SocketAddr>,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Connects, says nothing or half a request, and stays.
    IdleConnection,
    /// Connects, and says what is no HTTP.
    GarbageHttp,
    /// Opens a WebSocket, and says what is no JSON, or none of the dialogue.
    GarbageWords,
    /// Publishes under a name that is taken, and then with an offer that is none.
    TakenName,
    /// Asks for pages again and again, and reads none.
    DeafReader,
    /// Sends datagrams that are nobody's.
    Datagram(Sort),
    /// Connects, asks for a page, and hangs up.
    Connection,
}

/// One who does it.
#[derive(Clone, PartialEq, Debug)]
pub struct Actor {
    /// What it does.
    pub kind: Kind,
    /// How often.
    pub per_second: u32,
    /// How many addresses it has, from the first on.
    pub addresses: u32,
    /// The first.
    pub first: Ipv4Addr,
}

/// How often something was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tries {
    /// What.
    pub kind: Kind,
    /// How often.
    pub all: u64,
    /// How often it came as far as it was meant to. Of connections beyond what one address may
    /// have, that is no more than that they were begun.
    pub through: u64,
}

/// Actors at work. They stop with this value.
#[derive(Debug)]
pub struct Attack {
    stop: Arc<AtomicBool>,
    actors: Vec<(Kind, Arc<[AtomicU64; 2]>)>,
    threads: Vec<JoinHandle<()>>,
}

impl Attack {
    /// Lets all actors at all targets, in turns. `taken` is a stream's name.
    ///
    /// # Errors
    ///
    /// If the machine has no thread left.
    pub fn start(targets: &[Target], actors: &[Actor], taken: &str) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut attack = Self { stop, actors: Vec::new(), threads: Vec::new() };
        for actor in actors {
            let counts = Arc::<[AtomicU64; 2]>::default();
            attack.actors.push((actor.kind, Arc::clone(&counts)));
            let work = Work {
                actor: actor.clone(),
                targets: targets.to_vec(),
                taken: taken.to_owned(),
                stop: Arc::clone(&attack.stop),
                counts,
            };
            let thread = std::thread::Builder::new().name("attack".to_owned());
            let thread = thread.spawn(move || work.go());
            attack.threads.push(thread.map_err(|error| error.to_string())?);
        }
        Ok(attack)
    }

    /// How often each kind was tried so far.
    pub fn tries(&self) -> Vec<Tries> {
        let of = |(kind, counts): &(Kind, Arc<[AtomicU64; 2]>)| {
            let [all, through] = &**counts;
            let (all, through) = (all.load(Ordering::Relaxed), through.load(Ordering::Relaxed));
            Tries { kind: *kind, all, through }
        };
        self.actors.iter().map(of).collect()
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Should it have panicked, it has said so on its own.
            let _ = thread.join();
        }
    }
}

/// What one actor knows.
struct Work {
    actor: Actor,
    targets: Vec<Target>,
    taken: String,
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 2]>,
}

impl Work {
    fn go(&self) {
        match self.actor.kind {
            Kind::IdleConnection => connections::idle(self),
            Kind::GarbageHttp => connections::garbage(self),
            Kind::DeafReader => connections::deaf(self),
            Kind::Connection => connections::connect(self),
            Kind::GarbageWords => words::garbage(self),
            Kind::TakenName => words::taken_name(self),
            Kind::Datagram(sort) => datagrams::send(self, sort),
        }
    }

    /// Calls `attempt` at the actor's pace with the number of the try, until it is to stop. It
    /// answers with something if it came through.
    fn at_pace(&self, mut attempt: impl FnMut(u64) -> Option<()>) {
        let [all, through] = &*self.counts;
        let pace = Duration::from_secs(1) / self.actor.per_second.max(1);
        let mut due = Instant::now();
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if due > now {
                std::thread::sleep((due - now).max(TICK).min(10 * TICK));
                continue;
            }
            due = (due + pace).max(now.checked_sub(LAG_MAX).unwrap_or(now));
            let came = attempt(number);
            number += 1;
            all.fetch_add(1, Ordering::Relaxed);
            through.fetch_add(u64::from(came.is_some()), Ordering::Relaxed);
        }
    }

    /// The address from which a try comes.
    fn address(&self, number: u64) -> Ipv4Addr {
        let turn = number % u64::from(self.actor.addresses.max(1));
        let turn = u32::try_from(turn).unwrap_or_default();
        Ipv4Addr::from_bits(self.actor.first.to_bits().wrapping_add(turn))
    }

    fn target(&self, number: u64) -> Option<&Target> {
        let all = self.targets.len().max(1) as u64;
        self.targets.get(usize::try_from(number % all).unwrap_or_default())
    }
}

impl fmt::Display for Tries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {} came through", self.all, self.kind.name(), self.through)
    }
}

impl Kind {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::IdleConnection => "idle connections",
            Self::GarbageHttp => "garbage for HTTP",
            Self::GarbageWords => "garbage for WebSockets",
            Self::TakenName => "taken names",
            Self::DeafReader => "readers that do not read",
            Self::Datagram(Sort::Stun) => "datagrams like STUN",
            Self::Datagram(Sort::Hello) => "datagrams like a ClientHello",
            Self::Datagram(Sort::Rtp) => "datagrams like RTP",
            Self::Connection => "connections",
        }
    }
}
