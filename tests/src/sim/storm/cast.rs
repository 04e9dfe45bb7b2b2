//! The people of a storm: each wants to publish or to play one stream at one node, and does what
//! people do when that does not work.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::browser::{Codec, Session, Shape, Source, Stream};
use crate::sim::Sim;
use crate::world::Party;

/// How long somebody waits before the next attempt.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long somebody waits for any word on what they asked for.
const PATIENCE: Duration = Duration::from_secs(7);

/// A stream of few packets: 15 pictures of two packets and 25 pieces of sound in a second.
const SOURCE: Source = Source {
    frame_interval: Duration::from_micros(66_667),
    packets_per_frame: 2,
    audio_interval: Duration::from_millis(40),
    key_frame_interval: None,
    video_bytes: 120,
};

/// Somebody who publishes or plays.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) node: usize,
    pub(super) name: String,
    pub(super) publishing: bool,
    pub(super) shape: Shape,
    pub(super) ip: IpAddr,
    /// Whether they want their stream to run.
    pub(super) wants: bool,
    /// Nothing is tried before.
    pub(super) away_until: Duration,
    /// The page of the latest attempt.
    pub(super) party: Option<Party>,
    /// When that began.
    pub(super) since: Duration,
    /// Every page they ever opened.
    pub(super) parties: Vec<Party>,
}

impl Actor {
    pub(super) fn new(nth: usize, node: usize, name: &str, publishing: bool) -> Self {
        let [.., high, low] = nth.to_be_bytes();
        Self {
            node,
            name: name.to_owned(),
            publishing,
            shape: Shape::audio_video(),
            ip: Ipv4Addr::new(10, 4, high, low).into(),
            wants: true,
            away_until: Duration::ZERO,
            party: None,
            since: Duration::ZERO,
            parties: Vec::new(),
        }
    }

    /// The same with one codec and these m-lines.
    #[must_use]
    pub(super) fn sending(mut self, shape: Shape, codec: Codec) -> Self {
        self.shape = shape.only(codec);
        self
    }

    pub(super) fn stream<'a>(&self, sim: &'a Sim) -> Option<&'a Stream> {
        let party = self.party.as_ref()?;
        sim.page(party.page).browser.stream(&party.id)
    }

    /// The last status and its reason.
    pub(super) fn standing<'a>(&self, sim: &'a Sim) -> (&'a str, &'a str) {
        self.stream(sim).map_or(("", ""), |stream| (stream.status(), stream.info()))
    }

    /// The number that is in what they publish now.
    pub(super) fn number(&self, sim: &Sim) -> Option<u32> {
        Some(sim.page(self.party.as_ref()?.page).browser.number())
    }

    /// Whether the stream runs, as far as the page knows.
    pub(super) fn is_running(&self, sim: &Sim) -> bool {
        let session = self.party.as_ref().map(|party| sim.page(party.page).browser.session());
        session == Some(Session::Established)
            && matches!(self.standing(sim).0, "PUBLISHING" | "PLAYING")
    }

    /// Whether the page says that it is over, or nothing for too long.
    pub(super) fn is_over(&self, sim: &Sim) -> bool {
        let Some(party) = &self.party else { return true };
        let silent = self.standing(sim).0 == "PENDING" && sim.elapsed() > self.since + PATIENCE;
        let lost = sim.page(party.page).browser.session() == Session::Disconnected;
        silent || lost || matches!(self.standing(sim).0, "FAILED" | "STOPPED" | "UNPUBLISHED")
    }

    /// Opens a page if one is wanted and there is none that works.
    pub(super) fn tend(&mut self, sim: &mut Sim) {
        let now = sim.elapsed();
        let rested = self.party.is_none() || now >= self.since + AGAIN_AFTER;
        if self.wants && now >= self.away_until && rested && self.is_over(sim) {
            self.open(sim);
        }
    }

    /// Opens a page in the place of the one before, if any.
    pub(super) fn open(&mut self, sim: &mut Sim) {
        self.leave(sim);
        let page = sim.add_browser_at(self.node, self.ip);
        sim.with_page(page, |_, page, _| page.browser.source = SOURCE);
        let party = if self.publishing {
            sim.publish_on(page, &self.name, self.shape.clone())
        } else {
            sim.play_on(page, &self.name, self.shape.clone())
        };
        self.since = sim.elapsed();
        self.parties.push(party.clone());
        self.party = Some(party);
    }

    /// Presses Stop.
    pub(super) fn stop(&mut self, sim: &mut Sim) {
        if let Some(party) = &self.party {
            sim.note(format_args!("p{} stops", party.page));
            sim.with_page(party.page, |now, page, _| page.browser.stop(now, &party.id));
        }
    }

    /// Closes the page.
    pub(super) fn leave(&mut self, sim: &mut Sim) {
        if let Some(party) = self.party.take() {
            sim.close_page(party.page);
        }
    }

    /// The machine loses its power.
    pub(super) fn vanish(&mut self, sim: &mut Sim) {
        if let Some(party) = self.party.take() {
            sim.lose_page(party.page);
        }
    }
}
