//! What must hold of everything that a page was told and shown, whatever happened.

use std::time::Duration;

use crate::browser::{Browser, Message, Packet, Stream, Track};

/// What is put down to circumstances.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mercy {
    /// How far time stamps may be off the clock where one publisher follows another.
    leap_max: Duration,
    /// Video packets that a viewer may get before the key frame that it asks for.
    blind_max: usize,
}

impl Mercy {
    /// For a network that loses nothing, or one that does.
    pub(crate) fn of_network(clean: bool) -> Self {
        Self { leap_max: Duration::from_secs(1), blind_max: if clean { 0 } else { 450 } }
    }

    /// For hosts that stood still for so long.
    pub(super) fn of_a_storm(still: Duration) -> Self {
        Self { leap_max: Duration::from_secs(3) + still, blind_max: 450 }
    }
}

/// Everything that is wrong with one page's view of the world.
pub(crate) fn judge(browser: &Browser, mercy: &Mercy) -> Vec<String> {
    let mut faults = browser.complaints().to_vec();
    for (id, stream) in browser.streams() {
        faults.extend(order(browser.messages(), id, stream.publishing));
        faults.extend(stream.faults());
        faults.extend(stream.tracks().values().flat_map(|track| leaps(track, mercy)));
        faults.extend(entry(stream, mercy));
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
fn entry(stream: &Stream, mercy: &Mercy) -> Option<String> {
    let track = stream.track(true).filter(|_| !stream.publishing)?;
    let first = track.packets.iter().min_by_key(|packet| packet.sequence)?;
    let key = first.stamp.is_some_and(|stamp| stamp.key_frame);
    let blind = !key && track.before_key_frame() > mercy.blind_max;
    blind.then(|| format!("{} begins without a key frame", stream.name))
}

/// Where one publisher follows another, time goes on as the clock does: the packet that took the
/// shortest way tells how a publisher's time stamps stand to the clock.
fn leaps(track: &Track, mercy: &Mercy) -> Vec<String> {
    let mut ordered: Vec<&Packet> = track.packets.iter().collect();
    ordered.sort_by_key(|packet| packet.sequence);
    let rate = f64::from(track.codec.clock_rate());
    let mut ticks = 0;
    let mut before = None;
    let mut lags: Vec<(u32, f64)> = Vec::new();
    for packet in ordered {
        let step = packet.timestamp.wrapping_sub(before.unwrap_or(packet.timestamp));
        before = Some(packet.timestamp);
        ticks += u64::from(step);
        let Some(publisher) = packet.stamp.map(|stamp| stamp.publisher) else { continue };
        let told = Duration::from_secs_f64(ticks as f64 / rate);
        let lag = packet.at.as_secs_f64() - told.as_secs_f64();
        match lags.last_mut() {
            Some((last, least)) if *last == publisher => *least = least.min(lag),
            Some(_) | None => lags.push((publisher, lag)),
        }
    }
    let leap = |pair: &[(u32, f64)]| match pair {
        [(_, before), (publisher, after)]
            if (after - before).abs() > mercy.leap_max.as_secs_f64() =>
        {
            Some(format!("time leaps by {:.3} s where {publisher} begins", after - before))
        }
        _ => None,
    };
    lags.windows(2).filter_map(leap).collect()
}
