//! The README, taken at its word: its commands run, its settings are accepted, its tables are
//! those of the program.
//!
//! Every line of a `sh` block is run, every `properties` and `xml` block is read by the server. A
//! block that no test can run has another language. Two things differ from what a reader types:
//! the binaries are those of this build, because `cargo run --release` would build everything
//! anew, and a demo gets a time limit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use distributary_core::config::{Effect, KEYS, Key, Settings, SettingsFiles};
use distributary_tests::http;
use distributary_tests::process::{Runtime, Server, binary};

const BEGIN: &str = "<!-- keys: ";
const END: &str = "<!-- end of keys -->";

#[test]
fn every_command_works() {
    let readme = Readme::read();
    let folder = Scratch::new("commands");
    readme.write_settings(&folder.0);
    let mut kinds = BTreeSet::new();
    for line in readme.commands() {
        kinds.insert(run(&line, &folder.0));
    }
    let expected =
        ["bench", "build", "check", "curl", "demo", "gate", "load", "simulation", "trial"];
    assert_eq!(kinds, BTreeSet::from(expected), "a kind of command is not in the README any more");
}

#[test]
fn every_example_of_settings_is_accepted_without_a_warning() {
    let readme = Readme::read();
    let examples: Vec<_> = readme.blocks.iter().filter(|block| block.is_settings()).collect();
    assert!(examples.len() >= 4, "only {} examples of settings", examples.len());
    for block in examples {
        // That an origin's properties have a list of edges beside them is for `--check`.
        let properties = block.text.replace("load_balancing_enabled=true", "");
        let files = match block.language.as_str() {
            "xml" => {
                let properties = "load_balancing_enabled=true";
                SettingsFiles { properties, balancing: Some(&block.text) }
            }
            _ => SettingsFiles { properties: &properties, balancing: None },
        };
        let outcome = Settings::parse(files, &[]).map(|(_, warnings)| warnings);
        assert_eq!(outcome, Ok(Vec::new()), "{}", block.text);
    }
}

#[test]
fn the_keys_are_those_of_the_program() {
    let text = fs::read_to_string(path()).expect("there is a README");
    let begin = text.find(BEGIN).expect("the table has its beginning");
    let begin = begin + text.get(begin..).and_then(|rest| rest.find('\n')).expect("a line ends");
    let end = text.find(END).expect("the table has its end");
    let table = format!("\n\n{}\n", keys());
    if std::env::var("DISTRIBUTARY_README").as_deref() == Ok("write") {
        let (before, after) = (&text[..begin], &text[end..]);
        fs::write(path(), format!("{before}{table}{after}")).expect("the README can be written");
        return;
    }
    assert!(
        text[begin..end] == table,
        "the README's keys are not those of distributary_core::config::KEYS; this writes them:\n\
         DISTRIBUTARY_README=write cargo test --package distributary-tests --test readme"
    );
}

#[test]
fn the_statistics_are_those_of_the_program() {
    let server = Server::start(Runtime::Tokio, "", None).expect("a server");
    let answer = http::get(server.addr("http"), "/?action=stat").expect("an answer");
    let told = answer.body.lines().filter_map(|line| line.split_once('='));
    let told: BTreeSet<_> = told.map(|(key, _)| key.to_owned()).collect();
    let readme = Readme::read();
    let listed: BTreeSet<_> = readme.first_column("### Statistics").into_iter().collect();
    assert_eq!(listed, told);
}

