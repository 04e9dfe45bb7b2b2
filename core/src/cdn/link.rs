//! The link to one edge: a session like a page's, seen from the page's end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::config::EdgeNode;
use crate::dialer::{Dialer, Numbers, Purpose, Target};
use crate::id::{PeerId, StreamId};
use crate::limits::Limits;
use crate::outbox::Ctx;
use crate::output::{Event, Linger};
use crate::signal;
use crate::signal::reply::{self, Reply};
use crate::stream::{Incoming, tls};

/// One edge, and what goes there.
#[derive(Debug)]
pub(super) struct Link {
    /// Its number in `loadbalancing.xml`.
    pub(super) node: u32,
    pub(super) dialer: Dialer,
    phase: Phase,
    backoff: Duration,
    /// What was said of the link since it was up, so that an edge that stays down is one line in
    /// the log, or two.
    reported: Reported,
    /// Whether the edge said in the dialogue that it does not take the link.
    refused: bool,
    /// Until when it stays at most, if the file does not name the edge any more: its viewers have
    /// so long to leave.
    pub(super) leaving: Option<Instant>,
    pub(super) relays: BTreeMap<StreamId, Relay>,
    /// Names that the edge may still have from before the link broke.
    pub(super) left_behind: BTreeSet<String>,
    /// What the file says of the edge.
    settings: EdgeNode,
}

/// One stream on its way to one edge.
#[derive(Debug)]
pub(super) struct Relay {
    /// The `mediaSessionId` that the edge knows it by.
    pub(super) media_session: String,
    pub(super) phase: RelayPhase,
}

#[derive(Debug)]
pub(super) enum RelayPhase {
    /// The offer is being made, or the edge's answer is awaited.
    Offering { peer: PeerId, deadline: Instant },
    /// The edge answered; its media path is not up yet, for all we know.
    Connecting { peer: PeerId, deadline: Instant },
    /// The edge says that it publishes the stream.
    Up { peer: PeerId },
    /// It did not work; the next try is due then.
    Retry { at: Instant },
}

/// What is worth a line in the log: that a link is down, and then once that its edge wants none of
/// it, which time will not mend.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Reported {
    Nothing,
    Down,
    Refused,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Waits before it dials again.
    Down {
        until: Instant,
    },
    /// Name, TCP, TLS, upgrade and `connection` are under way.
    Opening {
        deadline: Instant,
    },
    Up {
        since: Instant,
        heard: Instant,
        ping: Instant,
    },
}

/// What a link made of what came in.
#[derive(Debug)]
pub(super) enum News {
    /// The session is ESTABLISHED.
    Up,
    Answer {
        media_session: String,
        sdp: String,
    },
    Status {
        media_session: String,
        status: String,
        info: String,
    },
}

impl Link {
    pub(super) fn new(ctx: &Ctx<'_>, node: &EdgeNode) -> Self {
        let roots = &ctx.config.link_roots;
        let pinned = node.fingerprint.map(|fingerprint| fingerprint.0);
        let tls = node.secure.then(|| tls::client_config(roots, pinned, ctx.clock.clone()));
        let target = Target {
            host: node.host.clone(),
            port: node.link_port().get(),
            tls,
            purpose: Purpose::WebSocket,
        };
        Self {
            node: node.id,
            dialer: Dialer::new(target),
            phase: Phase::Down { until: ctx.now },
            backoff: ctx.config.limits.link_backoff_min,
            reported: Reported::Nothing,
            refused: false,
            leaving: None,
            relays: BTreeMap::new(),
            left_behind: BTreeSet::new(),
            settings: node.clone(),
        }
    }

