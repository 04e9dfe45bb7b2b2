//! What comes in at the dialing end: a link reads what a page would.

use serde_json::Value;

/// A message of a server, as far as a link has use for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    /// The session is ESTABLISHED.
    UserData,
    Ping,
    Pong,
    /// The answer to an offer of ours.
    RemoteSdp {
        media_session: String,
        sdp: String,
    },
    /// What became of a stream of ours.
    Status {
        media_session: String,
        status: String,
        info: String,
    },
    /// The server could not use what we said.
    Fail {
        info: String,
    },
    /// Anything else.
    Other,
}

/// Reads one text frame; `None` if it is no message at all.
pub(crate) fn parse(text: &str) -> Option<Reply> {
    let Ok(Value::Object(envelope)) = serde_json::from_str(text) else { return None };
    let data = envelope.get("data").and_then(Value::as_array)?;
    let word = |value: Option<&Value>| {
        value.and_then(Value::as_str).map(str::to_owned).unwrap_or_default()
    };
    let field = |name| word(data.first().and_then(|first| first.get(name)));
    Some(match envelope.get("message").and_then(Value::as_str)? {
        "getUserData" => Reply::UserData,
        "ping" => Reply::Ping,
        "pong" => Reply::Pong,
        "setRemoteSDP" => {
            Reply::RemoteSdp { media_session: word(data.first()), sdp: word(data.get(1)) }
        }
        "notifyStreamStatusEvent" => Reply::Status {
            media_session: field("mediaSessionId"),
            status: field("status"),
            info: field("info"),
        },
        "fail" => Reply::Fail { info: field("info") },
        _ => Reply::Other,
    })
}