#[test]
fn elements_and_attributes_of_the_list_of_edges_are_known() {
    let rows = Readme::read().first_column("### loadbalancing.xml");
    assert_eq!(rows.len(), 9, "{rows:?}");
    let (mut attributes, mut elements) = (String::new(), String::new());
    for row in rows {
        let name = row.trim_matches(['<', '>']);
        match name.split_once(' ') {
            Some(("loadbalancer", attribute)) => {
                let name = attribute.trim_end_matches("=…");
                let value = BTreeMap::from([
                    ("mode", "RANDOM"),
                    ("randomize", "true"),
                    ("stream_distribution", "webrtc"),
                ]);
                attributes += &format!(" {name}=\"{}\"", value[name]);
            }
            Some(("node", "id=…")) => {}
            Some(_) => panic!("{row} is no part of the file"),
            None => {
                let value = BTreeMap::from([("ip", "a.example"), ("fingerprint", FINGERPRINT)]);
                elements += &format!("<{name}>{}</{name}>", value.get(name).unwrap_or(&"443"));
            }
        }
    }
    let xml = format!("<loadbalancer{attributes}><node id=\"1\">{elements}</node></loadbalancer>");
    let files = SettingsFiles { properties: "load_balancing_enabled=true", balancing: Some(&xml) };
    let (_, warnings) = Settings::parse(files, &[]).expect(&xml);
    assert_eq!(warnings, [], "{xml}");
}

#[test]
fn every_file_and_folder_that_is_named_exists() {
    let text = fs::read_to_string(path()).expect("there is a README");
    let quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let linked = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.into()));
    let folders = ["core", "runtime-mio", "runtime-tokio", "tests", "fuzz"];
    // What fuzzing finds is there once it found something.
    let named = quoted.filter(|name| {
        let first = name.split('/').next().unwrap_or_default();
        folders.contains(&first) && !name.contains(' ') && name != "fuzz/found"
    });
    let named: BTreeSet<String> = named.chain(linked).collect();
    assert!(named.len() > 15, "{named:?}");
    for name in named {
        assert!(root().join(&name).exists(), "the README names {name}");
    }
}

#[test]
fn every_fuzz_target_is_named_by_the_command_that_the_readme_names() {
    let text = fs::read_to_string(path()).expect("there is a README");
    let commands: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("fuzz/run")).collect();
    assert!(commands.contains(&""), "how are the targets named? {commands:?}");
    let run = Command::new(root().join("fuzz/run")).output().expect("bash is there");
    let named = String::from_utf8(run.stdout).expect("names are text");
    let targets: Vec<_> = distributary_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(named.lines().collect::<Vec<_>>(), targets);
    for command in commands.into_iter().filter(|command| !command.is_empty()) {
        let target = command.split(' ').nth(1).unwrap_or_default();
        assert!(target == "all" || targets.contains(&target), "there is no target {target}");
    }
}

const FINGERPRINT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

// --- commands ---

/// Runs one line and says of which kind it is; fails if it does not do what it should.
fn run(line: &str, folder: &Path) -> &'static str {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        // This test is part of it.
        ["tests/run"] => {
            assert!(root().join("tests/run").is_file());
            "gate"
        }
        ["tests/bench"] => bench(),
        ["cargo", "build", "--release", "--package", package] => {
            assert!(runtime(package).is_some(), "{line}");
            "build"
        }
        ["cargo", "run", "--release", "--", "demo"] => demo(Runtime::Tokio),
        ["cargo", "run", "--release", "--package", package, "--", "demo"] => {
            demo(runtime(package).expect(line))
        }
        [
            "cargo",
            "run",
            "--release",
            "--package",
            "distributary-tests",
            "--bin",
            program,
            "--",
            options @ ..,
        ] => run_program(program, options, folder),
        [package, options @ ..] if options.contains(&"--check") => {
            let binary = binary(runtime(package).expect(line)).expect("it builds");
            let said = Command::new(binary).args(options).current_dir(folder).output();
            let said = said.expect("it starts");
            assert!(said.status.success(), "{line}: {}", text(&said.stderr));
            assert_eq!(text(&said.stderr), "the settings are fine\n", "{line}");
            "check"
        }
        ["curl", url] => {
            ask(url.trim_matches('\''));
            "curl"
        }
        _ => panic!("no test knows how to run: {line}"),
    }
}

