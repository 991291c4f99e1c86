//! Dividing a number of bytes by weights, so that the shares add up.

/// Shares of `total` in proportion to `weights`; they add up to `total`, and none exceeds its
/// weight if `total` does not exceed the sum of the weights. Without any weight the first share
/// is the whole; without shares there are none.
pub(crate) fn apportion(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let mut shares: Vec<u64> = weights
        .iter()
        .map(|weight| {
            let share = (u128::from(total) * u128::from(*weight)).checked_div(sum).unwrap_or(0);
            u64::try_from(share).unwrap_or(u64::MAX)
        })
        .collect();
    let mut left = total - shares.iter().sum::<u64>();
    for (share, weight) in shares.iter_mut().zip(weights) {
        // Rounding down lost less than one byte a share.
        let more = left.min(if *share < *weight { weight - *share } else { 0 });
        *share += more;
        left -= more;
    }
    if let Some(first) = shares.first_mut() {
        *first += left;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_none_exceeds_its_weight() {
        assert_eq!(apportion(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(apportion(6, &[3, 2, 1]), [3, 2, 1]);
        assert_eq!(apportion(5, &[3, 2, 1]), [3, 2, 0]);
        assert_eq!(apportion(u64::MAX, &[u64::MAX, 0]), [u64::MAX, 0]);
        assert_eq!(apportion(7, &[0, 0]), [7, 0]);
        assert!(apportion(7, &[]).is_empty());
    }
}
