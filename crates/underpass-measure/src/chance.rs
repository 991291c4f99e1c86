//! Numbers by chance, the same for the same beginning: xorshift64* of G. Marsaglia and S. Vigna.

use crate::figure::float;

#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// From this state, which is not 0: that would stay 0.
    pub(crate) const fn from_state(state: u64) -> Self {
        Self(state)
    }

    /// From a seed: states that are small numbers are much alike.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `end`, by the better bits.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    /// From 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        float(self.next()) / float(u64::MAX)
    }
}
