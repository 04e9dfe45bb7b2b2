//! The key that nodes share, and what follows from it.

use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn origin(properties: &str) -> Result<Settings, String> {
    let properties = format!("load_balancing_enabled=true\n{properties}");
    let balancing = Some("<loadbalancer/>");
    let read = Settings::parse(SettingsFiles { properties: &properties, balancing }, &[]);
    read.map(|(settings, _)| settings).map_err(|error| error.to_string())
}

#[test]
fn an_edge_with_a_key_is_strict_unless_it_says_otherwise() {
    for (text, strict) in [
        (String::new(), false),
        ("cdn_role_strict=false".to_owned(), false),
        (format!("cdn_auth_key={KEY}"), true),
        (format!("cdn_auth_key={KEY}\ncdn_role_strict=true"), true),
        (format!("cdn_auth_key={KEY}\ncdn_role_strict=false"), false),
    ] {
        assert_eq!(settings(&text).cdn_role_strict, strict, "{text}");
    }
    let named = format!("node.id=origin\ncdn_auth_key={KEY}\n");
    assert_eq!(origin(&named).map(|settings| settings.cdn_role_strict), Ok(false));
    let strict = format!("{named}cdn_role_strict=true");
    assert_eq!(origin(&strict).map(|settings| settings.cdn_role_strict), Ok(true));
}

#[test]
fn nobody_could_publish_on_a_strict_node_without_a_key() {
    let expected = "flashphoner.properties:1: cdn_role_strict: expected cdn_auth_key beside it: \
                    nobody could publish here";
    assert_eq!(refused("cdn_role_strict=true"), expected);
}

#[test]
fn an_origin_with_a_key_has_a_name_that_lasts() {
    let error = origin(&format!("cdn_auth_key={KEY}")).unwrap_err();
    let expected = "flashphoner.properties:2: cdn_auth_key: expected node.id beside it: ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_bad_key_is_refused_and_not_shown() {
    let long = "x".repeat(257);
    for bad in [
        &KEY[1..],
        &long,
        &format!("{KEY},{}", &KEY[1..]),
        &format!("{KEY},{KEY},{KEY}"),
        &format!("{KEY} {KEY}"),
        &"\u{436}".repeat(32),
    ] {
        let error = refused(&format!("cdn_auth_key={bad}"));
        let expected = "flashphoner.properties:1: cdn_auth_key: expected one key, or two with a";
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains(&bad[..8]), "{error}");
    }
    assert!(!format!("{:?}", settings(&format!("cdn_auth_key={KEY}"))).contains(KEY));
}
