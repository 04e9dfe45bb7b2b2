//! What can go wrong in a storm, and how a seed chooses among it.

use std::time::Duration;

use super::cast::Actor;
use super::deeds::Whom;
use super::{CLOCKS_APART, STORM_ENDS, Storm, has_keys};
use crate::browser::{Codec, Shape};
use crate::sim::{MEDIA_PORT, Names, Network};

/// One kind of thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Weather,
    Crash,
    PowerFailure,
    Freeze,
    ClockJump,
    PartedNodes,
    BrokenLink,
    PartedActor,
    BrokenPage,
    LostMachine,
    Stop,
    Leave,
    Rival,
    Names,
    NoSockets,
    LostLetters,
    Reload,
    Noise,
    KeyFrames,
    Words,
}

impl Fault {
    const ALL: [Self; 20] = [
        Self::Weather,
        Self::Crash,
        Self::PowerFailure,
        Self::Freeze,
        Self::ClockJump,
        Self::PartedNodes,
        Self::BrokenLink,
        Self::PartedActor,
        Self::BrokenPage,
        Self::LostMachine,
        Self::Stop,
        Self::Leave,
        Self::Rival,
        Self::Names,
        Self::NoSockets,
        Self::LostLetters,
        Self::Reload,
        Self::Noise,
        Self::KeyFrames,
        Self::Words,
    ];

    /// One of all kinds.
    pub(super) fn nth(n: u8) -> Self {
        Self::ALL.get(usize::from(n) % Self::ALL.len()).copied().unwrap_or(Self::Weather)
    }

    /// Half of all kinds: what happens rarely shows more where less else happens.
    pub(super) fn choose(random: &mut super::Random) -> Vec<Self> {
        let mut chosen: Vec<Self> = Self::ALL.into_iter().filter(|_| random.chance(500)).collect();
        if chosen.is_empty() {
            chosen.push(Self::Weather);
        }
        chosen
    }
}

/// What ends a fault that lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Relief {
    Start(usize),
    JoinNodes(usize, usize),
    JoinActor(usize),
    RightNames,
}

/// With TCP in pieces smaller than this, offers of streams that are pushed again take seconds: each
/// piece may be lost.
const CRUMBS: usize = 400;
/// So they do with a window smaller than this, which the offers of three streams do not fit in:
/// each rest waits for a way there and back.
const NARROW: usize = 8_000;

