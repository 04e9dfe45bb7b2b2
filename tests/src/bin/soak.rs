//! Lets a CDN run for a long time in bad weather, and says whether all is as it was.
//!
//! ```text
//! cargo run --release -p distributary-tests --bin soak -- --minutes 10 --runtime mio
//! ```

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use distributary_tests::command;
use distributary_tests::process::Runtime;
use distributary_tests::soak::{self, News, Plan};

/// Runs an origin and two edges whose packets are lost, with viewers that stay and viewers that
/// come and go, kills the second edge again and again, and has somebody of each kind that means no
/// good at the others. Tells how it stands every ten seconds.
///
/// The exit code is 0 if no join failed, no steady viewer's picture stood still for more than 3 s,
/// and memory, descriptors and logs are as they should be; 1 if not; 2 for wrong arguments.
#[derive(Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How long
    #[arg(long, default_value_t = 60.0, value_parser = command::minutes)]
    minutes: f64,
    /// The event loop of all nodes
    #[arg(long, default_value = "tokio")]
    runtime: Runtime,
    /// Seconds from one death of the second edge to the next
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(4..))]
    crash_every: u64,
    /// Per cent of packets that each hop loses, each way
    #[arg(long, default_value_t = 1.0, value_parser = command::percent)]
    loss: f64,
    /// Publishers
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    publishers: u32,
    /// Bit/s of a publisher's picture
    #[arg(long, default_value_t = 600_000, value_parser = clap::value_parser!(u64).range(1..))]
    bitrate: u64,
    /// Viewers that stay
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=500))]
    steady: u32,
    /// Viewers that come in a second, and leave within another six
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=60))]
    joins_per_second: u32,
    /// What decides which packets are lost
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    command::end(soak(&Arguments::parse()))
}

/// Tells whether all is as it should be.
fn soak(arguments: &Arguments) -> Result<bool, String> {
    let plan = Plan {
        runtime: arguments.runtime,
        span: Duration::from_secs_f64(arguments.minutes * 60.0),
        crash_interval: Duration::from_secs(arguments.crash_every),
        loss: arguments.loss / 100.0,
        seed: arguments.seed,
        publishers: arguments.publishers as usize,
        bitrate: arguments.bitrate,
        steady: arguments.steady as usize,
        joins_per_second: arguments.joins_per_second,
    };
    let over = command::interrupts()?;
    let terminal = io::stderr().is_terminal();
    let ran = soak::run(&plan, &over, &mut |news| match news {
        News::Line(line) => {
            if terminal {
                command::clear();
            }
            // As above.
            let _ = say(&format!("{line}\n"));
        }
        News::Share(share) if terminal => {
            command::show(share, &format!("of {:.1} minutes", arguments.minutes));
        }
        News::Share(_) => {}
    });
    if terminal {
        command::clear();
    }
    let verdict = ran?;
    say(&verdict.to_string()).map_err(|error| error.to_string())?;
    Ok(verdict.is_fine())
}

fn say(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}
