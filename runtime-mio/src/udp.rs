//! The media socket, and those that the shard asked for besides.

use std::io;
use std::time::{Duration, Instant};

use distributary_core::{Flow, SendBuffer, Transmit};
use mio::event::Event;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use crate::node::{Datagrams, Intake, MediaSocket};

/// The sockets of a shard, and the one run that the kernel had no room for.
#[derive(Debug)]
pub(crate) struct Udp {
    /// The media socket is the first.
    sockets: Vec<Bound>,
    /// The token of the first socket; the others follow.
    first: Token,
    /// Where the search for something to receive begins, so that every socket has its turn.
    turn: usize,
    intake: Intake,
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Bound {
    port: u16,
    socket: UdpSocket,
    datagrams: Datagrams,
    /// What the kernel reported and has not taken back.
    readable: bool,
}

/// A run that lies in the send buffer until the kernel takes it, or until it is too old.
#[derive(Debug)]
struct Refused {
    transmit: Transmit,
    /// When it is offered again.
    retry_at: Instant,
    drop_at: Instant,
}

/// How long a refused run waits before it is offered again. The kernel is not asked to say when it
/// has room: it would say so after each datagram that leaves (epoll(7), `EPOLLET`), which is a
/// wake-up for nothing. In this time no network empties the buffer that was full.
const RETRY_INTERVAL: Duration = Duration::from_millis(1);

impl Udp {
    /// Registers the media socket under the token `first`.
    pub(crate) fn new(media: MediaSocket, registry: &Registry, first: Token) -> io::Result<Self> {
        let mut udp =
            Self { sockets: Vec::new(), first, turn: 0, intake: Intake::default(), refused: None };
        udp.add(media, registry)?;
        Ok(udp)
    }

    /// Takes one more socket, under the next token, and answers with its port.
    pub(crate) fn add(&mut self, opened: MediaSocket, registry: &Registry) -> io::Result<u16> {
        let MediaSocket { socket, datagrams } = opened;
        let port = socket.local_addr()?.port();
        let mut socket = UdpSocket::from_std(socket);
        let token = Token(self.first.0 + self.sockets.len());
        registry.register(&mut socket, token, Interest::READABLE)?;
        self.sockets.push(Bound { port, socket, datagrams, readable: true });
        Ok(port)
    }

    /// Datagrams that one run may have.
    pub(crate) fn segments_max(&self) -> usize {
        self.sockets.iter().map(|bound| bound.datagrams.segments_max()).min().unwrap_or(1)
    }

    /// Notes what the kernel reports.
    pub(crate) fn heed(&mut self, event: &Event) {
        let index = event.token().0 - self.first.0;
        let Some(bound) = self.sockets.get_mut(index) else { return };
        // An error is read off like a datagram.
        bound.readable |= event.is_readable() || event.is_error();
    }

    /// Receives one batch of runs. `None`: there is nothing.
    pub(crate) fn receive(&mut self) -> Option<impl Iterator<Item = (Flow, &[u8], usize)>> {
        for _ in 0..self.sockets.len() {
            self.turn = (self.turn + 1) % self.sockets.len();
            let Bound { socket, datagrams, readable, .. } = self.sockets.get_mut(self.turn)?;
            if !*readable {
                continue;
            }
            let (socket, intake) = (&*socket, &mut self.intake);
            match socket.try_io(|| datagrams.receive(socket, intake)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => *readable = false,
                result => {
                    // Errors are echoes of what was sent, for example to a port that closed.
                    *readable = result.unwrap_or(true);
                    let Bound { datagrams, .. } = self.sockets.get(self.turn)?;
                    return Some(datagrams.runs(&self.intake));
                }
            }
        }
        None
    }

    /// Sends a run, or keeps it as the refused one, for at most `patience`.
    pub(crate) fn send(
        &mut self,
        send: &SendBuffer,
        transmit: Transmit,
        now: Instant,
        patience: Duration,
    ) {
        if !self.try_send(send, &transmit) {
            let (retry_at, drop_at) = (now + RETRY_INTERVAL, now + patience);
            self.refused = Some(Refused { transmit, retry_at, drop_at });
        }
    }

    /// Offers the refused run again, if there is one and its time has come. Tells whether the send
    /// buffer is free.
    pub(crate) fn retry(&mut self, send: &SendBuffer, now: Instant) -> bool {
        let Some(mut refused) = self.refused.take() else { return true };
        if now < refused.retry_at {
            self.refused = Some(refused);
        } else if now < refused.drop_at && !self.try_send(send, &refused.transmit) {
            refused.retry_at = now + RETRY_INTERVAL;
            self.refused = Some(refused);
        }
        self.refused.is_none()
    }

    /// When the refused run is offered again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.refused.as_ref().map(|refused| refused.retry_at)
    }

    /// Whether the send buffer is free again. A run lost to an error counts as sent.
    fn try_send(&self, send: &SendBuffer, transmit: &Transmit) -> bool {
        let port = transmit.flow.local.port();
        let Some(bound) = self.sockets.iter().find(|bound| bound.port == port) else { return true };
        let sent = bound.datagrams.send(&bound.socket, transmit, send.run(transmit));
        !matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}
