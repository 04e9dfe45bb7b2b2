//! The command line that every server binary has, and the process around a node.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use super::demo;
use super::error::{RunError, StartError};
use super::folder::Folder;
use super::plan::Plan;
use super::reload::Source;
use super::running::Running;

/// How often a waiting process looks whether its node ended by itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A library that would show, at level trace, whatever far sides say, their tokens among it.
const HUSHED: &str = "tungstenite=warn";

/// Libraries that warn of what far sides send, a line for each oddity: who sends many would fill
/// the disk. They speak to whoever names them.
const QUIET: &str = "is=error,str0m=error,dimpl=error";

/// Starts a node from a plan: what one runtime does differently from another.
pub type Start = fn(Plan) -> Result<Running, StartError>;

/// A WebRTC CDN: publish once to an origin, play from any edge
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
struct CommandLine {
    /// The folder with flashphoner.properties and, on an origin, loadbalancing.xml
    #[arg(long, value_name = "DIR", required = true)]
    config: Option<PathBuf>,
    /// Override a property; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    overrides: Vec<(String, String)>,
    /// Say whether the settings are fine, and exit; nothing is opened or written
    #[arg(long)]
    check: bool,
    /// How the log on stderr is written; RUST_LOG=debug or RUST_LOG=warn says how much
    #[arg(long, value_enum, default_value_t = Log::Text, global = true)]
    log: Log,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an origin and an edge on this machine and say which pages to open
    Demo {
        /// End by itself after so long
        #[arg(long, value_name = "N")]
        seconds: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Log {
    Text,
    Json,
}

/// Runs a server binary: reads the command line, does what it says, and answers with the
/// process's exit code: 0 after a stop in good order, 1 after a failure, 2 for a wrong line.
pub fn run(name: &'static str, start: Start) -> ExitCode {
    let command = CommandLine::command().name(name).bin_name(name).after_help(examples(name));
    let line = match CommandLine::from_arg_matches(&command.get_matches()) {
        Ok(line) => line,
        Err(error) => error.exit(),
    };
    write_log(line.log);
    let result = match (line.command, line.config) {
        (Some(Command::Demo { seconds }), _) => show(start, seconds),
        (None, Some(folder)) if line.check => check(&folder, &line.overrides),
        (None, Some(folder)) => serve(start, &folder, &line.overrides),
        (None, None) => unreachable!("the command line requires one of them"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Why the process ends with a failure.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

fn check(folder: &Path, overrides: &[(String, String)]) -> Result<(), Failure> {
    let folder = Folder::read(folder, overrides)?;
    for warning in folder.warnings() {
        warn!("{}", warning.0);
    }
    folder.check()?;
    writeln!(io::stderr(), "the settings are fine")?;
    Ok(())
}

fn serve(start: Start, folder: &Path, overrides: &[(String, String)]) -> Result<(), Failure> {
    let signals = Interrupts::new()?;
    let (source, read) = Source::read(folder, overrides)?;
    let node = start(read.plan()?)?;
    say(&node.ready_line())?;
    signals.watch(vec![node], Some(source), None)
}

fn show(start: Start, seconds: Option<u64>) -> Result<(), Failure> {
    let signals = Interrupts::new()?;
    let demo = demo::start(start)?;
    say(&demo.pages)?;
    signals.watch(vec![demo.origin, demo.edge], None, seconds.map(Duration::from_secs))
}

fn say(text: &str) -> Result<(), io::Error> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// The signals that the process heeds, from its first moment on.
struct Interrupts {
    arrived: Receiver<i32>,
    /// Once set, the next signal ends the process on the spot.
    impatient: Arc<AtomicBool>,
}

impl Interrupts {
    fn new() -> Result<Self, StartError> {
        let failed = |source| StartError::System { what: "cannot listen to signals", source };
        let impatient = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&impatient))
                .map_err(failed)?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
        let (sender, arrived) = channel();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    if sender.send(signal).is_err() {
                        return;
                    }
                }
            })
            .map_err(failed)?;
        Ok(Self { arrived, impatient })
    }

