//! "Did you mean …?"

/// The most edits between a name and what it was meant to be.
const EDITS_MAX: usize = 2;
/// The longest name that is compared, characters; the comparison is quadratic.
const NAME_CHARS_MAX: usize = 64;

/// Finds the known name that `name` was probably meant to be: the nearest one at most two
/// insertions, deletions, substitutions or swaps of neighbours away, letter case aside.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    if name.chars().count() > NAME_CHARS_MAX {
        return None;
    }
    known
        .map(|candidate| (edits(&name, &candidate.to_ascii_lowercase()), candidate))
        .filter(|&(edits, candidate)| edits <= EDITS_MAX && edits < candidate.chars().count())
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

/// Counts the edits between two names (optimal string alignment distance).
fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let at = |back: usize, column: usize| {
                // Row `i + 1 - back`; a swap looks two rows back, which the first row has not.
                (i + 1).checked_sub(back).and_then(|line| rows.get(line)?.get(column)).copied()
            };
            let substituted = at(1, j).map(|edits| edits + usize::from(a != b));
            let deleted = at(1, j + 1).map(|edits| edits + 1);
            let inserted = row.last().map(|edits| edits + 1);
            let swapped =
                (i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a))
                    .then(|| at(2, j - 1).map(|edits| edits + 1))
                    .flatten();
            let best = [substituted, deleted, inserted, swapped].into_iter().flatten().min();
            row.push(best.expect("a cell has a neighbour on its left"));
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().expect("there is at least one cell")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("ws.port", "ws.port", 0),
            ("ws.prot", "ws.port", 1),
            ("wsport", "ws.port", 1),
            ("kitten", "sitting", 3),
            ("ab", "ba", 1),
        ] {
            assert_eq!(edits(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn the_nearest_name_is_offered() {
        let known = || ["ws.port", "wss.port", "ip", "cdn_ip"].into_iter();
        assert_eq!(nearest("ws.prot", known()), Some("ws.port"));
        assert_eq!(nearest("WSS.PORT", known()), Some("wss.port"));
        assert_eq!(nearest("record_dir", known()), None);
        assert_eq!(nearest("x", known()), None, "two edits make any name of two letters");
        assert_eq!(nearest(&"w".repeat(1000), known()), None);
    }
}
