//! What a node reported, read off the log that it writes for machines.

use distributary_core::Event;
use serde_json::Value;

/// The module that writes events and nothing else.
const TARGET: &str = "distributary_tokio::node::event_log";

/// What a node says of new settings that it goes on with.
const IN_FORCE: &str = "the new settings are in force";
/// What it says of those that it cannot go on with, before the reason.
const REFUSED: &str = "the new settings are refused, the old ones stay: ";

/// All events of a log. That settings were `refused` for these reasons is known already.
///
/// # Panics
///
/// If there is a line among them that stands for no event, or another error anywhere.
pub(super) fn events(log: &str, refused: &[String]) -> Vec<Event> {
    let lines = log.lines().map(|line| {
        serde_json::from_str(line).unwrap_or_else(|_| panic!("a line that is not JSON: {line}"))
    });
    lines.filter_map(|line: Value| read(&line, refused)).collect()
}

/// What became of settings that were read again, the first time in a log; `None`: nothing yet.
pub(super) fn outcome(log: &str) -> Option<Result<(), String>> {
    // The last line may be half written.
    let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    lines.filter_map(|line: Value| read_outcome(&line)).next()
}

fn read_outcome(line: &Value) -> Option<Result<(), String>> {
    let message = line.get("fields")?.get("message")?.as_str()?;
    if message == IN_FORCE {
        return Some(Ok(()));
    }
    message.strip_prefix(REFUSED).map(|why| Err(why.to_owned()))
}

fn read(line: &Value, refused: &[String]) -> Option<Event> {
    let of = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
    let why = read_outcome(line).and_then(Result::err);
    let is_known = why.is_some_and(|why| refused.contains(&why));
    assert!(of("level") != "ERROR" || is_known, "{line}");
    if of("target") != TARGET {
        return None;
    }
    let fields = line.get("fields").unwrap_or(&Value::Null);
    let field = |key: &str| fields.get(key).unwrap_or(&Value::Null);
    let text = |key: &str| {
        let text = field(key).as_str().unwrap_or_else(|| panic!("no {key} in {line}"));
        text.to_owned()
    };
    let node = || {
        let number = field("node").as_u64().and_then(|number| u32::try_from(number).ok());
        number.unwrap_or_else(|| panic!("no node in {line}"))
    };
    let event = match text("message").as_str() {
        "stream started" => {
            let link = field("link").as_bool();
            let link = link.unwrap_or_else(|| panic!("no link in {line}"));
            Event::StreamStarted { name: text("name"), link }
        }
        "stream ended" => Event::StreamEnded { name: text("name"), info: text("why") },
        "viewer joined" => Event::ViewerJoined { name: text("name") },
        "viewer left" => Event::ViewerLeft { name: text("name"), info: text("why") },
        "link up" => Event::LinkUp { node: node() },
        "link down" => Event::LinkDown { node: node(), why: text("why") },
        "stream reaches edge" => Event::RelayUp { node: node(), name: text("name") },
        "stream reaches edge no more" => {
            Event::RelayDown { node: node(), name: text("name"), why: text("why") }
        }
        what @ ("publishing denied" | "playing denied") => {
            let publishing = what == "publishing denied";
            Event::Denied { name: text("name"), publishing, why: text("why") }
        }
        "link refused" => Event::LinkRefused { why: text("why") },
        "refused" => {
            let remote = text("remote").parse();
            let remote = remote.unwrap_or_else(|_| panic!("no address in {line}"));
            Event::Refused { remote, why: text("why") }
        }
        "out of service" => Event::Accepting(false),
        "in service" => Event::Accepting(true),
        "drained" => Event::Drained,
        _ => panic!("a line that stands for no event: {line}"),
    };
    Some(event)
}
