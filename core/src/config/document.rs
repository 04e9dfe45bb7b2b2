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
        let start = reader.buffer_position();
        let line = lines.at(start);
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
            Event::Text(text) => {
                let blank = text.len() - text.trim_start().len();
                let place = Place::balancing(lines.at(start + blank as u64));
                tree.text(&text.xml10_content(), &place)?;
            }
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
        let text = "<?xml version='1.0'?>
<a x='1&amp;2'
  y=\"3\">

<!-- <c/> -->
  <b/>
<c> d&#x41;<![CDATA[<]]> </c></a>
";
        let root = read(text).unwrap();
        assert_eq!((root.name.as_str(), root.line, root.text.as_str()), ("a", 2, ""));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(root.attributes, [pair("x", "1&2"), pair("y", "3")]);
        let children: Vec<_> =
            root.children.iter().map(|c| (c.name.as_str(), c.line, c.text.as_str())).collect();
        assert_eq!(children, [("b", 6, ""), ("c", 7, "dA<")]);
    }

    #[test]
    fn what_is_no_document_is_refused_with_its_line() {
        for (text, expected) in [
            ("", "1: expected an element, found none"),
            ("\n\nnot\n xml", "3: expected an element, found the text \"not\\n xml\""),
            ("<a/>\n\n &lt;", "3: expected an element, found the text \"<\""),
            ("<a>\n <b>", "2: expected </b> before the end of the file"),
            ("<a/>\n<b/>", "2: expected one root element, found \"b\" after it"),
        ] {
            assert_eq!(refused(text), format!("loadbalancing.xml:{expected}"), "{text:?}");
        }
    }

    #[test]
    fn malformed_markup_is_refused_with_its_line() {
        for (text, line, expected) in [
            ("<a>\n<b>\n</a>", 3, "expected `</b>`, but `</a>` was found"),
            ("<a/>\n</a>", 2, "close tag `</a>` does not match any open tag"),
            ("<a>\n<b", 2, "tag not closed: `>` not found before end of input"),
            ("<a>\n<!-- ", 2, "comment not closed: `-->` not found before end of input"),
            ("<a>\n<!-- -- --></a>", 2, "forbidden string `--` was found in a comment"),
            ("<a>\n<b c=1/></a>", 2, "attribute value must be enclosed in `\"` or `'`"),
            ("<a>\n<b c='1' c='2'/></a>", 2, "duplicated attribute"),
            ("<a>\n<b c/></a>", 2, "attribute key must be directly followed by `=`"),
        ] {
            let told = refused(text);
            let start = format!("loadbalancing.xml:{line}: expected well-formed XML: ");
            assert!(told.starts_with(&start) && told.contains(expected), "{text:?}: {told}");
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

    /// How one character is written.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Spelling {
        /// As it is, where that is possible.
        Plain,
        Decimal,
        Hexadecimal,
    }

    type Written = Vec<(char, Spelling)>;

    fn written() -> impl Strategy<Value = Written> {
        let character = prop::sample::select("ab1 é😀&<>\"'\n;#".chars().collect::<Vec<_>>());
        let spelling = prop_oneof![
            6 => Just(Spelling::Plain),
            1 => Just(Spelling::Decimal),
            1 => Just(Spelling::Hexadecimal),
        ];
        prop::collection::vec((character, spelling), 0..8)
    }

    fn spell(character: char, spelling: Spelling) -> String {
        let named = [('&', "amp"), ('<', "lt"), ('>', "gt"), ('"', "quot"), ('\'', "apos")];
        match (spelling, named.iter().find(|(c, _)| *c == character)) {
            (Spelling::Decimal, _) => format!("&#{};", u32::from(character)),
            (Spelling::Hexadecimal, _) => format!("&#x{:x};", u32::from(character)),
            (Spelling::Plain, Some((_, name))) => format!("&{name};"),
            (Spelling::Plain, None) => character.to_string(),
        }
    }

    #[derive(Clone, Debug)]
    struct Node {
        name: String,
        attributes: Vec<(String, Written)>,
        /// What stands between the words of its start tag.
        gap: &'static str,
        quote: char,
        parts: Vec<Part>,
    }

    #[derive(Clone, Debug)]
    enum Part {
        Text(Written),
        CData(String),
        /// A comment or an instruction, which mean nothing.
        Aside(String),
        Child(Node),
    }

    fn node() -> impl Strategy<Value = Node> {
        let alone = node_of(part().boxed());
        alone.prop_recursive(4, 40, 5, |inner| {
            node_of(prop_oneof![part(), inner.prop_map(Part::Child)].boxed())
        })
    }

    fn part() -> impl Strategy<Value = Part> {
        prop_oneof![
            written().prop_map(Part::Text),
            "[a<>&; \n]{0,6}".prop_map(Part::CData),
            "<!--[a<>&\n]{0,6}-->".prop_map(Part::Aside),
            "<\\?p[a \n]{0,4}\\?>".prop_map(Part::Aside),
        ]
    }

    fn node_of(part: BoxedStrategy<Part>) -> BoxedStrategy<Node> {
        let attributes = prop::collection::btree_map("[a-zé][a-z0-9.-]{0,3}", written(), 0..4);
        (
            "[a-zé_][a-z0-9._-]{0,5}",
            attributes,
            prop::sample::select(vec![" ", "\n", " \n\t"]),
            prop::sample::select(vec!['"', '\'']),
            prop::collection::vec(part, 0..5),
        )
            .prop_map(|(name, attributes, gap, quote, parts)| {
                let attributes = attributes.into_iter().collect();
                Node { name, attributes, gap, quote, parts }
            })
            .boxed()
    }

    /// Writes an element; what it is to be read as.
    fn write(node: &Node, out: &mut String) -> Element {
        let Node { name, gap, quote, .. } = node;
        let line = 1 + out.matches('\n').count();
        out.push_str(&format!("<{name}"));
        let mut attributes = Vec::new();
        for (key, value) in &node.attributes {
            let text: String = value.iter().map(|(c, how)| spell(*c, *how)).collect();
            out.push_str(&format!("{gap}{key}={quote}{text}{quote}"));
            // XML 1.0, section 3.3.3: a line end in a value is a space, unless it is a reference.
            let read = value.iter().map(|(c, how)| match (c, how) {
                ('\n', Spelling::Plain) => ' ',
                (c, _) => *c,
            });
            attributes.push((key.clone(), read.collect()));
        }
        let (mut children, mut text) = (Vec::new(), String::new());
        if node.parts.is_empty() {
            out.push_str("/>");
        } else {
            out.push_str(&format!("{}>", if *quote == '"' { gap } else { "" }));
            for part in &node.parts {
                match part {
                    Part::Text(written) => {
                        text.extend(written.iter().map(|(c, _)| *c));
                        out.extend(written.iter().map(|(c, how)| spell(*c, *how)));
                    }
                    Part::CData(raw) => {
                        text.push_str(raw);
                        out.push_str(&format!("<![CDATA[{raw}]]>"));
                    }
                    Part::Aside(aside) => out.push_str(aside),
                    Part::Child(child) => children.push(write(child, out)),
                }
            }
            out.push_str(&format!("</{name}>"));
        }
        Element { name: name.clone(), line, attributes, children, text: text.trim().to_owned() }
    }

    proptest! {
        #[test]
        fn documents_are_read_as_they_were_meant(
            node in node(),
            before in "(\u{feff})?(<\\?xml version=\"1.0\"\\?>)?[ \n]{0,2}(<!--[a\n]{0,3}-->)?",
            windows: bool,
        ) {
            let mut text = before;
            let expected = write(&node, &mut text);
            // Line ends are one character each, whoever's they are (XML 1.0, section 2.11).
            let text = if windows { text.replace('\n', "\r\n") } else { text };
            prop_assert_eq!(read(&text), Ok(expected), "{}", text);
        }

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
