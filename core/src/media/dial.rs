//! Sockets for the peers that this shard dials.
//!
//! All peers of an edge's shard share one media port there. Two streams pushed to it from one
//! socket of ours would share both addresses, and nothing in a DTLS record tells two handshakes
//! apart. So one socket carries at most one peer to each node; sockets are reused across nodes and
//! never closed.

use std::collections::VecDeque;
use std::time::Instant;

use super::Formats;
use crate::id::{PeerId, ShardId, SocketId, StreamId};
use crate::outbox::Ctx;
use crate::output::Output;

/// A peer that is to be dialed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) peer: PeerId,
    /// The node's number in `loadbalancing.xml`.
    pub(crate) node: u32,
    pub(crate) stream: StreamId,
    pub(crate) home: ShardId,
    pub(crate) formats: Formats,
}

/// The sockets, and who waits for one.
#[derive(Debug, Default)]
pub(crate) struct DialSockets {
    sockets: Vec<Socket>,
    waiting: VecDeque<(Request, usize)>,
}

#[derive(Debug)]
struct Socket {
    state: State,
    users: Vec<User>,
    /// Those who left: their node may take what comes from here for theirs for a while.
    before: Vec<(User, Instant)>,
}

/// Who has a socket, or had it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct User {
    peer: PeerId,
    node: u32,
    stream: StreamId,
}

/// How fit a free socket is for a request, the fittest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fitness {
    /// The node knows nobody there, or whose place the new peer takes.
    Fit,
    /// There is still one of another stream, who left it then.
    Since(Instant),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Asked,
    Bound(u16),
    Failed,
}

impl DialSockets {
    /// Finds a socket for the request, or asks the runtime for one.
    pub(crate) fn request(&mut self, ctx: &mut Ctx<'_>, request: Request) {
        let hold = ctx.config.limits.path_hold_time;
        for socket in &mut self.sockets {
            socket.before.retain(|(_, left)| ctx.now < *left + hold);
        }
        let free = self.sockets.iter().enumerate().filter(|(_, socket)| {
            socket.state != State::Failed
                && socket.users.iter().all(|user| user.node != request.node)
        });
        let fittest = free.map(|(index, socket)| (socket.fitness(&request), index)).min();
        let index = match fittest {
            Some((Fitness::Fit, index)) => index,
            // Past the bound, one that is less fit is better than none.
            Some((Fitness::Since(_), index)) => match self.ask(ctx) {
                usize::MAX => index,
                new => new,
            },
            None => self.ask(ctx),
        };
        if let Some(socket) = self.sockets.get_mut(index) {
            let Request { peer, node, stream, .. } = request;
            socket.users.push(User { peer, node, stream });
        }
        self.waiting.push_back((request, index));
    }

    /// The index of a socket that was just asked for; past the bound, of one that is not there.
    fn ask(&mut self, ctx: &mut Ctx<'_>) -> usize {
        let failed = self.sockets.iter().position(|socket| socket.state == State::Failed);
        let index = failed.unwrap_or(self.sockets.len());
        if index >= ctx.config.limits.dial_sockets_max {
            return usize::MAX;
        }
        let Ok(number) = u32::try_from(index) else { return usize::MAX };
        match self.sockets.get_mut(index) {
            Some(socket) => socket.state = State::Asked,
            None => self.sockets.push(Socket {
                state: State::Asked,
                users: Vec::new(),
                before: Vec::new(),
            }),
        }
        ctx.out.push(Output::Bind { socket: SocketId(number) });
        index
    }

    pub(crate) fn bound(&mut self, socket: SocketId, port: Option<u16>) {
        let index = usize::try_from(socket.0).unwrap_or(usize::MAX);
        if let Some(socket) = self.sockets.get_mut(index) {
            socket.state = port.map_or(State::Failed, State::Bound);
        }
    }

    /// Takes one request whose socket is there, with its port; or, with `None`, one that will
    /// never have a socket.
    pub(crate) fn next_ready(&mut self) -> Option<(Request, Option<u16>)> {
        let state = |index: &usize| self.sockets.get(*index).map_or(State::Failed, |s| s.state);
        let at = self.waiting.iter().position(|(_, index)| state(index) != State::Asked)?;
        let (request, index) = self.waiting.remove(at)?;
        let port = match self.sockets.get(index).map(|socket| socket.state) {
            Some(State::Bound(port)) => Some(port),
            Some(State::Asked | State::Failed) | None => None,
        };
        Some((request, port))
    }

    /// Forgets a request that still waits.
    pub(crate) fn withdraw(&mut self, now: Instant, peer: PeerId) {
        self.waiting.retain(|(request, _)| request.peer != peer);
        self.release(now, peer);
    }

    /// Frees the socket of a peer that is gone.
    pub(crate) fn release(&mut self, now: Instant, peer: PeerId) {
        for socket in &mut self.sockets {
            let gone = socket.users.extract_if(.., |user| user.peer == peer);
            socket.before.extend(gone.map(|user| (user, now)));
        }
    }
}

impl Socket {
    /// A node that has not noticed yet that a peer is gone takes what comes from its socket for
    /// its, whoever sends it, unless that is about the same stream, which the new peer takes over.
    fn fitness(&self, request: &Request) -> Fitness {
        let other = |user: &User| user.node == request.node && user.stream != request.stream;
        let others = self.before.iter().filter(|(user, _)| other(user)).map(|(_, left)| *left);
        others.max().map_or(Fitness::Fit, Fitness::Since)
    }
}
