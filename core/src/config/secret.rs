//! What must not be shown.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// A text that whoever knows it may do something by. It is not shown, not even in debug output.
#[derive(Clone, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `text` is the same, in a time that tells nothing about where the two differ, nor
    /// how long the secret is.
    pub fn is(&self, text: &str) -> bool {
        let [own, other] = [&self.0, text].map(|text| digest(&SHA256, text.as_bytes()));
        verify_slices_are_equal(own.as_ref(), other.as_ref()).is_ok()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_whole() {
        let secret = Secret::new("correct horse");
        assert!(secret.is("correct horse"));
        for other in ["", "correct", "correct horse ", "Correct horse"] {
            assert!(!secret.is(other), "{other}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("correct horse")), "Secret(..)");
    }
}
