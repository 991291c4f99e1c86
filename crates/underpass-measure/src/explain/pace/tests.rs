//! Whole watches on a virtual clock: loads of which the truth is known, with what looking at
//! them costs.

use super::*;
use crate::explain::interval::{Interval, Sample};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_look_that_is_ten_times_too_dear_is_followed_by_a_rest_of_nine_and_none_is_without_end() {
    assert_eq!(rest_after(millis(20), 0.225, 0.025), millis(180));
    assert_eq!(rest_after(millis(20), 0.0, 0.5), Duration::ZERO);
    for (more, left) in [(0.3, 0.0), (50.0, 0.001)] {
        assert_eq!(rest_after(millis(20), more, left), REST_MAX);
    }
}

const SECONDS: f64 = 20.0;

/// A toll, as it was measured, in seconds; and how many a call and a packet take, and a packet in
/// a rest.
const TOLL: f64 = 100e-9;
const CALL: f64 = 16.0;
const PACKET: f64 = 20.0;
const COUNTED: f64 = 1.0;

/// What it takes to begin a look, or to end it, of two processors.
const SWITCH: Duration = Duration::from_micros(2 * 110);

/// The default.
const BUDGET: f64 = 0.02;

const LARGE_PER_SECOND: f64 = 5e9;
const SMALL_BYTES: f64 = 4_096.0;

/// What is before the bytes of a file, and of no file itself.
const HEAD: f64 = 240.0;

/// Large files at 5 GB/s, each for as long as it takes, next to many small ones.
struct Load {
    large: Vec<f64>,
    large_bytes: f64,
    small_per_second: f64,
    /// Which of the two leave by reference.
    is_large_by_reference: bool,
}

/// Bytes of large files, of small ones, and of heads.
#[derive(Clone, Copy, Default)]
struct Bytes {
    large: f64,
    small: f64,
    heads: f64,
}

impl Load {
    /// That many large files at times by chance.
    fn new(large: usize, large_bytes: f64, is_large_by_reference: bool, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let last = SECONDS - large_bytes / LARGE_PER_SECOND;
        let large = (0..large).map(|_| chance.share() * last).collect();
        Self { large, large_bytes, small_per_second: 20_000.0, is_large_by_reference }
    }

    fn bytes(&self, from: f64, to: f64) -> Bytes {
        let length = self.large_bytes / LARGE_PER_SECOND;
        let overlap = |start: &f64| (to.min(start + length) - from.max(*start)).max(0.0);
        let large: f64 = self.large.iter().map(overlap).sum();
        let files = (to - from) * self.small_per_second;
        Bytes { large: large * LARGE_PER_SECOND, small: files * SMALL_BYTES, heads: files * HEAD }
    }

    /// Of some bytes, those of files that left by reference, and those that were copied.
    fn ways(&self, Bytes { large, small, .. }: Bytes) -> [f64; 2] {
        if self.is_large_by_reference { [large, small] } else { [small, large] }
    }

    fn left(&self, bytes: Bytes) -> [u64; 2] {
        let [of_files, copied] = self.ways(bytes);
        [whole(of_files), whole(copied + bytes.heads)]
    }

    /// Calls of 1 MiB and packets of 64 KiB; three calls and a packet for a small file.
    fn cost(&self, from: f64, to: f64, is_looked_at: bool) -> Duration {
        let Bytes { large, small, .. } = self.bytes(from, to);
        let (call, packet) = if is_looked_at { (CALL, PACKET) } else { (0.0, COUNTED) };
        let large = large / 65_536.0 * (packet + call / 16.0);
        let small = small / SMALL_BYTES * (packet + 3.0 * call);
        Duration::from_secs_f64((large + small) * TOLL)
    }

    fn truth(&self) -> f64 {
        let [by_reference, copied] = self.ways(self.bytes(0.0, SECONDS));
        by_reference * 100.0 / (by_reference + copied)
    }

    /// What a watch says of it, how much of the time it looked, and what it took of a processor.
    fn watched(&self, seed: u64) -> (Interval, f64, f64) {
        let end = Duration::from_secs_f64(SECONDS);
        let mut pace = Pace::new(BUDGET, seed);
        let (mut paid, mut since, mut is_looking) = (Duration::ZERO, 0.0, true);
        let mut seen = Bytes::default();
        while pace.due() < end {
            let (due, now) = (pace.due(), pace.due().as_secs_f64());
            let cost = self.cost(since, now, is_looking);
            if is_looking {
                let more = self.bytes(since, now);
                seen.large += more.large;
                seen.small += more.small;
                seen.heads += more.heads;
            }
            paid += cost;
            let turn = pace.turn(due, cost, self.left(self.bytes(0.0, now))[1]);
            if turn != Turn::GoOn {
                is_looking = turn == Turn::Look;
                paid += SWITCH;
                pace.add_cost(SWITCH);
            }
            since = now;
        }
        let (all, seen_left) = (self.left(self.bytes(0.0, SECONDS)), self.left(seen));
        let [by_reference, copied] = self.ways(seen).map(whole);
        let [lent, others] = [0, 1].map(|way| Sample {
            all: all[way],
            seen: seen_left[way],
            of_files: [by_reference, copied][way],
        });
        let looked = pace.looked(end).unwrap_or(1.0);
        let interval = Interval::of(lent, others, pace.looks(), looked);
        (interval, looked, paid.div_duration_f64(end))
    }
}

fn whole(bytes: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(bytes / 1e9).as_nanos()).unwrap()
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
fn ninety_five_of_a_hundred_watches_of_large_and_many_small_files_hold_the_truth() {
    const MIB: f64 = 1_048_576.0;
    // A file of 16 MiB leaves within 3 ms: most are met by no look.
    for (count, mib, by_reference_wide, copied_wide) in [
        (60, 16.0, 2.0, 25.0),
        (60, 64.0, 2.0, 12.0),
        (20, 256.0, 2.0, 12.0),
        (4, 1024.0, 2.0, 30.0),
    ] {
        for (is_by_reference, wide) in [(true, by_reference_wide), (false, copied_wide)] {
            let (hold, width) = hundred(|seed| Load::new(count, mib * MIB, is_by_reference, seed));

            assert!(hold >= 95 && width <= wide, "{mib} MiB: {hold} of 100, {width} points wide");
        }
    }
}

#[test]
fn one_large_file_is_not_missed_and_not_taken_for_more_than_it_is() {
    for is_large_by_reference in [true, false] {
        let (hold, width) = hundred(|seed| Load::new(1, 1e9, is_large_by_reference, seed));

        assert!(hold >= 95, "{hold} of 100, {width} points wide");
    }
}

#[test]
fn a_load_that_repeats_itself_is_seen_from_all_sides() {
    // As often as rests would be if they were all of one length.
    let (hold, width) = hundred(|seed| {
        let load = Load::new(0, 1.0, false, seed);
        let period = load.cost(0.0, LOOK.as_secs_f64(), true) + 2 * SWITCH;
        let period = period.as_secs_f64() / BUDGET;
        let large = (0..500).map(|n| f64::from(n) * period).filter(|at| *at < SECONDS).collect();
        Load { large, large_bytes: period / 4.0 * LARGE_PER_SECOND, ..load }
    });

    assert!(hold >= 95 && width <= 25.0, "{hold} of 100, {width} points wide");
}
