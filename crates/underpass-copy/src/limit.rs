//! `--limit-rate`: bytes move in slices, with pauses so short that the flow is smooth.

use std::time::{Duration, Instant};

/// How often a second a limited transfer pauses, about.
const SLICES_A_SECOND: u64 = 20;

/// A rate that the average since the beginning never exceeds.
#[derive(Debug)]
pub(crate) struct Limit {
    bytes_per_s: u64,
    begun: Option<Instant>,
    moved: u64,
}

impl Limit {
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s: bytes_per_s.max(1), begun: None, moved: 0 }
    }

    pub(crate) fn slice(&self) -> u64 {
        (self.bytes_per_s / SLICES_A_SECOND).clamp(1, 2 << 20)
    }

    /// When `moved` more bytes are within the limit.
    pub(crate) fn due(&mut self, moved: u64) -> Instant {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        self.moved += moved;
        let nanos = u128::from(self.moved) * 1_000_000_000 / u128::from(self.bytes_per_s);
        begun + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 2))
    }
}
