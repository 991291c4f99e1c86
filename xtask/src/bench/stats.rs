//! What is said of several rounds: the median, and the worst beside it.

/// The middle of the values; the mean of the two middle ones if their number is even.
///
/// `NaN` for none.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_middles() {
        assert!(median(&[]).is_nan());
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
