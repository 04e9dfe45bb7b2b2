//! A backend that decides who is let in, and one that does not.

use super::admission::{denied, empty};
use super::*;

/// Where the backend is, by the number of its address.
const BACKEND: u8 = 200;
pub(super) const HOOK: &str = "\
    auth.publish=hook\nauth.play=hook\nauth.hook.url=http://192.0.2.200:9000/app\n\
    auth.hook.timeout=1000\n";

/// A node whose backend answers with this status; 0: not at all.
fn asking(verdict: u16, more: &str, limits: Limits) -> Site {
    let mut site = Site::with(&format!("{HOOK}{more}"), None, limits);
    site.edges.insert(edge(BACKEND), Edge { up: true, verdict, ..Edge::default() });
    site
}

#[test]
fn a_backend_decides() {
    for (verdict, more, expected) in [
        (200, "", Ok(())),
        (403, "", Err("Refused by the backend")),
        (403, "auth.hook.on_error=allow\n", Err("Refused by the backend")),
        (500, "", Err("The backend gave no answer")),
        (204, "", Err("The backend gave no answer")),
        (302, "", Err("The backend gave no answer")),
        (500, "auth.hook.on_error=allow\n", Ok(())),
    ] {
        let mut site = asking(verdict, more, Limits::default());
        let page = site.join("10.0.0.1");
        for (id, request, granted) in [
            ("P", Request::Publish(wish("P", "cam")), "PUBLISHING"),
            ("V", Request::Play(wish("V", "cam")), "PLAYING"),
        ] {
            site.ask(page, request);
            assert_eq!(site.node.questions(), 0, "{verdict}");
            match expected {
                Ok(()) => {
                    site.finish(video("vp8"));
                    assert_eq!(site.status(page, id).0, granted, "{verdict}");
                }
                Err(info) => {
                    assert_eq!(site.status(page, id), said("FAILED", info), "{verdict}");
                    empty(&site);
                }
            }
        }
        let paths: Vec<_> =
            site.edge(BACKEND).posted.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(paths, ["/app/publishStream", "/app/playStream"]);
    }
}

#[test]
fn a_backend_is_shown_the_message_and_who_says_it() {
    let mut site = asking(200, "", Limits::default());
    let greeting = r#"{"message":"connection","data":[{"appKey":"app","custom":{"token":"t1"}}]}"#;
    let page = site.join_as("10.0.0.1", greeting);
    let said = json!({ "message": "publishStream", "data": [{
        "mediaSessionId": "P", "name": "cam", "sdp": "v=0 offer", "custom": { "login": "me" },
        "hasVideo": true, "appKey": "forged", "nodeId": "forged", "sessionId": "forged",
        "remoteAddress": "forged", "token": "forged",
    }]});
    let limits = &site.bench.config.limits;
    let mut dialogue = signal::Session::new(site.bench.now, limits);
    dialogue.handle(site.bench.now, greeting, "", None, limits).unwrap();
    let step = dialogue.handle(site.bench.now, &said.to_string(), "", None, limits);
    let Ok(signal::Step::Request(request)) = step else { panic!("{step:?}") };
    site.ask(page, request);
    let (_, shown) = site.edge(BACKEND).posted.pop().unwrap();
    let expected = json!({
        "mediaSessionId": "P", "name": "cam", "sdp": "v=0 offer", "custom": { "login": "me" },
        "hasVideo": true, "mediaProvider": "WebRTC", "appKey": "app", "nodeId": "bench",
        "sessionId": format!("0-{}", page.conn), "remoteAddress": "10.0.0.1", "token": "t1",
    });
    assert_eq!(shown, expected);
}

#[test]
fn a_backend_that_does_not_answer_is_waited_for_no_longer_than_that() {
    let mut site = asking(0, "", Limits::default());
    let page = site.join("10.0.0.1");
    site.publish(page, "P", "cam");
    site.wait_ms(999);
    assert_eq!((site.status(page, "P").0.as_str(), site.node.questions()), ("", 1));
    site.wait_ms(1);
    assert_eq!(site.status(page, "P"), said("FAILED", "The backend gave no answer"));
    assert_eq!(denied(&site), ["the backend did not answer in time"]);
    assert!(site.conns.is_empty());
    empty(&site);
}

/// Each of these pages asks for something.
fn crowd(site: &mut Site, count: usize) -> Vec<SessionId> {
    let pages: Vec<_> = (0..count).map(|_| site.join("10.0.0.1")).collect();
    for page in &pages {
        site.play(*page, "V", "cam");
    }
    pages
}

/// How many of these were told this.
fn told(site: &Site, pages: &[SessionId], info: &str) -> usize {
    pages.iter().filter(|page| site.status(**page, "V") == said("FAILED", info)).count()
}

