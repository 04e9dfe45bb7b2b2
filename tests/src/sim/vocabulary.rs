//! The simulation spoken to in the words of scenarios.

use std::time::Duration;

use super::Sim;
use crate::browser::{Browser, Shape};
use crate::world::{NodeId, Partition, Party, World};

impl Sim {
    /// Publishes from a page that is open.
    pub fn publish_on(&mut self, page: usize, name: &str, shape: Shape) -> Party {
        self.note(format_args!("p{page} publishes {name}"));
        let id =
            self.with_page(page, |now, page, local| page.browser.publish(now, name, shape, local));
        Party { page, id }
    }

    /// Plays on a page that is open.
    pub fn play_on(&mut self, page: usize, name: &str, shape: Shape) -> Party {
        self.note(format_args!("p{page} plays {name}"));
        let id =
            self.with_page(page, |now, page, local| page.browser.play(now, name, shape, local));
        Party { page, id }
    }

    /// Publishes from the machine that `before` was on.
    pub fn publish_again(
        &mut self,
        before: &Party,
        node: NodeId,
        name: &str,
        shape: Shape,
    ) -> Party {
        let page = self.add_browser_at(node.0, self.page_ip(before.page));
        self.publish_on(page, name, shape)
    }
}

impl World for Sim {
    fn publish(&mut self, node: NodeId, name: &str, shape: Shape) -> Party {
        let page = self.add_browser(node.0);
        self.publish_on(page, name, shape)
    }

    fn play(&mut self, node: NodeId, name: &str, shape: Shape) -> Party {
        let page = self.add_browser(node.0);
        self.play_on(page, name, shape)
    }

    fn stop(&mut self, viewer: &Party) {
        self.note(format_args!("p{} stops", viewer.page));
        self.with_page(viewer.page, |now, page, _| page.browser.stop(now, &viewer.id));
    }

    fn unpublish(&mut self, publisher: &Party) {
        self.stop(publisher);
    }

    fn leave(&mut self, party: &Party) {
        self.note(format_args!("p{} leaves", party.page));
        self.close_page(party.page);
    }

    fn kill(&mut self, node: NodeId) {
        self.kill_node(node.0);
    }

    fn restart(&mut self, node: NodeId) {
        self.start_node(node.0);
    }

    fn advance(&mut self, span: Duration) {
        Self::advance(self, span);
    }

    fn browser(&self, party: &Party) -> &Browser {
        &self.page(party.page).browser
    }
}

impl Partition for Sim {
    fn partition(&mut self, a: NodeId, b: NodeId) {
        self.set_cut(self.node_ip(a.0), self.node_ip(b.0), true);
    }

    fn heal(&mut self, a: NodeId, b: NodeId) {
        self.set_cut(self.node_ip(a.0), self.node_ip(b.0), false);
    }
}
