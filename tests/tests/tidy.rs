//! The repository's own rules, as far as a program can check them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;

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

/// What the state machine must be told instead of asking for it.
const AMBIENT: [&str; 22] = [
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "thread::spawn",
    "thread_local!",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "OsRng",
    "SystemRandom",
    "RandomState",
    "getrandom",
    "rand::rng",
    "rand::random",
    "thread_rng",
    "tokio::",
    "mio::",
];

/// Crates that do I/O.
const IO_CRATES: [&str; 4] = ["mio", "quinn-udp", "socket2", "tokio"];

/// Names of protocols; what moves bytes needs none of them.
const PROTOCOLS: [&str; 12] = [
    "dtls",
    "http",
    "ice",
    "json",
    "rtcp",
    "rtmp",
    "rtp",
    "sdp",
    "srtp",
    "stun",
    "webrtc",
    "websocket",
];

#[test]
fn the_top_level_holds_what_it_should() {
    let names = entries(&root()).into_iter().map(|path| relative(&path));
    none(names.filter_map(|name| unexpected_at_top(&name)));
}

#[test]
fn core_asks_nothing_of_the_machine() {
    none(sources("core/src").iter().flat_map(ambient_words));
}

#[test]
fn core_depends_on_no_crate_that_does_io() {
    let manifest = fs::read_to_string(root().join("core/Cargo.toml")).expect("core has a manifest");
    none(io_dependencies(&manifest));
}

#[test]
fn runtimes_know_no_protocol_but_to_set_a_node_up() {
    let runtimes = ["runtime-mio/src", "runtime-tokio/src"].map(sources);
    none(runtimes.iter().flatten().flat_map(protocol_words));
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
fn nothing_is_unfinished_or_unsafe() {
    none(every_source().iter().flat_map(forbidden_words));
}

#[test]
fn every_limit_is_tested() {
    let limits = fs::read_to_string(root().join("core/src/limits.rs")).expect("core has limits");
    let tests = [sources("tests"), sources("core/src")].concat();
    none(untested_limits(&limits, &tests));
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

/// Fails with one complaint a line.
fn none(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

// --- rules ---

fn unexpected_at_top(name: &str) -> Option<String> {
    let expected = name.starts_with('.') || TOP_LEVEL.contains(&name);
    (!expected).then(|| format!("{name}: the top level holds the crates and what tools want there"))
}

fn ambient_words(source: &Source) -> Vec<String> {
    source.complain(|line| {
        let found = AMBIENT.iter().find(|word| contains_path(line, word))?;
        Some(format!("{found}: core is told such things, it does not ask"))
    })
}

fn io_dependencies(manifest: &str) -> Vec<String> {
    let named = |line: &str, name: &str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
            || line.contains(&format!("dependencies.{name}]"))
    };
    IO_CRATES
        .iter()
        .filter(|name| manifest.lines().any(|line| named(line, name)))
        .map(|name| format!("core/Cargo.toml: {name} does I/O, which is for the runtimes"))
        .collect()
}

fn protocol_words(source: &Source) -> Vec<String> {
    let sets_up = source.path.ends_with("/main.rs")
        || source.path.ends_with("/node.rs")
        || source.path.contains("/node/");
    if sets_up {
        return Vec::new();
    }
    source.complain(|line| {
        let words = words(line);
        let found = PROTOCOLS.iter().find(|name| words.contains(**name))?;
        Some(format!("{found}: runtimes move bytes and leave protocols to core"))
    })
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

// --- text ---

/// A file of the repository.
#[derive(Clone)]
struct Source {
    /// Where, from the repository's root.
    path: String,
    /// What it says.
    text: String,
}

impl Source {
    /// Applies a rule to each line of code, leaving out comments, literals and unit tests.
    fn complain(&self, rule: impl Fn(&str) -> Option<String>) -> Vec<String> {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return Vec::new();
        }
        let text = without_unit_tests(&code_of(&self.text));
        Source { path: self.path.clone(), text }.complain_everywhere(rule)
    }

    /// Applies a rule to each line as it stands.
    fn complain_everywhere(&self, rule: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let lines = self.text.lines().enumerate();
        lines
            .filter_map(|(i, line)| Some(format!("{}:{}: {}", self.path, i + 1, rule(line)?)))
            .collect()
    }
}

/// The tests in a file: all of its code, or what follows the code that is tested.
fn tests_of(source: &Source) -> String {
    let Source { path, text } = source;
    let code = code_of(text);
    if path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs") {
        return code;
    }
    let tested = without_unit_tests(&code).lines().count();
    code.lines().skip(tested).flat_map(|line| [line, "\n"]).collect()
}

/// Code up to its unit tests, which stand last in a file.
fn without_unit_tests(code: &str) -> String {
    let lines: Vec<&str> = code.lines().collect();
    let opens_tests = |from: usize| {
        // More attributes may stand between, on several lines.
        let item = lines.iter().skip(from).find(|line| !line.starts_with(['#', ' ', ')']));
        item.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    };
    let end = (0..lines.len())
        .find(|i| lines.get(*i) == Some(&"#[cfg(test)]") && opens_tests(*i))
        .unwrap_or(lines.len());
    lines.iter().take(end).flat_map(|line| [*line, "\n"]).collect()
}

/// Rust without its comments and the contents of its literals; lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = not_code(rest);
        if skipped > 0 {
            let (literal, after) = rest.split_at(skipped);
            code.extend(literal.chars().filter(|c| *c == '\n'));
            code.push_str(if literal.starts_with('/') { "" } else { "\"\"" });
            rest = after;
            continue;
        }
        // A raw string is known by its prefix, which only counts where an identifier may begin.
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (taken, after) = rest.split_at(word.max(next.len_utf8()));
        code.push_str(taken);
        rest = after;
    }
    code
}

