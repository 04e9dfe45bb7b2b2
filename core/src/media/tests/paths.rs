//! Whose a datagram is, by where it was sent from.

use std::time::Duration;

use super::PeerId;
use super::stage::{PORT, Stage, address};
use crate::input::Flow;
use crate::limits::Limits;
use crate::message::ToMedia;

const HOLD: Duration = Duration::from_secs(5);

/// A shard with two publishers of whom only the offers are known.
fn stage() -> Stage {
    let mut stage = Stage::new(Limits { path_hold_time: HOLD, ..Limits::default() });
    stage.admit(1);
    stage.admit(2);
    stage
}

/// Whose a datagram is that comes from `remote` to our `port`.
fn owner(stage: &mut Stage, port: u16, remote: u16, datagram: &[u8]) -> Option<u64> {
    let flow = Flow { local: address(port), remote: address(remote) };
    let slot = stage.media.find(&stage.bench.ctx(), flow, datagram)?;
    Some(stage.media.peers[slot].id.0)
}

/// Whose a packet is that says nothing of it.
fn heard(stage: &mut Stage, remote: u16) -> Option<u64> {
    owner(stage, PORT, remote, &[128; 40])
}

/// A check that names a peer of ours, and is sealed with its password.
fn check(stage: &mut Stage, peer: u64, port: u16, remote: u16) -> Option<u64> {
    let slot = stage.media.by_id[&PeerId(peer)];
    let password = stage.media.peers[slot].ice.pass.clone();
    check_sealed_with(&password, stage, peer, port, remote)
}

fn check_sealed_with(
    password: &str,
    stage: &mut Stage,
    peer: u64,
    port: u16,
    remote: u16,
) -> Option<u64> {
    let slot = stage.media.by_id[&PeerId(peer)];
    let user = format!("{}:far", stage.media.peers[slot].ice.ufrag);
    let request = binding_request(&user, password);
    owner(stage, port, remote, &request)
}

/// RFC 8489, section 5, and RFC 8445, section 7.1.
fn binding_request(username: &str, password: &str) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut push = |kind: u16, value: &[u8]| {
        attributes.extend(kind.to_be_bytes());
        attributes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        attributes.extend(value);
        attributes.resize(attributes.len().next_multiple_of(4), 0);
    };
    push(0x0006, username.as_bytes());
    push(0x0024, &[0, 0, 0, 1]);
    push(0x0008, &[0; 20]);
    let mut request = vec![0, 1];
    request.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
    request.extend([0x21, 0x12, 0xa4, 0x42]);
    request.extend([9; 12]);
    request.extend(attributes);
    let sealed = request.len() - 24;
    let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let seal = hmac.sha1_hmac(password.as_bytes(), &[&request[..sealed]]);
    request[sealed + 4..].copy_from_slice(&seal);
    request
}

#[test]
fn a_check_tells_whose_all_that_follows_is() {
    let mut stage = stage();
    assert_eq!(heard(&mut stage, 7001), None);
    assert_eq!(check(&mut stage, 1, PORT, 7001), Some(1));
    assert_eq!(check(&mut stage, 2, PORT, 7002), Some(2));
    assert_eq!((heard(&mut stage, 7001), heard(&mut stage, 7002)), (Some(1), Some(2)));
    stage.handle(ToMedia::Drop { peer: PeerId(1) });
    assert_eq!((heard(&mut stage, 7001), heard(&mut stage, 7002)), (None, Some(2)));
}

#[test]
fn a_check_that_is_sealed_with_another_password_is_nobodys_and_crowds_nobody_out() {
    let mut stage = stage();
    assert_eq!(check(&mut stage, 1, PORT, 7001), Some(1));
    for remote in 7002..7100 {
        assert_eq!(check_sealed_with("", &mut stage, 1, PORT, remote), None);
        assert_eq!(heard(&mut stage, remote), None);
    }
    assert_eq!(check_sealed_with("", &mut stage, 2, PORT, 7001), None);
    assert_eq!(heard(&mut stage, 7001), Some(1));
}

#[test]
fn a_check_takes_no_path_whose_owner_was_heard_lately() {
    let mut stage = stage();
    check(&mut stage, 1, PORT, 7001);
    stage.wait(HOLD / 2);
    check(&mut stage, 1, PORT, 7001);
    stage.wait(HOLD - Duration::from_millis(1));
    assert_eq!(check(&mut stage, 2, PORT, 7001), Some(2), "it may be true, and is answered");
    assert_eq!(heard(&mut stage, 7001), Some(1));
    assert_eq!(stage.media.peers[stage.media.by_id[&PeerId(2)]].paths.iter().count(), 0);
    stage.wait(Duration::from_millis(1));
    assert_eq!(check(&mut stage, 2, PORT, 7001), Some(2));
    assert_eq!(heard(&mut stage, 7001), Some(2), "nobody was heard there for long");
}

#[test]
fn whoever_goes_leaves_a_path_to_whom_it_belongs_by_now() {
    let mut stage = stage();
    check(&mut stage, 1, PORT, 7001);
    stage.wait(HOLD);
    check(&mut stage, 2, PORT, 7001);
    stage.handle(ToMedia::Drop { peer: PeerId(1) });
    assert_eq!(heard(&mut stage, 7001), Some(2));
}

/// Both are heard from more places than are remembered of one.
#[test]
fn a_path_given_up_stays_with_whom_it_belongs_to_by_now() {
    let mut stage = stage();
    stage.bench.config.limits.peer_addresses_max = 1;
    check(&mut stage, 1, PORT, 7001);
    stage.wait(HOLD);
    check(&mut stage, 2, PORT, 7001);
    check(&mut stage, 1, PORT, 7002);
    assert_eq!((heard(&mut stage, 7001), heard(&mut stage, 7002)), (Some(2), Some(1)));
    check(&mut stage, 1, PORT, 7003);
    assert_eq!((heard(&mut stage, 7002), heard(&mut stage, 7003)), (None, Some(1)));
}

#[test]
fn a_check_at_another_port_of_ours_or_with_another_fragment_is_nobodys() {
    let mut stage = stage();
    assert_eq!(check(&mut stage, 1, PORT + 1, 7001), None);
    assert_eq!(owner(&mut stage, PORT + 1, 7001, &[128; 40]), None);
    assert_eq!(heard(&mut stage, 7001), None);
    // The number of peer 1 behind eight characters that were never given to it.
    assert_eq!(owner(&mut stage, PORT, 7001, &binding_request("aaaaaaaab:far", "")), None);
    assert_eq!(heard(&mut stage, 7001), None);
    assert_eq!(check(&mut stage, 1, PORT, 7001), Some(1));
}
