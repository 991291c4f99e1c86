//! What looking at a file has shown of mappings, by [`crate::eyes`].
//!
//! A case counts as won only if the slowest run through the mapping was quicker than the quickest
//! by read(2): a busy machine must not decide. Against what memory is halved is the question: the
//! page cache holds the file either way, and only a program that also holds it whole in a buffer
//! has it twice.

use crate::claims::{Diary, Shown, Unit, Verdict};
use crate::eyes::{Eyes, Held, Order, Way, tasks};
use crate::figure::{Figure, float};
use crate::terms::Cache;
use crate::words;

/// What a case is called, how many times as quick the mapping is, and whether that is clear.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    name: String,
    times: f64,
    has_won: bool,
}

pub(super) fn mapping_beats_read(eyes: &Eyes) -> Result<Shown, String> {
    let mut diary = Diary::default();
    let [warm, cold] = Cache::ALL.map(|cache| cases(eyes, cache, &mut diary));
    let cold = match won(&cold)[..] {
        _ if cold.is_empty() => "Cold was not measured.".to_owned(),
        ref won => {
            let told = match won {
                [] => "in none of them".to_owned(),
                won => format!("at: {}", won.join("; ")),
            };
            format!(
                "Cold, it was clearly quicker {told}. There both wait for the disk, and a fault \
                 reads a neighbourhood that random look-ups may not want."
            )
        }
    };
    Ok(diary.shown(
        beats(&warm),
        format!(
            "Judged on a warm file of {}. {cold} A mapping saves the call and the copy, and pays \
             with a fault for every 64 KiB or so. Where little of a page is looked at, the copy \
             that is saved is large; in sequence, reading into a buffer that stays in the \
             processor's cache is cheap.",
            words::size(eyes.bytes)
        ),
    ))
}

fn cases(eyes: &Eyes, cache: Cache, diary: &mut Diary) -> Vec<Case> {
    let mut cases = Vec::new();
    for (task, order) in tasks() {
        let Some((read, mapping)) = eyes.pair(task, order, cache) else { continue };
        let name = format!("{order} {task}, {cache}");
        let figure = mapping.times(read);
        diary.figure(format!("{name}: mapping against read(2)"), &figure, Unit::Times);
        if order == Order::Random && cache == Cache::Cold {
            for (row, how) in [(read, "by read(2)"), (mapping, "through the mapping")] {
                let what = format!("{name}: fetched from the disk {how}");
                diary.figure(what, &row.disk_bytes, Unit::Bytes);
            }
        }
        let has_won = read.gb_per_s.is_clearly_below(&mapping.gb_per_s);
        cases.extend(figure.value().map(|times| Case { name, times, has_won }));
    }
    cases
}

