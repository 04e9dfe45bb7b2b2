//! What a process used of the machine, as Linux counts it (proc(5)).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::spread::round;

/// A tick of `/proc/PID/stat`: 100 in a second wherever Linux runs (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// What a process had used at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    at: Instant,
    cpu: Duration,
    kernel: Duration,
    waited: Duration,
    sleeps: u64,
}

/// What a process used between two moments.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Used {
    /// How long that was.
    pub wall: Duration,
    /// On a core, in its own code and in the kernel's.
    pub cpu: Duration,
    /// The kernel's part of that, to 10 ms.
    pub kernel: Duration,
    /// Ready to run, but without a core.
    pub waited: Duration,
    /// Times that it had nothing to do and went to sleep.
    pub sleeps: u64,
}

impl Usage {
    /// Of all threads of a process.
    pub(crate) fn of(pid: u32) -> Result<Self, String> {
        Self::read(Path::new(&format!("/proc/{pid}")), true)
    }

    /// Of the thread that asks.
    pub(crate) fn of_this_thread() -> Result<Self, String> {
        Self::read(Path::new("/proc/thread-self"), false)
    }

    fn read(folder: &Path, all_threads: bool) -> Result<Self, String> {
        let stat = text(&folder.join("stat"))?;
        // The name in parentheses may hold anything; `utime` and `stime` are the 14th and 15th.
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        let mut ticks = fields.split(' ').skip(11).map_while(|field| field.parse::<u32>().ok());
        let (Some(user), Some(kernel)) = (ticks.next(), ticks.next()) else {
            return Err(format!("{} is not as proc(5) has it: {stat}", folder.display()));
        };
        let mut usage = Self {
            at: Instant::now(),
            cpu: TICK * (user + kernel),
            kernel: TICK * kernel,
            waited: Duration::ZERO,
            sleeps: 0,
        };
        let mut precise = Duration::ZERO;
        let threads = if all_threads {
            let entries = fs::read_dir(folder.join("task")).map_err(|error| error.to_string())?;
            entries.flatten().map(|entry| entry.path()).collect()
        } else {
            vec![folder.to_owned()]
        };
        for thread in threads {
            // A kernel without these counts to 10 ms and tells nothing of waits. A thread may
            // also be gone by now.
            let schedstat = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
            let mut numbers = schedstat.split_whitespace().map_while(|word| word.parse().ok());
            precise += Duration::from_nanos(numbers.next().unwrap_or_default());
            usage.waited += Duration::from_nanos(numbers.next().unwrap_or_default());
            let status = fs::read_to_string(thread.join("status")).unwrap_or_default();
            usage.sleeps += field(&status, "voluntary_ctxt_switches:").unwrap_or_default();
        }
        if !precise.is_zero() {
            usage.cpu = precise;
        }
        Ok(usage)
    }

    /// What came after `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Used {
        Used {
            wall: self.at - earlier.at,
            cpu: self.cpu.saturating_sub(earlier.cpu),
            kernel: self.kernel.saturating_sub(earlier.kernel),
            waited: self.waited.saturating_sub(earlier.waited),
            sleeps: self.sleeps.saturating_sub(earlier.sleeps),
        }
    }
}

impl Used {
    /// CPU in % of one core.
    pub fn cpu_percent(&self) -> f64 {
        self.percent(self.cpu)
    }

    /// The wait for a core in % of the time.
    pub fn waited_percent(&self) -> f64 {
        self.percent(self.waited)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "cpu_percent": round(self.cpu_percent()),
            "kernel_percent": round(self.percent(self.kernel)),
            "waited_percent": round(self.waited_percent()),
            "sleeps_per_second": round(self.sleeps as f64 / self.wall.as_secs_f64()),
        })
    }

    fn percent(&self, part: Duration) -> f64 {
        part.as_secs_f64() / self.wall.as_secs_f64() * 100.0
    }
}

/// A process's resident memory in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64, String> {
    let status = text(Path::new(&format!("/proc/{pid}/status")))?;
    field(&status, "VmRSS:").ok_or_else(|| format!("no VmRSS in {status}"))
}

/// How many threads of this machine wanted a core, on average over a minute.
pub(super) fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_and_rest_is_not() {
        let before = Usage::of_this_thread().unwrap();
        let end = Instant::now() + Duration::from_millis(60);
        while Instant::now() < end {}
        let middle = Usage::of_this_thread().unwrap();
        std::thread::sleep(Duration::from_millis(60));
        let after = Usage::of_this_thread().unwrap();
        let (work, rest) = (middle.since(&before), after.since(&middle));
        assert!(work.cpu + work.waited >= Duration::from_millis(40), "{work:?}");
        assert!(rest.cpu <= Duration::from_millis(20), "{rest:?}");
        assert!(rest.sleeps >= 1, "{rest:?}");
        let whole = Usage::of(std::process::id()).unwrap();
        assert!(whole.cpu >= after.cpu, "{whole:?} {after:?}");
        assert!(resident_kib(std::process::id()).unwrap() > 100);
    }
}
