//! What an HTTP request leads to.

use crate::access::may_administer;
use crate::config::{Config, Settings};
use crate::input::Flow;
use crate::message::Question;
use crate::stream::http::{Method, Request, Response};

mod rest;

pub(super) use rest::reloaded;

const WANTS_TOKEN: &str =
    "This wants the admin token of the node: as a bearer token, or as ?token=.";

/// What a request leads to.
pub(super) enum Route {
    Answer(Response),
    Ask(Question),
    /// The settings are to be read again.
    Reload,
}

pub(super) fn route(config: &Config, flow: Flow, request: &Request) -> Route {
    if let Some(method) = request.path.strip_prefix("/rest-api/") {
        return rest::route(config, flow, request, method);
    }
    if request.method != Method::Get {
        let response = Response::error(405, "This is answered to GET and HEAD only.");
        return Route::Answer(response.with_header("Allow", "GET, HEAD"));
    }
    match request.query("action") {
        Some("server_list") => return server_list(request),
        Some("stat") if may_administer(&config.settings.access, flow, request) => {
            return Route::Ask(Question::Stat);
        }
        Some("stat") => {
            let response = Response::error(401, WANTS_TOKEN).wants_token();
            let origin = request.header("origin");
            return Route::Answer(shared(response, &config.settings, origin));
        }
        Some(_) | None => {}
    }
    let path = request.path.trim_start_matches('/');
    let embed = "/client2/examples/demo/streaming/embed_player/player.html";
    let response = match path {
        "" => Response::redirect("/client2/"),
        "embed_player" if request.query_text.is_empty() => Response::redirect(embed),
        "embed_player" => Response::redirect(&format!("{embed}?{}", request.query_text)),
        folder if config.pages.is_directory(folder) => Response::redirect(&format!("/{folder}/")),
        path => match config.pages.get(path) {
            Some(page) => Response::page(page, request),
            None => Response::not_found(),
        },
    };
    Route::Answer(response)
}

fn server_list(request: &Request) -> Route {
    // A name as JavaScript has them: the answer is a script, and runs in the asker's page.
    let is_name = |name: &&str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.');
        !name.is_empty() && name.len() <= 128 && name.chars().all(known)
    };
    let callback = request.query("callback");
    if callback.is_some_and(|callback| !is_name(&callback)) {
        let text = "callback must be the name of a JavaScript function.";
        return Route::Answer(Response::error(400, text));
    }
    Route::Ask(Question::ServerList {
        stream: request.query("streamName").map(str::to_owned),
        callback: callback.map(str::to_owned),
        host: request.host().to_owned(),
    })
}

/// Lets pages read an answer: those of every origin, unless `allow_domains` leaves some out. Then
/// the answer differs by who asks (RFC 9110, section 12.5.5).
pub(super) fn shared(response: Response, settings: &Settings, origin: Option<&str>) -> Response {
    if settings.allows_every_origin() {
        return response.with_header("Access-Control-Allow-Origin", "*");
    }
    let response = response.with_header("Vary", "Origin");
    match origin.filter(|origin| settings.allows_origin(Some(origin))) {
        Some(origin) => response.with_header("Access-Control-Allow-Origin", origin),
        None => response,
    }
}
