//! After the storm: what everybody sees is what the model says, and so is what they are told when
//! people act one at a time.

use std::time::Duration;

use super::Storm;
use super::cast::Actor;
use super::deeds::Whom;
use super::model::{Model, Standing};

/// How long an action may take to have its full effect, on a good network: to be told, to be
/// pushed to the edges, and to play there.
const EFFECT: Duration = Duration::from_millis(1_200);
/// What a viewer must have seen lately.
const LATELY: Duration = Duration::from_millis(400);
/// Effects that it takes until what was left behind is gone.
const SETTLING_MAX: u32 = 6;
/// Actions of one run.
const ACTIONS: usize = 3;

/// A status and its reason.
type Words = (String, String);

fn owned(standing: &Standing) -> Words {
    let (status, info) = standing.words();
    (status.to_owned(), info.to_owned())
}

impl Storm {
    /// Whether everybody is where they should be, with the media that they should have.
    pub(super) fn in_order(&self) -> Result<(), String> {
        let model = self.model();
        for (index, actor) in self.actors.iter().enumerate().filter(|(_, actor)| actor.wants) {
            let is = actor.standing(&self.sim);
            let should = model.standing(index).map(Standing::words);
            // Who is not to find a stream asks for it again and again.
            let known = !self.deeds.touched(actor.since, &[Whom::Memory(actor.node)]);
            let asks = is.0 == "PENDING" && !actor.is_over(&self.sim) && known;
            let asks = asks && should.is_some_and(|(status, _)| status == "FAILED");
            if should != Some(is) && !asks {
                return Err(format!("{} is {is:?}, not {should:?}", self.who(index)));
            }
            // What a page was told last says little once its connection is gone.
            if should.is_some_and(|(status, _)| status != "FAILED") && !actor.is_running(&self.sim)
            {
                return Err(format!("{} has no session", self.who(index)));
            }
            if let Some(Standing::Playing(source)) = model.standing(index) {
                self.sees(index, actor, *source)?;
            }
        }
        Ok(())
    }

    /// What should be, when everybody has asked for what they want, publishers first.
    fn model(&self) -> Model {
        let mut model = Model::new(self.edges.clone());
        let wishes = || self.actors.iter().enumerate().filter(|(_, actor)| actor.wants);
        for (index, actor) in wishes().filter(|(_, actor)| actor.publishing) {
            model.publish(index, actor.node, &actor.name);
        }
        for (index, actor) in wishes().filter(|(_, actor)| !actor.publishing) {
            model.play(index, actor.node, &actor.name);
        }
        model
    }

    fn who(&self, index: usize) -> String {
        let Some(actor) = self.actors.get(index) else { return String::new() };
        let page = actor.party.as_ref().map(|party| party.page);
        let does = if actor.publishing { "publishes" } else { "plays" };
        format!("p{page:?}, who {does} {} at n{},", actor.name, actor.node)
    }

    /// Whether a viewer has the whole picture of one publisher, and of nobody else.
    fn sees(&self, index: usize, actor: &Actor, source: usize) -> Result<(), String> {
        let number = self.actors.get(source).and_then(|source| source.number(&self.sim));
        let now = self.sim.elapsed();
        let stream = actor.stream(&self.sim).ok_or("no stream")?;
        let sends = self.actors.get(source).map(|source| &source.shape);
        for track in stream.tracks().values() {
            let video = track.codec.is_video();
            if !sends.is_some_and(|shape| shape.has_video(video)) {
                continue;
            }
            let late = track.packets.iter().rev().take_while(|packet| packet.at + LATELY >= now);
            let numbers: Vec<Option<u32>> =
                late.map(|packet| packet.stamp.map(|stamp| stamp.publisher)).collect();
            let what = if video { "picture" } else { "sound" };
            if numbers.is_empty() {
                return Err(format!("{} has no {what}", self.who(index)));
            }
            if numbers.iter().any(|other| *other != number) {
                return Err(format!(
                    "{} has {what} of {numbers:?}, not {number:?}",
                    self.who(index)
                ));
            }
            if video && track.before_key_frame() == track.packets.len() {
                return Err(format!("{} never got a key frame", self.who(index)));
            }
        }
        Ok(())
    }

    /// People act one at a time, and the model says what comes of it.
    pub(super) fn calm(&mut self) {
        let mut model = self.model();
        self.settle(&model);
        for _ in 0..ACTIONS {
            let before: Vec<(Option<Standing>, Words)> = (0..self.actors.len())
                .map(|index| (model.standing(index).cloned(), self.words(index)))
                .collect();
            let what = self.act(&mut model);
            self.watch_for(if what.contains("link") { 2 * EFFECT } else { EFFECT });
            for (index, should) in model.standings() {
                let (standing, words) = before.get(index).cloned().unwrap_or_default();
                // Whom it does not concern is told nothing.
                let expected =
                    if standing.as_ref() == Some(should) { words } else { owned(should) };
                assert_eq!(self.words(index), expected, "{} after {what}", self.who(index));
                if let (Standing::Playing(source), Some(actor)) = (should, self.actors.get(index))
                    && let Err(lack) = self.sees(index, actor, *source)
                {
                    panic!("{lack} after {what}");
                }
            }
        }
    }

