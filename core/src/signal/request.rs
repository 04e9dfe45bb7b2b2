//! What comes in at the accepting end, from text to meaning.
//!
//! Unknown fields are ignored and numbers may be strings: pages put their own things into these
//! messages, and old ones differ.

use std::fmt;

use serde_json::{Map, Value};

use crate::config::Secret;
use crate::limits::Limits;

/// A message of a page, or of an origin that pushes to us.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Incoming {
    Connection(Box<Greeting>),
    Pong,
    Ping,
    Request(Request),
    /// Accepted and dropped: logs and reports.
    Nothing,
}

/// Who the far side says it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Greeting {
    pub(crate) app_key: String,
    pub(crate) client_version: String,
    pub(crate) client_os_version: String,
    pub(crate) client_browser_version: String,
    pub(crate) keep_alive: bool,
    /// Set when the far side is a node that pushes streams to us.
    pub(crate) link: Option<LinkTag>,
    /// What shows that the far side may publish or play, in `custom`.
    pub(crate) token: Option<Secret>,
}

/// How a node that pushes introduces itself, in `custom` of its `connection`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LinkTag {
    /// The name of the node that opened the link.
    pub(crate) node: String,
    /// Whether it proved to be that node.
    pub(crate) proven: bool,
}

/// What a session can ask for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Request {
    Publish(StreamRequest),
    Play(StreamRequest),
    /// The name is empty if it was not given.
    Unpublish {
        media_session: String,
        name: String,
    },
    Stop {
        media_session: String,
    },
    Available {
        media_session: String,
        name: String,
    },
    StreamEvent {
        media_session: String,
        kind: String,
        payload: Option<Value>,
    },
    Snapshot {
        media_session: String,
    },
    Data {
        operation: Value,
    },
}

impl Request {
    /// The stream that it asks for, and whether to publish it.
    pub(crate) fn stream(&self) -> Option<(&StreamRequest, bool)> {
        match self {
            Self::Publish(wanted) => Some((wanted, true)),
            Self::Play(wanted) => Some((wanted, false)),
            Self::Unpublish { .. }
            | Self::Stop { .. }
            | Self::Available { .. }
            | Self::StreamEvent { .. }
            | Self::Snapshot { .. }
            | Self::Data { .. } => None,
        }
    }
}

/// `publishStream` or `playStream`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct StreamRequest {
    pub(crate) media_session: String,
    pub(crate) name: String,
    /// How the page wants to send or see it; `WebRTC` is all that there is here.
    pub(crate) provider: String,
    /// The offer.
    pub(crate) sdp: String,
    /// What shows that the far side may do this, in `custom`.
    pub(crate) token: Option<Secret>,
    /// The message as it came, less the offer.
    pub(crate) fields: Fields,
}

/// What a message said. It is not shown in debug output: a token may be anywhere in it.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Fields(pub(crate) Map<String, Value>);

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fields").finish_non_exhaustive()
    }
}

/// What is wrong with a message, and in which.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum RequestFault {
    #[error("this is not a JSON object with a message name")]
    Malformed,
    #[error("{message}: data must be an array with one object")]
    NoData { message: String },
    #[error("{message}: {field} is missing")]
    Missing { message: String, field: &'static str },
    #[error("{message}: {field} is longer than {max} bytes")]
    TooLong { message: String, field: &'static str, max: usize },
    #[error("{message} is not a message that this server knows")]
    Unknown { message: String },
}

impl RequestFault {
    /// The message's name as far as it was one, for the `apiMethod` of the reply.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Malformed => "",
            Self::NoData { message }
            | Self::Missing { message, .. }
            | Self::TooLong { message, .. }
            | Self::Unknown { message } => message,
        }
    }
}

/// Reads one text frame.
pub(crate) fn parse(text: &str, limits: &Limits) -> Result<Incoming, RequestFault> {
    let Ok(Value::Object(mut envelope)) = serde_json::from_str(text) else {
        return Err(RequestFault::Malformed);
    };
    let argument = match envelope.remove("data") {
        Some(Value::Array(data)) => data.into_iter().next(),
        _ => None,
    };
    let Some(Value::String(message)) = envelope.get("message") else {
        return Err(RequestFault::Malformed);
    };
    let mut reader = Reader { message, argument, limits };
    match message.as_str() {
        "connection" => reader.greeting().map(|greeting| Incoming::Connection(Box::new(greeting))),
        "pong" => Ok(Incoming::Pong),
        "ping" => Ok(Incoming::Ping),
        "pushLogs" | "submitBugReport" | "sessionDebug" => Ok(Incoming::Nothing),
        "webRTCMetricsClientDescription" | "webRTCMetricsBatch" => Ok(Incoming::Nothing),
        _ => reader.request().map(Incoming::Request),
    }
}

struct Reader<'a> {
    message: &'a str,
    argument: Option<Value>,
    limits: &'a Limits,
}

