//! What nodes use of the machine in the end against what they used in the beginning.

use std::fs;
use std::time::Duration;

use crate::figures::resident_kib;

/// After this share of the time memory is looked at first, in this share of it, and the same way
/// before the end.
const EARLY: f64 = 1.0 / 6.0;
const WINDOW: f64 = 1.0 / 12.0;
/// Memory may grow by this share from then on.
const GROWTH_MAX: f64 = 0.05;
/// In a shorter time memory has not settled, and is told but not judged.
const SHORT: Duration = Duration::from_secs(300);

/// All nodes that are watched.
#[derive(Debug)]
pub(super) struct Health {
    nodes: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    name: String,
    pid: u32,
    descriptors: usize,
    early: Vec<u64>,
    late: Vec<u64>,
}

/// One node.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// What it is called.
    pub name: String,
    /// Its descriptors before, and in the end.
    pub descriptors: (usize, usize),
    /// Its resident memory after a sixth of the time, and at the end of it, in KiB.
    pub kib: (u64, u64),
    /// Whether that was watched for long enough to mean something.
    pub settled: bool,
}

impl Health {
    pub(super) fn new(nodes: impl Iterator<Item = (String, u32)>) -> Self {
        let watched = |(name, pid)| Watched {
            name,
            pid,
            descriptors: 0,
            early: Vec::new(),
            late: Vec::new(),
        };
        Self { nodes: nodes.map(watched).collect() }
    }

    /// Takes note of what there is before anybody comes and goes.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            node.descriptors = descriptors(node.pid)?;
        }
        Ok(())
    }

    /// Looks at memory, when so much of the time is over.
    pub(super) fn look(&mut self, share: f64) -> Result<(), String> {
        for node in &mut self.nodes {
            let kib = resident_kib(node.pid)?;
            if (EARLY..EARLY + WINDOW).contains(&share) {
                node.early.push(kib);
            } else if share >= 1.0 - WINDOW {
                node.late.push(kib);
            }
        }
        Ok(())
    }

    /// Whether no node has more descriptors than before.
    pub(super) fn is_as_before(&self) -> Result<bool, String> {
        for node in &self.nodes {
            if descriptors(node.pid)? > node.descriptors {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What came of it.
    pub(super) fn nodes(&self, took: Duration) -> Vec<Node> {
        let of = |node: &Watched| Node {
            name: node.name.clone(),
            descriptors: (node.descriptors, descriptors(node.pid).unwrap_or(usize::MAX)),
            kib: (mean(&node.early), mean(&node.late)),
            settled: took >= SHORT,
        };
        self.nodes.iter().map(of).collect()
    }

    pub(super) fn line(&self) -> String {
        let of = |node: &Watched| {
            let kib = resident_kib(node.pid).unwrap_or_default();
            let descriptors = descriptors(node.pid).unwrap_or_default();
            format!("{} {:.1} MiB {descriptors} fd", node.name, kib as f64 / 1024.0)
        };
        self.nodes.iter().map(of).collect::<Vec<_>>().join("  ")
    }
}

impl Node {
    /// How much its memory grew, as a share.
    pub fn growth(&self) -> f64 {
        let (early, late) = self.kib;
        late as f64 / early.max(1) as f64 - 1.0
    }

    /// Whether it is as it was.
    pub fn is_fine(&self) -> bool {
        let (before, after) = self.descriptors;
        after <= before && (!self.settled || self.growth() <= GROWTH_MAX)
    }
}

fn descriptors(pid: u32) -> Result<usize, String> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
    Ok(entries.count())
}

fn mean(all: &[u64]) -> u64 {
    all.iter().sum::<u64>().checked_div(all.len() as u64).unwrap_or_default()
}
