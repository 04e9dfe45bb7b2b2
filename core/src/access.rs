//! Who may do what: the one place that decides.
//!
//! A session shows a token, or a backend is asked about it, as `auth.publish` and `auth.play` say.
//! What is decided here is decided once, before a stream begins; a token's end is the end of what
//! it allowed.

mod admin;
mod claims;
mod hook;
mod sources;
#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::config::{Rule, Secret};
use crate::outbox::Ctx;
use crate::signal::Info;
use crate::token::TokenFault;

use self::claims::Claims;

pub(crate) use self::admin::{may_administer, may_change};
pub(crate) use self::hook::{AskId, Hooks, Verdict};
pub(crate) use self::sources::{bearer, of_session, of_stream, of_upgrade};

/// What somebody wants to do with a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    Publish,
    Play,
}

/// Who wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    Page,
    /// A node that says so; whether it proved it.
    Link {
        authenticated: bool,
    },
}

/// What comes of a wish.
#[derive(Debug)]
pub(crate) enum Decision {
    Allow(Grant),
    Refuse(Refusal),
    /// A backend knows.
    Ask,
}

/// A yes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Grant {
    /// Until then, where there is an end.
    pub(crate) until: Option<Instant>,
    /// Who it is for, if a token says so.
    pub(crate) subject: Option<String>,
}

/// A no.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    /// What the far side is told.
    pub(crate) info: Info,
    /// What the log says. It holds nothing of a token.
    pub(crate) why: String,
}

impl Refusal {
    fn new(info: Info, why: impl Into<String>) -> Self {
        Self { info, why: why.into() }
    }
}

/// Decides about a wish for a stream of this name, by the token that [`of_stream`] found.
pub(crate) fn decide(
    ctx: &Ctx<'_>,
    act: Act,
    asker: Asker,
    name: &str,
    token: Option<&Secret>,
) -> Decision {
    let access = &ctx.config.settings.access;
    let rule = match act {
        Act::Publish => access.publish,
        Act::Play => access.play,
    };
    match (rule, act, asker) {
        (Rule::Open, _, _) => return Decision::Allow(Grant::default()),
        // Who publishes was decided at the origin.
        (_, Act::Publish, Asker::Link { authenticated: true }) => {
            return Decision::Allow(Grant::default());
        }
        (_, Act::Publish, Asker::Link { authenticated: false }) => {
            let why = "a link without proof of its node; give both nodes one cdn_auth_key";
            return Decision::Refuse(Refusal::new(Info::LinkNotAuthenticated, why));
        }
        (Rule::Hook, _, _) => return Decision::Ask,
        (Rule::Jwt, _, _) => {}
    }
    match by_token(ctx, act, name, token) {
        Ok(grant) => Decision::Allow(grant),
        Err(refusal) => Decision::Refuse(refusal),
    }
}

/// What a token allows. An end that is too far away to wait for is none.
fn by_token(ctx: &Ctx<'_>, act: Act, name: &str, token: Option<&Secret>) -> Result<Grant, Refusal> {
    let Some(token) = token else {
        return Err(Refusal::new(Info::TokenMissing, "no token came with it"));
    };
    let Some(keys) = &ctx.config.settings.access.jwt_keys else {
        return Err(Refusal::new(Info::TokenInvalid, "auth.jwt.key is not set"));
    };
    let (limits, unix) = (&ctx.config.limits, ctx.clock.unix());
    let token = keys.verify::<Claims>(token.reveal(), unix, limits).map_err(|fault| {
        Refusal::new(info_of(fault), format!("the token is not valid: {fault}"))
    })?;
    if !token.claims.has_role(act) {
        let info = match act {
            Act::Publish => Info::TokenCannotPublish,
            Act::Play => Info::TokenCannotPlay,
        };
        return Err(Refusal::new(info, "the token's role is another"));
    }
    if !token.claims.covers(name) {
        return Err(Refusal::new(Info::TokenForOthers, "the token is for other streams"));
    }
    let end = token.expires_at.map(|end| end.0.saturating_add(limits.token_skew_max));
    let left = end.map(|end| end.saturating_sub(unix));
    let until = left.and_then(|left| ctx.now.checked_add(left));
    Ok(Grant { until, subject: token.claims.subject })
}

fn info_of(fault: TokenFault) -> Info {
    match fault {
        TokenFault::Expired(_) => Info::TokenExpired,
        TokenFault::NotYet(_) => Info::TokenNotYetValid,
        TokenFault::TooLong
        | TokenFault::Malformed
        | TokenFault::Key
        | TokenFault::Claims
        | TokenFault::Endless => Info::TokenInvalid,
    }
}
