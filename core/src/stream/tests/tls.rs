use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;

use super::super::tls::{client_config, fingerprint, server_config};
use super::*;
use crate::config::TlsIdentity;

/// 2026-01-01: rcgen's certificates are valid from 1975 to 4096.
const TODAY: Duration = Duration::from_secs(1_767_225_600);

fn today() -> WallClock {
    let clock = WallClock::default();
    clock.set(TODAY);
    clock
}

pub(super) fn identity(name: &str) -> TlsIdentity {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    TlsIdentity { chain: vec![cert.der().to_vec()], key: signing_key.serialize_der() }
}

pub(super) fn tls_server(identity: &TlsIdentity) -> Connection {
    let config = server_config(identity, today()).unwrap();
    Connection::accept(Some(config), today(), &limits()).unwrap()
}

pub(super) fn tls_dial(
    roots: &[Vec<u8>],
    pinned: Option<[u8; 32]>,
    clock: WallClock,
) -> Connection {
    let config = client_config(roots, pinned, clock.clone()).unwrap();
    let name = ServerName::try_from("edge.example").unwrap();
    Connection::dial_websocket(
        Some((config, name)),
        "edge.example:8443",
        "/websocket",
        [7; 16],
        None,
        clock,
        &limits(),
    )
    .unwrap()
}

type Outcome = (Result<(), StreamFault>, Vec<Incoming>);

/// What both ends make of what they say to each other.
fn meet(near: &mut Connection, far: &mut Connection) -> (Outcome, Outcome) {
    let mut near_owner = Owner::default();
    let mut far_owner = Owner { echoes: true, ..Owner::default() };
    let results = converse((near, &mut near_owner), (far, &mut far_owner));
    ((results.0, near_owner.heard), (results.1, far_owner.heard))
}

#[test]
fn our_two_ends_meet_over_tls() {
    let identity = identity("edge.example");
    let pinned = Some(fingerprint(&identity.chain[0]));
    for (roots, pinned) in [(&identity.chain[..], None), (&[], pinned)] {
        let (mut near, mut far) = (tls_dial(roots, pinned, today()), tls_server(&identity));
        let ((near_result, near_heard), (far_result, far_heard)) = meet(&mut near, &mut far);
        assert_eq!((near_result, far_result), (Ok(()), Ok(())));
        assert_eq!(near_heard, [Incoming::Opened]);
        assert!(matches!(far_heard[..], [Incoming::Upgrade(_)]), "{far_heard:?}");
        let text = "over several records ".repeat(140);
        near.send_text(&text).unwrap();
        let ((_, near_heard), (_, far_heard)) = meet(&mut near, &mut far);
        assert_eq!(near_heard, [Incoming::Text(text.clone())]);
        assert_eq!(far_heard, [Incoming::Text(text)]);
        far.close(1001, "going away");
        let ((near_result, near_heard), (far_result, far_heard)) = meet(&mut near, &mut far);
        assert_eq!((near_result, far_result), (Ok(()), Ok(())));
        assert_eq!((near_heard, far_heard), (vec![Incoming::Closed], vec![Incoming::Closed]));
    }
}

