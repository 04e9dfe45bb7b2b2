//! Asking a backend: so many at a time, the others in turn, and each for so long.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Act, Refusal};
use crate::config::Hook;
use crate::dialer::{Dialer, Numbers, Purpose, Target};
use crate::id::{ConnId, LookupId};
use crate::input::Hangup;
use crate::outbox::Ctx;
use crate::output::{Linger, Output};
use crate::signal::Info;
use crate::stream::http::Outbound;
use crate::stream::{Incoming, tls};
use crate::timers::Timers;

/// Names one question to the backend.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct AskId(u64);

/// What came of a question.
pub(crate) type Verdict = (AskId, Result<(), Refusal>);

/// TLS for dialing, or why there is none.
type TlsSetting = Result<Arc<rustls::ClientConfig>, rustls::Error>;

/// All questions that a backend has not answered yet.
#[derive(Debug)]
pub(crate) struct Hooks {
    /// The settings that questions go by.
    backend: Backend,
    /// For `https`; made once, because the authorities are many.
    tls: Option<TlsSetting>,
    /// The backend's addresses, and since when they are known. They are looked up once for all who
    /// wait: whatever holds a look-up up holds up no other name.
    addrs: Option<(Instant, Vec<IpAddr>)>,
    /// The look-up under way, and since when; an answer may get lost.
    lookup: Option<(LookupId, Instant)>,
    running: BTreeMap<AskId, Question>,
    waiting: VecDeque<(AskId, Question)>,
    deadlines: Timers<AskId>,
    numbers: Numbers,
    last: u64,
    /// Whether the backend did not answer last time; said once in the log.
    failing: bool,
}

/// Where the backend is, and who may vouch for it.
#[derive(PartialEq, Eq, Debug)]
struct Backend {
    hook: Option<Hook>,
    roots: Vec<Vec<u8>>,
}

impl Backend {
    fn of(ctx: &Ctx<'_>) -> Self {
        let hook = ctx.config.settings.access.hook.clone();
        let is_secure = hook.as_ref().is_some_and(|hook| hook.secure);
        let roots = if is_secure { ctx.config.hook_roots.clone() } else { Vec::new() };
        Self { hook, roots }
    }
}

#[derive(Debug)]
struct Question {
    dialer: Dialer,
    /// Whether no answer is a yes.
    allow_on_error: bool,
    /// From when on it is too late to put it: with less than a tenth of its time left, there would
    /// be no answer, and a backend that is too slow has enough to do.
    too_late: Instant,
}

impl Hooks {
    pub(crate) fn new(ctx: &Ctx<'_>) -> Self {
        Self {
            backend: Backend::of(ctx),
            tls: tls_setting(ctx),
            addrs: None,
            lookup: None,
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            deadlines: Timers::new(),
            numbers: Numbers::hooks(),
            last: 0,
            failing: false,
        }
    }

    /// Takes over the settings of `ctx`, which have changed, for the questions to come. Those that
    /// still wait for their turn have nobody to be put to any more, if the backend is another.
    pub(crate) fn reload(&mut self, ctx: &mut Ctx<'_>) -> Vec<Verdict> {
        let backend = Backend::of(ctx);
        if backend == self.backend {
            return Vec::new();
        }
        self.backend = backend;
        (self.tls, self.addrs, self.lookup) = (tls_setting(ctx), None, None);
        self.give_up_waiting(ctx, "the settings changed meanwhile")
    }

    /// Asks whether somebody may do this, which the document tells.
    ///
    /// # Errors
    ///
    /// More wait for the backend already than may, or the document is too long.
    pub(crate) fn ask(
        &mut self,
        ctx: &mut Ctx<'_>,
        act: Act,
        document: String,
    ) -> Result<AskId, Refusal> {
        let limits = &ctx.config.limits;
        let Some(hook) = &ctx.config.settings.access.hook else {
            return Err(Refusal::new(Info::BackendSilent, "auth.hook.url is not set"));
        };
        if document.len() > limits.hook_bytes_max {
            let why = format!("the message is longer than {} bytes", limits.hook_bytes_max);
            return Err(Refusal::new(Info::TooLongForBackend, why));
        }
        if self.waiting.len() >= limits.hooks_waiting_max {
            let why = "too many wait for the backend: it is too slow";
            return Err(Refusal::new(Info::BackendBusy, why));
        }
        self.last += 1;
        let id = AskId(self.last);
        let question = Question {
            dialer: Dialer::new(target(hook, self.tls.as_ref(), act, document)),
            allow_on_error: hook.allow_on_error,
            too_late: ctx.now + hook.timeout.mul_f32(0.9),
        };
        self.deadlines.set(id, Some(ctx.now + hook.timeout));
        self.waiting.push_back((id, question));
        self.start_next(ctx);
        Ok(id)
    }