impl Storm {
    /// Does something bad, or something that people do.
    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Weather => {
                let network = self.weather();
                self.sim.network = network;
                self.sim.note(format_args!("weather: {network:?}"));
                if network.chunk_max < CRUMBS || network.window < NARROW {
                    self.blame_links();
                }
            }
            Fault::Crash | Fault::PowerFailure => self.end_node(fault == Fault::PowerFailure),
            Fault::Freeze | Fault::ClockJump => self.disturb_node(fault == Fault::Freeze),
            Fault::PartedNodes => self.part_nodes(),
            Fault::BrokenLink => {
                if let Some((a, b)) = self.two_nodes() {
                    self.break_link(a, b);
                }
            }
            Fault::PartedActor => self.part_actor(),
            Fault::BrokenPage | Fault::LostMachine | Fault::Stop | Fault::Leave => {
                self.end_page(fault);
            }
            Fault::Rival => self.rival(),
            Fault::Names => {
                let names = [Names::Unknown, Names::Wrong, Names::WrongFirst];
                self.sim.names = self.pick(&names).unwrap_or_default();
                self.sim.lookup_delay = self.random.span(Duration::from_secs(3));
                self.blame_links();
                self.later(3_000, Relief::RightNames);
            }
            Fault::NoSockets => {
                self.sim.binds_refused = 1 + self.below(3) as u32;
                // Each refusal puts a relay off by a second.
                self.blame_links();
            }
            Fault::LostLetters => {
                self.sim.letters_lost_per_mille = self.below(50) as u16;
            }
            Fault::Reload => {
                let node = self.below(self.plan.nodes);
                let read = self.sim.reload(node);
                assert_eq!(read, Ok(()), "they are as they were");
            }
            Fault::Noise => self.noise(),
            Fault::KeyFrames => self.ask_for_key_frame(),
            Fault::Words => self.say_something(),
        }
    }

    /// Ends what is to end by now.
    pub(super) fn relieve(&mut self, all: bool) {
        let now = self.sim.elapsed();
        let reliefs = std::mem::take(&mut self.reliefs);
        let (due, later): (Vec<_>, _) = reliefs.into_iter().partition(|(at, _)| all || *at <= now);
        self.reliefs = later;
        for (_, relief) in due {
            match relief {
                Relief::Start(node) => self.sim.start_node(node),
                Relief::JoinNodes(a, b) => {
                    self.sim.set_cut(self.sim.node_ip(a), self.sim.node_ip(b), false);
                }
                Relief::JoinActor(actor) => {
                    if let Some(actor) = self.actors.get(actor) {
                        self.sim.set_cut(actor.ip, self.sim.node_ip(actor.node), false);
                    }
                }
                Relief::RightNames => {
                    self.sim.names = Names::Right;
                    self.sim.lookup_delay = Duration::ZERO;
                    self.blame_links();
                }
            }
        }
    }

    fn later(&mut self, within_ms: usize, relief: Relief) -> Duration {
        let wait = Duration::from_millis(50 + self.below(within_ms) as u64);
        self.reliefs.push((self.sim.elapsed() + wait, relief));
        wait
    }

    fn blame(&mut self, whom: Whom) {
        self.deeds.add(self.sim.elapsed(), whom);
    }

    /// What happens to no link by itself, but keeps what broke from being mended.
    fn blame_links(&mut self) {
        for (a, b) in self.links() {
            self.blame(Whom::Link(a, b));
        }
    }

    /// A network that is worse than it should be, but lets a stream through.
    fn weather(&mut self) -> Network {
        let random = &mut self.random;
        let ms = |ms| Duration::from_millis(ms);
        Network {
            delay: ms(1) + random.span(ms(60)),
            jitter: random.span(ms(40)),
            loss_per_mille: random.below(50) as u16,
            duplicates_per_mille: random.below(30) as u16,
            detours_per_mille: random.below(20) as u16,
            detour: random.span(ms(200)),
            bandwidth: random.chance(300).then(|| 60_000 + random.below(200_000) as u32),
            queue: ms(20) + random.span(ms(300)),
            chunk_max: 1 + random.below(1460),
            window: 2_000 + random.below(62_000),
        }
    }

    fn end_node(&mut self, power: bool) {
        let node = self.below(self.plan.nodes);
        if !self.sim.is_up(node) {
            return;
        }
        self.blame(Whom::Node(node));
        self.blame(Whom::Memory(node));
        if power {
            self.sim.darken_node(node);
        } else {
            self.sim.kill_node(node);
        }
        if self.random.chance(300) {
            self.sim.replace_disk(node);
        }
        if self.random.chance(300) {
            let day = Duration::from_secs(24 * 3600);
            let off = self.random.span(10 * day);
            let off = if has_keys(self.sim.seed()) { off.min(CLOCKS_APART) } else { off };
            self.sim.set_calendar(node, off);
        }
        self.later(2_500, Relief::Start(node));
    }

    fn disturb_node(&mut self, freeze: bool) {
        let node = self.below(self.plan.nodes);
        let span = Duration::from_millis(20) + self.random.span(Duration::from_millis(2_500));
        let span = span.min(STORM_ENDS.saturating_sub(self.sim.elapsed()));
        self.blame(Whom::Node(node));
        self.stale += span;
        if freeze {
            self.sim.freeze_node(node, span);
        } else {
            self.sim.jump_clock(node, span);
        }
    }

    fn part_nodes(&mut self) {
        let Some((a, b)) = self.two_nodes() else { return };
        let (a_ip, b_ip) = (self.sim.node_ip(a), self.sim.node_ip(b));
        match self.below(3) {
            0 => self.sim.set_cut_one_way(a_ip, b_ip, true),
            1 => self.sim.set_cut_one_way(b_ip, a_ip, true),
            _ => self.sim.set_cut(a_ip, b_ip, true),
        }
        self.later(3_500, Relief::JoinNodes(a, b));
        // Two cuts in a row, and a dial that ran into them, can outlast the grace.
        self.blame(Whom::Link(a, b));
    }

    /// Once is no excuse: a link is back long before its grace is over, and before a viewer minds.
    fn break_link(&mut self, a: usize, b: usize) {
        self.sim.break_tcp(a, b);
        let wire = Whom::Wire(a, b);
        let lately = self.sim.elapsed().saturating_sub(Duration::from_secs(6));
        if self.deeds.touched(lately, &[wire]) {
            self.blame(Whom::Link(a, b));
        }
        self.blame(wire);
    }

    fn part_actor(&mut self) {
        let index = self.below(self.actors.len());
        let Some(actor) = self.actors.get(index) else { return };
        let (actor_ip, node_ip) = (actor.ip, self.sim.node_ip(actor.node));
        self.blame(Whom::Actor(index));
        match self.below(3) {
            0 => self.sim.set_cut_one_way(actor_ip, node_ip, true),
            1 => self.sim.set_cut_one_way(node_ip, actor_ip, true),
            _ => self.sim.set_cut(actor_ip, node_ip, true),
        }
        self.later(3_000, Relief::JoinActor(index));
    }

    fn end_page(&mut self, fault: Fault) {
        let index = self.below(self.actors.len());
        let away = self.sim.elapsed() + self.random.span(Duration::from_secs(4));
        self.blame(Whom::Actor(index));
        let Some(actor) = self.actors.get_mut(index) else { return };
        actor.away_until = away;
        if fault == Fault::Stop {
            actor.stop(&mut self.sim);
        } else if fault == Fault::Leave {
            actor.leave(&mut self.sim);
        } else if fault == Fault::LostMachine {
            actor.vanish(&mut self.sim);
        } else if let Some(party) = &actor.party {
            self.sim.break_page(party.page);
        }
    }

    /// Somebody publishes under a name that is another's.
    fn rival(&mut self) {
        let publishers = self.actors.iter().filter(|actor| actor.publishing && actor.wants);
        let names: Vec<(usize, String)> =
            publishers.map(|actor| (actor.node, actor.name.clone())).collect();
        let Some((home, name)) = self.pick(&names) else { return };
        let node = if self.random.chance(500) { home } else { self.below(self.plan.nodes) };
        let index = self.actors.len();
        let codec = self.pick(&[Codec::Vp8, Codec::H264]).unwrap_or(Codec::Vp8);
        let mut actor = Actor::new(index, node, &name, true).sending(Shape::audio_video(), codec);
        self.blame(Whom::Actor(index));
        actor.open(&mut self.sim);
        // One attempt only.
        actor.wants = false;
        self.rivals.push(index);
        self.actors.push(actor);
    }

    /// Datagrams of nobody, and some that seem to be somebody's.
    fn noise(&mut self) {
        let node = self.below(self.plan.nodes);
        let to = std::net::SocketAddr::new(self.sim.node_ip(node), MEDIA_PORT);
        for _ in 0..20 {
            let actor = self.below(self.actors.len());
            let ip = self.actors.get(actor).map(|actor| actor.ip);
            let stranger = std::net::Ipv4Addr::new(10, 99, 0, 1).into();
            let ip = ip.filter(|_| self.random.chance(500)).unwrap_or(stranger);
            let first = self.pick(&[0, 1, 20, 22, 23, 63, 64, 128, 129, 144, 191, 255]);
            let length = 1 + self.below(200);
            let mut bytes: Vec<u8> = (0..length).map(|_| self.random.number() as u8).collect();
            if let (Some(byte), Some(first)) = (bytes.first_mut(), first) {
                *byte = first;
            }
            let port = 40_001 + self.below(2_000) as u16;
            self.sim.inject((ip, port).into(), to, &bytes);
        }
    }

    fn ask_for_key_frame(&mut self) {
        let index = self.below(self.actors.len());
        if let Some(party) = self.actors.get(index).and_then(|actor| actor.party.clone()) {
            self.sim.with_page(party.page, |now, page, _| {
                page.browser.ask_for_key_frame(now, &party.id);
            });
        }
    }

    fn say_something(&mut self) {
        let index = self.below(self.actors.len());
        let kind = self.pick(&["audioMuted", "audioUnmuted", "videoMuted", "data"]);
        let party = self.actors.get(index).and_then(|actor| actor.party.clone());
        if let (Some(party), Some(kind)) = (party, kind) {
            let payload = (kind == "data").then(|| serde_json::json!({"n": index}));
            self.sim.with_page(party.page, |_, page, _| {
                page.browser.send_event(&party.id, kind, payload);
            });
        }
    }

    fn two_nodes(&mut self) -> Option<(usize, usize)> {
        let links = self.links();
        self.pick(&links)
    }
}
