//! What comes in at the accepting end, and at the dialing end.

use super::reply::{self, Reply};
use super::*;

#[test]
fn the_browsers_own_messages_are_understood() {
    let limits = Limits::default();
    for text in [capture!("chromium-connection"), capture!("firefox-connection")] {
        let Ok(Incoming::Connection(greeting)) = parse(text, &limits) else { panic!("{text}") };
        assert_eq!((&*greeting.app_key, &*greeting.client_version), ("defaultApp", "2.0"));
        assert!(greeting.client_browser_version.starts_with("Mozilla/5.0"));
        assert!(greeting.link.is_none() && !greeting.keep_alive);
    }
    for text in [capture!("chromium-publish"), capture!("firefox-publish")] {
        let Ok(Incoming::Request(Request::Publish(request))) = parse(text, &limits) else {
            panic!("{text}")
        };
        assert_eq!((&*request.name, &*request.provider), ("cam", "WebRTC"));
        assert!(request.sdp.starts_with("v=0\r\n") && request.media_session.len() == 36);
    }
    for (text, provider) in [
        (capture!("chromium-play-webrtc"), "WebRTC"),
        (capture!("firefox-play-webrtc"), "WebRTC"),
        (capture!("chromium-play-mse"), "MSE"),
    ] {
        let Ok(Incoming::Request(Request::Play(request))) = parse(text, &limits) else {
            panic!("{text}")
        };
        assert_eq!((&*request.name, &*request.provider), ("cam", provider));
    }
    let available = parse(capture!("chromium-available"), &limits);
    let Ok(Incoming::Request(Request::Available { media_session, name })) = available else {
        panic!("{available:?}")
    };
    assert_eq!((media_session.len(), &*name), (36, "006f"));
}

#[test]
fn every_request_has_its_fields() {
    let data = json!({
        "mediaSessionId": "P", "name": "cam 1", "mediaProvider": "WebRTC", "sdp": "v=0",
        "bitrate": "0", "constraints": { "video": true }, "custom": { "token": "t" },
        "type": "data",
        "payload": { "count": 23 }, "operationId": "op", "whatever": null,
    });
    let stream = StreamRequest {
        media_session: "P".into(),
        name: "cam 1".into(),
        provider: "WebRTC".into(),
        sdp: "v=0".into(),
        token: Some(Secret::new("t")),
        fields: all_but_the_offer(&data),
    };
    let media_session = || "P".to_owned();
    for (name, expected) in [
        ("publishStream", Request::Publish(stream.clone())),
        ("playStream", Request::Play(stream)),
        (
            "unPublishStream",
            Request::Unpublish { media_session: media_session(), name: "cam 1".into() },
        ),
        ("stopStream", Request::Stop { media_session: media_session() }),
        (
            "availableStream",
            Request::Available { media_session: media_session(), name: "cam 1".into() },
        ),
        (
            "sendStreamEvent",
            Request::StreamEvent {
                media_session: media_session(),
                kind: "data".into(),
                payload: Some(json!({ "count": 23 })),
            },
        ),
        ("snapshot", Request::Snapshot { media_session: media_session() }),
        ("sendData", Request::Data { operation: json!("op") }),
    ] {
        assert_eq!(request(name, &data), expected);
    }
}

#[test]
fn numbers_do_for_strings() {
    let data = json!({ "mediaSessionId": 7, "name": 1.5, "sdp": "v=0" });
    let Request::Publish(request) = request("publishStream", &data) else { panic!() };
    assert_eq!((&*request.media_session, &*request.name), ("7", "1.5"));
    assert_eq!(request.provider, "", "not said");
}

#[test]
fn a_greeting_takes_everything_else_on_trust() {
    for data in [
        json!({}),
        json!({ "appKey": null, "keepAlive": "yes", "custom": 3, "clientInfo": "" }),
        json!({ "custom": { "distributaryLink": "x" }, "mediaProviders": 1 }),
    ] {
        let Ok(Incoming::Connection(greeting)) = read("connection", &data) else { panic!() };
        assert!(greeting.link.is_none() && !greeting.keep_alive && greeting.app_key.is_empty());
    }
    let data = json!({ "keepAlive": true, "authToken": "old", "custom": { "login": "x" } });
    let Ok(Incoming::Connection(greeting)) = read("connection", &data) else { panic!() };
    assert!(greeting.keep_alive);
}

