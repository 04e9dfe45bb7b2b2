//! What happened, as text for people and as a hash for comparing runs.

use std::fmt;
use std::io::{self, Write as _};
use std::time::Duration;

use super::random::fnv1a;

/// Lines that are kept; the hash covers all.
const LINES_MAX: usize = 200_000;

/// The record of one run. What happens at one moment has no order in it.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Vec<String>,
    hash: u64,
    left_out: usize,
    moment: Duration,
    current: Vec<String>,
    /// Whether everything but datagrams is also written to stdout as it happens.
    pub live: bool,
}

impl Trace {
    /// Adds a line.
    pub fn note(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        if at != self.moment {
            self.settle();
            self.moment = at;
        }
        self.current.push(format!("{:12.6} {what}", at.as_secs_f64()));
    }

    /// Ends the current moment.
    pub fn settle(&mut self) {
        self.current.sort_unstable();
        for line in self.current.drain(..) {
            // Datagrams would bury everything else.
            if self.live && !line.contains(" udp ") {
                // A reader who went away misses nothing.
                let _ = writeln!(io::stdout(), "{line}");
            }
            self.hash = fnv1a(&[&self.hash.to_be_bytes(), line.as_bytes()]);
            if self.lines.len() < LINES_MAX {
                self.lines.push(line);
            } else {
                self.left_out += 1;
            }
        }
    }

    /// The same for two runs that did the same at the same times, up to the last moment that
    /// ended.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// What was kept of the moments that ended.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The last `count` lines that were kept, and how many came after them.
    pub fn tail(&self, count: usize) -> (&[String], usize) {
        let start = self.lines.len().saturating_sub(count);
        (self.lines.get(start..).unwrap_or_default(), self.left_out)
    }
}
