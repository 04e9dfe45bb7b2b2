//! Which module of core names which.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::{code_of, uses, without_unit_tests};
use crate::none;
use crate::source::{Source, at, sources};

/// All that may be known, and is; whatever is below is known by what is above, and not the other
/// way, but for the words. `stream`, `signal` and `media` know nothing of each other.
const EDGES: [(&str, &[&str]); 23] = [
    ("clock", &[]),
    ("id", &[]),
    ("limits", &[]),
    ("pages", &[]),
    ("rng", &[]),
    // The workbench, which pieces that are measured stand on, too.
    ("tests", &[]),
    ("timers", &[]),
    ("token", &["limits"]),
    ("wildcard", &[]),
    ("config", &["input", "limits", "pages", "token", "wildcard"]),
    ("input", &["config", "id", "message"]),
    ("message", &["id", "media", "signal", "stream", "token"]),
    ("output", &["id", "input", "message"]),
    ("outbox", &["clock", "config", "id", "message", "output", "rng"]),
    ("stream", &["clock", "config", "limits", "pages"]),
    ("signal", &["config", "limits"]),
    ("dialer", &["id", "input", "outbox", "output", "stream"]),
    (
        "media",
        &[
            "config", "id", "input", "limits", "message", "outbox", "output", "rng", "tests",
            "timers",
        ],
    ),
    (
        "access",
        &[
            "config", "dialer", "id", "input", "limits", "outbox", "output", "signal", "stream",
            "timers", "token", "wildcard",
        ],
    ),
    ("bench", &["media", "signal", "tests"]),
    (
        "connections",
        &[
            "access", "config", "id", "input", "message", "outbox", "output", "signal", "stream",
            "timers", "token",
        ],
    ),
    (
        "cdn",
        &[
            "access", "config", "dialer", "id", "input", "limits", "media", "message", "outbox",
            "output", "rng", "signal", "stream", "timers", "token",
        ],
    ),
    (
        "shard",
        &[
            "cdn",
            "clock",
            "config",
            "connections",
            "id",
            "input",
            "media",
            "message",
            "outbox",
            "output",
            "rng",
            "timers",
        ],
    ),
];

/// What the parts say to each other and to the runtime. A word may be made of a part's types, and
/// so knows that part, which knows the word.
const WORDS: [&str; 5] = ["config", "input", "message", "outbox", "output"];

#[test]
fn modules_of_core_know_what_the_table_says_and_no_more() {
    none(differences(&edges(&sources("core/src"))));
}

#[test]
fn the_table_points_one_way() {
    let mut below = BTreeSet::from(WORDS);
    for (module, known) in EDGES {
        let parts = known.iter().filter(|known| !WORDS.contains(known));
        for known in parts {
            let ordered = below.contains(known) || WORDS.contains(&module);
            assert!(ordered, "{module} knows {known}, which is not below it");
        }
        below.insert(module);
    }
}

/// Who names whom, and where first.
type Edges = BTreeMap<(String, String), String>;

fn edges(sources: &[Source]) -> Edges {
    let mut edges = Edges::new();
    for source in sources {
        let path = source.path.trim_start_matches("core/src/").trim_end_matches(".rs");
        let module: Vec<&str> = path.split('/').collect();
        let is_test = module.contains(&"tests") || path == "lib";
        let Some(first) = module.first().filter(|_| !is_test) else { continue };
        for (line, name) in names(&without_unit_tests(&code_of(&source.text)), module.len()) {
            if name != *first {
                let place = format!("{}:{}", source.path, line + 1);
                edges.entry(((*first).to_owned(), name)).or_insert(place);
            }
        }
    }
    edges
}

/// The modules at the root of the crate that the code of one so deep names, with their lines.
fn names(code: &str, depth: usize) -> Vec<(usize, String)> {
    let lines = code.lines().map(str::to_owned).enumerate();
    let mut names = Vec::new();
    for (line, text) in lines.chain(uses(code)) {
        let paths = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        for path in paths {
            let segments: Vec<&str> = path.split("::").collect();
            let ups = segments.iter().take_while(|segment| **segment == "super").count();
            let at_root = segments.first() == Some(&"crate") || (ups > 0 && ups >= depth);
            let name = segments.get(ups.max(1)).filter(|name| at_root && !name.is_empty());
            names.extend(name.map(|name| (line, (*name).to_owned())));
        }
    }
    names
}

fn differences(edges: &Edges) -> Vec<String> {
    let table = EDGES.iter().flat_map(|(module, known)| {
        known.iter().map(|known| ((*module).to_owned(), (*known).to_owned()))
    });
    let table: BTreeSet<(String, String)> = table.collect();
    let new = edges.iter().filter(|(edge, _)| !table.contains(*edge));
    let new = new.map(|((module, known), place)| {
        format!("{place}: {module} names {known}, which it is not to know")
    });
    let gone = table.iter().filter(|edge| !edges.contains_key(*edge));
    let gone = gone.map(|(module, known)| {
        format!("core/src/{module}: {known} is not named any more, so it need not be known")
    });
    new.chain(gone).collect()
}

#[test]
fn every_way_to_name_a_module_is_found() {
    let known = |path: &str, code: &str| -> Vec<String> {
        edges(&[at(path, code)]).into_keys().map(|(_, known)| known).collect()
    };
    for (path, code) in [
        ("core/src/signal.rs", "use crate::media::PeerFault;"),
        ("core/src/signal.rs", "use crate::{\n    media::PeerFault,\n};"),
        ("core/src/signal.rs", "use super::media;"),
        ("core/src/signal/info.rs", "use super::super::media::PeerFault;"),
        ("core/src/signal/info.rs", "fn f(fault: &crate::media::PeerFault) {}"),
    ] {
        assert_eq!(known(path, code), ["media"], "{code}");
    }
    for (path, code) in [
        ("core/src/signal/info.rs", "use super::media;"),
        ("core/src/signal/info.rs", "use crate::signal::say; // crate::media"),
        ("core/src/signal/tests.rs", "use crate::media;"),
        ("core/src/signal.rs", "#[cfg(test)]\nmod tests {\n    use crate::media;\n}\n"),
    ] {
        assert_eq!(known(path, code), [""; 0], "{code}");
    }
}

#[test]
fn a_module_that_is_not_to_be_known_is_found_and_one_that_is_not_named() {
    let mut edges: Edges = EDGES
        .iter()
        .flat_map(|(module, known)| known.iter().map(|known| (*module, *known)))
        .map(|(module, known)| ((module.to_owned(), known.to_owned()), String::new()))
        .collect();
    assert_eq!(differences(&edges), [""; 0]);
    edges.insert(("media".to_owned(), "cdn".to_owned()), "core/src/media.rs:7".to_owned());
    edges.remove(&("shard".to_owned(), "cdn".to_owned()));
    assert_eq!(
        differences(&edges),
        [
            "core/src/media.rs:7: media names cdn, which it is not to know",
            "core/src/shard: cdn is not named any more, so it need not be known",
        ]
    );
}
