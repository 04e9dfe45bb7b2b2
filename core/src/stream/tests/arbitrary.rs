//! What no far side can do: make us panic, or mean something else by sending it in other pieces.

use proptest::prelude::*;

use super::tls::{identity, tls_dial, tls_server};
use super::websocket::{UPGRADE, frame, opened};
use super::*;

/// Bytes that look a little like the protocols, so that chance gets past their first check.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        Just(b"GET /a HTTP/1.1\r\nHost: x\r\n".to_vec()),
        Just(b"POST /b?c=%20 HTTP/1.1\r\nHost: x\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"Content-Length: 3\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"0\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r\nabc".to_vec()),
        Just(UPGRADE.to_vec()),
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..126))
            .prop_map(|(opcode, payload)| frame(opcode, &payload)),
        (0_usize..4, "[a-zä]{0,20}").prop_map(|(opcode, payload)| {
            frame([0x01, 0x80, 0x81, 0x89][opcode], payload.as_bytes())
        }),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// What a connection makes of bytes that come in pieces of these lengths, over and over.
fn heard(
    mut connection: Connection,
    bytes: &[u8],
    lengths: &[usize],
) -> (Vec<Incoming>, Option<StreamFault>) {
    let mut owner = Owner { echoes: true, ..Owner::default() };
    let (mut rest, mut lengths) = (bytes, lengths.iter().cycle());
    let mut fault = None;
    while !rest.is_empty() && fault.is_none() {
        let (piece, behind) = rest.split_at((*lengths.next().unwrap()).min(rest.len()));
        fault = owner.receive(&mut connection, piece).err();
        sent(&mut connection);
        rest = behind;
    }
    assert!(fault.is_none() || connection.is_closing());
    (owner.heard, fault)
}

fn dialed() -> Connection {
    Connection::dial_request(None, "x", &Outbound::get("/"), clock(), &limits()).unwrap()
}

/// What came over TLS, sent by a peer that has to speak it.
fn enciphered(plain: &[u8], lengths: &[usize]) -> (Vec<Incoming>, Option<StreamFault>) {
    let identity = identity("edge.example");
    let (mut near, mut far) = (tls_dial(&identity.chain, None, clock()), tls_server(&identity));
    let (mut near_owner, mut far_owner) = (Owner::default(), Owner::default());
    let met = converse((&mut near, &mut near_owner), (&mut far, &mut far_owner));
    assert_eq!(met, (Ok(()), Ok(())));
    // Straight into TLS, past the WebSocket that the dialing side has open.
    near.send(plain);
    let wire = sent(&mut near);
    heard(far, &wire, lengths)
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        bytes in bytes(),
        lengths in proptest::collection::vec(1_usize..50, 1..10),
    ) {
        prop_assert_eq!(heard(server(), &bytes, &[usize::MAX]), heard(server(), &bytes, &lengths));
        prop_assert_eq!(heard(dialed(), &bytes, &[usize::MAX]), heard(dialed(), &bytes, &lengths));
        let whole = heard(opened().0, &bytes, &[usize::MAX]);
        prop_assert_eq!(whole, heard(opened().0, &bytes, &lengths));
    }

    #[test]
    fn nonsense_instead_of_a_handshake_is_survived(
        bytes in bytes(),
        record in any::<bool>(),
        lengths in proptest::collection::vec(1_usize..50, 1..10),
    ) {
        let identity = identity("edge.example");
        let header = [22, 3, 1, bytes.len().to_be_bytes()[6], bytes.len().to_be_bytes()[7]];
        let bytes = if record { [&header[..], &bytes].concat() } else { bytes };
        let (said, _) = heard(tls_server(&identity), &bytes, &lengths);
        prop_assert_eq!(said, []);
        let (said, _) = heard(tls_dial(&identity.chain, None, clock()), &bytes, &lengths);
        prop_assert_eq!(said, []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn tls_changes_nothing(
        bytes in bytes(),
        lengths in proptest::collection::vec(1_usize..50, 1..10),
    ) {
        let plain = heard(opened().0, &bytes, &[usize::MAX]);
        prop_assert_eq!(&enciphered(&bytes, &[usize::MAX]), &plain);
        prop_assert_eq!(&enciphered(&bytes, &lengths), &plain);
    }
}
