//! What came of a run, for people, for programs, and as a picture.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::plot::{self, Curve, Panel};
use super::quantiles::{Quantiles, ms};
use super::tally::{Second, Tally};
use super::track::Count;
use crate::figures::{self, Used};

/// A thread this busy, or kept this long from a core, may be what limits the figures.
const SATURATED_PERCENT: f64 = 90.0;

/// A server process while packets were counted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// What it used.
    pub used: Used,
    /// What it used while viewers came.
    pub joining: Used,
    /// Packets that it forwarded meanwhile.
    pub forwarded: u64,
    /// Its memory before the first viewer.
    pub kib_before: u64,
    /// Its memory with all viewers.
    pub kib: u64,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// Viewers that were wanted.
    pub viewers: usize,
    /// Viewers that got media.
    pub joined: usize,
    /// Why viewers got none, or got none any more, and how many of them.
    pub endings: BTreeMap<String, usize>,
    /// Viewers that are still there, but got nothing in the last second that was counted.
    pub silent: usize,
    /// From the first viewer's first step to the last one's first packet.
    pub(super) joining: Duration,
    /// From the first step to the first packet of media.
    pub(super) join: Option<Quantiles>,
    /// From asking for the stream to the first packet of media.
    pub(super) first_packet: Option<Quantiles>,
    /// From asking for the stream to the first packet of a key frame.
    pub(super) first_key_frame: Option<Quantiles>,
    /// How long packets were counted.
    pub(super) span: Duration,
    pub(super) count: Count,
    /// The part of that which is pictures.
    pub(super) pictures: Count,
    pub(super) delay: Option<Quantiles>,
    pub(super) tally: Tally,
    /// The seconds in which packets were counted.
    pub(super) counted: (usize, usize),
    /// The thread that is all viewers.
    pub(super) thread: Used,
    /// Packets that came while that thread's time was taken.
    pub(super) packets: u64,
    /// Packets for which the viewers' sockets had no room.
    pub(super) dropped: u64,
    /// Server processes that were watched.
    pub processes: Vec<Process>,
    /// The SRTP profiles that viewers agreed on.
    pub(super) profiles: BTreeMap<String, usize>,
    /// How often publishers were asked for a key frame.
    pub(super) key_frame_requests: usize,
    /// Why the run was cut short, if it was.
    pub problem: Option<String>,
}

impl Report {
    /// Whether every viewer got media, to the end.
    pub fn complete(&self) -> bool {
        self.joined == self.viewers
            && self.endings.is_empty()
            && self.silent == 0
            && self.problem.is_none()
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let quantiles = |of: &Option<Quantiles>| of.as_ref().map(Quantiles::json);
        json!({
            "machine": figures::machine(),
            "viewers": self.viewers,
            "joined": self.joined,
            "endings": self.endings,
            "silent": self.silent,
            "problem": self.problem,
            "srtp": self.profiles,
            "discarded": self.tally.discarded,
            "joins": {
                "per_second": round(self.joins_per_second()),
                "join": quantiles(&self.join),
                "first_packet": quantiles(&self.first_packet),
                "first_key_frame": quantiles(&self.first_key_frame),
            },
            "seconds": round(self.span.as_secs_f64()),
            "packets": self.count.packets,
            "lost": self.count.lost,
            "loss": self.loss(),
            "loss_of_pictures": self.loss_of_pictures(),
            "gaps": self.count.gaps,
            "late": self.count.late,
            "delay": quantiles(&self.delay),
            "samples": {
                "opened": self.tally.opened,
                "refused": self.tally.refused,
                "altered": self.tally.altered,
                "strange": self.tally.strange,
            },
            "feedback": {
                "transport": self.tally.feedbacks,
                "nack": self.tally.nacks,
                "pli": self.tally.plis,
                "retransmitted": self.tally.retransmitted,
                "key_frames_asked_of_publishers": self.key_frame_requests,
            },
            "servers": self.processes.iter().map(|it| self.process(it)).collect::<Vec<_>>(),
            "load": {
                "cpu_ns_per_packet": round(self.thread_ns_per_packet()),
                "saturated": self.saturated(),
                "dropped": self.dropped,
                "thread": self.thread.json(),
            },
        })
    }

