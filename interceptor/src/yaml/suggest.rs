//! "Did you mean": the nearest of some known words.

/// Longer words are no slips of the fingers, and the distance takes quadratic time.
const MAX_WORD: usize = 64;

/// The known word within a third of the given word's length, the nearest first.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let word = word.to_ascii_lowercase();
    known
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut left_above = None;
    for (row, from) in a.chars().enumerate() {
        let mut current = Vec::with_capacity(last.len());
        current.push(row + 1);
        let mut left_beside = None;
        for (column, to) in b.iter().enumerate() {
            let above = last.get(column + 1).map_or(usize::MAX, |cost| cost + 1);
            let beside = current.last().map_or(usize::MAX, |cost| cost + 1);
            let diagonal = last
                .get(column)
                .map_or(usize::MAX, |cost| cost + usize::from(from != *to));
            let mut cost = above.min(beside).min(diagonal);
            if left_above == Some(*to)
                && left_beside == Some(from)
                && let Some(swapped) = column.checked_sub(1).and_then(|at| before_last.get(at))
            {
                cost = cost.min(swapped + 1);
            }
            current.push(cost);
            left_beside = Some(*to);
        }
        before_last = std::mem::replace(&mut last, current);
        left_above = Some(from);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_textbook() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("tsl", "tls", 1),
            ("polices", "policies", 1),
            ("ab", "ba", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn slips_are_understood_and_strangers_are_not() {
        let known = ["file", "env", "policies", "secrets"];
        for (word, expected) in [
            ("polices", Some("policies")),
            ("Secret", Some("secrets")),
            ("fiel", Some("file")),
            ("evn", Some("env")),
            ("kubernetes", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(nearest(&"p".repeat(1000), known), None);
    }
}
