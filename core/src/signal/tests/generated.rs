//! Every request with every kind of field, against a table of what each needs.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// What a field has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// A short text that must be there.
    Name,
    /// A short text; empty if it is not there.
    ShortText,
    /// A text of any length; empty if it is not there.
    Text,
    /// Whatever it is.
    Anything,
}
use Need::{Anything, Name, ShortText, Text};

/// The requests and the fields that they are made of, in the order in which these are looked at.
const REQUESTS: [(&str, &[(&str, Need)]); 8] = [
    ("publishStream", &STREAM),
    ("playStream", &STREAM),
    ("unPublishStream", &[("mediaSessionId", Name), ("name", Text)]),
    ("stopStream", &[("mediaSessionId", Name)]),
    ("availableStream", &[("mediaSessionId", Name), ("name", Text)]),
    ("sendStreamEvent", &[("mediaSessionId", Name), ("type", Name), ("payload", Anything)]),
    ("snapshot", &[("mediaSessionId", Name)]),
    ("sendData", &[("operationId", Anything)]),
];

const STREAM: [(&str, Need); 4] =
    [("mediaSessionId", ShortText), ("name", Text), ("mediaProvider", Text), ("sdp", Text)];

/// Bytes of a short text, at most.
const SHORT: usize = 8;

fn limits() -> Limits {
    Limits { name_bytes_max: SHORT, ..Limits::default() }
}

/// A field's value; `None` leaves it out.
fn field() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        6 => "[a-zé\"\\\\\u{0}]{0,5}".prop_map(|text| Some(json!(text))),
        1 => Just(Some(json!(long(SHORT)))),
        1 => Just(Some(json!(long(SHORT + 1)))),
        1 => any::<i64>().prop_map(|number| Some(json!(number))),
        1 => any::<i16>().prop_map(|number| Some(json!(f64::from(number) / 4.0))),
        1 => select(vec![json!(null), json!(true), json!(["a"]), json!({ "token": "a" })])
            .prop_map(Some),
        2 => Just(None),
    ]
}

/// The text in a field, if it has one: numbers count as such.
fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(|value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

/// What a request must be read as, by the table.
fn meant(name: &str, fields: &[(&str, Need)], data: &Value) -> Result<Request, RequestFault> {
    let message = || name.to_owned();
    for (field, need) in fields {
        let text = text(data.get(field));
        let is_long = text.as_ref().is_some_and(|text| text.len() > SHORT);
        if *need == Name && text.is_none() {
            return Err(RequestFault::Missing { message: message(), field: field_name(field) });
        }
        if matches!(need, Name | ShortText) && is_long {
            let (message, field) = (message(), field_name(field));
            return Err(RequestFault::TooLong { message, field, max: SHORT });
        }
    }
    let word = |field| text(data.get(field)).unwrap_or_default();
    let media_session = word("mediaSessionId");
    let stream = || StreamRequest {
        media_session: media_session.clone(),
        name: word("name"),
        provider: word("mediaProvider"),
        sdp: word("sdp"),
        token: token(data),
        fields: all_but_the_offer(data),
    };
    Ok(match name {
        "publishStream" => Request::Publish(stream()),
        "playStream" => Request::Play(stream()),
        "unPublishStream" => Request::Unpublish { media_session, name: word("name") },
        "stopStream" => Request::Stop { media_session },
        "availableStream" => Request::Available { media_session, name: word("name") },
        "sendStreamEvent" => {
            let payload = data.get("payload").cloned();
            Request::StreamEvent { media_session, kind: word("type"), payload }
        }
        "snapshot" => Request::Snapshot { media_session },
        _ => Request::Data { operation: data.get("operationId").cloned().unwrap_or_default() },
    })
}

/// What stands where a token does.
fn token(data: &Value) -> Option<Secret> {
    let token = data.get("custom")?.get("token")?.as_str()?;
    (!token.is_empty()).then(|| Secret::new(token))
}

fn field_name(field: &str) -> &'static str {
    if field == "type" { "type" } else { "mediaSessionId" }
}

