//! Sums over sets, which tell whether two ways through an index meet the same things.
//!
//! Series name their labels, and postings lists name the series of a label. Looking up one in the
//! other costs a search for each; adding up a number for every (label, series) on both ways costs
//! a multiplication. Equal sums of 64 bits are equal sets, but for one chance in 2^60 or so.

/// A sum in which the order of the members does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum(u64);

impl Sum {
    pub(super) const fn add(&mut self, number: u64) {
        self.0 = self.0.wrapping_add(number);
    }

    pub(super) const fn merge(&mut self, other: Self) {
        self.add(other.0);
    }

    /// The sum with every member multiplied by `factor`.
    pub(super) const fn times(self, factor: u64) -> u64 {
        self.0.wrapping_mul(factor)
    }
}

/// Spreads a number over all 64 bits: the finalizer of SplitMix64.
pub(super) const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A number for some text.
pub(super) fn text(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let mut hash = bytes.len() as u64;
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash ^ u64::from_le_bytes(last))
}

/// A number for a label pair, given those of its name and value. It is odd, so that no factor of
/// it is lost in a product.
pub(super) const fn pair(name: u64, value: u64) -> u64 {
    mix(name.rotate_left(23).wrapping_add(value)) | 1
}

/// A number for a chunk: its reference, and the times of its first and last sample.
pub(super) const fn chunk(reference: u64, min_time: i64, max_time: i64) -> u64 {
    let min = min_time.cast_unsigned().wrapping_mul(0xd6e8_feb8_6659_fd93);
    let max = max_time.cast_unsigned().wrapping_mul(0xa076_1d64_78bd_642f);
    mix(reference ^ min.rotate_left(17) ^ max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_every_byte_and_on_which_is_the_name() {
        let words: [&[u8]; 6] = [b"", b"\0", b"12345678", b"123456780", b"123456789", b"\0\0"];
        for (at, word) in words.iter().enumerate() {
            for other in &words[at + 1..] {
                assert_ne!(text(word), text(other), "{word:?} {other:?}");
            }
        }
        let (one, other) = (text(b"a"), text(b"b"));
        assert_ne!(pair(one, other), pair(other, one));
    }

    #[test]
    fn the_product_of_a_sum_is_the_sum_of_products() {
        let (mut ids, mut products) = (Sum::default(), 0_u64);
        let factor = pair(text(b"job"), text(b"node"));
        for id in 0..100 {
            ids.add(mix(id));
            products = products.wrapping_add(factor.wrapping_mul(mix(id)));
        }
        assert_eq!(ids.times(factor), products);
        assert_ne!(ids.times(factor), products.wrapping_add(mix(100).wrapping_mul(factor)));
    }
}
