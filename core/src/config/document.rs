//! XML as a small tree of elements that know their lines.
//!
//! Entities other than the five predefined ones and character references are refused, and so is
//! any document type, which is what declares them: no text grows by being read.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::diagnostics::{Place, SettingsError, quoted};

/// The deepest nesting that is read; `loadbalancing.xml` means three levels.
const DEPTH_MAX: usize = 16;

/// One element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Element {
    /// As written.
    pub(super) name: String,
    /// The line on which its start tag begins, counted from 1.
    pub(super) line: usize,
    /// Names, unique, and values, in order.
    pub(super) attributes: Vec<(String, String)>,
    /// The elements right inside it, in order.
    pub(super) children: Vec<Self>,
    /// The text right inside it, without white space around it.
    pub(super) text: String,
}

/// Reads a document and returns its root.
///
/// # Errors
///
/// What is no well-formed XML, has a document type or nests too deep, with its line.
pub(super) fn read(text: &str) -> Result<Element, SettingsError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::of(text);
    let mut reader = Reader::from_str(text);
    reader.config_mut().enable_all_checks(true);
    let mut tree = Tree { root: None, open: Vec::new() };
    loop {
        let line = lines.at(reader.buffer_position());
        let place = Place::balancing(line);
        let event = reader.read_event().map_err(|error| {
            Place::balancing(lines.at(reader.error_position()))
                .error(format!("expected well-formed XML: {error}"))
        })?;
        match event {
            Event::Start(tag) => tree.start(element(&tag, line)?)?,
            Event::Empty(tag) => {
                tree.start(element(&tag, line)?)?;
                tree.end();
            }
            Event::End(_) => tree.end(),
            Event::Text(text) => tree.text(&text.xml10_content(), &place)?,
            Event::CData(text) => tree.text(&text.xml10_content(), &place)?,
            Event::GeneralRef(reference) => tree.text(&resolve(&reference, &place)?, &place)?,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::DocType(_) => return Err(place.error("expected no <!DOCTYPE>, none is read")),
            Event::Eof => return tree.finish(&place),
        }
    }
}

/// The elements read so far.
struct Tree {
    root: Option<Element>,
    /// Each inside the one before it.
    open: Vec<Element>,
}

impl Tree {
    fn start(&mut self, element: Element) -> Result<(), SettingsError> {
        let place = Place::balancing(element.line);
        if self.open.is_empty() && self.root.is_some() {
            let name = quoted(&element.name);
            return Err(place.error(format!("expected one root element, found {name} after it")));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(place.error(format!("expected at most {DEPTH_MAX} levels of elements")));
        }
        self.open.push(element);
        Ok(())
    }

    fn end(&mut self) {
        let Some(mut element) = self.open.pop() else {
            return;
        };
        element.text = element.text.trim().to_owned();
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
    }

    fn text(&mut self, text: &str, place: &Place) -> Result<(), SettingsError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => {
                let text = quoted(text.trim());
                return Err(place.error(format!("expected an element, found the text {text}")));
            }
        }
        Ok(())
    }

    fn finish(self, end: &Place) -> Result<Element, SettingsError> {
        if let Some(open) = self.open.last() {
            return Err(Place::balancing(open.line)
                .error(format!("expected </{}> before the end of the file", open.name)));
        }
        self.root.ok_or_else(|| end.error("expected an element, found none"))
    }
}

fn element(tag: &BytesStart<'_>, line: usize) -> Result<Element, SettingsError> {
    let malformed = |error: &dyn std::fmt::Display| {
        Place::balancing(line).error(format!("expected well-formed XML: {error}"))
    };
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| malformed(&error))?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| malformed(&error))?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(Element {
        name: tag.name().as_ref().to_owned(),
        line,
        attributes,
        children: Vec::new(),
        text: String::new(),
    })
}