    fn process(&self, process: &Process) -> Value {
        json!({
            "pid": process.pid,
            "cpu_ns_per_packet": round(self.ns_per_packet(process)),
            "cpu_us_per_join": round(self.us_per_join(process)),
            "saturated": saturated(&process.used),
            "used": process.used.json(),
            "rss_kib_before": process.kib_before,
            "rss_kib": process.kib,
            "rss_kib_per_viewer": round(self.kib_per_viewer(process)),
        })
    }

    /// The SRTP profiles that viewers agreed on.
    pub fn srtp(&self) -> Vec<String> {
        self.profiles.keys().cloned().collect()
    }

    /// A picture of the run, as SVG.
    pub fn plot(&self) -> String {
        // The last second was not complete.
        let seconds = self.tally.seconds.split_last().map_or(&[][..], |(_, complete)| complete);
        let curve = |name: &str, value: &dyn Fn(&Second) -> Option<f64>| Curve {
            name: name.to_owned(),
            values: seconds.iter().map(value).collect(),
        };
        let delay = |name: &str, pick: fn(Quantiles) -> u32| {
            let value = |second: &Second| {
                Quantiles::of(second.delays.iter().copied()).map(|all| ms(pick(all)))
            };
            curve(name, &value)
        };
        let mut joined = 0;
        let joins = seconds.iter().map(|second| {
            joined += second.joined;
            Some(joined as f64)
        });
        let joins = Curve { name: "joined".to_owned(), values: joins.collect() };
        let panel = |title: &str, curves| Panel { title: title.to_owned(), curves };
        let packets = curve("packets", &|second| Some(second.packets as f64));
        let missed = curve("missed", &|second| Some(second.missed as f64));
        let delays = vec![
            delay("p50", |all| all.p50),
            delay("p99", |all| all.p99),
            delay("p99.9", |all| all.p999),
        ];
        let panels = [
            panel("viewers with media", vec![joins]),
            panel("packets in a second", vec![packets]),
            panel("missed at first", vec![missed]),
            panel("delay in ms", delays),
        ];
        let loss = self.loss() * 100.0;
        let heading = format!("{} of {} viewers, {loss:.3} % lost", self.joined, self.viewers);
        plot::svg(&heading, &panels, self.counted)
    }

    fn joins_per_second(&self) -> f64 {
        rate(self.joined as f64, self.joining)
    }

    /// The share of packets that never came.
    pub fn loss(&self) -> f64 {
        self.count.loss()
    }

    /// The share of packets of pictures that never came, although they were asked for again.
    pub fn loss_of_pictures(&self) -> f64 {
        self.pictures.loss()
    }

    /// From publishers to viewers' kernels, 99 of 100 packets took no longer.
    pub fn delay_p99(&self) -> Option<Duration> {
        self.delay.map(|delay| Duration::from_micros(delay.p99.into()))
    }

    /// Packets that came in a second.
    pub fn packets_per_second(&self) -> f64 {
        rate(self.count.packets as f64, self.span)
    }

    /// What a server spent on one packet to one viewer, everything else included.
    fn ns_per_packet(&self, process: &Process) -> f64 {
        process.used.cpu.as_nanos() as f64 / self.packets.max(1) as f64
    }

    /// What a server spent on one join: all that it used meanwhile, less what the media of those
    /// who were there already cost. It is as good as that is small.
    fn us_per_join(&self, process: &Process) -> f64 {
        let media = self.ns_per_packet(process) * process.forwarded as f64;
        let joins = process.joining.cpu.as_nanos() as f64 - media;
        joins.max(0.0) / 1e3 / self.joined.max(1) as f64
    }

    fn thread_ns_per_packet(&self) -> f64 {
        self.thread.cpu.as_nanos() as f64 / self.packets.max(1) as f64
    }