#[test]
fn so_many_are_asked_about_at_once_so_many_wait_and_the_rest_are_refused() {
    let limits = Limits { hooks_running_max: 2, hooks_waiting_max: 3, ..Limits::default() };
    let mut site = asking(0, "auth.hook.on_error=allow\n", limits);
    let pages = crowd(&mut site, 7);
    assert_eq!((site.edge(BACKEND).posted.len(), site.node.questions()), (2, 5));
    assert_eq!(told(&site, &pages, "Too many requests wait for the backend"), 2);
    assert_eq!(denied(&site), ["too many wait for the backend: it is too slow"; 2]);
    // Whoever leaves makes room.
    site.leave(pages[0]);
    site.leave(pages[3]);
    assert_eq!((site.edge(BACKEND).posted.len(), site.node.questions()), (3, 3));
    // Nobody waits for longer than for an answer, wherever in the queue.
    site.wait_ms(1_000);
    assert_eq!(site.node.questions(), 0);
    assert_eq!(site.node.plays.len(), 3, "no answer is a yes here");
    assert!(site.conns.is_empty());
}

#[test]
fn an_answer_makes_room_for_the_next() {
    let limits = Limits { hooks_running_max: 1, ..Limits::default() };
    let mut site = asking(0, "", limits);
    let pages = crowd(&mut site, 3);
    site.edge(BACKEND).verdict = 403;
    site.leave(pages[0]);
    assert_eq!(told(&site, &pages, "Refused by the backend"), 2);
    empty(&site);
}

#[test]
fn whoever_has_no_time_left_for_an_answer_keeps_nobody_from_theirs() {
    let limits = Limits { hooks_running_max: 1, ..Limits::default() };
    let mut site = asking(0, "", limits);
    crowd(&mut site, 1);
    site.wait_ms(50);
    crowd(&mut site, 1);
    site.wait_ms(850);
    crowd(&mut site, 1);
    assert_eq!(site.edge(BACKEND).posted.len(), 1);
    site.wait_ms(100);
    assert_eq!(site.edge(BACKEND).posted.len(), 2, "the first is over, the third is asked about");
    assert_eq!(site.node.questions(), 2, "the second still has its time");
    site.wait_ms(50);
    assert_eq!(site.node.questions(), 1);
    site.wait_ms(850);
    assert_eq!((site.edge(BACKEND).posted.len(), site.node.questions()), (2, 0));
}

#[test]
fn a_message_that_is_too_long_for_the_backend_is_refused() {
    let mut site = asking(200, "", Limits::default());
    let page = site.join("10.0.0.1");
    let offer = |bytes| StreamRequest { sdp: "v".repeat(bytes), ..wish("P", "cam") };
    let most = site.bench.config.limits.hook_bytes_max;
    site.ask(page, Request::Publish(offer(most)));
    let refused = said("FAILED", "The request is too long for the backend");
    assert_eq!(site.status(page, "P"), refused);
    empty(&site);
    site.ask(page, Request::Publish(offer(most - 1_000)));
    site.finish(video("vp8"));
    assert_eq!(site.status(page, "P").0, "PUBLISHING");
}

#[test]
fn a_backend_that_cannot_be_reached_or_breaks_off_has_not_answered() {
    let mut site = asking(0, "", Limits::default());
    let page = site.join("10.0.0.1");
    site.edge(BACKEND).up = false;
    site.publish(page, "P", "cam");
    assert_eq!(site.status(page, "P"), said("FAILED", "The backend gave no answer"));
    assert_eq!(denied(&site), ["192.0.2.200 port 9000: nobody listens there"]);
    empty(&site);
    site.edge(BACKEND).up = true;
    site.publish(page, "Q", "cam");
    site.cut(BACKEND);
    assert_eq!(site.status(page, "Q"), said("FAILED", "The backend gave no answer"));
    assert_eq!(denied(&site)[1], "192.0.2.200 port 9000: the connection broke");
    empty(&site);
    for garbage in
        ["220 smtp ready\r\n\r\n", "HTTP/1.1 200\r\nContent-Length: x\r\n\r\n", "\0\0\0\0\r\n\r\n"]
    {
        site.publish(page, "R", "cam");
        let conn = *site.conns.keys().next().unwrap();
        site.node.handle_received(&mut site.bench.ctx(), conn, garbage.as_bytes());
        site.settle();
        assert_eq!(site.status(page, "R"), said("FAILED", "The backend gave no answer"));
        empty(&site);
    }
}

#[test]
fn whoever_changes_their_mind_is_not_asked_about_any_more() {
    let mut site = asking(0, "", Limits::default());
    let page = site.join("10.0.0.1");
    site.publish(page, "P", "cam");
    site.play(page, "V", "cam");
    site.publish(page, "P", "cam");
    let in_use = said("FAILED", "MediaSessionId is already in use");
    assert_eq!((site.status(page, "P"), site.node.questions()), (in_use, 2));
    site.ask(page, Request::Unpublish { media_session: "P".into(), name: "cam".into() });
    assert_eq!(site.status(page, "P"), said("UNPUBLISHED", "Stopped by user"));
    site.stop(page, "V");
    assert_eq!(site.status(page, "V"), said("STOPPED", "Stopped by user"));
    assert!(site.conns.is_empty());
    empty(&site);
    site.publish(page, "P", "cam");
    site.leave(page);
    assert!(site.conns.is_empty() && site.node.sessions.is_empty());
    empty(&site);
}

