//! What an operator is told about the settings: where, what, and what was expected.

use std::fmt;

/// The name of the file of keys and values.
pub(super) const PROPERTIES: &str = "flashphoner.properties";
/// The name of the file of edges.
pub(super) const BALANCING: &str = "loadbalancing.xml";
/// The command line option that overrides a key.
pub(super) const SET: &str = "--set";

/// The most characters of a value that a message repeats.
const QUOTED_CHARS_MAX: usize = 64;

/// Something an operator wrote that has no effect here, or not the one expected.
///
/// The text names file, line and key, as [`SettingsError`] does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why the settings cannot be used: file, line, and what was expected.
///
/// It reads `flashphoner.properties:3: ws.port: expected …`, `loadbalancing.xml:7: expected …`
/// or `--set ws.port: expected …`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsError {
    /// Which of the two files, or `--set`.
    pub file: &'static str,
    /// Counted from 1; 0 where the problem is that something is missing, and with `--set`.
    pub line: usize,
    /// The key at fault, where there is one.
    pub key: Option<String>,
    /// What is wrong and what was expected.
    pub problem: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_located(f, self.file, self.line, self.key.as_deref(), &self.problem)
    }
}

impl std::error::Error for SettingsError {}

/// Where something that an operator wrote stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    file: &'static str,
    line: usize,
    key: Option<String>,
}

impl Place {
    /// A key in `flashphoner.properties`; line 0 for a key that is not there.
    pub(super) fn property(line: usize, key: &str) -> Self {
        Self { file: PROPERTIES, line, key: Some(key.to_owned()) }
    }

    /// A key on the command line.
    pub(super) fn set(key: &str) -> Self {
        Self { file: SET, line: 0, key: Some(key.to_owned()) }
    }

    /// A line of `loadbalancing.xml`; 0 for the file as a whole.
    pub(super) const fn balancing(line: usize) -> Self {
        Self { file: BALANCING, line, key: None }
    }

    /// A line of `flashphoner.properties` that has no key to name.
    pub(super) const fn line(line: usize) -> Self {
        Self { file: PROPERTIES, line, key: None }
    }

    /// The start stops because of this.
    pub(super) fn error(&self, problem: impl Into<String>) -> SettingsError {
        SettingsError {
            file: self.file,
            line: self.line,
            key: self.key.clone(),
            problem: problem.into(),
        }
    }

    /// The operator should know of this.
    pub(super) fn warning(&self, text: impl Into<String>) -> Warning {
        Warning(self.error(text).to_string())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// Quotes what an operator wrote so that a message stays one short line.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().count() <= QUOTED_CHARS_MAX {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    format!("{start:?}…")
}

fn write_located(
    f: &mut fmt::Formatter<'_>,
    file: &str,
    line: usize,
    key: Option<&str>,
    problem: &str,
) -> fmt::Result {
    match (line, key) {
        (0, Some(key)) if file == SET => write!(f, "{SET} {key}: {problem}"),
        (0, Some(key)) => write!(f, "{file}: {key}: {problem}"),
        (0, None) => write!(f, "{file}: {problem}"),
        (line, Some(key)) => write!(f, "{file}:{line}: {key}: {problem}"),
        (line, None) => write!(f, "{file}:{line}: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_it_is() {
        let told = |place: Place| place.error("no").to_string();
        assert_eq!(told(Place::property(3, "ip")), "flashphoner.properties:3: ip: no");
        assert_eq!(told(Place::property(0, "ip")), "flashphoner.properties: ip: no");
        assert_eq!(told(Place::line(9)), "flashphoner.properties:9: no");
        assert_eq!(told(Place::set("ip")), "--set ip: no");
        assert_eq!(told(Place::balancing(7)), "loadbalancing.xml:7: no");
        assert_eq!(told(Place::balancing(0)), "loadbalancing.xml: no");
        assert_eq!(Place::set("ip").warning("no").to_string(), "--set ip: no");
    }

    #[test]
    fn a_quote_is_one_short_line() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"ж".repeat(65)), format!("\"{}\"…", "ж".repeat(64)));
    }
}
