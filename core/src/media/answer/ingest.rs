//! The answer to a publisher: what str0m wrote, with what browsers are particular about.

use super::push;
use crate::config::Congestion;

/// What Chromium takes for the least bitrate unless it is told otherwise, in bit/s.
const BITRATE_MIN_ASSUMED: u64 = 30_000;

/// Rewrites str0m's answer.
///
/// * No media stream is named: we send nothing.
/// * Every section that is in use has the candidates: str0m puts them into the first one, which
///   may be one that is rejected.
/// * The payload's `a=rtcp-fb` lines come between its `a=rtpmap` and `a=fmtp`: the WebSDK extends
///   an `a=fmtp` that follows `a=rtpmap` directly, and breaks its line end.
/// * A publisher's picture gets the bounds of its bitrate, if there are any: the most as `b=`
///   (RFC 8866, section 5.8), which every browser heeds, the least as a parameter that
///   Chromium knows.
/// * A section that is rejected says so in the offer's words, which `rejected` holds in the place
///   of the section, and has no transport.
pub(crate) fn rewrite(answer: &str, rejected: &[Option<String>], bounds: &Congestion) -> String {
    let candidates: Vec<&str> = answer
        .lines()
        .filter(|line| line.starts_with("a=candidate:") || *line == "a=end-of-candidates")
        .collect();
    let mut out = String::with_capacity(answer.len() + 512);
    let mut sections = answer.split("\r\nm=");
    if let Some(session) = sections.next() {
        let named = session.lines().filter(|line| !line.starts_with("a=msid-semantic:"));
        named.for_each(|line| push(&mut out, line));
    }
    let rejected = rejected.iter().map(Option::as_deref).chain(std::iter::repeat(None));
    for (section, rejection) in sections.zip(rejected) {
        match rejection {
            Some(line) => {
                push(&mut out, line);
                let kept = |line: &&str| line.starts_with("c=") || line.starts_with("a=mid:");
                section.lines().filter(kept).for_each(|line| push(&mut out, line));
                push(&mut out, "a=inactive");
            }
            None => push_section(&mut out, section, &candidates, bounds),
        }
    }
    out
}

fn push_section(out: &mut String, section: &str, candidates: &[&str], bounds: &Congestion) {
    let kind = section.split_whitespace().next().unwrap_or_default();
    let rejected = section.split_whitespace().nth(1) == Some("0");
    let bounds = Some(bounds).filter(|_| kind == "video" && !rejected);
    let mut lines: Vec<&str> = section.lines().collect();
    // A stable sort by rank moves only what has to move.
    let codec_rank = |line: &&str| match *line {
        line if line.starts_with("a=rtcp-fb:") => 1,
        line if line.starts_with("a=fmtp:") => 2,
        _ => 0,
    };
    let mut start = 0;
    while let Some(from) = lines.get(start..).and_then(|rest| {
        rest.iter().position(|line| line.starts_with("a=rtpmap:")).map(|at| start + at + 1)
    }) {
        let tail = lines.get_mut(from..).unwrap_or_default();
        let until = tail.iter().position(|line| codec_rank(line) == 0).unwrap_or(tail.len());
        if let Some(block) = tail.get_mut(..until) {
            block.sort_by_key(codec_rank);
        }
        start = from + until;
    }
    for (index, line) in lines.iter().enumerate() {
        if index == 0 {
            push(out, &format!("m={line}"));
        } else if !is_left_out(line) {
            push(out, line);
        }
        match bounds {
            Some(bounds) if line.starts_with("c=") => {
                push(out, &format!("b=AS:{}", bounds.bitrate_max.div_ceil(1000)));
            }
            Some(_) | None => {}
        }
    }
    if let Some(least) = bounds.map(|b| b.bitrate_min).filter(|min| *min != BITRATE_MIN_ASSUMED)
        && let Some(codec) = section.split_whitespace().nth(3)
    {
        push(out, &format!("a=fmtp:{codec} x-google-min-bitrate={}", least.div_ceil(1000)));
    }
    if !rejected {
        for candidate in candidates {
            push(out, candidate);
        }
        if !candidates.contains(&"a=end-of-candidates") {
            push(out, "a=end-of-candidates");
        }
    }
}

/// The candidates come at the end.
fn is_left_out(line: &str) -> bool {
    let left_out = ["a=candidate:", "a=end-of-candidates", "a=msid:"];
    left_out.iter().any(|prefix| line.starts_with(prefix))
}