/// Runs a program of the tests.
fn run_program(program: &str, options: &[&str], folder: &Path) -> &'static str {
    match program {
        "sim" => {
            let said = Command::new(env!("CARGO_BIN_EXE_sim")).args(options).output();
            let said = said.expect("it starts");
            assert!(said.status.success(), "{options:?}: {}", text(&said.stderr));
            let said = text(&said.stdout);
            let sum = [" trace ", " 0 violations, "].iter().any(|sum| said.contains(sum));
            assert!(sum, "{options:?}: {said}");
            "simulation"
        }
        "load" => {
            put_under_load(options, folder);
            "load"
        }
        "soak" => trial(env!("CARGO_BIN_EXE_soak"), options),
        "lossy" => trial(env!("CARGO_BIN_EXE_lossy"), options),
        "attack" => trial(env!("CARGO_BIN_EXE_attack"), options),
        _ => panic!("no program of the tests is called {program}"),
    }
}

fn runtime(package: &str) -> Option<Runtime> {
    [Runtime::Mio, Runtime::Tokio].into_iter().find(|runtime| runtime.package() == package)
}

/// The script tells how it is used; its program has a test of its own, which takes less time.
fn bench() -> &'static str {
    let said = Command::new(root().join("tests/bench")).arg("what").output();
    let said = said.expect("bash is there");
    assert_eq!(said.status.code(), Some(2), "{}", text(&said.stderr));
    assert!(text(&said.stderr).contains("tests/bench quick"), "{}", text(&said.stderr));
    "bench"
}

/// A program that takes minutes tells that it knows its options; it has tests of its own.
fn trial(program: &str, options: &[&str]) -> &'static str {
    let said = Command::new(program).args(options).arg("--help").output().expect("it starts");
    assert!(said.status.success(), "{options:?}: {}", text(&said.stderr));
    "trial"
}

/// Loads a server of our own as the reader loads one on this machine, but not as long and not as
/// much.
fn put_under_load(options: &[&str], folder: &Path) {
    let server = Server::start(Runtime::Tokio, "", None).expect("it starts");
    let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
    load.current_dir(folder);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let value = options.next().expect("each of these has a value");
        match *option {
            "--url" => load.arg(option).arg(format!("ws://{}", server.addr("ws"))),
            "--viewers" => load.args([option, "3"]),
            "--seconds" => load.args([option, "1"]),
            _ => load.args([option, value]),
        };
    }
    let said = load.output().expect("it starts");
    assert!(said.status.success(), "{}\n{}", text(&said.stdout), text(&said.stderr));
    assert!(text(&said.stdout).starts_with("viewers  3 of 3 got media"), "{}", text(&said.stdout));
    assert!(folder.join("load.svg").is_file(), "no picture was drawn");
}

