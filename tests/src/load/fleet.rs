//! All viewers on one thread, and the loop that carries their bytes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::connection::complaint;
use super::tally::Tally;
use super::track::Count;
use super::transport;
use super::viewer::{Ground, Intake, Seat, Ticket, Viewer};

const EVENTS_A_TURN: usize = 1_024;
/// Viewers that are called for what is due before sockets are looked at again.
const CALLS_A_TURN: usize = 1_024;
/// How long a server may take to hear that everybody leaves.
const FAREWELL: Duration = Duration::from_secs(3);

/// Viewers.
#[derive(Debug)]
pub(super) struct Fleet {
    clock: Instant,
    kind: transport::Kind,
    poll: Poll,
    reported: Events,
    intake: Intake,
    pub(super) viewers: Vec<Viewer>,
    /// Places of viewers who need them no more.
    vacant: Vec<usize>,
    /// When which viewer is to be called; only what the viewer itself says still counts.
    calls: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Why viewers could not even begin.
    stillborn: BTreeMap<String, usize>,
    pub(super) tally: Tally,
}

impl Fleet {
    /// No viewers yet. Times are told from `clock` on.
    pub(super) fn new(clock: Instant, kind: transport::Kind) -> io::Result<Self> {
        Ok(Self {
            clock,
            kind,
            poll: Poll::new()?,
            reported: Events::with_capacity(EVENTS_A_TURN),
            intake: Intake::default(),
            viewers: Vec::new(),
            vacant: Vec::new(),
            calls: BinaryHeap::new(),
            stillborn: BTreeMap::new(),
            tally: Tally::default(),
        })
    }

