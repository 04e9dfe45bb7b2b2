//! What the way over an edge adds to the way over the origin alone.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::cdn::{self, Cdn, FULL, SOON};
use super::spread::Spread;
use crate::client::Pages;
use crate::process::Runtime;

/// What the start of two viewers stirs up is not looked at.
const SETTLE: Duration = Duration::from_millis(500);

/// The same packets at a viewer of the origin and at a viewer of the edge.
#[derive(Clone, PartialEq, Debug)]
pub struct Hop {
    /// Packets that were compared.
    pub packets: usize,
    /// From the publisher to the origin's viewer.
    pub origin: Spread,
    /// From the publisher to the edge's viewer.
    pub edge: Spread,
    /// How much later, packet by packet, it came to the edge's viewer. Either server may be the
    /// one that the machine lets wait, so single packets may well be negative.
    pub added: Spread,
}

/// When a packet left and when it came, by kind and by the publisher's count.
type Arrivals = BTreeMap<(bool, u32), (Duration, Duration)>;

impl Hop {
    pub(super) fn measure(runtime: Runtime, span: Duration) -> Result<Self, String> {
        let cdn = Cdn::start(runtime, FULL)?;
        // Each on a thread of its own: neither has to wait while the other one decrypts.
        let watching = [cdn.origin.addr("ws"), cdn.edge.addr("ws")].into_iter().zip(0..);
        let threads: Vec<_> = watching
            .map(|(server, group)| {
                let pages = cdn.pages(group);
                std::thread::spawn(move || watch(pages, server, span))
            })
            .collect();
        let mut seen = Vec::new();
        for thread in threads {
            let arrivals = thread.join().map_err(|_| "a viewer panicked".to_owned())?;
            seen.push(arrivals.map_err(|what| cdn.complaint(&what))?);
        }
        let [origin, edge] = seen.as_slice() else { return Err("two viewers".to_owned()) };
        let both: Vec<(Duration, Duration, Duration)> = origin
            .iter()
            .filter_map(|(which, (sent, at))| Some((*sent, *at, edge.get(which)?.1)))
            .collect();
        let later = |(_, origin, edge): &(Duration, Duration, Duration)| {
            (edge.as_secs_f64() - origin.as_secs_f64()) * 1e3
        };
        let spreads = (
            Spread::of(both.iter().map(|(sent, origin, _)| origin.saturating_sub(*sent))),
            Spread::of(both.iter().map(|(sent, _, edge)| edge.saturating_sub(*sent))),
            Spread::of_ms(both.iter().map(later)),
        );
        match spreads {
            (Some(origin), Some(edge), Some(added)) => {
                Ok(Self { packets: both.len(), origin, edge, added })
            }
            _ => Err(cdn.complaint("the two viewers saw nothing in common")),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "packets": self.packets,
            "origin": self.origin.json(),
            "edge": self.edge.json(),
            "added": self.added.json(),
        })
    }
}

fn watch(mut pages: Pages, server: SocketAddr, span: Duration) -> Result<Arrivals, String> {
    let page = cdn::open(&mut pages, server)?;
    let viewer = cdn::play(&mut pages, page)?;
    let picture = |pages: &Pages| {
        cdn::tracks(pages, &viewer).any(|track| track.packets.iter().any(|it| it.key_frame))
    };
    if !pages.run_until(SOON, picture) {
        return Err("no picture".to_owned());
    }
    pages.run(SETTLE);
    let settled = pages.now();
    pages.run(span);
    let mut arrivals = Arrivals::new();
    for track in cdn::tracks(&pages, &viewer) {
        for packet in track.packets.iter().filter(|packet| packet.at >= settled) {
            if let Some(stamp) = packet.stamp {
                let which = (track.codec.is_video(), stamp.counter);
                arrivals.entry(which).or_insert((stamp.sent, packet.at));
            }
        }
    }
    Ok(arrivals)
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, spread) in [
            ("over the origin", &self.origin),
            ("over the edge", &self.edge),
            ("added", &self.added),
        ] {
            writeln!(
                f,
                "  hop    {what:16} p50 {:.3} ms, p99 {:.3} ms; {} packets",
                spread.p50, spread.p99, self.packets
            )?;
        }
        Ok(())
    }
}
