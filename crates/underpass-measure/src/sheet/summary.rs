//! What a reader should take away from a comparison, in about ten lines.

use serde::Serialize;
use underpass::Method;

use crate::claims::{Claim, Verdict};
use crate::compare::report::{Cache, Report, Row, Verdict as Judged};
use crate::eyes::{Eyes, tasks};
use crate::figure::Figure;
use crate::sheet::compare::{groups, times};
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
    let groups = groups(&report.rows);
    let warm = || groups.iter().filter(|rows| rows[0].cache == Cache::Warm);
    let told = |rows: &Vec<&Row>| {
        Some(Takeaway {
            of: ends(rows[0].pair, rows[0].link),
            text: extremes(rows)?,
            id: id(rows[0]),
        })
    };
    let mut lines: Vec<Takeaway> = warm().filter_map(told).collect();
    let cold = groups.iter().find(|rows| rows[0].cache == Cache::Cold);
    lines.extend(cold.and_then(|rows| {
        let of = format!("{}, from the disk", ends(rows[0].pair, rows[0].link));
        Some(Takeaway { of, text: extremes(rows)?, id: id(rows[0]) })
    }));
    lines.extend(warm().find_map(|rows| {
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

/// Rows of which a figure is known, least first.
fn ranked<'a>(rows: &[&'a Row], of: fn(&Row) -> &Figure) -> Vec<(&'a Row, f64)> {
    let known = rows.iter().filter_map(|row| Some((*row, of(row).value()?)));
    let mut known: Vec<(&Row, f64)> = known.collect();
    known.sort_by(|a, b| a.1.total_cmp(&b.1));
    known
}

/// Whether some run of the one was as quick as some run of the other.
fn overlap(a: &Row, b: &Row) -> bool {
    let (a, b) = (&a.gb_per_s, &b.gb_per_s);
    a.min.value() <= b.max.value() && b.min.value() <= a.max.value()
}

/// The quickest and the slowest, if their runs tell them apart, and who takes least of the
/// processor.
fn extremes(rows: &[&Row]) -> Option<String> {
    let speeds = ranked(rows, |row| &row.gb_per_s.median);
    let (&(slow, low), &(quick, high)) = (speeds.first()?, speeds.last()?);
    let told = |row: &Row, value: f64, word: &str| {
        let rivals = speeds.iter().filter(|(it, _)| it.method != row.method && overlap(it, row));
        let rivals = match rivals.map(|(it, _)| it.method.name()).collect::<Vec<_>>()[..] {
            [] => String::new(),
            [one] => format!("; {one} may be as {word}"),
            ref many => format!("; {} others may be as {word}", many.len()),
        };
        format!("{} {} GB/s ({}{rivals})", row.method, decimal(value), fate(row))
    };
    let mut text = if quick.method == slow.method {
        return Some(told(quick, high, "quick"));
    } else if overlap(quick, slow) {
        let (low, high) = (decimal(low), decimal(high));
        format!("{low} to {high} GB/s, none clearly the quickest: their runs overlap")
    } else {
        let (quick, slow) = (told(quick, high, "quick"), told(slow, low, "slow"));
        format!("quickest {quick}, slowest {slow}")
    };
    if let [(cheap, low), .., (dear, high)] = ranked(rows, |row| &row.sender_cpu_s_per_gb)[..] {
        let (low, high) = (decimal(low), decimal(high));
        text +=
            &format!("; sender's CPU s/GB {low} ({}) to {high} ({})", cheap.method, dear.method);
    }
    Some(text)
}

/// The processor time of one copy: what copying costs more than the cheapest way by reference.
fn price(rows: &[&Row]) -> Option<String> {
    let costs = ranked(rows, |row| &row.sender_cpu_s_per_gb);
    let (copy, dear) = costs.iter().find(|(row, _)| row.method == Method::Copy)?;
    let lends = |row: &Row| matches!(row.verdict, Judged::ByReference { .. });
    let (lent, cheap) = costs.iter().find(|(row, _)| lends(row))?;
    let copies = copy.sender_copies.value()? - lent.sender_copies.value()?;
    let seconds = (dear - cheap) / copies.max(1.0);
    let (ends, method) = (ends(copy.pair, copy.link), lent.method);
    let (dear, cheap) = (decimal(*dear), decimal(*cheap));
    Some(if seconds > 0.0 {
        format!(
            "about {} s of the sender's processor time a GB ({ends}): copy takes {dear} s/GB and \
             copies each byte {copies:.0} times more than {method}, which takes {cheap}",
            decimal(seconds)
        )
    } else {
        format!("no processor time that shows here: copy takes {dear}, {method} {cheap} s/GB")
    })
}

fn own_eyes(eyes: &Eyes) -> Option<Takeaway> {
    let state = |cache| {
        let ratios = tasks().filter_map(|(task, order)| {
            let (read, mapping) = eyes.pair(task, order, cache)?;
            times(read, mapping)
        });
        let ratios: Vec<f64> = ratios.collect();
        let (low, high) =
            (ratios.iter().copied().reduce(f64::min)?, ratios.iter().copied().reduce(f64::max)?);
        Some(format!("{} to {} times as quick as read(2), {cache}", decimal(low), decimal(high)))
    };
    let states: Vec<String> = [Cache::Warm, Cache::Cold].into_iter().filter_map(state).collect();
    let text = format!("a mapping is {}", states.join("; "));
    let of = "file → the program's own eyes".to_owned();
    (!states.is_empty()).then(|| Takeaway { of, text, id: "eyes".into() })
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
