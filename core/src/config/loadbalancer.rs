//! The meaning of `loadbalancing.xml`: elements to edges.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use super::balancing::{Balancing, Distribution, EdgeNode, Mode};
use super::diagnostics::{Place, SettingsError, Warning, quoted};
use super::document::{self, Element};
use super::spelling;
use super::values::{flag, number};
use crate::limits::Limits;

const ROOT: &str = "loadbalancer";
const ROOT_ATTRIBUTES: [&str; 3] = ["mode", "randomize", "stream_distribution"];
const NODE: &str = "node";
const NODE_ELEMENTS: [&str; 5] = ["ip", "ws", "wss", "flash", "fingerprint"];
const WS_PORT: NonZeroU16 = NonZeroU16::new(8080).expect("not 0");
const WSS_PORT: NonZeroU16 = NonZeroU16::new(8443).expect("not 0");
const FLASH_PORT: NonZeroU16 = NonZeroU16::new(1935).expect("not 0");
/// The longest host name (RFC 1035, section 2.3.4, less the dots of the wire format).
const HOST_BYTES_MAX: usize = 253;

/// Reads `loadbalancing.xml`. Names of elements and attributes count in any letter case.
///
/// # Errors
///
/// The first thing that is malformed, missing, double or not available, with its line; with
/// `require_tls` also the first node without `<wss>`.
pub(super) fn read(
    text: &str,
    require_tls: bool,
    warnings: &mut Vec<Warning>,
) -> Result<Balancing, SettingsError> {
    let root = document::read(text)?;
    let place = Place::balancing(root.line);
    if !root.name.eq_ignore_ascii_case(ROOT) {
        let name = quoted(&root.name);
        return Err(place.error(format!("expected <{ROOT}>, found the element {name}")));
    }
    warn_of_text(&root, warnings);
    let attributes = known_attributes(&root, &ROOT_ATTRIBUTES, warnings)?;
    let attribute = |name: &str| attributes.get(name).copied();
    let mode = attribute("mode").map_or(Ok(Mode::default()), |text| mode(text, &place))?;
    let randomize = attribute("randomize").map_or(Ok(false), |text| {
        flag(text).ok_or_else(|| expected(&place, "randomize", "true or false", text))
    })?;
    let distribution = attribute("stream_distribution")
        .map_or(Ok(Distribution::default()), |text| distribution(text, &place))?;
    let nodes = nodes(&root, require_tls, warnings)?;
    if nodes.is_empty() {
        warnings.push(place.warning("there is no <node>: nothing is distributed"));
    }
    Ok(Balancing { mode, randomize, distribution, nodes })
}

fn mode(text: &str, place: &Place) -> Result<Mode, SettingsError> {
    match text.trim().to_ascii_uppercase().as_str() {
        "FEWESTCALLS" => Ok(Mode::FewestCalls),
        "RANDOM" => Ok(Mode::Random),
        "ROUNDROBIN" => Ok(Mode::RoundRobin),
        "LESS_LOADED_NODE" | "LEAST_LOADED_NODE" => Ok(Mode::LessLoadedNode),
        _ => {
            let modes = "FEWESTCALLS, RANDOM, ROUNDROBIN or LESS_LOADED_NODE";
            Err(expected(place, "mode", modes, text))
        }
    }
}

fn distribution(text: &str, place: &Place) -> Result<Distribution, SettingsError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "webrtc" => Ok(Distribution::WebRtc),
        "rtmp" => Err(place.error(
            "stream_distribution: distribution over RTMP is not available in this version; \
             expected webrtc",
        )),
        _ => Err(expected(place, "stream_distribution", "webrtc", text)),
    }
}

fn nodes(
    root: &Element,
    require_tls: bool,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<EdgeNode>, SettingsError> {
    let nodes_max = Limits::default().nodes_max;
    let mut nodes: Vec<EdgeNode> = Vec::new();
    for child in &root.children {
        let place = Place::balancing(child.line);
        if !child.name.eq_ignore_ascii_case(NODE) {
            warn_unknown("element", &child.name, &[NODE], &place, warnings);
            continue;
        }
        let node = node(child, require_tls, warnings)?;
        if nodes.len() >= nodes_max {
            return Err(place.error(format!("expected at most {nodes_max} nodes")));
        }
        if let Some(first) = nodes.iter().find(|first| first.id == node.id) {
            return Err(place.error(format!(
                "expected an id of its own: {} is also the node on line {}",
                node.id, first.line
            )));
        }
        let address = |node: &EdgeNode| (node.host.to_ascii_lowercase(), node.link_port());
        if let Some(first) = nodes.iter().find(|first| address(first) == address(&node)) {
            warnings.push(place.warning(format!(
                "node {} has the address and port of node {} on line {}",
                node.id, first.id, first.line
            )));
        }
        nodes.push(node);
    }
    Ok(nodes)
}

fn node(
    element: &Element,
    require_tls: bool,
    warnings: &mut Vec<Warning>,
) -> Result<EdgeNode, SettingsError> {
    let place = Place::balancing(element.line);
    warn_of_text(element, warnings);
    let id = match known_attributes(element, &["id"], warnings)?.get("id") {
        Some(text) => number(text.trim())
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| expected(&place, "id", &format!("a number up to {}", u32::MAX), text))?,
        None => return Err(place.error("expected <node id=\"NUMBER\">, found no id")),
    };
    let children = known_children(element, warnings)?;
    let port = |name: &str, default| children.get(name).map_or(Ok(default), |child| port(child));
    let secure = children.contains_key("wss");
    let host = match children.get("ip") {
        Some(child) => host(child)?,
        None => {
            let what = "expected <ip> with an address or a host name, found none";
            return Err(place.error(format!("node {id}: {what}")));
        }
    };
    let fingerprint = match children.get("fingerprint") {
        Some(child) => {
            let place = Place::balancing(child.line);
            let parsed = child.text.parse();
            Some(parsed.map_err(|error| {
                place.error(format!("<fingerprint>: {error}, found {}", quoted(&child.text)))
            })?)
        }
        None => None,
    };
    let node = EdgeNode {
        id,
        host,
        ws: port("ws", WS_PORT)?,
        wss: port("wss", WSS_PORT)?,
        flash: port("flash", FLASH_PORT)?,
        secure,
        fingerprint,
        line: element.line,
    };
    check_security(&node, require_tls, warnings)?;
    Ok(node)
}

