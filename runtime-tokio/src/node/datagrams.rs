//! A media socket as a shard sees it: runs in, runs out, plain addresses.
//!
//! `quinn-udp` does the work: it batches system calls, splits and joins runs in the kernel where
//! that can (GSO, GRO), and tells which of our addresses a datagram came to. When a socket is
//! ready, and how one waits for that, is the runtime's part.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use distributary_core::{Flow, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};

/// Runs taken in with one system call. Each needs room for the largest run there is.
const RUNS: usize = 16;
const RUN_BYTES: usize = 65_536;

/// Addresses of our own that are remembered, beyond which none are learnt.
const OWN_ADDRESSES_MAX: usize = 64;

/// What is known about a media socket.
pub struct Datagrams {
    state: UdpSocketState,
    /// Where the socket is bound, as the kernel writes it.
    bound: SocketAddr,
    /// Addresses that this machine has: the only ones that can be given as a source.
    own: Vec<IpAddr>,
    /// If not empty, datagrams to other addresses than these are not for us.
    only: Arc<[IpAddr]>,
}

/// Room for what the sockets of a shard receive, one after the other.
pub struct Intake {
    room: Box<[u8]>,
    met: [RecvMeta; RUNS],
    received: usize,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            room: vec![0; RUNS * RUN_BYTES].into_boxed_slice(),
            met: [RecvMeta::default(); RUNS],
            received: 0,
        }
    }
}

impl Datagrams {
    /// Sets `socket` up for runs and looks up what the kernel can do.
    ///
    /// `own` are the addresses that the machine is known to have. `only`, if not empty, are those
    /// that datagrams may come to; others are dropped.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn new(socket: &UdpSocket, own: &[IpAddr], only: Arc<[IpAddr]>) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(socket))?;
        let bound = socket.local_addr()?;
        Ok(Self { state, bound, own: own.to_vec(), only })
    }

    /// The number of datagrams that one run may have when it is sent. It drops to 1 when the
    /// kernel turns out not to split runs after all.
    pub fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Receives up to 16 runs; [`Datagrams::runs`] tells them from the intake. Answers whether
    /// there may be more; if not, the kernel says when there is.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when nothing is there. Other errors are news of datagrams
    /// that were sent earlier and may be ignored.
    pub fn receive<'s>(
        &mut self,
        socket: impl Into<UdpSockRef<'s>>,
        intake: &mut Intake,
    ) -> io::Result<bool> {
        intake.received = 0;
        let mut rooms = intake.room.chunks_mut(RUN_BYTES).map(IoSliceMut::new);
        let mut rooms: [IoSliceMut<'_>; RUNS] =
            std::array::from_fn(|_| rooms.next().expect("room is RUNS times RUN_BYTES"));
        intake.received = self.state.recv(socket.into(), &mut rooms, &mut intake.met)?;
        for met in intake.met.iter().take(intake.received) {
            if let Some(ip) = met.dst_ip.map(plain)
                && !self.own.contains(&ip)
                && self.own.len() < OWN_ADDRESSES_MAX
            {
                self.own.push(ip);
            }
        }
        // The kernel stops early only where it finds nothing.
        Ok(intake.received >= RUNS.min(BATCH_SIZE))
    }

    /// The runs that this socket received last: flow, bytes and stride.
    pub fn runs<'i>(&self, intake: &'i Intake) -> impl Iterator<Item = (Flow, &'i [u8], usize)> {
        let rooms = intake.room.chunks(RUN_BYTES);
        intake.met.iter().zip(rooms).take(intake.received).filter_map(|(met, room)| {
            let ip = plain(met.dst_ip.unwrap_or_else(|| self.bound.ip()));
            if !self.only.is_empty() && !self.only.contains(&ip) {
                return None;
            }
            let bytes = room.get(..met.len)?;
            let flow = Flow {
                local: SocketAddr::new(ip, self.bound.port()),
                remote: plain_socket_addr(met.addr),
            };
            // An empty datagram says nothing and has no stride.
            (met.stride > 0 && !bytes.is_empty()).then_some((flow, bytes, met.stride))
        })
    }

    /// Sends one run.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when the kernel has no room: the run can be sent again when
    /// the socket is writable. Any other error means that the run is lost, as datagrams may be.
    pub fn send<S>(&self, socket: &S, transmit: &Transmit, run: &[u8]) -> io::Result<()>
    where
        for<'s> &'s S: Into<UdpSockRef<'s>>,
    {
        let local = transmit.flow.local.ip();
        let datagram = |contents, segment_size| quinn_udp::Transmit {
            destination: self.kernel_socket_addr(transmit.flow.remote),
            ecn: None,
            contents,
            segment_size,
            // A public address that a router in front of us maps to ours is no source here.
            src_ip: self.own.contains(&local).then(|| self.kernel_ip(local)),
        };
        let segments = (transmit.segment < run.len()).then_some(transmit.segment);
        match self.state.try_send(socket.into(), &datagram(run, segments)) {
            // The kernel cannot split this run, so its datagrams go one by one.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock && segments.is_some() => {
                for segment in run.chunks(transmit.segment.max(1)) {
                    self.state.try_send(socket.into(), &datagram(segment, None))?;
                }
                Ok(())
            }
            result => result,
        }
    }

    /// The far end as the socket's address family writes it.
    fn kernel_socket_addr(&self, addr: SocketAddr) -> SocketAddr {
        match addr {
            SocketAddr::V4(v4) if self.bound.is_ipv6() => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            SocketAddr::V4(_) | SocketAddr::V6(_) => addr,
        }
    }

    fn kernel_ip(&self, ip: IpAddr) -> IpAddr {
        self.kernel_socket_addr(SocketAddr::new(ip, 0)).ip()
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams").field("bound", &self.bound).finish_non_exhaustive()
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("received", &self.received).finish_non_exhaustive()
    }
}

