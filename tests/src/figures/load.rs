//! What it costs the servers to serve one publisher and many viewers.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::cdn::{self, Cdn, FULL, SOON};
use super::spread::round;
use super::usage::{Usage, Used, resident_kib};
use crate::client::Pages;
use crate::process::Runtime;
use crate::world::Party;

/// What joins leave to be done is not looked at.
const SETTLE: Duration = Duration::from_secs(1);
/// A thread this busy, or kept this long from a core, may be what limits the figures.
const SATURATED_PERCENT: f64 = 90.0;

/// A publisher of 320 packets a second on the origin, viewers of all of them on the edge.
#[derive(Clone, PartialEq, Debug)]
pub struct Load {
    /// How many viewers.
    pub viewers: usize,
    /// Packets that came to them.
    pub packets: usize,
    /// Packets that never came to one of them, retransmission notwithstanding.
    pub lost: usize,
    /// Packets that came after a later one, most of them because they were sent again.
    pub late: usize,
    /// The origin, which has one publisher and one edge.
    pub origin: Used,
    /// The edge, which has the viewers.
    pub edge: Used,
    /// The thread of this process that is all the viewers.
    pub viewers_thread: Used,
    /// The edge's memory before the first viewer.
    pub edge_kib_before: u64,
    /// The edge's memory with all viewers.
    pub edge_kib: u64,
}

impl Load {
    pub(super) fn measure(
        runtime: Runtime,
        viewers: usize,
        span: Duration,
    ) -> Result<Self, String> {
        let cdn = Cdn::start(runtime, FULL)?;
        let (origin, edge) = (cdn.origin.pid(), cdn.edge.pid());
        let mut pages = cdn.pages(0);
        let edge_kib_before = resident_kib(edge)?;
        let mut parties = Vec::new();
        for _ in 0..viewers {
            let page = cdn::open(&mut pages, cdn.edge.addr("ws"))?;
            parties.push(cdn::play(&mut pages, page)?);
        }
        let all_see = |pages: &Pages| {
            parties.iter().all(|viewer| cdn::tracks(pages, viewer).any(|it| !it.packets.is_empty()))
        };
        if !pages.run_until(SOON, all_see) {
            return Err(cdn.complaint("not every viewer got something"));
        }
        pages.run(SETTLE);
        let usage =
            || Ok::<_, String>([Usage::of(origin)?, Usage::of(edge)?, Usage::of_this_thread()?]);
        let (from, before) = (pages.now(), usage()?);
        pages.run(span);
        let (to, after) = (pages.now(), usage()?);
        let edge_kib = resident_kib(edge)?;
        let [origin, edge, viewers_thread] =
            [0, 1, 2].map(|at: usize| Some(after.get(at)?.since(before.get(at)?)));
        let used = (origin, edge, viewers_thread);
        let (Some(origin), Some(edge), Some(viewers_thread)) = used else {
            return Err("three threads of execution".to_owned());
        };
        // The last packets have their time to come, or to be asked for again.
        pages.run(SETTLE);
        let counts = parties.iter().map(|viewer| Count::of(&pages, viewer, from, to));
        let Count { packets, lost, late } = counts.fold(Count::default(), Count::plus);
        Ok(Self {
            viewers,
            packets,
            lost,
            late,
            origin,
            edge,
            viewers_thread,
            edge_kib_before,
            edge_kib,
        })
    }

    /// The edge's CPU for one packet to one viewer, ingest and everything else included.
    pub fn edge_ns_per_packet(&self) -> f64 {
        self.edge.cpu.as_nanos() as f64 / self.packets.max(1) as f64
    }

    /// What a viewer adds to the edge's memory.
    pub fn edge_kib_per_viewer(&self) -> f64 {
        self.edge_kib.saturating_sub(self.edge_kib_before) as f64 / self.viewers.max(1) as f64
    }

    /// Whether the viewers themselves may have been too slow for what they got.
    pub fn viewers_saturated(&self) -> bool {
        let thread = &self.viewers_thread;
        thread.cpu_percent() + thread.waited_percent() > SATURATED_PERCENT
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "viewers": self.viewers,
            "packets": self.packets,
            "lost": self.lost,
            "late": self.late,
            "origin": self.origin.json(),
            "edge": self.edge.json(),
            "viewers_thread": self.viewers_thread.json(),
            "viewers_saturated": self.viewers_saturated(),
            "edge_ns_per_packet": round(self.edge_ns_per_packet()),
            "edge_rss_kib": self.edge_kib,
            "edge_rss_kib_per_viewer": round(self.edge_kib_per_viewer()),
        })
    }
}

#[derive(Default)]
struct Count {
    packets: usize,
    lost: usize,
    late: usize,
}

impl Count {
    fn of(pages: &Pages, viewer: &Party, from: Duration, to: Duration) -> Self {
        let mut count = Self::default();
        for track in cdn::tracks(pages, viewer) {
            count.lost += track.gaps().len();
            let mut newest = 0;
            for packet in &track.packets {
                let within = (from..to).contains(&packet.at);
                count.packets += usize::from(within);
                count.late += usize::from(within && packet.sequence < newest);
                newest = newest.max(packet.sequence);
            }
        }
        count
    }

    fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            lost: self.lost + other.lost,
            late: self.late + other.late,
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  load   {} viewers: edge {:.0} ns a packet, {} packets, {} lost, {} late; \
             RSS {} KiB, {:.0} KiB a viewer",
            self.viewers,
            self.edge_ns_per_packet(),
            self.packets,
            self.lost,
            self.late,
            self.edge_kib,
            self.edge_kib_per_viewer(),
        )?;
        let processes =
            [("origin", &self.origin), ("edge", &self.edge), ("viewers", &self.viewers_thread)];
        for (name, used) in processes {
            writeln!(
                f,
                "  load   {name:7} {:.1} % of a core, kept waiting for one {:.1} % of the time, \
                 {:.0} sleeps a second",
                used.cpu_percent(),
                used.waited_percent(),
                used.sleeps as f64 / used.wall.as_secs_f64(),
            )?;
        }
        if self.viewers_saturated() {
            writeln!(f, "  load   the viewers themselves had no time left: take care")?;
        }
        Ok(())
    }
}
