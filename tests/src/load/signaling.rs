//! How a viewer or a publisher comes to an answer for its offer, or to an offer that it answers.

mod http;
mod janus;
mod web_sdk;
mod whep;

use std::time::Instant;

use self::janus::Janus;
use self::web_sdk::WebSdk;
use self::whep::Whep;
use super::address::{Address, Protocol};

/// A dialogue with a server, over a connection that somebody else carries.
#[derive(Debug)]
pub(super) enum Signaling {
    WebSdk(WebSdk),
    Whep(Whep),
    Janus(Janus),
}

/// What it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Errand<'n> {
    /// To play the stream of this name.
    Play(&'n str),
    /// To publish it.
    Publish(&'n str),
}

impl<'n> Errand<'n> {
    fn stream(self) -> &'n str {
        match self {
            Self::Play(name) | Self::Publish(name) => name,
        }
    }
}

/// What the server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// The stream can be asked for.
    Ready,
    /// The answer to the offer.
    Answer(String),
    /// An offer of its own.
    Offer(String),
    /// There is nothing to play, or not any more.
    Ended(String),
    /// The dialogue is over.
    Over(String),
}

impl Signaling {
    /// Begins a dialogue.
    ///
    /// # Errors
    ///
    /// If there is none that this could be done in.
    pub(super) fn new(address: &Address, errand: Errand<'_>) -> Result<Self, String> {
        let host = &address.host;
        let path = address.path_of(errand.stream());
        match (&address.protocol, errand) {
            (Protocol::WebSdk, _) => Ok(Self::WebSdk(WebSdk::new(host, &path, errand))),
            (Protocol::Whep, _) => Ok(Self::Whep(Whep::new(host, &path))),
            (Protocol::Janus { mountpoint }, Errand::Play(_)) => {
                Ok(Self::Janus(Janus::new(host, &path, mountpoint)))
            }
            (Protocol::Janus { .. }, Errand::Publish(_)) => {
                Err("a mountpoint of Janus is published to by rtp".to_owned())
            }
            (Protocol::Rtp, _) => Err("bare RTP has no signaling".to_owned()),
        }
    }

    /// Bytes came in; none: the connection ended.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        match self {
            Self::WebSdk(dialogue) => dialogue.receive(bytes),
            Self::Whep(dialogue) => dialogue.receive(bytes),
            Self::Janus(dialogue) => dialogue.receive(bytes),
        }
    }

    /// The next thing that the server said, once the connection is up.
    pub(super) fn poll(&mut self) -> Option<Said> {
        match self {
            Self::WebSdk(dialogue) => dialogue.poll(),
            Self::Whep(dialogue) => dialogue.poll(),
            Self::Janus(dialogue) => dialogue.poll(),
        }
    }

    /// Whether it is the server that makes the offer.
    pub(super) fn is_invited(&self) -> bool {
        matches!(self, Self::Janus(_))
    }

    /// Whether an offer should name the address that media will use: it is for the page to wait for
    /// that where no more can be said later.
    pub(super) fn wants_candidates(&self) -> bool {
        matches!(self, Self::Whep(_))
    }

    /// Asks for the stream, with an offer or for one.
    pub(super) fn ask(&mut self, offer: Option<&str>) {
        match self {
            Self::WebSdk(dialogue) => dialogue.ask(offer.unwrap_or_default()),
            Self::Whep(dialogue) => dialogue.ask(offer.unwrap_or_default()),
            Self::Janus(dialogue) => dialogue.ask(),
        }
    }

    /// Answers the server's offer.
    pub(super) fn accept(&mut self, answer: &str) {
        match self {
            Self::WebSdk(_) | Self::Whep(_) => {}
            Self::Janus(dialogue) => dialogue.accept(answer),
        }
    }

    /// Says what has to be said now and then.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        match self {
            Self::WebSdk(_) | Self::Whep(_) => {}
            Self::Janus(dialogue) => dialogue.keep_alive(now),
        }
    }

    /// Leaves.
    pub(super) fn leave(&mut self) {
        match self {
            Self::WebSdk(dialogue) => dialogue.leave(),
            Self::Whep(dialogue) => dialogue.leave(),
            Self::Janus(dialogue) => dialogue.leave(),
        }
    }

    /// Whether the server heard of that, or need not.
    pub(super) fn has_left(&self) -> bool {
        match self {
            Self::WebSdk(_) => true,
            Self::Whep(dialogue) => dialogue.has_left(),
            Self::Janus(dialogue) => dialogue.has_left(),
        }
    }

    /// What is to be written.
    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        match self {
            Self::WebSdk(dialogue) => dialogue.take_outgoing(),
            Self::Whep(dialogue) => dialogue.take_outgoing(),
            Self::Janus(dialogue) => dialogue.take_outgoing(),
        }
    }
}
