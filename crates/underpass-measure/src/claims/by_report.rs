//! What a comparison has shown of sentences on sending a file: its rows from file to TCP, warm.
//!
//! Source: read(2), write(2), sendfile(2), mmap(2);
//! `Documentation/networking/netdev-features.rst`, `NETIF_F_SG`.

use underpass::Method;

use crate::claims::{Diary, Shown, Unit, Verdict};
use crate::compare::report::{Report, Row};
use crate::figure::{Figure, float};
use crate::terms::{Cache, Link, Pair};
use crate::words;

/// Largest transfer that one call of each kind moves.
const ONE_CALL_BYTES: u64 = 64 << 10;

/// Larger transfers are judged by none: how large a file the user has must not be the answer.
const JUDGED_BYTES: u64 = 16 << 20;

pub(super) fn mapping_saves_a_copy(report: &Report) -> Result<Shown, String> {
    let read = whole(report, Link::Loopback, Method::Copy)?;
    let map = whole(report, Link::Loopback, Method::MmapWrite)?;
    let mut diary = Diary::default();
    for (name, row) in [("read + write", read), ("mmap + write", map)] {
        let mut figure = |what, figure, unit| diary.figure(format!("{name}: {what}"), figure, unit);
        let cost = &row.sender_cpu_s_per_gb_range.median;
        figure("copies at the sender", &row.sender_copies, Unit::Copies);
        figure("processor time of the sender", cost, Unit::CpuSPerGb);
        figure("page faults", &row.minor_faults, Unit::Faults);
    }
    let costs = [map, read].map(|row| &row.sender_cpu_s_per_gb_range);
    let time = match costs.map(|cost| cost.median.value()) {
        [Some(map), Some(read)] if costs[0].is_clearly_below(costs[1]) => {
            format!("and with it {:.0} % of the processor time", (1.0 - map / read) * 100.0)
        }
        _ if costs[1].is_clearly_below(costs[0]) => {
            "but no processor time: the faults cost more than the copy did".to_owned()
        }
        _ => "but no processor time that shows: the two differ by less than a tenth, or by less \
              than their runs do"
            .to_owned(),
    };
    let by = if report.machine.tier == 'A' {
        ""
    } else {
        " Pages were not seen: these are the copies that the calls are specified to make."
    };
    Ok(diary.shown(
        both(&read.sender_copies, &map.sender_copies, saves_one),
        format!(
            "read(2) copies each byte into the buffer and write(2) out of it; a mapping needs the \
             second only. That saves the copy, {time}.{by} Judged on a warm file."
        ),
    ))
}

fn saves_one(with_read: f64, with_map: f64) -> bool {
    (0.99..=1.01).contains(&(with_read - with_map))
}

pub(super) fn mapping_suits_large_files(report: &Report) -> Result<Shown, String> {
    let rows = |method| {
        let rows = warm(report, Link::Loopback, method);
        rows.filter(|row| row.transfer_bytes <= JUDGED_BYTES)
    };
    let mut costs: Vec<Cost<'_>> = Vec::new();
    for read in rows(Method::Copy) {
        let map = rows(Method::MmapWrite).find(|map| map.transfer_bytes == read.transfer_bytes);
        costs.extend(map.map(|mapping| Cost { read, mapping }));
    }
    // Rows are in the order in which their sizes were asked for.
    costs.sort_by_key(|cost| cost.read.transfer_bytes);
    let [smallest, .., largest] = &costs[..] else {
        return Err(absent(report, Link::Loopback, Method::MmapWrite));
    };
    let from = "processor time of the sender / transfers";
    let mut diary = Diary::default();
    for cost in &costs {
        for (how, row) in [("read + write", cost.read), ("mmap + write", cost.mapping)] {
            // Seconds for 10^9 bytes are nanoseconds for one.
            let each = |seconds| seconds * float(row.transfer_bytes);
            let figure = row.sender_cpu_s_per_gb_range.median.known().map_or_else(
                Figure::Unavailable,
                |seconds| Figure::Derived { value: each(seconds), from },
            );
            let what = format!("{}: {how}", words::size(row.transfer_bytes));
            diary.figure(what, &figure, Unit::Nanoseconds);
        }
    }
    let times = |cost: &Cost<'_>| {
        let [read, mapping] = [cost.read, cost.mapping]
            .map(|row| row.sender_cpu_s_per_gb_range.median.value().unwrap_or(f64::NAN));
        format!("{:.1} times the processor time for {}", mapping / read, cost.size())
    };
    Ok(diary.shown(
        large_enough(&costs),
        format!(
            "A mapping costs two calls and a fault for every 64 KiB or so, however small the file; \
             a read costs a copy. The mapping takes {}, and {}. Judged on warm files; the buffer \
             is used again, as servers do.",
            times(smallest),
            times(largest),
        ),
    ))
}

