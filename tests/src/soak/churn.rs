//! Viewers that come, look on for some seconds, and go in one of the ways that viewers have.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Plan;
use crate::load::{Audience, Farewell, Place, State};

/// Viewers at once. Beyond them nobody comes: then the machine is too slow for the plan.
const GUESTS_MAX: usize = 500;
/// How long they look on at most.
const STAY_MAX: Duration = Duration::from_secs(6);
/// How long those who go without a word keep their sockets: longer than a node waits for them.
const SILENCE: Duration = Duration::from_secs(20);
/// How long the others do.
const LINGER: Duration = Duration::from_millis(500);

/// What became of joins.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Joins {
    /// Viewers that got a picture.
    pub done: u64,
    /// Viewers that got none, or none any more while they wanted to see it, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Viewers of an edge that died.
    pub cut: u64,
    /// Viewers that did not come, because too many were there.
    pub held_back: u64,
    /// From connecting to the first key frame, of each that got one, in ms.
    pub waits: Vec<u32>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Churn {
    guests: Vec<Guest>,
    joins: Joins,
    pace: Duration,
    due: Instant,
    chance: fastrand::Rng,
}

#[derive(Debug)]
struct Guest {
    place: Place,
    edge: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Coming,
    Watching { until: Instant },
    Gone { until: Instant },
}

impl Joins {
    /// How many failed.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// How long so many thousandths of those that were done took at most, in ms.
    pub fn wait(&self, thousandths: usize) -> Option<u32> {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let rank = (waits.len() * thousandths).div_ceil(1_000).max(1);
        waits.get(rank - 1).copied()
    }
}

impl Churn {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            guests: Vec::new(),
            joins: Joins::default(),
            pace: Duration::from_secs(1) / plan.joins_per_second.max(1),
            due: Instant::now(),
            chance: fastrand::Rng::with_seed(plan.seed),
        }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.due = now;
    }

    /// Lets those come and go whose time has come. The second edge may be down.
    pub(super) fn turn(
        &mut self,
        audience: &mut Audience,
        edges: [usize; 2],
        both: bool,
    ) -> Result<(), String> {
        let now = Instant::now();
        while self.due <= now {
            self.due += self.pace;
            if self.guests.len() >= GUESTS_MAX {
                self.joins.held_back += 1;
                continue;
            }
            let [steady, mortal] = edges;
            let edge = if both && self.chance.bool() { mortal } else { steady };
            let place = audience.come(edge, self.chance.usize(..))?;
            self.guests.push(Guest { place, edge, stage: Stage::Coming });
        }
        let Self { guests, joins, chance, .. } = self;
        guests.retain_mut(|guest| guest.turn(now, audience, joins, chance));
        Ok(())
    }

    /// An edge is gone.
    pub(super) fn cut(&mut self, audience: &mut Audience, edge: usize) {
        let until = Instant::now() + LINGER;
        let there =
            |guest: &&mut Guest| guest.edge == edge && !matches!(guest.stage, Stage::Gone { .. });
        for guest in self.guests.iter_mut().filter(there) {
            self.joins.cut += 1;
            audience.go(guest.place, Farewell::Hangup);
            guest.stage = Stage::Gone { until };
        }
    }

    /// Lets all of them go, and keeps none of their sockets.
    pub(super) fn end(&mut self, audience: &mut Audience) {
        for guest in self.guests.drain(..) {
            if !matches!(guest.stage, Stage::Gone { .. }) {
                audience.go(guest.place, Farewell::Goodbye);
            }
            audience.vacate(guest.place);
        }
    }

    pub(super) fn joins(&self) -> Joins {
        self.joins.clone()
    }

    pub(super) fn line(&self) -> String {
        let Joins { done, cut, .. } = self.joins;
        let failed = self.joins.failures();
        format!("{} come and go, {done} joins, {failed} failed, {cut} cut", self.guests.len())
    }
}

impl Guest {
    /// Does what is due, and tells whether it needs its place any longer.
    fn turn(
        &mut self,
        now: Instant,
        audience: &mut Audience,
        joins: &mut Joins,
        chance: &mut fastrand::Rng,
    ) -> bool {
        if let Stage::Gone { until } = self.stage {
            if until <= now {
                audience.vacate(self.place);
            }
            return until > now;
        }
        match (audience.state(self.place), self.stage) {
            (State::Over(why), _) => {
                *joins.failed.entry(why).or_default() += 1;
                audience.go(self.place, Farewell::Hangup);
                self.stage = Stage::Gone { until: now };
            }
            (State::Watching(wait), Stage::Coming) => {
                joins.done += 1;
                joins.waits.push(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX));
                self.stage = Stage::Watching { until: now + STAY_MAX.mul_f64(chance.f64()) };
            }
            (State::Watching(_), Stage::Watching { until }) if until <= now => {
                let (farewell, until) = match chance.u8(..10) {
                    0 => (Farewell::Silence, SILENCE),
                    1..4 => (Farewell::Hangup, LINGER),
                    _ => (Farewell::Goodbye, LINGER),
                };
                audience.go(self.place, farewell);
                self.stage = Stage::Gone { until: now + until };
            }
            (State::Watching(_) | State::Waiting, _) => {}
        }
        true
    }
}
