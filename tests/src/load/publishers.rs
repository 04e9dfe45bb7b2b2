//! Those whose streams the viewers watch, on a thread of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::browser::{Session, Shape, Source};
use crate::client::Pages;
use crate::world::Party;

/// The number of the first publisher; no two have the same.
pub(super) const FIRST: u32 = 1;

const SOON: Duration = Duration::from_secs(10);
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
        server: SocketAddr,
        clock: Instant,
        names: Vec<String>,
        shape: Shape,
        source: Source,
    ) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&stop);
        let (sender, news) = mpsc::channel();
        let patience = SOON * 2;
        let thread = std::thread::spawn(move || {
            let mut pages = Pages::new(clock, FIRST);
            let started = publish(&mut pages, server, &names, &shape, source);
            run(&mut pages, started, &sender, &heard)
        });
        let publishers = Self { stop, news, thread: Some(thread) };
        match publishers.news.recv_timeout(patience) {
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

fn publish(
    pages: &mut Pages,
    server: SocketAddr,
    names: &[String],
    shape: &Shape,
    source: Source,
) -> Result<Vec<Party>, String> {
    let mut parties = Vec::new();
    for name in names {
        let failed = |what: &str| format!("publisher of {name}: {what}");
        let page = pages.open(server).map_err(|error| failed(&error.to_string()))?;
        let established =
            |pages: &Pages| pages.page(page).browser.session() == Session::Established;
        if !pages.run_until(SOON, established) {
            return Err(failed("no session"));
        }
        pages.browser(page).source = source;
        let party = pages.publish(page, name, shape.clone());
        let party = party.map_err(|error| failed(&error.to_string()))?;
        let told = |pages: &Pages| {
            let (status, connected) = state(pages, &party);
            status.starts_with("FAILED") || (status.starts_with("PUBLISHING") && connected)
        };
        let in_time = pages.run_until(SOON, told);
        let (status, connected) = state(pages, &party);
        if !in_time || !connected {
            return Err(failed(&status));
        }
        parties.push(party);
    }
    Ok(parties)
}

/// What a publisher was told last, and whether its media flow.
fn state(pages: &Pages, party: &Party) -> (String, bool) {
    let stream = pages.page(party.page).browser.stream(&party.id);
    stream.map_or((String::new(), false), |stream| {
        (format!("{} {}", stream.status(), stream.info()), stream.is_connected())
    })
}

/// Sends until it is told to stop. Answers with the key frames that were asked for.
fn run(
    pages: &mut Pages,
    started: Result<Vec<Party>, String>,
    news: &Sender<Result<(), String>>,
    stop: &AtomicBool,
) -> usize {
    // Nobody listens any more once this was waited for too long.
    let parties = match started {
        Ok(parties) => {
            let _ = news.send(Ok(()));
            parties
        }
        Err(problem) => {
            let _ = news.send(Err(problem));
            return 0;
        }
    };
    let mut told = false;
    while !stop.load(Ordering::Relaxed) {
        pages.run(Duration::from_millis(50));
        let stopped = parties.iter().map(|party| state(pages, party)).find(|(_, up)| !up);
        if let Some((status, _)) = stopped.filter(|_| !told) {
            told = true;
            let _ = news.send(Err(format!("a publisher stopped: {status}")));
        }
    }
    let requests = parties.iter().filter_map(|party| {
        let stream = pages.page(party.page).browser.stream(&party.id)?;
        Some(stream.key_frame_requests().len())
    });
    requests.sum()
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
