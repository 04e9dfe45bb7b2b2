//! Who is served: an overloaded node, or one that is about to end, turns people away at the door,
//! so that those who are in do not notice.

use std::time::{Duration, Instant};

use super::{Node, SessionEntry};
use crate::access::Act;
use crate::id::{SessionId, ShardId};
use crate::message::{Door, Message, NodeState};
use crate::outbox::Ctx;
use crate::output::Event;
use crate::signal::Info;

/// How long what a shard said of its media counts: it says so once a second while it sends any.
const FRESH: Duration = Duration::from_secs(3);

/// What shard 0 knows of the node's load.
#[derive(Debug)]
pub(super) struct Load {
    /// Processor load of the host, per cent.
    pub(super) cpu_percent: u8,
    /// When each shard last said how many bit/s it sends, and what it said.
    sent: Vec<Option<(Instant, u64)>>,
    /// Sessions that are another node's link.
    pub(super) links: usize,
    /// What the connections of all shards were last told.
    door: Door,
    state: NodeState,
    draining: bool,
}

impl Load {
    pub(super) fn new(shards: usize) -> Self {
        let sent = vec![None; shards];
        let (door, state) = (Door::Open, NodeState::Active);
        Self { cpu_percent: 0, sent, links: 0, door, state, draining: false }
    }

    pub(super) fn note_sent(&mut self, now: Instant, shard: ShardId, bits_per_second: u64) {
        if let Some(sent) = self.sent.get_mut(usize::from(shard.0)) {
            *sent = Some((now, bits_per_second));
        }
    }

    /// Bit/s of media that all shards send.
    pub(super) fn bitrate_out(&self, now: Instant) -> u64 {
        let fresh = |at: Instant| now.saturating_duration_since(at) < FRESH;
        self.sent.iter().flatten().filter(|(at, _)| fresh(*at)).map(|(_, bits)| bits).sum()
    }
}

impl Node {
    /// Whether there is room for one more who publishes or plays, or what he is told. What a link
    /// brings is wanted here by viewers, and is refused only where nobody can come any more.
    pub(super) fn has_room(
        &self,
        ctx: &mut Ctx<'_>,
        session: SessionId,
        act: Act,
    ) -> Result<(), Info> {
        let Some(entry) = self.sessions.get(&session) else { return Err(Info::Failed) };
        match act {
            Act::Play => self.has_room_to_play(ctx)?,
            Act::Publish if entry.link.is_some() && !self.load.draining => {}
            Act::Publish => self.has_strength(ctx)?,
        }
        self.may_have_more(ctx, entry)
    }

    /// Whether the address of a session may have one more stream, or what he is told.
    fn may_have_more(&self, ctx: &mut Ctx<'_>, entry: &SessionEntry) -> Result<(), Info> {
        let (address, capacity) = (entry.remote.ip(), &ctx.config.settings.capacity);
        let few = (self.held.of(address) as u64) < capacity.streams;
        if few || !entry.counts() || capacity.exempts(address) {
            return Ok(());
        }
        let why = "too many streams of one address (address.streams)".to_owned();
        ctx.out.event(Event::Refused { remote: entry.remote, why });
        Err(Info::TooManyOfAddress)
    }

    /// Whether one more viewer may come, or what he is told.
    pub(super) fn has_room_to_play(&self, ctx: &Ctx<'_>) -> Result<(), Info> {
        let viewers = ctx.config.settings.capacity.viewers;
        if viewers.is_some_and(|most| self.plays.len() as u64 >= most) {
            return Err(Info::Full);
        }
        self.has_strength(ctx)
    }

    /// Whether somebody who has no session yet could come and play.
    pub(super) fn is_accepting(&self, ctx: &Ctx<'_>) -> bool {
        !self.has_all_sessions(ctx) && self.has_room_to_play(ctx).is_ok()
    }

    fn has_all_sessions(&self, ctx: &Ctx<'_>) -> bool {
        let sessions = (self.sessions.len() - self.load.links) as u64;
        ctx.config.settings.capacity.sessions.is_some_and(|most| sessions >= most)
    }

    fn has_strength(&self, ctx: &Ctx<'_>) -> Result<(), Info> {
        let capacity = &ctx.config.settings.capacity;
        let most = capacity.bitrate_out;
        if self.load.draining {
            Err(Info::ShuttingDown)
        } else if self.load.state == NodeState::Passive {
            Err(Info::Passive)
        } else if most.is_some_and(|most| self.load.bitrate_out(ctx.now) >= most)
            || capacity.cpu_percent.is_some_and(|most| self.load.cpu_percent >= most)
        {
            Err(Info::Full)
        } else {
            Ok(())
        }
    }

    /// Takes no session and no stream any more, and says so to whoever asks how this node is.
    pub(crate) fn drain(&mut self, ctx: &mut Ctx<'_>) {
        self.load.draining = true;
        self.mind_the_door(ctx);
    }

    /// Whether the node takes anybody new, as far as its operator decides that.
    pub(super) fn state(&self) -> NodeState {
        self.load.state
    }

    /// Has the node take nobody new, or somebody again. Whoever is here stays, and links bring what
    /// they bring: it can be taken back at any time.
    pub(super) fn enforce(&mut self, ctx: &mut Ctx<'_>, state: NodeState) {
        if self.load.state != state {
            self.load.state = state;
            ctx.out.event(Event::Accepting(state == NodeState::Active));
            self.mind_the_door(ctx);
        }
    }

    /// Whether anybody plays here, or at an edge what is pushed there from here.
    pub(crate) fn has_viewers(&self) -> bool {
        !self.plays.is_empty() || self.links.any_carries()
    }

    /// Tells the connections of all shards whom to let in, if that has changed.
    pub(super) fn mind_the_door(&mut self, ctx: &mut Ctx<'_>) {
        let door = if self.load.draining {
            Door::Draining
        } else if self.load.state == NodeState::Passive {
            Door::Passive
        } else if self.has_all_sessions(ctx) {
            Door::Full
        } else {
            Door::Open
        };
        if door != self.load.door {
            self.load.door = door;
            self.tell_all(ctx, || Message::Door(door));
        }
    }

    /// Has all shards say goodbye.
    pub(crate) fn leave(&self, ctx: &mut Ctx<'_>) {
        self.tell_all(ctx, || Message::Leave);
    }

    fn tell_all(&self, ctx: &mut Ctx<'_>, word: impl Fn() -> Message) {
        for shard in 0..u16::try_from(self.placed.len()).unwrap_or(u16::MAX) {
            ctx.out.post(ShardId(shard), word());
        }
    }
}
