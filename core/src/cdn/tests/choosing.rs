//! The balancer among edges that come, go and fill up in any order, against a plain search.

use proptest::prelude::*;
use proptest::sample::select;

use super::balancing::ask;
use super::*;

const EDGES: u8 = 4;
const POLLS: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
enum Step {
    /// An edge has so many calls and so busy processors from now on.
    Load(u8, u64, u64),
    /// An edge tells nothing that can be read.
    Babble(u8),
    /// An edge goes, or is there again.
    Switch(u8, bool),
    /// The link to an edge breaks, and nothing else.
    Cut(u8),
    /// An edge takes the stream.
    Carry(u8),
    /// Every edge is polled once more, and dialed where it has to be.
    Poll,
    /// A viewer asks where to go, for the stream or for any.
    Ask { stream: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let edge = 1..=EDGES;
    prop_oneof![
        3 => (edge.clone(), 0u64..5, 0u64..100)
            .prop_map(|(n, calls, cpu)| Step::Load(n, calls, cpu)),
        1 => edge.clone().prop_map(Step::Babble),
        2 => (edge.clone(), any::<bool>()).prop_map(|(n, up)| Step::Switch(n, up)),
        1 => edge.clone().prop_map(Step::Cut),
        2 => edge.prop_map(Step::Carry),
        3 => Just(Step::Poll),
        12 => prop::bool::weighted(0.3).prop_map(|stream| Step::Ask { stream }),
    ]
}

/// An edge as anybody would note it down.
#[derive(Clone, Copy, Default)]
struct Note {
    up: bool,
    /// What it would say.
    stat: Option<(u64, u64)>,
    /// What it said last, unless that was nothing.
    load: Option<(u64, u64)>,
    sent: u64,
    linked: bool,
    carries: bool,
}

struct Model {
    mode: &'static str,
    edges: BTreeMap<u8, Note>,
    turn: u8,
}

impl Model {
    fn poll(&mut self) {
        for edge in self.edges.values_mut() {
            edge.linked = edge.up;
            edge.load = edge.stat.filter(|_| edge.up);
            if edge.load.is_some() {
                edge.sent = 0;
            }
        }
    }

    fn cut(&mut self, n: u8) {
        let edge = self.edges.get_mut(&n).unwrap();
        (edge.linked, edge.carries) = (false, false);
    }

    /// Those of whom one has to be picked.
    fn best(&self, stream: bool) -> Vec<u8> {
        let fit: Vec<(u8, Note)> = self
            .edges
            .iter()
            .map(|(n, edge)| (*n, *edge))
            .filter(|(_, edge)| edge.linked && edge.load.is_some() && (edge.carries || !stream))
            .collect();
        let calls = |edge: &Note| edge.load.map_or(0, |(calls, _)| calls) + edge.sent;
        let cpu = |edge: &Note| edge.load.map_or(0, |(_, cpu)| cpu) + edge.sent;
        let least = |of: &dyn Fn(&Note) -> u64| {
            let least = fit.iter().map(|(_, edge)| of(edge)).min();
            fit.iter().find(|(_, edge)| Some(of(edge)) == least).map(|(n, _)| *n)
        };
        let all = || fit.iter().map(|(n, _)| *n).collect();
        match self.mode {
            "mode='random'" => all(),
            "mode='RoundRobin'" => {
                let after = |turn: u8| fit.iter().map(|(n, _)| *n).find(|n| *n > turn);
                after(self.turn).or(after(0)).into_iter().collect()
            }
            "mode='LESS_LOADED_NODE'" => least(&cpu).into_iter().collect(),
            "randomize='true'" if fit.iter().all(|(_, edge)| calls(edge) == 0) => all(),
            _ => least(&calls).into_iter().collect(),
        }
    }
}

fn take(step: &Step, site: &mut Site, model: &mut Model) {
    let note = |model: &mut Model, n: u8, note: fn(&mut Note, Option<(u64, u64)>), with| {
        note(model.edges.get_mut(&n).unwrap(), with);
    };
    match *step {
        Step::Load(n, calls, cpu) => {
            site.edge(n).stat = format!("calls={calls}\nsystemCpuLoad={cpu}\n");
            note(model, n, |edge, stat| edge.stat = stat, Some((calls, cpu)));
        }
        Step::Babble(n) => {
            site.edge(n).stat = "no statistics".to_owned();
            note(model, n, |edge, stat| edge.stat = stat, None);
        }
        Step::Switch(n, up) => {
            site.edge(n).up = up;
            model.edges.get_mut(&n).unwrap().up = up;
            if !up {
                site.cut(n);
                model.cut(n);
            }
        }
        Step::Cut(n) => {
            site.cut(n);
            model.cut(n);
        }
        Step::Carry(n) => {
            let edge = model.edges.get_mut(&n).unwrap();
            if edge.linked && !edge.carries {
                let dialed = |word: &ToMedia| {
                    let ToMedia::Dial { peer, node, .. } = word else { return None };
                    (*node == u32::from(n)).then_some(*peer)
                };
                let peer = site.media.iter().rev().find_map(dialed).unwrap();
                site.relay_of(peer, n);
                edge.carries = true;
            }
        }
        Step::Poll => {
            site.wait(POLLS);
            model.poll();
        }
        Step::Ask { stream } => {
            let picked = ask(site, stream.then_some("cam"));
            let best = model.best(stream);
            assert_eq!(picked.is_some(), !best.is_empty(), "{picked:?} of {best:?}");
            if let Some(n) = picked {
                assert!(best.contains(&n), "{n}, not one of {best:?}");
                model.edges.get_mut(&n).unwrap().sent += 1;
                model.turn = n;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn viewers_go_where_a_plain_search_sends_them(
        mode in select(vec![
            "", "mode='random'", "mode='RoundRobin'", "mode='LESS_LOADED_NODE'", "randomize='true'",
        ]),
        steps in prop::collection::vec(step(), 1..50),
    ) {
        let never = POLLS * 1_000_000;
        let limits = Limits {
            poll_interval: POLLS,
            answer_timeout: never,
            relay_answer_timeout: never,
            peer_connect_timeout: never,
            ..Limits::default()
        };
        let mut site = Site::of_edges(EDGES, mode, limits);
        let edges = (1..=EDGES).map(|n| {
            site.edge(n).up = true;
            (n, Note { up: true, stat: Some((0, 0)), ..Note::default() })
        });
        let mut model = Model { mode, edges: edges.collect(), turn: 0 };
        site.wait_ms(0);
        model.poll();
        let page = site.join("10.0.0.1");
        site.live(page, "P", "cam");
        for step in &steps {
            take(step, &mut site, &mut model);
        }
    }
}
