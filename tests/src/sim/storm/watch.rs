//! What must hold at every moment of a storm: whatever a page is told or shown has a reason.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Storm;
use super::cast::Actor;
use super::deeds::Whom;
use super::model::Model;
use crate::browser::{Message, Packet, Stream};

/// How old a packet may be when a viewer gets it: at each of three hops it may have been lost and
/// asked for again for a second, and in the worst weather it takes 0.6 s from one to the next.
const AGE_MAX: Duration = Duration::from_millis(4_800);
/// How long a stream may be without a picture where nothing was done to it.
const DARK_MAX: Duration = Duration::from_secs(3);
/// How long a viewer may have no keys yet although its node has: the last flight of DTLS may be
/// lost, and is repeated only when the one before it is, after a second, two, and four (RFC 6347,
/// section 4.2.4), and not each time.
const KEYLESS_MAX: Duration = Duration::from_secs(15);
/// How long it takes a stream to be where it is pushed, on a bad day.
const SPREAD: Duration = Duration::from_secs(4);

/// Key frames that one publisher may be asked for within [`REQUESTS_WITHIN`]: one in half a second,
/// and what the network pushed together.
const REQUESTS_MAX: usize = 13;
/// See [`REQUESTS_MAX`].
const REQUESTS_WITHIN: Duration = Duration::from_secs(5);

/// How far each page was looked at.
#[derive(Debug, Default)]
pub(super) struct Watch {
    messages: BTreeMap<usize, usize>,
    packets: BTreeMap<(usize, usize), usize>,
    /// When each page got its latest packet of video.
    newest: BTreeMap<usize, Duration>,
    /// Since when each page's stream runs, and whether it still does.
    running: BTreeMap<usize, (Duration, bool)>,
    ended: BTreeMap<usize, bool>,
}

impl Watch {
    /// When somebody last got a packet of video on the page that they have now.
    pub(super) fn newest(&self, actor: &Actor) -> Option<Duration> {
        self.newest.get(&actor.party.as_ref()?.page).copied()
    }

    /// Since when a page's stream runs without an end.
    fn runs_since(&self, page: usize) -> Option<Duration> {
        self.running.get(&page).and_then(|(since, runs)| runs.then_some(*since))
    }
}

impl Storm {
    /// Looks at everything that came since the last look.
    pub(super) fn glance(&mut self) {
        for index in 0..self.actors.len() {
            let Some(page) = self.actors.get(index).and_then(|a| Some(a.party.as_ref()?.page))
            else {
                continue;
            };
            self.hear(index, page);
            self.see(index, page);
            self.mind_the_dark(index, page);
            self.count_requests(index, page);
        }
    }

    /// A publisher is not asked for key frames more often than one viewer would.
    fn count_requests(&self, index: usize, page: usize) {
        let stream = self.actors.get(index).filter(|actor| actor.publishing);
        let Some(stream) = stream.and_then(|actor| actor.stream(&self.sim)) else { return };
        let requests = stream.key_frame_requests();
        let early = requests.len().checked_sub(REQUESTS_MAX + 1).and_then(|at| requests.get(at));
        if let (Some(early), Some(late)) = (early, requests.last()) {
            let span = late.saturating_duration_since(*early);
            assert!(span > REQUESTS_WITHIN, "p{page} is asked for key frames all the time");
        }
    }