    /// Stops the nodes at SIGINT, at SIGTERM, or after `time`; ends as well when one of them
    /// ends by itself, which is a failure of it. At SIGHUP, the nodes get what `source` says then.
    fn watch(
        &self,
        mut nodes: Vec<Running>,
        mut source: Option<Source>,
        time: Option<Duration>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            match self.arrived.recv_timeout(LOOK_INTERVAL) {
                Ok(SIGHUP) => nodes.iter_mut().for_each(|node| reload(&mut source, node)),
                Ok(_) => break,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if time.is_some_and(|time| began.elapsed() >= time) {
                break;
            }
            for node in &mut nodes {
                if node.is_to_reload() {
                    reload(&mut source, node);
                }
                if let Some(source) = &mut source {
                    source.look(node);
                }
                if let Some(outcome) = node.wait(Duration::ZERO) {
                    return Ok(outcome?);
                }
            }
        }
        info!("draining; a second signal ends it at once");
        self.impatient.store(true, Ordering::SeqCst);
        let outcomes: Vec<_> = nodes.iter_mut().map(Running::stop).collect();
        outcomes.into_iter().collect::<Result<(), _>>()?;
        Ok(())
    }
}

fn reload(source: &mut Option<Source>, node: &mut Running) {
    if let Some(source) = source {
        source.reload(node);
    } else if let Err(problem) = node.reload(|_| Err(StartError::NoFiles)) {
        info!("the settings stay: {problem}");
    }
}

fn write_log(log: Log) {
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(&wanted))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match log {
        // Which module speaks is of use to programs that search, not to people who read along.
        Log::Text => subscriber.with_target(false).init(),
        Log::Json => subscriber.json().init(),
    }
}

/// What is written, where the environment wants this; with nothing, or nonsense, the usual.
fn filter(wanted: &str) -> EnvFilter {
    let wanted = if wanted.is_empty() { "info" } else { wanted };
    // Of two words on one library the later counts.
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}"));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(format!("{QUIET},info")));
    filter.add_directive(HUSHED.parse().expect("the directive is well-formed"))
}

fn examples(name: &str) -> String {
    format!(
        "Examples:\n  \
         {name} demo                   a first look\n  \
         {name} --config DIR           a node\n  \
         {name} --config DIR --check   only look at its settings\n\n\
         Once a node listens it says so on stdout, in one line that begins with \"ready\".\n\
         Exit codes: 0 after SIGINT or SIGTERM, 1 after a failure, 2 for a wrong command line."
    )
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tracing::{Level, enabled};

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_folder_or_a_demo_is_required() {
        assert!(CommandLine::try_parse_from(["x"]).is_err());
        assert!(CommandLine::try_parse_from(["x", "--check"]).is_err());
        let line = CommandLine::try_parse_from(["x", "demo", "--seconds", "3"]).unwrap();
        assert!(matches!(line.command, Some(Command::Demo { seconds: Some(3) })));
    }

    /// Whether these are written: a word of ours, warnings of libraries, and what one of them says
    /// of secrets.
    fn written(wanted: &str) -> [bool; 5] {
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter(wanted)).finish();
        tracing::subscriber::with_default(subscriber, || {
            [
                enabled!(target: "distributary_core::shard", Level::INFO),
                enabled!(target: "is::stun", Level::WARN),
                enabled!(target: "str0m::sdp", Level::WARN),
                enabled!(target: "dimpl::dtls12::engine", Level::WARN),
                enabled!(target: "tungstenite::protocol", Level::TRACE),
            ]
        })
    }

    #[test]
    fn libraries_that_speak_of_far_sides_are_quiet_unless_named() {
        for (wanted, expected) in [
            ("", [true, false, false, false, false]),
            ("info", [true, false, false, false, false]),
            ("=nonsense=", [true, false, false, false, false]),
            ("trace", [true, false, false, false, false]),
            ("warn", [false, false, false, false, false]),
            ("info,is=warn", [true, true, false, false, false]),
            ("str0m::sdp=debug,info", [true, false, true, false, false]),
            ("dimpl=trace,tungstenite=trace", [false, false, false, true, false]),
        ] {
            assert_eq!(written(wanted), expected, "{wanted}");
        }
    }

    #[test]
    fn overrides_are_split_at_the_first_sign() {
        let line =
            CommandLine::try_parse_from(["x", "--config", ".", "--set", "a.b = c=d"]).unwrap();
        assert_eq!(line.overrides, [("a.b".to_owned(), "c=d".to_owned())]);
        assert!(CommandLine::try_parse_from(["x", "--config", ".", "--set", "=d"]).is_err());
    }
}
