//! What the project stands on: where its dependencies come from and what their licences allow.

use std::process::Command;

use serde_json::Value;

/// Licences that ask of whoever passes a binary on no more than to name the holders; SPDX's names.
const LICENCES: [&str; 8] =
    ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Zlib"];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What the servers hold in two versions, and who keeps the older one. Each costs bytes, and none
/// is ours to choose.
const DUPLICATES: [(&str, &str); 7] = [
    ("base64", "jsonwebtoken 11"),
    ("getrandom", "rand 0.9, of sctp-proto, of str0m 0.25"),
    ("rand", "sctp-proto 0.10, of str0m 0.25"),
    ("rand_chacha", "rand 0.9, of sctp-proto, of str0m 0.25"),
    ("rand_core", "rand 0.9, of sctp-proto, of str0m 0.25"),
    ("signature", "jsonwebtoken 11"),
    ("untrusted", "aws-lc-rs 1, whose 0.7 is behind rustls-webpki's 0.9"),
];

#[test]
fn what_the_servers_hold_twice_is_known() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = Command::new(cargo)
        .args([
            "tree",
            "--duplicates",
            "--edges=normal,no-proc-macro",
            "--depth=0",
            "--prefix=none",
        ])
        .args(["--locked", "--offline", "-p", "distributary-tokio", "-p", "distributary-mio"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there: it runs this test");
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut found: Vec<&str> =
        text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    found.sort_unstable();
    found.dedup();
    let known: Vec<&str> = DUPLICATES.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, known, "in two versions, and listed with who keeps the older one");
}

#[test]
fn every_dependency_may_be_used_and_comes_from_crates_io() {
    let complaints: Vec<String> = packages().iter().flat_map(complaints_about).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there: it runs this test");
    assert!(
        run.status.success(),
        "cargo metadata failed; `cargo fetch --locked` downloads what it needs:\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let metadata: Value = serde_json::from_slice(&run.stdout).expect("cargo writes JSON");
    let packages = metadata.get("packages").and_then(Value::as_array).cloned().unwrap_or_default();
    assert!(packages.len() > 50, "cargo metadata names only {} packages", packages.len());
    packages
}

fn complaints_about(package: &Value) -> Vec<String> {
    let field = |name| package.get(name).and_then(Value::as_str);
    let name = format!("{} {}", field("name").unwrap_or("?"), field("version").unwrap_or("?"));
    let mut complaints = Vec::new();
    match field("source") {
        // A member of this workspace, or a folder; folders outside it would not be found by others.
        None => {
            let manifest = field("manifest_path").unwrap_or_default();
            let root = env!("CARGO_MANIFEST_DIR").trim_end_matches("tests");
            if !manifest.starts_with(root) {
                complaints.push(format!("{name} comes from a folder outside the project"));
            }
        }
        Some(CRATES_IO) => {}
        Some(other) => complaints.push(format!("{name} comes from {other}, not from crates.io")),
    }
    match field("license") {
        None => complaints.push(format!("{name} names no licence in SPDX's terms")),
        Some(licence) => match allows(licence) {
            Ok(true) => {}
            Ok(false) => complaints.push(format!(
                "{name} is under \"{licence}\", which no choice of {LICENCES:?} satisfies"
            )),
            Err(problem) => complaints.push(format!("{name}: \"{licence}\": {problem}")),
        },
    }
    complaints
}

/// Whether an SPDX licence expression can be satisfied with [`LICENCES`] alone.
fn allows(licence: &str) -> Result<bool, String> {
    // Old manifests separate alternatives by a slash.
    let spaced = licence.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let allowed = alternatives(&mut words)?;
    match words.pop() {
        None => Ok(allowed),
        Some(word) => Err(format!("unexpected {word}")),
    }
}

fn alternatives(words: &mut Vec<&str>) -> Result<bool, String> {
    let mut allowed = conjunction(words)?;
    while words.pop_if(|word| *word == "OR").is_some() {
        allowed |= conjunction(words)?;
    }
    Ok(allowed)
}

fn conjunction(words: &mut Vec<&str>) -> Result<bool, String> {
    let mut allowed = single(words)?;
    while words.pop_if(|word| *word == "AND").is_some() {
        allowed &= single(words)?;
    }
    Ok(allowed)
}

fn single(words: &mut Vec<&str>) -> Result<bool, String> {
    match words.pop() {
        None => Err("it ends too early".to_owned()),
        Some("(") => {
            let allowed = alternatives(words)?;
            match words.pop() {
                Some(")") => Ok(allowed),
                other => Err(format!("expected a closing parenthesis, found {other:?}")),
            }
        }
        Some(id) => {
            // An exception only ever permits more.
            if words.pop_if(|word| *word == "WITH").is_some() {
                words.pop().ok_or("an exception is missing")?;
            }
            Ok(LICENCES.contains(&id))
        }
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    for fine in [
        "MIT",
        "MIT OR GPL-3.0",
        "MIT/Apache-2.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        "(GPL-3.0 OR ISC) AND Unicode-3.0",
    ] {
        assert_eq!(allows(fine), Ok(true), "{fine}");
    }
    for refused in ["GPL-3.0", "MIT AND GPL-3.0", "MPL-2.0", "(GPL-3.0 OR ISC) AND AGPL-3.0"] {
        assert_eq!(allows(refused), Ok(false), "{refused}");
    }
    for broken in ["", "MIT OR", "(MIT", "MIT Apache-2.0", "Apache-2.0 WITH"] {
        assert!(allows(broken).is_err(), "{broken}");
    }
}

#[test]
fn what_breaks_the_rules_is_named() {
    let package = |source: &str, licence: &str| {
        serde_json::json!({
            "name": "x",
            "version": "1",
            "source": source,
            "license": licence,
        })
    };
    assert!(complaints_about(&package(CRATES_IO, "MIT")).is_empty());
    assert_eq!(
        complaints_about(&package("git+https://example.org/x", "MIT")),
        ["x 1 comes from git+https://example.org/x, not from crates.io"]
    );
    assert_eq!(complaints_about(&package(CRATES_IO, "GPL-3.0")).len(), 1);
    let without_licence = serde_json::json!({"name": "x", "version": "1", "source": CRATES_IO});
    assert_eq!(complaints_about(&without_licence).len(), 1);
}
