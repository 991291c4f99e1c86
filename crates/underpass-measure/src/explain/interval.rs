//! What a watch with rests knows of the share by reference of all the time: from where to where
//! it is.
//!
//! Each look stands for some time, and what it saw for that many times as much. How far the share
//! that follows may be off is told by the looks themselves: those next to each other would agree
//! if nothing happened between them. So each of two neighbours is let to stand for both, by chance
//! and many times over, and the interval holds all but the outermost of the shares that follow.
//!
//! Chance decides nothing about what no look saw. Where TCP itself has counted more bytes than the
//! looks stand for, those may have left in either way, and the interval holds both.
//!
//! Source: P. J. McCarthy, Pseudo-replication: Half Samples, Review of the International
//! Statistical Institute 37 (1969).

use std::time::Duration;

use serde::Serialize;

use crate::figure::float;

/// Fewer looks tell nothing.
const LOOKS_MIN: usize = 10;

/// Times that chance decides.
const DRAWS: usize = 500;

/// Draws left out at each end: one in two hundred, since loads are seldom as kind as chance.
const OUTERMOST: usize = DRAWS / 200;

/// What a look saw, times the time that it stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Look {
    looked: f64,
    stands_for: f64,
    by_reference: f64,
    copied: f64,
}

impl Look {
    /// A look that stands for itself.
    pub(crate) fn new(looked: Duration, by_reference: u64, copied: u64) -> Self {
        let looked = looked.as_secs_f64().max(f64::MIN_POSITIVE);
        let (by_reference, copied) = (float(by_reference), float(copied));
        Self { looked, stands_for: looked, by_reference, copied }
    }

    /// It stands for more time.
    pub(crate) fn stand_for(&mut self, more: Duration) {
        self.stands_for += more.as_secs_f64();
    }

    /// One look in place of two, that counts as much as both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let (one, other) = (self.whole(self.stands_for), other.whole(other.stands_for));
        let looked = one.looked + other.looked;
        Self {
            looked,
            stands_for: looked,
            by_reference: one.by_reference + other.by_reference,
            copied: one.copied + other.copied,
        }
    }

    /// What follows of it for another time.
    fn whole(&self, time: f64) -> Self {
        let times = time / self.looked;
        Self {
            looked: time,
            stands_for: time,
            by_reference: self.by_reference * times,
            copied: self.copied * times,
        }
    }
}

/// From where to where the percentage by reference is, of all the time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Interval {
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
    /// From how many looks that follows.
    pub looks: usize,
}

impl Interval {
    /// `71.2 to 98 %`.
    pub(crate) fn text(&self) -> String {
        // Outwards, so that it holds no less than it does.
        let (low, high) = ((self.low * 10.0).floor() / 10.0, (self.high * 10.0).ceil() / 10.0);
        if low < high { format!("{low} to {high} %") } else { format!("{low} %") }
    }

    /// What the looks tell, if of what left by reference and of what was copied these shares are
    /// of files, and if `total` bytes have left as TCP counts them.
    pub(crate) fn of(looks: &[Look], of_files: [f64; 2], total: Option<u64>, seed: u64) -> Self {
        let (low, high) = (0.0, 100.0);
        if looks.len() < LOOKS_MIN {
            return Self { low, high, looks: looks.len() };
        }
        let mut chance = Chance::new(seed);
        let mut draws: Vec<Look> = (0..DRAWS).map(|_| draw(looks, &mut chance)).collect();
        let mean = looks.iter().map(|look| look.whole(look.stands_for)).fold(Look::default(), sum);
        let missed = total.map_or(0.0, float) - mean.by_reference - mean.copied;
        let missed = missed.max(0.0);
        let share = |draw: &Look, missed_by_reference: f64, missed_copied: f64| {
            let by_reference = of_files[0] * (draw.by_reference + missed_by_reference);
            let all = by_reference + of_files[1] * (draw.copied + missed_copied);
            if all > 0.0 { by_reference / all * 100.0 } else { 0.0 }
        };
        draws.sort_by(|one, other| share(one, 0.0, 0.0).total_cmp(&share(other, 0.0, 0.0)));
        Self {
            low: share(&draws[OUTERMOST], 0.0, missed).max(low),
            high: share(&draws[DRAWS - 1 - OUTERMOST], missed, 0.0).min(high),
            looks: looks.len(),
        }
    }
}