impl Reader<'_> {
    fn request(&mut self) -> Result<Request, RequestFault> {
        let media_session = || self.name("mediaSessionId");
        Ok(match self.message {
            "publishStream" => Request::Publish(self.stream_request()?),
            "playStream" => Request::Play(self.stream_request()?),
            "unPublishStream" => Request::Unpublish {
                media_session: media_session()?,
                name: self.any_length("name")?,
            },
            "stopStream" => Request::Stop { media_session: media_session()? },
            "availableStream" => Request::Available {
                media_session: media_session()?,
                name: self.any_length("name")?,
            },
            "sendStreamEvent" => Request::StreamEvent {
                media_session: media_session()?,
                kind: self.name("type")?,
                payload: self.field("payload")?.cloned(),
            },
            "snapshot" => Request::Snapshot { media_session: media_session()? },
            "sendData" => {
                Request::Data { operation: self.field("operationId")?.cloned().unwrap_or_default() }
            }
            _ => return Err(RequestFault::Unknown { message: self.shown() }),
        })
    }

    fn greeting(&self) -> Result<Greeting, RequestFault> {
        let link = self.field("custom")?.and_then(|custom| custom.get("distributaryLink"));
        let node = link.and_then(|link| link.get("node")).and_then(Value::as_str);
        let max = self.limits.name_bytes_max;
        if node.is_some_and(|node| node.len() > max) {
            return Err(RequestFault::TooLong { message: self.shown(), field: "custom", max });
        }
        Ok(Greeting {
            app_key: self.text("appKey", max)?.unwrap_or_default(),
            client_version: self.shortened("clientVersion")?,
            client_os_version: self.shortened("clientOSVersion")?,
            client_browser_version: self.shortened("clientBrowserVersion")?,
            keep_alive: matches!(self.field("keepAlive")?, Some(Value::Bool(true))),
            link: node.map(|node| LinkTag { node: node.to_owned(), proven: false }),
            token: self.token()?.map(|token| self.bounded(token)).transpose()?,
        })
    }

    fn stream_request(&mut self) -> Result<StreamRequest, RequestFault> {
        let id = self.text("mediaSessionId", self.limits.name_bytes_max)?;
        // What is wrong with the rest is for a status to say: a page that hears nothing but `fail`
        // waits for ever.
        Ok(StreamRequest {
            media_session: id.unwrap_or_default(),
            name: self.any_length("name")?,
            provider: self.any_length("mediaProvider")?,
            sdp: self.any_length("sdp")?,
            // One that is too long is refused when it is looked at.
            token: self.token()?.map(Secret::new),
            fields: self.rest(),
        })
    }

    /// `custom.token`; an empty one is none.
    fn token(&self) -> Result<Option<&str>, RequestFault> {
        let custom = self.field("custom")?;
        let token = custom.and_then(|custom| custom.get("token")).and_then(Value::as_str);
        Ok(token.filter(|token| !token.is_empty()))
    }

    /// A token that is to be kept.
    fn bounded(&self, token: &str) -> Result<Secret, RequestFault> {
        let max = self.limits.token_bytes_max;
        if token.len() > max {
            let (message, field) = (self.shown(), "custom.token");
            return Err(RequestFault::TooLong { message, field, max });
        }
        Ok(Secret::new(token))
    }

    /// All but the offer, once everything else is read.
    fn rest(&mut self) -> Fields {
        let Some(Value::Object(mut argument)) = self.argument.take() else {
            return Fields::default();
        };
        argument.remove("sdp");
        Fields(argument)
    }

    /// A text as long as the message lets it be; empty if there is none.
    fn any_length(&self, field: &'static str) -> Result<String, RequestFault> {
        let text = self.text(field, self.limits.websocket_message_bytes_max)?;
        Ok(text.unwrap_or_default())
    }

    /// The start of a text that is only echoed; empty if there is none.
    fn shortened(&self, field: &'static str) -> Result<String, RequestFault> {
        let mut text = self.any_length(field)?;
        let mut end = self.limits.name_bytes_max.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        Ok(text)
    }

    fn name(&self, field: &'static str) -> Result<String, RequestFault> {
        let name = self.text(field, self.limits.name_bytes_max)?;
        name.ok_or(RequestFault::Missing { message: self.shown(), field })
    }

    /// A string, or a number in its place.
    fn text(&self, field: &'static str, max: usize) -> Result<Option<String>, RequestFault> {
        let text = match self.field(field)? {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Ok(None),
        };
        if text.len() > max {
            return Err(RequestFault::TooLong { message: self.shown(), field, max });
        }
        Ok(Some(text))
    }

    fn field(&self, field: &str) -> Result<Option<&Value>, RequestFault> {
        match &self.argument {
            Some(Value::Object(argument)) => Ok(argument.get(field)),
            _ => Err(RequestFault::NoData { message: self.shown() }),
        }
    }

    /// The name for a reply: a stranger's text, so not more of it than a name needs.
    fn shown(&self) -> String {
        self.message.chars().take(64).collect()
    }
}
