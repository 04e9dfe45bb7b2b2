//! The process itself.

use std::io::{self, BufRead, ErrorKind, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use serde_json::json;
use socket2::SockRef;

use super::super::profiles::Profile;
use super::super::srtp::Sealer;
use super::keys;
use super::media::{HEAD_BYTES, Media, Packet};

/// As much as servers ask for; the kernel may grant less.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Room for a run of reports of one viewer.
const REPORT_BYTES: usize = 4_096;
/// Bytes that one run may have; a datagram of 64 KiB has no room for headers.
const RUN_BYTES_MAX: usize = 65_000;

/// Is the floor's process, until stdin ends: reads one line there that says for whom, and sends.
///
/// # Errors
///
/// In one sentence.
pub fn serve() -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let addr = socket.local_addr().map_err(failed)?;
    let mut sender = Sender::new(socket).map_err(failed)?;
    say(&format!("ready media={addr}")).map_err(failed)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(failed)?;
    if line.is_empty() {
        return Ok(());
    }
    let orders = Orders::read(&line).ok_or_else(|| format!("cannot make sense of {line:?}"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&stop);
    std::thread::spawn(move || {
        // Nothing comes any more but the end.
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        heard.store(true, Ordering::Relaxed);
    });
    sender.run(&orders, &stop).map_err(failed)?;
    say(&sender.done.json().to_string()).map_err(failed)
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}

/// For whom.
struct Orders {
    viewers: Vec<(SocketAddr, Sealer)>,
    /// When the viewers' clock showed 0.
    clock: Instant,
}

impl Orders {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let profile = Profile::named(words.next()?).ok()?;
        let began = Duration::from_micros(words.next()?.parse().ok()?);
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let clock = Instant::now().checked_sub(unix.saturating_sub(began))?;
        let mut viewers = Vec::new();
        for (index, port) in words.next()?.split(',').enumerate() {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?));
            viewers.push((addr, Sealer::new(&keys(index, profile, false))?));
        }
        Some(Self { viewers, clock })
    }
}

/// What was done in all.
#[derive(Debug, Default)]
struct Done {
    packets: u64,
    runs: u64,
    reports: u64,
    wakeups: u64,
    skipped: u64,
    seconds: f64,
}

impl Done {
    fn json(&self) -> serde_json::Value {
        json!({
            "packets": self.packets,
            "runs": self.runs,
            "reports": self.reports,
            "wakeups": self.wakeups,
            "skipped": self.skipped,
            "seconds": self.seconds,
        })
    }
}

struct Sender {
    socket: UdpSocket,
    state: UdpSocketState,
    poll: Poll,
    events: Events,
    /// The packets of one viewer, sealed.
    slab: Vec<u8>,
    room: Vec<u8>,
    done: Done,
}

/// Segments of one length, of which the last may be shorter.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Run {
    bytes: Range<usize>,
    segment: usize,
}

