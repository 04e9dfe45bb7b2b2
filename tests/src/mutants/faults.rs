//! Faults in what pages and nodes are told, in the node's tables, and in what ties a shard
//! together.

use super::Mutation;

pub(super) const SIGNAL: &[Mutation] = &[
    Mutation {
        name: "status-twice",
        breaks: "every status is sent twice",
        file: "core/src/cdn.rs",
        code: "say(ctx, session, signal::status(status));",
        fault: "say(ctx, session, signal::status(status));\n    \
                say(ctx, session, signal::status(status));",
    },
    Mutation {
        name: "answer-missing",
        breaks: "a viewer's offer is not answered",
        file: "core/src/cdn/play.rs",
        code: "say(ctx, play.session, signal::remote_sdp(&play.media_session, &answer.sdp));",
        fault: "let _ = (ctx, play, &answer.sdp);",
    },
    Mutation {
        name: "stop-not-confirmed",
        breaks: "a viewer who stops is not told STOPPED",
        file: "core/src/cdn/play.rs",
        code: "self.end_play(ctx, id, \"STOPPED\", Info::StoppedByUser);",
        fault: "self.drop_play(ctx, id, Info::StoppedByUser.text());",
    },
    Mutation {
        name: "stopped-for-failed",
        breaks: "viewers are told STOPPED, not FAILED, when their publisher stops",
        file: "core/src/cdn/publish.rs",
        code: "self.end_play(ctx, play, \"FAILED\", info);",
        fault: "self.end_play(ctx, play, \"STOPPED\", info);",
    },
    Mutation {
        name: "mute-not-told",
        breaks: "a late viewer is not told that the publisher is muted",
        file: "core/src/cdn/play.rs",
        code: "muted: Some((entry.audio_muted, entry.video_muted)),",
        fault: "muted: Some((false, entry.video_muted)),",
    },
    Mutation {
        name: "pongs-do-not-count",
        breaks: "a session ends although every ping of it was answered",
        file: "core/src/signal/session.rs",
        code: "pulse.unanswered = 0;",
        fault: "pulse.unanswered += 0;",
    },
];

pub(super) const CDN: &[Mutation] = &[
    Mutation {
        name: "name-not-freed",
        breaks: "the name of a stream that ended stays taken",
        file: "core/src/cdn/publish.rs",
        code: "self.names.remove(&stream.name);",
        fault: "",
    },
    Mutation {
        name: "name-conflict-unchecked",
        breaks: "whoever comes from a publisher's address takes its live stream over",
        file: "core/src/cdn/publish.rs",
        code: "if !same || !(lost || redialed) {",
        fault: "let _ = (lost, redialed);\n            if !same {",
    },
    Mutation {
        name: "stranger-takes-over",
        breaks: "anybody takes over the stream of a publisher who is lost",
        file: "core/src/cdn/publish.rs",
        code: "if !same || !(lost || redialed) {",
        fault: "let _ = same;\n            if !(lost || redialed) {",
    },
    Mutation {
        name: "viewer-not-removed",
        breaks: "a viewer who stopped is still among the stream's",
        file: "core/src/cdn/play.rs",
        code: "entry.viewers.remove(&id);",
        fault: "let _ = entry;",
    },
    Mutation {
        name: "waiting-play-not-removed",
        breaks: "a viewer who gave up waiting is still sent the stream when it comes",
        file: "core/src/cdn/play.rs",
        code: "others.retain(|other| *other != id);",
        fault: "",
    },
    Mutation {
        name: "peer-not-dropped",
        breaks: "a shard is not told that a peer of its is no longer wanted",
        file: "core/src/cdn.rs",
        code: "ctx.out.post(entry.shard, Message::Media(ToMedia::Drop { peer }));",
        fault: "let _ = ctx;",
    },
    Mutation {
        name: "relay-not-torn-down",
        breaks: "edges are not told that a stream ended",
        file: "core/src/cdn/publish.rs",
        code: "self.stop_relays(ctx, id);\n        self.timers.set(Timer::Grace(id), None);",
        fault: "self.timers.set(Timer::Grace(id), None);",
    },
    Mutation {
        name: "left-behind-forgotten",
        breaks: "an edge keeps a stream that ended while its link was down",
        file: "core/src/cdn/relay.rs",
        code: "link.left_behind.extend(names.map(|stream| stream.name.clone()));",
        fault: "drop(names);",
    },
    Mutation {
        name: "relay-not-retried",
        breaks: "a stream that did not reach an edge is not tried again",
        file: "core/src/cdn/relay.rs",
        code: "RelayPhase::Retry { at } => (ctx.now >= at).then_some((*stream, true)),",
        fault: "RelayPhase::Retry { .. } => None,",
    },
    Mutation {
        name: "grace-never-ends",
        breaks: "viewers of a lost publisher wait for ever",
        file: "core/src/cdn/publish.rs",
        code: "self.timers.set(Timer::Grace(id), Some(until));",
        fault: "self.timers.set(Timer::Grace(id), None);",
    },
    Mutation {
        name: "grace-goes-on",
        breaks: "viewers lose a publisher who came back in time",
        file: "core/src/cdn/publish.rs",
        code: "let link = stream.link.is_some();\n        self.timers.set(Timer::Grace(id), None);",
        fault: "let link = stream.link.is_some();",
    },
    Mutation {
        name: "link-backoff-missing",
        breaks: "an edge that is down is dialed again and again without a pause",
        file: "core/src/cdn/link.rs",
        code: "self.phase = Phase::Down { until: ctx.now + half + jitter };",
        fault: "self.phase = Phase::Down { until: ctx.now + (half + jitter) / 1_000 };",
    },
    Mutation {
        name: "link-silence-unnoticed",
        breaks: "a link over which nothing comes any more stays up",
        file: "core/src/cdn/link.rs",
        code: "if ctx.now >= *heard + limits.link_silence_timeout => {",
        fault: "if ctx.now >= *heard + limits.link_silence_timeout * 100 => {",
    },
    Mutation {
        name: "balancer-forgets-whom-it-sent",
        breaks: "everybody who asks between two polls is sent to the same edge",
        file: "core/src/cdn/balancer.rs",
        code: "edge.sent += 1;",
        fault: "",
    },
    Mutation {
        name: "viewers-miscounted",
        breaks: "statistics count viewers who do not play yet, or not any more",
        file: "core/src/cdn/stat.rs",
        code: "viewers.filter(|play| matches!(play.phase, Phase::Playing { .. })).count();",
        fault: "viewers.filter(|play| !matches!(play.phase, Phase::Waiting { .. })).count();",
    },
    Mutation {
        name: "shard-load-only-grows",
        breaks: "peers that left still count where the emptiest shard is looked for",
        file: "core/src/cdn.rs",
        code: "*placed -= 1;",
        fault: "*placed -= 0;",
    },
];