/// How many bytes of a comment, a string or a character stand at the start.
fn not_code(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return text.find("*/").map_or(text.len(), |at| at + 2);
    }
    let literal = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - literal.len();
    if prefix <= 1 {
        if let Some(raw) = literal.strip_prefix('r') {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            let opened = raw.get(hashes..).unwrap_or_default();
            if opened.starts_with('"') {
                let close = format!("\"{}", "#".repeat(hashes));
                let body = opened.get(1..).unwrap_or_default();
                let length = body.find(&close).map_or(body.len(), |at| at + close.len());
                return prefix + 1 + hashes + 1 + length;
            }
        }
        if literal.starts_with('"') {
            return prefix + quoted(literal, '"');
        }
        let mut characters = literal.chars().skip(1);
        let (first, second) = (characters.next(), characters.next());
        if literal.starts_with('\'') && (first == Some('\\') || second == Some('\'')) {
            return prefix + quoted(literal, '\'');
        }
    }
    0
}

/// How many bytes a literal has that opens with a quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// Whether a path or name occurs, not as the tail of a longer name.
fn contains_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|start| start.chars().next_back());
        path.starts_with('.') || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The words in the names of a line: `RtpHeader` and `rtp_header` are both `rtp` and `header`.
fn words(line: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for name in line.split(|c: char| !c.is_alphanumeric()) {
        words.insert(name.to_lowercase());
        let mut word = String::new();
        for c in name.chars() {
            if c.is_uppercase() && word.ends_with(char::is_lowercase) {
                words.insert(word.to_lowercase());
                word.clear();
            }
            word.push(c);
        }
        words.insert(word.to_lowercase());
    }
    words
}

// --- files ---

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of it").to_owned()
}

fn relative(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("every path begins at the root");
    path.to_string_lossy().into_owned()
}

/// What a folder of the repository holds, less what is built, installed or git's.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder exists");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| {
        !["target", "node_modules", ".git"].iter().any(|skipped| path.ends_with(skipped))
    });
    paths.sort();
    paths
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let of = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries(folder).into_iter().flat_map(of).collect()
}

fn sources(folder: &str) -> Vec<Source> {
    let paths = files(&root().join(folder)).into_iter();
    let rust = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| Source {
        path: relative(&path),
        text: fs::read_to_string(&path).expect("sources are UTF-8"),
    })
    .collect()
}

fn every_source() -> Vec<Source> {
    let sources = sources("");
    assert!(sources.len() > 10, "only {} Rust files were found", sources.len());
    sources
}

fn names_under(folder: &str) -> BTreeSet<String> {
    let path = |source: &Source| source.path.trim_start_matches(folder).to_owned();
    sources(folder).iter().map(path).collect()
}

// --- each rule against what breaks it ---

fn at(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn a_stray_file_at_the_top_is_found() {
    assert!(unexpected_at_top("justfile").is_some());
    assert_eq!(unexpected_at_top(".gitignore"), None);
    assert_eq!(unexpected_at_top("core"), None);
}

#[test]
fn a_clock_in_core_is_found_but_not_in_a_comment_a_string_or_a_test() {
    let clock = at("core/src/a.rs", "fn f() {\n    let now = std::time::Instant::now();\n}\n");
    let found = "core/src/a.rs:2: Instant::now: core is told such things, it does not ask";
    assert_eq!(ambient_words(&clock), [found]);
    for fine in [
        "// Instant::now\n",
        "/* a\nUdpSocket */\n",
        "let why = \"no \\\" Instant::now\";\n",
        "let raw = r#\"std::fs \" \"#;\n",
        "let quote = '\"'; let also = b'\\''; // std::fs\n",
        "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n",
        "#[cfg(test)]\n#[expect(\n    dead_code\n)]\nmod tests {\n    use std::fs;\n}\n",
        "use str0m::fastmio::x;\n",
    ] {
        assert_eq!(ambient_words(&at("core/src/a.rs", fine)), [""; 0], "{fine}");
    }
    assert!(ambient_words(&at("core/src/config/tests.rs", "use std::fs;\n")).is_empty());
    let after_declaration = at("core/src/a.rs", "#[cfg(test)]\nmod tests;\nuse std::fs;\n");
    assert_eq!(ambient_words(&after_declaration).len(), 1);
    let after_lifetime = at("core/src/a.rs", "fn f<'a>(x: &'a str) { std::fs::read(x); }\n");
    assert_eq!(ambient_words(&after_lifetime).len(), 1);
}

#[test]
fn an_io_crate_in_core_is_found() {
    let refused = ["mio.workspace = true", "tokio = \"1\"", "[dependencies.socket2]"];
    for line in refused {
        assert_eq!(io_dependencies(&format!("[dependencies]\n{line}\n")).len(), 1, "{line}");
    }
    assert!(io_dependencies("[dependencies]\nmio-like = \"1\"\n").is_empty());
}

#[test]
fn a_protocol_in_a_runtime_is_found() {
    for code in ["fn read_rtp() {}", "struct RtpHeader;", "use a::WebSocket;", "mod sdp;"] {
        assert_eq!(protocol_words(&at("runtime-mio/src/tcp.rs", code)).len(), 1, "{code}");
    }
    for fine in ["// WebSocket", "struct Device;", "fn notice() {}", "fn sort_path() {}"] {
        assert_eq!(protocol_words(&at("runtime-mio/src/tcp.rs", fine)), [""; 0], "{fine}");
    }
    assert!(protocol_words(&at("runtime-mio/src/node/bind.rs", "dtls();")).is_empty());
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
