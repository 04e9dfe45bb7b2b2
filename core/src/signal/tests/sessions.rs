//! Who may speak when, and who still lives.

use super::*;

struct Page {
    session: Session,
    now: Instant,
    limits: Limits,
    keep_alive: Option<KeepAlive>,
}

impl Page {
    fn new() -> Self {
        let (now, limits) = (Bench::new().now, Limits::default());
        let keep_alive = Some(KeepAlive { interval: Duration::from_secs(5), probes: 3 });
        Self { session: Session::new(now, &limits), now, limits, keep_alive }
    }

    fn established() -> Self {
        let mut page = Self::new();
        let step = page.say(capture!("chromium-connection"));
        assert!(matches!(step, Ok(Step::Establish { .. })));
        page
    }

    fn say(&mut self, text: &str) -> Result<Step, SessionFault> {
        self.session.handle(self.now, text, "token", self.keep_alive, &self.limits)
    }

    fn reply(&mut self, text: &str) -> Value {
        match self.say(text) {
            Ok(Step::Reply(reply)) => value(&reply),
            other => panic!("{text}: {other:?}"),
        }
    }

    /// Waits for the next deadline and lets it take effect.
    fn wait(&mut self) -> Result<Option<String>, SessionFault> {
        self.now = self.session.next_timeout().unwrap();
        self.session.handle_timeout(self.now)
    }
}

#[test]
fn connection_establishes_with_every_field() {
    let mut page = Page::new();
    assert!(!page.session.is_established());
    let Ok(Step::Establish { reply, .. }) = page.say(capture!("chromium-connection")) else {
        panic!()
    };
    assert!(page.session.is_established());
    let connection = value(capture!("chromium-connection"));
    let sent = &connection["data"][0];
    let expected = json!({ "message": "getUserData", "data": [{
        "authToken": "token", "status": "ESTABLISHED", "appKey": "defaultApp",
        "mediaProviders": ["WebRTC"], "clientVersion": "2.0",
        "clientOSVersion": sent["clientOSVersion"],
        "clientBrowserVersion": sent["clientBrowserVersion"],
        "useWsTunnel": false, "useWsTunnelPacketization2": false,
        "useBase64BinaryEncoding": false, "keepAlive": false,
    }] });
    assert_eq!(value(&reply), expected);
}

#[test]
fn a_second_connection_ends_the_dialogue() {
    let mut page = Page::established();
    let again = page.say(capture!("chromium-connection"));
    assert_eq!(again.unwrap_err(), SessionFault::ConnectedTwice);
}

#[test]
fn requests_come_after_connection() {
    for text in [capture!("chromium-publish"), capture!("chromium-available")] {
        assert_eq!(Page::new().say(text).unwrap_err(), SessionFault::NotConnected);
        assert!(matches!(Page::established().say(text), Ok(Step::Request(_))));
    }
}

#[test]
fn before_connection_one_may_ping_and_report() {
    let mut page = Page::new();
    assert_eq!(page.reply(r#"{"message":"ping","data":[null]}"#)["message"], "pong");
    assert!(matches!(page.say(r#"{"message":"pong","data":[null]}"#), Ok(Step::Nothing)));
    assert!(matches!(page.say(r#"{"message":"pushLogs","data":[{}]}"#), Ok(Step::Nothing)));
    assert_eq!(page.reply(r#"{"message":"startCall","data":[{}]}"#)["message"], "fail");
    assert!(matches!(page.say(capture!("chromium-connection")), Ok(Step::Establish { .. })));
}

#[test]
fn what_cannot_be_used_is_answered_and_what_is_no_message_ends_it() {
    let mut page = Page::established();
    let refused = page.reply(r#"{"message":"startCall","data":[{}]}"#);
    assert_eq!(refused["message"], "fail");
    assert_eq!(refused["data"][0]["apiMethod"], "startCall");
    assert!(refused["data"][0]["info"].as_str().unwrap().contains("startCall"));
    let refused = page.reply(r#"{"message":"publishStream"}"#);
    assert_eq!(refused["data"][0]["apiMethod"], "publishStream");
    assert_eq!(page.say("hello").unwrap_err(), SessionFault::Malformed);
}

#[test]
fn whoever_never_connects_is_given_up() {
    let mut page = Page::new();
    page.limits.session_timeout = Duration::from_secs(3);
    page.session = Session::new(page.now, &page.limits);
    let start = page.now;
    assert_eq!(page.session.next_timeout(), Some(start + page.limits.session_timeout));
    assert_eq!(page.session.handle_timeout(start + Duration::from_secs(2)), Ok(None));
    page.reply(r#"{"message":"ping","data":[null]}"#);
    assert_eq!(page.wait(), Err(SessionFault::Silent), "a ping is no connection");
    assert_eq!(page.now, start + Duration::from_secs(3));
}

#[test]
fn pings_come_at_their_interval_and_stop_with_the_last_probe() {
    let mut page = Page::established();
    let start = page.now;
    for nth in 1..=3 {
        assert_eq!(page.wait(), Ok(Some(ping())));
        assert_eq!(page.now, start + Duration::from_secs(5 * nth));
        let at_once = page.session.handle_timeout(page.now);
        assert_eq!(at_once, Ok(None), "one ping an interval");
    }
    assert_eq!(page.wait(), Err(SessionFault::Dead));
    assert_eq!(page.now, start + Duration::from_secs(20));
}

#[test]
fn whatever_is_said_shows_life() {
    for text in [
        r#"{"message":"pong","data":[null]}"#,
        r#"{"message":"pushLogs","data":[{}]}"#,
        r#"{"message":"startCall","data":[{}]}"#,
        capture!("chromium-available"),
    ] {
        let mut page = Page::established();
        for _ in 0..20 {
            assert_eq!(page.wait(), Ok(Some(ping())));
            assert_eq!(page.wait(), Ok(Some(ping())));
            page.say(text).unwrap();
        }
    }
}

#[test]
fn without_keep_alive_there_is_nothing_to_wait_for() {
    let mut page = Page::new();
    page.keep_alive = None;
    page.say(capture!("firefox-connection")).unwrap();
    assert_eq!(page.session.next_timeout(), None);
    assert_eq!(page.session.handle_timeout(page.now + Duration::from_secs(9999)), Ok(None));
}

#[test]
fn every_end_has_a_reason_that_fits_a_close_frame() {
    for fault in [
        SessionFault::NotConnected,
        SessionFault::ConnectedTwice,
        SessionFault::Malformed,
        SessionFault::Silent,
        SessionFault::Dead,
    ] {
        assert_eq!(fault.reason(), fault.to_string());
        assert!(fault.reason().len() <= 123, "RFC 6455, section 5.5");
    }
}
