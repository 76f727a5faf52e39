//! Several measurements of one thing.

use std::fmt;

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl Spread {
    /// Of nothing it is not a number.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let median = if values.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
        };
        Self {
            median,
            least: at(0),
            greatest: at(values.len().wrapping_sub(1)),
        }
    }
}

/// `12.3 (11.9–14.0)`, with three digits that say something.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            median,
            least,
            greatest,
        } = *self;
        let digits = match median.abs() {
            large if large >= 100.0 => 0,
            middling if middling >= 10.0 => 1,
            _ => 2,
        };
        write!(
            f,
            "{median:.digits$} ({least:.digits$} to {greatest:.digits$})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        for (values, median, text) in [
            (vec![3.0, 1.0, 2.0], 2.0, "2.00 (1.00 to 3.00)"),
            (vec![400.0, 100.0], 250.0, "250 (100 to 400)"),
            (vec![-12.5], -12.5, "-12.5 (-12.5 to -12.5)"),
        ] {
            let spread = Spread::of(values.clone());
            assert_eq!(spread.median, median, "{values:?}");
            assert_eq!(spread.to_string(), text, "{values:?}");
        }
    }
}
