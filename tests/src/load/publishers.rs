//! Those whose streams the viewers watch, on a thread of their own.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::address::Protocol;
use super::connection::Server;
use super::publisher::{Craft, Publisher};
use super::rtp_source::RtpSource;
use crate::browser::{Shape, Source};

/// The number of the first publisher; no two have the same.
pub(super) const FIRST: u32 = 1;

const SOON: Duration = Duration::from_secs(10);
/// How long a server may take to hear that everybody leaves.
const FAREWELL: Duration = Duration::from_secs(1);
/// Between two looks at whether they are to stop.
const LOOK: Duration = Duration::from_millis(50);
const EVENTS_A_TURN: usize = 256;
const FRAMES_A_SECOND: u64 = 30;
/// Bytes of a full video payload, and how many of them every payload has anyway.
const PAYLOAD_BYTES: u64 = 1_200;
const STAMP_BYTES: u64 = 28;

/// Publishers that send until this value ends.
#[derive(Debug)]
pub(super) struct Publishers {
    stop: Arc<AtomicBool>,
    news: Receiver<Result<(), String>>,
    thread: Option<JoinHandle<usize>>,
}

/// A source of pictures in packets of 1 200 bytes, as many of them as come next to this bit rate,
/// and of sound 50 times a second. Below one packet a picture, the packets shrink.
pub(super) fn source(bitrate: u64) -> Source {
    let frame = bitrate / 8 / FRAMES_A_SECOND;
    let packets = ((frame + PAYLOAD_BYTES / 2) / PAYLOAD_BYTES).max(1);
    let bytes = if packets > 1 { PAYLOAD_BYTES } else { frame.clamp(STAMP_BYTES, PAYLOAD_BYTES) };
    Source {
        frame_interval: Duration::from_micros(33_333),
        packets_per_frame: u16::try_from(packets).unwrap_or(u16::MAX),
        audio_interval: Duration::from_millis(20),
        key_frame_interval: None,
        video_bytes: u16::try_from(bytes - STAMP_BYTES).unwrap_or_default(),
    }
}

impl Publishers {
    /// Starts them, one for each name; all publish when this answers.
    pub(super) fn start(
        server: Arc<Server>,
        clock: Instant,
        names: Vec<String>,
        shape: Shape,
        source: Source,
    ) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&stop);
        let (sender, news) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            if server.address.protocol == Protocol::Rtp {
                feed(&server, clock, source, &sender, &heard);
                return 0;
            }
            let crypto = Arc::new(str0m::crypto::from_feature_flags());
            let craft = Craft { server, clock, shape, source, crypto };
            publish(craft, &names, &sender, &heard)
        });
        let publishers = Self { stop, news, thread: Some(thread) };
        match publishers.news.recv_timeout(SOON * 2) {
            Ok(started) => started.map(|()| publishers),
            Err(_) => Err("the publishers are stuck".to_owned()),
        }
    }

    /// Why one of them stopped, if one did.
    pub(super) fn problem(&self) -> Option<String> {
        self.news.try_recv().ok().and_then(Result::err)
    }

    /// Ends them, and answers with how often they were asked for a key frame.
    pub(super) fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take();
        // Should it have panicked, it has said so on its own.
        thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Publishers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // As above.
            let _ = thread.join();
        }
    }
}

/// Sends bare RTP until it is told to stop.
fn feed(
    server: &Server,
    clock: Instant,
    source: Source,
    news: &Sender<Result<(), String>>,
    stop: &AtomicBool,
) {
    let feeding = RtpSource::new(server.address.socket, clock, source, FIRST);
    let mut feeding = match feeding {
        Ok(feeding) => feeding,
        Err(error) => {
            let _ = news.send(Err(format!("no RTP to {}: {error}", server.address.host)));
            return;
        }
    };
    // Nobody listens any more once this was waited for too long.
    let _ = news.send(Ok(()));
    while !stop.load(Ordering::Relaxed) {
        feeding.advance(Instant::now());
        let wait = feeding.due().saturating_duration_since(Instant::now());
        std::thread::sleep(wait.min(LOOK));
    }
}

