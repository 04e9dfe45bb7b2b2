//! Replays what the fuzz targets start from, and what they have found.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use distributary_fuzz::{TARGETS, Target, seeds};

/// Every test of every change replays all of it.
const CORPUS_FILES_MAX: usize = 150;
const CORPUS_BYTES_MAX: usize = 300 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The names in a folder, without what follows a dot.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz().join(folder)).unwrap();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| stem(entry.unwrap().path())).collect()
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(fuzz().join("corpus").join(target)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Answers with the inputs that ended in a panic.
fn replay((target, body): Target) -> Vec<String> {
    let corpus = corpus(target);
    assert!(!corpus.is_empty(), "{target} has no corpus");
    let bad =
        corpus.into_iter().filter(|(_, bytes)| std::panic::catch_unwind(|| body(bytes)).is_err());
    bad.map(|(path, _)| path.display().to_string()).collect()
}

#[test]
fn every_corpus_is_replayed() {
    let outcomes = std::thread::scope(|scope| {
        let runs = TARGETS.map(|target| scope.spawn(move || replay(target)));
        runs.map(|run| run.join().unwrap())
    });
    assert_eq!(outcomes.concat(), [] as [&str; 0], "ended in a panic");
}

#[test]
fn every_target_has_a_body_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), targets, "in fuzz_targets, and in TARGETS");
    assert_eq!(names("corpus"), targets, "in corpus, and in TARGETS");
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let binaries = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let binaries = binaries.map(|path| path.trim_end_matches(".rs\"").to_owned());
    assert_eq!(binaries.collect::<BTreeSet<_>>(), targets, "in Cargo.toml, and in TARGETS");
}

#[test]
fn every_corpus_is_small() {
    for (target, _) in TARGETS {
        let corpus = corpus(target);
        let bytes: usize = corpus.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(corpus.len() <= CORPUS_FILES_MAX, "{target} has {} files", corpus.len());
        assert!(bytes <= CORPUS_BYTES_MAX, "{target} has {bytes} bytes");
    }
}

/// `DISTRIBUTARY_SEEDS=write cargo test --package distributary-tests --test corpus` writes them.
#[test]
fn seeds_are_what_far_sides_say_today() {
    let write = std::env::var_os("DISTRIBUTARY_SEEDS").is_some_and(|value| value == "write");
    for (target, name, bytes) in seeds() {
        let folder = fuzz().join("corpus").join(target);
        if write {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), &bytes).unwrap();
        }
        let there = fs::read(folder.join(name)).unwrap_or_default();
        assert!(there == bytes, "{target}/{name} is not what it would be if it were made now");
    }
}
