//! Who sees what, and is told what, while nothing goes wrong: a plain reference for the whole CDN.
//!
//! It knows neither time nor packets. Every action has its full effect before the next one.

use std::collections::BTreeMap;

/// Somebody who publishes or plays, by their number.
type ActorId = usize;

/// What a page was told last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// `PUBLISHING`
    Publishing,
    /// `PLAYING`, and the picture is this publisher's.
    Playing(ActorId),
    /// The stream is over: status and reason.
    Over(&'static str, &'static str),
}

impl Standing {
    /// The status and its reason as the page has them.
    pub(super) fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Publishing => ("PUBLISHING", ""),
            Self::Playing(_) => ("PLAYING", ""),
            Self::Over(status, info) => (status, info),
        }
    }
}

/// One of the actors, as far as it matters here.
#[derive(Clone, Debug)]
struct Role {
    node: usize,
    name: String,
    standing: Standing,
}

/// The whole CDN.
#[derive(Debug)]
pub(super) struct Model {
    /// Which nodes each node pushes to.
    edges: Vec<Vec<usize>>,
    roles: BTreeMap<ActorId, Role>,
}

impl Model {
    pub(super) fn new(edges: Vec<Vec<usize>>) -> Self {
        Self { edges, roles: BTreeMap::new() }
    }

    /// Whether what is published at one node can be played at another.
    pub(super) fn feeds(&self, from: usize, to: usize) -> bool {
        from == to || self.edges.get(from).is_some_and(|edges| edges.contains(&to))
    }

    /// Whose stream is behind a name at a node: the one that is published there, or else the one
    /// that is pushed there.
    pub(super) fn source(&self, node: usize, name: &str) -> Option<ActorId> {
        let published = |at: usize| {
            let live = |role: &Role| {
                role.node == at && role.name == name && role.standing == Standing::Publishing
            };
            self.roles.iter().find(|(_, role)| live(role)).map(|(id, _)| *id)
        };
        let origins = (0..self.edges.len()).filter(|from| *from != node && self.feeds(*from, node));
        published(node).or_else(|| origins.filter_map(published).next())
    }

    pub(super) fn publish(&mut self, id: ActorId, node: usize, name: &str) {
        let standing = match self.source(node, name) {
            Some(_) => Standing::Over("FAILED", "Stream name is already in use"),
            None => Standing::Publishing,
        };
        self.roles.insert(id, Role { node, name: name.to_owned(), standing });
    }

    pub(super) fn play(&mut self, id: ActorId, node: usize, name: &str) {
        let standing = match self.source(node, name) {
            Some(source) => Standing::Playing(source),
            None => Standing::Over("FAILED", "Stream not found"),
        };
        self.roles.insert(id, Role { node, name: name.to_owned(), standing });
    }

    pub(super) fn stop(&mut self, id: ActorId) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        match role.standing {
            Standing::Publishing => {
                role.standing = Standing::Over("UNPUBLISHED", "Stopped by user");
                let over = Standing::Over("FAILED", "Stopped by publisher stop");
                for role in self.roles.values_mut() {
                    if role.standing == Standing::Playing(id) {
                        role.standing = over.clone();
                    }
                }
            }
            Standing::Playing(_) => role.standing = Standing::Over("STOPPED", "Stopped by user"),
            Standing::Over(..) => {}
        }
    }

    /// What everybody was told last.
    pub(super) fn standings(&self) -> impl Iterator<Item = (ActorId, &Standing)> {
        self.roles.iter().map(|(id, role)| (*id, &role.standing))
    }

    pub(super) fn standing(&self, id: ActorId) -> Option<&Standing> {
        self.roles.get(&id).map(|role| &role.standing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_seen_where_it_is_pushed_and_ends_there_with_its_publisher() {
        let mut model = Model::new(vec![vec![1], vec![], vec![]]);
        model.publish(0, 0, "a");
        for (viewer, node) in [(1, 0), (2, 1), (3, 2)] {
            model.play(viewer, node, "a");
        }
        let not_found = Standing::Over("FAILED", "Stream not found");
        assert_eq!(model.standing(1), Some(&Standing::Playing(0)));
        assert_eq!(model.standing(2), Some(&Standing::Playing(0)));
        assert_eq!(model.standing(3), Some(&not_found));
        model.publish(4, 1, "a");
        let in_use = Standing::Over("FAILED", "Stream name is already in use");
        assert_eq!(model.standing(4), Some(&in_use));
        model.stop(0);
        let stopped = Standing::Over("FAILED", "Stopped by publisher stop");
        assert_eq!(model.standing(2), Some(&stopped));
        assert_eq!(model.standing(3), Some(&not_found));
    }
}