#[test]
fn a_link_introduces_itself() {
    let Ok(Incoming::Connection(greeting)) = parse(&connection("origin"), &Limits::default())
    else {
        panic!()
    };
    assert_eq!(greeting.link.unwrap().node, "origin");
}

#[test]
fn logs_and_reports_are_taken_without_a_word() {
    for name in [
        "pushLogs",
        "submitBugReport",
        "sessionDebug",
        "webRTCMetricsClientDescription",
        "webRTCMetricsBatch",
    ] {
        for text in [message(name, &json!({ "logs": "x" })), format!(r#"{{"message":"{name}"}}"#)] {
            assert_eq!(parse(&text, &Limits::default()), Ok(Incoming::Nothing));
        }
    }
}

#[test]
fn pings_and_pongs_need_no_data() {
    for (text, expected) in [
        (r#"{"message":"pong","data":[null]}"#, Incoming::Pong),
        (r#"{"message":"pong"}"#, Incoming::Pong),
        (r#"{"message":"ping","data":[null]}"#, Incoming::Ping),
        (r#"{"message":"ping","data":7}"#, Incoming::Ping),
    ] {
        assert_eq!(parse(text, &Limits::default()), Ok(expected));
    }
}

#[test]
fn what_is_no_message_is_malformed() {
    for text in ["", "x", "[]", "7", "null", "{}", r#"{"message":7}"#, r#"{"data":[]}"#, "{\"a\":"]
    {
        assert_eq!(parse(text, &Limits::default()), Err(RequestFault::Malformed), "{text}");
    }
}

#[test]
fn a_message_without_its_object_is_named() {
    for data in ["", r#","data":null"#, r#","data":[]"#, r#","data":{}"#, r#","data":[null]"#] {
        for name in ["connection", "publishStream", "stopStream", "availableStream", "sendData"] {
            let text = format!(r#"{{"message":"{name}"{data}}}"#);
            let fault = parse(&text, &Limits::default()).unwrap_err();
            assert_eq!(fault, RequestFault::NoData { message: name.to_owned() });
            assert_eq!(fault.message(), name);
        }
    }
}

#[test]
fn what_a_request_cannot_do_without_is_named() {
    for name in ["unPublishStream", "stopStream", "availableStream", "snapshot", "sendStreamEvent"]
    {
        for data in [json!({ "name": "x" }), json!({ "mediaSessionId": [1] })] {
            let fault = read(name, &data).unwrap_err();
            assert_eq!(fault.to_string(), format!("{name}: mediaSessionId is missing"));
        }
    }
    let fault = read("sendStreamEvent", &json!({ "mediaSessionId": "P" })).unwrap_err();
    assert_eq!(fault.to_string(), "sendStreamEvent: type is missing");
}

#[test]
fn unknown_messages_are_named_but_not_at_any_length() {
    let fault = read("startCall", &json!({})).unwrap_err();
    assert_eq!(fault, RequestFault::Unknown { message: "startCall".to_owned() });
    let fault = read(&"ü".repeat(5000), &json!({})).unwrap_err();
    assert_eq!(fault.message(), "ü".repeat(64));
}

#[test]
fn ids_are_bounded() {
    let max = Limits::default().name_bytes_max;
    let limits = Limits { name_bytes_max: 3, ..Limits::default() };
    let stop = |id: &str| message("stopStream", &json!({ "mediaSessionId": id }));
    assert!(parse(&stop("abc"), &limits).is_ok());
    assert!(matches!(parse(&stop("abcd"), &limits), Err(RequestFault::TooLong { max: 3, .. })));
    for (name, field) in [
        ("publishStream", "mediaSessionId"),
        ("playStream", "mediaSessionId"),
        ("connection", "appKey"),
        ("snapshot", "mediaSessionId"),
        ("availableStream", "mediaSessionId"),
    ] {
        let fault = read(name, &json!({ field: long(max + 1) })).unwrap_err();
        let text = format!("{name}: {field} is longer than {max} bytes");
        assert_eq!(fault.to_string(), text);
    }
    let link = json!({ "custom": { "distributaryLink": { "node": long(max + 1) } } });
    assert!(matches!(read("connection", &link), Err(RequestFault::TooLong { .. })));
}

/// A page whose wish is answered by nothing but `fail` waits for ever: what is wrong with a name
/// is for the status to say, and that needs the id.
#[test]
fn a_name_of_any_length_reaches_the_one_who_answers() {
    let name = long(5000);
    let data = json!({ "mediaSessionId": "P", "name": name, "mediaProvider": name });
    let Request::Play(play) = request("playStream", &data) else { panic!() };
    assert_eq!((&play.name, &play.provider), (&name, &name));
    let Request::Available { name: asked, .. } = request("availableStream", &data) else {
        panic!()
    };
    assert_eq!(asked, name);
    let nameless = request("availableStream", &json!({ "mediaSessionId": "P" }));
    assert_eq!(nameless, Request::Available { media_session: "P".into(), name: String::new() });
}

/// Embedded browsers tell long stories; they are echoed, no more.
#[test]
fn a_browsers_name_for_itself_is_cut_and_not_refused() {
    let max = Limits::default().name_bytes_max;
    let data = json!({ "clientOSVersion": "é".repeat(max), "clientBrowserVersion": long(max) });
    let Ok(Incoming::Connection(greeting)) = read("connection", &data) else { panic!() };
    assert_eq!(greeting.client_os_version, "é".repeat(max / 2));
    assert_eq!(greeting.client_browser_version, long(max));
}

#[test]
fn replies_are_read_as_a_page_reads_them() {
    let text = |words: [&str; 3]| words.map(str::to_owned);
    for (frame, expected) in [
        (r#"{"message":"getUserData","data":[{}]}"#.to_owned(), Reply::UserData),
        (ping(), Reply::Ping),
        (pong(), Reply::Pong),
        (fail("x", "why"), Reply::Fail { info: "why".into() }),
        (remote_sdp("P", "v=0"), Reply::RemoteSdp { media_session: "P".into(), sdp: "v=0".into() }),
        (r#"{"message":"getVersion","data":["5.2"]}"#.to_owned(), Reply::Other),
        (available("P", None), Reply::Other),
    ] {
        assert_eq!(reply::parse(&frame), Some(expected), "{frame}");
    }
    let [media_session, status, info] = text(["P", "FAILED", "Failed by ICE timeout"]);
    let frame = super::status(Status {
        media_session: "P",
        name: "cam",
        published: true,
        status: "FAILED",
        info: Some(Info::IceTimeout),
        muted: None,
    });
    assert_eq!(reply::parse(&frame), Some(Reply::Status { media_session, status, info }));
    for frame in ["", "[]", "{}", r#"{"message":"ping"}"#, r#"{"message":1,"data":[]}"#] {
        assert_eq!(reply::parse(frame), None, "{frame}");
    }
}

#[test]
fn a_token_is_a_text_in_custom() {
    let limits = Limits { token_bytes_max: 8, ..Limits::default() };
    let greeting = |custom: Value| {
        let text = json!({ "message": "connection", "data": [{ "custom": custom }] }).to_string();
        parse(&text, &limits).map(|incoming| {
            let Incoming::Connection(greeting) = incoming else { panic!("{incoming:?}") };
            greeting.token
        })
    };
    for custom in [json!(null), json!("t"), json!(["t"]), json!({}), json!({ "token": "" })] {
        assert_eq!(greeting(custom), Ok(None));
    }
    assert_eq!(greeting(json!({ "token": 7 })), Ok(None));
    assert_eq!(greeting(json!({ "token": "12345678" })), Ok(Some(Secret::new("12345678"))));
    let long = greeting(json!({ "token": "123456789" })).unwrap_err();
    assert_eq!(long.to_string(), "connection: custom.token is longer than 8 bytes");
}

#[test]
fn tokens_are_not_shown() {
    let limits = Limits::default();
    for message in ["connection", "publishStream", "playStream"] {
        let data = json!([{ "mediaSessionId": "P", "custom": { "token": "hush" } }]);
        let text = json!({ "message": message, "data": data }).to_string();
        let shown = format!("{:?}", parse(&text, &limits).unwrap());
        assert!(shown.contains("Secret(..)") && !shown.contains("hush"), "{shown}");
    }
}
