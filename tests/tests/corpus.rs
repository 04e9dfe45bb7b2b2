//! Replays what the fuzz targets start from, and what they have found.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no corpus");
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        let outcome = std::panic::catch_unwind(|| body(&bytes));
        assert!(outcome.is_ok(), "{} ended in a panic", path.display());
    }
}

#[test]
fn settings() {
    replay("settings", distributary_fuzz::settings);
}

#[test]
fn stream() {
    replay("stream", distributary_fuzz::stream);
}

#[test]
fn signal() {
    replay("signal", distributary_fuzz::signal);
}

#[test]
fn datagrams() {
    replay("datagrams", distributary_fuzz::datagrams);
}
