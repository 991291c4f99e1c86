//! What a reader should take away from a comparison, in about ten lines.

use serde::Serialize;
use underpass::Method;

use crate::claims::{Claim, Verdict};
use crate::compare::report::{Cache, Report, Row, Verdict as Judged};
use crate::eyes::{Eyes, tasks};
use crate::figure::{Figure, REPEATS_MIN, Spread};
use crate::sheet::compare::groups;
use crate::terms::ends;
use crate::words::{decimal, of};

/// One line, and the part of the page that has its figures.
#[derive(Debug, Serialize)]
pub(crate) struct Takeaway {
    pub(crate) of: String,
    pub(crate) text: String,
    pub(crate) id: String,
}

/// Computed from the figures alone.
pub(crate) fn takeaways(
    report: &Report,
    eyes: Option<&Eyes>,
    claims: Option<&[Claim]>,
) -> Vec<Takeaway> {
    let (groups, repeats) = (groups(&report.rows), report.conditions.repeats);
    let warm = || groups.iter().filter(|rows| rows[0].cache == Cache::Warm);
    let told = |rows: &Vec<&Row>| {
        Some(Takeaway {
            of: ends(rows[0].pair, rows[0].link),
            text: extremes(rows, repeats)?,
            id: id(rows[0]),
        })
    };
    let mut lines: Vec<Takeaway> = warm().filter_map(told).collect();
    let cold = groups.iter().find(|rows| rows[0].cache == Cache::Cold);
    lines.extend(cold.and_then(|rows| {
        let of = format!("{}, from the disk", ends(rows[0].pair, rows[0].link));
        Some(Takeaway { of, text: extremes(rows, repeats)?, id: id(rows[0]) })
    }));
    lines.extend(warm().filter(|_| repeats >= REPEATS_MIN).find_map(|rows| {
        let text = price(rows)?;
        Some(Takeaway { of: "What a copy costs".into(), text, id: id(rows[0]) })
    }));
    lines.extend(eyes.and_then(own_eyes));
    lines.extend(claims.into_iter().flat_map(textbooks));
    if report.machine.tier != 'A' {
        let text = "pages were not seen, so where the calls alone do not tell, what became of \
                    the bytes is not known"
            .to_owned();
        let of = format!("Tier {}", report.machine.tier);
        lines.push(Takeaway { of, text, id: "conditions".into() });
    }
    lines
}

/// The name of a group's section on a page.
pub(crate) fn id(row: &Row) -> String {
    let link = row.link.map(|link| format!("-{}", link.name())).unwrap_or_default();
    format!("{}{link}-{}", row.pair.name(), row.cache.name())
}

const fn fate(row: &Row) -> &'static str {
    match row.verdict {
        Judged::ByReference { .. } => "by reference",
        Judged::Mixed { .. } => "partly by reference",
        Judged::Copied { .. } => "copied",
        Judged::Unknown { .. } => "copied or not is not known",
    }
}

/// A row, and the runs by which it is ranked.
struct Ranked<'r> {
    row: &'r Row,
    runs: &'r Spread,
    value: f64,
}

/// Rows of which a figure is known, least first.
fn ranked<'r>(rows: &[&'r Row], of: fn(&Row) -> (&Spread, &Figure)) -> Vec<Ranked<'r>> {
    let known = rows.iter().filter_map(|row| {
        let (runs, shown) = of(row);
        Some(Ranked { row, runs, value: shown.value()? })
    });
    let mut known: Vec<Ranked<'_>> = known.collect();
    known.sort_by(|a, b| a.value.total_cmp(&b.value));
    known
}

fn costs(row: &Row) -> (&Spread, &Figure) {
    (&row.sender_cpu_s_per_gb_range, &row.sender_cpu_s_per_gb)
}

/// `; splice may be as quick`: others with some run like some run of this.
fn rivals(ranked: &[Ranked<'_>], of: &Ranked<'_>, word: &str) -> String {
    let is_rival = |it: &&Ranked<'_>| {
        let are_apart = it.runs.is_below(of.runs) || of.runs.is_below(it.runs);
        it.row.method != of.row.method && !are_apart
    };
    match ranked.iter().filter(is_rival).collect::<Vec<_>>()[..] {
        [] => String::new(),
        [one] => format!("; {} may be as {word}", one.row.method),
        ref many => format!("; {} others may be as {word}", many.len()),
    }
}

