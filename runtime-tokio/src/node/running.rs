//! A node whose shards run, each on its thread.

use std::fmt::Write;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use distributary_core::config::{Config, Listening};
use distributary_core::{Command, ShardId};
use tracing::{error, info, warn};

use super::bind::port_key;
use super::certificate::fingerprint;
use super::cpu;
use super::error::{RunError, StartError};
use super::interfaces::interface_addresses;
use super::mailbox::{Letter, Mailbox};
use super::plan::Plan;
use super::wishes::Wishes;

/// How long bytes that a shard left behind may take to be written, on top of the shard's own
/// time to drain.
const FLUSH: Duration = Duration::from_secs(6);

/// How long a shard may take to notice that it is halted.
const HALT: Duration = Duration::from_secs(2);

/// A node whose shards run. Dropping it ends them without goodbyes.
#[derive(Debug)]
pub struct Running {
    config: Arc<Config>,
    fingerprint: String,
    mailboxes: Arc<[Mailbox]>,
    /// Those that did not end yet.
    threads: Vec<(ShardId, JoinHandle<()>)>,
    ended: Receiver<(ShardId, Result<(), RunError>)>,
    ending: Sender<(ShardId, Result<(), RunError>)>,
    /// What the first shard that failed said.
    failure: Option<RunError>,
    wishes: Wishes,
    /// The newest wish of each shard that was granted or refused.
    answered: Vec<u64>,
    /// Dropped to end the thread that reports the processors' load.
    _cpu: Option<Sender<()>>,
}

impl Running {
    /// A node that has no thread yet: [`Running::spawn`] gives it one for each mailbox.
    ///
    /// # Errors
    ///
    /// [`StartError::System`] if the system gives no thread.
    pub fn new(
        config: Arc<Config>,
        mailboxes: Arc<[Mailbox]>,
        wishes: Wishes,
    ) -> Result<Self, StartError> {
        let (ending, ended) = channel();
        let fingerprint = fingerprint(&config.tls);
        info!("SHA-256 fingerprint of the certificate: {fingerprint}");
        let mut cpu = None;
        if let Some(first) = mailboxes.first().cloned() {
            let (stop, stopped) = channel();
            thread::Builder::new()
                .name("cpu-load".to_owned())
                .spawn(move || cpu::report(&first, &stopped))
                .map_err(no_thread)?;
            cpu = Some(stop);
        }
        Ok(Self {
            config,
            fingerprint,
            mailboxes,
            threads: Vec::new(),
            ended,
            ending,
            failure: None,
            answered: wishes.newest(),
            wishes,
            _cpu: cpu,
        })
    }

    /// Puts a shard on a thread. When one fails, all are halted.
    ///
    /// # Errors
    ///
    /// [`StartError::System`] if the system gives no thread.
    pub fn spawn(
        &mut self,
        shard: ShardId,
        body: impl FnOnce() -> Result<(), RunError> + Send + 'static,
    ) -> Result<(), StartError> {
        let ending = self.ending.clone();
        let mailboxes = Arc::clone(&self.mailboxes);
        let thread = thread::Builder::new()
            .name(format!("shard-{shard}"))
            .spawn(move || {
                // What a panic leaves half done dies with the shard.
                let outcome =
                    catch_unwind(AssertUnwindSafe(body)).unwrap_or(Err(RunError::Panicked(shard)));
                if let Err(problem) = &outcome {
                    error!(%shard, "the node stops: {problem}");
                    halt(&mailboxes);
                }
                // Nobody listens any more if the node was given up as hanging.
                let _ = ending.send((shard, outcome));
            })
            .map_err(no_thread)?;
        self.threads.push((shard, thread));
        Ok(())
    }

    /// Where the node listens, as bound.
    pub fn listening(&self) -> &[Listening] {
        &self.config.listening
    }

    /// The media port of each shard, as bound.
    pub fn media(&self) -> &[SocketAddr] {
        &self.config.media
    }

    /// The SHA-256 of the node's certificate, as `<fingerprint>` wants it.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// The line that says where the node listens: `ready`, then `ws=ADDR:PORT` and so on for
    /// what is on, `media=ADDR:PORT,PORT…` and `node=NAME`.
    pub fn ready_line(&self) -> String {
        ready_line(&self.config)
    }

