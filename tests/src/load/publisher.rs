//! One publisher: a TCP connection for its signaling, a UDP socket for its media.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use str0m::config::CryptoProvider;

use super::connection::{Connection, Server, complaint};
use super::signaling::{Errand, Said, Signaling};
use crate::browser::{Birth, Peer, Shape, Source};

/// Datagrams of one publisher before the next one has its turn.
const DATAGRAMS_MAX: usize = 64;

/// What all publishers have in common.
#[derive(Debug)]
pub(super) struct Craft {
    pub(super) server: Arc<Server>,
    pub(super) clock: Instant,
    pub(super) shape: Shape,
    pub(super) source: Source,
    pub(super) crypto: Arc<CryptoProvider>,
}

/// One publisher.
#[derive(Debug)]
pub(super) struct Publisher {
    token: Token,
    number: u32,
    connection: Connection,
    signaling: Signaling,
    media: Option<Media>,
    /// Why it publishes no more, once that is so.
    pub(super) ending: Option<String>,
}

#[derive(Debug)]
struct Media {
    socket: UdpSocket,
    peer: Peer,
}

impl Publisher {
    /// Begins to connect. Its TCP connection has this token, its UDP socket the next; its number is
    /// in its packets.
    pub(super) fn open(
        craft: &Craft,
        name: &str,
        registry: &Registry,
        token: Token,
        number: u32,
    ) -> Result<Self, String> {
        let signaling = Signaling::new(&craft.server.address, Errand::Publish(name))?;
        let connection = Connection::open(&craft.server, registry, token);
        let connection = connection.map_err(|error| complaint(&error))?;
        let mut publisher =
            Self { token, number, connection, signaling, media: None, ending: None };
        publisher.write(registry);
        Ok(publisher)
    }

    /// Whether its media flow.
    pub(super) fn is_up(&self) -> bool {
        self.ending.is_none()
            && self.media.as_ref().is_some_and(|it| it.peer.connected_at.is_some() && !it.peer.lost)
    }

    /// How often it was asked for a key frame.
    pub(super) fn key_frame_requests(&self) -> usize {
        self.media.as_ref().map_or(0, |media| media.peer.key_frame_requests.len())
    }

    /// When it is to be called again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.media.as_ref().filter(|_| self.ending.is_none()).map(|media| media.peer.due())
    }

    /// The TCP connection is ready for something.
    pub(super) fn tcp_ready(&mut self, craft: &Craft, registry: &Registry) {
        let mut plain = Vec::new();
        match self.connection.read(&mut plain) {
            Ok(up) => {
                if !plain.is_empty() {
                    self.signaling.receive(&plain);
                }
                if self.connection.is_closed() {
                    self.signaling.receive(&[]);
                }
                if up || !plain.is_empty() || self.connection.is_closed() {
                    self.hear(craft, registry);
                }
                self.write(registry);
            }
            Err(why) => self.over(why),
        }
    }

    fn hear(&mut self, craft: &Craft, registry: &Registry) {
        while let Some(said) = self.signaling.poll() {
            let heard = match said {
                Said::Ready => self.ask(craft, registry),
                Said::Answer(sdp) => self.answer(&sdp),
                Said::Offer(_) => Err("the server wants to send".to_owned()),
                Said::Ended(why) | Said::Over(why) => Err(why),
            };
            if let Err(why) = heard {
                return self.over(why);
            }
        }
    }

    fn ask(&mut self, craft: &Craft, registry: &Registry) -> Result<(), String> {
        let bound = self.connection.ip().and_then(|ip| {
            let mut socket = UdpSocket::bind((ip, 0).into())?;
            registry.register(&mut socket, Token(self.token.0 + 1), Interest::READABLE)?;
            Ok((socket.local_addr()?, socket))
        });
        let (local, socket) = bound.map_err(|error: io::Error| complaint(&error))?;
        let birth = Birth {
            clock: craft.clock,
            local,
            shape: craft.shape.clone(),
            source: Some(craft.source),
            publisher: self.number,
            crypto: Arc::clone(&craft.crypto),
            gathered: self.signaling.wants_candidates(),
        };
        let (peer, offer) = Peer::new(Instant::now(), birth);
        self.media = Some(Media { socket, peer });
        self.signaling.ask(Some(&offer));
        Ok(())
    }

    fn answer(&mut self, sdp: &str) -> Result<(), String> {
        let Some(media) = &mut self.media else { return Ok(()) };
        let taken = media.peer.answer(Instant::now(), sdp);
        taken.map_err(|problem| format!("the answer is no good: {problem}"))?;
        media.send();
        Ok(())
    }

    /// The UDP socket has something.
    pub(super) fn udp_ready(&mut self) {
        let Some(media) = &mut self.media else { return };
        let mut room = [0; 2048];
        // What is left comes in with what comes next.
        for _ in 0..DATAGRAMS_MAX {
            // An error is the echo of something sent, for example to a port that closed.
            let Ok((length, remote)) = media.socket.recv_from(&mut room) else { break };
            let datagram = room.get(..length).unwrap_or_default();
            media.peer.datagram(Instant::now(), remote, datagram);
        }
        media.send();
    }

    /// Does what is due.
    pub(super) fn timeout(&mut self, now: Instant) {
        let Some(media) = &mut self.media else { return };
        media.peer.advance(now);
        media.send();
        if media.peer.lost {
            self.over("the transport was lost".to_owned());
        }
    }

    /// Says goodbye.
    pub(super) fn leave(&mut self, registry: &Registry) {
        self.signaling.leave();
        self.write(registry);
        if let Some(media) = &mut self.media {
            media.peer.close(Instant::now());
            media.send();
        }
    }

    /// Whether the server heard of that, or never will.
    pub(super) fn has_left(&self) -> bool {
        self.ending.is_some() || self.signaling.has_left()
    }

    fn write(&mut self, registry: &Registry) {
        let outgoing = self.signaling.take_outgoing();
        if !outgoing.is_empty()
            && let Err(why) = self.connection.write(registry, &outgoing)
        {
            self.over(why);
        }
    }

    fn over(&mut self, why: String) {
        self.ending.get_or_insert(why);
        self.connection.close();
    }
}

impl Media {
    fn send(&mut self) {
        for datagram in self.peer.outgoing.drain(..) {
            // A datagram that the kernel refuses is a lost datagram.
            let _ = self.socket.send_to(&datagram.bytes, datagram.remote);
        }
    }
}
