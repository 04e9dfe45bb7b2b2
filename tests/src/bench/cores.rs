//! Which core does what: what is measured has one to itself, and what measures has another.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Two cores, or twice the only one that there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cores {
    /// Of the server.
    pub server: usize,
    /// Of the viewers and the publisher.
    pub load: usize,
}

impl Cores {
    /// The first two on which this process may run.
    ///
    /// # Errors
    ///
    /// In one sentence, if the kernel does not tell.
    pub fn find() -> Result<Self, String> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).map_err(|error| format!("{error}"))?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let server = cores.next().ok_or("there is no core to run on")?;
        Ok(Self { server, load: cores.next().unwrap_or(server) })
    }

    /// Whether one core has to do for both, and no figure means much.
    pub fn shared(self) -> bool {
        self.server == self.load
    }

    /// Keeps this thread, and threads that it starts, on the core of the viewers.
    ///
    /// # Errors
    ///
    /// In one sentence, if that is not allowed.
    pub fn stay(self) -> Result<(), String> {
        keep(0, self.load)
    }

    /// Starts something on the server's core, which stays there.
    ///
    /// # Errors
    ///
    /// In one sentence, if that is not allowed, or as `start` does.
    pub fn start<T>(self, start: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        keep(0, self.server)?;
        let started = start();
        self.stay()?;
        started
    }

    /// Moves all threads of a process that runs already to the server's core.
    ///
    /// # Errors
    ///
    /// In one sentence, if there is none, or it is not ours to move.
    pub fn take(self, pid: u32) -> Result<(), String> {
        let tasks = format!("/proc/{pid}/task");
        let threads = std::fs::read_dir(&tasks).map_err(|error| format!("{tasks}: {error}"))?;
        for thread in threads.flatten() {
            if let Ok(thread) = thread.file_name().to_string_lossy().parse() {
                keep(thread, self.server)?;
            }
        }
        Ok(())
    }
}

/// Keeps a thread on a core; 0 is the thread that asks.
fn keep(thread: i32, core: usize) -> Result<(), String> {
    let mut only = CpuSet::new();
    let kept = only.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(thread), &only));
    kept.map_err(|error| format!("keeping thread {thread} on core {core}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(thread: i32) -> Vec<usize> {
        let set = sched_getaffinity(Pid::from_raw(thread)).unwrap();
        (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap()).collect()
    }

    #[test]
    fn what_is_started_stays_on_its_core_and_the_starter_on_its_own() {
        // On a thread of its own, which other tests do not share.
        let test = std::thread::spawn(|| {
            let cores = Cores::find().unwrap();
            let start = || std::process::Command::new("sleep").arg("60").spawn();
            let mut child = cores.start(|| start().map_err(|error| error.to_string())).unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            assert_eq!(allowed(pid), [cores.server]);
            assert_eq!(allowed(0), [cores.load]);
            // The other way round.
            let turned = Cores { server: cores.load, load: cores.server };
            turned.take(child.id()).unwrap();
            assert_eq!(allowed(pid), [cores.load]);
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(cores.take(child.id()).unwrap_err().contains("No such file"));
        });
        test.join().unwrap();
    }
}
