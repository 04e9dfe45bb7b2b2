//! What the unit tests of several parts need: someone who lends out a context and collects what
//! comes back.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::ShardId;
use crate::clock::WallClock;
use crate::config::{Config, Listening, Settings, SettingsFiles, TlsIdentity};
use crate::input::Service;
use crate::limits::Limits;
use crate::outbox::{Ctx, Outbox};
#[cfg(test)]
use crate::output::Output;
use crate::pages::Pages;
use crate::rng::Rng;

/// Stands in for the shard around one part.
pub(crate) struct Bench {
    pub(crate) now: Instant,
    pub(crate) clock: WallClock,
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) out: Outbox,
}

impl Bench {
    /// Shard 0 of a node with these settings, `flashphoner.properties` and `loadbalancing.xml`.
    pub(crate) fn with(properties: &str, balancing: Option<&str>) -> Self {
        let clock = WallClock::default();
        clock.set(Duration::from_secs(784_111_777));
        Self {
            now: start(),
            clock,
            config: config(properties, balancing),
            rng: Rng::new([7; 32]),
            out: Outbox::new(ShardId::NODE),
        }
    }

    /// Shard 0 of a node with the default settings.
    pub(crate) fn new() -> Self {
        Self::with("", None)
    }

    /// The same with other bounds.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn bounded(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    pub(crate) fn ctx(&mut self) -> Ctx<'_> {
        let Self { now, clock, config, rng, out } = self;
        Ctx { now: *now, clock, config, rng, out }
    }

    /// Everything that was asked of the runtime since the last call.
    #[cfg(test)]
    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.out.pop()).collect()
    }
}

/// Some instant to count from.
pub(crate) fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
    Instant::now()
}

fn config(properties: &str, balancing: Option<&str>) -> Config {
    let files = SettingsFiles { properties, balancing };
    let settings = Settings::parse(files, &[]).expect("the test's settings are valid").0;
    let provider = crate::crypto_provider();
    static DTLS: OnceLock<str0m::config::DtlsCert> = OnceLock::new();
    let dtls = DTLS.get_or_init(|| {
        provider.dtls_provider.generate_certificate().expect("a certificate can be made")
    });
    let listening = |service, port: u16| Listening { service, addr: ([0; 4], port).into() };
    Config {
        settings,
        node: "bench".to_owned(),
        listening: vec![listening(Service::Ws, 8080), listening(Service::Http, 8081)],
        media: vec![([0; 4], 31001).into()],
        addresses: vec![[192, 0, 2, 1].into(), "2001:db8::1".parse().expect("an address")],
        tls: TlsIdentity { chain: Vec::new(), key: Vec::new() },
        link_roots: Vec::new(),
        hook_roots: Vec::new(),
        dtls: dtls.clone(),
        crypto: Arc::new(provider),
        pages: Pages::default(),
        limits: Limits::default(),
    }
}