    fn kib_per_viewer(&self, process: &Process) -> f64 {
        process.kib.saturating_sub(process.kib_before) as f64 / self.joined.max(1) as f64
    }

    fn tell_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for process in &self.processes {
            writeln!(
                f,
                "server   {}: {:.0} ns of CPU a packet, {:.1} % of a core, kept waiting for one \
                 {:.1} %; RSS {} KiB, {:.0} KiB a viewer",
                process.pid,
                self.ns_per_packet(process),
                process.used.cpu_percent(),
                process.used.waited_percent(),
                process.kib,
                self.kib_per_viewer(process)
            )?;
        }
        writeln!(
            f,
            "load     {:.0} ns of CPU a packet, {:.1} % of a core, kept waiting for one {:.1} %",
            self.thread_ns_per_packet(),
            self.thread.cpu_percent(),
            self.thread.waited_percent()
        )?;
        if self.dropped > 0 {
            writeln!(f, "load     {} packets came, but found no room here", self.dropped)?;
        }
        if self.saturated() {
            writeln!(f, "load     the viewers themselves had no time left: take care")?;
        }
        Ok(())
    }

    /// Whether the viewers themselves may have been too slow for what they got.
    pub fn saturated(&self) -> bool {
        saturated(&self.thread)
    }
}

/// Whether there was no time left.
fn saturated(used: &Used) -> bool {
    used.cpu_percent() + used.waited_percent() > SATURATED_PERCENT
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { opened, refused, altered, strange, .. } = self.tally;
        let Count { packets, late, lost, gaps } = self.count;
        writeln!(
            f,
            "viewers  {} of {} got media, {:.1} joins a second",
            self.joined,
            self.viewers,
            self.joins_per_second()
        )?;
        for (why, how_many) in &self.endings {
            writeln!(f, "         {how_many}: {why}")?;
        }
        if self.silent > 0 {
            writeln!(f, "         {}: nothing in the last second", self.silent)?;
        }
        if let Some(problem) = &self.problem {
            writeln!(f, "         cut short: {problem}")?;
        }
        line(f, "join", "connecting to first packet", self.join)?;
        line(f, "", "asking to first packet", self.first_packet)?;
        line(f, "", "asking to first key frame", self.first_key_frame)?;
        writeln!(
            f,
            "packets  {packets} in {:.1} s, {:.0} a second, {:.1} Mbit/s",
            self.span.as_secs_f64(),
            rate(packets as f64, self.span),
            rate(self.tally.bytes as f64 * 8e-6, self.span),
        )?;
        writeln!(
            f,
            "loss     {lost} packets, {:.4} %, in {gaps} gaps; {late} came late, \
             {} were sent again on {} requests",
            self.loss() * 100.0,
            self.tally.retransmitted,
            self.tally.nacks
        )?;
        line(f, "delay", "publisher to viewer's kernel", self.delay)?;
        writeln!(
            f,
            "samples  {opened} opened, {altered} of them altered; {refused} packets not authentic, \
             {strange} of no track"
        )?;
        writeln!(
            f,
            "asked    {} key frames by viewers, {} of publishers",
            self.tally.plis, self.key_frame_requests
        )?;
        self.tell_costs(f)
    }
}

fn line(f: &mut fmt::Formatter<'_>, head: &str, what: &str, of: Option<Quantiles>) -> fmt::Result {
    let Some(of) = of else { return Ok(()) };
    let [p50, p99, p999, max] = [of.p50, of.p99, of.p999, of.max].map(ms);
    writeln!(
        f,
        "{head:8} {what}: p50 {p50:.3} ms, p99 {p99:.3} ms, p99.9 {p999:.3} ms, max {max:.3} ms; \
         {} of them",
        of.count
    )
}

fn rate(amount: f64, span: Duration) -> f64 {
    if span.is_zero() { 0.0 } else { amount / span.as_secs_f64() }
}

/// To three digits after the point.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