    /// Nobody wants to know the answer any more.
    pub(crate) fn forget(&mut self, ctx: &mut Ctx<'_>, id: AskId) {
        self.deadlines.set(id, None);
        if let Some(mut question) = self.running.remove(&id) {
            question.dialer.stop(ctx, Linger::Abort);
            self.start_next(ctx);
        } else {
            self.waiting.retain(|(waiting, _)| *waiting != id);
        }
    }

    /// Whether the operator was told that the backend does not do its work.
    #[cfg(test)]
    pub(crate) fn is_failing(&self) -> bool {
        self.failing
    }

    /// How many questions are open.
    pub(crate) fn len(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// One question whose time is over.
    pub(crate) fn handle_timeout(&mut self, ctx: &mut Ctx<'_>) -> Option<Verdict> {
        let id = self.deadlines.pop_due(ctx.now)?;
        self.conclude(ctx, id, Err("the backend did not answer in time".to_owned()))
    }

    pub(crate) fn resolved(
        &mut self,
        ctx: &mut Ctx<'_>,
        lookup: LookupId,
        addrs: &[IpAddr],
    ) -> Vec<Verdict> {
        if self.lookup.is_none_or(|(own, _)| own != lookup) {
            return Vec::new();
        }
        self.lookup = None;
        if addrs.is_empty() {
            let why = "the backend's name has no address";
            self.note(Some(why));
            return self.give_up_waiting(ctx, why);
        }
        self.addrs = Some((ctx.now, addrs.to_vec()));
        self.start_next(ctx);
        Vec::new()
    }

    pub(crate) fn connected(&mut self, ctx: &mut Ctx<'_>, conn: ConnId) -> Option<Verdict> {
        let (id, question) = self.on(conn)?;
        let outcome = question.dialer.connected(ctx);
        outcome.err().and_then(|why| self.conclude(ctx, id, Err(why)))
    }

    pub(crate) fn received(
        &mut self,
        ctx: &mut Ctx<'_>,
        conn: ConnId,
        bytes: &[u8],
    ) -> Option<Verdict> {
        let (id, question) = self.on(conn)?;
        let mut incoming = VecDeque::new();
        let outcome = question.dialer.received(ctx, bytes, &mut incoming);
        self.read(ctx, id, incoming, outcome)
    }

    pub(crate) fn closed(
        &mut self,
        ctx: &mut Ctx<'_>,
        conn: ConnId,
        cause: Hangup,
    ) -> Option<Verdict> {
        let mut running = self.running.iter_mut();
        let (id, question) = running.find(|(_, question)| question.dialer.is_on(conn))?;
        let mut incoming = VecDeque::new();
        let closed = question.dialer.closed(ctx, &mut self.numbers, cause, &mut incoming);
        let id = *id;
        if closed.is_err() {
            // It may have moved.
            self.addrs = None;
        }
        self.read(ctx, id, incoming, closed)
    }

    pub(crate) fn dialer_of(&self, conn: ConnId) -> Option<&Dialer> {
        let dialers = self.running.values().map(|question| &question.dialer);
        dialers.into_iter().find(|dialer| dialer.is_on(conn))
    }

    pub(crate) fn wrote(&mut self, conn: ConnId, n: usize) {
        if let Some((_, question)) = self.on(conn) {
            question.dialer.wrote(n);
        }
    }

    fn on(&mut self, conn: ConnId) -> Option<(AskId, &mut Question)> {
        let mut running = self.running.iter_mut();
        let (id, question) = running.find(|(_, question)| question.dialer.is_on(conn))?;
        Some((*id, question))
    }

    /// Puts the questions whose turn it is, once it is known where.
    fn start_next(&mut self, ctx: &mut Ctx<'_>) {
        let limits = &ctx.config.limits;
        while self.running.len() < limits.hooks_running_max && !self.waiting.is_empty() {
            let known = self.addrs.as_ref();
            let known = known.filter(|(since, _)| ctx.now < *since + limits.hook_name_age_max);
            let Some((_, addrs)) = known else { return self.look_up(ctx) };
            // Whoever comes too late is told so when the time is over.
            let in_time = self.waiting.iter().position(|(_, it)| it.too_late > ctx.now);
            let next = in_time.and_then(|at| self.waiting.remove(at));
            let Some((id, mut question)) = next else { return };
            // There is an address, so it is on its way.
            let _ = question.dialer.resolved(ctx, &mut self.numbers, addrs);
            self.running.insert(id, question);
        }
    }

    fn look_up(&mut self, ctx: &mut Ctx<'_>) {
        let Some((_, question)) = self.waiting.front() else { return };
        let age_max = ctx.config.limits.hook_name_age_max;
        if self.lookup.is_none_or(|(_, since)| ctx.now >= since + age_max) {
            let lookup = self.numbers.lookup();
            self.lookup = Some((lookup, ctx.now));
            let host = question.dialer.host().to_owned();
            ctx.out.push(Output::Resolve { lookup, host });
        }
    }

    /// Nobody can be asked: whoever waits is told.
    fn give_up_waiting(&mut self, ctx: &mut Ctx<'_>, why: &str) -> Vec<Verdict> {
        let waiting = std::mem::take(&mut self.waiting);
        let judged = waiting.into_iter().map(|(id, question)| {
            self.deadlines.set(id, None);
            (id, judge(ctx, question, Err(why.to_owned())).1)
        });
        judged.collect()
    }

    /// Takes the answer, if it is whole; else the conversation may have ended without one.
    fn read(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: AskId,
        incoming: VecDeque<Incoming>,
        outcome: Result<(), String>,
    ) -> Option<Verdict> {
        let status = incoming.iter().find_map(|incoming| match incoming {
            Incoming::Response { status, .. } => Some(*status),
            Incoming::Request(_)
            | Incoming::Upgrade(_)
            | Incoming::Opened
            | Incoming::Text(_)
            | Incoming::Closed => None,
        });
        match (status, outcome) {
            (Some(status), _) => self.conclude(ctx, id, Ok(status)),
            (None, Err(why)) => self.conclude(ctx, id, Err(why)),
            (None, Ok(())) => None,
        }
    }

    /// Makes a verdict of the status that came, or of why none did, and goes on with the next.
    fn conclude(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: AskId,
        answer: Result<u16, String>,
    ) -> Option<Verdict> {
        self.deadlines.set(id, None);
        let question = match self.running.remove(&id) {
            Some(question) => question,
            None => {
                let at = self.waiting.iter().position(|(waiting, _)| *waiting == id)?;
                self.waiting.remove(at)?.1
            }
        };
        let (failure, outcome) = judge(ctx, question, answer);
        self.note(failure.as_deref());
        self.start_next(ctx);
        Some((id, outcome))
    }

    /// Tells the operator of a backend that does not do its work, once.
    fn note(&mut self, failure: Option<&str>) {
        match failure {
            Some(why) if !self.failing => tracing::warn!(why, "auth.hook.url is of no use"),
            None if self.failing => tracing::info!("auth.hook.url answers again"),
            Some(_) | None => {}
        }
        self.failing = failure.is_some();
    }
}

/// What an answer, or that there is none, means to whoever asked, and what was wrong with it.
fn judge(
    ctx: &mut Ctx<'_>,
    mut question: Question,
    answer: Result<u16, String>,
) -> (Option<String>, Result<(), Refusal>) {
    let how = if answer.is_ok() { Linger::Flush } else { Linger::Abort };
    question.dialer.stop(ctx, how);
    let (failure, outcome) = match answer {
        Ok(200) => (None, Ok(())),
        Ok(403) => (None, Err(Refusal::new(Info::BackendRefused, "the backend refused it"))),
        Ok(status) => undecided(format!("the backend answered with status {status}")),
        Err(why) => undecided(why),
    };
    let allowed = failure.is_some() && question.allow_on_error;
    (failure, if allowed { Ok(()) } else { outcome })
}

/// Why the backend did not decide, for the log and for whoever asked.
fn undecided(why: String) -> (Option<String>, Result<(), Refusal>) {
    (Some(why.clone()), Err(Refusal::new(Info::BackendSilent, why)))
}

fn tls_setting(ctx: &Ctx<'_>) -> Option<TlsSetting> {
    let hook = ctx.config.settings.access.hook.as_ref();
    let secure = hook.is_some_and(|hook| hook.secure);
    secure.then(|| tls::client_config(&ctx.config.hook_roots, None, ctx.clock.clone()))
}

fn target(hook: &Hook, tls: Option<&TlsSetting>, act: Act, document: String) -> Target {
    let path = match act {
        Act::Publish => format!("{}/publishStream", hook.path),
        Act::Play => format!("{}/playStream", hook.path),
    };
    Target {
        host: hook.host.clone(),
        port: hook.port,
        tls: tls.filter(|_| hook.secure).cloned(),
        purpose: Purpose::Ask(Outbound::post(&path, document)),
    }
}