    /// What a page was told.
    fn hear(&mut self, index: usize, page: usize) {
        let from = self.watch.messages.get(&page).copied().unwrap_or_default();
        let browser = &self.sim.page(page).browser;
        let news: Vec<Message> = browser.messages().get(from..).unwrap_or_default().to_vec();
        assert_eq!(browser.complaints(), [] as [&str; 0], "p{page}");
        self.watch.messages.insert(page, from + news.len());
        for message in news.iter().filter(|message| message.name == "notifyStreamStatusEvent") {
            let event = message.data.first();
            let text =
                |key: &str| event.and_then(|e| e.get(key)?.as_str()).unwrap_or_default().to_owned();
            let (status, info) = (text("status"), text("info"));
            let runs = matches!(status.as_str(), "PUBLISHING" | "PLAYING");
            let excused = runs || self.explains(index, &status, &info, message.at);
            assert!(
                excused,
                "p{page} was told {status} ({info}) for no reason: {}",
                self.circumstances(index)
            );
            let since = self.watch.running.get(&page).map_or(message.at, |(since, _)| *since);
            self.watch.running.insert(page, (since, runs));
        }
        let over = self.sim.page(page).ending.is_some();
        if over && self.watch.ended.insert(page, true).is_none() {
            let node = self.actors.get(index).map_or(0, |actor| actor.node);
            let excused =
                self.deeds.touched(Duration::ZERO, &[Whom::Actor(index), Whom::Node(node)]);
            let how = &self.sim.page(page).ending;
            assert!(excused, "p{page}'s session ended for no reason: {how:?}");
        }
    }

    /// Whether a stream may have ended like that.
    fn explains(&self, index: usize, status: &str, info: &str, at: Duration) -> bool {
        let Some(actor) = self.actors.get(index) else { return false };
        let own = [Whom::Actor(index), Whom::Node(actor.node)];
        let touched = |since, whom: &[Whom]| self.deeds.touched(since, whom);
        match (status, info) {
            ("STOPPED" | "UNPUBLISHED", "Stopped by user") => touched(Duration::ZERO, &own[..1]),
            ("FAILED", "Stopped by publisher stop") if !actor.publishing => {
                // What was left by a fault long ago may come to its end now.
                let since = Duration::ZERO;
                self.sources(actor).any(|(source, way)| {
                    let node = self.actors.get(source).map_or(0, |source| source.node);
                    let way = way.map(|(a, b)| Whom::Link(a, b));
                    let cone = [Whom::Actor(source), Whom::Node(node), Whom::Node(actor.node)];
                    touched(since, &cone) || way.is_some_and(|way| touched(since, &[way]))
                })
            }
            ("FAILED", "The publisher came back with another codec") if !actor.publishing => {
                self.sources(actor).count() > 1
            }
            ("FAILED", "Stream not found" | "Publish stream is not ready") if !actor.publishing => {
                // Of two sources, one may hold the name until its grace is over.
                let on_air = |source| self.is_on_the_air(source, actor.node, actor.since, at);
                let mut sources = self.sources(actor);
                sources.next().is_none_or(|(source, _)| !on_air(source)) || sources.next().is_some()
            }
            ("FAILED", "Stream name is already in use") if actor.publishing => {
                let same = |(other, _): (usize, _)| other != index;
                self.sources(actor).any(same) || touched(Duration::ZERO, &own)
            }
            (
                "FAILED",
                "Failed by ICE timeout" | "Failed by ICE keep alive" | "Failed by DTLS error",
            ) => touched(Duration::ZERO, &own),
            _ => false,
        }
    }

    /// What a reader needs to see whether a verdict is just.
    fn circumstances(&self, index: usize) -> String {
        let Some(actor) = self.actors.get(index) else { return String::new() };
        let mut text = format!("{} at n{} since {:?}", actor.name, actor.node, actor.since);
        for (source, _) in self.sources(actor) {
            let Some(other) = self.actors.get(source) else { continue };
            let page = other.party.as_ref().map(|party| party.page);
            let since = page.and_then(|page| self.watch.runs_since(page));
            text.push_str(&format!("; p{page:?} publishes it at n{} since {since:?}", other.node));
        }
        text
    }

