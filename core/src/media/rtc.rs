//! How str0m is set up for a peer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use str0m::ice::IceCreds;
use str0m::net::Protocol;
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, Rtc};

use super::format::Offered;
use super::handshake::Handshake;
use crate::config::Config;
use crate::outbox::Ctx;

/// How often str0m is to report on media that it never sees.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Makes a transport for these codecs, at a port of ours. One that is `lite` waits for checks of
/// the far side. One that is `keyless` never sees media, and its keys are those of the handshake.
pub(crate) fn build(
    ctx: &Ctx<'_>,
    credentials: IceCreds,
    codecs: [Option<Offered>; 2],
    port: u16,
    is_lite: bool,
    is_keyless: bool,
) -> (Rtc, Option<Handshake>) {
    let mut builder = Rtc::builder()
        .set_rtp_mode(true)
        .set_ice_lite(is_lite)
        .set_local_ice_credentials(credentials)
        .set_dtls_cert(ctx.config.dtls.clone())
        .set_extension_map(extension_map(ctx.config))
        .set_stats_interval(None)
        .clear_codecs();
    if !is_lite {
        // str0m checks a path that is up as often as it repeats a check of one that is not.
        builder.set_max_stun_rto(ctx.config.limits.link_ping_interval);
    }
    for codec in codecs.into_iter().flatten() {
        let spec = codec.spec;
        builder.codec_config().add_config(
            codec.pt.into(),
            codec.rtx.map(Into::into),
            spec.codec,
            spec.clock_rate,
            spec.channels,
            spec.format,
        );
    }
    let (mut rtc, handshake) = if is_keyless {
        let builder =
            builder.set_rtcp_report_interval_audio(NEVER).set_rtcp_report_interval_video(NEVER);
        let (rtc, handshake) = Handshake::build(builder, &ctx.config.crypto, ctx.now);
        (rtc, Some(handshake))
    } else {
        (builder.set_crypto_provider(ctx.config.crypto.clone()).build(ctx.now), None)
    };
    for candidate in candidates(ctx.config, port) {
        rtc.add_local_candidate(candidate);
    }
    (rtc, handshake)
}

/// Where the far side reaches a port of ours.
pub(crate) fn candidates(config: &Config, port: u16) -> impl Iterator<Item = Candidate> {
    // Only an unspecified address is refused, and the configuration has none.
    let host = move |at: &IpAddr| Candidate::host(SocketAddr::new(*at, port), Protocol::Udp).ok();
    config.addresses.iter().filter_map(host)
}

fn extension_map(config: &Config) -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    map.set(1, Extension::AudioLevel);
    map.set(2, Extension::AbsoluteSendTime);
    if config.settings.congestion.twcc {
        map.set(3, Extension::TransportSequenceNumber);
    }
    map.set(4, Extension::RtpMid);
    map.set(6, Extension::VideoContentType);
    map.set(13, Extension::VideoOrientation);
    map
}

/// The candidate that stands for the address a datagram came to. Behind a NAT that is not the
/// address itself, but the public one of the same family.
pub(crate) fn candidate_for(local: SocketAddr, port: u16, config: &Config) -> SocketAddr {
    let known = config.addresses.iter().any(|address| *address == local.ip());
    let stand_in = config.addresses.iter().find(|other| other.is_ipv4() == local.is_ipv4());
    let address = match stand_in {
        Some(stand_in) if !known => *stand_in,
        _ => local.ip(),
    };
    SocketAddr::new(address, port)
}
