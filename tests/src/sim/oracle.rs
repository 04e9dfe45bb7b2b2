//! What must hold of everything that a page was told and shown, whatever happened.

use std::time::Duration;

use crate::browser::{Browser, Message, Packet, Stream, Track};

/// How far time stamps may be off the clock where one publisher follows another.
const LEAP_MAX: Duration = Duration::from_secs(1);

/// Video packets that a viewer may get before the key frame that it asks for, on a bad network.
const BLIND_MAX: usize = 200;

/// Everything that is wrong with one page's view of the world. `clean` is whether its network
/// loses nothing.
pub(super) fn judge(browser: &Browser, clean: bool) -> Vec<String> {
    let mut faults = browser.complaints().to_vec();
    for (id, stream) in browser.streams() {
        faults.extend(order(browser.messages(), id, stream.publishing));
        faults.extend(stream.tracks().values().flat_map(Track::faults));
        faults.extend(stream.tracks().values().flat_map(leaps));
        faults.extend(entry(stream, clean));
    }
    faults
}

/// One stream's life as its page is told of it: an answer, then that it runs, then that it ended,
/// each at most once and in this order; any stage may be the last.
fn order(messages: &[Message], id: &str, publishing: bool) -> Option<String> {
    let runs = if publishing { "PUBLISHING" } else { "PLAYING" };
    let stops = if publishing { "UNPUBLISHED" } else { "STOPPED" };
    let mut stage = "asked";
    for message in messages {
        let first = message.data.first();
        let status = first.and_then(|event| event.get("status")).and_then(|s| s.as_str());
        let of = match message.name.as_str() {
            "setRemoteSDP" => first,
            "notifyStreamStatusEvent" => first.and_then(|event| event.get("mediaSessionId")),
            _ => None,
        };
        if of.and_then(|of| of.as_str()) != Some(id) {
            continue;
        }
        stage = match (stage, status) {
            ("asked", None) => "answered",
            ("answered", Some(status)) if status == runs => "running",
            ("asked" | "answered" | "running", Some("FAILED")) => "over",
            ("asked" | "answered" | "running", Some(status)) if status == stops => "over",
            (stage, status) => {
                return Some(format!("{id} was {stage} when {status:?} came for {}", message.name));
            }
        };
    }
    None
}

/// A viewer's picture begins with a key frame. Where the network loses things, that may be lost
/// before the viewer could know of it; then it gets another.
fn entry(stream: &Stream, clean: bool) -> Option<String> {
    let track = stream.track(true).filter(|_| !stream.publishing)?;
    let first = track.packets.iter().min_by_key(|packet| packet.sequence)?;
    let key = first.stamp.is_some_and(|stamp| stamp.key_frame);
    let blind = if clean { !key } else { track.before_key_frame() > BLIND_MAX };
    blind.then(|| format!("{} begins without a key frame", stream.name))
}

/// Where one publisher follows another, time goes on as the clock does.
fn leaps(track: &Track) -> Vec<String> {
    let mut ordered: Vec<&Packet> = track.packets.iter().collect();
    ordered.sort_by_key(|packet| packet.sequence);
    let changes = ordered.windows(2).filter_map(|pair| match pair {
        [before, after] => {
            let parted = before.stamp?.publisher != after.stamp?.publisher;
            parted.then_some((*before, *after))
        }
        _ => None,
    });
    let rate = track.codec.clock_rate();
    let leap = |(before, after): (&Packet, &Packet)| {
        let ticks = after.timestamp.wrapping_sub(before.timestamp);
        let told = Duration::from_secs_f64(f64::from(ticks) / f64::from(rate));
        let passed = after.at.saturating_sub(before.at);
        let off = told.abs_diff(passed);
        (off > LEAP_MAX).then(|| format!("{told:?} on the track for {passed:?} on the clock"))
    };
    changes.filter_map(leap).collect()
}
