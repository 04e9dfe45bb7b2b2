//! How busy the machine's processors are.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use distributary_core::Command;

use super::mailbox::{Letter, Mailbox};

const INTERVAL: Duration = Duration::from_secs(2);

/// Tells `shard` the load every two seconds until `stop` is dropped. Without `/proc/stat`, which
/// only Linux has, it tells nothing.
pub(super) fn report(shard: &Mailbox, stop: &Receiver<()>) {
    let mut before = read();
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(INTERVAL) {
        let now = read();
        if let (Some(before), Some(now)) = (before, now)
            && let Some(percent) = busy_percent(before, now)
        {
            // A full mailbox has a reader that hangs; the shards report that themselves.
            let _ = shard.post(Letter::Command(Command::CpuLoad(percent)));
        }
        before = now;
    }
}

/// Processor time since boot, of all processors together.
#[derive(Clone, Copy)]
struct Ticks {
    idle: u64,
    all: u64,
}

fn read() -> Option<Ticks> {
    parse(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// Reads the first line: `cpu` user nice system idle iowait irq softirq steal (proc_stat(5)).
fn parse(stat: &str) -> Option<Ticks> {
    let fields: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .take(8)
        .map_while(|field| field.parse().ok())
        .collect();
    let idle = fields.get(3)? + fields.get(4).copied().unwrap_or(0);
    Some(Ticks { idle, all: fields.iter().sum() })
}

fn busy_percent(before: Ticks, now: Ticks) -> Option<u8> {
    let all = now.all.checked_sub(before.all).filter(|&all| all > 0)?;
    let idle = now.idle.saturating_sub(before.idle).min(all);
    u8::try_from((all - idle) * 100 / all).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_idle_and_waiting_as_free() {
        let before = parse("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3").unwrap();
        let now = parse("cpu  150 0 125 775 150 0 0 0 0 0\n").unwrap();
        assert_eq!(busy_percent(before, now), Some(37));
        assert_eq!(busy_percent(now, now), None);
        assert!(parse("intr 1 2 3").is_none());
    }
}
