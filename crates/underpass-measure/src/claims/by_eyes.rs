//! What looking at a file has shown of mappings, by [`crate::eyes`].
//!
//! A case counts as won only if the slowest run through the mapping was quicker than the quickest
//! by read(2): a busy machine must not decide. Against what memory is halved is the question: the
//! page cache holds the file either way, and only a program that also holds it whole in a buffer
//! has it twice.

use crate::claims::{Line, Shown, Unit, Verdict};
use crate::eyes::{Eyes, Held, Order, Way, tasks};
use crate::figure::{Figure, Spread, float};
use crate::terms::Cache;

/// Ratio of the medians from which on a difference is worth a word.
const QUICKER: f64 = 1.1;

/// What a case is called and how many times as quick the mapping is, if that is clear.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    name: String,
    times: f64,
    is_clear: bool,
}

pub(super) fn mapping_beats_read(eyes: &Eyes) -> Shown {
    let mut lines = Vec::new();
    let (warm, cold) = (cases(eyes, Cache::Warm, &mut lines), cases(eyes, Cache::Cold, &mut lines));
    let cold = match won(&cold)[..] {
        _ if cold.is_empty() => "Cold was not measured.".to_owned(),
        [] => "Cold, it was clearly quicker in none of them.".to_owned(),
        ref won => format!("Cold, it was clearly quicker at: {}.", won.join("; ")),
    };
    Shown {
        lines,
        verdict: beats(&warm),
        explanation: format!(
            "Judged on a warm file. {cold} A mapping saves the call and the copy, and pays with a \
             fault for every 64 KiB or so. Where little of a page is looked at, the copy that is \
             saved is large; in sequence, reading into a buffer that stays in the processor's \
             cache is cheap. Cold, both wait for the disk, and a fault reads a neighbourhood that \
             random look-ups may not want."
        ),
    }
}

fn cases(eyes: &Eyes, cache: Cache, lines: &mut Vec<Line>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (task, order) in tasks() {
        let Some((read, mapping)) = eyes.pair(task, order, cache) else { continue };
        let name = format!("{} {}, {cache}", order.name(), task.name());
        let speeds = read.gb_per_s.median.value().zip(mapping.gb_per_s.median.value());
        let figure = speeds.map_or_else(
            || read.gb_per_s.median.clone(),
            |(by_read, by_mapping)| Figure::Derived {
                value: by_mapping / by_read,
                from: "GB/s through the mapping / GB/s by read(2)",
            },
        );
        let times = figure.value();
        lines.push(Line::new(format!("{name}: mapping against read(2)"), figure, Unit::Times));
        if order == Order::Random && cache == Cache::Cold {
            for (row, how) in [(read, "by read(2)"), (mapping, "through the mapping")] {
                let what = format!("{name}: fetched from the disk {how}");
                lines.push(Line::new(what, row.disk_bytes.clone(), Unit::Bytes));
            }
        }
        let is_clear = is_clear(&read.gb_per_s, &mapping.gb_per_s);
        cases.extend(times.map(|times| Case { name, times, is_clear }));
    }
    cases
}

fn is_clear(read: &Spread, mapping: &Spread) -> bool {
    mapping.min.value().zip(read.max.value()).is_some_and(|(mapping, read)| mapping > read)
}

fn won(cases: &[Case]) -> Vec<String> {
    let won = cases.iter().filter(|case| case.is_clear && case.times >= QUICKER);
    won.map(|case| format!("{} (x {:.1})", case.name, case.times)).collect()
}