impl Sender {
    fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        SockRef::from(&socket).set_recv_buffer_size(BUFFER_BYTES)?;
        SockRef::from(&socket).set_send_buffer_size(BUFFER_BYTES)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let mut socket = UdpSocket::from_std(socket);
        let poll = Poll::new()?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, Token(0), both)?;
        Ok(Self {
            socket,
            state,
            poll,
            events: Events::with_capacity(4),
            slab: Vec::new(),
            room: vec![0; BATCH_SIZE * REPORT_BYTES],
            done: Done::default(),
        })
    }

    fn run(&mut self, orders: &Orders, stop: &AtomicBool) -> io::Result<()> {
        let begun = orders.clock.elapsed();
        let mut media = Media::new(begun);
        while !stop.load(Ordering::Relaxed) {
            let packets = media.due(orders.clock.elapsed());
            if !packets.is_empty() {
                self.send(orders, &packets)?;
            }
            let wait = media.next().saturating_sub(orders.clock.elapsed());
            self.wait(wait)?;
            self.receive();
        }
        self.done.skipped = media.skipped;
        self.done.seconds = (orders.clock.elapsed() - begun).as_secs_f64();
        Ok(())
    }

    /// Seals packets for every viewer, and sends them.
    fn send(&mut self, orders: &Orders, packets: &[Packet]) -> io::Result<()> {
        let Some((_, any)) = orders.viewers.first() else { return Ok(()) };
        let tag = any.tag_bytes();
        let lengths = packets.iter().map(|packet| packet.bytes.len() + tag);
        self.slab.resize(lengths.clone().sum(), 0);
        let runs = runs(lengths, self.state.max_gso_segments());
        for (addr, sealer) in &orders.viewers {
            let mut rest = self.slab.as_mut_slice();
            for packet in packets {
                let (sealed, after) = rest.split_at_mut(packet.bytes.len() + tag);
                rest = after;
                let (text, _) = sealed.split_at_mut(packet.bytes.len());
                text.copy_from_slice(&packet.bytes);
                sealer.seal(sealed, HEAD_BYTES, packet.index).ok_or(ErrorKind::InvalidData)?;
            }
            for run in &runs {
                self.send_run(*addr, run)?;
            }
            self.done.packets += packets.len() as u64;
        }
        Ok(())
    }

    fn send_run(&mut self, destination: SocketAddr, run: &Run) -> io::Result<()> {
        self.done.runs += 1;
        loop {
            let contents = self.slab.get(run.bytes.clone()).unwrap_or_default();
            let segment_size = Some(run.segment);
            let transmit =
                Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
            let (socket, state) = (&self.socket, &self.state);
            match socket.try_io(|| state.try_send(UdpSockRef::from(socket), &transmit)) {
                // The kernel has no room: it has some again when viewers have read.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(Duration::from_millis(10))?;
                }
                // The echo of what was sent to a viewer that is gone.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                sent => return sent,
            }
        }
    }

    fn wait(&mut self, at_most: Duration) -> io::Result<()> {
        self.done.wakeups += 1;
        match self.poll.poll(&mut self.events, Some(at_most)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// Receives all reports that there are.
    fn receive(&mut self) {
        let (socket, state) = (&self.socket, &self.state);
        let mut met = [RecvMeta::default(); BATCH_SIZE];
        loop {
            let mut rooms = self.room.chunks_mut(REPORT_BYTES).map(IoSliceMut::new);
            let mut rooms: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| rooms.next().expect("there is room for a batch"));
            let received =
                socket.try_io(|| state.recv(UdpSockRef::from(socket), &mut rooms, &mut met));
            // An error is the end, or an echo of what was sent to a viewer that is gone.
            let Ok(received) = received else { return };
            for met in met.iter().take(received) {
                self.done.reports += met.len.div_ceil(met.stride.max(1)) as u64;
            }
            if received < BATCH_SIZE {
                return;
            }
        }
    }
}

/// The fewest runs that hold segments of these lengths, in this order.
fn runs(lengths: impl Iterator<Item = usize>, segments_max: usize) -> Vec<Run> {
    let mut runs: Vec<(Run, usize)> = Vec::new();
    let mut at = 0;
    for length in lengths {
        let end = at + length;
        match runs.last_mut() {
            Some((run, segments))
                if length <= run.segment
                    // No segment was shorter yet.
                    && run.bytes.len() == run.segment * *segments
                    && *segments < segments_max
                    && end - run.bytes.start <= RUN_BYTES_MAX =>
            {
                run.bytes.end = end;
                *segments += 1;
            }
            _ => runs.push((Run { bytes: at..end, segment: length }, 1)),
        }
        at = end;
    }
    runs.into_iter().map(|(run, _)| run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(bytes: Range<usize>, segment: usize) -> Run {
        Run { bytes, segment }
    }

    #[test]
    fn runs_are_of_one_length_but_for_the_last() {
        let of = |lengths: &[usize]| runs(lengths.iter().copied(), 4);
        assert_eq!(of(&[]), []);
        // Sound rides behind a picture.
        assert_eq!(of(&[10, 10, 3]), [run(0..23, 10)]);
        // Two sounds do not.
        assert_eq!(of(&[10, 10, 3, 3]), [run(0..23, 10), run(23..26, 3)]);
        assert_eq!(of(&[10, 12, 12]), [run(0..10, 10), run(10..34, 12)]);
        assert_eq!(of(&[5; 9]), [run(0..20, 5), run(20..40, 5), run(40..45, 5)]);
        assert_eq!(of(&[30_000; 3]), [run(0..60_000, 30_000), run(60_000..90_000, 30_000)]);
    }

    #[test]
    fn orders_are_read() {
        let orders = Orders::read("aes-cm 1000000 5000,5001\n").unwrap();
        let ports: Vec<u16> = orders.viewers.iter().map(|(addr, _)| addr.port()).collect();
        assert_eq!(ports, [5_000, 5_001]);
        for wrong in ["", "aes-cm", "aes-cm 1", "aes 1 5000", "aes-cm x 5000", "aes-cm 1 5000,x"] {
            assert!(Orders::read(wrong).is_none(), "{wrong}");
        }
    }
}
