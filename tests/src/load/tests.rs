//! What a viewer opens and says, judged by str0m: sealed by it and opened here, sealed here and
//! opened and parsed by it, in every profile of SRTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::config::{CryptoProvider, DtlsCert, Fingerprint};
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{
    DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};
use str0m::media::{MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::rtcp::Rtcp;
use str0m::rtp::{ExtensionValues, RawPacket, RtpWrite};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc};

use super::keys::Keys;
use super::profiles::Profile;
use super::receiver::{Control, Receiver, Scrutiny};
use super::rtp;
use super::srtp::Srtp;
use super::tally::Tally;
use super::track::{Count, Track};
use super::transport::{Kind, State, Transport};
use crate::browser::answer::Answer;
use crate::browser::{self, Codec, Shape, Stamp};

const SSRC: u32 = 0x1234_5678;
const RTX: u32 = 0x8765_4321;
const PUBLISHER: u32 = 9;
const STEP: Duration = Duration::from_millis(5);

#[test]
fn what_str0m_seals_is_opened_and_the_other_way_round_in_gcm_128() {
    talk(Some(&GCM_128));
}

#[test]
fn what_str0m_seals_is_opened_and_the_other_way_round_in_gcm_256() {
    talk(Some(&GCM_256));
}

#[test]
fn what_str0m_seals_is_opened_and_the_other_way_round_in_counter_mode() {
    talk(Some(&COUNTER));
}

#[test]
fn the_keys_that_dtls_agreed_on_are_tapped() {
    talk(None);
}

#[test]
fn where_arrivals_are_not_told_of_an_estimate_is() {
    let mut pair = Pair::connect(Some(&GCM_128));
    pair.receiver.control = Control::Estimate;
    // Five seconds of 100 bytes and some every 5 ms.
    for _ in 0..1_000 {
        pair.send();
        pair.step();
    }
    let told: Vec<f32> = pair
        .heard
        .iter()
        .filter_map(|rtcp| if let Rtcp::Remb(remb) = rtcp { Some(remb.bitrate) } else { None })
        .collect();
    assert!((4..=6).contains(&told.len()), "{told:?}");
    let last = told.last().copied().unwrap();
    assert!((250_000.0..550_000.0).contains(&last), "{told:?}");
    assert!(!pair.heard.iter().any(|rtcp| matches!(rtcp, Rtcp::Twcc(_))));
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    for profile in [&GCM_128, &GCM_256, &COUNTER] {
        let mut pair = Pair::connect(Some(profile));
        pair.tamper = true;
        for _ in 0..300 {
            pair.send();
            pair.step();
        }
        assert_eq!(pair.tally.opened, 0, "{profile:?}");
        // Every packet, and reports of the sender, too.
        assert!(pair.tally.refused > 300, "{profile:?}: {}", pair.tally.refused);
        let at = pair.at();
        assert_eq!(pair.receiver.tracks[0].block(at).unwrap().last_report, 0, "{profile:?}");
    }
}

/// Everything that a viewer and a server have to say to each other, with losses.
fn talk(profile: Option<&'static Swapped>) {
    let mut pair = Pair::connect(profile);
    pair.receiver.tracks[0].count();
    // Over the sequence numbers' end, and over several reports.
    for sent in 0..600 {
        // Now and then one, and once two in a row.
        pair.lose = sent % 100 == 30 || sent == 131;
        pair.send();
        pair.step();
    }
    // Long enough for another report.
    for _ in 0..300 {
        pair.step();
    }
    let tally = &pair.tally;
    assert_eq!((tally.refused, tally.altered, tally.strange), (0, 0, 0), "{tally:?}");
    // What is sent again is a sample too, by its delay among others.
    assert_eq!(tally.opened, 600, "{tally:?}");
    assert_eq!(tally.retransmitted, 7, "{tally:?}");
    let delays: usize = tally.seconds.iter().map(|second| second.delays.len()).sum();
    assert_eq!(delays, 600);
    let count = Count { packets: 600, late: 7, lost: 0, gaps: 0 };
    assert_eq!(pair.receiver.tracks[0].counted(), count);

    let heard = &pair.heard;
    let nacked: usize = heard
        .iter()
        .filter_map(|rtcp| if let Rtcp::Nack(nack) = rtcp { Some(nack) } else { None })
        .map(|nack| {
            nack.reports.iter().map(|entry| 1 + entry.blp.count_ones() as usize).sum::<usize>()
        })
        .sum();
    assert!(nacked >= 7, "{heard:?}");
    let reports: Vec<_> = heard
        .iter()
        .filter_map(
            |rtcp| if let Rtcp::ReceiverReport(report) = rtcp { Some(report) } else { None },
        )
        .flat_map(|report| report.reports.iter())
        .collect();
    assert!(reports.len() >= 2, "{heard:?}");
    assert!(reports.iter().all(|report| *report.ssrc == SSRC), "{reports:?}");
    assert!(reports.iter().any(|report| report.last_sr_time != 0), "{reports:?}");
    let newest = reports.last().unwrap().max_seq;
    assert!(newest > 0xffff, "the roll-over is counted: {newest:#x}");
    assert!(heard.iter().any(|rtcp| matches!(rtcp, Rtcp::Pli(pli) if *pli.ssrc == SSRC)));
    assert!(pair.key_frame_requests > 0);
    told_of_every_arrival(heard);
}

