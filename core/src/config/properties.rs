//! The syntax of `flashphoner.properties`, which is that of Java's `java.util.Properties`:
//! `key=value`, `key: value` or `key value`, `#` and `!` comments, `\` before a line end
//! continues the line, and `\t`, `\n`, `\uXXXX` and their kin are escapes.

use std::io::Read;

use java_properties::{LineContent, PropertiesIter};

use super::diagnostics::{Place, SettingsError};

/// The UTF-8 byte order mark, which switches the reader from Latin-1 to UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// One key as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Property {
    /// Unescaped.
    pub(super) key: String,
    /// Unescaped, without white space around it.
    pub(super) value: String,
    /// Where the key stands.
    pub(super) place: Place,
}

/// Reads keys and values in the order of the text.
///
/// # Errors
///
/// A `\u` escape that is none.
pub(super) fn read(text: &str) -> Result<Vec<Property>, SettingsError> {
    let text = without_comments(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text));
    let mut properties = Vec::new();
    for line in PropertiesIter::new(BYTE_ORDER_MARK.as_bytes().chain(text.as_bytes())) {
        // Bytes in memory do not fail to be read, so a broken escape is all that is left.
        let line = line.map_err(|error| {
            Place::line(error.line_number().unwrap_or_default()).error(
                "broken escape: expected \\u and four hexadecimal digits of a character, \
                 and \\\\ for a backslash",
            )
        })?;
        let number = line.line_number();
        if let LineContent::KVPair(key, value) = line.consume_content() {
            let place = Place::property(number, &key);
            properties.push(Property { key, value: value.trim().to_owned(), place });
        }
    }
    Ok(properties)
}

/// Empties the comment lines and ends the last line.
///
/// The reader unescapes comments too, and so stumbles over `# C:\users`; and it loses a last line
/// that ends in a backslash.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len() + 1);
    let mut continues = false;
    for line in text.split_inclusive(['\n', '\r']) {
        let (content, end) = match line.strip_suffix(['\n', '\r']) {
            Some(content) => (content, line.get(content.len()..).unwrap_or_default()),
            None => (line, "\n"),
        };
        let is_line_feed_of_crlf = end == "\n" && content.is_empty() && kept.ends_with('\r');
        let comment =
            !continues && content.trim_start_matches([' ', '\t', '\x0c']).starts_with(['#', '!']);
        if !comment {
            kept.push_str(content);
        }
        kept.push_str(end);
        if !is_line_feed_of_crlf {
            let backslashes = content.bytes().rev().take_while(|&byte| byte == b'\\').count();
            continues = !comment && !backslashes.is_multiple_of(2);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        let line = |property: &Property| {
            (1..100)
                .find(|&line| property.place == Place::property(line, &property.key))
                .expect("every property has a line")
        };
        read(text)
            .unwrap()
            .into_iter()
            .map(|p| (p.key.clone(), p.value.clone(), line(&p)))
            .collect()
    }

    fn pair(key: &str, value: &str, line: usize) -> (String, String, usize) {
        (key.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn every_separator_separates() {
        let text = "a=1\nb: 2\n  c 3\nd\t=\t4  \ne\n";
        let expected = [pair("a", "1", 1), pair("b", "2", 2), pair("c", "3", 3), pair("d", "4", 4)];
        assert_eq!(pairs(text)[..4], expected);
        assert_eq!(pairs(text)[4], pair("e", "", 5));
    }

    #[test]
    fn a_continued_line_counts_from_its_first() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["a=1,\\", "   2,\\", "  #3", "b=4"].join(end);
            assert_eq!(pairs(&text), [pair("a", "1,2,#3", 1), pair("b", "4", 4)], "{end:?}");
        }
    }

    #[test]
    fn comments_are_not_unescaped() {
        let text = "# C:\\users\\\n  ! \\u\na=1\n";
        assert_eq!(pairs(text), [pair("a", "1", 3)]);
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(pairs("a\\ b\\:c=x\\u0041\\\\y\\t"), [pair("a b:c", "xA\\y", 1)]);
    }

    #[test]
    fn text_is_utf_8_with_or_without_a_byte_order_mark() {
        assert_eq!(pairs("дом=/srv/ключ"), [pair("дом", "/srv/ключ", 1)]);
        assert_eq!(pairs("\u{feff}ip=1"), [pair("ip", "1", 1)]);
    }

    #[test]
    fn a_last_line_may_end_in_a_backslash() {
        assert_eq!(pairs("a=1\\"), [pair("a", "1", 1)]);
    }

    #[test]
    fn a_broken_escape_is_an_error_with_its_line() {
        for text in ["\n\na=\\u12", "\n\na=\\uzzzz", "\n\n\\ud800=1"] {
            let error = read(text).unwrap_err();
            assert_eq!((error.file, error.line), ("flashphoner.properties", 3));
            assert!(error.problem.starts_with("broken escape: expected \\u and four"), "{error}");
        }
    }

    /// A key or value with every character escaped that means something to the syntax.
    fn escaped(text: &str) -> String {
        let mut out = String::new();
        for character in text.chars() {
            if matches!(character, '\\' | ' ' | ':' | '=' | '#' | '!') {
                out.push('\\');
            }
            out.push(character);
        }
        out
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(?s).{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn arbitrary_syntax_never_panics(text in "[a#!=: \t\\\\\r\nu0\x0c]{0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn what_is_escaped_comes_back(
            lines in prop::collection::vec(("[a-zж:=#! .\\\\]{1,12}", "[a-zж:=#!.\\\\]{0,12}"), 0..8),
        ) {
            let text: String =
                lines.iter().map(|(k, v)| format!("{} = {}\n", escaped(k), escaped(v))).collect();
            let expected: Vec<_> =
                lines.iter().enumerate().map(|(at, (k, v))| pair(k, v, at + 1)).collect();
            prop_assert_eq!(pairs(&text), expected);
        }
    }
}
