//! What is unfinished, unsafe or untested.

use std::fs;

use crate::code::{code_of, tests_of};
use crate::none;
use crate::source::{Source, at, every_source, files, relative, root, sources};

#[test]
fn nothing_is_unfinished_or_unsafe() {
    none(every_source().iter().flat_map(forbidden_words));
}

#[test]
fn cases_that_proptest_found_are_tests() {
    let paths = files(&root()).into_iter().map(|path| relative(&path));
    none(paths.filter_map(|path| case_left_as_seed(&path)));
}

#[test]
fn every_limit_is_tested() {
    let limits = fs::read_to_string(root().join("core/src/limits.rs")).expect("core has limits");
    let tests = [sources("tests"), sources("core/src")].concat();
    none(untested_limits(&limits, &tests));
}

/// A seed means something to one version of one strategy; a test with the case's values means it
/// for good.
fn case_left_as_seed(path: &str) -> Option<String> {
    path.contains("proptest-regressions")
        .then(|| format!("{path}: write the case as a test of its own, and remove the seed"))
}

fn forbidden_words(source: &Source) -> Vec<String> {
    let code = Source { path: source.path.clone(), text: code_of(&source.text) };
    code.complain_everywhere(|line| {
        let squeezed: String = line.split_whitespace().collect();
        if squeezed.contains("todo!") || squeezed.contains("unimplemented!") {
            Some("unfinished".to_owned())
        } else if squeezed.contains("#[ignore]") {
            Some("a test that is left out says why: #[ignore = \"…\"]".to_owned())
        } else if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe") {
            Some("unsafe code".to_owned())
        } else {
            None
        }
    })
}

fn untested_limits(limits: &str, sources: &[Source]) -> Vec<String> {
    let tests: Vec<String> = sources.iter().map(tests_of).collect();
    let code = code_of(limits);
    let fields = code.lines().filter_map(|line| {
        let (name, _) = line.trim().strip_prefix("pub ")?.split_once(": ")?;
        Some(name)
    });
    let names = |text: &String, field: &str| {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|name| name == field)
    };
    fields
        .filter(|field| !tests.iter().any(|text| names(text, field)))
        .map(|field| format!("core/src/limits.rs: {field}: no test reaches this bound"))
        .collect()
}

#[test]
fn a_seed_of_a_case_is_found() {
    assert!(case_left_as_seed("core/proptest-regressions/timers.txt").is_some());
    assert_eq!(case_left_as_seed("core/src/timers.rs"), None);
}

#[test]
fn unfinished_and_unsafe_code_is_found() {
    for code in ["todo!()", "unimplemented !()", "#[ignore]", "unsafe { f() }", "unsafe fn f();"] {
        assert_eq!(forbidden_words(&at("a.rs", code)).len(), 1, "{code}");
    }
    for fine in ["#![forbid(unsafe_code)]", "#[ignore = \"slow\"]", "// todo!", "\"unsafe\""] {
        assert_eq!(forbidden_words(&at("a.rs", fine)), [""; 0], "{fine}");
    }
}

#[test]
fn a_limit_without_a_test_is_found() {
    let limits = "/// Bounds.\npub struct Limits {\n    /// Eggs.\n    pub eggs_max: usize,\n}\n";
    let found = ["core/src/limits.rs: eggs_max: no test reaches this bound"];
    let tested = "#[cfg(test)]\nmod tests {\n    fn f() { g(eggs_max); }\n}\n";
    for (path, code) in [
        ("core/src/a.rs", "fn f() { g(limits.eggs_max); }\n"),
        ("core/src/a.rs", "fn f() { g(limits.eggs_max); }\n\n#[cfg(test)]\nmod tests {}\n"),
        ("core/src/a/tests.rs", "// eggs_max\nlet why = \"eggs_max\";\n"),
        ("core/src/a/tests/b.rs", "let legs_max = all_eggs_max;\n"),
    ] {
        assert_eq!(untested_limits(limits, &[at(path, code)]), found, "{path}: {code}");
    }
    for (path, code) in [
        ("core/src/a.rs", tested),
        ("core/src/a/tests.rs", "Limits { eggs_max: 2 };\n"),
        ("core/src/a/tests/b.rs", "limits.eggs_max\n"),
        ("tests/tests/a.rs", "Limits { eggs_max, .. }\n"),
    ] {
        assert_eq!(untested_limits(limits, &[at(path, code)]), [""; 0], "{path}: {code}");
    }
}
