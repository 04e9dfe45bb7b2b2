//! The edges that a node pushes to, as its `loadbalancing.xml` lists them.

use std::collections::BTreeSet;

use crate::world::Edges;

/// Which edges a node lists. One that was listed before has the number that it had then: by that,
/// a node knows that it stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roster {
    /// All that were ever listed, in the order of their numbers.
    names: Vec<String>,
    /// By their numbers.
    listed: BTreeSet<usize>,
    torn: bool,
}

impl Roster {
    /// Lists the nodes of these names too.
    pub fn add(&mut self, names: &[&str]) {
        for name in names {
            let place = self.names.iter().position(|known| known == name);
            let number = place.map(|place| place + 1).unwrap_or_else(|| {
                self.names.push((*name).to_owned());
                self.names.len()
            });
            self.listed.insert(number);
        }
    }

    /// Lists what this says, and nothing else.
    pub fn set(&mut self, edges: Edges<'_>) {
        self.listed.clear();
        let (Edges::Listed(names) | Edges::Torn(names)) = edges;
        self.torn = matches!(edges, Edges::Torn(_));
        self.add(names);
    }

    /// The file; `None` where nobody is listed. `reached` says where a node is, host and port.
    pub(crate) fn text(&self, mut reached: impl FnMut(&str) -> (String, u16)) -> Option<String> {
        let mut text = String::from("<loadbalancer stream_distribution=\"webrtc\">\n");
        let numbered = (1..).zip(&self.names);
        for (id, name) in numbered.filter(|(id, _)| self.listed.contains(id)) {
            let (host, port) = reached(name);
            let line = format!("<node id=\"{id}\"><ip>{host}</ip><ws>{port}</ws></node>\n");
            text.push_str(&line);
        }
        if !self.torn {
            text.push_str("</loadbalancer>\n");
        }
        (!self.listed.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stays_on_the_list_keeps_its_number() {
        let node =
            |id: u8, name: &str| format!("<node id=\"{id}\"><ip>{name}</ip><ws>8080</ws></node>\n");
        let text = |roster: &Roster| roster.text(|name| (name.to_owned(), 8080));
        let mut roster = Roster::default();
        assert_eq!(text(&roster), None);
        roster.add(&["a", "b"]);
        let [start, end] = ["<loadbalancer stream_distribution=\"webrtc\">\n", "</loadbalancer>\n"];
        let both = [start, &node(1, "a"), &node(2, "b"), end].concat();
        assert_eq!(text(&roster), Some(both.clone()));
        roster.set(Edges::Listed(&["c", "b"]));
        assert_eq!(text(&roster), Some([start, &node(2, "b"), &node(3, "c"), end].concat()));
        roster.set(Edges::Torn(&["a"]));
        assert_eq!(text(&roster), Some([start, &node(1, "a")].concat()));
        roster.set(Edges::Listed(&["b", "a"]));
        assert_eq!(text(&roster), Some(both));
    }
}