/// An address as the core wants it: an IPv4 address that a socket of both families wrote as IPv6
/// (RFC 4291, section 2.5.5.2) becomes IPv4 again.
pub fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// [`plain`] for an address with a port.
pub fn plain_socket_addr(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        // As it is, with its scope.
        IpAddr::V6(_) => addr,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn open(addr: &str, only: &[IpAddr]) -> (UdpSocket, Datagrams) {
        let socket = UdpSocket::bind(addr).unwrap();
        let datagrams = Datagrams::new(&socket, &[], only.into()).unwrap();
        (socket, datagrams)
    }

    /// What comes in within a second, as flow, datagrams and their bytes together.
    fn receive(socket: &UdpSocket, datagrams: &mut Datagrams) -> Vec<(Flow, Vec<usize>, Vec<u8>)> {
        let mut intake = Intake::default();
        for _ in 0..100 {
            if datagrams.receive(socket, &mut intake).is_ok() {
                let owned = |(flow, bytes, stride): (Flow, &[u8], usize)| {
                    (flow, bytes.chunks(stride).map(<[u8]>::len).collect(), bytes.to_vec())
                };
                return datagrams.runs(&intake).map(owned).collect();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nothing came in")
    }

    #[test]
    fn a_socket_of_both_families_shows_plain_addresses_and_answers_from_the_one_asked() {
        let Ok(socket) = UdpSocket::bind("[::]:0") else { return };
        let mut datagrams = Datagrams::new(&socket, &[], [].into()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        far.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        // All of 127.0.0.0/8 is this machine, so the address says which one was asked.
        let asked = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 5).into(), port);
        far.send_to(b"question", asked).unwrap();

        let runs = receive(&socket, &mut datagrams);
        let flow = Flow { local: asked, remote: far.local_addr().unwrap() };
        assert_eq!(runs, [(flow, vec![8], b"question".to_vec())]);

        let transmit = Transmit { flow, len: 6, segment: 6 };
        datagrams.send(&socket, &transmit, b"answer").unwrap();
        let mut room = [0; 100];
        assert_eq!(far.recv_from(&mut room).unwrap(), (6, asked));
    }

    #[test]
    fn a_run_arrives_as_the_datagrams_it_is_made_of() {
        let (near, near_datagrams) = open("127.0.0.1:0", &[]);
        let (far, mut far_datagrams) = open("127.0.0.1:0", &[]);
        let run: Vec<u8> = (0..2_500_u32).map(|n| n as u8).collect();
        let (local, remote) = (near.local_addr().unwrap(), far.local_addr().unwrap());
        let transmit = Transmit { flow: Flow { local, remote }, len: run.len(), segment: 1_000 };
        near_datagrams.send(&near, &transmit, &run).unwrap();

        let (mut lengths, mut bytes) = (Vec::new(), Vec::new());
        while bytes.len() < run.len() {
            for (flow, of_run, run) in receive(&far, &mut far_datagrams) {
                assert_eq!(flow, Flow { local: remote, remote: local });
                lengths.extend(of_run);
                bytes.extend(run);
            }
        }
        assert_eq!(lengths, [1_000, 1_000, 500]);
        assert_eq!(bytes, run);
    }

    #[test]
    fn datagrams_to_other_addresses_than_ours_are_dropped() {
        let ours = IpAddr::from(Ipv4Addr::new(127, 0, 0, 2));
        let (socket, mut datagrams) = open("0.0.0.0:0", &[ours]);
        let port = socket.local_addr().unwrap().port();
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        far.send_to(b"other", ("127.0.0.3", port)).unwrap();
        assert_eq!(receive(&socket, &mut datagrams), []);
        far.send_to(b"ours", ("127.0.0.2", port)).unwrap();
        assert_eq!(receive(&socket, &mut datagrams).len(), 1);
    }
}
