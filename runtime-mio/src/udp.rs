//! The media socket.

use std::io;
use std::time::{Duration, Instant};

use distributary_core::{Flow, SendBuffer, Transmit};
use mio::event::Event;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use crate::node::Datagrams;

/// The media socket, and the one run that the kernel had no room for.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: UdpSocket,
    datagrams: Datagrams,
    refused: Option<Refused>,
    /// What the kernel reported and has not taken back.
    readable: bool,
    writable: bool,
}

/// A run that lies in the send buffer until the kernel takes it, or until it is too old.
#[derive(Debug)]
struct Refused {
    transmit: Transmit,
    drop_at: Instant,
}

impl Udp {
    /// Registers a socket that does not block under `token`.
    pub(crate) fn new(
        socket: std::net::UdpSocket,
        datagrams: Datagrams,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut socket = UdpSocket::from_std(socket);
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket, datagrams, refused: None, readable: true, writable: true })
    }

    /// Datagrams that one run may have.
    pub(crate) fn segments_max(&self) -> usize {
        self.datagrams.segments_max()
    }

    /// Notes what the kernel reports.
    pub(crate) fn heed(&mut self, event: &Event) {
        // An error is read off like a datagram.
        self.readable |= event.is_readable() || event.is_error();
        self.writable |= event.is_writable();
    }

    /// Receives one batch of runs. `None`: there is nothing.
    pub(crate) fn receive(&mut self) -> Option<impl Iterator<Item = (Flow, &[u8], usize)>> {
        if !self.readable {
            return None;
        }
        let (socket, datagrams) = (&self.socket, &mut self.datagrams);
        match socket.try_io(|| datagrams.receive(socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                None
            }
            // Other errors are echoes of what was sent, for example to a port that closed.
            Ok(()) | Err(_) => Some(self.datagrams.runs()),
        }
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
            self.refused = Some(Refused { transmit, drop_at: now + patience });
        }
    }

    /// Offers the refused run again, if there is one. Tells whether the send buffer is free.
    pub(crate) fn retry(&mut self, send: &SendBuffer, now: Instant) -> bool {
        let Some(refused) = self.refused.take() else { return true };
        if now < refused.drop_at && !self.try_send(send, &refused.transmit) {
            self.refused = Some(refused);
        }
        self.refused.is_none()
    }

    /// When the refused run is given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.refused.as_ref().map(|refused| refused.drop_at)
    }

    /// Whether the send buffer is free again. A run lost to an error counts as sent.
    fn try_send(&mut self, send: &SendBuffer, transmit: &Transmit) -> bool {
        if !self.writable {
            return false;
        }
        let (socket, datagrams) = (&self.socket, &self.datagrams);
        let sent = socket.try_io(|| datagrams.send(socket, transmit, send.run(transmit)));
        self.writable = !matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.writable
    }
}
