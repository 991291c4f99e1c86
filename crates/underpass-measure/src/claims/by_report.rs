//! What a comparison has shown of sentences on sending a file: its rows from file to TCP, warm.
//!
//! Source: read(2), write(2), sendfile(2), mmap(2);
//! `Documentation/networking/netdev-features.rst`, `NETIF_F_SG`.

use underpass::Method;

use crate::claims::{Line, Shown, Unit, Verdict};
use crate::compare::report::{Report, Row};
use crate::figure::{Figure, float};
use crate::terms::{Cache, Link, Pair};
use crate::words;

/// Largest transfer that one call of each kind moves.
const ONE_CALL_BYTES: u64 = 64 << 10;

pub(super) fn mapping_saves_a_copy(report: &Report) -> Shown {
    let rows =
        [Method::Copy, Method::MmapWrite].map(|method| whole(report, Link::Loopback, method));
    let [Some(read), Some(map)] = rows else { return absent(report, Link::Loopback) };
    let mut lines = Vec::new();
    for (name, row) in [("read + write", read), ("mmap + write", map)] {
        let of = |what, figure: &Figure, unit| {
            Line::new(format!("{name}: {what}"), figure.clone(), unit)
        };
        lines.extend([
            of("copies at the sender", &row.sender_copies, Unit::Copies),
            of("processor time of the sender", &row.sender_cpu_s_per_gb, Unit::CpuSPerGb),
            of("page faults", &row.minor_faults, Unit::Faults),
        ]);
    }
    let cost = |row: &Row| row.sender_cpu_s_per_gb.value().unwrap_or(0.0);
    let time = if cost(map) < cost(read) * 0.95 {
        let percent = (1.0 - cost(map) / cost(read)) * 100.0;
        format!("and with it {percent:.0} % of the processor time")
    } else {
        "but no processor time: the faults cost what the copy did".to_owned()
    };
    Shown {
        lines,
        verdict: saved(&read.sender_copies, &map.sender_copies),
        explanation: format!(
            "read(2) copies each byte into the buffer and write(2) out of it; a mapping needs the \
             second only. That saves the copy, {time}. Judged on a warm file."
        ),
    }
}

fn saved(with_read: &Figure, with_map: &Figure) -> Verdict {
    both(with_read, with_map, |read, map| (0.99..=1.01).contains(&(read - map)))
}

pub(super) fn mapping_suits_large_files(report: &Report) -> Shown {
    let rows = |method| warm(report, Link::Loopback, method);
    let mut costs: Vec<Cost> = rows(Method::Copy)
        .filter_map(|read| {
            let map =
                rows(Method::MmapWrite).find(|map| map.transfer_bytes == read.transfer_bytes)?;
            Cost::of(read, map)
        })
        .collect();
    // Rows are in the order in which their sizes were asked for.
    costs.sort_by_key(|cost| cost.bytes);
    let [smallest, .., largest] = &costs[..] else { return absent(report, Link::Loopback) };
    let from = "processor time of the sender / transfers";
    let lines = costs.iter().flat_map(|cost| {
        let size = words::size(cost.bytes);
        [("read + write", cost.read), ("mmap + write", cost.mapping)].map(|(how, value)| {
            Line::new(format!("{size}: {how}"), Figure::Derived { value, from }, Unit::Nanoseconds)
        })
    });
    Shown {
        lines: lines.collect(),
        verdict: large_enough(&costs),
        explanation: format!(
            "A mapping costs two calls and a fault for every 64 KiB or so, however small the file; \
             a read costs a copy. The mapping takes {:.1} times the processor time for {}, and \
             {:.1} times for {}. Judged on warm files; the buffer is used again, as servers do.",
            smallest.mapping / smallest.read,
            words::size(smallest.bytes),
            largest.mapping / largest.read,
            words::size(largest.bytes),
        ),
    }
}

/// What one transfer of a size costs, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Cost {
    bytes: u64,
    read: f64,
    mapping: f64,
}

impl Cost {
    fn of(read: &Row, mapping: &Row) -> Option<Self> {
        // Seconds for 10^9 bytes are nanoseconds for one.
        let each = |row: &Row| Some(row.sender_cpu_s_per_gb.value()? * float(row.transfer_bytes));
        Some(Self { bytes: read.transfer_bytes, read: each(read)?, mapping: each(mapping)? })
    }
}

fn large_enough(costs: &[Cost]) -> Verdict {
    let is_worth_it = |cost: &Cost| cost.mapping < cost.read;
    let Some(last_bad) = costs.iter().rposition(|cost| !is_worth_it(cost)) else {
        return Verdict::DoesNotHold;
    };
    match costs.get(last_bad + 1) {
        Some(first_good) => Verdict::HoldsIf(format!(
            "large means {} or more; at {} reading still costs less",
            words::size(first_good.bytes),
            words::size(costs[last_bad].bytes)
        )),
        None => Verdict::DoesNotHold,
    }
}

