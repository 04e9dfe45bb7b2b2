//! What the servers cost and how fast they are, measured from outside: an origin and an edge as
//! processes, stand-ins for browsers in this one, loopback between them.
//!
//! The publisher and the viewers run on threads of this process. They share the machine with what
//! they measure, so every figure of the servers comes with what tells whether that mattered: how
//! long the servers waited for a core, and how busy the viewers' own thread was.

mod cdn;
mod cost;
mod hop;
mod join;
mod load;
mod spread;
mod usage;

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::Runtime;

pub use cost::Cost;
pub use hop::Hop;
pub use join::Join;
pub use load::Load;
pub use spread::Spread;
pub use usage::Used;

pub(crate) use usage::{Usage, resident_kib};

/// How much is measured, which decides how long it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Joins whose duration is measured, about a second each.
    pub joins: usize,
    /// Joins whose cost is measured, about a tenth of a second each.
    pub costed_joins: usize,
    /// Viewers on the edge while its load is measured.
    pub viewers: usize,
    /// How long the hop's delay and the load are watched, each.
    pub span: Duration,
}

impl Plan {
    /// Takes about a minute for one runtime.
    pub const FULL: Self =
        Self { joins: 20, costed_joins: 100, viewers: 50, span: Duration::from_secs(10) };
    /// Takes less than 20 s for one runtime.
    pub const QUICK: Self =
        Self { joins: 5, costed_joins: 20, viewers: 50, span: Duration::from_secs(2) };
}

/// One of the measurements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// [`Join`]
    Join,
    /// [`Hop`]
    Hop,
    /// [`Load`]
    Load,
    /// [`Cost`]
    Cost,
}

impl Part {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 4] = [Self::Join, Self::Hop, Self::Load, Self::Cost];

    /// Its name in arguments and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Hop => "hop",
            Self::Load => "load",
            Self::Cost => "cost",
        }
    }

    /// Measures it, with servers of its own that end afterwards.
    ///
    /// # Errors
    ///
    /// In words, with the servers' logs, if something does not come about in time.
    pub fn measure(self, runtime: Runtime, plan: &Plan) -> Result<Figures, String> {
        Ok(match self {
            Self::Join => Figures::Join(Join::measure(runtime, plan.joins)?),
            Self::Hop => Figures::Hop(Hop::measure(runtime, plan.span)?),
            Self::Load => Figures::Load(Load::measure(runtime, plan.viewers, plan.span)?),
            Self::Cost => Figures::Cost(Cost::measure(runtime, plan.costed_joins)?),
        })
    }
}

/// What came of one measurement; displays as lines to read.
#[derive(Clone, PartialEq, Debug)]
pub enum Figures {
    /// Of [`Part::Join`]
    Join(Join),
    /// Of [`Part::Hop`]
    Hop(Hop),
    /// Of [`Part::Load`]
    Load(Load),
    /// Of [`Part::Cost`]
    Cost(Cost),
}

impl Figures {
    /// The same for programs.
    pub fn json(&self) -> Value {
        match self {
            Self::Join(join) => join.json(),
            Self::Hop(hop) => hop.json(),
            Self::Load(load) => load.json(),
            Self::Cost(cost) => cost.json(),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(join) => join.fmt(f),
            Self::Hop(hop) => hop.fmt(f),
            Self::Load(load) => load.fmt(f),
            Self::Cost(cost) => cost.fmt(f),
        }
    }
}

/// Where this is measured: without it, no figure can be compared to another.
pub fn machine() -> Value {
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "load_average": usage::load_average(),
        "optimized": !cfg!(debug_assertions),
    })
}