    /// Whether both links lead to one edge by one way, wherever in the file it stands.
    pub(super) fn leads_where(&self, other: &Self) -> bool {
        let (a, b) = (&self.settings, &other.settings);
        let way = |node: &EdgeNode| (node.link_port(), node.secure, node.fingerprint);
        a.host == b.host && way(a) == way(b)
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up { .. })
    }

    /// Whether the edge has a stream, by its own word.
    pub(super) fn carries(&self, stream: StreamId) -> bool {
        let relay = self.relays.get(&stream);
        self.is_up() && relay.is_some_and(|relay| matches!(relay.phase, RelayPhase::Up { .. }))
    }

    /// How many more offers may be made to the edge now.
    pub(super) fn room(&self, limits: &Limits) -> usize {
        let offering = |relay: &&Relay| matches!(relay.phase, RelayPhase::Offering { .. });
        limits.relays_offering_max.saturating_sub(self.relays.values().filter(offering).count())
    }

    /// Says something that may be left out when the edge reads slowly.
    pub(super) fn say_if_room(&mut self, ctx: &mut Ctx<'_>, text: &str) -> Result<(), String> {
        if self.dialer.outgoing().len() > ctx.config.limits.outgoing_bytes_max / 2 {
            return Ok(());
        }
        self.say(ctx, text)
    }

    pub(super) fn find(&mut self, media_session: &str) -> Option<(StreamId, &mut Relay)> {
        let mut relays = self.relays.iter_mut();
        let found = relays.find(|(_, relay)| relay.media_session == media_session)?;
        Some((*found.0, found.1))
    }

    pub(super) fn next_timeout(&self, limits: &Limits) -> Option<Instant> {
        let own = match self.phase {
            Phase::Down { until } => until,
            Phase::Opening { deadline } => deadline,
            Phase::Up { heard, ping, .. } => ping.min(heard + limits.link_silence_timeout),
        };
        let relays = self.relays.values().filter_map(|relay| match relay.phase {
            RelayPhase::Offering { deadline, .. } | RelayPhase::Connecting { deadline, .. } => {
                Some(deadline)
            }
            RelayPhase::Retry { at } => Some(at),
            RelayPhase::Up { .. } => None,
        });
        relays.chain([own]).chain(self.leaving).min()
    }

    /// Dials, pings or gives up, whichever is due; an error is why the link is down now.
    pub(super) fn handle_timeout(
        &mut self,
        ctx: &mut Ctx<'_>,
        numbers: &mut Numbers,
    ) -> Result<(), String> {
        let limits = &ctx.config.limits;
        match &mut self.phase {
            Phase::Down { until } if ctx.now >= *until => {
                self.phase = Phase::Opening { deadline: ctx.now + limits.link_connect_timeout };
                self.refused = false;
                self.dialer.start(ctx, numbers);
                Ok(())
            }
            Phase::Opening { deadline } if ctx.now >= *deadline => {
                Err("it did not answer in time".to_owned())
            }
            Phase::Up { heard, .. } if ctx.now >= *heard + limits.link_silence_timeout => {
                Err("it went silent".to_owned())
            }
            Phase::Up { ping, .. } if ctx.now >= *ping => {
                *ping = ctx.now + limits.link_ping_interval;
                self.say(ctx, &signal::ping())
            }
            Phase::Down { .. } | Phase::Opening { .. } | Phase::Up { .. } => Ok(()),
        }
    }

    /// Takes what the dialer read.
    pub(super) fn handle(
        &mut self,
        ctx: &mut Ctx<'_>,
        incoming: VecDeque<Incoming>,
        news: &mut Vec<News>,
    ) -> Result<(), String> {
        for incoming in incoming {
            if let Phase::Up { heard, .. } = &mut self.phase {
                *heard = ctx.now;
            }
            match incoming {
                Incoming::Opened => self.say(ctx, &signal::connection(&ctx.config.node))?,
                Incoming::Text(text) => self.read(ctx, &text, news)?,
                Incoming::Closed => return Err("the edge closed the link".to_owned()),
                Incoming::Request(_) | Incoming::Upgrade(_) | Incoming::Response { .. } => {}
            }
        }
        Ok(())
    }

    fn read(&mut self, ctx: &mut Ctx<'_>, text: &str, news: &mut Vec<News>) -> Result<(), String> {
        match reply::parse(text).ok_or("it does not speak our protocol")? {
            Reply::UserData => {
                if let Phase::Opening { .. } = self.phase {
                    let ping = ctx.now + ctx.config.limits.link_ping_interval;
                    self.phase = Phase::Up { since: ctx.now, heard: ctx.now, ping };
                    self.reported = Reported::Nothing;
                    ctx.out.event(Event::LinkUp { node: self.node });
                    news.push(News::Up);
                }
            }
            Reply::Ping => self.say(ctx, &signal::pong())?,
            Reply::RemoteSdp { media_session, sdp } => {
                news.push(News::Answer { media_session, sdp });
            }
            Reply::Status { media_session, status, info } => {
                news.push(News::Status { media_session, status, info });
            }
            // Whoever is not taken is told so before goodbye.
            Reply::Fail { info } if matches!(self.phase, Phase::Opening { .. }) => {
                self.refused = true;
                return Err(format!("the edge refused the link: {info}"));
            }
            Reply::Fail { info } => {
                tracing::warn!(node = self.node, info, "the edge could not use a message");
            }
            Reply::Pong | Reply::Other => {}
        }
        Ok(())
    }

    pub(super) fn say(&mut self, ctx: &mut Ctx<'_>, text: &str) -> Result<(), String> {
        self.dialer.say(ctx, text)
    }

    /// Takes the link down and plans the next try. The jitter keeps the nodes that one edge lost
    /// from coming back all at once.
    pub(super) fn break_off(&mut self, ctx: &mut Ctx<'_>, why: String) {
        self.dialer.stop(ctx, Linger::Abort);
        let limits = &ctx.config.limits;
        // One that breaks as soon as it is up is no better than one that does not come up.
        if let Phase::Up { since, .. } = self.phase
            && ctx.now >= since + limits.link_settle_time
        {
            self.backoff = limits.link_backoff_min;
        }
        let half = self.backoff / 2;
        let jitter = half.mul_f64(f64::from(u16::from_be_bytes(ctx.rng.bytes())) / 65_536.0);
        self.phase = Phase::Down { until: ctx.now + half + jitter };
        self.backoff = (self.backoff * 2).min(limits.link_backoff_max);
        let refused = self.refused || self.dialer.is_refused();
        let news = if refused { Reported::Refused } else { Reported::Down };
        if news > self.reported {
            self.reported = news;
            ctx.out.event(Event::LinkDown { node: self.node, why });
        }
    }
}