pub(super) const SHARD: &[Mutation] = &[
    Mutation {
        name: "timer-not-forgotten",
        breaks: "a timer that went off cannot be set to the same moment again",
        file: "core/src/timers.rs",
        code: "self.armed.remove(&key);\n        Some(key)",
        fault: "Some(key)",
    },
    Mutation {
        name: "drain-due-at-once",
        breaks: "a shard that is drained wants to be called again, at once, for ever",
        file: "core/src/shard.rs",
        code: "*drain = Drain::Done;",
        fault: "",
    },
    Mutation {
        name: "reload-not-answered",
        breaks: "whoever has settings read again never hears that they are in force",
        file: "core/src/connections.rs",
        code: "self.respond(ctx, conn, routes::reloaded(outcome));",
        fault: "",
    },
    Mutation {
        name: "idle-while-it-trickles",
        breaks: "whoever says a byte in a while is never taken for idle",
        file: "core/src/connections.rs",
        code: "self.read(ctx, conn, bytes);",
        fault: "self.read(ctx, conn, bytes);\n        \
                if let Some(Entry { phase: Phase::Http { idle }, .. }) = \
                self.table.get_mut(&conn) {\n            \
                *idle = (*idle).max(ctx.now + ctx.config.limits.handshake_timeout);\n        }",
    },
    Mutation {
        name: "late-is-never",
        breaks: "what may be late does not happen where nothing else comes",
        file: "core/src/shard.rs",
        code: "self.next_patient_timeout().map(|due| due + slack)",
        fault: "self.next_patient_timeout().filter(|_| slack.is_zero())",
    },
    Mutation {
        name: "clock-goes-back",
        breaks: "a shard takes over the time of an input that is older than the last",
        file: "core/src/shard.rs",
        code: "self.now = self.now.max(now);",
        fault: "self.now = now;",
    },
    Mutation {
        name: "limit-off-by-one",
        breaks: "a session has one stream more than it may",
        file: "core/src/cdn/publish.rs",
        code: "} else if open >= open_max {",
        fault: "} else if open > open_max {",
    },
    Mutation {
        name: "viewer-on-wrong-shard",
        breaks: "a viewer's offer goes to the shard of its publisher, not to its own",
        file: "core/src/cdn/play.rs",
        code: "ctx.out.post(shard, Message::Media(word));",
        fault: "let _ = shard;\n        ctx.out.post(home, Message::Media(word));",
    },
    Mutation {
        name: "reply-to-wrong-shard",
        breaks: "what a session is told goes to the node's own shard, not to the session's",
        file: "core/src/cdn.rs",
        code: "ctx.out.post(session.shard, Message::Connection { conn: session.conn, word });",
        fault: "let shard = ShardId::NODE;\n    \
                ctx.out.post(shard, Message::Connection { conn: session.conn, word });",
    },
];
