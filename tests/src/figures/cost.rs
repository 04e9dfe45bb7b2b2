//! What it costs an edge that a viewer comes and goes.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::cdn::{self, Cdn, SOON, SPARSE};
use super::spread::round;
use super::usage::Usage;
use crate::client::Pages;
use crate::process::Runtime;

/// How long the edge is watched without viewers, for what it does anyway.
const IDLE: Duration = Duration::from_secs(1);

/// Viewers who come to the edge one after another, get their first packet, and leave.
#[derive(Clone, PartialEq, Debug)]
pub struct Cost {
    /// How many.
    pub joins: usize,
    /// The edge's CPU for one of them: TCP, WebSocket, SDP, ICE, DTLS, and the end of all that.
    /// What it spends without viewers is taken off.
    pub cpu: Duration,
}

impl Cost {
    pub(super) fn measure(runtime: Runtime, joins: usize) -> Result<Self, String> {
        let cdn = Cdn::start(runtime, SPARSE)?;
        let mut pages = cdn.pages(0);
        join(&cdn, &mut pages)?;
        pages.run(IDLE);
        let resting = Usage::of(cdn.edge.pid())?;
        pages.run(IDLE);
        let before = Usage::of(cdn.edge.pid())?;
        for _ in 0..joins {
            join(&cdn, &mut pages)?;
        }
        let used = Usage::of(cdn.edge.pid())?.since(&before);
        let rest = before.since(&resting);
        let anyway = rest.cpu.mul_f64(used.wall.as_secs_f64() / rest.wall.as_secs_f64());
        let cpu = used.cpu.saturating_sub(anyway).div_f64(joins.max(1) as f64);
        Ok(Self { joins, cpu })
    }

    pub(super) fn json(&self) -> Value {
        json!({ "joins": self.joins, "cpu_ms_per_join": round(self.cpu_ms()) })
    }

    /// The cost of one join in ms.
    pub fn cpu_ms(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3
    }
}

fn join(cdn: &Cdn, pages: &mut Pages) -> Result<(), String> {
    let page = cdn::open(pages, cdn.edge.addr("ws"))?;
    let viewer = cdn::play(pages, page)?;
    let something =
        |pages: &Pages| cdn::tracks(pages, &viewer).any(|track| !track.packets.is_empty());
    if !pages.run_until(SOON, something) {
        return Err(cdn.complaint("a viewer got nothing"));
    }
    pages.leave(page);
    Ok(())
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  cost   {:.3} ms of the edge's CPU a join; {} joins",
            self.cpu_ms(),
            self.joins
        )
    }
}
