//! Whatever is written: it is read as meant, or refused, and never panics.

use proptest::prelude::*;

use super::super::super::keys::KEYS;
use super::*;

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "(?s).{0,200}", xml in "(?s).{0,100}") {
        let files = SettingsFiles { properties: &text, balancing: Some(&xml) };
        let _ = Settings::parse(files, &set(&[("load_balancing_enabled", "true")]));
    }

    #[test]
    fn arbitrary_values_never_panic(
        lines in prop::collection::vec((0..KEYS.len(), "[0-9a-z.,:*!\\[\\]A-Z -]{0,24}"), 0..20),
    ) {
        let text: String =
            lines.iter().map(|(at, value)| format!("{}={value}\n", KEYS[*at].name)).collect();
        let _ = parse(&text);
    }

    #[test]
    fn what_is_written_is_read(
        ports in prop::sample::subsequence((1..=50_u16).collect::<Vec<_>>(), 5).prop_shuffle(),
        (from, to) in (1..=u16::MAX).prop_flat_map(|from| (Just(from), from..=u16::MAX)),
        times in prop::array::uniform3(0..=86_400_000_u64),
        bitrates in (0..=BITRATE_MAX).prop_flat_map(|min| (Just(min), min.max(1)..=BITRATE_MAX)),
        flags: [bool; 2],
        ip in prop::collection::btree_set(any::<std::net::Ipv6Addr>().prop_filter("unicast", |ip| {
            !ip.is_multicast() && !ip.is_unspecified() && ip.to_ipv4_mapped().is_none()
        }), 0..4),
        node_id in prop::option::of("[!-~]{1,64}"),
        separator in prop::sample::select(vec!["=", ": ", " = "]),
    ) {
        let ip: Vec<IpAddr> = ip.into_iter().map(IpAddr::V6).collect();
        let mut escaped = String::new();
        for character in node_id.iter().flat_map(|id| id.chars()) {
            // A backslash before a letter would be another escape.
            if character.is_ascii_punctuation() {
                escaped.push('\\');
            }
            escaped.push(character);
        }
        let list: Vec<_> = ip.iter().map(ToString::to_string).collect();
        let text: String = [
            ("ws.port", ports[0].to_string()),
            ("wss.port", ports[1].to_string()),
            ("http.port", ports[2].to_string()),
            ("https.port", ports[3].to_string()),
            ("page.port", ports[4].to_string()),
            ("media_port_from", from.to_string()),
            ("media_port_to", to.to_string()),
            ("publisher.grace", times[0].to_string()),
            ("link.grace", times[1].to_string()),
            ("play.wait", times[2].to_string()),
            ("webrtc_cc_min_bitrate", bitrates.0.to_string()),
            ("webrtc_cc_max_bitrate", bitrates.1.to_string()),
            ("webrtc_cc2_twcc", flags[0].to_string()),
            ("periodic_fir_request", flags[1].to_string()),
            ("ip", list.join(",")),
            ("node.id", escaped),
        ]
        .iter()
        .map(|(key, value)| format!("{key}{separator}{value}\n"))
        .collect();
        let expected = Settings {
            ports: Ports {
                ws: port(ports[0]),
                wss: port(ports[1]),
                http: port(ports[2]),
                https: port(ports[3]),
                page: port(ports[4]),
            },
            media_port_from: from,
            media_port_to: to,
            publisher_grace: Duration::from_millis(times[0]),
            link_grace: Duration::from_millis(times[1]),
            play_wait: Duration::from_millis(times[2]),
            congestion: Congestion {
                bitrate_min: bitrates.0,
                bitrate_max: bitrates.1,
                twcc: flags[0],
            },
            periodic_keyframes: flags[1],
            ip,
            node_id,
            ..Settings::default()
        };
        prop_assert_eq!(parse(&text), Ok((expected, vec![])));
    }

    #[test]
    fn keys_that_nodes_share_are_read(
        keys in prop::collection::vec("[0-9A-Za-z+/_.~-]{32,256}", 1..=2),
        strict: bool,
    ) {
        let written = keys.join(" , ");
        let text = format!("cdn_auth_key={written}\ncdn_role_strict={strict}\n");
        let other = keys.get(1).map(|key| key.as_bytes());
        let expected = Settings {
            cdn_auth_keys: Some(TokenKeys::new(keys[0].as_bytes(), other)),
            cdn_role_strict: strict,
            ..Settings::default()
        };
        prop_assert_eq!(parse(&text), Ok((expected, vec![])));
    }
}
