//! From which size on mapping a file costs less than reading it.
//!
//! Each turn maps, looks at every word and unmaps, or reads into a buffer that is used again and
//! looks at every word there. Everything is in the page cache, so what is compared is setting up
//! and faulting against copying.
//!
//! Source: mmap(2), munmap(2), read(2).

use std::io;
use std::time::{Duration, Instant};

use underpass_sys::region::Access;

use crate::cache;
use crate::claims::rig::{self, Aligned, FILE_BYTES, PIECE_BYTES, Rig};
use crate::claims::{Line, Shown, Unit, Verdict};
use crate::figure::Figure;
use crate::words;

/// Sizes of file, in bytes.
const SIZES: [usize; 7] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];

/// Time given to each way at each size, in each of [`ROUNDS`].
const ROUND_TIME: Duration = Duration::from_millis(12);

const ROUNDS: usize = 5;

/// What one file of a size costs, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Cost {
    bytes: usize,
    read: f64,
    mapping: f64,
}

pub(super) fn measure(rig: &mut Rig<'_>) -> io::Result<Shown> {
    cache::fill(&rig.file, FILE_BYTES)?.map_err(io::Error::other)?;
    let mut buffer = Aligned::new(PIECE_BYTES);
    let costs = SIZES
        .into_iter()
        .map(|bytes| cost(rig, bytes, &mut buffer))
        .collect::<io::Result<Vec<Cost>>>()?;
    let mut lines = Vec::new();
    for Cost { bytes, read, mapping } in &costs {
        let size = words::size(*bytes as u64);
        lines.extend([
            Line::new(
                format!("{size}: read(2) and look"),
                Figure::Measured(*read),
                Unit::Nanoseconds,
            ),
            Line::new(
                format!("{size}: mmap(2), look, munmap(2)"),
                Figure::Measured(*mapping),
                Unit::Nanoseconds,
            ),
        ]);
    }
    let smallest = costs.first().map_or(0.0, |cost| cost.mapping - cost.read);
    Ok(Shown {
        lines,
        verdict: judge(&costs),
        explanation: format!(
            "A mapping costs two calls and a fault for every 64 KiB or so, however small the file; \
             a read costs a copy. For 4 KiB the mapping costs {:.1} \u{b5}s more. Times are \
             the least of {ROUNDS} rounds, warm; the buffer is used again, as servers do.",
            smallest / 1e3
        ),
    })
}

fn cost(rig: &Rig<'_>, bytes: usize, buffer: &mut Aligned) -> io::Result<Cost> {
    let (mut reads, mut mappings) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        reads.push(each(|| {
            rig::read_and_sum(
                &rig.file,
                bytes as u64,
                &mut buffer.bytes()[..bytes.min(PIECE_BYTES)],
            )
        })?);
        mappings.push(each(|| Ok(rig::sum(&*rig.map(bytes, Access::Read)?)))?);
    }
    Ok(Cost { bytes, read: least(reads), mapping: least(mappings) })
}

/// Time of each turn, in nanoseconds.
fn each(mut turn: impl FnMut() -> io::Result<u64>) -> io::Result<f64> {
    let start = Instant::now();
    let mut turns = 0;
    while turns < 3 || start.elapsed() < ROUND_TIME {
        std::hint::black_box(turn()?);
        turns += 1;
    }
    Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(turns))
}

/// What is left when nothing else used the processor: both ways are warm and never wait.
fn least(times: Vec<f64>) -> f64 {
    times.into_iter().fold(f64::INFINITY, f64::min)
}

fn judge(costs: &[Cost]) -> Verdict {
    let is_worth_it = |cost: &Cost| cost.mapping < cost.read;
    let Some(last_bad) = costs.iter().rposition(|cost| !is_worth_it(cost)) else {
        return Verdict::DoesNotHold;
    };
    match costs.get(last_bad + 1) {
        Some(first_good) => Verdict::HoldsIf(format!(
            "large means {} or more; at {} reading is still quicker",
            words::size(first_good.bytes as u64),
            words::size(costs[last_bad].bytes as u64)
        )),
        None => Verdict::DoesNotHold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(mappings: [f64; 3]) -> Vec<Cost> {
        let sizes = [4 << 10, 64 << 10, 1 << 20].into_iter().zip(mappings);
        sizes.map(|(bytes, mapping)| Cost { bytes, read: 10.0, mapping }).collect()
    }

    #[test]
    fn the_crossover_is_the_size_from_which_on_mapping_is_always_quicker() {
        let Verdict::HoldsIf(large) = judge(&costs([20.0, 11.0, 9.0])) else { panic!() };
        assert_eq!(large, "large means 1 MiB or more; at 64 KiB reading is still quicker");
        let Verdict::HoldsIf(large) = judge(&costs([9.0, 11.0, 9.0])) else { panic!() };
        assert!(large.starts_with("large means 1 MiB"), "{large}");
        assert_eq!(judge(&costs([9.0, 9.0, 11.0])), Verdict::DoesNotHold, "large ones lose");
        assert_eq!(judge(&costs([9.0, 9.0, 9.0])), Verdict::DoesNotHold, "small ones win too");
    }
}
