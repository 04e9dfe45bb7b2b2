//! Whom a shard lets in while its node is full, taken out of service, or about to end.

use super::{Connections, FarEnd, Phase};
use crate::id::ConnId;
use crate::message::Door;
use crate::outbox::Ctx;
use crate::signal::{self, Info, Request, Status, fail};
use crate::stream::http::Response;

/// A close code of RFC 6455, registered later (RFC 6455, section 11.7).
const TRY_AGAIN_LATER: u16 = 1013;

/// Seconds after which whoever was turned away may ask again (RFC 9110, section 10.2.3).
const RETRY_AFTER: &str = "30";

/// The answer to whoever wants to come in while nobody may.
pub(super) fn shut() -> Response {
    let response = Response::error(503, "This server is shutting down.");
    response.with_header("Retry-After", RETRY_AFTER)
}

impl Door {
    /// Whether a session may begin, of a link or of a page.
    pub(super) const fn lets_in(self, is_link: bool) -> bool {
        match self {
            Self::Open => true,
            Self::Full | Self::Passive => is_link,
            Self::Draining => false,
        }
    }
}

impl Connections {
    /// Has it that only these are let in from now on.
    pub(crate) fn mind(&mut self, door: Door) {
        self.door = door;
    }

    /// Ends a dialogue that came when nobody is to come. It has not begun for the node.
    pub(super) fn show_out(&mut self, ctx: &mut Ctx<'_>, conn: ConnId) {
        let Some(entry) = self.table.get_mut(&conn) else { return };
        entry.phase = Phase::Http { idle: ctx.now + ctx.config.limits.drain_timeout };
        let info = match self.door {
            Door::Full => Info::Full,
            Door::Passive => Info::Passive,
            Door::Open | Door::Draining => Info::ShuttingDown,
        };
        self.send_away(ctx, conn, info);
    }

    /// Ends a dialogue for a reason that may be gone in a while.
    pub(super) fn send_away(&mut self, ctx: &mut Ctx<'_>, conn: ConnId, info: Info) {
        self.refuse(ctx, conn, info.text());
        let Some(entry) = self.table.get_mut(&conn) else { return };
        // Whoever reads too slowly for this learns it from the close frame, or not at all.
        let _ = entry.stream.send_text(&fail("", info.text()));
        entry.stream.close(TRY_AGAIN_LATER, info.text());
    }

    /// What an address is told that asks for too many streams. An origin pushes all that it has at
    /// once; but whoever did not prove to be one could say so too.
    pub(super) fn refuse_join(
        &mut self,
        ctx: &mut Ctx<'_>,
        conn: ConnId,
        request: &Request,
    ) -> Option<String> {
        let (wanted, published) = request.stream()?;
        let entry = self.table.get(&conn)?;
        if published && matches!(entry.far, FarEnd::Proven(_)) {
            return None;
        }
        let (address, capacity) = (entry.flow.remote.ip(), &ctx.config.settings.capacity);
        if self.addresses.join(ctx.now, address, capacity) {
            return None;
        }
        self.refuse(ctx, conn, "streams are asked for too fast (address.joins_per_second)");
        Some(signal::status(Status {
            media_session: &wanted.media_session,
            name: &wanted.name,
            published,
            status: "FAILED",
            info: Some(Info::TooFast),
            muted: None,
        }))
    }
}
