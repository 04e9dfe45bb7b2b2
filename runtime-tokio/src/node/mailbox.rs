//! What reaches a shard from other threads.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Waker;

use distributary_core::{Command, LookupId, ShardId, ShardMessage};

/// Letters that may wait for one shard. A shard reads its mailbox at every turn, so that many
/// waiting mean it hangs.
pub const LETTERS_MAX: usize = 65_536;

/// Letters that may wait before those that may be lost are. Each can hold a turn of packets.
const LETTERS_BEFORE_LOSS: usize = 1_024;

/// Something for a shard from another thread.
#[derive(Debug)]
pub enum Letter {
    /// From another shard of the node.
    Message {
        /// Who wrote it.
        from: ShardId,
        /// What.
        message: ShardMessage,
    },
    /// From the operator.
    Command(Command),
    /// From the resolver.
    Resolved {
        /// The question.
        lookup: LookupId,
        /// Its answers; empty: none.
        addrs: Vec<IpAddr>,
    },
    /// Stop now, goodbyes or not.
    Halt,
}

/// The end that anybody may put letters in.
#[derive(Clone)]
pub struct Mailbox {
    letters: mpsc::Sender<Letter>,
    state: Arc<State>,
}

/// The end that the shard takes letters out of.
#[derive(Debug)]
pub struct Inbox {
    letters: mpsc::Receiver<Letter>,
    state: Arc<State>,
}

/// The mailbox was full; the letter is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

#[derive(Debug)]
struct State {
    waiting: AtomicUsize,
    /// Set while a wake-up is on its way, so that a burst of letters costs one.
    rung: AtomicBool,
    waker: Waker,
}

/// Makes a mailbox whose first letter after each [`Inbox::open`] wakes `waker`.
pub fn mailbox(waker: Waker) -> (Mailbox, Inbox) {
    let (sender, receiver) = mpsc::channel();
    let state =
        Arc::new(State { waiting: AtomicUsize::new(0), rung: AtomicBool::new(false), waker });
    (Mailbox { letters: sender, state: Arc::clone(&state) }, Inbox { letters: receiver, state })
}

impl Mailbox {
    /// Puts a letter in and wakes the shard if nobody has yet.
    ///
    /// A letter to a shard that ended already goes nowhere, which is no error; nor is it one when a
    /// message that may be lost is, because the shard lags.
    ///
    /// # Errors
    ///
    /// [`Full`] if [`LETTERS_MAX`] wait already.
    pub fn post(&self, letter: Letter) -> Result<(), Full> {
        let may_be_lost =
            matches!(&letter, Letter::Message { message, .. } if message.may_be_lost());
        let max = if may_be_lost { LETTERS_BEFORE_LOSS } else { LETTERS_MAX };
        if self.state.waiting.fetch_add(1, Ordering::Relaxed) >= max {
            self.state.waiting.fetch_sub(1, Ordering::Relaxed);
            return if may_be_lost { Ok(()) } else { Err(Full) };
        }
        if self.letters.send(letter).is_err() {
            self.state.waiting.fetch_sub(1, Ordering::Relaxed);
        } else if !self.state.rung.swap(true, Ordering::AcqRel) {
            self.state.waker.wake_by_ref();
        }
        Ok(())
    }
}

impl Inbox {
    /// Notes that the shard is awake and looks: a letter that comes from now on wakes it again.
    pub fn open(&self) {
        self.state.rung.swap(false, Ordering::AcqRel);
    }

    /// Takes the oldest letter out.
    pub fn take(&self) -> Option<Letter> {
        let letter = self.letters.try_recv().ok()?;
        self.state.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(letter)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("waiting", &self.state.waiting.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_burst_wakes_once_and_keeps_its_order() {
        let bell = Arc::new(Bell::default());
        let (mailbox, inbox) = mailbox(Arc::clone(&bell).into());
        for load in 0..3 {
            mailbox.post(Letter::Command(Command::CpuLoad(load))).unwrap();
        }
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        inbox.open();
        for expected in 0..3 {
            let Some(Letter::Command(Command::CpuLoad(load))) = inbox.take() else {
                panic!("letter {expected} is missing")
            };
            assert_eq!(load, expected);
        }
        assert!(inbox.take().is_none());
        mailbox.post(Letter::Halt).unwrap();
        assert_eq!(bell.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_full_mailbox_refuses_and_recovers() {
        let (mailbox, inbox) = mailbox(Waker::noop().clone());
        for _ in 0..LETTERS_MAX {
            mailbox.post(Letter::Halt).unwrap();
        }
        assert_eq!(mailbox.post(Letter::Halt), Err(Full));
        assert!(inbox.take().is_some());
        assert_eq!(mailbox.post(Letter::Halt), Ok(()));
    }
}
