//! Loses packets on the way to the origin, to the edge and to viewers, and prints what is still
//! missing in the end.
//!
//! ```text
//! cargo run --release -p distributary-tests --bin lossy -- --loss 1,5,10
//! ```

use std::io::{self, Write};
use std::process::ExitCode;
use std::slice;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use distributary_tests::command;
use distributary_tests::lossy::{self, Figures, Plan};
use distributary_tests::process::Runtime;
use serde_json::Value;

/// Publishes on an origin and plays from an edge over paths that lose packets, both ways, and
/// prints what share of them was missing at viewers in the end, and how long the others took.
///
/// The exit code is 0 if no more pictures are missing than 0.01, 0.1 and 1 % where hops lose 1, 5
/// and 10 %, 1 if more are, 2 for wrong arguments.
#[derive(Parser)]
#[command(name = "lossy")]
struct Arguments {
    /// Per cent that each hop loses, comma-separated; 0 comes first anyway
    #[arg(long, default_value = "1,5,10", value_delimiter = ',', value_parser = command::percent)]
    loss: Vec<f64>,
    /// Where they are lost
    #[arg(long, default_value = "all")]
    hop: Hop,
    /// One event loop only
    #[arg(long)]
    runtime: Option<Runtime>,
    /// ms that each hop takes, each way
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000))]
    delay: u64,
    /// Viewers
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    viewers: u32,
    /// Publishers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    publishers: u32,
    /// Bit/s of a publisher's picture
    #[arg(long, default_value_t = 2_592_000, value_parser = clap::value_parser!(u64).range(1..))]
    bitrate: u64,
    /// Seconds for which packets are counted, for each figure
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// What decides which packets are lost
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints one JSON array instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Hop {
    /// All hops
    All,
    /// From publishers to the origin
    Publisher,
    /// From the origin to the edge
    Link,
    /// From the edge to viewers
    Viewer,
}

fn main() -> ExitCode {
    command::end(measure(&Arguments::parse()))
}

/// Tells whether the goals were reached.
fn measure(arguments: &Arguments) -> Result<bool, String> {
    let one = arguments.runtime.as_ref().map(slice::from_ref);
    let runtimes = one.unwrap_or(Runtime::value_variants()).iter().copied();
    let hop = match arguments.hop {
        Hop::All => lossy::Hop::All,
        Hop::Publisher => lossy::Hop::Publisher,
        Hop::Link => lossy::Hop::Link,
        Hop::Viewer => lossy::Hop::Viewer,
    };
    let some = arguments.loss.iter().copied().filter(|loss| *loss > 0.0);
    let losses: Vec<f64> = std::iter::once(0.0).chain(some).collect();
    let mut rows = Vec::new();
    for runtime in runtimes {
        for loss in &losses {
            let plan = Plan {
                runtime,
                loss: loss / 100.0,
                hop,
                delay: Duration::from_millis(arguments.delay),
                seed: arguments.seed,
                viewers: arguments.viewers as usize,
                publishers: arguments.publishers as usize,
                bitrate: arguments.bitrate,
                span: Duration::from_secs(arguments.seconds),
            };
            rows.push(plan.measure()?);
        }
    }
    let text = if arguments.json {
        format!("{:#}\n", Value::Array(rows.iter().map(Figures::json).collect()))
    } else {
        lossy::table(&rows)
    };
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(rows.iter().all(Figures::is_fine))
}