#[test]
fn nobody_is_trusted_without_a_reason() {
    let mine = identity("edge.example");
    let other_name = identity("other.example");
    let never = WallClock::default();
    let wrong = Some([7; 32]);
    let good = Some(fingerprint(&mine.chain[0]));
    for (what, why, mut near, identity) in [
        ("no roots", "cdn_ca", tls_dial(&[], None, today()), &mine),
        ("a root that is none", "cdn_ca", tls_dial(&[vec![0; 9]], None, today()), &mine),
        ("another fingerprint", "<fingerprint>", tls_dial(&mine.chain, wrong, today()), &mine),
        ("another certificate", "<fingerprint>", tls_dial(&mine.chain, good, today()), &other_name),
        ("another name", "other.example", tls_dial(&other_name.chain, None, today()), &other_name),
        ("1970", "not valid yet", tls_dial(&mine.chain, None, never), &mine),
    ] {
        let mut far = tls_server(identity);
        let ((near_result, near_heard), (far_result, far_heard)) = meet(&mut near, &mut far);
        let refused =
            matches!(near_result, Err(StreamFault::Tls(rustls::Error::InvalidCertificate(_))));
        assert!(refused, "{what}: {near_result:?}");
        let said = near_result.map_err(|fault| fault.to_string()).unwrap_err();
        assert!(said.contains(why), "{what}: {said}");
        let told = matches!(far_result, Err(StreamFault::Tls(rustls::Error::AlertReceived(_))));
        assert!(told, "{what}: {far_result:?}");
        assert_eq!((near_heard, far_heard), (vec![], vec![]), "{what}");
    }
}

#[test]
fn a_key_must_fit_its_certificate() {
    let identity = TlsIdentity { key: identity("b").key, ..identity("a") };
    assert!(server_config(&identity, today()).is_err());
    let identity = TlsIdentity { key: vec![1, 2, 3], ..identity };
    assert!(server_config(&identity, today()).is_err());
}

#[test]
fn what_is_not_tls_ends_the_conversation() {
    let identity = identity("edge.example");
    for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 100], &[0xff; 20_000]] {
        let (mut connection, mut owner) = (tls_server(&identity), Owner::default());
        let fault = owner.receive(&mut connection, bytes).unwrap_err();
        assert!(matches!(fault, StreamFault::Tls(_)), "{fault:?}");
        assert!(connection.is_closing());
        assert_eq!(owner.heard, []);
        // A fatal alert (RFC 8446, section 6.2).
        let alert = sent(&mut connection);
        assert_eq!((alert[0], alert[5]), (21, 2), "{alert:?}");
    }
}

#[test]
fn whoever_speaks_an_older_tls_is_told_so() {
    let identity = identity("edge.example");
    // TLS 1.0 and 1.1 (RFC 2246, RFC 4346): one cipher suite that they have, no extension.
    for version in [1, 2] {
        let mut hello = vec![3, version];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0xc0, 0x14, 1, 0]);
        let length = u8::try_from(hello.len()).unwrap();
        let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], &hello[..]].concat();
        let (mut connection, mut owner) = (tls_server(&identity), Owner::default());
        assert!(owner.receive(&mut connection, &record).is_err());
        assert_eq!(owner.heard, []);
        // A fatal alert (RFC 8446, section 6.2).
        let alert = sent(&mut connection);
        assert_eq!((alert[0], alert[5]), (21, 2), "{alert:?}");
    }
}

#[test]
fn half_a_record_waits_and_a_forged_one_ends_the_conversation() {
    let identity = identity("edge.example");
    let pinned = Some(fingerprint(&identity.chain[0]));
    let (mut near, mut far) = (tls_dial(&[], pinned, today()), tls_server(&identity));
    let met = meet(&mut near, &mut far);
    assert_eq!((met.0.0, met.1.0), (Ok(()), Ok(())));
    near.send_text("first").unwrap();
    let first = sent(&mut near);
    near.send_text("second").unwrap();
    let mut second = sent(&mut near);
    *second.last_mut().unwrap() ^= 1;

    let mut owner = Owner::default();
    for byte in &first[..first.len() - 1] {
        owner.receive(&mut far, &[*byte]).unwrap();
        assert_eq!(owner.heard, []);
    }
    // What came before the forgery counts, in however large a piece it came.
    let rest = [&first[first.len() - 1..], &second].concat();
    let fault = owner.receive(&mut far, &rest).unwrap_err();
    assert_eq!(fault, StreamFault::Tls(rustls::Error::DecryptError));
    assert_eq!(owner.heard, [Incoming::Text("first".to_owned())]);
}

