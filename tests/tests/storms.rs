//! Storms over a simulated CDN: those that once showed something wrong, and some that nobody has
//! seen yet.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use distributary_tests::sim::crypto::Srtp;
use distributary_tests::sim::storm::{self, HEAVY, Profile, WIDE};

/// Seeds of the heavy profile that are played for the first time.
const FRESH: u64 = 150;
/// Where fresh seeds begin when there is nothing to tell one state of the sources from another.
const SOMEWHERE: u64 = 1_000_000;

#[test]
fn promoted_seeds_show_nothing_wrong() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds.txt"));
    let mut runs: Vec<(Profile, u64)> = Vec::new();
    for line in text.unwrap().lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(seed)) = (words.next(), words.next()) else { continue };
        let profile = [HEAVY, WIDE].into_iter().find(|profile| profile.name == name);
        let profile = profile.unwrap_or_else(|| panic!("no profile is called {name}"));
        assert!(words.next().is_some(), "{line:?} does not say what it showed");
        runs.push((profile, seed.parse().unwrap()));
    }
    assert!(!runs.is_empty(), "no seed was promoted");
    play(&runs, Srtp::Null);
}

/// Other seeds for every commit, and the same ones for each run of it.
#[test]
fn fresh_seeds_show_nothing_wrong() {
    let from = base();
    let runs: Vec<_> = (0..FRESH).map(|nth| (HEAVY, from + nth)).collect();
    play(&runs, Srtp::Null);
}

#[test]
fn real_cryptography_changes_nothing() {
    let from = base();
    let runs: Vec<_> = (0..4).map(|nth| (HEAVY, from + nth)).collect();
    play(&runs, Srtp::Stock);
}

#[test]
fn six_nodes_and_forty_viewers_come_through() {
    play(&[(WIDE, base())], Srtp::Null);
}

/// `DISTRIBUTARY_SEED`, or a number that the latest commit decides.
fn base() -> u64 {
    if let Some(seed) = std::env::var("DISTRIBUTARY_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return seed;
    }
    let head = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let head = head.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let digits = head.and_then(|head| head.get(..8).map(str::to_owned));
    let number = digits.and_then(|digits| u64::from_str_radix(&digits, 16).ok());
    number.map_or(SOMEWHERE, |number| SOMEWHERE + number * 1_000)
}

/// Plays all of them on all cores; the first that fails fails the test, and says how to see it.
fn play(runs: &[(Profile, u64)], srtp: Srtp) {
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((profile, seed)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    storm::run(*seed, *profile, srtp, false);
                }
            });
        }
    });
}
