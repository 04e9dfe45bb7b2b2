//! Who is let in: what becomes of a wish between its coming and its granting.

use serde_json::{Map, Value, json};

use super::{MediaSession, Node, PlayId, SessionEntry, say_status};
use crate::access::{self, Act, AskId, Asker, Decision, Grant, Refusal, Verdict};
use crate::config::Secret;
use crate::id::{SessionId, StreamId};
use crate::outbox::Ctx;
use crate::output::Event;
use crate::signal::{Info, Status, StreamRequest};

/// Why someone was let in and may not stay.
const EXPIRED: &str = "the token has expired";

/// A wish that the backend is asked about.
#[derive(Debug)]
pub(super) struct Asked {
    session: SessionId,
    act: Act,
    request: StreamRequest,
}

impl Node {
    /// Grants a wish that is in order, refuses it, or asks the backend about it.
    pub(super) fn admit(
        &mut self,
        ctx: &mut Ctx<'_>,
        session: SessionId,
        act: Act,
        request: StreamRequest,
    ) {
        let Some(entry) = self.sessions.get(&session) else { return };
        let token = access::of_stream(request.token.as_ref(), entry.token.as_ref());
        match access::decide(ctx, act, entry.asker(), &request.name, token) {
            Decision::Allow(grant) => self.grant(ctx, session, act, request, grant),
            Decision::Refuse(refusal) => self.refuse(ctx, session, act, &request, &refusal),
            Decision::Ask => {
                if let Err(info) = self.has_room(ctx, session, act) {
                    return tell(ctx, session, act, &request, "FAILED", info);
                }
                let document = document(ctx, session, entry, &request);
                match self.hooks.ask(ctx, act, document) {
                    Ok(id) => self.wait_for_backend(id, Asked { session, act, request }),
                    Err(refusal) => self.refuse(ctx, session, act, &request, &refusal),
                }
            }
        }
    }

    /// Whether a session may know that a stream is here. A backend is not asked about that.
    pub(super) fn may_see(
        &self,
        ctx: &Ctx<'_>,
        session: SessionId,
        name: &str,
    ) -> Result<(), Info> {
        let Some(entry) = self.sessions.get(&session) else { return Err(Info::Failed) };
        match access::decide(ctx, Act::Play, entry.asker(), name, entry.token.as_ref()) {
            Decision::Allow(_) | Decision::Ask => Ok(()),
            Decision::Refuse(refusal) => Err(refusal.info),
        }
    }

    fn wait_for_backend(&mut self, id: AskId, asked: Asked) {
        let media_session = asked.request.media_session.clone();
        self.note_media(asked.session, media_session, MediaSession::Asked(id));
        self.asked.insert(id, asked);
    }

    /// The backend has decided, or its time is over.
    pub(super) fn heard_backend(&mut self, ctx: &mut Ctx<'_>, verdict: Option<Verdict>) {
        let Some((id, outcome)) = verdict else { return };
        let Some(Asked { session, act, request }) = self.asked.remove(&id) else { return };
        self.forget_media(session, &request.media_session);
        match outcome {
            Ok(()) => self.grant(ctx, session, act, request, Grant::default()),
            Err(refusal) => self.refuse(ctx, session, act, &request, &refusal),
        }
    }

    /// Takes back a wish that the backend has not decided about.
    pub(super) fn stop_asking(&mut self, ctx: &mut Ctx<'_>, id: AskId) {
        let Some(Asked { session, act, request }) = self.drop_asked(ctx, id) else { return };
        let status = match act {
            Act::Publish => "UNPUBLISHED",
            Act::Play => "STOPPED",
        };
        tell(ctx, session, act, &request, status, Info::StoppedByUser);
    }

    /// The same without a word.
    pub(super) fn drop_asked(&mut self, ctx: &mut Ctx<'_>, id: AskId) -> Option<Asked> {
        let asked = self.asked.remove(&id)?;
        self.forget_media(asked.session, &asked.request.media_session);
        self.hooks.forget(ctx, id);
        Some(asked)
    }