fn won(cases: &[Case]) -> Vec<String> {
    let won = cases.iter().filter(|case| case.has_won);
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

pub(super) fn mapping_halves_the_memory(eyes: &Eyes) -> Result<Shown, String> {
    let mut diary = Diary::default();
    let mut totals = Vec::new();
    for held in &eyes.memory {
        let Held { way, anonymous_bytes, mapped_bytes, ref cached_bytes } = *held;
        let name = match way {
            Way::Whole => "read whole into a buffer",
            Way::Read => "read in pieces of 64 KiB",
            Way::Mapping => "through a mapping",
        };
        let from = "anonymous memory + the file's pages in the page cache";
        let total = cached_bytes.known().map_or_else(Figure::Unavailable, |cached| {
            Figure::Derived { value: float(anonymous_bytes) + cached, from }
        });
        let mut figure =
            |what, figure: &Figure| diary.figure(format!("{name}: {what}"), figure, Unit::Bytes);
        figure("anonymous memory", &Figure::count(anonymous_bytes));
        figure("in mappings", &Figure::count(mapped_bytes));
        figure("file's pages in the page cache", cached_bytes);
        figure("together", &total);
        totals.push(total.known());
    }
    let totals: Result<Vec<f64>, String> = totals.into_iter().collect();
    let totals = match totals {
        Ok(totals) => totals,
        Err(why) => return Ok(diary.shown(Verdict::Unavailable(why), "")),
    };
    let [whole, pieces, mapped] = totals[..] else {
        return Err("memory in use was not looked at".into());
    };
    Ok(diary.shown(
        halved(whole, pieces, mapped),
        format!(
            "The page cache holds the file in every case. A program that reads it whole holds it a \
             second time: {:.2} times the memory of a mapping. One that reads it in pieces does \
             not: {:.2} times. Judged on a warm file of {}.",
            whole / mapped,
            pieces / mapped,
            words::size(eyes.bytes)
        ),
    ))
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
    use crate::figure::Spread;

    #[test]
    fn a_mapping_beats_read_only_in_the_cases_it_won() {
        let case = |name: &str, times| Case { name: name.into(), times, has_won: true };
        let lost = Case { has_won: false, ..case("sequential sum, warm", 1.05) };
        let cases = [lost, case("random sum, warm", 2.0)];
        let verdict = Verdict::HoldsIf("the work is one of: random sum, warm (x 2.0)".into());
        assert_eq!(beats(&cases), verdict);
        assert_eq!(beats(&cases[..1]), Verdict::DoesNotHold);
        assert_eq!(beats(&cases[1..]), Verdict::Holds);
        assert!(matches!(beats(&[]), Verdict::Unavailable(_)));
    }

    fn eyes(caches: &[(Cache, f64)]) -> Eyes {
        let look = |way, cache, speed| {
            let (task, order) = (Task::Sum, Order::Sequential);
            let gb_per_s = Spread::of(&[speed; 3], |speed| *speed);
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
        let judged = |caches: &[(Cache, f64)]| mapping_beats_read(&eyes(caches)).unwrap();
        let warm = judged(&[(Cache::Warm, 2.0)]);
        assert_eq!(warm.verdict, Verdict::Holds);
        let start = "Judged on a warm file of 1 MiB. Cold was not measured. A mapping saves";
        assert!(warm.explanation.starts_with(start), "{}", warm.explanation);
        assert!(!warm.explanation.contains("wait for the disk"));
        for (speed, told) in
            [(0.5, "quicker in none of them"), (3.0, "sequential sum, cold (x 3.0)")]
        {
            let both = judged(&[(Cache::Warm, 2.0), (Cache::Cold, speed)]);
            assert_eq!(both.verdict, warm.verdict);
            assert!(both.explanation.contains(told), "{}", both.explanation);
        }
        let lost = judged(&[(Cache::Warm, 0.5), (Cache::Cold, 3.0)]);
        assert_eq!(judged(&[(Cache::Warm, 1.05)]).verdict, Verdict::DoesNotHold);
        assert_eq!(lost.verdict, Verdict::DoesNotHold);
    }

    #[test]
    fn what_is_halved_depends_on_what_it_is_compared_with() {
        assert_eq!(halved(64.0, 64.0, 32.0), Verdict::Holds);
        assert!(matches!(halved(64.0, 32.1, 32.0), Verdict::HoldsIf(_)));
        assert_eq!(halved(33.0, 32.0, 32.0), Verdict::DoesNotHold);
        let mut eyes = eyes(&[]);
        mapping_halves_the_memory(&eyes).unwrap_err();
        let held = |way, anonymous_bytes| {
            let cached_bytes = Figure::count(1 << 20);
            Held { way, anonymous_bytes, mapped_bytes: 0, cached_bytes }
        };
        eyes.memory =
            vec![held(Way::Whole, 1 << 20), held(Way::Read, 65_536), held(Way::Mapping, 0)];
        let shown = mapping_halves_the_memory(&eyes).unwrap();
        assert!(matches!(shown.verdict, Verdict::HoldsIf(_)), "{shown:?}");
        assert!(shown.explanation.contains("2.00 times"), "{}", shown.explanation);
        eyes.memory[1].cached_bytes = Figure::Unavailable("evicted".into());
        let shown = mapping_halves_the_memory(&eyes).unwrap();
        assert_eq!(shown.verdict, Verdict::Unavailable("evicted".into()));
    }
}
