//! What is read from `loadbalancing.xml`, refused and warned of.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::super::balancing::Fingerprint;
use super::*;

fn parse(text: &str) -> (Result<Balancing, SettingsError>, Vec<String>) {
    let mut warnings = Vec::new();
    let balancing = read(text, false, &mut warnings);
    (balancing, warnings.into_iter().map(|warning| warning.0).collect())
}

fn accepted(text: &str) -> Balancing {
    let (balancing, warnings) = parse(text);
    assert_eq!(warnings, [""; 0], "{text}");
    balancing.expect(text)
}

fn refused(text: &str) -> String {
    parse(text).0.expect_err(text).to_string()
}

fn warned(text: &str) -> Vec<String> {
    let (balancing, warnings) = parse(text);
    balancing.expect(text);
    warnings
}

/// A file whose second line is the given node content, `wss` included.
fn with_node(content: &str) -> String {
    format!("<loadbalancer>\n<node id=\"1\"><wss>443</wss>{content}</node>\n</loadbalancer>")
}

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("not 0")
}

#[test]
fn the_shortest_file_gets_all_defaults() {
    let text = "<loadbalancer stream_distribution=\"webrtc\">
  <node id=\"1\">
    <ip>edge.flashphoner.com</ip>
  </node>
</loadbalancer>";
    let (balancing, warnings) = parse(text);
    let node = EdgeNode {
        id: 1,
        host: "edge.flashphoner.com".to_owned(),
        ws: port(8080),
        wss: port(8443),
        flash: port(1935),
        secure: false,
        fingerprint: None,
        line: 2,
    };
    let expected = Balancing {
        mode: Mode::FewestCalls,
        randomize: false,
        distribution: Distribution::WebRtc,
        nodes: vec![node],
    };
    assert_eq!(balancing, Ok(expected));
    let expected = "loadbalancing.xml:2: node 1 (edge.flashphoner.com) has no <wss>: its link is \
                    not encrypted";
    assert_eq!(warnings, [expected]);
}

#[test]
fn everything_can_be_written() {
    let text = format!(
        "\u{feff}<?xml version='1.0' encoding='UTF-8'?>
<!-- two edges -->
<LoadBalancer xmlns='urn:x' xmlns:y='urn:y' mode=' RoundRobin ' randomize='TRUE'
              stream_distribution='WebRTC'>
  <node id='7'><ip> [2001:db8::7] </ip><ws>80</ws><wss>443</wss><flash>19350</flash>
    <fingerprint>sha-256 {}</fingerprint></node>
  <Node ID='4294967295'><IP>edge&#45;2.example.com.</IP><WSS><![CDATA[8443]]></WSS></Node>
</LoadBalancer>",
        Fingerprint([0xab; 32])
    );
    let balancing = accepted(&text);
    assert_eq!((balancing.mode, balancing.randomize), (Mode::RoundRobin, true));
    let node = |id, host: &str, ws, wss, flash, fingerprint, line| EdgeNode {
        id,
        host: host.to_owned(),
        ws: port(ws),
        wss: port(wss),
        flash: port(flash),
        secure: true,
        fingerprint,
        line,
    };
    let expected = [
        node(7, "2001:db8::7", 80, 443, 19350, Some(Fingerprint([0xab; 32])), 5),
        node(u32::MAX, "edge-2.example.com.", 8080, 8443, 1935, None, 7),
    ];
    assert_eq!(balancing.nodes, expected);
}

#[test]
fn modes_are_read_in_any_letter_case() {
    for (text, expected) in [
        ("FEWESTCALLS", Mode::FewestCalls),
        ("FewestCalls", Mode::FewestCalls),
        ("random", Mode::Random),
        ("roundrobin", Mode::RoundRobin),
        ("LESS_LOADED_NODE", Mode::LessLoadedNode),
        ("least_loaded_node", Mode::LessLoadedNode),
    ] {
        let file = format!(
            "<loadbalancer mode='{text}'><node id='1'><ip>a</ip><wss>1</wss></node></loadbalancer>"
        );
        assert_eq!(accepted(&file).mode, expected, "{text}");
    }
}

#[test]
fn what_the_root_says_must_be_known() {
    for (text, expected) in [
        ("<balancer/>", "expected <loadbalancer>, found the element \"balancer\""),
        (
            "<loadbalancer mode='FASTEST'/>",
            "mode: expected FEWESTCALLS, RANDOM, ROUNDROBIN or LESS_LOADED_NODE, found \"FASTEST\"",
        ),
        ("<loadbalancer randomize='yes'/>", "randomize: expected true or false, found \"yes\""),
        (
            "<loadbalancer stream_distribution='hls'/>",
            "stream_distribution: expected webrtc, found \"hls\"",
        ),
        (
            "<loadbalancer stream_distribution='RTMP'/>",
            "stream_distribution: distribution over RTMP is not available in this version; \
             expected webrtc",
        ),
        ("<loadbalancer mode='random' MODE='random'/>", "expected one attribute mode, found two"),
    ] {
        assert_eq!(refused(&format!("\n{text}")), format!("loadbalancing.xml:2: {expected}"));
    }
}

