//! Every message that goes out, field by field.

use super::*;

#[test]
fn pings_and_pongs() {
    assert_eq!(value(&ping()), json!({ "message": "ping", "data": [] }));
    assert_eq!(value(&pong()), json!({ "message": "pong", "data": [null] }));
}

#[test]
fn an_answer_has_three_arguments() {
    let expected = json!({ "message": "setRemoteSDP", "data": ["P", "v=0\r\n", true] });
    assert_eq!(value(&remote_sdp("P", "v=0\r\n")), expected);
}

#[test]
fn statuses_have_what_pages_read_and_never_available() {
    let publishing = Status {
        media_session: "P",
        name: "ab \"12\"",
        published: true,
        status: "PUBLISHING",
        info: None,
        muted: None,
    };
    let expected = json!({ "message": "notifyStreamStatusEvent", "data": [{
        "mediaSessionId": "P", "name": "ab \"12\"", "published": true, "status": "PUBLISHING",
        "mediaProvider": "WebRTC",
    }] });
    assert_eq!(value(&status(publishing)), expected);
    let playing =
        Status { published: false, status: "PLAYING", muted: Some((true, false)), ..publishing };
    let data = &value(&status(playing))["data"][0];
    assert_eq!(data["audioState"], json!({ "muted": true }));
    assert_eq!(data["videoState"], json!({ "muted": false }));
    let failed = Status { status: "FAILED", info: Some(Info::StoppedByPublisherStop), ..playing };
    let data = &value(&status(failed))["data"][0];
    assert_eq!(data["info"], "Stopped by publisher stop");
    assert!(data.get("available").is_none());
}

#[test]
fn availability_is_a_string_under_id() {
    let expected = |status, info| {
        let data = json!([{ "id": "A", "status": status, "info": info }]);
        json!({ "message": "availableStream", "data": data })
    };
    assert_eq!(value(&available("A", None)), expected("true", ""));
    let refused = available("A", Some(Info::StreamNotFound));
    assert_eq!(value(&refused), expected("false", "Stream not found"));
}

#[test]
fn events_carry_their_payload_as_it_is() {
    let payload = json!({ "count": 23, "text": "ü" });
    let data = json!([{ "mediaSessionId": "Q", "type": "data", "payload": payload }]);
    let expected = json!({ "message": "notifyStreamEvent", "data": data });
    assert_eq!(value(&stream_event("Q", "data", Some(&payload))), expected);
    let expected = json!({ "message": "sendStreamEvent", "data": data });
    assert_eq!(value(&send_stream_event("Q", "data", Some(&payload))), expected);
    let bare = value(&stream_event("Q", "audioMuted", None));
    assert_eq!(bare["data"], json!([{ "mediaSessionId": "Q", "type": "audioMuted" }]));
}

#[test]
fn a_shortage_is_an_event_with_both_rates_in_one_text() {
    let data = json!([{
        "mediaSessionId": "Q",
        "type": "notEnoughBandwidth",
        "payload": { "info": "2000000/1250000" },
    }]);
    let expected = json!({ "message": "notifyStreamEvent", "data": data });
    assert_eq!(value(&not_enough_bandwidth("Q", 2_000_000, 1_250_000)), expected);
}

#[test]
fn rates_are_numbers() {
    let data = json!([{ "mediaSessionId": "Q", "videoRate": 1_250_000 }]);
    let expected = |name| json!({ "message": name, "data": data });
    assert_eq!(value(&inbound_video_rate("Q", 1_250_000)), expected("inboundVideoRate"));
    assert_eq!(value(&outbound_video_rate("Q", 1_250_000)), expected("outboundVideoRate"));
}

#[test]
fn refusals_of_what_this_server_has_not() {
    let data = &value(&snapshot_failed("P"))["data"][0];
    assert_eq!((&data["mediaSessionId"], &data["type"]), (&json!("P"), &json!("snapshotFailed")));
    assert!(data["payload"]["info"].is_string());
    let refused = value(&data_status(&json!("op")));
    assert_eq!(refused["message"], "DataStatusEvent");
    assert_eq!(refused["data"][0]["operationId"], "op");
    assert_eq!(refused["data"][0]["status"], "FAILED");
    let expected = json!({ "message": "fail", "data": [{ "apiMethod": "x", "info": "why" }] });
    assert_eq!(value(&fail("x", "why")), expected);
}

#[test]
fn what_a_link_says_is_what_a_page_says() {
    let limits = Limits::default();
    let stream = StreamRequest {
        media_session: "P".into(),
        name: "cam \u{1f600}".into(),
        provider: "WebRTC".into(),
        sdp: "v=0\r\n".into(),
        ..StreamRequest::default()
    };
    let text = publish_stream(&stream, true, false);
    assert_eq!(value(&text)["data"][0]["hasAudio"], true);
    assert_eq!(value(&text)["data"][0]["hasVideo"], false);
    let fields = Fields(value(&text)["data"][0].as_object().unwrap().clone());
    let Ok(Incoming::Request(Request::Publish(read))) = parse(&text, &limits) else {
        panic!("{text}")
    };
    assert_eq!(StreamRequest { fields: Fields::default(), ..read.clone() }, stream);
    assert_eq!(read.fields.0.get("name"), fields.0.get("name"));
    let stop = un_publish_stream("P", "cam");
    assert_eq!(value(&stop)["data"][0]["name"], "cam");
    let expected = Request::Unpublish { media_session: "P".into(), name: "cam".into() };
    assert_eq!(parse(&stop, &limits), Ok(Incoming::Request(expected)));
    let event = send_stream_event("P", "audioMuted", None);
    let expected = Request::StreamEvent {
        media_session: "P".into(),
        kind: "audioMuted".into(),
        payload: None,
    };
    assert_eq!(parse(&event, &limits), Ok(Incoming::Request(expected)));
}

#[test]
fn reasons_are_the_literal_words_that_pages_compare() {
    for (info, text) in [
        (Info::StoppedByUser, "Stopped by user"),
        (Info::StoppedByPublisherStop, "Stopped by publisher stop"),
        (Info::StreamNotFound, "Stream not found"),
        (Info::PublishStreamIsNotReady, "Publish stream is not ready"),
        (Info::NameInUse, "Stream name is already in use"),
        (Info::MediaSessionIdNull, "MediaSessionId is null"),
        (Info::MediaSessionIdInUse, "MediaSessionId is already in use"),
        (Info::NoCommonCodecs, "No common codecs"),
        (Info::IceTimeout, "Failed by ICE timeout"),
        (Info::KeepAlive, "Failed by ICE keep alive"),
        (Info::DtlsFingerprint, "Failed by DTLS fingerprint error"),
        (Info::Dtls, "Failed by DTLS error"),
        (Info::RtpActivity, "Failed by RTP activity"),
        (Info::BadOffer, "Failed to add stream to proxy"),
        (Info::PullUnsupported, "Failed to get agent storage"),
        (Info::Failed, "Failed by error"),
    ] {
        assert_eq!(info.text(), text);
    }
}
