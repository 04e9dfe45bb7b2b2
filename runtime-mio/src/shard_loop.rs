//! One shard and its sockets: wait, tell the shard, do what it asks, wait again.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use distributary_core::config::Config;
use distributary_core::{Event, Input, Output, SendBuffer, Shard, ShardId, ShardMessage};
use mio::{Events, Poll, Token};

use crate::mailbox;
use crate::node::{
    Inbox, Letter, Mailbox, MediaSockets, RunError, ShardStart, StartError, Wishes, log_event,
};
use crate::resolver::Resolver;
use crate::tcp::Tcp;
use crate::udp::Udp;

/// Batches of datagrams and letters taken in one turn, before the shard's answers go out.
const BATCHES_A_TURN: usize = 8;
const LETTERS_A_TURN: usize = 256;

/// After so long a turn takes in no more, whatever there is: handshakes cost much more than other
/// things, and what came with them waits to go on.
pub(crate) const TURN_TIME_MAX: Duration = Duration::from_millis(2);

/// What the kernel reports at once; the rest comes with the next turn.
const EVENTS_A_TURN: usize = 256;

const BELL: Token = Token(0);
/// The media socket's; those of further sockets follow, and then [`Tcp`]'s.
const FIRST_UDP: Token = Token(1);

/// One shard and its sockets.
#[derive(Debug)]
pub(crate) struct ShardLoop {
    id: ShardId,
    config: Arc<Config>,
    shard: Shard,
    send: SendBuffer,
    /// The segments that `send` was made for.
    segments: usize,
    poll: Poll,
    reported: Events,
    udp: Udp,
    /// Where the tokens of UDP end.
    first_tcp: usize,
    sockets: MediaSockets,
    tcp: Tcp,
    resolver: Resolver,
    mailbox: Mailbox,
    inbox: Inbox,
    events: Option<Sender<(ShardId, Event)>>,
    /// Whether a budget ran out in the last turn, so that there is more to do at once.
    more: bool,
    /// Whether the shard is drained, so that the loop ends with the last byte.
    drained: bool,
    wishes: Wishes,
}

impl ShardLoop {
    /// Makes a shard, and a loop around it.
    pub(crate) fn new(
        start: ShardStart,
        config: Arc<Config>,
        resolver: Resolver,
        events: Option<Sender<(ShardId, Event)>>,
        wishes: Wishes,
    ) -> Result<(Self, Mailbox), StartError> {
        let failed = |source| StartError::System { what: "cannot watch a socket", source };
        let ShardStart { id, media, sockets, listeners, seed, epoch } = start;
        let poll = Poll::new().map_err(failed)?;
        let (mailbox, inbox) = mailbox::open(poll.registry(), BELL).map_err(failed)?;
        let udp = Udp::new(media, poll.registry(), FIRST_UDP).map_err(failed)?;
        let first_tcp = FIRST_UDP.0 + 1 + config.limits.dial_sockets_max;
        let tcp = Tcp::new(listeners, poll.registry(), first_tcp).map_err(failed)?;
        let segments = udp.segments_max();
        let shard_loop = Self {
            id,
            shard: Shard::new(Arc::clone(&config), id, seed, epoch),
            config,
            send: SendBuffer::new(segments),
            segments,
            poll,
            reported: Events::with_capacity(EVENTS_A_TURN),
            udp,
            first_tcp,
            sockets,
            tcp,
            resolver,
            mailbox: mailbox.clone(),
            inbox,
            events,
            more: false,
            drained: false,
            wishes,
        };
        Ok((shard_loop, mailbox))
    }

    pub(crate) fn id(&self) -> ShardId {
        self.id
    }

    /// Runs until the shard is drained or halted.
    pub(crate) fn run(mut self, mailboxes: &[Mailbox]) -> Result<(), RunError> {
        let mut timer = self.carry_out(mailboxes)?;
        loop {
            self.wait(timer)?;
            let now = Instant::now();
            if timer.is_some_and(|deadline| deadline <= now) {
                self.shard.handle_input(now, Input::Timeout);
            }
            self.heed_reports(now);
            if self.take_letters(now) {
                return Ok(());
            }
            self.take_datagrams(now);
            self.tcp.turn(&mut self.shard, now);
            timer = self.carry_out(mailboxes)?;
            if self.drained && !self.tcp.is_flushing() {
                return Ok(());
            }
        }
    }

