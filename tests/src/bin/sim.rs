//! Plays simulated scenarios by their seeds: `--seed N [--trace]`, or `--seeds COUNT`.

use std::io::{self, Write};
use std::process::ExitCode;

use distributary_tests::sim::scenario;

const USAGE: &str = "usage: sim --seed N [--trace] | --seeds COUNT";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = match words.as_slice() {
        ["--seed", seed] => seed.parse().ok().map(|seed| play(seed..=seed, false)),
        ["--seed", seed, "--trace"] | ["--trace", "--seed", seed] => {
            seed.parse().ok().map(|seed| play(seed..=seed, true))
        }
        ["--seeds", count] => {
            count.parse().ok().map(|count: u64| play(0..=count.saturating_sub(1), false))
        }
        _ => None,
    };
    match ran {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(_)) => ExitCode::FAILURE,
        None => {
            // Nobody is there to be told that nobody is there.
            let _ = writeln!(io::stderr(), "{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// A seed that fails panics with its timeline.
fn play(seeds: impl Iterator<Item = u64>, trace: bool) -> io::Result<()> {
    let mut out = io::stdout();
    for seed in seeds {
        writeln!(out, "seed {seed}: {}", scenario::title(seed))?;
        let (hash, steps) = scenario::run(seed, trace);
        writeln!(out, "seed {seed} trace {hash:016x} steps {steps}")?;
    }
    Ok(())
}
