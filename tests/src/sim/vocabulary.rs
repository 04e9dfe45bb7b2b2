//! The simulation spoken to in the words of scenarios.

use std::time::Duration;

use distributary_core::{Command, Event};
use serde_json::Value;

use super::{Plan, Sim};
use crate::browser::Shape;
use crate::http::Answer;
use crate::page::Page;
use crate::world::{ADMIN_TOKEN, Cue, Edges, NodeId, Partition, Party, Weather, World};

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
}

impl World for Sim {
    fn weather(&self) -> Weather {
        if self.network.loss_per_mille == 0 { Weather::Clear } else { Weather::Rough }
    }

    fn node(&mut self, name: &str, edges: &[&str], shards: u16, properties: &str) -> NodeId {
        NodeId(self.add_node(Plan::new(name).edges(edges).shards(shards).with(properties)))
    }

    fn publish(&mut self, node: NodeId, name: &str, shape: Shape) -> Party {
        let page = self.add_browser(node.0);
        self.publish_on(page, name, shape)
    }

    fn publish_again(&mut self, before: &Party, node: NodeId, name: &str, shape: Shape) -> Party {
        let page = self.add_browser_at(node.0, self.page_ip(before.page));
        self.publish_on(page, name, shape)
    }

    fn play(&mut self, node: NodeId, name: &str, shape: Shape) -> Party {
        let page = self.add_browser(node.0);
        self.play_on(page, name, shape)
    }

    fn publish_with(&mut self, node: NodeId, name: &str, shape: Shape, token: &str) -> Party {
        let page = self.add_browser(node.0);
        self.with_page(page, |_, page, _| page.browser.token = Some(token.to_owned()));
        self.publish_on(page, name, shape)
    }

    fn play_with(&mut self, node: NodeId, name: &str, shape: Shape, token: &str) -> Party {
        let page = self.add_browser(node.0);
        self.with_page(page, |_, page, _| page.browser.token = Some(token.to_owned()));
        self.play_on(page, name, shape)
    }

    fn unix(&self) -> Duration {
        Sim::unix(self)
    }

    fn stop(&mut self, viewer: &Party) {
        self.note(format_args!("p{} stops", viewer.page));
        self.with_page(viewer.page, |now, page, _| page.browser.stop(now, &viewer.id));
    }

    fn unpublish(&mut self, publisher: &Party) {
        self.stop(publisher);
    }

    fn say(&mut self, publisher: &Party, kind: &str, payload: Option<Value>) {
        let id = &publisher.id;
        self.with_page(publisher.page, |_, page, _| page.browser.send_event(id, kind, payload));
    }

    fn leave(&mut self, party: &Party) {
        self.note(format_args!("p{} leaves", party.page));
        self.close_page(party.page);
    }

    fn lose(&mut self, party: &Party) {
        self.lose_page(party.page);
    }

    fn kill(&mut self, node: NodeId) {
        self.kill_node(node.0);
    }

    fn restart(&mut self, node: NodeId) {
        self.start_node(node.0);
    }

    fn drain(&mut self, node: NodeId) {
        self.command(node.0, Command::Drain);
    }

    fn ended(&mut self, node: NodeId) -> bool {
        self.is_drained(node.0)
    }

    fn freeze(&mut self, node: NodeId, span: Duration) {
        self.freeze_node(node.0, span);
        Self::advance(self, span);
    }

    fn sever(&mut self, a: NodeId, b: NodeId) {
        self.break_tcp(a.0, b.0);
    }

    fn advance(&mut self, span: Duration) {
        Self::advance(self, span);
    }

    fn page(&self, page: usize) -> &Page {
        Self::page(self, page)
    }

    fn statistics(&mut self, node: NodeId) -> Option<String> {
        self.get(node.0, &format!("/?action=stat&token={ADMIN_TOKEN}"))
    }

    fn request(&mut self, node: NodeId, request: &str) -> Option<Answer> {
        self.exchange(node.0, request.to_owned())
    }

    fn rewrite(
        &mut self,
        node: NodeId,
        properties: &str,
        edges: Edges<'_>,
        cue: Cue,
    ) -> Result<(), String> {
        self.write_settings(node.0, properties, edges);
        match cue {
            Cue::Rest => self.ask_to_reload(node),
            Cue::Hangup | Cue::Files => self.reload(node.0),
        }
    }

    fn events(&self, node: NodeId) -> Vec<Event> {
        self.facts(node.0).iter().map(|(_, _, event)| event.clone()).collect()
    }
}

impl Partition for Sim {
    fn prepare_partitions(&mut self) {
        // Every way of the simulation can be cut.
    }

    fn partition(&mut self, a: NodeId, b: NodeId) {
        self.set_cut(self.node_ip(a.0), self.node_ip(b.0), true);
    }

    fn heal(&mut self, a: NodeId, b: NodeId) {
        self.set_cut(self.node_ip(a.0), self.node_ip(b.0), false);
    }
}
