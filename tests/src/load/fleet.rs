//! All viewers on one thread, and the loop that carries their bytes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::tally::Tally;
use super::track::Count;
use super::transport;
use super::viewer::{Ground, Intake, Ticket, Viewer, complaint};

const EVENTS_A_TURN: usize = 1_024;
/// Viewers that are called for what is due before sockets are looked at again.
const CALLS_A_TURN: usize = 256;

/// Viewers.
#[derive(Debug)]
pub(super) struct Fleet {
    clock: Instant,
    kind: transport::Kind,
    poll: Poll,
    reported: Events,
    intake: Intake,
    pub(super) viewers: Vec<Viewer>,
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
            calls: BinaryHeap::new(),
            stillborn: BTreeMap::new(),
            tally: Tally::default(),
        })
    }

    /// The time on the clock.
    pub(super) fn at(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Lets one more viewer come.
    pub(super) fn open(&mut self, ticket: &Ticket) {
        let index = self.viewers.len();
        let ground = ground(self.clock, &self.poll, &self.kind, &mut self.tally);
        match Viewer::open(&ground, ticket, Token(2 * index)) {
            Ok(viewer) => {
                self.calls.push(Reverse((viewer.due, index)));
                self.viewers.push(viewer);
            }
            Err(error) => *self.stillborn.entry(complaint(&error)).or_default() += 1,
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

    /// What was counted.
    pub(super) fn counted(&mut self) -> Count {
        let mut count = Count::default();
        for track in self.viewers.iter_mut().flat_map(Viewer::tracks) {
            count += track.counted();
        }
        count
    }

    /// Lets everybody leave.
    pub(super) fn leave(&mut self) {
        for viewer in self.viewers.iter_mut().filter(|viewer| viewer.ending.is_none()) {
            viewer.leave();
        }
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