pub(super) fn sendfile_halves_the_switches(report: &Report) -> Shown {
    let one_call = |method| {
        let rows = warm(report, Link::Loopback, method);
        rows.filter(|row| row.transfer_bytes <= ONE_CALL_BYTES).max_by_key(|row| row.transfer_bytes)
    };
    let of_whole = |method| whole(report, Link::Loopback, method);
    let rows = [
        ("read + write", one_call(Method::Copy)),
        ("mmap + write", one_call(Method::MmapWrite)),
        ("sendfile", one_call(Method::Sendfile)),
        ("read + write", of_whole(Method::Copy)),
        ("sendfile", of_whole(Method::Sendfile)),
    ];
    let rows: Vec<(&str, &Row)> =
        rows.into_iter().filter_map(|(name, row)| Some((name, row?))).collect();
    let [(_, read), _, (_, sendfile), (_, read_whole), (_, at_once)] = rows[..] else {
        return absent(report, Link::Loopback);
    };
    let mut lines = Vec::new();
    for (name, row) in &rows {
        let name = format!("{name}, {} a transfer", words::size(row.transfer_bytes));
        lines.extend([
            Line::new(format!("{name}: calls"), calls(row), Unit::Calls),
            Line::new(format!("{name}: there and back"), row.crossings.clone(), Unit::Crossings),
            Line::new(
                format!("{name}: changes of threads"),
                row.context_switches.clone(),
                Unit::Switches,
            ),
        ]);
    }
    let count = |row: &Row| calls(row).value().unwrap_or(0.0);
    let ratio = count(sendfile) / count(read);
    Shown {
        lines,
        verdict: halves(ratio),
        explanation: format!(
            "Where read + write make two calls, sendfile makes one: {ratio:.2} of the calls at the \
             same bytes a call. It needs no buffer, so it can be asked for more at once, and then \
             it halves nothing: {:.0} calls in place of {:.0} for the whole file. A blocked sender \
             changes threads either way, which is another thing. Judged on a warm file.",
            count(at_once),
            count(read_whole),
        ),
    }
}

/// Data-moving calls of a run.
fn calls(row: &Row) -> Figure {
    let sum = row.calls.iter().filter_map(|kind| kind.calls.value()).sum();
    Figure::Derived { value: sum, from: "data-moving calls of every kind" }
}

fn halves(ratio: f64) -> Verdict {
    if (0.0..=0.55).contains(&ratio) { Verdict::Holds } else { Verdict::DoesNotHold }
}

pub(super) fn sendfile_needs_scatter_gather(report: &Report) -> Shown {
    let mut lines = Vec::new();
    for link in Link::ALL {
        let Some(row) = whole(report, link, Method::Sendfile) else { continue };
        let of = |what, figure: &Figure, unit| {
            Line::new(format!("over {link}: {what}"), figure.clone(), unit)
        };
        lines.extend([
            of("copies at the sender", &row.sender_copies, Unit::Copies),
            of("speed", &row.gb_per_s.median, Unit::GbPerS),
            of("processor time of the sender", &row.sender_cpu_s_per_gb, Unit::CpuSPerGb),
        ]);
    }
    let [Some(with), Some(without)] = [Link::Veth, Link::VethWithoutScatterGather]
        .map(|link| whole(report, link, Method::Sendfile))
    else {
        return absent(report, Link::VethWithoutScatterGather);
    };
    Shown {
        lines,
        verdict: last_copy(&with.sender_copies, &without.sender_copies),
        explanation: "A device that gathers takes a packet as a list of pages, and the page \
                      cache's own are on that list. For one that does not, the kernel copies every \
                      packet into one piece, and sends each by itself. sendfile returns the same \
                      in both cases. Judged on a warm file."
            .into(),
    }
}

fn last_copy(gathering: &Figure, not_gathering: &Figure) -> Verdict {
    both(gathering, not_gathering, |with, without| with < 0.1 && without > 0.9)
}

/// Holds if both figures are known and `holds` says so of them.
fn both(one: &Figure, other: &Figure, holds: impl Fn(f64, f64) -> bool) -> Verdict {
    match (one, other) {
        (Figure::Unavailable(why), _) | (_, Figure::Unavailable(why)) => {
            Verdict::Unavailable(why.clone())
        }
        (
            Figure::Measured(one) | Figure::Derived { value: one, .. },
            Figure::Measured(other) | Figure::Derived { value: other, .. },
        ) => {
            if holds(*one, *other) {
                Verdict::Holds
            } else {
                Verdict::DoesNotHold
            }
        }
    }
}

/// Rows of a method from file to TCP over `link`, warm, by size of transfer.
fn warm(report: &Report, link: Link, method: Method) -> impl Iterator<Item = &Row> {
    let is = move |row: &&Row| {
        (row.pair, row.link, row.cache, row.method)
            == (Pair::FileToTcp, Some(link), Cache::Warm, method)
    };
    report.rows.iter().filter(is)
}

/// The one in which the file went in one piece.
fn whole(report: &Report, link: Link, method: Method) -> Option<&Row> {
    warm(report, link, method).max_by_key(|row| row.transfer_bytes)
}