/// What transfers of one size cost both ways.
#[derive(Debug, Clone, Copy)]
struct Cost<'r> {
    read: &'r Row,
    mapping: &'r Row,
}

impl Cost<'_> {
    fn size(&self) -> String {
        words::size(self.read.transfer_bytes)
    }

    /// Whether reading is cheaper, or the mapping, if that is clear.
    fn is_read_cheaper(&self) -> Option<bool> {
        let [read, mapping] = [self.read, self.mapping].map(|row| &row.sender_cpu_s_per_gb_range);
        let clear = [read.is_clearly_below(mapping), mapping.is_clearly_below(read)];
        clear.contains(&true).then_some(clear[0])
    }
}

/// Where large begins, by costs in the order of their sizes. Sizes in which the runs differ by
/// more than both ways do decide nothing.
fn large_enough(costs: &[Cost<'_>]) -> Verdict {
    let lost = costs.iter().rposition(|cost| cost.is_read_cheaper() == Some(true));
    let larger = &costs[lost.map_or(0, |at| at + 1)..];
    let won = larger.iter().position(|cost| cost.is_read_cheaper() == Some(false));
    let unclear = |where_: String| {
        Verdict::Unavailable(format!("{where_} both ways differ by less than their runs do"))
    };
    match (lost, won) {
        (Some(lost), Some(won)) => Verdict::HoldsIf(format!(
            "large begins between {}, where reading still costs less, and {}, where mapping does",
            costs[lost].size(),
            larger[won].size()
        )),
        (Some(_), None) if larger.is_empty() => Verdict::DoesNotHold,
        (Some(lost), None) => unclear(format!("above {}", costs[lost].size())),
        (None, Some(0)) => Verdict::DoesNotHold,
        (None, Some(won)) => unclear(format!("below {}", larger[won].size())),
        (None, None) => unclear("at every size".into()),
    }
}

pub(super) fn sendfile_halves_the_switches(report: &Report) -> Result<Shown, String> {
    let one_call = |method| {
        let rows = warm(report, Link::Loopback, method);
        let rows = rows.filter(|row| row.transfer_bytes <= ONE_CALL_BYTES);
        let largest = rows.max_by_key(|row| row.transfer_bytes);
        largest.ok_or_else(|| absent(report, Link::Loopback, method))
    };
    let (read, sendfile) = (one_call(Method::Copy)?, one_call(Method::Sendfile)?);
    let read_whole = whole(report, Link::Loopback, Method::Copy)?;
    let at_once = whole(report, Link::Loopback, Method::Sendfile)?;
    let mut diary = Diary::default();
    for (name, row) in [
        ("read + write", read),
        ("sendfile", sendfile),
        ("read + write", read_whole),
        ("sendfile", at_once),
    ] {
        let (size, calls) = (words::size(row.transfer_bytes), calls(row));
        let mut figure = |what, figure, unit| {
            diary.figure(format!("{name}, {size} per transfer: {what}"), figure, unit);
        };
        figure("calls", &calls, Unit::Calls);
        figure("there and back", &row.crossings, Unit::Crossings);
        figure("changes of threads", &row.context_switches, Unit::Switches);
    }
    let count = |row: &Row| calls(row).value().unwrap_or(0.0);
    let ratio = count(sendfile) / count(read);
    Ok(diary.shown(
        halves(ratio),
        format!(
            "Where read + write make two calls, sendfile makes one: {ratio:.2} of the calls at the \
             same bytes per call. It needs no buffer, so it can be asked for more at once, and \
             then it halves nothing: {:.0} calls in place of {:.0} for the whole file. A blocked \
             sender changes threads either way, which is another thing. Judged on a warm file.",
            count(at_once),
            count(read_whole),
        ),
    ))
}

/// Data-moving calls of a run.
fn calls(row: &Row) -> Figure {
    let sum = row.calls.iter().filter_map(|kind| kind.calls.value()).sum();
    Figure::Derived { value: sum, from: "data-moving calls of every kind" }
}

fn halves(ratio: f64) -> Verdict {
    Verdict::of((0.0..=0.55).contains(&ratio))
}

pub(super) fn sendfile_needs_scatter_gather(report: &Report) -> Result<Shown, String> {
    let with = whole(report, Link::Veth, Method::Sendfile)?;
    let without = whole(report, Link::VethWithoutScatterGather, Method::Sendfile)?;
    let mut diary = Diary::default();
    for link in Link::ALL {
        let Ok(row) = whole(report, link, Method::Sendfile) else { continue };
        let mut figure =
            |what, figure, unit| diary.figure(format!("over {link}: {what}"), figure, unit);
        figure("copies at the sender", &row.sender_copies, Unit::Copies);
        figure("speed", &row.gb_per_s.median, Unit::GbPerS);
        figure("processor time of the sender", &row.sender_cpu_s_per_gb, Unit::CpuSPerGb);
    }
    Ok(diary.shown(
        both(&with.sender_copies, &without.sender_copies, is_last_copy),
        "A device that gathers takes a packet as a list of pages, and the page cache's own are on \
         that list. For one that does not, the kernel copies every packet into one piece, and \
         sends each by itself. sendfile returns the same in both cases. Judged on a warm file.",
    ))
}

fn is_last_copy(gathering: f64, not_gathering: f64) -> bool {
    gathering < 0.1 && not_gathering > 0.9
}

/// Holds if both figures are known and `holds` says so of them.
fn both(one: &Figure, other: &Figure, holds: fn(f64, f64) -> bool) -> Verdict {
    let judged = one.known().and_then(|one| Ok(Verdict::of(holds(one, other.known()?))));
    judged.unwrap_or_else(Verdict::Unavailable)
}

/// Rows of a method from file to TCP over `link`, warm, by size of transfer.
fn warm(report: &Report, link: Link, method: Method) -> impl Iterator<Item = &Row> {
    let is = move |row: &&Row| {
        (row.pair, row.link, row.cache, row.method)
            == (Pair::FileToTcp, Some(link), Cache::Warm, method)
    };
    report.rows.iter().filter(is)
}

/// The one in which the file went in one piece; otherwise why there is none.
fn whole(report: &Report, link: Link, method: Method) -> Result<&Row, String> {
    let largest = warm(report, link, method).max_by_key(|row| row.transfer_bytes);
    largest.ok_or_else(|| absent(report, link, method))
}

/// Why there are no such rows. What was tried for the claims is behind what was compared.
fn absent(report: &Report, link: Link, method: Method) -> String {
    let of = (Pair::FileToTcp, Some(link), method);
    let last = report.absent.iter().rfind(|it| (it.pair, it.link, it.method) == of);
    last.map_or_else(|| format!("{method} was not sent over {link}"), |it| it.why.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::Line;
    use crate::claims::tests::{report, row};
    use crate::compare::report::Absent;
    use crate::figure::Spread;

    /// What is judged of costs of mappings, in the order of sizes; reading costs 10.
    fn judged<const N: usize>(mappings: [f64; N]) -> String {
        let row =
            |method, at: usize, cost| row(Link::Loopback, method, 4096 << (4 * at), (0.0, cost, 1));
        let rows: Vec<_> = mappings
            .into_iter()
            .enumerate()
            .map(|(at, cost)| (row(Method::Copy, at, 10.0), row(Method::MmapWrite, at, cost)))
            .collect();
        let costs = rows.iter().map(|(read, mapping)| Cost { read, mapping });
        match large_enough(&costs.collect::<Vec<_>>()) {
            Verdict::HoldsIf(text) | Verdict::Unavailable(text) => text,
            verdict @ (Verdict::Holds | Verdict::DoesNotHold) => verdict.name().to_owned(),
        }
    }

    #[test]
    fn large_begins_between_a_size_that_clearly_lost_and_one_that_clearly_won() {
        let between = "large begins between 64 KiB, where reading still costs less, and 1 MiB, \
                       where mapping does";
        assert_eq!(judged([20.0, 12.0, 8.0]), between);
        assert_eq!(judged([8.0, 12.0, 8.0]), between);
        assert_eq!(judged([20.0, 9.8, 8.0]), between.replace("64 KiB", "4 KiB"));
        assert_eq!(judged([8.0, 8.0, 12.0]), "does not hold", "large ones lose");
        assert_eq!(judged([8.0, 8.0, 8.0]), "does not hold", "small ones win too");
        let unclear = "both ways differ by less than their runs do";
        assert_eq!(judged([20.0, 12.0, 9.8]), format!("above 64 KiB {unclear}"));
        assert_eq!(judged([10.1, 8.0]), format!("below 64 KiB {unclear}"));
        assert_eq!(judged([10.1, 9.8]), format!("at every size {unclear}"));
    }

    #[test]
    fn one_copy_saved_and_half_the_calls_hold_and_others_do_not() {
        let saved = [(2.0, 1.0), (2.0, 2.0), (2.0, 0.0)].map(|(read, map)| saves_one(read, map));
        assert_eq!(saved, [true, false, false]);
        assert_eq!([0.5, 0.01].map(halves), [Verdict::Holds, Verdict::Holds]);
        assert_eq!([1.0, f64::NAN].map(halves), [Verdict::DoesNotHold, Verdict::DoesNotHold]);
    }

    #[test]
    fn the_last_copy_must_be_there_without_and_away_with_scatter_gather() {
        let [none, one] = [0.0, 1.0].map(Figure::Measured);
        let judged = |with, without| both(with, without, is_last_copy);
        assert_eq!(judged(&none, &one), Verdict::Holds);
        assert_eq!(judged(&none, &none), Verdict::DoesNotHold);
        assert_eq!(judged(&one, &one), Verdict::DoesNotHold);
        let missing = Figure::Unavailable("no probe".into());
        assert_eq!(judged(&missing, &one), Verdict::Unavailable("no probe".into()));
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
            let cost = if row.method == Method::Copy { 9.0 } else { 8.0 };
            cold.sender_cpu_s_per_gb_range = Spread::of(&[cost; 3], |cost| *cost);
            with_cold.rows.insert(0, cold);
        }
        for (judge, verdict) in [
            (mapping_saves_a_copy as fn(&Report) -> Result<Shown, String>, "holds"),
            (sendfile_halves_the_switches, "holds"),
            (mapping_suits_large_files, "holds if"),
        ] {
            let shown = judge(&warm).unwrap();
            assert_eq!(shown.verdict.name(), verdict, "{shown:?}");
            assert!(shown.explanation.contains("warm file"), "{}", shown.explanation);
            assert_eq!(judge(&with_cold).unwrap(), shown);
        }
        let large = mapping_suits_large_files(&warm).unwrap();
        warm.rows.reverse();
        assert_eq!(mapping_suits_large_files(&warm).unwrap(), large, "sizes in another order");
        assert!(
            matches!(&large.verdict, Verdict::HoldsIf(why) if why.contains("and 16 MiB, where")),
            "{large:?}"
        );
    }

    #[test]
    fn how_large_the_users_file_is_does_not_say_what_is_large() {
        let mut of = report();
        for (bytes, cost) in [(4 << 10, 0.4), (16 << 20, 0.2), (64 << 20, 0.1), (4 << 30, 0.1)] {
            of.rows.push(row(Link::Loopback, Method::Copy, bytes, (2.0, 0.2, 1)));
            of.rows.push(row(Link::Loopback, Method::MmapWrite, bytes, (1.0, cost, 1)));
        }
        let shown = mapping_suits_large_files(&of).unwrap();
        let unclear = "above 4 KiB both ways differ by less than their runs do";
        assert_eq!(shown.verdict, Verdict::Unavailable(unclear.into()));
    }

    #[test]
    fn what_is_lacking_is_told_with_its_own_reason() {
        let mut of = report();
        let absent = |method, why: &str| Absent {
            pair: Pair::FileToTcp,
            link: Some(Link::Loopback),
            method,
            cache: Cache::Warm,
            transfer_bytes: 1 << 24,
            why: why.into(),
        };
        let why = |of: &Report| mapping_saves_a_copy(of).unwrap_err();
        assert_eq!(why(&of), "copy was not sent over loopback");
        of.absent = vec![
            absent(Method::Copy, "the file was not warm"),
            absent(Method::Copy, "no file for the claims"),
            absent(Method::UringSendZc, "No buffer space"),
        ];
        assert_eq!(why(&of), "no file for the claims");
    }

    #[test]
    fn times_are_the_medians_that_are_compared_and_no_cause_is_named_for_noise() {
        let mut of = report();
        let mut read = row(Link::Loopback, Method::Copy, 1 << 24, (2.0, 0.2, 1));
        // That of the run with the median speed.
        read.sender_cpu_s_per_gb = Figure::Measured(7.5);
        of.rows.push(read);
        of.rows.push(row(Link::Loopback, Method::MmapWrite, 1 << 24, (1.0, 0.1, 1)));
        let shown = mapping_saves_a_copy(&of).unwrap();
        let line = shown.lines.iter().find(|it| it.what.contains("processor time")).unwrap();
        let found = Line::new(line.what.clone(), Figure::Measured(0.2), Unit::CpuSPerGb);
        assert_eq!(line, &found);
        assert!(shown.explanation.contains("50 % of the processor time"), "{}", shown.explanation);
        let few = Spread { runs: 1, ..of.rows[0].sender_cpu_s_per_gb_range.clone() };
        of.rows[0].sender_cpu_s_per_gb_range = few;
        let said = mapping_saves_a_copy(&of).unwrap().explanation;
        assert!(!said.contains("faults") && said.contains("than their runs do"), "{said}");
    }

    #[test]
    fn copies_that_were_not_seen_are_said_to_be_those_that_calls_are_specified_to_make() {
        let mut of = report();
        of.rows.push(row(Link::Loopback, Method::Copy, 1 << 24, (2.0, 0.2, 1)));
        of.rows.push(row(Link::Loopback, Method::MmapWrite, 1 << 24, (1.0, 0.2, 1)));
        let specified = |of: &Report| {
            mapping_saves_a_copy(of).unwrap().explanation.contains("are specified to make")
        };
        assert!(specified(&of));
        of.machine.tier = 'A';
        assert!(!specified(&of));
    }
}