/// Every packet is told of once, or was missing.
fn told_of_every_arrival(heard: &[Rtcp]) {
    let mut next: Option<u16> = None;
    let (mut told, mut arrived) = (0, 0);
    for rtcp in heard {
        let Rtcp::Twcc(twcc) = rtcp else { continue };
        assert_eq!(next.unwrap_or(twcc.base_seq), twcc.base_seq, "one begins where one ended");
        next = Some(twcc.base_seq.wrapping_add(twcc.status_count));
        told += usize::from(twcc.status_count);
        arrived += twcc.delta.len();
    }
    // 600 and those that were sent again; 7 never came.
    assert_eq!((told, arrived), (607, 600));
}

/// A viewer, and a server that is nothing but str0m.
struct Pair {
    now: Instant,
    clock: Instant,
    server: Rtc,
    transport: Transport,
    receiver: Receiver,
    tally: Tally,
    sent: u32,
    /// What becomes of RTP and RTCP to the viewer.
    lose: bool,
    tamper: bool,
    heard: Vec<Rtcp>,
    key_frame_requests: usize,
}

fn addresses() -> [SocketAddr; 2] {
    [([10, 0, 0, 1], 1_000).into(), ([10, 0, 0, 2], 2_000).into()]
}

impl Pair {
    fn connect(profile: Option<&'static Swapped>) -> Self {
        let now = Instant::now();
        let [viewer, server_addr] = addresses();
        let shape = Shape::video().only(Codec::H264);
        let kind = Kind::new(shape.clone(), Profile::Any);
        let (mut transport, offer) = Transport::offer(now, &kind, viewer, false);
        let mut server = serve(now, &shape, profile, &offer);
        let api = server.direct_api();
        let IceCreds { ufrag, pass: password } = api.local_ice_credentials();
        let answer = Answer {
            ufrag,
            password,
            fingerprint: api.local_dtls_fingerprint().clone(),
            dial: true,
            candidates: vec![Candidate::host(server_addr, "udp").unwrap()],
            lines: Vec::new(),
            transport_sequence: None,
            estimates: false,
        };
        transport.agree(now, &answer).unwrap();

        // The receiver comes into being with the keys; until then there is a blind one.
        let blind = Srtp::new(&Swapped(SrtpProfile::AEAD_AES_128_GCM).keys()).unwrap();
        let track = || vec![Track::new(Codec::H264, SSRC, Some(RTX))];
        let scrutiny = Scrutiny { publisher: Some(PUBLISHER), sample: 1, loss: 0.0, seed: 0 };
        let mut pair = Self {
            now,
            clock: now,
            server,
            transport,
            receiver: Receiver::new(Duration::ZERO, blind, track(), Control::Arrivals(3), scrutiny),
            tally: Tally::default(),
            sent: 0,
            lose: false,
            tamper: false,
            heard: Vec::new(),
            key_frame_requests: 0,
        };
        for _ in 0..400 {
            pair.step();
        }
        assert_eq!(pair.transport.state, State::Up);
        let tapped = pair.transport.take_srtp().unwrap();
        let srtp = profile.map_or(tapped, |profile| Srtp::new(&profile.keys()).unwrap());
        pair.receiver = Receiver::new(pair.at(), srtp, track(), Control::Arrivals(3), scrutiny);
        pair.tally = Tally::default();
        pair
    }

    fn at(&self) -> Duration {
        self.now - self.clock
    }

    /// The server sends a packet, which begins no key frame.
    fn send(&mut self) {
        let stamp =
            Stamp { publisher: PUBLISHER, counter: self.sent, sent: self.at(), key_frame: false };
        let payload = stamp.payload(Codec::H264, true, 100);
        let write = RtpWrite::new(
            102.into(),
            u64::from(65_000 + self.sent).into(),
            self.sent * 450,
            self.now,
            payload.as_slice(),
        )
        .nackable(true)
        .ext_vals(ExtensionValues { mid: Some(mid()), ..Default::default() });
        self.sent += 1;
        self.server.direct_api().stream_tx(&SSRC.into()).unwrap().write_rtp(write);
    }

    /// Lets 5 ms pass.
    fn step(&mut self) {
        self.now += STEP;
        self.server.handle_input(Input::Timeout(self.now)).unwrap();
        self.drain_server();
        if self.transport.due <= self.now {
            self.transport.advance(self.now);
        }
        let mut said = Vec::new();
        let at = self.at();
        let send = &mut |packet: &[u8]| said.push(packet.to_vec());
        if self.receiver.hurries() {
            self.receiver.ask(at, &mut self.tally, send);
        }
        if at.as_millis().is_multiple_of(50) {
            self.receiver.report(at, &mut self.tally, send);
        }
        let handshake = self.transport.outgoing.drain(..).map(|(_, datagram)| datagram);
        for datagram in handshake.chain(said).collect::<Vec<_>>() {
            let [viewer, server] = addresses();
            let receive = Receive::new(Protocol::Udp, viewer, server, &datagram).unwrap();
            self.server.handle_input(Input::Receive(self.now, receive)).unwrap();
            self.drain_server();
        }
    }

