//! The servers under measurement, and the publisher whose packets they carry.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::browser::{Codec, Session, Shape, Source, Stream, Track};
use crate::client::Pages;
use crate::http;
use crate::process::{Runtime, Server};
use crate::world::Party;

/// The name that everybody plays.
pub(super) const NAME: &str = "figures";
/// How long anything may take that should come about soon.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// Numbers of the publisher's page and of the first viewer's: no two pages share one.
const PUBLISHER: u32 = 1;
const FIRST_VIEWER: u32 = 1_000;

/// A picture of 9 packets of 1 200 bytes 30 times a second, a packet of sound 50 times: 2.6 Mbit/s.
///
/// In H.264, where a packet in the middle of a frame has as long a header as the first.
pub(super) const FULL: Source = Source {
    frame_interval: Duration::from_micros(33_333),
    packets_per_frame: 9,
    audio_interval: Duration::from_millis(20),
    key_frame_interval: None,
    video_bytes: 1_172,
};

/// As little as keeps a stream alive.
pub(super) const SPARSE: Source = Source {
    frame_interval: Duration::from_millis(100),
    packets_per_frame: 1,
    audio_interval: Duration::from_millis(20),
    key_frame_interval: None,
    video_bytes: 200,
};

/// What everybody offers.
pub(super) fn shape() -> Shape {
    Shape::audio_video().only(Codec::H264)
}

/// An edge, an origin that pushes to it, and somebody who publishes on the origin.
#[derive(Debug)]
pub(super) struct Cdn {
    pub(super) edge: Server,
    pub(super) origin: Server,
    /// What all stand-ins count their time from.
    pub(super) clock: Instant,
    _publisher: Publisher,
}

impl Cdn {
    /// Starts everything; the edge has the stream then.
    pub(super) fn start(runtime: Runtime, source: Source) -> Result<Self, String> {
        let clock = Instant::now();
        let edge = Server::start(runtime, "", None)?;
        let balancing = format!(
            "<loadbalancer stream_distribution=\"webrtc\"><node id=\"1\"><ip>127.0.0.1</ip>\
             <ws>{}</ws></node></loadbalancer>",
            edge.addr("ws").port()
        );
        let origin = Server::start(runtime, "", Some(&balancing))?;
        let publisher = Publisher::start(origin.addr("ws"), clock, source)?;
        let cdn = Self { edge, origin, clock, _publisher: publisher };
        let end = Instant::now() + SOON;
        while http::figure(cdn.edge.addr("http"), "streams_webrtc_in").ok().flatten() != Some(1) {
            if Instant::now() > end {
                return Err(cdn.complaint("the edge did not get the stream"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(cdn)
    }

    /// Viewers' pages, none yet. Each caller has a `group` of its own.
    pub(super) fn pages(&self, group: u32) -> Pages {
        Pages::new(self.clock, FIRST_VIEWER * (group + 1))
    }

    /// Says what went wrong, and what the servers said to it.
    pub(super) fn complaint(&self, what: &str) -> String {
        format!("{what}\n{}\n{}", self.origin.log(), self.edge.log())
    }
}

/// Opens a page, and waits for its session.
pub(super) fn open(pages: &mut Pages, server: SocketAddr) -> Result<usize, String> {
    let page = pages.open(server).map_err(|error| error.to_string())?;
    let established = |pages: &Pages| pages.page(page).browser.session() == Session::Established;
    if pages.run_until(SOON, established) { Ok(page) } else { Err("no session".to_owned()) }
}

/// Plays the stream on a page.
pub(super) fn play(pages: &mut Pages, page: usize) -> Result<Party, String> {
    pages.play(page, NAME, shape()).map_err(|error| error.to_string())
}

/// The stream object of a viewer.
pub(super) fn stream<'a>(pages: &'a Pages, viewer: &Party) -> &'a Stream {
    let stream = pages.page(viewer.page).browser.stream(&viewer.id);
    stream.expect("it was made when the viewer was")
}

/// All that came in at a viewer.
pub(super) fn tracks<'a>(pages: &'a Pages, viewer: &Party) -> impl Iterator<Item = &'a Track> {
    stream(pages, viewer).tracks().values()
}

/// A thread with a page that publishes. It ends with this value.
#[derive(Debug)]
struct Publisher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Answers when the server has said PUBLISHING.
    fn start(server: SocketAddr, clock: Instant, source: Source) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let heard = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut pages = Pages::new(clock, PUBLISHER);
            // Nobody listens any more once this was waited for too long.
            let _ = sender.send(publish(&mut pages, server, source));
            while !heard.load(Ordering::Relaxed) {
                pages.run(Duration::from_millis(50));
            }
        });
        let publisher = Self { stop, thread: Some(thread) };
        match receiver.recv_timeout(SOON * 2) {
            Ok(published) => published.map(|()| publisher),
            Err(_) => Err("the publisher is stuck".to_owned()),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Should it have panicked, it has said so on its own.
            let _ = thread.join();
        }
    }
}

fn publish(pages: &mut Pages, server: SocketAddr, source: Source) -> Result<(), String> {
    let page = open(pages, server)?;
    pages.browser(page).source = source;
    let published = pages.publish(page, NAME, shape()).map_err(|error| error.to_string())?;
    let publishing = |pages: &Pages| {
        let stream = stream(pages, &published);
        stream.status() == "PUBLISHING" && stream.is_connected()
    };
    if pages.run_until(SOON, publishing) { Ok(()) } else { Err("cannot publish".to_owned()) }
}
