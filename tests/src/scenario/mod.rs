//! What is played through in every world: in the simulation, and over loopback with each runtime.

mod account;
mod capacity;
mod keys;
mod nodes;
mod publishers;
mod settings;
mod stage;
mod tokens;
mod words;

use crate::sim::Sim;
use crate::world::Partition;

pub use self::account::Account;
pub(crate) use self::stage::{GRACES, Stage};

/// What happens in a scenario.
pub(crate) type Course<W> = fn(&mut Stage<W>);

/// Name and course of every scenario that every world can play.
pub(crate) fn shared<W: Partition>() -> [(&'static str, Course<W>); 30] {
    [
        ("one_node", publishers::one_node),
        ("two_edges", nodes::two_edges),
        ("late_viewer", publishers::late_viewer),
        ("viewer_first", publishers::viewer_first),
        ("publisher_returns", publishers::publisher_returns),
        ("publisher_starts_again", publishers::publisher_starts_again),
        ("publisher_stays_away", publishers::publisher_stays_away),
        ("two_of_one_name", publishers::two_of_one_name),
        ("codec_changes", publishers::codec_changes),
        ("edge_comes_late", nodes::edge_comes_late),
        ("edge_restarts", nodes::edge_restarts),
        ("link_breaks", nodes::link_breaks),
        ("link_parted", nodes::link_parted),
        ("edge_stands_still", nodes::edge_stands_still),
        ("origin_stands_still", nodes::origin_stands_still),
        ("unpublish_crosses_answer", nodes::unpublish_crosses_answer),
        ("mute", words::mute),
        ("mute_before_edge", words::mute_before_edge),
        ("data", words::data),
        ("drain", nodes::drain),
        ("patient_drain", capacity::patient_drain),
        ("drain_runs_out", capacity::drain_runs_out),
        ("full_edge", capacity::full_edge),
        ("out_of_service", capacity::out_of_service),
        ("origin_restarts", nodes::origin_restarts),
        ("origin_stays_away", nodes::origin_stays_away),
        ("nodes_push_to_each_other", nodes::nodes_push_to_each_other),
        ("links_with_keys", keys::links_with_keys),
        ("tokens_end", tokens::tokens_end),
        ("edges_change", settings::edges_change),
    ]
}

/// Plays a scenario through in a world that is still empty, and panics where something is wrong.
/// Answers with what everybody was told.
///
/// # Panics
///
/// Also if the world is not one that can play it.
pub fn play<W: Partition>(name: &str, world: W, shards: u16) -> Account {
    let found = shared().into_iter().find(|(other, _)| *other == name);
    let (_, course) = found.expect("every world can play the scenario");
    let mut stage = Stage::new(world, shards);
    course(&mut stage);
    stage.finish()
}

/// The names of all scenarios that every world can play.
pub fn names() -> Vec<&'static str> {
    shared::<Sim>().map(|(name, _)| name).to_vec()
}