#[test]
fn the_first_that_the_backend_lets_in_has_the_name() {
    let mut site = asking(0, "", Limits::default());
    let (one, other) = (site.join("10.0.0.1"), site.join("10.0.0.2"));
    site.publish(one, "P", "cam");
    site.edge(BACKEND).verdict = 200;
    site.live(other, "P", "cam");
    assert_eq!(site.status(other, "P").0, "PUBLISHING");
    let conn = *site.conns.keys().next().unwrap();
    let yes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    site.node.handle_received(&mut site.bench.ctx(), conn, yes);
    site.settle();
    assert_eq!(site.status(one, "P"), said("FAILED", "Stream name is already in use"));
    assert_eq!(site.node.questions(), 0);
}

#[test]
fn a_question_outlives_the_settings_that_it_was_asked_by() {
    let mut site = asking(0, "", Limits::default());
    let page = site.join("10.0.0.1");
    site.publish(page, "P", "cam");
    site.bench.config.settings = Bench::new().config.settings;
    site.node.reload(&mut site.bench.ctx());
    assert_eq!(site.node.questions(), 1);
    site.live(page, "Q", "open");
    assert_eq!(site.status(page, "Q").0, "PUBLISHING", "nobody is asked any more");
    site.wait_ms(1_000);
    assert_eq!(site.status(page, "P"), said("FAILED", "The backend gave no answer"));
}

#[test]
fn the_backend_is_looked_up_once_for_all() {
    let named = HOOK.replace("192.0.2.200", "backend.example");
    let limits = Limits { hook_name_age_max: Duration::from_secs(5), ..Limits::default() };
    let mut site = Site::with(&named, None, limits);
    site.edges.insert(edge(BACKEND), Edge { up: true, verdict: 403, ..Edge::default() });
    let pages: Vec<_> = (0..3).map(|_| site.join("10.0.0.1")).collect();
    let ask = |site: &mut Site, page: SessionId| {
        site.node.request(&mut site.bench.ctx(), page, Request::Play(wish("V", "cam")));
        site.bench.outputs().into_iter().map(|output| {
            let Output::Resolve { lookup, host } = output else { panic!("{output:?}") };
            assert_eq!(host, "backend.example");
            lookup
        })
    };
    let lookups: Vec<_> = pages.iter().flat_map(|page| ask(&mut site, *page)).collect();
    let [lookup] = lookups[..] else { panic!("{lookups:?}") };
    site.node.handle_resolved(&mut site.bench.ctx(), lookup, &[edge(BACKEND)]);
    site.settle();
    assert_eq!(told(&site, &pages, "Refused by the backend"), 3);
    // What is known is used, and for so long.
    site.play(pages[0], "V", "cam");
    assert_eq!(site.edge(BACKEND).posted.len(), 4);
    site.wait_ms(5_000);
    let lookups: Vec<_> = ask(&mut site, pages[0]).collect();
    let [lookup] = lookups[..] else { panic!("{lookups:?}") };
    site.node.handle_resolved(&mut site.bench.ctx(), lookup, &[]);
    site.settle();
    assert_eq!(site.status(pages[0], "V"), said("FAILED", "The backend gave no answer"));
    assert_eq!(denied(&site).last(), Some(&"the backend's name has no address"));
    empty(&site);
}

#[test]
fn a_look_up_whose_answer_is_lost_is_made_again() {
    let named = HOOK.replace("192.0.2.200", "backend.example");
    let limits = Limits { hook_name_age_max: Duration::from_secs(5), ..Limits::default() };
    let mut site = Site::with(&named, None, limits);
    let page = site.join("10.0.0.1");
    let mut lookups = 0;
    for _ in 0..11 {
        site.node.request(&mut site.bench.ctx(), page, Request::Play(wish("V", "cam")));
        lookups += site.bench.outputs().len();
        site.wait_ms(1_000);
        assert_eq!(site.status(page, "V"), said("FAILED", "The backend gave no answer"));
    }
    assert_eq!(lookups, 3);
    empty(&site);
}

#[test]
fn whoever_waits_for_a_backend_that_is_asked_no_more_is_told() {
    let limits = Limits { hooks_running_max: 1, ..Limits::default() };
    let mut site = asking(0, "", limits);
    let pages = crowd(&mut site, 3);
    site.bench.config.settings.keep_alive = None;
    site.node.reload(&mut site.bench.ctx());
    site.settle();
    assert_eq!((denied(&site), site.node.questions()), (vec![], 3), "it is the same backend");
    let elsewhere = HOOK.replace("/app", "/new");
    site.bench.config.settings = Bench::with(&elsewhere, None).config.settings;
    site.node.reload(&mut site.bench.ctx());
    site.settle();
    assert_eq!(told(&site, &pages, "The backend gave no answer"), 2);
    assert_eq!(denied(&site), ["the settings changed meanwhile"; 2]);
    assert!(!site.node.hooks.is_failing(), "that is no fault of the backend's");
    assert_eq!(site.node.questions(), 1);
}
