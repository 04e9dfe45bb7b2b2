//! Viewers that come and go, one by one and each when its owner wants, and those whose streams they
//! watch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::Address;
use super::connection::Server;
use super::fleet::Fleet;
use super::profiles::Profile;
use super::publishers::{self, Publishers};
use super::receiver::Scrutiny;
use super::tls::Trust;
use super::viewer::{Ticket, Viewer};
use super::{make_room, shape, transport};

/// Viewers at once, with those who are about to go.
pub(crate) const VIEWERS_MAX: usize = 2_000;
/// One of so many packets is opened.
const SAMPLE: u32 = 64;

/// A viewer's place; whoever comes when it is gone may have the same.
pub(crate) type Place = usize;

/// Publishers, and the viewers of one or more servers, on the thread that calls.
#[derive(Debug)]
pub(crate) struct Audience {
    publishers: Publishers,
    names: Vec<String>,
    servers: Vec<Arc<Server>>,
    fleet: Fleet,
    patience: Duration,
}

/// How far a viewer has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// It has no picture yet.
    Waiting,
    /// It has, and had to wait for so long.
    Watching(Duration),
    /// It is over, for this reason.
    Over(String),
}

/// How a viewer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Farewell {
    /// It says goodbye.
    Goodbye,
    /// Its connection ends.
    Hangup,
    /// It is not heard of any more.
    Silence,
}

impl Audience {
    /// Publishes streams of these names at one server, for viewers at others.
    pub(crate) fn new(
        publish: &Address,
        names: Vec<String>,
        bitrate: u64,
        play: &[Address],
        patience: Duration,
    ) -> Result<Self, String> {
        make_room(VIEWERS_MAX)?;
        let clock = Instant::now();
        let server = |address: &Address| Server::new(address, &Trust::System);
        let source = publishers::source(bitrate);
        let at = server(publish)?;
        let publishers = Publishers::start(at, clock, names.clone(), shape(), source)?;
        let servers = play.iter().map(server).collect::<Result<_, _>>()?;
        let fleet = Fleet::new(clock, transport::Kind::new(shape(), Profile::Any));
        let fleet = fleet.map_err(|error| error.to_string())?;
        Ok(Self { publishers, names, servers, fleet, patience })
    }

    /// Why a publisher stopped, if one did; to be asked until nothing is answered.
    pub(crate) fn problem(&self) -> Option<String> {
        self.publishers.problem()
    }

    /// Carries bytes until then.
    pub(crate) fn run_until(&mut self, end: Instant) -> Result<(), String> {
        loop {
            self.fleet.turn(end).map_err(|error| error.to_string())?;
            if end <= Instant::now() {
                return Ok(());
            }
        }
    }

    /// Lets a viewer of one stream come to one server, both by number.
    pub(crate) fn come(&mut self, server: usize, stream: usize) -> Result<Place, String> {
        let names = self.names.len().max(1);
        let (name, server) = (self.names.get(stream % names), self.servers.get(server));
        let (Some(name), Some(server)) = (name, server) else {
            return Err("no such stream or server".to_owned());
        };
        let publisher = publishers::FIRST + u32::try_from(stream % names).unwrap_or_default();
        let ticket = Ticket {
            server: Arc::clone(server),
            stream: name.clone(),
            scrutiny: Scrutiny { publisher: Some(publisher), sample: SAMPLE, loss: 0.0, seed: 0 },
            patience: self.patience,
        };
        self.fleet.open(&ticket).ok_or_else(|| "the machine has no socket left".to_owned())
    }

    /// How far a viewer has come.
    pub(crate) fn state(&self, place: Place) -> State {
        let Some(viewer) = self.fleet.viewers.get(place) else {
            return State::Over("nobody was ever there".to_owned());
        };
        if let Some(why) = &viewer.ending {
            return State::Over(why.clone());
        }
        let picture = viewer.receiver().and_then(|receiver| receiver.first_key_frame);
        match picture {
            Some(at) => State::Watching(at.saturating_sub(viewer.times.opened)),
            None if viewer.times.opened + self.patience < self.fleet.at() => {
                State::Over("no picture in time".to_owned())
            }
            None => State::Waiting,
        }
    }

    /// For how long a viewer's picture stood still at most.
    pub(crate) fn longest_still(&self, place: Place) -> Duration {
        let receiver = self.fleet.viewers.get(place).and_then(Viewer::receiver);
        receiver.map_or(Duration::ZERO, |receiver| receiver.picture.longest(self.fleet.at()))
    }

    /// Lets a viewer go.
    pub(crate) fn go(&mut self, place: Place, farewell: Farewell) {
        self.fleet.part(place, |viewer, ground| match farewell {
            Farewell::Goodbye => viewer.leave(ground),
            Farewell::Hangup => viewer.vanish(ground),
            Farewell::Silence => viewer.fall_silent(ground),
        });
    }

    /// Gives up the place of a viewer that is over.
    pub(crate) fn vacate(&mut self, place: Place) {
        self.fleet.part(place, Viewer::vanish);
        self.fleet.vacate(place);
    }

    /// Packets that came to all viewers in the last second that is complete.
    pub(crate) fn packets(&self) -> u64 {
        let last = usize::try_from(self.fleet.at().as_secs()).unwrap_or_default().checked_sub(1);
        last.and_then(|last| self.fleet.tally.seconds.get(last)).map_or(0, |it| it.packets)
    }

    /// Packets that were no stream's, or were not as they had been sent.
    pub(crate) fn strange(&self) -> BTreeMap<&'static str, u64> {
        let tally = &self.fleet.tally;
        [
            ("not authentic", tally.refused),
            ("altered", tally.altered),
            ("of no track", tally.strange),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect()
    }
}