    /// Waits, at most so long, until every shard has ended by itself.
    ///
    /// `None`: some still run. An error is the first that a shard ended with.
    pub fn wait(&mut self, at_most: Duration) -> Option<Result<(), RunError>> {
        let deadline = Instant::now() + at_most;
        while !self.threads.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let (shard, outcome) = self.ended.recv_timeout(left).ok()?;
            if let Some(index) = self.threads.iter().position(|(id, _)| *id == shard) {
                let (_, thread) = self.threads.swap_remove(index);
                // It said its last word, so this does not wait, and its panic was caught.
                let _ = thread.join();
            }
            self.failure = self.failure.take().or(outcome.err());
        }
        Some(self.failure.take().map_or(Ok(()), Err))
    }

    /// Goes on with the settings, certificates and pages that `read` makes of those that the node
    /// has. Whoever is connected stays, and whoever asked for it is told what came of it.
    ///
    /// What the node is bound to stays as it is until the next start, with a warning if the plan
    /// has it otherwise.
    ///
    /// # Errors
    ///
    /// What `read` ends with, and [`StartError::Settings`] if the settings name this very node as
    /// its own edge; then nothing changes.
    pub fn reload(
        &mut self,
        read: impl FnOnce(&Config) -> Result<Plan, StartError>,
    ) -> Result<(), StartError> {
        // Wishes that come while it reads are for what the files say then.
        let wishes = self.wishes.newest();
        let outcome = read(&self.config).and_then(|plan| self.go_on_with(plan));
        // A second round of letters: before anybody hears that new settings are in force, every
        // shard has them in its mailbox.
        let told = outcome.as_ref().copied().map_err(|problem| problem.to_string().into());
        for (mailbox, wish) in self.mailboxes.iter().zip(&wishes) {
            let reloaded = Command::Reloaded { wish: *wish, outcome: told.clone() };
            // A full mailbox has a reader that hangs, which is the end of the node anyway.
            let _ = mailbox.post(Letter::Command(reloaded));
        }
        self.answered = wishes;
        outcome
    }

    /// Whether a shard wishes to have the settings read again: [`Running::reload`] answers it.
    pub fn is_to_reload(&self) -> bool {
        self.wishes.newest() != self.answered
    }

    fn go_on_with(&mut self, plan: Plan) -> Result<(), StartError> {
        let mut own = interface_addresses();
        own.extend(&self.config.addresses);
        plan.settings.check_self(&self.config.listening, &own)?;
        let before = &self.config.settings;
        for (what, same) in [
            ("ip", before.ip == plan.settings.ip),
            ("ip_local", before.ip_local == plan.settings.ip_local),
            ("a listener's port", before.ports == plan.settings.ports),
            ("media_port_from", before.media_port_from == plan.settings.media_port_from),
            ("shards", before.shards == plan.settings.shards),
            ("node.id", before.node_id == plan.settings.node_id),
        ] {
            if !same {
                warn!("{what} changed: that takes effect with the next start");
            }
        }
        let Plan { settings, pages, tls, link_roots, hook_roots, .. } = plan;
        let before = Config::clone(&self.config);
        let config = Config { settings, pages, tls, link_roots, hook_roots, ..before };
        let new = fingerprint(&config.tls);
        if new != self.fingerprint {
            info!("SHA-256 fingerprint of the certificate: {new}");
            self.fingerprint = new;
        }
        self.config = Arc::new(config);
        self.tell(&Command::Reload(Arc::clone(&self.config)));
        Ok(())
    }

    fn tell(&self, command: &Command) {
        for mailbox in self.mailboxes.iter() {
            // A full mailbox has a reader that hangs, which is the end of the node anyway.
            let _ = mailbox.post(Letter::Command(command.clone()));
        }
    }

    /// Drains the node and waits for its end: new far sides are refused, the others are told,
    /// and what is left after the drain's time limit is cut off.
    ///
    /// # Errors
    ///
    /// What a shard ended with, if not in good order.
    pub fn stop(&mut self) -> Result<(), RunError> {
        // A shard whose mailbox is full is halted below.
        self.tell(&Command::Drain);
        if let Some(outcome) = self.wait(self.config.drain_time_max() + FLUSH) {
            return outcome;
        }
        warn!("{} shards did not drain in time and are cut off", self.threads.len());
        self.halt()
    }

    fn halt(&mut self) -> Result<(), RunError> {
        halt(&self.mailboxes);
        let outcome = self.wait(HALT);
        for (shard, _) in self.threads.drain(..) {
            error!(%shard, "does not answer and is left behind");
        }
        outcome.unwrap_or(Ok(()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            // Whoever drops a node has no use for its last error, which is logged.
            let _ = self.halt();
        }
    }
}

fn halt(mailboxes: &[Mailbox]) {
    for mailbox in mailboxes {
        // A full mailbox belongs to a shard that hangs; it is left behind.
        let _ = mailbox.post(Letter::Halt);
    }
}

fn no_thread(source: std::io::Error) -> StartError {
    StartError::System { what: "cannot start a thread", source }
}

fn ready_line(config: &Config) -> String {
    let mut line = "ready".to_owned();
    for Listening { service, addr } in &config.listening {
        let name = port_key(*service).trim_end_matches(".port");
        // With several addresses to bind, the first one of each kind stands for all.
        if !line.contains(&format!(" {name}=")) {
            let _ = write!(line, " {name}={addr}");
        }
    }
    for (index, addr) in config.media.iter().enumerate() {
        let _ = match index {
            0 => write!(line, " media={addr}"),
            _ => write!(line, ",{}", addr.port()),
        };
    }
    let _ = write!(line, " node={}", config.node);
    line
}
