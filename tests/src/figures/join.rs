//! How long a viewer waits for sound and picture.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::cdn::{self, Cdn, FULL, SOON};
use super::spread::Spread;
use crate::browser::Track;
use crate::process::Runtime;

/// Longer than the least time between two key frames that are asked for, so that no viewer waits
/// because of the one before.
const PAUSE: Duration = Duration::from_millis(600);

/// From `playStream` to what a viewer waits for, on an edge that has the stream.
#[derive(Clone, PartialEq, Debug)]
pub struct Join {
    /// Viewers, who came one after another.
    pub joins: usize,
    /// Until the first packet of media.
    pub first_packet: Spread,
    /// Until all packets of the first key frame were there. With 30 pictures a second, up to
    /// 33 ms of it pass until there is a next picture.
    pub first_picture: Spread,
}

impl Join {
    pub(super) fn measure(runtime: Runtime, joins: usize) -> Result<Self, String> {
        let cdn = Cdn::start(runtime, FULL)?;
        let mut pages = cdn.pages(0);
        let mut waits = Vec::new();
        // The first finds cold caches, and a link that may just have come up.
        for _ in 0..=joins {
            let page = cdn::open(&mut pages, cdn.edge.addr("ws"))?;
            // Somewhere between two pictures.
            pages.run(PAUSE + Duration::from_micros(fastrand::u64(..33_333)));
            let viewer = cdn::play(&mut pages, page)?;
            // The offer is made; now it is sent.
            let asked = cdn.clock.elapsed();
            let mut picture = None;
            let came = pages.run_until(SOON, |pages| {
                picture = cdn::tracks(pages, &viewer).find_map(complete_key_frame);
                picture.is_some()
            });
            let packets = cdn::tracks(&pages, &viewer).flat_map(|track| track.packets.first());
            let packet = packets.map(|packet| packet.at).min();
            match (packet, picture) {
                (Some(packet), Some(picture)) if came => {
                    waits.push((packet.saturating_sub(asked), picture.saturating_sub(asked)));
                }
                _ => return Err(cdn.complaint("no picture")),
            }
            pages.leave(page);
        }
        let measured = || waits.iter().skip(1);
        let first_packet = Spread::of(measured().map(|(packet, _)| *packet));
        let first_picture = Spread::of(measured().map(|(_, picture)| *picture));
        match (first_packet, first_picture) {
            (Some(first_packet), Some(first_picture)) => {
                Ok(Self { joins, first_packet, first_picture })
            }
            _ => Err("no joins to measure".to_owned()),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "joins": self.joins,
            "first_packet": self.first_packet.json(),
            "first_picture": self.first_picture.json(),
        })
    }
}

/// When the last packet of the first key frame that is whole came.
fn complete_key_frame(track: &Track) -> Option<Duration> {
    let mut begins = track.packets.iter().filter(|packet| packet.key_frame);
    begins.find_map(|first| {
        let frame = || track.packets.iter().filter(|it| it.timestamp == first.timestamp);
        let last = frame().find(|packet| packet.marker)?.sequence;
        let came: Option<Vec<Duration>> = (first.sequence..=last)
            .map(|sequence| Some(frame().find(|packet| packet.sequence == sequence)?.at))
            .collect();
        came?.into_iter().max()
    })
}

impl fmt::Display for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { joins, first_packet, first_picture } = self;
        writeln!(
            f,
            "  join   from playStream to the first packet {:.1} ms (p95 {:.1}), to the first \
             picture {:.1} ms (p95 {:.1}); {joins} joins",
            first_packet.p50, first_packet.p95, first_picture.p50, first_picture.p95
        )
    }
}