    /// Those whose stream somebody may get, and the link that it comes over.
    fn sources(
        &self,
        actor: &Actor,
    ) -> impl Iterator<Item = (usize, Option<(usize, usize)>)> + use<'_> {
        let (node, name) = (actor.node, actor.name.clone());
        let model = Model::new(self.edges.clone());
        self.actors.iter().enumerate().filter_map(move |(index, source)| {
            let fits = source.publishing && source.name == name && model.feeds(source.node, node);
            let way = (source.node != node).then_some((source.node, node));
            fits.then_some((index, way))
        })
    }

    /// Whether a publisher's stream was without doubt at a node from some time on.
    fn is_on_the_air(&self, source: usize, node: usize, from: Duration, to: Duration) -> bool {
        let Some(actor) = self.actors.get(source) else { return false };
        let page = actor.party.as_ref().map(|party| party.page);
        let since = page.and_then(|page| self.watch.runs_since(page));
        // Its page may not know that its node does not know it any more.
        let Some(since) = since else { return false };
        let own = [Whom::Actor(source), Whom::Node(actor.node)];
        let way = [Whom::Node(node), Whom::Link(actor.node, node)];
        since + SPREAD <= from.min(to)
            && !self.deeds.touched(since, &own)
            && !self.deeds.touched(from.saturating_sub(2 * SPREAD), &way)
    }

    /// What a viewer was shown.
    fn see(&mut self, index: usize, page: usize) {
        let Some(actor) = self.actors.get(index).filter(|actor| !actor.publishing) else { return };
        let Some(stream) = actor.stream(&self.sim) else { return };
        let mut numbers = Vec::new();
        for (mid, track) in stream.tracks() {
            let from = self.watch.packets.get(&(page, *mid)).copied().unwrap_or_default();
            let news: &[Packet] = track.packets.get(from..).unwrap_or_default();
            self.watch.packets.insert((page, *mid), from + news.len());
            for packet in news {
                let Some(stamp) = packet.stamp else {
                    panic!("p{page} got a payload that nobody published")
                };
                let age = packet.at.saturating_sub(stamp.sent);
                assert!(age <= AGE_MAX + self.stale, "p{page} got a packet that was {age:?} old");
                if !numbers.contains(&stamp.publisher) {
                    numbers.push(stamp.publisher);
                }
            }
            if track.codec.is_video()
                && let Some(packet) = news.last()
            {
                self.watch.newest.insert(page, packet.at);
            }
        }
        for number in numbers {
            let known = self.sources(actor).any(|(source, _)| {
                let parties = self.actors.get(source).map_or(&[] as &[_], |source| &source.parties);
                parties.iter().any(|p| self.sim.page(p.page).browser.number() == number)
            });
            assert!(known, "p{page} plays {} and sees publisher {number}", actor.name);
        }
    }

    /// Whether anything was done lately to somebody, or to what they play.
    pub(super) fn is_excused(&self, index: usize) -> bool {
        let Some(actor) = self.actors.get(index) else { return true };
        let since = self.sim.elapsed().saturating_sub(Duration::from_secs(12));
        let own = [Whom::Actor(index), Whom::Node(actor.node)];
        self.deeds.touched(since, &own) || (!actor.publishing && self.sources_touched(actor, since))
    }

    fn sources_touched(&self, actor: &Actor, since: Duration) -> bool {
        self.sources(actor).any(|(source, way)| {
            let node = self.actors.get(source).map_or(0, |source| source.node);
            let link = way.map_or(Whom::Node(node), |(a, b)| Whom::Link(a, b));
            self.deeds.touched(since, &[Whom::Actor(source), Whom::Node(node), link])
        })
    }

    /// Where nothing was done to a stream, its viewers see it.
    fn mind_the_dark(&mut self, index: usize, page: usize) {
        let now = self.sim.elapsed();
        if self.actors.get(index).is_none_or(|actor| actor.publishing) {
            return;
        }
        let Some(since) = self.watch.runs_since(page) else { return };
        let newest = self.watch.newest.get(&page).copied().unwrap_or(since);
        let stream = self.actors.get(index).and_then(|actor| actor.stream(&self.sim));
        let waits_for_keys = stream.is_some_and(Stream::waits_for_keys);
        let dark_max = if waits_for_keys { KEYLESS_MAX } else { DARK_MAX };
        if now > newest.max(since) + dark_max && !self.is_excused(index) {
            let what = self.circumstances(index);
            panic!("p{page} plays, nothing was done, and it saw nothing since {newest:?}: {what}");
        }
    }
}
