//! Floods a server while viewers play, and prints what they noticed.
//!
//! ```text
//! cargo run --release -p distributary-tests --bin attack -- --minutes 1
//! ```

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::slice;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use distributary_tests::attack::{Figures, Plan};
use distributary_tests::command;
use distributary_tests::process::Runtime;
use serde_json::Value;

/// Plays a stream of a server first in peace and then under a flood, from tens of thousands of
/// addresses, of datagrams like STUN, DTLS and RTP and of connections. Prints what viewers got both
/// times, and what it cost the server.
///
/// The flood has a pace: here it competes with the server for the machine's cores, and is meant to
/// be what a network would bring, not what would take the cores away.
///
/// The exit code is 0 if viewers got 99 % of what they get in peace at least, 1 if not, 2 for wrong
/// arguments.
#[derive(Parser)]
#[command(name = "attack")]
struct Arguments {
    /// Minutes of each: of peace and of attack
    #[arg(long, default_value_t = 1.0, value_parser = command::minutes)]
    minutes: f64,
    /// One event loop only
    #[arg(long)]
    runtime: Option<Runtime>,
    /// Viewers
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    viewers: u32,
    /// Bit/s of the publisher's picture
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    bitrate: u64,
    /// Datagrams in a second
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(..=99_999))]
    datagrams: u32,
    /// Connections in a second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(..=5_000))]
    connections: u32,
    /// Prints one JSON array instead of lines
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    command::end(measure(&Arguments::parse()))
}

/// Tells whether viewers were spared.
fn measure(arguments: &Arguments) -> Result<bool, String> {
    let one = arguments.runtime.as_ref().map(slice::from_ref);
    let runtimes = one.unwrap_or(Runtime::value_variants()).iter().copied();
    let over = command::interrupts()?;
    let terminal = io::stderr().is_terminal();
    let mut all = Vec::new();
    for runtime in runtimes {
        let plan = Plan {
            runtime,
            viewers: arguments.viewers as usize,
            bitrate: arguments.bitrate,
            span: Duration::from_secs_f64(arguments.minutes * 60.0),
            datagrams_per_second: arguments.datagrams,
            connections_per_second: arguments.connections,
        };
        let measured = plan.measure(&over, |what, share| {
            if terminal {
                command::show(share, &format!("{} {what}", runtime.package()));
            }
        });
        if terminal {
            command::clear();
        }
        let measured = measured?;
        if !arguments.json {
            // At once: what the next one comes to, or cuts short, may be long in coming.
            say(&measured.to_string())?;
        }
        all.push(measured);
    }
    if arguments.json {
        say(&format!("{:#}\n", Value::Array(all.iter().map(Figures::json).collect())))?;
    }
    Ok(all.iter().all(Figures::is_fine))
}

fn say(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| error.to_string())
}
