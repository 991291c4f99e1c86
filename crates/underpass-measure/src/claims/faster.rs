//! Whether a mapping beats read(2): where, in eight cases.
//!
//! The figures are those of [`crate::eyes`]. A case counts as won only if the slowest run through
//! the mapping was quicker than the quickest by read(2): a busy machine must not decide.

use std::io;

use crate::claims::rig::Rig;
use crate::claims::{Line, Shown, Unit, Verdict};
use crate::eyes::{Eyes, Order, TASKS, Task};
use crate::figure::{Figure, Spread};
use crate::terms::Cache;

/// Ratio of the medians from which on a difference is worth a word.
const QUICKER: f64 = 1.1;

/// One case and how many times as quick the mapping is.
#[derive(Debug, Clone, Copy)]
struct Case {
    task: Task,
    order: Order,
    cache: Cache,
    times: f64,
    /// Whether no run by read(2) was as quick as any through the mapping.
    is_clear: bool,
}

pub(super) fn measure(rig: &mut Rig<'_>) -> io::Result<Shown> {
    match (rig.given.eyes, &rig.eyes) {
        (Some(eyes), _) | (None, Ok(eyes)) => Ok(shown(eyes)),
        (None, Err(why)) => Ok(Shown::unavailable(why.clone())),
    }
}

fn shown(eyes: &Eyes) -> Shown {
    let mut lines = Vec::new();
    let mut cases = Vec::new();
    for cache in [Cache::Warm, Cache::Cold] {
        for (task, order) in TASKS {
            let Some((read, mapping)) = eyes.pair(task, order, cache) else { continue };
            let what = name(task, order, cache);
            let speeds = read.gb_per_s.median.value().zip(mapping.gb_per_s.median.value());
            let figure = match speeds {
                Some((by_read, by_mapping)) => {
                    let times = by_mapping / by_read;
                    let is_clear = is_clear(&read.gb_per_s, &mapping.gb_per_s);
                    cases.push(Case { task, order, cache, times, is_clear });
                    let from = "GB/s through the mapping / GB/s by read(2)";
                    Figure::Derived { value: times, from }
                }
                None => read.gb_per_s.median.clone(),
            };
            lines.push(Line::new(format!("{what}: mapping against read(2)"), figure, Unit::Times));
            if order == Order::Random && cache == Cache::Cold {
                lines.push(Line::new(
                    format!("{what}: fetched from the disk by read(2)"),
                    read.disk_bytes.clone(),
                    Unit::Bytes,
                ));
                lines.push(Line::new(
                    format!("{what}: fetched from the disk through the mapping"),
                    mapping.disk_bytes.clone(),
                    Unit::Bytes,
                ));
            }
        }
    }
    Shown {
        lines,
        verdict: judge(&cases),
        explanation:
            "A mapping saves the call and the copy, and pays with a fault for every 64 KiB \
                      or so. Where little of a page is looked at, the copy that is saved is large; \
                      in sequence, reading into a buffer that stays in the processor's cache is \
                      cheap. Cold, both wait for the disk, and a fault reads a neighbourhood that \
                      random look-ups may not want."
                .into(),
    }
}

fn is_clear(read: &Spread, mapping: &Spread) -> bool {
    mapping.min.value().zip(read.max.value()).is_some_and(|(mapping, read)| mapping > read)
}

fn name(task: Task, order: Order, cache: Cache) -> String {
    format!("{} {}, {}", order.name(), task.name(), cache.name())
}

fn judge(cases: &[Case]) -> Verdict {
    let won: Vec<String> = cases
        .iter()
        .filter(|case| case.is_clear && case.times >= QUICKER)
        .map(|case| format!("{} (x {:.1})", name(case.task, case.order, case.cache), case.times))
        .collect();
    if cases.is_empty() {
        return Verdict::Unavailable("no case was measured".into());
    }
    if won.is_empty() {
        return Verdict::DoesNotHold;
    }
    if won.len() == cases.len() {
        return Verdict::Holds;
    }
    Verdict::HoldsIf(format!("the work is one of: {}", won.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_beats_read_only_in_the_cases_it_won() {
        let case = |order, times| Case {
            task: Task::Sum,
            order,
            cache: Cache::Warm,
            times,
            is_clear: true,
        };
        let cases = [case(Order::Sequential, 1.05), case(Order::Random, 2.0)];
        let verdict = Verdict::HoldsIf("the work is one of: random sum, warm (x 2.0)".into());
        assert_eq!(judge(&cases), verdict);
        assert_eq!(judge(&cases[..1]), Verdict::DoesNotHold);
        assert_eq!(judge(&cases[1..]), Verdict::Holds);
        let unclear = Case { is_clear: false, ..cases[1] };
        assert_eq!(judge(&[unclear]), Verdict::DoesNotHold);
        assert!(matches!(judge(&[]), Verdict::Unavailable(_)));
    }
}