/// A demo prints pages that are there, and ends well.
fn demo(runtime: Runtime) -> &'static str {
    use std::io::{BufRead, BufReader};
    let mut demo = Command::new(binary(runtime).expect("it builds"))
        .args(["demo", "--seconds", "2"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(demo.stdout.take().expect("stdout is a pipe")).lines();
    let mut pages = 0;
    while let Some(Ok(line)) = lines.next() {
        if let Some(rest) = line.trim().strip_prefix("http://localhost:") {
            let (port, path) = rest.split_once('/').expect("an address has a path");
            let addr = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
            let answer = http::get(addr, &format!("/{path}")).expect("a page");
            assert_eq!(answer.status, 200, "{line}");
            assert!(answer.head.to_lowercase().contains("text/html"), "{}", answer.head);
            pages += 1;
        }
    }
    assert_eq!(pages, 2, "one page to publish, one to play");
    assert!(demo.wait().expect("it ends").success());
    "demo"
}

/// Asks a server of our own what the reader asks one on this machine.
fn ask(url: &str) {
    let rest = url.strip_prefix("http://localhost:8081").expect("the examples ask this machine");
    let server = Server::start(Runtime::Tokio, "", None).expect("a server");
    let answer = http::get(server.addr("http"), rest).expect("an answer");
    assert_eq!(answer.status, 200, "{url}");
    let answered = match rest.split(['=', '&']).nth(1) {
        Some("stat") => answer.body.contains("\nstreams_viewers=0\n"),
        Some("server_list") => ["server", "ws", "wss", "flash"]
            .iter()
            .all(|field| answer.body.contains(&format!("\"{field}\":"))),
        _ => false,
    };
    assert!(answered, "{url}: {}", answer.body);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// --- tables ---

/// The keys as the README lists them.
fn keys() -> String {
    let mut text = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    let code = |word: &str| if word.is_empty() { String::new() } else { format!("`{word}`") };
    for Key { name, default, meaning, effect } in KEYS {
        if *effect == Effect::Works {
            text += &format!("| `{name}` | {} | {} |\n", code(default), escaped(meaning));
        }
    }
    text +=
        "\nKeys of Web Call Server that have no effect here, and draw a warning that says so:\n";
    text += "\n| key | why |\n|---|---|\n";
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for Key { name, effect, .. } in KEYS {
        let Effect::NoEffect(why) = effect else { continue };
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, names)) => names.push(code(name)),
            None => reasons.push((why, vec![code(name)])),
        }
    }
    for (why, names) in reasons {
        text += &format!("| {} | {} |\n", names.join(", "), escaped(why));
    }
    text
}

/// Text that Markdown takes as it is.
fn escaped(text: &str) -> String {
    text.replace('<', "\\<").replace('*', "\\*").replace('_', "\\_")
}

// --- the README ---

struct Readme {
    text: String,
    blocks: Vec<Block>,
}

struct Block {
    language: String,
    text: String,
}

impl Readme {
    fn read() -> Self {
        let text = fs::read_to_string(path()).expect("there is a README");
        let mut blocks = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(language) = line.strip_prefix("```") else { continue };
            assert!(!language.is_empty(), "every block says its language");
            let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { language: language.to_owned(), text: inside.join("\n") });
        }
        Self { text, blocks }
    }

    fn commands(&self) -> Vec<String> {
        let shell = self.blocks.iter().filter(|block| block.language == "sh");
        let lines = shell.flat_map(|block| block.text.lines().map(str::to_owned));
        lines.filter(|line| !line.is_empty()).collect()
    }

    /// Writes each example of settings that begins with the name of its file.
    fn write_settings(&self, folder: &Path) {
        for block in self.blocks.iter().filter(|block| block.is_settings()) {
            let first = block.text.lines().next().unwrap_or_default();
            let name =
                first.trim_start_matches(['#', '<', '!', '-']).trim_end_matches("-->").trim();
            if name.ends_with("/flashphoner.properties") || name.ends_with("/loadbalancing.xml") {
                let file = folder.join(name);
                let parent = file.parent().expect("a file is in a folder");
                fs::create_dir_all(parent).expect("folders can be made");
                fs::write(&file, &block.text).expect("files can be written");
            }
        }
    }

    /// What stands in code in the first column of the table after a heading.
    fn first_column(&self, heading: &str) -> Vec<String> {
        let (_, after) = self.text.split_once(&format!("\n{heading}\n")).expect(heading);
        let rows = after.lines().skip_while(|line| !line.starts_with("|---"));
        let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
        let first = rows.filter_map(|row| row.split('|').nth(1));
        first.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
    }
}

impl Block {
    fn is_settings(&self) -> bool {
        ["properties", "xml"].contains(&self.language.as_str())
    }
}

// --- files ---

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of it").to_owned()
}

fn path() -> PathBuf {
    root().join("README.md")
}

/// A folder that goes with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = format!("distributary-readme-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("a folder for the test");
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own broom.
        let _ = fs::remove_dir_all(&self.0);
    }
}