/// The quickest and the slowest, and who takes least of the processor, as far as their runs tell
/// them apart.
fn extremes(rows: &[&Row], repeats: u32) -> Option<String> {
    let speeds = ranked(rows, |row| (&row.gb_per_s, &row.gb_per_s.median));
    let (slow, quick) = (speeds.first()?, speeds.last()?);
    let told = |it: &Ranked<'_>, word: &str| {
        let rivals = rivals(&speeds, it, word);
        format!("{} {} GB/s ({}{rivals})", it.row.method, decimal(it.value), fate(it.row))
    };
    let (low, high) = (decimal(slow.value), decimal(quick.value));
    let mut text = if speeds.len() == 1 {
        return Some(told(quick, "quick"));
    } else if repeats < REPEATS_MIN {
        let runs = of(repeats.into(), "run");
        return Some(format!("{low} to {high} GB/s; not ranked: only {runs} of each"));
    } else if slow.runs.is_below(quick.runs) {
        format!("quickest {}, slowest {}", told(quick, "quick"), told(slow, "slow"))
    } else {
        let why = match slow.runs.are_enough(quick.runs) {
            true => "their runs overlap",
            false => "of some there are too few runs",
        };
        format!("{low} to {high} GB/s, none clearly the quickest: {why}")
    };
    let costs = ranked(rows, costs);
    if let [cheap, .., dear] = &costs[..] {
        let told = |it: &Ranked<'_>, word: &str| {
            format!("{} ({}{})", decimal(it.value), it.row.method, rivals(&costs, it, word))
        };
        let (low, high, none) = match cheap.runs.is_below(dear.runs) {
            true => (told(cheap, "cheap"), told(dear, "dear"), ""),
            false => (decimal(cheap.value), decimal(dear.value), ", none clearly the cheapest"),
        };
        text += &format!("; sender's CPU s/GB {low} to {high}{none}");
    }
    Some(text)
}

/// The processor time of one copy: what copying costs more than the cheapest way by reference.
fn price(rows: &[&Row]) -> Option<String> {
    let costs = ranked(rows, costs);
    let copy = costs.iter().find(|it| it.row.method == Method::Copy)?;
    let lends = |it: &&Ranked<'_>| matches!(it.row.verdict, Judged::ByReference { .. });
    let lent = costs.iter().find(lends)?;
    let copies = copy.row.sender_copies.value()? - lent.row.sender_copies.value()?;
    let (ends, method) = (ends(copy.row.pair, copy.row.link), lent.row.method);
    let (dear, cheap) = (decimal(copy.value), decimal(lent.value));
    (copies >= ONE_COPY).then(|| match lent.runs.is_below(copy.runs) {
        true => format!(
            "about {} s of the sender's processor time per GB, calls included ({ends}): copy takes \
             {dear} s/GB and copies every byte {copies:.0} times, {method} takes {cheap} and does \
             not copy",
            decimal((copy.value - lent.value) / copies)
        ),
        false => {
            format!("no processor time that shows here: copy takes {dear}, {method} {cheap} s/GB")
        }
    })
}

/// A smaller difference has no price.
const ONE_COPY: f64 = 0.9;

fn own_eyes(eyes: &Eyes) -> Option<Takeaway> {
    let state = |cache| {
        let looks = tasks().filter_map(|(task, order)| {
            let (read, mapping) = eyes.pair(task, order, cache)?;
            let times = mapping.times(read).value()?;
            let (read, mapping) = (&read.gb_per_s, &mapping.gb_per_s);
            let is_clear = read.is_below(mapping) || mapping.is_below(read);
            let times_as = if is_clear { decimal(times) + " times" } else { "about".into() };
            Some((times, format!("{times_as} as fast ({order} {task})")))
        });
        let mut looks: Vec<(f64, String)> = looks.collect();
        looks.sort_by(|a, b| a.0.total_cmp(&b.0));
        match &looks[..] {
            [] => None,
            [(_, one)] => Some(format!("{one}, {cache}")),
            [(_, least), .., (_, most)] => Some(format!("from {least} to {most}, {cache}")),
        }
    };
    let states: Vec<String> = Cache::ALL.into_iter().filter_map(state).collect();
    let text = format!("compared with read(2), a mapping is {}", states.join("; "));
    let of = "file → the program's own eyes".to_owned();
    let is_told = !states.is_empty() && eyes.repeats >= REPEATS_MIN;
    is_told.then(|| Takeaway { of, text, id: "eyes".into() })
}

fn textbooks(claims: &[Claim]) -> Vec<Takeaway> {
    let count = |is: fn(&Verdict) -> bool| claims.iter().filter(|it| is(&it.verdict)).count();
    let holds = count(|it| *it == Verdict::Holds);
    let bounded = count(|it| matches!(it, Verdict::HoldsIf(_)));
    let untold = count(|it| matches!(it, Verdict::Unavailable(_)));
    let mut text = format!(
        "of {}, {holds} hold here, {bounded} under a condition",
        of(claims.len() as u64, "sentence")
    );
    if untold > 0 {
        text += &format!(", {untold} cannot be checked");
    }
    let fails = |claim: &&Claim| claim.verdict == Verdict::DoesNotHold;
    let failing = claims.iter().filter(fails).map(|claim| Takeaway {
        of: "Does not hold".into(),
        text: claim.sentence.into(),
        id: format!("claim-{}", claim.name),
    });
    let all = Takeaway { of: "What textbooks say".into(), text, id: "claims".into() };
    std::iter::once(all).chain(failing).collect()
}
