//! The media socket, and those that the shard asked for besides.

use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use distributary_core::{Flow, SendBuffer, Transmit};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::node::{Datagrams, Intake, MediaSocket};

/// The sockets of a shard, and the one run that the kernel had no room for.
#[derive(Debug)]
pub(crate) struct Udp {
    /// The media socket is the first.
    sockets: Vec<Bound>,
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
}

/// A run that lies in the send buffer until the kernel takes it, or until it is too old.
#[derive(Debug)]
struct Refused {
    transmit: Transmit,
    drop_at: Instant,
}

impl Udp {
    /// Wraps the media socket. Must be called inside the runtime.
    pub(crate) fn new(media: MediaSocket) -> io::Result<Self> {
        let mut udp =
            Self { sockets: Vec::new(), turn: 0, intake: Intake::default(), refused: None };
        udp.add(media)?;
        Ok(udp)
    }

    /// Takes one more socket, and answers with its port.
    pub(crate) fn add(&mut self, opened: MediaSocket) -> io::Result<u16> {
        let MediaSocket { socket, datagrams } = opened;
        let port = socket.local_addr()?.port();
        let socket = UdpSocket::from_std(socket)?;
        self.sockets.push(Bound { port, socket, datagrams });
        Ok(port)
    }

    /// Datagrams that one run may have.
    pub(crate) fn segments_max(&self) -> usize {
        self.sockets.iter().map(|bound| bound.datagrams.segments_max()).min().unwrap_or(1)
    }

    /// Waits until there is something to receive, or room for the refused run.
    pub(crate) async fn ready(&self) {
        let refused = self.refused.as_ref().map(|refused| refused.transmit.flow.local.port());
        std::future::poll_fn(|cx| {
            for bound in &self.sockets {
                let readable = bound.socket.poll_recv_ready(cx).is_ready();
                let room =
                    refused == Some(bound.port) && bound.socket.poll_send_ready(cx).is_ready();
                if readable || room {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Receives one batch of runs. `None`: there is nothing.
    pub(crate) fn receive(&mut self) -> Option<impl Iterator<Item = (Flow, &[u8], usize)>> {
        for _ in 0..self.sockets.len() {
            self.turn = (self.turn + 1) % self.sockets.len();
            let Bound { socket, datagrams, .. } = self.sockets.get_mut(self.turn)?;
            let intake = &mut self.intake;
            let mut is_empty = true;
            // Other errors are echoes of what was sent, for example to a port that closed.
            let _ = socket.try_io(Interest::READABLE, || {
                let more = datagrams.receive(&*socket, intake);
                is_empty = matches!(&more, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
                // Only who is told that there is no more waits for the kernel's word on it.
                if more? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
            });
            if is_empty {
                continue;
            }
            let Bound { datagrams, .. } = self.sockets.get(self.turn)?;
            return Some(datagrams.runs(&self.intake));
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
        let port = transmit.flow.local.port();
        let Some(bound) = self.sockets.iter().find(|bound| bound.port == port) else { return true };
        let sent = bound.socket.try_io(Interest::WRITABLE, || {
            bound.datagrams.send(&bound.socket, transmit, send.run(transmit))
        });
        !matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}
