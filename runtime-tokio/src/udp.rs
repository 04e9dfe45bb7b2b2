//! The media socket.

use std::io;
use std::time::{Duration, Instant};

use distributary_core::{Flow, SendBuffer, Transmit};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::node::Datagrams;

/// The media socket, and the one run that the kernel had no room for.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: UdpSocket,
    datagrams: Datagrams,
    refused: Option<Refused>,
}

/// A run that lies in the send buffer until the kernel takes it, or until it is too old.
#[derive(Debug)]
struct Refused {
    transmit: Transmit,
    drop_at: Instant,
}

impl Udp {
    /// Wraps a socket that does not block. Must be called inside the runtime.
    pub(crate) fn new(socket: std::net::UdpSocket, datagrams: Datagrams) -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::from_std(socket)?, datagrams, refused: None })
    }

    /// Datagrams that one run may have.
    pub(crate) fn segments_max(&self) -> usize {
        self.datagrams.segments_max()
    }

    /// Waits until there is something to receive, or room for the refused run.
    pub(crate) async fn ready(&self) {
        let interest = match self.refused {
            Some(_) => Interest::READABLE | Interest::WRITABLE,
            None => Interest::READABLE,
        };
        // It fails only when the runtime shuts down, and then nobody waits for it.
        let _ = self.socket.ready(interest).await;
    }

    /// Receives one batch of runs. `None`: there is nothing.
    pub(crate) fn receive(&mut self) -> Option<impl Iterator<Item = (Flow, &[u8], usize)>> {
        let (socket, datagrams) = (&self.socket, &mut self.datagrams);
        match socket.try_io(Interest::READABLE, || datagrams.receive(socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
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
    fn try_send(&self, send: &SendBuffer, transmit: &Transmit) -> bool {
        let sent = self.socket.try_io(Interest::WRITABLE, || {
            self.datagrams.send(&self.socket, transmit, send.run(transmit))
        });
        !matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}
