//! Building the test programs of the copy, and running one until it is known how it ends.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Tree;

/// A fault may cost memory without end.
const BOUNDS: &str = "ulimit -v 8000000; exec \"$0\"";

/// Cases that tests make up are those of the run without a fault, so that what fails now fails for
/// the fault. Nothing is kept of them for the next fault, and nobody reads the shortest one.
const CASES: [(&str, &str); 3] = [
    ("PROPTEST_RNG_SEED", "1"),
    ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1"),
    ("PROPTEST_MAX_SHRINK_ITERS", "0"),
];

/// A program of tests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Program {
    /// The crate or file of tests.
    pub(super) name: String,
    /// The first of its source files, which no other has.
    pub(super) source: String,
    path: PathBuf,
    /// Where cargo would run it: the folder of its package.
    folder: PathBuf,
}

/// How a program of tests ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    Passed,
    /// This test failed, before any other.
    Failed(String),
    /// It did not end in time; these tests took more than a minute.
    TimedOut(Vec<String>),
    /// It ended, badly and before it said which test failed.
    Died,
}

/// Builds what `cargo test` would run with these arguments. An error is what the compiler said.
pub(super) fn build(tree: &Tree, arguments: &[&str]) -> Result<Vec<Program>, String> {
    let built = cargo()
        .args(["test", "--no-run", "--locked", "--message-format=json-render-diagnostics"])
        .args(arguments)
        .current_dir(tree.root())
        .env("CARGO_TARGET_DIR", tree.target())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned());
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    Ok(messages.lines().filter_map(|line| program(&serde_json::from_str(line).ok()?)).collect())
}

/// Reads one message of cargo's; `None` if it is of something else than a program of tests.
fn program(message: &Value) -> Option<Program> {
    let is_test = message.pointer("/profile/test")?.as_bool()?;
    let path = message.get("executable")?.as_str().filter(|_| is_test)?;
    let name = message.pointer("/target/name")?.as_str()?.to_owned();
    let source = message.pointer("/target/src_path")?.as_str()?.to_owned();
    let manifest = Path::new(message.get("manifest_path")?.as_str()?);
    Some(Program { name, source, path: path.into(), folder: manifest.parent()?.to_owned() })
}

/// Runs a program until its first test fails or the time is over.
pub(super) fn run(tree: &Tree, program: &Program, limit: Duration) -> Result<Ending, String> {
    // It must not outlive the one who waits for it.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "sh", "-c", BOUNDS])
        .arg(&program.path)
        .current_dir(&program.folder)
        .env("CARGO_TARGET_DIR", tree.target())
        .envs(CASES)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own: servers that a test started go with it.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("setpriv: {error}"))?;
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let until = Instant::now() + limit;
    let mut slow = Vec::new();
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => match note(&line) {
                Some(Note::Failed(test)) => {
                    kill(&mut child);
                    return Ok(Ending::Failed(test));
                }
                Some(Note::Slow(test)) => slow.push(test),
                None => {}
            },
            Err(RecvTimeoutError::Timeout) => {
                kill(&mut child);
                return Ok(Ending::TimedOut(slow));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait().map_err(|error| error.to_string())?;
                return Ok(if status.success() { Ending::Passed } else { Ending::Died });
            }
        }
    }
}

enum Note {
    Failed(String),
    Slow(String),
}

/// Reads one line of a test program, such as `test a::b ... FAILED`.
fn note(line: &str) -> Option<Note> {
    let of = line.strip_prefix("test ")?;
    if let Some(test) = of.strip_suffix(" ... FAILED") {
        return Some(Note::Failed(test.to_owned()));
    }
    let (test, _) = of.split_once(" has been running for over ")?;
    Some(Note::Slow(test.to_owned()))
}

/// Ends a program and all that it started.
fn kill(child: &mut Child) {
    let group = format!("kill -KILL -- -{}", child.id());
    // Whoever has ended by itself cannot be killed, which is as good.
    let _ = Command::new("sh").args(["-c", &group]).stderr(Stdio::null()).status();
    let _ = child.wait();
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