fn resolve(reference: &BytesRef<'_>, place: &Place) -> Result<String, SettingsError> {
    let character = reference
        .resolve_char_ref()
        .map_err(|error| place.error(format!("expected well-formed XML: {error}")))?;
    if let Some(character) = character {
        return Ok(character.into());
    }
    resolve_predefined_entity(reference).map(str::to_owned).ok_or_else(|| {
        let name = quoted(reference);
        place.error(format!("expected &amp; &lt; &gt; &quot; or &apos;, found the entity {name}"))
    })
}

/// Where the lines of a text end.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(
            text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at).collect(),
        )
    }

    /// The line, counted from 1, of the byte at an offset.
    fn at(&self, offset: u64) -> usize {
        1 + self.0.partition_point(|&end| u64::try_from(end).is_ok_and(|end| end < offset))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        read(text).expect_err(text).to_string()
    }

    #[test]
    fn elements_know_their_lines_attributes_and_text() {
        let root = read("<?xml version='1.0'?>\n<a x='1&amp;2'\n  y=\"3\">\n\n<!-- <c/> -->\n  <b/>\n<c> d&#x41;<![CDATA[<]]> </c></a>\n")
            .unwrap();
        assert_eq!((root.name.as_str(), root.line, root.text.as_str()), ("a", 2, ""));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(root.attributes, [pair("x", "1&2"), pair("y", "3")]);
        let children: Vec<_> =
            root.children.iter().map(|c| (c.name.as_str(), c.line, c.text.as_str())).collect();
        assert_eq!(children, [("b", 6, ""), ("c", 7, "dA<")]);
    }

    #[test]
    fn malformed_documents_are_refused_with_their_line() {
        for (text, expected) in [
            ("", "loadbalancing.xml:1: expected an element, found none"),
            ("\n\nnot xml", "loadbalancing.xml:1: expected an element, found the text \"not xml\""),
            (
                "<a>\n<b>\n</a>",
                "loadbalancing.xml:3: expected well-formed XML: ill-formed document: expected `</b>`, but `</a>` was found",
            ),
            ("<a>\n <b>", "loadbalancing.xml:2: expected </b> before the end of the file"),
            ("<a/>\n<b/>", "loadbalancing.xml:2: expected one root element, found \"b\" after it"),
            (
                "<a/>\n</a>",
                "loadbalancing.xml:2: expected well-formed XML: ill-formed document: close tag `</a>` does not match any open tag",
            ),
            (
                "<a>\n<b",
                "loadbalancing.xml:2: expected well-formed XML: syntax error: tag not closed: `>` not found before end of input",
            ),
            ("<a>\n<b c=1/></a>", "loadbalancing.xml:2: expected well-formed XML: "),
            ("<a>\n<b c='1' c='2'/></a>", "loadbalancing.xml:2: expected well-formed XML: "),
            (
                "<a>\n<!-- ",
                "loadbalancing.xml:2: expected well-formed XML: syntax error: comment not closed: `-->` not found before end of input",
            ),
        ] {
            assert!(refused(text).starts_with(expected), "{text:?}: {}", refused(text));
        }
    }

    #[test]
    fn entities_are_not_expanded() {
        let bomb = "<!DOCTYPE a [<!ENTITY x \"xx\"><!ENTITY y \"&x;&x;\">]>\n<a>&y;</a>";
        assert_eq!(refused(bomb), "loadbalancing.xml:1: expected no <!DOCTYPE>, none is read");
        assert_eq!(
            refused("<a>\n&y;</a>"),
            "loadbalancing.xml:2: expected &amp; &lt; &gt; &quot; or &apos;, found the entity \"y\""
        );
        assert!(refused("<a>\n<b c='&y;'/></a>").contains(":2: expected well-formed XML: "));
        assert!(refused("<a>\n&#x110000;</a>").contains(":2: expected well-formed XML: "));
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(read(&("<a>".repeat(16) + &"</a>".repeat(16))).is_ok());
        let error = refused(&"<a>\n".repeat(100_000));
        assert_eq!(error, "loadbalancing.xml:17: expected at most 16 levels of elements");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(?s).{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn arbitrary_markup_never_panics(text in "[<>/a&;#x=!\\[\\]'\"?\n -]{0,40}") {
            let _ = read(&text);
        }
    }
}
