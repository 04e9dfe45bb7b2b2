//! The accepting end of one dialogue: who may speak when, and who still lives.

use std::time::{Duration, Instant};

use super::request::{self, Greeting, Incoming, Request, RequestFault};
use super::say;
use crate::config::KeepAlive;
use crate::limits::Limits;

/// One signaling connection, from its upgrade on.
#[derive(Debug)]
pub(crate) struct Session {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Waits for `connection`.
    Opening {
        deadline: Instant,
    },
    Established(Pulse),
}

/// What a text frame leads to.
#[derive(Debug)]
pub(crate) enum Step {
    /// The session came up; `reply` makes the far side know.
    Establish {
        greeting: Box<Greeting>,
        reply: String,
    },
    Request(Request),
    /// Nothing but an answer.
    Reply(String),
    Nothing,
}

/// Why a dialogue ends.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SessionFault {
    #[error("the first message must be connection")]
    NotConnected,
    #[error("connection came twice")]
    ConnectedTwice,
    #[error("not a JSON message")]
    Malformed,
    #[error("no connection message came in time")]
    Silent,
    #[error("pings stay unanswered")]
    Dead,
    #[error("messages come too fast")]
    TooFast,
}

impl SessionFault {
    /// For the close frame (RFC 6455, section 5.5.1).
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::NotConnected => "the first message must be connection",
            Self::ConnectedTwice => "connection came twice",
            Self::Malformed => "not a JSON message",
            Self::Silent => "no connection message came in time",
            Self::Dead => "pings stay unanswered",
            Self::TooFast => "messages come too fast",
        }
    }
}

impl Session {
    pub(crate) fn new(now: Instant, limits: &Limits) -> Self {
        Self { phase: Phase::Opening { deadline: now + limits.session_timeout } }
    }

    /// Takes one text frame. `auth_token` is what the session will be known by.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        text: &str,
        auth_token: &str,
        keep_alive: Option<KeepAlive>,
        limits: &Limits,
    ) -> Result<Step, SessionFault> {
        if let Phase::Established(pulse) = &mut self.phase {
            pulse.unanswered = 0;
        }
        let incoming = match request::parse(text, limits) {
            Ok(incoming) => incoming,
            Err(RequestFault::Malformed) => return Err(SessionFault::Malformed),
            Err(fault) => return Ok(Step::Reply(say::fail(fault.message(), &fault.to_string()))),
        };
        match (&self.phase, incoming) {
            (Phase::Opening { .. }, Incoming::Connection(greeting)) => {
                let reply = say::user_data(&greeting, auth_token);
                self.phase = Phase::Established(Pulse::new(now, keep_alive));
                Ok(Step::Establish { greeting, reply })
            }
            (Phase::Opening { .. }, Incoming::Request(_)) => Err(SessionFault::NotConnected),
            (Phase::Established(_), Incoming::Connection(_)) => Err(SessionFault::ConnectedTwice),
            (Phase::Established(_), Incoming::Request(request)) => Ok(Step::Request(request)),
            (_, Incoming::Ping) => Ok(Step::Reply(say::pong())),
            (_, Incoming::Pong | Incoming::Nothing) => Ok(Step::Nothing),
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Opening { deadline } => Some(*deadline),
            Phase::Established(pulse) => pulse.next,
        }
    }

    /// Sends the ping that is due, or finds the far side dead.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<Option<String>, SessionFault> {
        match &mut self.phase {
            Phase::Opening { deadline } if now >= *deadline => Err(SessionFault::Silent),
            Phase::Opening { .. } => Ok(None),
            Phase::Established(pulse) => pulse.handle_timeout(now),
        }
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established(_))
    }
}

/// The pings of one dialogue. Pages see only JSON, so WebSocket's own pings would not do.
#[derive(Debug)]
struct Pulse {
    next: Option<Instant>,
    interval: Duration,
    probes: u32,
    unanswered: u32,
}

impl Pulse {
    fn new(now: Instant, keep_alive: Option<KeepAlive>) -> Self {
        match keep_alive {
            Some(KeepAlive { interval, probes }) => {
                Self { next: Some(now + interval), interval, probes, unanswered: 0 }
            }
            None => Self { next: None, interval: Duration::ZERO, probes: 0, unanswered: 0 },
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<Option<String>, SessionFault> {
        if self.next.is_none_or(|next| next > now) {
            return Ok(None);
        }
        if self.unanswered >= self.probes {
            return Err(SessionFault::Dead);
        }
        self.unanswered += 1;
        self.next = Some(now + self.interval);
        Ok(Some(say::ping()))
    }
}
