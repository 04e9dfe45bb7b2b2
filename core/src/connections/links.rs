//! Who may open a link to this node.

use super::{Connections, Debtor, FarEnd, Phase};
use crate::access::{bearer, of_upgrade};
use crate::config::{Config, Secret};
use crate::id::{ConnId, ShardId};
use crate::message::{Message, ToNode};
use crate::outbox::Ctx;
use crate::output::Event;
use crate::signal::{Greeting, LinkTag, Session};
use crate::stream::http::{Request, Response};
use crate::token::LinkRefusal;

impl Connections {
    /// Opens a session, unless a node's token came along: then it has to be one that nobody used
    /// before, which shard 0 knows.
    pub(super) fn upgrade(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, request: &Request) {
        let settings = &ctx.config.settings;
        let Some((keys, shown)) = settings.cdn_auth_keys.as_ref().zip(bearer(request)) else {
            self.open_page(ctx, conn, request, FarEnd::Anybody);
            return;
        };
        let host = request.header("host").unwrap_or_default();
        match keys.verify_link(shown, host, ctx.clock.unix(), &ctx.config.limits) {
            Ok(proof) => {
                let Some(entry) = self.table.get_mut(&conn) else { return };
                let deadline = ctx.now + ctx.config.limits.answer_timeout;
                entry.phase = Phase::Asked { by: Debtor::Node, deadline, origin: None };
                let word = ToNode::Presented { shard: self.shard, conn, proof };
                ctx.out.post(ShardId::NODE, Message::Node(word));
            }
            // Publishers and viewers show theirs in the same place.
            Err(refusal) if settings.access.takes_tokens() && refusal.is_of_no_node() => {
                self.open_page(ctx, conn, request, FarEnd::Stranger(refusal));
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
            Ok(node) => self.open_session(ctx, conn, FarEnd::Proven(node), None),
            Err(refusal) => self.turn_away(ctx, conn, refusal),
        }
    }

    /// Opens the session of whoever is no proven node, with the token that came along.
    fn open_page(&mut self, ctx: &Ctx<'_>, conn: ConnId, request: &Request, far: FarEnd) {
        match of_upgrade(request, &ctx.config.limits) {
            Ok(token) => self.open_session(ctx, conn, far, token),
            Err(text) => {
                let Some(entry) = self.table.get_mut(&conn) else { return };
                entry.stream.respond(Response::error(400, &text));
            }
        }
    }

    fn open_session(&mut self, ctx: &Ctx<'_>, conn: ConnId, far: FarEnd, token: Option<Secret>) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        entry.stream.accept_upgrade();
        (entry.far, entry.token) = (far, token);
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
        FarEnd::Stranger(refusal) if config.settings.cdn_auth_keys.is_some() => {
            return Err(*refusal);
        }
        FarEnd::Anybody | FarEnd::Claimed if config.settings.cdn_auth_keys.is_some() => {
            return Err(LinkRefusal::Missing);
        }
        FarEnd::Anybody | FarEnd::Claimed | FarEnd::Stranger(_) => FarEnd::Claimed,
    };
    if tag.node == config.node { Err(LinkRefusal::Itself) } else { Ok(far) }
}
