//! Who may open a link to this node.

use super::{Connections, FarEnd, Phase};
use crate::config::Config;
use crate::id::{ConnId, ShardId};
use crate::message::{Message, ToNode};
use crate::outbox::Ctx;
use crate::output::Event;
use crate::signal::{Greeting, LinkTag, Session};
use crate::stream::http::{Request, Response};
use crate::token::LinkRefusal;

impl Connections {
    /// Opens a session, unless a token came along: then it has to be a node's, and one that nobody
    /// used before, which shard 0 knows.
    pub(super) fn upgrade(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, request: &Request) {
        let keys = ctx.config.settings.cdn_auth_keys.as_ref();
        let Some((keys, token)) = keys.zip(bearer(request)) else {
            self.open_session(ctx, conn, FarEnd::Anybody);
            return;
        };
        let host = request.header("host").unwrap_or_default();
        match keys.verify_link(token, host, ctx.clock.unix(), &ctx.config.limits) {
            Ok(proof) => {
                let Some(entry) = self.table.get_mut(&conn) else { return };
                entry.phase = Phase::Asked { deadline: ctx.now + ctx.config.limits.answer_timeout };
                let word = ToNode::Presented { shard: self.shard, conn, proof };
                ctx.out.post(ShardId::NODE, Message::Node(word));
            }
            Err(refusal) => self.turn_away(ctx, conn, refusal),
        }
    }

    /// Opens the session of a node that may open a link, or turns it away.
    pub(super) fn admit(
        &mut self,
        ctx: &mut Ctx<'_>,
        conn: ConnId,
        outcome: Result<String, LinkRefusal>,
    ) {
        match outcome {
            Ok(node) => self.open_session(ctx, conn, FarEnd::Proven(node)),
            Err(refusal) => self.turn_away(ctx, conn, refusal),
        }
    }

    fn open_session(&mut self, ctx: &Ctx<'_>, conn: ConnId, far: FarEnd) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        entry.stream.accept_upgrade();
        entry.far = far;
        entry.phase = Phase::Session(Session::new(ctx.now, &ctx.config.limits));
    }

    fn turn_away(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, refusal: LinkRefusal) {
        let why = refusal.to_string();
        self.warn_of_link(ctx, conn, why.clone());
        let Some(entry) = self.table.get_mut(&conn) else { return };
        entry.stream.respond(Response::unauthorized(&why));
        entry.phase = Phase::Http { idle: ctx.now + ctx.config.limits.http_idle_timeout };
    }

    /// Ends the links that proved nothing while there was no key.
    pub(super) fn end_unproven_links(&mut self, ctx: &mut Ctx<'_>) {
        let unproven = self.table.iter().filter(|(_, entry)| entry.far == FarEnd::Claimed);
        for conn in unproven.map(|(conn, _)| *conn).collect::<Vec<_>>() {
            self.end_link(ctx, conn, LinkRefusal::Missing);
            self.after(ctx, conn);
        }
    }

    pub(super) fn end_link(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, refusal: LinkRefusal) {
        let why = refusal.to_string();
        self.say_goodbye(conn, &why);
        self.warn_of_link(ctx, conn, why);
    }

    /// Tells the operator, who is to notice, and whose disk is not to be filled by strangers.
    fn warn_of_link(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, why: String) {
        self.refuse(ctx, conn, &why);
        if self.next_warning.is_none_or(|next| ctx.now >= next) {
            self.next_warning = Some(ctx.now + ctx.config.limits.link_refusal_interval);
            ctx.out.event(Event::LinkRefused { why });
        }
    }
}

/// Puts the name that a node proved in the place of the one that it claims. Without a proof a claim
/// is taken for the truth as long as there is no key to ask for one.
pub(super) fn identify(
    config: &Config,
    far: &FarEnd,
    greeting: &mut Greeting,
) -> Result<FarEnd, LinkRefusal> {
    let Some(tag) = &mut greeting.link else { return Ok(FarEnd::Anybody) };
    let far = match far {
        FarEnd::Proven(node) => {
            *tag = LinkTag { node: node.clone(), proven: true };
            far.clone()
        }
        FarEnd::Anybody | FarEnd::Claimed if config.settings.cdn_auth_keys.is_some() => {
            return Err(LinkRefusal::Missing);
        }
        FarEnd::Anybody | FarEnd::Claimed => FarEnd::Claimed,
    };
    if tag.node == config.node { Err(LinkRefusal::Itself) } else { Ok(far) }
}

/// The token of a request (RFC 6750, section 2.1).
fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
