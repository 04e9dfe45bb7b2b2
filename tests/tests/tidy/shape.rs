//! How large things are, and where they lie.

use std::collections::BTreeSet;
use std::fs;

use crate::code::{code_of, functions};
use crate::none;
use crate::source::{Source, at, entries, every_source, files, names_under, relative, root};

const LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;
/// Lines of a function, its signature among them.
const FUNCTION_LINES_MAX: usize = 69;

/// What the top level may hold; names with a leading dot are free.
const TOP_LEVEL: [&str; 14] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "core",
    "fuzz",
    "runtime-mio",
    "runtime-tokio",
    "rustfmt.toml",
    "tests",
];

#[test]
fn the_top_level_holds_what_it_should() {
    let names = entries(&root()).into_iter().map(|path| relative(&path));
    none(names.filter_map(|name| unexpected_at_top(&name)));
}

#[test]
fn runtimes_have_the_same_files() {
    none(only_in_one(&names_under("runtime-mio/src"), &names_under("runtime-tokio/src")));
}

#[test]
fn files_fit_the_eye() {
    none(every_source().iter().flat_map(too_large));
}

#[test]
fn functions_fit_the_eye() {
    none(every_source().iter().flat_map(too_long));
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let mut complaints = Vec::new();
    for path in files(&root()) {
        if let Ok(text) = fs::read_to_string(&path) {
            complaints.extend(machine_paths(&Source { path: relative(&path), text }));
        }
    }
    none(complaints);
}

fn unexpected_at_top(name: &str) -> Option<String> {
    let expected = name.starts_with('.') || TOP_LEVEL.contains(&name);
    (!expected).then(|| format!("{name}: the top level holds the crates and what tools want there"))
}

fn only_in_one(mio: &BTreeSet<String>, tokio: &BTreeSet<String>) -> Vec<String> {
    // What comes before the loop runs is the same for both, and is written once.
    let shared = |name: &&String| *name == "/node.rs" || name.starts_with("/node/");
    mio.symmetric_difference(tokio)
        .filter(|name| !shared(name))
        .map(|name| format!("{name} is in one runtime only; both have the same files"))
        .collect()
}

fn too_large(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        complaints.push(format!("{}: {lines} lines, more than {LINES_MAX}", source.path));
    }
    for (number, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            complaints.push(format!("{}:{}: {columns} columns", source.path, number + 1));
        }
    }
    complaints
}

fn too_long(source: &Source) -> Vec<String> {
    let functions = functions(&code_of(&source.text)).into_iter();
    let long = functions.filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX);
    long.map(|(line, name, lines)| {
        let path = &source.path;
        format!("{path}:{}: {name} has {lines} lines, more than {FUNCTION_LINES_MAX}", line + 1)
    })
    .collect()
}

fn machine_paths(source: &Source) -> Vec<String> {
    let folders = ["home", "root", "Users", "work"].map(|name| format!("/{name}/"));
    source.complain_everywhere(|line| {
        let found = folders.iter().find(|folder| {
            line.match_indices(folder.as_str()).any(|(at, _)| {
                let before = line.get(..at).and_then(|start| start.chars().next_back());
                !before.is_some_and(|c| c.is_alphanumeric() || ".-_~{}$)*".contains(c))
            })
        })?;
        Some(format!("{found} is a place on one machine"))
    })
}

#[test]
fn a_stray_file_at_the_top_is_found() {
    assert!(unexpected_at_top("justfile").is_some());
    assert_eq!(unexpected_at_top(".gitignore"), None);
    assert_eq!(unexpected_at_top("core"), None);
}

#[test]
fn a_file_without_its_twin_is_found() {
    let mio = BTreeSet::from(["/lib.rs".to_owned(), "/epoll.rs".to_owned()]);
    let tokio = BTreeSet::from(["/lib.rs".to_owned()]);
    assert_eq!(only_in_one(&mio, &tokio).len(), 1);
    assert_eq!(only_in_one(&mio, &mio), [""; 0]);
}

#[test]
fn a_large_file_and_a_wide_line_are_found() {
    assert_eq!(too_large(&at("a.rs", &"x\n".repeat(LINES_MAX + 1))).len(), 1);
    assert_eq!(too_large(&at("a.rs", &"é".repeat(COLUMNS_MAX + 1))).len(), 1);
    let fits = format!("{}\n", "é".repeat(COLUMNS_MAX)).repeat(LINES_MAX);
    assert_eq!(too_large(&at("a.rs", &fits)), [""; 0]);
}

#[test]
fn a_long_function_is_found() {
    let function =
        |lines: usize| format!("\nfn f() {{\n{}}}\n", "    x(\"}\");\n".repeat(lines - 2));
    let found = ["a.rs:2: f has 70 lines, more than 69"];
    assert_eq!(too_long(&at("a.rs", &function(FUNCTION_LINES_MAX + 1))), found);
    assert_eq!(too_long(&at("a.rs", &function(FUNCTION_LINES_MAX))), [""; 0]);
}

#[test]
fn a_path_of_a_machine_is_found() {
    let line = |folder: &str| format!("open(\"/{folder}/someone/x\")");
    for folder in ["home", "root", "Users", "work"] {
        assert_eq!(machine_paths(&at("a.md", &line(folder))).len(), 1, "{folder}");
    }
    for fine in [line("etc"), format!("https://example.org/{}/x", "work")] {
        assert_eq!(machine_paths(&at("a.md", &fine)), [""; 0], "{fine}");
    }
}