/// A node without `<wss>` is dialed without encryption, which must be what the operator wants.
fn check_security(
    node: &EdgeNode,
    require_tls: bool,
    warnings: &mut Vec<Warning>,
) -> Result<(), SettingsError> {
    if node.secure {
        return Ok(());
    }
    let place = Place::balancing(node.line);
    let name = format!("node {} ({})", node.id, node.host);
    if require_tls {
        return Err(place.error(format!("{name}: cdn_require_tls=true expects <wss>, found none")));
    }
    if node.fingerprint.is_some() {
        return Err(place.error(format!("{name}: <fingerprint> expects <wss>, found none")));
    }
    warnings.push(place.warning(format!("{name} has no <wss>: its link is not encrypted")));
    Ok(())
}

fn port(element: &Element) -> Result<NonZeroU16, SettingsError> {
    number(&element.text)
        .and_then(|number| u16::try_from(number).ok())
        .and_then(NonZeroU16::new)
        .ok_or_else(|| {
            let (place, name) = (Place::balancing(element.line), format!("<{}>", element.name));
            expected(&place, &name, "a port from 1 to 65535", &element.text)
        })
}

/// Reads an address, in brackets or not, or a host name (RFC 1123, section 2.1, and `_`).
fn host(element: &Element) -> Result<String, SettingsError> {
    let text = element.text.as_str();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match (bare.unwrap_or(text).parse::<IpAddr>(), bare) {
        (Ok(address), None) => !address.is_unspecified() && !address.is_multicast(),
        (Ok(address), Some(_)) => address.is_ipv6() && !address.is_unspecified(),
        (Err(_), Some(_)) => false,
        (Err(_), None) => is_host_name(text),
    };
    if is_host {
        Ok(bare.unwrap_or(text).to_owned())
    } else {
        let what = "an address or a host name, without scheme and port";
        Err(expected(&Place::balancing(element.line), "<ip>", what, text))
    }
}

fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    // A name whose last label is a number would be taken for an address that is none.
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= HOST_BYTES_MAX && text.split('.').all(is_label) && number(last).is_none()
}

/// The attributes by their names in lower case; warns of those that are not `known`.
fn known_attributes<'a>(
    element: &'a Element,
    known: &[&'static str],
    warnings: &mut Vec<Warning>,
) -> Result<BTreeMap<&'static str, &'a str>, SettingsError> {
    let place = Place::balancing(element.line);
    let mut found = BTreeMap::new();
    for (name, value) in &element.attributes {
        match known.iter().find(|known| name.eq_ignore_ascii_case(known)) {
            Some(known) => {
                if found.insert(*known, value.as_str()).is_some() {
                    return Err(place.error(format!("expected one attribute {known}, found two")));
                }
            }
            // Namespaces (Namespaces in XML 1.0, section 3) are declared by what only looks
            // like an attribute.
            None if name == "xmlns" || name.starts_with("xmlns:") => {}
            None => warn_unknown("attribute", name, known, &place, warnings),
        }
    }
    Ok(found)
}

/// The elements of a node by their names in lower case; warns of unknown ones.
fn known_children<'a>(
    element: &'a Element,
    warnings: &mut Vec<Warning>,
) -> Result<BTreeMap<&'static str, &'a Element>, SettingsError> {
    let mut found = BTreeMap::new();
    for child in &element.children {
        let place = Place::balancing(child.line);
        let known = NODE_ELEMENTS.iter().find(|known| child.name.eq_ignore_ascii_case(known));
        let Some(known) = known else {
            warn_unknown("element", &child.name, &NODE_ELEMENTS, &place, warnings);
            continue;
        };
        if found.insert(*known, child).is_some() {
            return Err(place.error(format!("expected one <{known}> in a node, found two")));
        }
        known_attributes(child, &[], warnings)?;
        for inner in &child.children {
            warn_unknown("element", &inner.name, &[], &Place::balancing(inner.line), warnings);
        }
    }
    Ok(found)
}

fn warn_of_text(element: &Element, warnings: &mut Vec<Warning>) {
    if !element.text.is_empty() {
        let (name, text) = (&element.name, quoted(&element.text));
        let place = Place::balancing(element.line);
        warnings.push(place.warning(format!("text in <{name}>, ignored: {text}")));
    }
}

fn warn_unknown(
    kind: &str,
    name: &str,
    known: &[&'static str],
    place: &Place,
    warnings: &mut Vec<Warning>,
) {
    let hint = match spelling::nearest(name, known.iter().copied()) {
        Some(near) => format!("; did you mean {near}?"),
        None => String::new(),
    };
    warnings.push(place.warning(format!("unknown {kind} {}, ignored{hint}", quoted(name))));
}

fn expected(place: &Place, name: &str, what: &str, found: &str) -> SettingsError {
    place.error(format!("{name}: expected {what}, found {}", quoted(found)))
}

#[cfg(test)]
mod tests;
