//! Whole watches on a virtual clock: loads of which the truth is known, with what looking at
//! them costs.

use super::*;
use crate::explain::interval::Interval;
use crate::figure::float;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_look_that_is_ten_times_too_dear_is_followed_by_a_rest_of_nine_and_none_is_without_end() {
    assert_eq!(rest_after(millis(20), 0.25, 0.025), millis(180));
    assert_eq!(rest_after(millis(20), 0.5, 0.5), Duration::ZERO);
    for (cost, budget) in [(0.3, 0.0), (50.0, 0.001)] {
        assert_eq!(rest_after(millis(20), cost, budget), REST_MAX);
    }
}

const SECONDS: f64 = 20.0;

/// A toll, as it was measured, in seconds; and how many a call and a packet take.
const TOLL: f64 = 100e-9;
const CALL: f64 = 16.0;
const PACKET: f64 = 20.0;

/// What it takes to begin a look, or to end it, of each of two processors.
const SWITCH: Duration = Duration::from_micros(2 * 220);

/// The default.
const BUDGET: f64 = 0.02;

/// Large files at 5 GB/s, each for as long as it takes, next to many small ones.
struct Load {
    large: Vec<f64>,
    large_bytes: f64,
    small_per_second: f64,
    /// Which of the two leave by reference.
    is_large_by_reference: bool,
}

const LARGE_PER_SECOND: f64 = 5e9;
const SMALL_BYTES: f64 = 4_096.0;

impl Load {
    fn new(large: usize, small_per_second: f64, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let large_bytes = 1_073_741_824.0;
        let last = SECONDS - large_bytes / LARGE_PER_SECOND;
        let large = (0..large).map(|_| chance.share() * last).collect();
        Self { large, large_bytes, small_per_second, is_large_by_reference: true }
    }

    /// Bytes of large and of small files that leave from one time to another.
    fn bytes(&self, from: f64, to: f64) -> (f64, f64) {
        let length = self.large_bytes / LARGE_PER_SECOND;
        let overlap = |start: &f64| (to.min(start + length) - from.max(*start)).max(0.0);
        let large: f64 = self.large.iter().map(overlap).sum();
        (large * LARGE_PER_SECOND, (to - from) * self.small_per_second * SMALL_BYTES)
    }

    fn left(&self, until: f64) -> Left {
        let (large, small) = self.bytes(0.0, until);
        let whole = |bytes: f64| Duration::from_secs_f64(bytes / 1e9).as_nanos();
        let whole = |bytes: f64| u64::try_from(whole(bytes)).unwrap();
        let (by_reference, copied) =
            if self.is_large_by_reference { (large, small) } else { (small, large) };
        Left { by_reference: whole(by_reference), copied: whole(copied) }
    }

    /// Calls of 1 MiB and packets of 64 KiB; three calls and a packet for a small file.
    fn cost(&self, from: f64, to: f64) -> Duration {
        let (large, small) = self.bytes(from, to);
        let large = large / 65_536.0 * (PACKET + CALL / 16.0);
        let small = small / SMALL_BYTES * (PACKET + 3.0 * CALL);
        Duration::from_secs_f64((large + small) * TOLL)
    }

    fn truth(&self) -> f64 {
        let Left { by_reference, copied } = self.left(SECONDS);
        float(by_reference) * 100.0 / float(by_reference + copied)
    }

    /// What a watch says of it, and how much of the time and of a processor it took.
    fn watched(&self, seed: u64) -> (Interval, f64, f64) {
        let end = Duration::from_secs_f64(SECONDS);
        let mut pace = Pace::new(BUDGET, seed);
        let (mut paid, mut seen, mut since) = (Duration::ZERO, Left::default(), 0.0);
        while pace.due() < end {
            let (due, now) = (pace.due(), pace.due().as_secs_f64());
            if pace.is_resting() {
                paid += SWITCH;
                pace.look(due, SWITCH);
            } else {
                let cost = self.cost(since, now);
                seen = self.seen(seen, since, now);
                paid += cost;
                if pace.is_dear(due, cost) {
                    paid += SWITCH;
                    pace.rest(due, SWITCH, seen);
                } else {
                    pace.go_on(due, seen);
                }
            }
            since = now;
        }
        if !pace.is_resting() {
            seen = self.seen(seen, since, SECONDS);
        }
        let interval = Interval::of(&pace.looks(end, seen), [1.0, 1.0], None, seed);
        let looked = pace.looked(end).unwrap_or(1.0);
        (interval, looked, paid.div_duration_f64(end))
    }

    fn seen(&self, seen: Left, from: f64, to: f64) -> Left {
        let (then, now) = (self.left(from), self.left(to));
        Left {
            by_reference: seen.by_reference + now.by_reference - then.by_reference,
            copied: seen.copied + now.copied - then.copied,
        }
    }
}

/// Of 100 watches, those whose interval holds the truth, and the mean width of the intervals.
fn hundred(load: impl Fn(u64) -> Load) -> (usize, f64) {
    let watches = (1..=100).map(|run| {
        let (load, seed) = (load(15 + run), 15 * run);
        let (Interval { low, high, .. }, looked, paid) = load.watched(seed);
        assert!(looked < 0.5, "it looked at {looked} of the time");
        assert!(paid < BUDGET * 1.2, "it took {paid} of a processor");
        ((low..=high).contains(&load.truth()), high - low)
    });
    let watches: Vec<(bool, f64)> = watches.collect();
    let width = watches.iter().map(|(_, width)| width).sum::<f64>() / 100.0;
    (watches.iter().filter(|(holds, _)| *holds).count(), width)
}

#[test]
fn ninety_five_of_a_hundred_watches_of_few_large_and_many_small_files_hold_the_truth() {
    for is_large_by_reference in [true, false] {
        let (hold, width) =
            hundred(|seed| Load { is_large_by_reference, ..Load::new(4, 20_000.0, seed) });

        assert!(hold >= 95 && width <= 25.0, "{hold} of 100, {width} points wide");
    }
}

#[test]
fn one_large_file_is_not_missed_and_not_taken_for_more_than_it_is() {
    let (hold, width) = hundred(|seed| Load::new(1, 20_000.0, seed));

    assert!(hold >= 95, "{hold} of 100, {width} points wide");
}

#[test]
fn a_load_that_repeats_itself_is_seen_from_all_sides() {
    // As often as rests would be if they were all of one length.
    let (hold, width) = hundred(|seed| {
        let load = Load::new(0, 20_000.0, seed);
        let period = load.cost(0.0, LOOK.as_secs_f64()) + 2 * SWITCH;
        let period = period.as_secs_f64() / BUDGET;
        let large = (0..500).map(|n| f64::from(n) * period).filter(|at| *at < SECONDS).collect();
        Load { large, large_bytes: period / 4.0 * LARGE_PER_SECOND, ..load }
    });

    assert!(hold >= 95 && width <= 25.0, "{hold} of 100, {width} points wide");
}
