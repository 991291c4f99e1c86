//! The median of several rounds, and quantiles of many samples.

/// The middle of the values; the mean of the two middle ones if their number is even.
///
/// `NaN` if there are no values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (left, right) =
        (sorted.get(sorted.len().wrapping_sub(1) / 2), sorted.get(sorted.len() / 2));
    match (left, right) {
        (Some(left), Some(right)) => f64::midpoint(*left, *right),
        (None, _) | (_, None) => f64::NAN,
    }
}

/// The value that `share` of all values do not exceed; `share` within 0 to 1. `NaN` if
/// there are no values.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank lies within the length of a slice"
    )]
    let rank = ((sorted.len() as f64 * share).ceil() as usize).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_middles() {
        assert!(median(&[]).is_nan());
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_quantile_is_a_value_that_occurred() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        for (share, value) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)] {
            assert!((quantile(&hundred, share) - value).abs() < 1e-9, "{share}");
        }
    }
}