/// Fields that a request knows, by the table, and some that it does not.
fn fields() -> impl Strategy<Value = Value> {
    let known =
        ["mediaSessionId", "name", "mediaProvider", "sdp", "type", "payload", "operationId"];
    let fields = known.map(|name| field().prop_map(move |value| (name, value)));
    (Vec::from(fields), field()).prop_map(|(known, unknown)| {
        let all = known.into_iter().chain([("custom", unknown)]);
        all.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn requests_are_read_as_their_table_says(
        (name, needs) in select(REQUESTS.to_vec()),
        fields in fields(),
        more in prop::collection::vec(field(), 0..3),
    ) {
        let data: Vec<Value> =
            [fields.clone()].into_iter().chain(more.into_iter().flatten()).collect();
        let text = json!({ "message": name, "data": data, "more": [{}] }).to_string();
        let expected = meant(name, needs, &fields).map(Incoming::Request);
        prop_assert_eq!(parse(&text, &limits()), expected, "{}", text);
    }

    #[test]
    fn requests_without_an_object_of_data_are_refused_by_name(
        (name, _) in select(REQUESTS.to_vec()),
        data in select(vec![
            None, Some(json!(null)), Some(json!([])), Some(json!({ "mediaSessionId": "A" })),
            Some(json!("A")), Some(json!(["A", { "mediaSessionId": "A" }])), Some(json!([[{}]])),
        ]),
    ) {
        let mut envelope = json!({ "message": name });
        if let Some(data) = data {
            envelope["data"] = data;
        }
        let expected = Err(RequestFault::NoData { message: name.to_owned() });
        prop_assert_eq!(parse(&envelope.to_string(), &limits()), expected);
    }

    /// A greeting never fails for what is only echoed.
    #[test]
    fn greetings_keep_what_they_can(
        app_key in field(),
        version in prop_oneof![field(), "[aé]{0,12}".prop_map(|text| Some(json!(text)))],
        keep_alive in field(),
        node in field(),
    ) {
        let mut data = json!({ "custom": { "distributaryLink": {} } });
        for (name, value) in [
            ("appKey", &app_key), ("clientVersion", &version), ("clientOSVersion", &version),
            ("clientBrowserVersion", &version), ("keepAlive", &keep_alive),
        ] {
            if let Some(value) = value {
                data[name] = value.clone();
            }
        }
        if let Some(node) = &node {
            data["custom"]["distributaryLink"]["node"] = node.clone();
        }
        let read = parse(&message("connection", &data), &limits());
        let too_long = |field| {
            Err(RequestFault::TooLong { message: "connection".to_owned(), field, max: SHORT })
        };
        let node = node.as_ref().and_then(Value::as_str);
        if node.is_some_and(|node| node.len() > SHORT) {
            prop_assert_eq!(read, too_long("custom"));
            return Ok(());
        }
        let app_key = text(app_key.as_ref()).unwrap_or_default();
        if app_key.len() > SHORT {
            prop_assert_eq!(read, too_long("appKey"));
            return Ok(());
        }
        let Ok(Incoming::Connection(greeting)) = read else { panic!("{read:?}") };
        let version = text(version.as_ref()).unwrap_or_default();
        let shown = &greeting.client_version;
        prop_assert!(version.starts_with(shown.as_str()));
        prop_assert!(shown.len() <= SHORT && shown.len() + 4 > version.len().min(SHORT));
        prop_assert_eq!(&greeting.client_os_version, shown);
        prop_assert_eq!(&greeting.client_browser_version, shown);
        prop_assert_eq!(greeting.keep_alive, keep_alive == Some(json!(true)));
        prop_assert_eq!(greeting.link.as_ref().map(|tag| tag.node.as_str()), node);
        prop_assert_eq!(greeting.app_key, app_key);
    }
}
