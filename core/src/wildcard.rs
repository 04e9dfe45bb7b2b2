//! Patterns of names and hosts, whose `*` stands for any run of characters, an empty one too.

/// Whether the whole text is what the pattern says.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    // The first place that fits each part leaves the most for those that follow.
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The textbook definition, exponential.
    fn matches_by_definition(pattern: &str, text: &str) -> bool {
        match (pattern.split_at_checked(1), text.split_at_checked(1)) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(("*", pattern)), None) => matches_by_definition(pattern, text),
            (Some(("*", rest)), Some((_, shorter))) => {
                matches_by_definition(rest, text) || matches_by_definition(pattern, shorter)
            }
            (Some(_), None) => false,
            (Some((p, pattern)), Some((h, text))) => p == h && matches_by_definition(pattern, text),
        }
    }

    proptest! {
        #[test]
        fn stars_stand_for_any_run(pattern in "[ab*]{0,7}", text in "[ab]{0,7}") {
            prop_assert_eq!(matches(&pattern, &text), matches_by_definition(&pattern, &text));
        }
    }
}