fn beats(cases: &[Case]) -> Verdict {
    let won = won(cases);
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

pub(super) fn mapping_halves_the_memory(eyes: &Eyes) -> Shown {
    let mut lines = Vec::new();
    let mut totals = Vec::new();
    for (way, name) in [
        (Way::Whole, "read whole into a buffer"),
        (Way::Read, "read in pieces of 64 KiB"),
        (Way::Mapping, "mapped"),
    ] {
        let Some(held) = eyes.memory.iter().find(|held| held.way == way) else { continue };
        let Held { anonymous_bytes, mapped_bytes, .. } = held;
        let total = float(anonymous_bytes + eyes.bytes);
        totals.push(total);
        let from = "anonymous memory + the file's pages in the page cache";
        let total = Figure::Derived { value: total, from };
        for (what, figure) in [
            ("anonymous memory", Figure::count(*anonymous_bytes)),
            ("mapped", Figure::count(*mapped_bytes)),
            ("with the file's pages in the page cache", total),
        ] {
            lines.push(Line::new(format!("{name}: {what}"), figure, Unit::Bytes));
        }
    }
    let [whole, pieces, mapped] = totals[..] else {
        return Shown::unavailable("memory in use was not looked at");
    };
    Shown {
        lines,
        verdict: halved(whole, pieces, mapped),
        explanation: format!(
            "The page cache holds the file in every case. A program that reads it whole holds it a \
             second time: {:.2} times the memory of a mapping. One that reads it in pieces does \
             not: {:.2} times. Judged on a warm file.",
            whole / mapped,
            pieces / mapped
        ),
    }
}

fn halved(whole: f64, pieces: f64, mapped: f64) -> Verdict {
    let is_halved = |other: f64| (1.7..=2.3).contains(&(other / mapped));
    match (is_halved(whole), is_halved(pieces)) {
        (true, true) => Verdict::Holds,
        (true, false) => Verdict::HoldsIf(
            "the program would otherwise hold the whole file in a buffer; reading in pieces takes \
             no more than mapping"
                .into(),
        ),
        (false, _) => Verdict::DoesNotHold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eyes::{Look, Task};

    #[test]
    fn a_mapping_beats_read_only_in_the_cases_it_won() {
        let case = |name: &str, times| Case { name: name.into(), times, is_clear: true };
        let cases = [case("sequential sum, warm", 1.05), case("random sum, warm", 2.0)];
        let verdict = Verdict::HoldsIf("the work is one of: random sum, warm (x 2.0)".into());
        assert_eq!(beats(&cases), verdict);
        assert_eq!(beats(&cases[..1]), Verdict::DoesNotHold);
        assert_eq!(beats(&cases[1..]), Verdict::Holds);
        let unclear = Case { is_clear: false, ..cases[1].clone() };
        assert_eq!(beats(&[unclear]), Verdict::DoesNotHold);
        assert!(matches!(beats(&[]), Verdict::Unavailable(_)));
    }

    fn eyes(caches: &[(Cache, f64)]) -> Eyes {
        let look = |way, cache, speed| {
            let (task, order) = (Task::Sum, Order::Sequential);
            let steady = || Figure::Measured(speed);
            let gb_per_s = Spread { median: steady(), min: steady(), max: steady() };
            let none = || Figure::Measured(0.0);
            let [piece_ns, cpu_s_per_gb, minor_faults, major_faults, disk_bytes] =
                [none(), none(), none(), none(), none()];
            Look {
                way,
                task,
                order,
                cache,
                bytes: 4096,
                pieces: 1,
                gb_per_s,
                piece_ns,
                cpu_s_per_gb,
                minor_faults,
                major_faults,
                disk_bytes,
            }
        };
        let rows = caches.iter().flat_map(|&(cache, speed)| {
            [look(Way::Read, cache, 1.0), look(Way::Mapping, cache, speed)]
        });
        Eyes {
            file: "x".into(),
            bytes: 1 << 20,
            repeats: 1,
            rows: rows.collect(),
            memory: Vec::new(),
        }
    }

    #[test]
    fn cold_cases_are_told_and_do_not_decide() {
        let warm = mapping_beats_read(&eyes(&[(Cache::Warm, 2.0)]));
        assert_eq!(warm.verdict, Verdict::Holds);
        assert!(warm.explanation.starts_with("Judged on a warm file. Cold was not measured."));
        for (speed, told) in
            [(0.5, "quicker in none of them"), (3.0, "sequential sum, cold (x 3.0)")]
        {
            let both = mapping_beats_read(&eyes(&[(Cache::Warm, 2.0), (Cache::Cold, speed)]));
            assert_eq!(both.verdict, warm.verdict);
            assert!(both.explanation.contains(told), "{}", both.explanation);
        }
        let lost = mapping_beats_read(&eyes(&[(Cache::Warm, 0.5), (Cache::Cold, 3.0)]));
        assert_eq!(lost.verdict, Verdict::DoesNotHold);
    }

    #[test]
    fn what_is_halved_depends_on_what_it_is_compared_with() {
        assert_eq!(halved(64.0, 64.0, 32.0), Verdict::Holds);
        assert!(matches!(halved(64.0, 32.1, 32.0), Verdict::HoldsIf(_)));
        assert_eq!(halved(33.0, 32.0, 32.0), Verdict::DoesNotHold);
        let mut eyes = eyes(&[]);
        assert!(matches!(mapping_halves_the_memory(&eyes).verdict, Verdict::Unavailable(_)));
        let held = |way, anonymous_bytes| Held { way, anonymous_bytes, mapped_bytes: 0 };
        eyes.memory =
            vec![held(Way::Whole, 1 << 20), held(Way::Read, 65_536), held(Way::Mapping, 0)];
        let shown = mapping_halves_the_memory(&eyes);
        assert!(matches!(shown.verdict, Verdict::HoldsIf(_)), "{shown:?}");
        assert!(shown.explanation.contains("2.00 times"), "{}", shown.explanation);
    }
}
