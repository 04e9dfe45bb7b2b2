//! What a TLS listener hears: a real client whose records are bent on the way, or anything at all.

use std::sync::Arc;
use std::time::Duration;

use distributary_core::{ConnId, Hangup, Service};
use distributary_tests::sim::Plan;
use distributary_tests::sim::bare::Bare;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::answers::responses;
use crate::bytes::Bytes;
use crate::frames::frames;
use crate::room;

/// Connections of one run.
const CONNECTIONS_MAX: u8 = 4;

/// One byte that chooses the version, then steps of an opcode and its arguments: what the client
/// has to say goes on its way as it is, in pieces, changed, twice or not at all; other bytes and
/// other records come between; the client asks something; time passes.
///
/// The node speaks in whole records, and whoever was not tampered with gets whole answers.
pub fn tls(data: &[u8]) {
    let mut data = Bytes::new(data);
    let Some(version) = data.byte() else { return };
    let mut bare = Bare::new(Plan::new("node.example"));
    let config = client_config(&bare, version % 2 == 0);
    let mut client = Client::new(&mut bare, &config);
    let mut connections = 1;
    while let Some(op) = data.byte() {
        if op % 11 == 10 && connections < CONNECTIONS_MAX {
            connections += 1;
            client.judge(&mut bare);
            client = Client::new(&mut bare, &config);
        } else if client.step(&mut bare, op, &mut data).is_none() {
            break;
        }
        client.hear(&mut bare);
    }
    client.judge(&mut bare);
    // Nobody is given more time than for his handshake, or to ask the next thing.
    bare.advance(Duration::from_secs(120));
    assert_eq!(bare.conns(), [], "somebody who says nothing may stay");
    room::leave(&mut bare);
}

fn client_config(bare: &Bare, tls13: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let chain = bare.config().tls.chain.iter().cloned().map(CertificateDer::from);
    roots.add_parsable_certificates(chain);
    let version = if tls13 { &TLS13 } else { &TLS12 };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[version]).expect("it is a version");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

struct Client {
    conn: ConnId,
    tls: ClientConnection,
    /// What the client said and nobody carried yet.
    pending: Vec<u8>,
    /// Everything that the node said.
    wire: Vec<u8>,
    plain: Vec<u8>,
    /// Whether every byte went both ways as it was.
    honest: bool,
}

impl Client {
    fn new(bare: &mut Bare, config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("node.example").expect("it is a name");
        let tls = ClientConnection::new(config.clone(), name).expect("a client");
        let conn = bare.connect(Service::Wss);
        let (pending, wire, plain) = Default::default();
        let mut client = Self { conn, tls, pending, wire, plain, honest: true };
        client.speak();
        client
    }

    fn step(&mut self, bare: &mut Bare, op: u8, data: &mut Bytes<'_>) -> Option<()> {
        match op % 11 {
            0 => {}
            1 => {
                let piece = usize::from(data.byte()?).min(self.pending.len());
                let piece: Vec<u8> = self.pending.drain(..piece).collect();
                bare.receive(self.conn, &piece);
                return Some(());
            }
            2 => {
                let at = usize::from(data.word()?);
                let change = data.byte()?;
                let at = at.checked_rem(self.pending.len()).unwrap_or_default();
                if let Some(byte) = self.pending.get_mut(at) {
                    *byte ^= change;
                    self.honest &= change == 0;
                }
            }
            3 => {
                let pending = self.pending.clone();
                self.honest &= pending.is_empty();
                self.pending.extend(pending);
            }
            4 => {
                self.honest &= self.pending.is_empty();
                self.pending.clear();
            }
            5 => {
                let bytes = data.counted()?;
                self.honest &= bytes.is_empty();
                bare.receive(self.conn, bytes);
                return Some(());
            }
            6 => {
                let asked = data.counted()?;
                use std::io::Write as _;
                // Before the handshake, rustls keeps it.
                let _ = self.tls.writer().write_all(asked);
                self.speak();
            }
            7 => {
                let kind = 20 + data.byte()? % 8;
                let body = data.counted()?;
                self.honest = false;
                let length = u16::try_from(body.len()).ok()?.to_be_bytes();
                bare.receive(self.conn, &[&[kind, 3, 3], &length[..], body].concat());
                return Some(());
            }
            8 => bare.advance(Duration::from_millis(data.word()?.into())),
            9 => {
                // Who leaves before he is in does not go by the rules.
                self.honest &= !self.tls.is_handshaking();
                self.tls.send_close_notify();
                self.speak();
            }
            _ => bare.close(self.conn, Hangup::Eof),
        }
        let pending = std::mem::take(&mut self.pending);
        bare.receive(self.conn, &pending);
        Some(())
    }

    fn speak(&mut self) {
        while self.tls.wants_write() {
            // A vector takes everything.
            let _ = self.tls.write_tls(&mut self.pending);
        }
    }

    /// Takes what the node said.
    fn hear(&mut self, bare: &mut Bare) {
        use std::io::Read as _;
        let said = bare.take(self.conn);
        self.wire.extend_from_slice(&said);
        let mut rest = &said[..];
        while !rest.is_empty() {
            match self.tls.read_tls(&mut rest).map(|read| (read, self.tls.process_new_packets())) {
                Ok((1.., Ok(_))) => {}
                // Behind a goodbye nothing is read.
                Ok((0, _)) => break,
                problem => {
                    assert!(!self.honest, "a client did nothing wrong: {problem:?}");
                    break;
                }
            }
            // At its end, or where nothing more is there yet.
            let _ = self.tls.reader().read_to_end(&mut self.plain);
        }
        self.speak();
    }

    fn judge(&mut self, bare: &mut Bare) {
        self.hear(bare);
        records(&self.wire);
        if self.honest {
            let (_, rest) = responses(&self.plain);
            frames(rest);
        }
    }
}

/// Whole records and nothing else (RFC 8446, section 5.1).
fn records(wire: &[u8]) {
    let mut rest = wire;
    while let Some((head, behind)) = rest.split_first_chunk::<5>() {
        let [kind, major, _, high, low] = *head;
        assert!(matches!((kind, major), (20..=23, 3)), "no record: {head:?}");
        let length = usize::from(u16::from_be_bytes([high, low]));
        assert!(length <= (1 << 14) + 2048, "a record of {length} bytes");
        let (_, behind) = behind.split_at_checked(length).expect("a whole record");
        rest = behind;
    }
    assert!(rest.is_empty(), "half a record");
}
