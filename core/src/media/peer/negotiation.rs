//! The one place where str0m is given SDP of a far side.

use std::panic::{AssertUnwindSafe, catch_unwind};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::{Candidate, Rtc};

use crate::media::fault::PeerFault;
use crate::media::format::Offered;
use crate::media::offer::{Narrowed, Offer};

/// Has str0m answer an offer.
pub(super) fn accept_offer(rtc: &mut Rtc, narrowed: &Narrowed<'_>) -> Result<String, PeerFault> {
    contain(|| {
        let offer = SdpOffer::from_sdp_string(&narrowed.sdp()).map_err(|error| unusable(&error))?;
        let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| unusable(&error))?;
        Ok(answer.to_sdp_string())
    })
}

/// Gives str0m the answer to an offer that it made, of one codec in each section.
pub(super) fn accept_answer(
    rtc: &mut Rtc,
    offer: SdpPendingOffer,
    offered: &[Offered],
    answer: &str,
) -> Result<(), PeerFault> {
    let answer = Offer::parse(answer)?.narrow_to_offered(offered)?.sdp();
    contain(|| {
        let answer = SdpAnswer::from_sdp_string(&answer).map_err(|error| unusable(&error))?;
        rtc.sdp_api().accept_answer(offer, answer).map_err(|error| unusable(&error))
    })
}

/// Where the far side says it can be reached.
pub(super) fn candidates(answer: &str) -> impl Iterator<Item = Candidate> + '_ {
    let attributes = answer.lines().filter_map(|line| line.strip_prefix("a="));
    attributes.filter_map(|attribute| Candidate::from_sdp_string(attribute).ok())
}

fn unusable(error: &dyn ToString) -> PeerFault {
    PeerFault::Sdp(error.to_string())
}

/// Has a panic cost one peer. str0m asserts what it believes of its tables, and what goes into them
/// are the words of strangers: all that is known to break such a belief is refused before, but what
/// is not known yet must not end a node. Whoever is given up is dropped, so nothing that was left
/// half done is used again. A fuzzer sees the panic all the same.
fn contain<T>(negotiate: impl FnOnce() -> Result<T, PeerFault>) -> Result<T, PeerFault> {
    catch_unwind(AssertUnwindSafe(negotiate)).unwrap_or_else(|_| {
        Err(PeerFault::Internal("its SDP broke an assertion of str0m".to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_the_peer_and_a_fault_stays_what_it_is() {
        assert_eq!(contain(|| Ok(7)), Ok(7));
        assert_eq!(contain(|| Err::<(), _>(PeerFault::Gone)), Err(PeerFault::Gone));
        let broken: Result<(), _> = contain(|| panic!("an assertion"));
        assert!(matches!(broken, Err(PeerFault::Internal(_))), "{broken:?}");
    }
}