#[test]
fn what_a_node_says_must_be_known() {
    const HOST: &str = "<ip>: expected an address or a host name, without scheme and port, found";
    let pin = "expected 32 pairs of hexadecimal digits with colons between them (SHA-256)";
    for (content, expected) in [
        ("", "node 1: expected <ip> with an address or a host name, found none".to_owned()),
        ("<ip/>", format!("{HOST} \"\"")),
        ("<ip>a b</ip>", format!("{HOST} \"a b\"")),
        ("<ip>wss://edge</ip>", format!("{HOST} \"wss://edge\"")),
        ("<ip>edge:8443</ip>", format!("{HOST} \"edge:8443\"")),
        ("<ip>192.0.2.300</ip>", format!("{HOST} \"192.0.2.300\"")),
        ("<ip>0.0.0.0</ip>", format!("{HOST} \"0.0.0.0\"")),
        ("<ip>[192.0.2.1]</ip>", format!("{HOST} \"[192.0.2.1]\"")),
        ("<ip>-a.com</ip>", format!("{HOST} \"-a.com\"")),
        ("<ip>a..com</ip>", format!("{HOST} \"a..com\"")),
        ("<ip>ж.com</ip>", format!("{HOST} \"ж.com\"")),
        ("<ip>a</ip><ip>a</ip>", "expected one <ip> in a node, found two".to_owned()),
        ("<ip>a</ip><ws>0</ws>", "<ws>: expected a port from 1 to 65535, found \"0\"".to_owned()),
        (
            "<ip>a</ip><flash>off</flash>",
            "<flash>: expected a port from 1 to 65535, found \"off\"".to_owned(),
        ),
        (
            "<ip>a</ip><fingerprint>00:11</fingerprint>",
            format!("<fingerprint>: {pin}, found \"00:11\""),
        ),
    ] {
        assert_eq!(refused(&with_node(content)), format!("loadbalancing.xml:2: {expected}"));
    }
    assert_eq!(
        refused("<loadbalancer><node id='1'><ip>a</ip>\n<wss>65536</wss></node></loadbalancer>"),
        "loadbalancing.xml:2: <wss>: expected a port from 1 to 65535, found \"65536\""
    );
}

#[test]
fn ids_are_unique_numbers() {
    let node = |id: &str| format!("<node {id}><ip>a</ip><wss>1</wss></node>\n");
    let file = |nodes: &str| format!("<loadbalancer>\n{nodes}</loadbalancer>");
    assert_eq!(
        refused(&file(&node(""))),
        "loadbalancing.xml:2: expected <node id=\"NUMBER\">, found no id"
    );
    for id in ["", "x", "-1", "4294967296"] {
        assert_eq!(
            refused(&file(&node(&format!("id='{id}'")))),
            format!("loadbalancing.xml:2: id: expected a number up to 4294967295, found {id:?}")
        );
    }
    let twice = format!("{}<node id='01'><ip>b</ip><wss>1</wss></node>", node("id='1'"));
    assert_eq!(
        refused(&file(&twice)),
        "loadbalancing.xml:3: expected an id of its own: 1 is also the node on line 2"
    );
}

#[test]
fn the_number_of_nodes_is_bounded() {
    let file = |count: usize| {
        let mut text = "<loadbalancer>".to_owned();
        for id in 0..count {
            writeln!(text, "<node id='{id}'><ip>e{id}</ip><wss>1</wss></node>").expect("memory");
        }
        text + "</loadbalancer>"
    };
    let nodes_max = Limits::default().nodes_max;
    assert_eq!(accepted(&file(nodes_max)).nodes.len(), nodes_max);
    let expected =
        format!("loadbalancing.xml:{}: expected at most {nodes_max} nodes", nodes_max + 1);
    assert_eq!(refused(&file(nodes_max + 1)), expected);
}

#[test]
fn a_pinned_certificate_needs_tls() {
    let text = format!(
        "<loadbalancer><node id='1'><ip>a</ip><fingerprint>{}</fingerprint></node></loadbalancer>",
        Fingerprint([1; 32])
    );
    assert_eq!(
        refused(&text),
        "loadbalancing.xml:1: node 1 (a): <fingerprint> expects <wss>, found none"
    );
}

#[test]
fn tls_can_be_required() {
    let text = "<loadbalancer>\n<node id='1'><ip>a</ip><ws>1</ws></node></loadbalancer>";
    let error = read(text, true, &mut Vec::new()).expect_err("no <wss>");
    assert_eq!(
        error.to_string(),
        "loadbalancing.xml:2: node 1 (a): cdn_require_tls=true expects <wss>, found none"
    );
    let text = with_node("<ip>a</ip>");
    assert!(read(&text, true, &mut Vec::new()).is_ok());
}

