//! What everybody was told in a scenario, in a form in which worlds can be compared.

use std::collections::BTreeMap;

use distributary_core::Event;
use serde_json::Value;

use super::Stage;
use crate::browser::Message;
use crate::page::Page;
use crate::world::World;

/// What comes whenever time has passed, and so not equally often.
const BY_THE_CLOCK: [&str; 3] = ["ping", "inboundVideoRate", "outboundVideoRate"];
/// An event that comes when packets are late, which they are where the machine is busy.
const BY_THE_WAY: &str = "notEnoughBandwidth";

/// What pages were told and nodes reported: lines in their order, by whom or what they are about.
///
/// Left out is what depends on the clock, and in which order different sessions heard theirs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    lines: BTreeMap<String, Vec<String>>,
}

impl Account {
    /// What of this differs from another one, in words for people.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let none = Vec::new();
        let subjects = self
            .lines
            .keys()
            .chain(other.lines.keys().filter(|subject| !self.lines.contains_key(*subject)));
        let of = |account: &Self, subject| account.lines.get(subject).unwrap_or(&none).clone();
        subjects
            .map(|subject| (subject, of(self, subject), of(other, subject)))
            .filter(|(_, one, two)| one != two)
            .map(|(subject, one, two)| format!("{subject}: {one:?}, but {two:?}"))
            .collect()
    }

    /// What pages were told, without what nodes reported.
    #[must_use]
    pub fn pages(mut self) -> Self {
        self.lines.retain(|subject, _| subject.starts_with('p'));
        self
    }

    /// Whether anything was told to anybody.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn add(&mut self, subject: String, line: String) {
        self.lines.entry(subject).or_default().push(line);
    }

    /// Takes down what a page was told.
    pub(super) fn hear(&mut self, number: usize, page: &Page) {
        let messages = page.browser.messages().iter();
        for message in messages.filter(|it| !is_by_chance(it)) {
            let (session, line) = told(message);
            self.add(format!("p{number} {session}"), line);
        }
        if let Some(ending) = &page.ending {
            self.add(format!("p{number}"), format!("{ending:?}"));
        }
    }

    /// Takes down what the nodes reported.
    pub(super) fn read<W: World>(&mut self, stage: &Stage<W>) {
        for &node in stage.nodes() {
            for event in stage.world.events(node) {
                let (subject, line) = reported(&event);
                self.add(format!("n{} {subject}", node.0), line);
            }
        }
        for (subject, lines) in &mut self.lines {
            if subject.contains(" viewers ") {
                // They are equals: which of them joined first is not for a node to say.
                lines.sort_unstable();
            } else if [" drained", " refused"].iter().any(|end| subject.ends_with(end)) {
                // Every shard says so, or whoever is refused tries again until time is over.
                lines.dedup();
            }
        }
    }
}

/// Whether it depends on more than what was done that a page was told this.
fn is_by_chance(message: &Message) -> bool {
    let kind = message.data.first().and_then(|event| event.get("type"));
    BY_THE_CLOCK.contains(&message.name.as_str()) || kind.is_some_and(|kind| kind == BY_THE_WAY)
}

/// The media session that a message is about, and what it says.
fn told(message: &Message) -> (String, String) {
    let first = message.data.first().unwrap_or(&Value::Null);
    let text = |key: &str| first.get(key).and_then(Value::as_str);
    let session = first.as_str().or_else(|| text("mediaSessionId")).unwrap_or_default();
    let words = ["status", "info", "type"].into_iter().filter_map(text);
    let line: Vec<&str> = std::iter::once(message.name.as_str()).chain(words).collect();
    (session.to_owned(), line.join(" "))
}

/// What an event is about, and what it says of it.
///
/// Why a link or a relay went down is told in words of the operating system; that it did counts.
fn reported(event: &Event) -> (String, String) {
    match event {
        Event::StreamStarted { name, link } => {
            (format!("stream {name}"), format!("started, link: {link}"))
        }
        Event::StreamEnded { name, info } => (format!("stream {name}"), format!("ended: {info}")),
        Event::ViewerJoined { name } => (format!("viewers of {name}"), "joined".to_owned()),
        Event::ViewerLeft { name, info } => (format!("viewers of {name}"), format!("left: {info}")),
        Event::LinkUp { node } => (format!("link {node}"), "up".to_owned()),
        Event::LinkDown { node, .. } => (format!("link {node}"), "down".to_owned()),
        Event::RelayUp { node, name } => (format!("relay {name} to {node}"), "up".to_owned()),
        Event::RelayDown { node, name, .. } => {
            (format!("relay {name} to {node}"), "down".to_owned())
        }
        Event::Denied { name, why, .. } => (format!("denied {name}"), why.clone()),
        Event::LinkRefused { why } => ("links refused".to_owned(), why.clone()),
        Event::Refused { why, .. } => ("refused".to_owned(), why.clone()),
        Event::Accepting(yes) => ("service".to_owned(), format!("accepting: {yes}")),
        Event::Drained => ("drained".to_owned(), "drained".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    fn account(texts: &[&str]) -> Account {
        let now = Instant::now();
        let mut page = Page::new(now, 1, Arc::new(str0m::crypto::from_feature_flags()));
        for text in texts {
            page.browser.text(now, text);
        }
        let mut account = Account::default();
        account.hear(3, &page);
        account
    }

    const PLAYING: &str = r#"{"message":"notifyStreamStatusEvent",
        "data":[{"mediaSessionId":"a","status":"PLAYING"}]}"#;
    const STOPPED: &str = r#"{"message":"notifyStreamStatusEvent",
        "data":[{"mediaSessionId":"a","status":"STOPPED","info":"Stopped by user"}]}"#;
    const OTHER: &str = r#"{"message":"setRemoteSDP","data":["b","v=0",true]}"#;
    const SHORT: &str = r#"{"message":"notifyStreamEvent","data":[{"mediaSessionId":"a",
        "type":"notEnoughBandwidth","payload":{"info":"2/1"}}]}"#;
    const PING: &str = r#"{"message":"ping","data":[]}"#;

    #[test]
    fn what_a_page_was_told_differs_by_words_and_by_order_within_a_session() {
        let one = account(&[PLAYING, OTHER, STOPPED]);
        assert_eq!(
            one.differences(&account(&[OTHER, PING, PLAYING, SHORT, STOPPED])),
            [] as [&str; 0]
        );
        assert_eq!(one.differences(&account(&[OTHER, STOPPED, PLAYING])).len(), 1);
        assert_eq!(one.differences(&account(&[PLAYING, STOPPED])).len(), 1);
        assert_eq!(account(&[PLAYING, STOPPED]).differences(&one).len(), 1);
        assert_eq!(one.differences(&account(&[PLAYING, OTHER, PLAYING])).len(), 1);
    }
}
