//! Measures what a packet costs: a floor, both of our servers, and others that are named.
//!
//! ```text
//! cargo run --release -p distributary-tests --bin bench -- --out target/bench
//! cargo run --release -p distributary-tests --bin bench -- --quick --json
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use distributary_tests::bench::{Contender, Cores, Outcome, Peer, Plan};
use distributary_tests::load::{Profile, floor};
use distributary_tests::process::{self, Runtime};

/// Measures CPU for each forwarded packet, loss, delay, memory and joins of a floor, of both of our
/// servers and of others, in turns, under the same load and each alone on the same core.
///
/// The floor seals and sends the same packets at the same times, and does nothing else. The servers
/// are built first if they are not up to date.
///
/// The exit code is 0 if everything has figures, 1 if not, 2 for wrong arguments.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Takes less than 90 s: 100 and 500 viewers, two short rounds
    #[arg(long)]
    quick: bool,
    /// Prints one JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// How many viewers, one number after the other
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=60_000))]
    viewers: Option<Vec<u32>>,
    /// Seconds for which packets are counted in each run
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// How often all of it is done; figures are medians
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Viewers that come in a second
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    joins_per_second: Option<u32>,
    /// Viewers that join a server without other load, for the cost of a join; 0: none
    #[arg(long)]
    joins: Option<u32>,
    /// Measures these only, of floor, mio, tokio and the names of peers
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<String>,
    /// Another server that runs already, as NAME=URL,PID or NAME=URL,PUBLISHING-URL,PID; may be
    /// given again
    #[arg(long = "peer", value_name = "NAME=URL,PID")]
    peers: Vec<Peer>,
    /// What viewers offer of SRTP, and the floor seals with: gcm-128, gcm-256, aes-cm or any
    #[arg(long, default_value = "gcm-128", value_parser = Profile::named)]
    profile: Profile,
    /// Per cent of what they receive that viewers throw away, and ask for again
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    loss: f64,
    /// What decides which of that is thrown away
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Shards of our servers, all on their one core
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Has viewers speak to our servers over TLS
    #[arg(long)]
    tls: bool,
    /// Writes table.md, figures.json, cpu.svg and delay.svg into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Is the floor's process, as told by stdin
    #[arg(long, hide = true, exclusive = true)]
    floor: bool,
    /// Has a session of its own already
    #[arg(long, hide = true)]
    in_session: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.floor {
        return exit(floor::serve().map(|()| true));
    }
    let plan = match plan(&arguments) {
        Ok(plan) => plan,
        Err(problem) => {
            say(&format!("{problem}\n"));
            return ExitCode::from(2);
        }
    };
    if !arguments.in_session {
        return in_session(&plan.floor);
    }
    exit(measure(&plan, arguments.json, arguments.out.as_deref()))
}

/// Runs this program again in a session of its own, so that nothing else that runs in the one at
/// hand takes time from the viewers.
fn in_session(program: &Path) -> ExitCode {
    let mut command = process::in_session(program);
    match command.args(std::env::args_os().skip(1)).arg("--in-session").status() {
        Ok(status) => status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from),
        Err(error) => exit(Err(format!("{}: {error}", command.get_program().display()))),
    }
}

fn exit(result: Result<bool, String>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            say(&format!("{problem}\n"));
            ExitCode::FAILURE
        }
    }
}

fn plan(arguments: &Arguments) -> Result<Plan, String> {
    let quick = arguments.quick;
    let ours = [Contender::Floor, Contender::Ours(Runtime::Mio), Contender::Ours(Runtime::Tokio)];
    let peers = arguments.peers.iter().cloned().map(|peer| Contender::Peer(Box::new(peer)));
    let mut contenders: Vec<Contender> = ours.into_iter().chain(peers).collect();
    for name in &arguments.only {
        if !contenders.iter().any(|contender| contender.name() == name) {
            return Err(format!("--only: nothing is called {name}"));
        }
    }
    if !arguments.only.is_empty() {
        contenders.retain(|contender| arguments.only.iter().any(|name| name == contender.name()));
    }
    let seconds = arguments.seconds.unwrap_or(if quick { 2.0 } else { 10.0 });
    let span = Duration::try_from_secs_f64(seconds).ok().filter(|span| !span.is_zero());
    if !(0.0..=50.0).contains(&arguments.loss) {
        return Err("--loss: expected per cent, from 0 to 50".to_owned());
    }
    let viewers = match &arguments.viewers {
        Some(viewers) => viewers.iter().map(|count| *count as usize).collect(),
        None if quick => vec![100, 500],
        None => vec![100, 500, 1_000, 2_000],
    };
    let or = |given: Option<u32>, if_quick, if_not| {
        given.unwrap_or(if quick { if_quick } else { if_not })
    };
    Ok(Plan {
        contenders,
        viewers,
        span: span.ok_or("--seconds: expected more than 0")?,
        rounds: or(arguments.rounds, 2, 3) as usize,
        joins_per_second: or(arguments.joins_per_second, 250, 100),
        patience: Duration::from_secs(if quick { 5 } else { 10 }),
        storm: or(arguments.joins, 0, 200) as usize,
        profile: arguments.profile,
        loss: arguments.loss / 100.0,
        seed: arguments.seed,
        shards: arguments.shards,
        tls: arguments.tls,
        floor: std::env::current_exe().map_err(|error| format!("this program: {error}"))?,
    })
}

/// Tells whether everything has figures.
fn measure(plan: &Plan, json: bool, out: Option<&Path>) -> Result<bool, String> {
    if Cores::find()?.shared() {
        say("one core only: servers and viewers share it, and no figure means much\n");
    }
    let outcome = plan.measure(|next| say(&format!("{next}\n")))?;
    if let Some(folder) = out {
        keep(&outcome, folder)?;
    }
    let text = if json { format!("{:#}\n", outcome.json()) } else { outcome.text() };
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(outcome.complete())
}

fn keep(outcome: &Outcome, folder: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let write = |name: &str, text: String| fs::write(folder.join(name), text).map_err(failed);
    write("table.md", outcome.markdown())?;
    write("figures.json", format!("{:#}\n", outcome.json()))?;
    write("cpu.svg", outcome.costs())?;
    write("delay.svg", outcome.delays())
}

fn say(text: &str) {
    // Nothing more can be done about a standard error that is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}
