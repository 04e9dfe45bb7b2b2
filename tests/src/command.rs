//! What commands have in common: how arguments are read, a bar on a terminal, an end on request,
//! and what the end comes to.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

const WIDTH: usize = 30;
const MINUTES_MAX: f64 = 7.0 * 24.0 * 60.0;

/// Becomes true at the first SIGINT or SIGTERM. The second ends the process.
///
/// # Errors
///
/// If the system does not let signals be heard.
pub fn interrupts() -> Result<Arc<AtomicBool>, String> {
    let over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&over))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&over)))
            .map_err(|error| format!("cannot listen to signals: {error}"))?;
    }
    Ok(over)
}

/// Shows how much is done, in the line of the terminal that the bar was in before.
pub fn show(share: f64, what: &str) {
    let done = ((share * WIDTH as f64) as usize).min(WIDTH);
    let (done, left) = ("#".repeat(done), ".".repeat(WIDTH - done));
    say(&format!("\r\x1b[K[{done}{left}] {what}"));
}

/// Leaves the line to the shell.
pub fn clear() {
    say("\r\x1b[K");
}

fn say(text: &str) {
    // Nothing more can be done about a standard error that is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// What a command's end is told by: 0 if all went well, 1 if not, or if it could not be tried,
/// which is said on standard error.
pub fn end(outcome: Result<bool, String>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            say(&format!("{problem}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Reads per cent, for an argument.
///
/// # Errors
///
/// If it is no number from 0 to 50.
pub fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=50.0).contains(percent));
    percent.ok_or_else(|| "expected per cent, from 0 to 50".to_owned())
}

/// Reads a number of minutes, for an argument.
///
/// # Errors
///
/// If it is none, or not between a second and a week.
pub fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (1.0 / 60.0..=MINUTES_MAX).contains(minutes));
    minutes.ok_or_else(|| "expected minutes, from a second (0.02) to a week".to_owned())
}