    /// The time on the clock.
    pub(super) fn at(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Lets one more viewer come. Answers with its place, if it could begin.
    pub(super) fn open(&mut self, ticket: &Ticket) -> Option<usize> {
        self.take(|ground, token| Viewer::open(ground, ticket, token))
    }

    /// Seats one more viewer.
    pub(super) fn seat(&mut self, seat: Seat) {
        self.take(|ground, token| Viewer::seat(ground, seat, token));
    }

    /// Lets one viewer go in its own way.
    pub(super) fn part(&mut self, place: usize, go: impl FnOnce(&mut Viewer, &Ground<'_>)) {
        let ground = ground(self.clock, &self.poll, &self.kind, &mut self.tally);
        if let Some(viewer) = self.viewers.get_mut(place) {
            go(viewer, &ground);
        }
    }

    /// Gives the place of a viewer that is over to the next one that comes.
    pub(super) fn vacate(&mut self, place: usize) {
        self.vacant.push(place);
    }

    fn take(
        &mut self,
        make: impl FnOnce(&Ground<'_>, Token) -> io::Result<Viewer>,
    ) -> Option<usize> {
        let index = self.vacant.last().copied().unwrap_or(self.viewers.len());
        let ground = ground(self.clock, &self.poll, &self.kind, &mut self.tally);
        match make(&ground, Token(2 * index)) {
            Ok(viewer) => {
                self.calls.push(Reverse((viewer.due, index)));
                match self.viewers.get_mut(index) {
                    Some(before) => *before = viewer,
                    None => self.viewers.push(viewer),
                }
                self.vacant.pop();
                Some(index)
            }
            Err(error) => {
                *self.stillborn.entry(complaint(&error)).or_default() += 1;
                None
            }
        }
    }

    /// Waits for something to do, but not beyond `end`, and does it.
    pub(super) fn turn(&mut self, end: Instant) -> io::Result<()> {
        let due = self.calls.peek().map_or(end, |Reverse((due, _))| end.min(*due));
        let wait = due.saturating_duration_since(Instant::now());
        match self.poll.poll(&mut self.reported, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => result?,
        }
        let mut ground = ground(self.clock, &self.poll, &self.kind, &mut self.tally);
        for event in &self.reported {
            let Token(number) = event.token();
            let Some(viewer) = self.viewers.get_mut(number / 2) else { continue };
            let due = viewer.due;
            ground.now = Instant::now();
            if number % 2 == 0 {
                viewer.tcp_ready(&mut ground);
            } else {
                viewer.udp_ready(&mut ground, &mut self.intake);
            }
            if viewer.due != due {
                self.calls.push(Reverse((viewer.due, number / 2)));
            }
        }
        for _ in 0..CALLS_A_TURN {
            ground.now = Instant::now();
            let Some(Reverse((due, index))) = self.calls.peek().copied() else { break };
            if due > ground.now {
                break;
            }
            self.calls.pop();
            // A viewer that is over needs no call, and one that changed its mind has another.
            let Some(viewer) = self.viewers.get_mut(index) else { continue };
            if viewer.ending.is_none() && viewer.due == due {
                viewer.timeout(&mut ground);
                self.calls.push(Reverse((viewer.due, index)));
            }
        }
        Ok(())
    }

    /// Viewers that got media.
    pub(super) fn joined(&self) -> usize {
        self.viewers.iter().filter(|viewer| viewer.joined()).count()
    }

    /// Viewers that have no media yet, but may still get some.
    pub(super) fn undecided(&self) -> usize {
        let undecided = |viewer: &&Viewer| viewer.ending.is_none() && !viewer.joined();
        self.viewers.iter().filter(undecided).count()
    }

    /// Viewers that are over, or never began.
    pub(super) fn over(&self) -> usize {
        let over = self.viewers.iter().filter(|viewer| viewer.ending.is_some()).count();
        over + self.stillborn.values().sum::<usize>()
    }

    /// Why viewers are over, and how many of them for each reason.
    pub(super) fn endings(&self) -> BTreeMap<String, usize> {
        let mut endings = self.stillborn.clone();
        for why in self.viewers.iter().filter_map(|viewer| viewer.ending.as_ref()) {
            *endings.entry(why.clone()).or_default() += 1;
        }
        endings
    }

    /// Counts packets from now on.
    pub(super) fn count(&mut self) {
        self.tally.measuring = true;
        self.viewers.iter_mut().flat_map(Viewer::tracks).for_each(|track| track.count());
    }

    /// Counts no packet that is sent from now on.
    pub(super) fn count_no_further(&mut self) {
        self.tally.measuring = false;
        let tracks = self.viewers.iter_mut().flat_map(Viewer::tracks);
        tracks.for_each(|track| track.count_no_further());
    }

    /// What was counted: of pictures, and of sound.
    pub(super) fn counted(&mut self) -> [Count; 2] {
        let [mut pictures, mut sound] = [Count::default(); 2];
        for track in self.viewers.iter_mut().flat_map(Viewer::tracks) {
            let of_kind = if track.codec.is_video() { &mut pictures } else { &mut sound };
            *of_kind += track.counted();
        }
        [pictures, sound]
    }

    /// Packets that came, but found no room in the viewers' sockets, as far as the kernel tells.
    pub(super) fn dropped(&self) -> u64 {
        let ports: BTreeSet<u16> = self.media_ports().into_iter().collect();
        let tables = ["/proc/net/udp", "/proc/net/udp6"];
        let tables = tables.iter().filter_map(|table| std::fs::read_to_string(table).ok());
        tables.map(|table| dropped(&table, &ports)).sum()
    }

    /// The SRTP profiles that viewers agreed on, and how many viewers each.
    pub(super) fn profiles(&self) -> BTreeMap<String, usize> {
        let mut profiles = BTreeMap::new();
        for receiver in self.viewers.iter().filter_map(Viewer::receiver) {
            *profiles.entry(format!("{:?}", receiver.profile())).or_default() += 1;
        }
        profiles
    }

    /// The ports of all viewers' UDP sockets.
    pub(super) fn media_ports(&self) -> Vec<u16> {
        self.viewers.iter().filter_map(Viewer::media_port).collect()
    }

    /// Lets everybody leave.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        let ground = ground(self.clock, &self.poll, &self.kind, &mut self.tally);
        for viewer in self.viewers.iter_mut().filter(|viewer| viewer.ending.is_none()) {
            viewer.leave(&ground);
        }
        // Nothing but goodbyes is due.
        self.calls.clear();
        let end = Instant::now() + FAREWELL;
        while !self.viewers.iter_mut().all(Viewer::be_gone) && Instant::now() < end {
            self.turn(end)?;
        }
        Ok(())
    }
}

/// A function and no method, so that viewers can be borrowed beside it.
fn ground<'g>(
    clock: Instant,
    poll: &'g Poll,
    kind: &'g transport::Kind,
    tally: &'g mut Tally,
) -> Ground<'g> {
    Ground { now: Instant::now(), clock, registry: poll.registry(), kind, tally }
}

/// Sums up what sockets of these ports dropped, by the kernel's table of sockets (proc(5)).
fn dropped(table: &str, ports: &BTreeSet<u16>) -> u64 {
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        let (_, port) = words.nth(1)?.rsplit_once(':')?;
        let ours = ports.contains(&u16::from_str_radix(port, 16).ok()?);
        let drops: u64 = words.next_back()?.parse().ok()?;
        ours.then_some(drops)
    };
    table.lines().skip(1).filter_map(of).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_those_of_the_viewers_sockets() {
        let socket = |port: &str, drops: u32| {
            format!(
                "  281: 0100007F:{port} 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                 0 0 2091 2 0000000000000000 {drops}\n"
            )
        };
        let head = "   sl  local_address rem_address   st tx_queue rx_queue … pointer drops\n";
        let sockets = [socket("1F90", 12), socket("1F91", 30), socket("1F92", 500)].concat();
        let table = &format!("{head}{sockets}");
        assert_eq!(dropped(table, &[0x1f90, 0x1f91, 7].into()), 42);
        assert_eq!(dropped("", &[0x1f90].into()), 0);
    }
}