    /// Whoever still asks for what is not there gets an answer, and whoever has found what a
    /// rival left behind loses that.
    fn settle(&mut self, model: &Model) {
        for _ in 0..SETTLING_MAX {
            self.watch_for(EFFECT);
            let over = |standing: &Standing| matches!(standing, Standing::Over(..));
            let mut idle = model.standings().filter(|(_, standing)| over(standing));
            if idle.all(|(index, _)| self.words(index).0 == "FAILED") {
                return;
            }
        }
        panic!("somebody plays what nobody publishes");
    }

    fn words(&self, index: usize) -> Words {
        let words = self.actors.get(index).map(|actor| actor.standing(&self.sim));
        words.map(|(status, info)| (status.to_owned(), info.to_owned())).unwrap_or_default()
    }

    /// Lets time pass in which nobody acts.
    fn watch_for(&mut self, span: Duration) {
        let end = self.sim.elapsed() + span;
        while self.sim.elapsed() < end {
            self.sim.advance(super::GLANCE);
            self.glance();
        }
    }

    fn act(&mut self, model: &mut Model) -> String {
        let of = |publishing: bool, standing: fn(&Standing) -> bool| {
            let here = |index: &usize| {
                self.actors.get(*index).is_some_and(|actor| actor.publishing == publishing)
            };
            let fits = model.standings().filter(|(_, s)| standing(s)).map(|(index, _)| index);
            fits.filter(here).collect::<Vec<_>>()
        };
        let publishers = of(true, |standing| *standing == Standing::Publishing);
        let viewers = of(false, |standing| matches!(standing, Standing::Playing(_)));
        let idle = of(false, |standing| matches!(standing, Standing::Over(..)));
        let silent = of(true, |standing| matches!(standing, Standing::Over(..)));
        let (choice, picked) = match self.below(8) {
            0 => ("stop of", self.pick(&viewers)),
            1 => ("play of", self.pick(&idle)),
            2 | 3 => ("stop of", self.pick(&publishers)),
            4 => ("publishing of", self.pick(&silent)),
            5 => ("return of", self.pick(&publishers)),
            6 => ("link break at", self.pick(&publishers)),
            _ => ("rival of", self.pick(&publishers)),
        };
        let Some(index) = picked else { return "nothing".to_owned() };
        let what = format!("the {choice} {}", self.who(index));
        self.sim.note(format_args!("then: {what}"));
        self.blame_actor(index);
        match choice {
            "stop of" => {
                model.stop(index);
                self.with(index, Actor::stop);
            }
            "play of" | "publishing of" => {
                let Some(actor) = self.actors.get(index) else { return what };
                if actor.publishing {
                    model.publish(index, actor.node, &actor.name);
                } else {
                    model.play(index, actor.node, &actor.name);
                }
                self.with(index, Actor::open);
            }
            // Within the grace: nobody is told anything.
            "return of" => {
                self.with(index, Actor::vanish);
                self.sim.advance(Duration::from_millis(200));
                self.with(index, Actor::open);
            }
            "link break at" => {
                let node = self.actors.get(index).map_or(0, |actor| actor.node);
                let links = self.links();
                if let Some((_, edge)) = links.into_iter().find(|(origin, _)| *origin == node) {
                    self.sim.break_tcp(node, edge);
                }
            }
            _ => self.challenge(model, index),
        }
        what
    }

    /// Somebody wants a name that is taken where they are.
    fn challenge(&mut self, model: &mut Model, index: usize) {
        let Some(holder) = self.actors.get(index).cloned() else { return };
        let near: Vec<usize> =
            (0..self.plan.nodes).filter(|node| model.feeds(holder.node, *node)).collect();
        let node = self.pick(&near).unwrap_or(holder.node);
        let rival = self.actors.len();
        let mut actor = Actor::new(rival, node, &holder.name, true);
        actor.wants = false;
        model.publish(rival, node, &holder.name);
        self.actors.push(actor);
        self.blame_actor(rival);
        self.with(rival, Actor::open);
    }

    fn with(&mut self, index: usize, act: fn(&mut Actor, &mut crate::sim::Sim)) {
        if let Some(actor) = self.actors.get_mut(index) {
            act(actor, &mut self.sim);
        }
    }
}
