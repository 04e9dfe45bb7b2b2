//! Plays the simulation by seeds: one with its timeline, or many.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use distributary_tests::sim::crypto::Srtp;
use distributary_tests::sim::{scenario, storm};

/// Plays a whole CDN in simulated time. A seed decides everything that happens.
#[derive(Parser, Debug)]
#[command(name = "sim", group = clap::ArgGroup::new("what").required(true))]
struct Arguments {
    /// Plays this seed. Its last line is the same on every machine.
    #[arg(long, value_name = "N", group = "what")]
    seed: Option<u64>,
    /// Plays so many seeds; fails if one of them does.
    #[arg(long, value_name = "COUNT", group = "what")]
    seeds: Option<u64>,
    /// Plays the storm that a file describes: an input of the fuzz target `world`.
    #[arg(long, value_name = "FILE", group = "what")]
    script: Option<PathBuf>,
    /// The first of many seeds.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// What happens: the written scenarios, or a storm on a CDN of three or six nodes.
    #[arg(long, value_enum, default_value_t = Faults::Scenarios)]
    faults: Faults,
    /// What protects media in a storm: nothing, real ciphers, or DTLS too.
    #[arg(long, value_enum, default_value_t = Protection::Null)]
    srtp: Protection,
    /// Shows what happens, as it does.
    #[arg(long)]
    trace: bool,
    /// Seeds that are played at once [default: one for each core].
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum, Debug)]
enum Faults {
    Scenarios,
    Heavy,
    Wide,
}

#[derive(Clone, Copy, ValueEnum, Debug)]
enum Protection {
    Null,
    Real,
    Stock,
}

/// What one seed came to.
struct Played {
    hash: u64,
    steps: u64,
    elapsed: Duration,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (&arguments.script, arguments.seed) {
        (Some(script), _) => fs::read(script).map(|bytes| {
            storm::play(&bytes, arguments.trace);
            true
        }),
        (None, Some(seed)) => one(&arguments, seed).map(|()| true),
        (None, None) => many(&arguments, arguments.seeds.unwrap_or_default()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            // Nobody is there to be told that nobody is there.
            let _ = writeln!(io::stderr(), "{problem}");
            ExitCode::FAILURE
        }
    }
}

/// A seed that fails panics, and says how.
fn one(arguments: &Arguments, seed: u64) -> io::Result<()> {
    let mut out = io::stdout();
    if let Faults::Scenarios = arguments.faults {
        writeln!(out, "seed {seed}: {}", scenario::title(seed))?;
    }
    let Played { hash, steps, elapsed } = play(arguments, seed);
    let elapsed = elapsed.as_secs_f64();
    writeln!(out, "seed {seed} trace {hash:016x} steps {steps} simulated {elapsed:.3} s")
}

fn play(arguments: &Arguments, seed: u64) -> Played {
    let srtp = match arguments.srtp {
        Protection::Null => Srtp::Null,
        Protection::Real => Srtp::Real,
        Protection::Stock => Srtp::Stock,
    };
    let profile = match arguments.faults {
        Faults::Scenarios => {
            let (hash, steps, elapsed) = scenario::run(seed, arguments.trace);
            return Played { hash, steps, elapsed };
        }
        Faults::Heavy => storm::HEAVY,
        Faults::Wide => storm::WIDE,
    };
    let storm::Outcome { hash, steps, elapsed } = storm::run(seed, profile, srtp, arguments.trace);
    Played { hash, steps, elapsed }
}

/// What came of many seeds so far.
#[derive(Default)]
struct Sum {
    played: u64,
    steps: u64,
    simulated: Duration,
    /// Time that this machine worked on them.
    worked: Duration,
    failed: Vec<u64>,
}

/// Plays many seeds, and answers whether all went well.
fn many(arguments: &Arguments, count: u64) -> io::Result<bool> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.unwrap_or(cores).max(1);
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Sum::default());
    let begun = Instant::now();
    // Violations are told below, in one line each.
    panic::set_hook(Box::new(|violation| {
        let _ = writeln!(io::stderr(), "\r{violation}");
    }));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= count {
                        return;
                    }
                    let seed = arguments.from + nth;
                    let start = Instant::now();
                    let outcome = panic::catch_unwind(AssertUnwindSafe(|| play(arguments, seed)));
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.played += 1;
                    sum.worked += start.elapsed();
                    match outcome {
                        Ok(played) => {
                            sum.steps += played.steps;
                            sum.simulated += played.elapsed;
                        }
                        Err(_) => sum.failed.push(seed),
                    }
                    progress(&sum, count);
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.failed.sort_unstable();
    let (simulated, worked) = (sum.simulated.as_secs_f64(), sum.worked.as_secs_f64());
    let mut out = io::stdout();
    for seed in &sum.failed {
        writeln!(out, "failed: seed {seed}")?;
    }
    writeln!(
        out,
        "{} seeds, {} violations, {} steps, {simulated:.0} s simulated in {:.0} s: {:.0} times \
         faster than real time on one core",
        sum.played,
        sum.failed.len(),
        sum.steps,
        begun.elapsed().as_secs_f64(),
        simulated / worked.max(0.001),
    )?;
    Ok(sum.failed.is_empty())
}

/// A bar for people who wait.
fn progress(sum: &Sum, count: u64) {
    const WIDTH: u64 = 40;
    let mut out = io::stderr();
    if out.is_terminal() {
        let full = WIDTH * sum.played / count.max(1);
        let bar: String = (0..WIDTH).map(|at| if at < full { '#' } else { '.' }).collect();
        let failed = sum.failed.len();
        // Nobody is there to be told that nobody is there.
        let _ = write!(out, "\r[{bar}] {} of {count}, {failed} failed ", sum.played);
        if sum.played == count {
            let _ = writeln!(out);
        }
    }
}