#[test]
fn what_is_unknown_draws_a_warning() {
    let text = "<loadbalancer mod='random' x='1'>
  <nodes/>
  stray
  <node id='1' zone='eu'>
    <ip family='4'>a<b/></ip><wss>443</wss>
    <wsss>1</wsss><weight><deep/></weight>
  </node>
</loadbalancer>";
    assert_eq!(
        warned(text),
        [
            "loadbalancing.xml:1: text in <loadbalancer>, ignored: \"stray\"",
            "loadbalancing.xml:1: unknown attribute \"mod\", ignored; did you mean mode?",
            "loadbalancing.xml:1: unknown attribute \"x\", ignored",
            "loadbalancing.xml:2: unknown element \"nodes\", ignored; did you mean node?",
            "loadbalancing.xml:4: unknown attribute \"zone\", ignored",
            "loadbalancing.xml:5: unknown attribute \"family\", ignored",
            "loadbalancing.xml:5: unknown element \"b\", ignored",
            "loadbalancing.xml:6: unknown element \"wsss\", ignored; did you mean wss?",
            "loadbalancing.xml:6: unknown element \"weight\", ignored",
        ]
    );
}

#[test]
fn a_file_that_distributes_nothing_draws_a_warning() {
    assert_eq!(
        warned("<loadbalancer/>"),
        ["loadbalancing.xml:1: there is no <node>: nothing is distributed"]
    );
}

#[test]
fn one_address_twice_draws_a_warning() {
    let text = "<loadbalancer>
<node id='1'><ip>a</ip><wss>1</wss></node>
<node id='2'><ip>A</ip><wss>1</wss></node>
<node id='3'><ip>a</ip><wss>2</wss></node>
</loadbalancer>";
    assert_eq!(
        warned(text),
        ["loadbalancing.xml:3: node 2 has the address and port of node 1 on line 2"]
    );
}

/// Prints a file, one node a line from the second on.
fn printed(balancing: &Balancing) -> String {
    let mode = match balancing.mode {
        Mode::FewestCalls => "FEWESTCALLS",
        Mode::Random => "RANDOM",
        Mode::RoundRobin => "ROUNDROBIN",
        Mode::LessLoadedNode => "LESS_LOADED_NODE",
    };
    let mut text =
        format!("<loadbalancer mode=\"{mode}\" randomize=\"{}\">\n", balancing.randomize);
    for node in &balancing.nodes {
        let EdgeNode { id, host, ws, wss, flash, .. } = node;
        write!(text, "<node id=\"{id}\"><ip>{host}</ip><ws>{ws}</ws><flash>{flash}</flash>")
            .expect("memory");
        if node.secure {
            write!(text, "<wss>{wss}</wss>").expect("memory");
        }
        if let Some(fingerprint) = node.fingerprint {
            write!(text, "<fingerprint>{fingerprint}</fingerprint>").expect("memory");
        }
        text.push_str("</node>\n");
    }
    text + "</loadbalancer>\n"
}

prop_compose! {
    fn any_node()(
        host in prop_oneof![
            "[a-z][a-z0-9]{0,8}(\\.[a-z][a-z0-9]{0,8}){0,3}",
            "10\\.[0-9]\\.[0-9]\\.[0-9]",
            "2001:db8::[1-9a-f]",
        ],
        ports in prop::array::uniform3(1..=u16::MAX),
        secure: bool,
        pin in prop::option::of(any::<[u8; 32]>()),
    ) -> EdgeNode {
        EdgeNode {
            id: 0,
            host,
            ws: port(ports[0]),
            wss: if secure { port(ports[1]) } else { WSS_PORT },
            flash: port(ports[2]),
            secure,
            fingerprint: pin.filter(|_| secure).map(Fingerprint),
            line: 0,
        }
    }
}

prop_compose! {
    fn any_balancing()(
        mode in prop::sample::select(vec![
            Mode::FewestCalls, Mode::Random, Mode::RoundRobin, Mode::LessLoadedNode,
        ]),
        randomize: bool,
        nodes in prop::collection::vec(any_node(), 0..6),
        ids in prop::collection::btree_set(any::<u32>(), 6).prop_map(Vec::from_iter).prop_shuffle(),
    ) -> Balancing {
        let nodes = nodes.into_iter().zip(ids).enumerate();
        let nodes = nodes.map(|(at, (node, id))| EdgeNode { id, line: at + 2, ..node }).collect();
        Balancing { mode, randomize, distribution: Distribution::WebRtc, nodes }
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(balancing in any_balancing()) {
        let text = printed(&balancing);
        prop_assert_eq!(parse(&text).0, Ok(balancing), "{}", text);
    }

    #[test]
    fn a_mutated_file_never_panics(
        balancing in any_balancing(),
        require_tls: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<char>()), 1..8),
    ) {
        let mut text: Vec<char> = printed(&balancing).chars().collect();
        for (at, kind, character) in edits {
            let at = at.index(text.len());
            match kind % 5 {
                0 => text[at] = character,
                1 => text.insert(at, ['<', '>', '&', '"', '/', '!'][usize::from(kind) % 6]),
                2 => text.truncate(at + 1),
                3 => {
                    let copied: Vec<char> = text[at..].iter().copied().take(20).collect();
                    text.splice(at..at, copied);
                }
                _ => drop(text.splice(at..(at + 1).min(text.len()), [])),
            }
            if text.is_empty() {
                break;
            }
        }
        let text: String = text.into_iter().collect();
        let _ = read(&text, require_tls, &mut Vec::new());
    }
}