/// Publishes until it is told to stop. Answers with the key frames that were asked for.
fn publish(
    craft: Craft,
    names: &[String],
    news: &Sender<Result<(), String>>,
    stop: &AtomicBool,
) -> usize {
    let mut stage = match Stage::open(craft, names) {
        Ok(stage) => stage,
        Err(problem) => {
            // As above.
            let _ = news.send(Err(problem));
            return 0;
        }
    };
    let _ = news.send(Ok(()));
    let mut told = false;
    while !stop.load(Ordering::Relaxed) {
        stage.run_until(LOOK, |_| false);
        let stopped = stage.publishers.iter().find_map(|publisher| publisher.ending.clone());
        if let Some(why) = stopped.filter(|_| !told) {
            told = true;
            let _ = news.send(Err(format!("a publisher stopped: {why}")));
        }
    }
    stage.leave();
    stage.publishers.iter().map(Publisher::key_frame_requests).sum()
}

/// Publishers of one server, and the loop that carries their bytes.
struct Stage {
    craft: Craft,
    poll: Poll,
    reported: Events,
    publishers: Vec<Publisher>,
}

impl Stage {
    /// Lets one publisher after the other begin; all publish when this answers.
    fn open(craft: Craft, names: &[String]) -> Result<Self, String> {
        let poll = Poll::new().map_err(|error| error.to_string())?;
        let reported = Events::with_capacity(EVENTS_A_TURN);
        let mut stage = Self { craft, poll, reported, publishers: Vec::new() };
        for (number, name) in (FIRST..).zip(names) {
            let failed = |why: &str| format!("publisher of {name}: {why}");
            let index = stage.publishers.len();
            let registry = stage.poll.registry();
            let opened = Publisher::open(&stage.craft, name, registry, Token(2 * index), number);
            stage.publishers.push(opened.map_err(|why| failed(&why))?);
            let last =
                |stage: &Self| stage.publishers.last().map(|it| (it.is_up(), it.ending.clone()));
            stage.run_until(SOON, |stage| !matches!(last(stage), Some((false, None))));
            match last(&stage) {
                Some((true, _)) => {}
                Some((false, Some(why))) => return Err(failed(&why)),
                Some((false, None)) | None => return Err(failed("no media in time")),
            }
        }
        Ok(stage)
    }

    /// Runs all for this long, or until `done`.
    fn run_until(&mut self, span: Duration, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + span;
        while !done(self) && Instant::now() < end {
            self.turn(end);
        }
    }

    fn turn(&mut self, end: Instant) {
        let due = self.publishers.iter().filter_map(Publisher::due).fold(end, Instant::min);
        let wait = due.saturating_duration_since(Instant::now());
        match self.poll.poll(&mut self.reported, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => result.expect("epoll works on sockets that it took"),
        }
        for event in &self.reported {
            let Token(number) = event.token();
            let Some(publisher) = self.publishers.get_mut(number / 2) else { continue };
            if number % 2 == 0 {
                publisher.tcp_ready(&self.craft, self.poll.registry());
            } else {
                publisher.udp_ready();
            }
        }
        for publisher in &mut self.publishers {
            let now = Instant::now();
            if publisher.due().is_some_and(|due| due <= now) {
                publisher.timeout(now);
            }
        }
    }

    /// Lets everybody leave.
    fn leave(&mut self) {
        for publisher in &mut self.publishers {
            publisher.leave(self.poll.registry());
        }
        self.run_until(FAREWELL, |stage| stage.publishers.iter().all(Publisher::has_left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::browser::{Codec, Stamp};

    #[test]
    fn packets_are_full_and_as_many_as_the_bit_rate_wants() {
        for (bitrate, packets, bytes) in [
            (2_600_000, 9, 1_200),
            (900_000, 3, 1_200),
            (432_000, 2, 1_200),
            (240_000, 1, 1_000),
            (1, 1, 28),
        ] {
            let source = source(bitrate);
            let stamp = Stamp { publisher: 1, counter: 1, sent: Duration::ZERO, key_frame: false };
            let payload = stamp.payload(Codec::H264, true, source.video_bytes);
            assert_eq!((source.packets_per_frame, payload.len()), (packets, bytes), "{bitrate}");
        }
    }
}
