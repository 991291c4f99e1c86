//! Which of several samples with one time is taken: the one that promtool prints.
//!
//! Prometheus calls its choice random. It is not: it follows from the order in which heaps hand out
//! equals, and a dump that chose otherwise would differ from promtool's.

use std::fmt::Write;

use tempfile::TempDir;
use underpass_testkit::block::{Block, Chunk, START, Series};
use underpass_testkit::prometheus::Suite;
use underpass_testkit::require;
use underpass_tsdb::query::Selection;
use underpass_tsdb::{Backend, Samples, TimeRange};

use crate::promtool::open;

/// Numbers that look random and are the same each time (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn is_one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A block whose samples have its number as their value, at some of 60 times.
fn block(number: u8, numbers: &mut Numbers) -> Block {
    let mut series = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let mut chunks = Vec::new();
        let mut time = numbers.below(20);
        while time < 60 && !numbers.is_one_in(6) {
            let mut samples = Vec::new();
            for _ in 0..=numbers.below(9) {
                samples.push((START + 1000 * time.cast_signed(), f64::from(number)));
                time += 1 + numbers.below(3);
            }
            chunks.push(Chunk::floats(&samples));
        }
        if !chunks.is_empty() {
            series.push(Series::new(&[("__name__", "m"), ("name", name)], chunks));
        }
    }
    let ulid = format!("01HF7MQX0000000000000000{number:02}");
    Block { ulid, ..Block::new(2, series) }
}

#[test]
fn of_samples_with_one_time_the_one_that_promtool_prints_is_taken() {
    let tools = require!(Suite::Sid.tools());
    for seed in 1..=10_u8 {
        let mut numbers = Numbers(u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let data = TempDir::new().unwrap();
        for number in 0..2 + seed % 6 {
            block(number, &mut numbers).write(data.path()).unwrap();
        }
        std::fs::create_dir(data.path().join("wal")).unwrap();
        let promtools = tools.dump("dump", data.path(), &[]).unwrap();
        let blocks = open(data.path(), Backend::Map);
        let selection = Selection::new(&blocks, Vec::new(), TimeRange::ALL);
        let (mut reader, mut samples, mut ours) =
            (selection.reader(), Samples::default(), String::new());
        for series in selection.series() {
            let mut batches = reader.read(&series);
            while batches.next_into(&mut samples) {
                for one in &samples.floats {
                    writeln!(ours, "{} {} {}", series.labels, one.value, one.time).unwrap();
                }
            }
        }
        assert_eq!(ours, String::from_utf8(promtools).unwrap(), "seed {seed}");
    }
}