/// All the time, with one of each two neighbours for both. Which are neighbours is by chance too.
fn draw(looks: &[Look], chance: &mut Chance) -> Look {
    let (first, pairs) = looks.split_at(usize::from(chance.coin()) % looks.len());
    let alone = first.iter().map(|look| look.whole(look.stands_for)).fold(Look::default(), sum);
    let stand = |pair: &[Look]| match pair {
        [one, other] => {
            let look = if chance.coin() { one } else { other };
            look.whole(one.stands_for + other.stands_for)
        }
        _ => pair[0].whole(pair[0].stands_for),
    };
    pairs.chunks(2).map(stand).fold(alone, sum)
}

fn sum(one: Look, other: Look) -> Look {
    Look {
        looked: one.looked + other.looked,
        stands_for: one.stands_for + other.stands_for,
        by_reference: one.by_reference + other.by_reference,
        copied: one.copied + other.copied,
    }
}

/// Numbers by chance, the same for the same seed: xorshift64* of G. Marsaglia and S. Vigna.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        // Zero would stay zero, and small numbers are much alike.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    const fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }

    /// From 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        float(self.next()) / float(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    const WHOLE: [f64; 2] = [1.0, 1.0];

    fn looks(each: &[(u64, u64)]) -> Vec<Look> {
        each.iter().map(|&(by_reference, copied)| Look::new(MILLI, by_reference, copied)).collect()
    }

    #[test]
    fn looks_that_agree_leave_no_room_and_few_looks_leave_all_of_it() {
        let Interval { low, high, looks: count } =
            Interval::of(&looks(&[(3, 1); 10]), WHOLE, None, 15);
        assert!((low - 75.0).abs() < 1e-9 && (high - 75.0).abs() < 1e-9, "{low} {high}");
        assert_eq!(count, 10);
        let few = Interval::of(&looks(&[(3, 1); 9]), WHOLE, None, 15);
        assert_eq!(few, Interval { low: 0.0, high: 100.0, looks: 9 });
        // A demand of all of it can be met.
        let all = Interval::of(&looks(&[(7, 0); 30]), [0.3, 1.0], None, 15);
        assert_eq!((all.low, all.high), (100.0, 100.0));
    }

    #[test]
    fn what_a_look_saw_counts_for_the_time_that_it_stands_for() {
        let mut looks = looks(&[(1, 1); 20]);
        for look in &mut looks {
            look.stand_for(9 * MILLI);
        }
        looks.extend(self::looks(&[(0, 1); 20]));
        // 200 by reference and 220 copied, and not 20 and 40.
        let Interval { low, high, .. } = Interval::of(&looks, WHOLE, None, 15);
        assert!(45.0 < low && high < 49.0, "{low} {high}");
        // Half of what was copied is of no file.
        let Interval { low, high, .. } = Interval::of(&looks, [1.0, 0.5], None, 15);
        assert!(62.0 < low && high < 66.0, "{low} {high}");
        let half = looks.len() / 2;
        let halves = [&looks[..half], &looks[half..]]
            .map(|half| half.iter().copied().reduce(|one, other| one.and(&other)).unwrap());
        let wanted = [(200.0, 200.0), (0.0, 20.0)];
        for (look, (by_reference, copied)) in halves.iter().zip(wanted) {
            assert!((look.by_reference - by_reference).abs() < 1e-9, "{look:?}");
            assert!((look.copied - copied).abs() < 1e-9, "{look:?}");
        }
    }

    #[test]
    fn what_tcp_counted_and_no_look_stands_for_may_have_left_in_either_way() {
        let seen = looks(&[(6, 4); 10]);
        let Interval { low, high, .. } = Interval::of(&seen, WHOLE, Some(200), 15);
        assert!((low - 30.0).abs() < 1e-9 && (high - 80.0).abs() < 1e-9, "{low} {high}");
        let Interval { low, high, .. } = Interval::of(&seen, WHOLE, Some(90), 15);
        assert!((low - 60.0).abs() < 1e-9 && (high - 60.0).abs() < 1e-9, "{low} {high}");
    }
}
