//! The REST interface: JSON that an operator's programs send and get.
//!
//! Only what takes a node out of service and puts it back, and what changes its settings, is there.

use serde::Deserialize;
use serde_json::json;

use super::{Route, WANTS_TOKEN};
use crate::access::{may_administer, may_change};
use crate::config::Config;
use crate::input::Flow;
use crate::message::{NodeState, Question};
use crate::stream::http::{Method, Request, Response};

/// The body of `enforce_node_state`.
#[derive(Deserialize)]
struct Wanted {
    state: NodeState,
}

pub(super) fn route(config: &Config, flow: Flow, request: &Request, method: &str) -> Route {
    let access = &config.settings.access;
    match method {
        "cdn/show_node_state" if request.method == Method::Options => only("GET, POST"),
        "cdn/show_node_state" if !may_administer(access, flow, request) => unauthorized(),
        "cdn/show_node_state" => Route::Ask(Question::State),
        "cdn/enforce_node_state" if request.method != Method::Post => only("POST"),
        "cdn/enforce_node_state" if !may_change(access, flow, request) => unauthorized(),
        "cdn/enforce_node_state" => match wanted(&request.body) {
            Some(state) => Route::Ask(Question::Enforce(state)),
            None => fail(400, r#"The body must be {"state":"PASSIVE"} or {"state":"ACTIVE"}."#),
        },
        "cdn/reload_settings" if request.method != Method::Post => only("POST"),
        "cdn/reload_settings" if !may_change(access, flow, request) => unauthorized(),
        "cdn/reload_settings" => Route::Reload,
        _ => fail(404, "There is no such method."),
    }
}

/// Without a body, whatever was enforced is not any more.
fn wanted(body: &[u8]) -> Option<NodeState> {
    if body.is_empty() {
        return Some(NodeState::Active);
    }
    serde_json::from_slice(body).ok().map(|Wanted { state }| state)
}

/// What whoever had the settings read again is told.
pub(in super::super) fn reloaded(outcome: Result<(), &str>) -> Response {
    match outcome {
        Ok(()) => Response::json(200, &json!({ "settings": "NEW" }).to_string()),
        // RFC 9110, section 15.5.10: the files, which the request is about, are in its way.
        Err(reason) => error(409, &format!("The old settings stay: {reason}.")),
    }
}

fn unauthorized() -> Route {
    Route::Answer(error(401, WANTS_TOKEN).wants_token())
}

fn only(methods: &str) -> Route {
    Route::Answer(error(405, "This is not answered to that method.").with_header("Allow", methods))
}

fn fail(status: u16, reason: &str) -> Route {
    Route::Answer(error(status, reason))
}

fn error(status: u16, reason: &str) -> Response {
    Response::json(status, &json!({ "code": status, "reason": reason }).to_string())
}