#[test]
fn whoever_breaks_tls_behind_a_question_gets_no_answer_and_does_no_harm() {
    let identity = identity("edge.example");
    let (mut near, mut far) = (tls_dial(&identity.chain, None, today()), tls_server(&identity));
    let met = meet(&mut near, &mut far);
    assert_eq!((met.0.0, met.1.0), (Ok(()), Ok(())));
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    near.send(&ping);
    near.send(&ping);
    let mut together = sent(&mut near);
    *together.last_mut().unwrap() ^= 1;
    let fault = Owner::default().receive(&mut far, &together).unwrap_err();
    assert_eq!(fault, StreamFault::Tls(rustls::Error::DecryptError));
    assert!(far.is_closing());
}

#[test]
fn a_document_over_tls_is_whole_or_refused() {
    let identity = identity("edge.example");
    for orderly in [true, false] {
        let config = client_config(&identity.chain, None, today()).unwrap();
        let name = ServerName::try_from("edge.example").unwrap();
        let dialed = Connection::dial_request(
            Some((config, name)),
            "edge.example",
            &Outbound::get("/"),
            today(),
            &limits(),
        );
        let (mut near, mut far) = (dialed.unwrap(), tls_server(&identity));
        let mut near_owner = Owner::default();
        let mut far_heard = VecDeque::new();
        while far_heard.is_empty() {
            far.receive(&sent(&mut near), &mut far_heard).unwrap();
            near_owner.receive(&mut near, &sent(&mut far)).unwrap();
        }
        // A body that only the end of the connection ends, which our own server never sends.
        far.send(b"HTTP/1.1 200 OK\r\n\r\nbody");
        if orderly {
            far.close(1000, "");
        }
        near_owner.receive(&mut near, &sent(&mut far)).unwrap();
        let mut incoming = VecDeque::new();
        let eof = near.eof(&mut incoming);
        if orderly {
            let response = Incoming::Response { status: 200, body: b"body".to_vec() };
            assert_eq!((eof, near_owner.heard), (Ok(()), vec![response]));
        } else {
            assert_eq!((eof, near_owner.heard), (Err(StreamFault::Truncated), vec![]));
        }
        assert_eq!(incoming, []);
    }
}

#[test]
fn a_slow_reader_over_tls_stays_within_the_bound() {
    let identity = identity("edge.example");
    let (mut near, mut far) = (tls_dial(&identity.chain, None, today()), tls_server(&identity));
    let met = meet(&mut near, &mut far);
    assert_eq!((met.0.0, met.1.0), (Ok(()), Ok(())));
    let fault = (0..2000).find_map(|n| far.send_text(&"x".repeat(n)).err());
    assert_eq!(fault, Some(StreamFault::Overflow));
    assert!(far.outgoing().len() <= limits().outgoing_bytes_max);
}

#[test]
fn who_was_here_before_needs_no_certificate_again() {
    let identity = identity("edge.example");
    let accepting = server_config(&identity, today()).unwrap();
    let dialing = client_config(&identity.chain, None, today()).unwrap();
    let name = ServerName::try_from("edge.example").unwrap();
    let handshake_bytes = || {
        let tls = Some((Arc::clone(&dialing), name.clone()));
        let mut near =
            Connection::dial_request(tls, "x", &Outbound::get("/"), today(), &limits()).unwrap();
        let tls = Some(Arc::clone(&accepting));
        let mut far = Connection::accept(tls, today(), &limits()).unwrap();
        let mut owner = Owner::default();
        owner.receive(&mut far, &sent(&mut near)).unwrap();
        let first_flight = sent(&mut far);
        owner.receive(&mut near, &first_flight).unwrap();
        let met = meet(&mut near, &mut far);
        assert_eq!((met.0.0, met.1.0), (Ok(()), Ok(())));
        first_flight.len()
    };
    let (first, second) = (handshake_bytes(), handshake_bytes());
    assert!(second + identity.chain[0].len() < first, "{second} of {first}");
}