    fn drain_server(&mut self) {
        loop {
            match self.server.poll_output().unwrap() {
                Output::Timeout(_) => break,
                Output::Transmit(transmit) => self.deliver(transmit.contents.to_vec()),
                Output::Event(Event::RawPacket(packet)) => {
                    if let RawPacket::RtcpRx(rtcp) = *packet {
                        self.heard.push(rtcp);
                    }
                }
                Output::Event(Event::KeyframeRequest(_)) => self.key_frame_requests += 1,
                Output::Event(_) => {}
            }
        }
    }

    fn deliver(&mut self, mut datagram: Vec<u8>) {
        let [_, server] = addresses();
        match rtp::Kind::of(&datagram) {
            rtp::Kind::Other => self.transport.datagram(self.now, server, &datagram),
            rtp::Kind::Rtp if std::mem::take(&mut self.lose) => {}
            rtp::Kind::Rtp | rtp::Kind::Rtcp => {
                if self.tamper {
                    *datagram.last_mut().unwrap() ^= 1;
                }
                self.receiver.datagram(self.at(), &mut datagram, &mut self.tally);
            }
        }
    }
}

fn mid() -> Mid {
    Mid::from("0")
}

/// A server that takes this offer, with these keys.
fn serve(now: Instant, shape: &Shape, profile: Option<&'static Swapped>, offer: &str) -> Rtc {
    let stock = str0m::crypto::from_feature_flags();
    let crypto = match profile {
        Some(profile) => CryptoProvider { dtls_provider: profile, ..stock },
        None => stock,
    };
    let mut server =
        browser::configure(shape, Arc::new(crypto)).enable_raw_packets(true).build(now);
    let [viewer, addr] = addresses();
    server.add_local_candidate(Candidate::host(addr, "udp").unwrap());
    server.add_remote_candidate(Candidate::host(viewer, "udp").unwrap());
    let value = |key: &str| {
        let line = offer.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key} in {offer}")).to_owned()
    };
    let mut api = server.direct_api();
    api.set_ice_controlling(false);
    api.declare_media(mid(), MediaKind::Video);
    api.declare_stream_tx(SSRC.into(), Some(RTX.into()), mid(), None);
    let (ufrag, pass) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
    api.set_remote_ice_credentials(IceCreds { ufrag, pass });
    api.set_remote_fingerprint(fingerprint(&value("a=fingerprint:")));
    api.start_dtls(false).unwrap();
    server
}

fn fingerprint(text: &str) -> Fingerprint {
    let (hash_func, digits) = text.split_once(' ').unwrap();
    let bytes = digits.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    Fingerprint { hash_func: hash_func.to_owned(), bytes }
}

/// The stock DTLS, which then claims to have agreed on this profile, and on keys that everybody
/// knows.
#[derive(Debug)]
struct Swapped(SrtpProfile);

static GCM_128: Swapped = Swapped(SrtpProfile::AEAD_AES_128_GCM);
static GCM_256: Swapped = Swapped(SrtpProfile::AEAD_AES_256_GCM);
static COUNTER: Swapped = Swapped(SrtpProfile::AES128_CM_SHA1_80);

impl Swapped {
    fn material(&self) -> Vec<u8> {
        (0..self.0.keying_material_len()).map(|n| n as u8 ^ 0x5a).collect()
    }

    /// As the viewer has them, which is the client of the handshake.
    fn keys(&self) -> Keys {
        Keys { profile: self.0, material: self.material(), client: true }
    }
}

impl DtlsProvider for Swapped {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        str0m::crypto::from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let stock = str0m::crypto::from_feature_flags().dtls_provider;
        let handshake = stock.new_dtls(cert, now, version, mtu)?;
        Ok(Box::new(Claiming { handshake, profile: self.0, material: self.material() }))
    }
}

#[derive(Debug)]
struct Claiming {
    handshake: Box<dyn DtlsInstance>,
    profile: SrtpProfile,
    material: Vec<u8>,
}

impl DtlsInstance for Claiming {
    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let output = self.handshake.poll_output(buf);
        if matches!(output, DtlsOutput::KeyingMaterial(..)) {
            DtlsOutput::KeyingMaterial(KeyingMaterial::new(&self.material), self.profile)
        } else {
            output
        }
    }

    fn set_active(&mut self, active: bool) {
        self.handshake.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.handshake.handle_packet(packet)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.handshake.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.handshake.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.handshake.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.handshake.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.handshake.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.handshake.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.handshake.close()
    }
}