/// Why there are no such rows.
fn absent(report: &Report, link: Link) -> Shown {
    let is_it = |absent: &&crate::compare::report::Absent| absent.link == Some(link);
    let why = report.absent.iter().find(is_it).map(|absent| absent.why.clone());
    Shown::unavailable(why.unwrap_or_else(|| format!("nothing was sent over {link}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::tests::{report, row};

    const SIZES: [u64; 3] = [4 << 10, 64 << 10, 1 << 20];

    fn costs(mappings: [f64; 3]) -> Vec<Cost> {
        let costs = SIZES.into_iter().zip(mappings);
        costs.map(|(bytes, mapping)| Cost { bytes, read: 10.0, mapping }).collect()
    }

    #[test]
    fn the_crossover_is_the_size_from_which_on_mapping_always_costs_less() {
        let Verdict::HoldsIf(large) = large_enough(&costs([20.0, 11.0, 9.0])) else { panic!() };
        assert_eq!(large, "large means 1 MiB or more; at 64 KiB reading still costs less");
        let Verdict::HoldsIf(large) = large_enough(&costs([9.0, 11.0, 9.0])) else { panic!() };
        assert!(large.starts_with("large means 1 MiB"), "{large}");
        assert_eq!(large_enough(&costs([9.0, 9.0, 11.0])), Verdict::DoesNotHold, "large ones lose");
        assert_eq!(large_enough(&costs([9.0; 3])), Verdict::DoesNotHold, "small ones win too");
    }

    #[test]
    fn one_copy_saved_and_half_the_calls_hold_and_others_do_not() {
        let [none, one, two] = [0.0, 1.0, 2.0].map(Figure::Measured);
        assert_eq!(saved(&two, &one), Verdict::Holds);
        assert_eq!(saved(&two, &two), Verdict::DoesNotHold);
        assert_eq!(saved(&two, &none), Verdict::DoesNotHold);
        assert_eq!([0.5, 0.01].map(halves), [Verdict::Holds, Verdict::Holds]);
        assert_eq!([1.0, f64::NAN].map(halves), [Verdict::DoesNotHold, Verdict::DoesNotHold]);
    }

    #[test]
    fn the_last_copy_must_be_there_without_and_away_with_scatter_gather() {
        let [none, one] = [0.0, 1.0].map(Figure::Measured);
        assert_eq!(last_copy(&none, &one), Verdict::Holds);
        assert_eq!(last_copy(&none, &none), Verdict::DoesNotHold);
        assert_eq!(last_copy(&one, &one), Verdict::DoesNotHold);
        let missing = Figure::Unavailable("no probe".into());
        assert_eq!(last_copy(&missing, &one), Verdict::Unavailable("no probe".into()));
    }

    #[test]
    fn a_verdict_on_warm_files_is_the_same_with_cold_rows_and_names_what_it_lacks() {
        let mut warm = report();
        for (method, copies, cpu, calls) in [
            (Method::Copy, 2.0, 0.2, 128),
            (Method::MmapWrite, 1.0, 0.3, 64),
            (Method::Sendfile, 0.0, 0.1, 64),
        ] {
            for (size, times) in [(64 << 10, 2.0), (1 << 24, if cpu > 0.2 { 0.5 } else { 1.0 })] {
                let row = row(Link::Loopback, method, size, (copies, cpu * times, calls));
                warm.rows.push(row);
            }
        }
        let mut with_cold = warm.clone();
        for row in &warm.rows {
            // Where cold rows counted, each verdict would be another.
            let mut cold =
                Row { cache: Cache::Cold, transfer_bytes: row.transfer_bytes * 2, ..row.clone() };
            cold.sender_copies = Figure::Measured(0.0);
            cold.sender_cpu_s_per_gb =
                Figure::Measured(if row.method == Method::Copy { 9.0 } else { 8.0 });
            with_cold.rows.insert(0, cold);
        }
        for (judge, holds) in [
            (mapping_saves_a_copy as fn(&Report) -> Shown, true),
            (sendfile_halves_the_switches, true),
            (mapping_suits_large_files, false),
        ] {
            let shown = judge(&warm);
            assert_eq!(shown.verdict == Verdict::Holds, holds, "{shown:?}");
            assert!(shown.explanation.contains("warm file"), "{}", shown.explanation);
            assert_eq!(judge(&with_cold), shown);
        }
        let large = mapping_suits_large_files(&warm);
        warm.rows.reverse();
        assert_eq!(mapping_suits_large_files(&warm), large, "sizes in another order");
        let large = large.verdict;
        assert!(
            matches!(&large, Verdict::HoldsIf(why) if why.starts_with("large means 16 MiB")),
            "{large:?}"
        );
        let missing = sendfile_needs_scatter_gather(&warm).verdict;
        let why = "nothing was sent over veth without scatter-gather";
        assert_eq!(missing, Verdict::Unavailable(why.into()));
    }
}
