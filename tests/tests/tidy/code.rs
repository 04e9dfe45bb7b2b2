//! Rust as text: what of it is code, and what the code names.

use std::collections::BTreeSet;

use crate::source::Source;

/// The tests in a file: all of its code, or what follows the code that is tested.
pub(crate) fn tests_of(source: &Source) -> String {
    let Source { path, text } = source;
    let code = code_of(text);
    if path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs") {
        return code;
    }
    let tested = without_unit_tests(&code).lines().count();
    code.lines().skip(tested).flat_map(|line| [line, "\n"]).collect()
}

/// Code up to its unit tests, which stand last in a file.
pub(crate) fn without_unit_tests(code: &str) -> String {
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
pub(crate) fn code_of(text: &str) -> String {
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
pub(crate) fn contains_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|start| start.chars().next_back());
        path.starts_with('.') || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The words in the names of a line: `RtpHeader` and `rtp_header` are both `rtp` and `header`.
pub(crate) fn words(line: &str) -> BTreeSet<String> {
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

/// What `use` declarations name, one path each, with the lines on which they begin.
pub(crate) fn uses(code: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    let mut start = 0;
    for (number, line) in code.split_inclusive('\n').enumerate() {
        let words = line.trim_start();
        let words = words.strip_prefix("pub").map_or(words, |rest| match rest.strip_prefix('(') {
            Some(scope) => scope.split_once(')').map_or(rest, |(_, rest)| rest),
            None => rest,
        });
        if words.trim_start().starts_with("use ") {
            let rest = code.get(start..).unwrap_or_default();
            let (_, tree) = rest.split_once("use ").unwrap_or_default();
            let tree = tree.split(';').next().unwrap_or_default();
            let tree: String = tree.split_whitespace().collect();
            paths.extend(expand("", &tree).into_iter().map(|path| (number, path)));
        }
        start += line.len();
    }
    paths
}

/// The paths of a tree like `a::{b,c::{d,e}}`.
fn expand(prefix: &str, tree: &str) -> Vec<String> {
    let mut depth = 0;
    let branches = tree.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    let mut paths = Vec::new();
    for branch in branches.filter(|branch| !branch.is_empty()) {
        match branch.split_once('{') {
            Some((stem, inner)) => {
                let inner = inner.strip_suffix('}').unwrap_or(inner);
                paths.extend(expand(&format!("{prefix}{stem}"), inner));
            }
            None => paths.push(format!("{prefix}{branch}")),
        }
    }
    paths
}

/// Each function with the line on which it begins, counted from 0, and how many lines it has.
pub(crate) fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code.get(..at).unwrap_or_default();
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = code.get(at..).unwrap_or_default();
        let name = rest.get(3..).unwrap_or_default();
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if let Some(length) = length_to_end(rest) {
            let lines = rest.get(..length).unwrap_or_default().lines().count();
            found.push((before.matches('\n').count(), name, lines));
        }
    }
    found
}

/// How many bytes there are from `fn` to the end of the body; `None` if there is no body.
fn length_to_end(code: &str) -> Option<usize> {
    let (mut round, mut curly) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            ';' if round == 0 && curly == 0 => return None,
            '{' => curly += 1,
            '}' => {
                curly -= 1;
                if curly == 0 && round == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[test]
fn groups_of_names_are_taken_apart() {
    let code = "pub(crate) use a::{b, c::{\n    d, e},\n};\n\n  use f;\nfn g() { reuse x; }\n";
    let paths = uses(code);
    let paths: Vec<_> = paths.iter().map(|(line, path)| (*line, path.as_str())).collect();
    assert_eq!(paths, [(0, "a::b"), (0, "a::c::d"), (0, "a::c::e"), (4, "f")]);
}

#[test]
fn functions_are_measured_from_their_name_to_their_last_brace() {
    let code = "trait T {\n    fn a();\n}\nfn b(x: [u8; 2]) -> fn(u8)\nwhere\n    T: U,\n{\n    \
        if x { fn c() {} }\n}\nlet defn = 1;\n";
    let measured = [(3, "b".to_owned(), 6), (7, "c".to_owned(), 1)];
    assert_eq!(functions(code), measured);
}
