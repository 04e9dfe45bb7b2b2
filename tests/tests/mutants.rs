//! The faults that the tests are tried with can be made at any time. Whether they are caught is
//! what `tests/run mutants` tells.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use distributary_tests::mutants::{Mutation, mutations};

#[test]
fn every_fault_can_be_made() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = BTreeSet::new();
    for mutation in mutations() {
        assert!(names.insert(mutation.name), "two are called {}", mutation.name);
        let text = fs::read_to_string(root.join(mutation.file)).expect("the file is there");
        let faulty = mutation.apply(&text).unwrap_or_else(|stale| panic!("{stale}"));
        assert_ne!(faulty, text, "{}", mutation.name);
    }
    assert!(names.len() >= 16, "{names:?}");
}

#[test]
fn a_fault_whose_place_is_gone_or_not_clear_is_stale() {
    let mutation = Mutation { name: "m", breaks: "", file: "f", code: "a();", fault: "b();" };
    assert_eq!(mutation.apply("{ a(); }").as_deref(), Ok("{ b(); }"));
    for text in ["{}", "{ a(); a(); }"] {
        let stale = mutation.apply(text).expect_err("it cannot be made");
        assert!(stale.contains("m is stale"), "{stale}");
    }
}

#[test]
fn the_program_lists_its_faults_and_knows_no_others() {
    let run = |arguments: &[&str]| {
        let program = Command::new(env!("CARGO_BIN_EXE_mutants")).args(arguments).output();
        program.expect("it starts")
    };
    let said = run(&["--list", "--only", "status-twice"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(text, "status-twice: core/src/cdn.rs: every status is sent twice\n");
    for wrong in [&["--only", "none"][..], &["--only"], &["--stage", "none"], &["--what"]] {
        let said = run(wrong);
        assert_eq!(said.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8_lossy(&said.stderr).contains("usage: mutants"), "{wrong:?}");
    }
}
