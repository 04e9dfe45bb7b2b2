//! Messages that no page sends.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const MESSAGES: [&str; 20] = [
    "connection",
    "ping",
    "pong",
    "publishStream",
    "playStream",
    "unPublishStream",
    "stopStream",
    "availableStream",
    "sendStreamEvent",
    "snapshot",
    "sendData",
    "pushLogs",
    "getUserData",
    "setRemoteSDP",
    "notifyStreamStatusEvent",
    "notifyStreamEvent",
    "fail",
    "",
    "é",
    "sessionDebug",
];

const FIELDS: [&str; 12] = [
    "mediaSessionId",
    "name",
    "sdp",
    "mediaProvider",
    "type",
    "payload",
    "operationId",
    "custom",
    "appKey",
    "keepAlive",
    "distributaryLink",
    "node",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        select(vec![0usize, 511, 512, 513, 5000]).prop_map(|n| Value::from("x".repeat(n))),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((select(FIELDS.to_vec()), inner), 0..6).prop_map(|fields| {
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

/// What a text leads to at either end; every answer is a message that a page can read.
fn hear(text: &str) {
    let (now, limits) = (Bench::new().now, Limits::default());
    let mut session = Session::new(now, &limits);
    let keep_alive = Some(KeepAlive { interval: Duration::from_secs(5), probes: 3 });
    for text in [text, capture!("chromium-connection"), text, text] {
        match session.handle(now, text, "token", keep_alive, &limits) {
            Ok(Step::Establish { reply, .. } | Step::Reply(reply)) => drop(value(&reply)),
            Ok(Step::Request(_) | Step::Nothing) | Err(_) => {}
        }
    }
    let _ = reply::parse(text);
}

proptest! {
    #[test]
    fn any_message_is_heard_or_refused(
        name in select(MESSAGES.to_vec()),
        data in prop::collection::vec(any_json(), 0..3),
    ) {
        hear(&json!({ "message": name, "data": data }).to_string());
    }

    #[test]
    fn any_json_is_heard_or_refused(json in any_json()) {
        hear(&json.to_string());
    }

    #[test]
    fn any_text_is_heard_or_refused(text in "\\PC*") {
        hear(&text);
    }

    #[test]
    fn messages_cut_off_anywhere_are_refused(
        which in select(vec![capture!("chromium-connection"), capture!("firefox-publish")]),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(which.trim_end().len());
        let cut = which.get(..at).unwrap_or_default();
        prop_assert_eq!(parse(cut, &Limits::default()), Err(RequestFault::Malformed));
        hear(cut);
    }
}