    /// Waits for a socket, a letter or a deadline; not at all while there is more to do.
    fn wait(&mut self, timer: Option<Instant>) -> Result<(), RunError> {
        let deadline =
            [timer, self.udp.deadline(), self.tcp.deadline()].into_iter().flatten().min();
        let time = if self.more || self.tcp.has_work() {
            Some(Duration::ZERO)
        } else {
            deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
        };
        match self.poll.poll(&mut self.reported, time) {
            // A signal came by; whatever is ready is still so.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result.map_err(RunError::Wait),
        }
    }

    fn heed_reports(&mut self, now: Instant) {
        for event in &self.reported {
            match event.token() {
                BELL => {} // The mailbox is looked into anyway.
                Token(token) if token < self.first_tcp => self.udp.heed(event),
                _ => self.tcp.heed(event, &mut self.shard, now),
            }
        }
    }

    /// Hands the shard its letters. Tells whether one of them says to halt.
    fn take_letters(&mut self, now: Instant) -> bool {
        self.inbox.open();
        for _ in 0..LETTERS_A_TURN {
            let input = match self.inbox.take() {
                Some(Letter::Message { from, message }) => Input::Message { from, message },
                Some(Letter::Command(command)) => Input::Command(command),
                Some(Letter::Resolved { lookup, addrs }) => {
                    let input = Input::Resolved { lookup, addrs: &addrs };
                    self.shard.handle_input(now, input);
                    continue;
                }
                Some(Letter::Halt) => return true,
                None => {
                    self.more = false;
                    return false;
                }
            };
            self.shard.handle_input(now, input);
            if now.elapsed() >= TURN_TIME_MAX {
                break;
            }
        }
        self.more = true;
        false
    }

    fn take_datagrams(&mut self, now: Instant) {
        for _ in 0..BATCHES_A_TURN {
            let Some(runs) = self.udp.receive() else { return };
            for (flow, bytes, stride) in runs {
                self.shard.handle_input(now, Input::Datagram { flow, bytes, stride });
            }
            if now.elapsed() >= TURN_TIME_MAX {
                break;
            }
        }
        self.more = true;
    }

    /// Does what the shard asks until it asks for nothing, or until the kernel has no room for
    /// datagrams; then it asks for nothing more before there is. Answers when to call it again.
    fn carry_out(&mut self, mailboxes: &[Mailbox]) -> Result<Option<Instant>, RunError> {
        let now = Instant::now();
        // The kernel may have turned out not to split runs.
        let segments = self.udp.segments_max();
        if segments < self.segments && self.udp.retry(&self.send, now) {
            self.segments = segments;
            self.send = SendBuffer::new(segments);
        }
        while self.udp.retry(&self.send, now) {
            match self.shard.poll_output(&mut self.send) {
                Output::Transmit(transmit) => {
                    let patience = self.config.limits.media_age_max;
                    self.udp.send(&self.send, transmit, now, patience);
                }
                Output::Write(conn) => self.tcp.write(conn, &mut self.shard, now),
                Output::Connect { conn, addr } => {
                    self.tcp.dial(conn, addr, &mut self.shard, now);
                }
                Output::Close { conn, how } => self.tcp.close(conn, how, &mut self.shard, now),
                Output::Resolve { lookup, host } => {
                    self.resolver.resolve(lookup, host, &self.mailbox);
                }
                Output::Reload { wish } => self.wishes.wish(self.id, wish),
                Output::Bind { socket } => {
                    let registry = self.poll.registry();
                    let opened = self.sockets.open();
                    let port = opened.and_then(|opened| self.udp.add(opened, registry));
                    let port = port
                        .inspect_err(|error| tracing::warn!(%error, "cannot open a UDP socket"))
                        .ok();
                    self.shard.handle_input(now, Input::Bound { socket, port });
                }
                Output::Post { to, message } => self.post(to, message, mailboxes)?,
                Output::Event(event) => self.tell(event),
                Output::Timeout(deadline) => return Ok(deadline),
            }
        }
        Ok(None)
    }

    fn post(
        &self,
        to: ShardId,
        message: ShardMessage,
        mailboxes: &[Mailbox],
    ) -> Result<(), RunError> {
        let mailbox = mailboxes.get(usize::from(to.0)).expect("shards know how many they are");
        mailbox
            .post(Letter::Message { from: self.id, message })
            .map_err(|_| RunError::MailboxFull { to })
    }

    fn tell(&mut self, event: Event) {
        log_event(self.id, &event);
        self.drained |= event == Event::Drained;
        if let Some(events) = &self.events
            && events.send((self.id, event)).is_err()
        {
            self.events = None;
        }
    }
}
