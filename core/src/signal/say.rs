//! What goes out, at either end, from meaning to text.
//!
//! `data` is always an array: the pages read its first element before they look at the name.

use serde_json::{Value, json};

use super::info::Info;
use super::request::{Greeting, StreamRequest};

fn message(name: &str, data: Value) -> String {
    json!({ "message": name, "data": data }).to_string()
}

/// Makes a session ESTABLISHED. Sent once: a second one would establish it twice.
pub(super) fn user_data(greeting: &Greeting, auth_token: &str) -> String {
    let data = json!([{
        "authToken": auth_token,
        "status": "ESTABLISHED",
        "appKey": greeting.app_key,
        "mediaProviders": ["WebRTC"],
        "clientVersion": greeting.client_version,
        "clientOSVersion": greeting.client_os_version,
        "clientBrowserVersion": greeting.client_browser_version,
        "useWsTunnel": false,
        "useWsTunnelPacketization2": false,
        "useBase64BinaryEncoding": false,
        "keepAlive": greeting.keep_alive,
    }]);
    message("getUserData", data)
}

pub(crate) fn ping() -> String {
    message("ping", json!([]))
}

pub(crate) fn pong() -> String {
    message("pong", json!([null]))
}

/// Answers an offer. The third argument says that this is an answer; web pages ignore it, other
/// clients need it.
pub(crate) fn remote_sdp(media_session: &str, sdp: &str) -> String {
    message("setRemoteSDP", json!([media_session, sdp, true]))
}

/// One status of one stream of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status<'a> {
    pub(crate) media_session: &'a str,
    pub(crate) name: &'a str,
    pub(crate) published: bool,
    pub(crate) status: &'static str,
    pub(crate) info: Option<Info>,
    /// Whether the publisher muted its sound and its picture; told with PLAYING.
    pub(crate) muted: Option<(bool, bool)>,
}

pub(crate) fn status(status: Status<'_>) -> String {
    let mut data = json!({
        "mediaSessionId": status.media_session,
        "name": status.name,
        "published": status.published,
        "status": status.status,
        "mediaProvider": "WebRTC",
    });
    if let Value::Object(fields) = &mut data {
        if let Some(info) = status.info {
            fields.insert("info".to_owned(), json!(info.text()));
        }
        if let Some((audio, video)) = status.muted {
            fields.insert("audioState".to_owned(), json!({ "muted": audio }));
            fields.insert("videoState".to_owned(), json!({ "muted": video }));
        }
    }
    message("notifyStreamStatusEvent", json!([data]))
}

/// Something that happened in a stream.
#[derive(Debug)]
pub(crate) struct StreamEvent {
    pub(crate) kind: String,
    pub(crate) payload: Option<Value>,
}

/// Something that happened in a stream, for one of its viewers.
pub(crate) fn stream_event(media_session: &str, kind: &str, payload: Option<&Value>) -> String {
    let mut data = json!({ "mediaSessionId": media_session, "type": kind });
    if let (Some(payload), Value::Object(fields)) = (payload, &mut data) {
        fields.insert("payload".to_owned(), payload.clone());
    }
    message("notifyStreamEvent", json!([data]))
}

/// Tells a viewer the rate of its stream and how much its way takes, in bit/s. Pages read them from
/// one text.
pub(crate) fn not_enough_bandwidth(media_session: &str, stream: u64, available: u64) -> String {
    let payload = json!({ "info": format!("{stream}/{available}") });
    stream_event(media_session, "notEnoughBandwidth", Some(&payload))
}

/// Tells a publisher how many bits of picture came since the last time. Pages compare that with
/// what they sent meanwhile.
pub(crate) fn inbound_video_rate(media_session: &str, bits: u64) -> String {
    message("inboundVideoRate", json!([{ "mediaSessionId": media_session, "videoRate": bits }]))
}

/// Tells a viewer how many bits of picture it was sent since the last time.
pub(crate) fn outbound_video_rate(media_session: &str, bits: u64) -> String {
    message("outboundVideoRate", json!([{ "mediaSessionId": media_session, "videoRate": bits }]))
}

/// Whether a stream can be played here. The status is a string: pages compare it with `"true"`.
pub(crate) fn available(media_session: &str, refusal: Option<Info>) -> String {
    let status = if refusal.is_none() { "true" } else { "false" };
    let info = refusal.map_or("", Info::text);
    message("availableStream", json!([{ "id": media_session, "status": status, "info": info }]))
}

/// Answers `sendData`: there is no application behind this server that could take it.
pub(crate) fn data_status(operation: &Value) -> String {
    let info = "This server has no application that takes data";
    let data = json!([{ "operationId": operation, "status": "FAILED", "info": info }]);
    message("DataStatusEvent", data)
}

/// Answers `snapshot`: pictures are not decoded here.
pub(crate) fn snapshot_failed(media_session: &str) -> String {
    let payload = json!({ "info": "This server does not decode pictures" });
    stream_event(media_session, "snapshotFailed", Some(&payload))
}

/// Says what was wrong with a message; pages show it as a warning.
pub(crate) fn fail(api_method: &str, info: &str) -> String {
    message("fail", json!([{ "apiMethod": api_method, "info": info }]))
}

/// Opens the dialogue from the other end, as a page does, and says that a node speaks.
pub(crate) fn connection(node: &str) -> String {
    let data = json!([{
        "appKey": "defaultApp",
        "mediaProviders": ["WebRTC"],
        "clientVersion": "2.0",
        "clientOSVersion": "Distributary",
        "clientBrowserVersion": "Distributary",
        "custom": { "distributaryLink": { "node": node } },
    }]);
    message("connection", data)
}

/// Publishes on another node, as a page does.
pub(crate) fn publish_stream(request: &StreamRequest, audio: bool, video: bool) -> String {
    let data = json!([{
        "mediaSessionId": request.media_session,
        "name": request.name,
        "published": true,
        "hasVideo": video,
        "hasAudio": audio,
        "status": "PENDING",
        "record": false,
        "mediaProvider": request.provider,
        "sdp": request.sdp,
        "bitrate": 0,
        "minBitrate": 0,
        "maxBitrate": 0,
    }]);
    message("publishStream", data)
}

pub(crate) fn un_publish_stream(media_session: &str, name: &str) -> String {
    let data = json!([{
        "mediaSessionId": media_session,
        "name": name,
        "published": true,
        "hasVideo": true,
        "hasAudio": true,
        "status": "PUBLISHING",
        "record": false,
    }]);
    message("unPublishStream", data)
}

pub(crate) fn send_stream_event(
    media_session: &str,
    kind: &str,
    payload: Option<&Value>,
) -> String {
    let mut data = json!({ "mediaSessionId": media_session, "type": kind });
    if let (Some(payload), Value::Object(fields)) = (payload, &mut data) {
        fields.insert("payload".to_owned(), payload.clone());
    }
    message("sendStreamEvent", json!([data]))
}
