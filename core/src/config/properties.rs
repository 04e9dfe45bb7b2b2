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
            (1..1000)
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

    /// How one character of a key or value is written.
    #[derive(Clone, Copy, Debug)]
    enum Spelling {
        /// As it is, where that is possible.
        Plain,
        /// With a backslash before it, or by its letter.
        Backslash,
        /// By its number.
        Number,
        /// At the start of a line that continues the one before.
        Continued(&'static str),
    }

    fn spelling() -> impl Strategy<Value = Spelling> {
        prop_oneof![
            8 => Just(Spelling::Plain),
            2 => Just(Spelling::Backslash),
            2 => Just(Spelling::Number),
            1 => prop::sample::select(vec!["\n", "\r\n", "\r\t ", "\n   \x0c"])
                .prop_map(Spelling::Continued),
        ]
    }

    /// Writes a character; `means` tells whether it would mean something where it stands.
    fn spell(character: char, spelling: Spelling, means: bool) -> String {
        let letter = match character {
            '\t' => Some('t'),
            '\n' => Some('n'),
            '\r' => Some('r'),
            '\x0c' => Some('f'),
            _ => None,
        };
        match (spelling, letter) {
            // The reader knows no pairs of surrogates.
            (Spelling::Number, _) if character.len_utf16() == 1 => {
                format!("\\u{:04x}", u32::from(character))
            }
            (Spelling::Continued(end), _) => {
                let means = means || character == ' ';
                format!("\\{end}{}", spell(character, Spelling::Backslash, means))
            }
            (_, Some(letter)) => format!("\\{letter}"),
            // Before a letter or a digit a backslash would be another escape, or none.
            (Spelling::Backslash, None) if character.is_ascii_punctuation() => {
                format!("\\{character}")
            }
            (_, None) if means => format!("\\{character}"),
            (_, None) => character.to_string(),
        }
    }

    /// A text, and how each of its characters is written.
    type Written = Vec<(char, Spelling)>;

    fn written(characters: &'static str, most: usize) -> impl Strategy<Value = Written> {
        let character = prop::sample::select(characters.chars().collect::<Vec<_>>());
        prop::collection::vec((character, spelling()), 0..most)
    }

    #[derive(Clone, Debug)]
    enum Line {
        Pair {
            indent: &'static str,
            key: Written,
            separator: &'static str,
            value: Written,
        },
        /// A comment or a blank line.
        Nothing(String),
    }

    const CHARACTERS: &str = "abu09жä€😀:=#! .\\\t\n\r\x0c\"'";

    fn line() -> impl Strategy<Value = Line> {
        let separators = vec!["=", ":", " ", "\t", " = ", "\t:\x0c", "  "];
        let pair = (
            prop::sample::select(vec!["", " ", "\t \x0c"]),
            written(CHARACTERS, 10),
            prop::sample::select(separators),
            written(CHARACTERS, 16),
        );
        prop_oneof![
            4 => pair.prop_map(|(indent, mut key, separator, value)| {
                // Where nothing is before it, a separator of white space is indentation.
                if key.is_empty() {
                    key.push(('k', Spelling::Plain));
                }
                Line::Pair { indent, key, separator, value }
            }),
            1 => "[ \t]{0,3}[#!](\\\\u|[a-zж\\\\=: ]){0,12}".prop_map(Line::Nothing),
            1 => "[ \t\x0c]{0,3}".prop_map(Line::Nothing),
        ]
    }

    fn render(line: &Line) -> String {
        let Line::Pair { indent, key, separator, value } = line else {
            let Line::Nothing(text) = line else { unreachable!() };
            return text.clone();
        };
        let special = |character: char| "\\ :=#!".contains(character);
        let key: String = key.iter().map(|(c, how)| spell(*c, *how, special(*c))).collect();
        let (mut text, mut begun) = (format!("{indent}{key}{separator}"), false);
        for (character, how) in value {
            // Inside a value only the backslash means anything; before it white space and the
            // first separator do.
            let means = *character == '\\' || (!begun && special(*character));
            text.push_str(&spell(*character, *how, means));
            begun = true;
        }
        text
    }

    fn text_of(written: &Written) -> String {
        written.iter().map(|(character, _)| character).collect()
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
        fn what_is_written_is_read_however_it_is_written(
            lines in prop::collection::vec(line(), 0..8),
            end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            marked: bool,
            ended: bool,
        ) {
            let mut text = lines.iter().map(render).collect::<Vec<_>>().join(end);
            if ended {
                text.push_str(end);
            }
            let mut expected = Vec::new();
            let mut number = 1;
            for line in &lines {
                if let Line::Pair { key, value, .. } = line {
                    expected.push(pair(&text_of(key), text_of(value).trim(), number));
                }
                // A continuation's own line end may differ from that of the file.
                let content = render(line).replace("\r\n", "\n");
                number += 1 + content.matches(['\n', '\r']).count();
            }
            let marked = if marked { BYTE_ORDER_MARK } else { "" };
            prop_assert_eq!(pairs(&format!("{marked}{text}")), expected, "{:?}", text);
        }
    }
}
