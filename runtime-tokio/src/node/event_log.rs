//! What a shard's events look like in the log.

use distributary_core::{Event, ShardId};
use tracing::{debug, info, warn};

/// Writes one event to the log.
///
/// Far sides' addresses appear at level debug only.
pub fn log_event(shard: ShardId, event: &Event) {
    match event {
        Event::StreamStarted { name, link } => info!(%shard, name, link, "stream started"),
        Event::StreamEnded { name, info } => info!(%shard, name, why = info, "stream ended"),
        Event::ViewerJoined { name } => info!(%shard, name, "viewer joined"),
        Event::ViewerLeft { name, info } => info!(%shard, name, why = info, "viewer left"),
        Event::LinkUp { node } => info!(%shard, node, "link up"),
        Event::LinkDown { node, why } => warn!(%shard, node, why, "link down"),
        Event::RelayUp { node, name } => info!(%shard, node, name, "stream reaches edge"),
        Event::RelayDown { node, name, why } => {
            info!(%shard, node, name, why, "stream reaches edge no more");
        }
        Event::Denied { name, publishing: true, why } => {
            info!(%shard, name, why, "publishing denied");
        }
        Event::Denied { name, publishing: false, why } => {
            info!(%shard, name, why, "playing denied");
        }
        Event::LinkRefused { why } => warn!(%shard, why, "link refused"),
        Event::Refused { remote, why } => debug!(%shard, %remote, why, "refused"),
        Event::Accepting(false) => info!(%shard, "out of service"),
        Event::Accepting(true) => info!(%shard, "in service"),
        Event::Drained => info!(%shard, "drained"),
    }
}