    fn grant(
        &mut self,
        ctx: &mut Ctx<'_>,
        session: SessionId,
        act: Act,
        request: StreamRequest,
        grant: Grant,
    ) {
        if let Err(info) = self.has_room(ctx, session, act) {
            return tell(ctx, session, act, &request, "FAILED", info);
        }
        match act {
            Act::Publish => self.publish_granted(ctx, session, request, grant),
            Act::Play => self.play_granted(ctx, session, request, grant.until),
        }
    }

    fn refuse(
        &mut self,
        ctx: &mut Ctx<'_>,
        session: SessionId,
        act: Act,
        request: &StreamRequest,
        refusal: &Refusal,
    ) {
        tell(ctx, session, act, request, "FAILED", refusal.info);
        self.deny(ctx, session, &request.name, act, &refusal.why);
    }

    /// Has the log know. It holds nothing of a token.
    fn deny(&mut self, ctx: &mut Ctx<'_>, session: SessionId, name: &str, act: Act, why: &str) {
        let Some(remote) = self.sessions.get(&session).map(|entry| entry.remote) else { return };
        ctx.out.event(Event::Refused { remote, why: why.to_owned() });
        if self.next_denial.is_none_or(|next| ctx.now >= next) {
            self.next_denial = Some(ctx.now + ctx.config.limits.denial_interval);
            let (name, publishing) = (name.to_owned(), act == Act::Publish);
            ctx.out.event(Event::Denied { name, publishing, why: why.to_owned() });
        }
    }

    /// What allowed someone to publish is over, and so is the stream.
    pub(super) fn publication_expired(&mut self, ctx: &mut Ctx<'_>, id: StreamId) {
        let Some(stream) = self.streams.get(&id) else { return };
        if let (name, Some(publisher)) = (stream.name.clone(), stream.publisher.clone()) {
            self.deny(ctx, publisher.session, &name, Act::Publish, EXPIRED);
        }
        self.end_publication(ctx, id, "FAILED", Info::TokenExpired);
        self.end_stream(ctx, id, Info::StoppedByPublisherStop);
    }

    pub(super) fn play_expired(&mut self, ctx: &mut Ctx<'_>, id: PlayId) {
        let Some(play) = self.plays.get(&id) else { return };
        let (session, name) = (play.session, play.name.clone());
        self.deny(ctx, session, &name, Act::Play, EXPIRED);
        self.end_play(ctx, id, "FAILED", Info::TokenExpired);
    }
}

impl SessionEntry {
    /// Who is at the far end, as far as that has been proven.
    fn asker(&self) -> Asker {
        match &self.link {
            None => Asker::Page,
            Some(link) => Asker::Link { authenticated: link.proven },
        }
    }
}

pub(super) fn tell(
    ctx: &mut Ctx<'_>,
    session: SessionId,
    act: Act,
    request: &StreamRequest,
    status: &'static str,
    info: Info,
) {
    let status = Status {
        media_session: &request.media_session,
        name: &request.name,
        published: act == Act::Publish,
        status,
        info: Some(info),
        muted: None,
    };
    say_status(ctx, session, status);
}

/// What the backend is shown: the message as it came, and who it came from, which nobody can say
/// in another's place.
fn document(
    ctx: &Ctx<'_>,
    session: SessionId,
    entry: &SessionEntry,
    request: &StreamRequest,
) -> String {
    let mut fields: Map<String, Value> = request.fields.0.clone();
    let own = [
        ("nodeId", json!(ctx.config.node)),
        ("appKey", json!(entry.app_key)),
        ("sessionId", json!(format!("{}-{}", session.shard, session.conn))),
        ("remoteAddress", json!(entry.remote.ip().to_canonical())),
        ("mediaSessionId", json!(request.media_session)),
        ("name", json!(request.name)),
        ("mediaProvider", json!("WebRTC")),
        ("sdp", json!(request.sdp)),
    ];
    fields.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let token = access::of_stream(request.token.as_ref(), entry.token.as_ref());
    fields.insert("token".to_owned(), json!(token.map(Secret::reveal)));
    Value::Object(fields).to_string()
}
