//! The files of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::code::{code_of, without_unit_tests};

/// A file of the repository.
#[derive(Clone)]
pub(crate) struct Source {
    /// Where, from the repository's root.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

impl Source {
    /// Applies a rule to each line of code, leaving out comments, literals and unit tests.
    pub(crate) fn complain(&self, rule: impl FnMut(&str) -> Option<String>) -> Vec<String> {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return Vec::new();
        }
        let text = without_unit_tests(&code_of(&self.text));
        Source { path: self.path.clone(), text }.complain_everywhere(rule)
    }

    /// Applies a rule to each line as it stands.
    pub(crate) fn complain_everywhere(
        &self,
        mut rule: impl FnMut(&str) -> Option<String>,
    ) -> Vec<String> {
        let lines = self.text.lines().enumerate();
        lines
            .filter_map(|(i, line)| Some(format!("{}:{}: {}", self.path, i + 1, rule(line)?)))
            .collect()
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of it").to_owned()
}

pub(crate) fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("every path begins at the root");
    path.to_string_lossy().into_owned()
}

/// What a folder of the repository holds, less what is built, installed or git's.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder exists");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| {
        !["target", "node_modules", ".git"].iter().any(|skipped| path.ends_with(skipped))
    });
    paths.sort();
    paths
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let of = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries(folder).into_iter().flat_map(of).collect()
}

pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let paths = files(&root().join(folder)).into_iter();
    let rust = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| Source {
        path: relative(&path),
        text: fs::read_to_string(&path).expect("sources are UTF-8"),
    })
    .collect()
}

pub(crate) fn every_source() -> Vec<Source> {
    let sources = sources("");
    assert!(sources.len() > 10, "only {} Rust files were found", sources.len());
    sources
}

pub(crate) fn names_under(folder: &str) -> BTreeSet<String> {
    let path = |source: &Source| source.path.trim_start_matches(folder).to_owned();
    sources(folder).iter().map(path).collect()
}

/// A file that a rule is tried on.
pub(crate) fn at(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}
