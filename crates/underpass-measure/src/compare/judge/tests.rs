//! Verdicts and figures from evidence made by hand.

use underpass::Method;

use super::*;
use crate::compare::besides::Discarded;
use crate::compare::order::{Account, Resident, Used};
use crate::compare::report::{Cache, Link};
use crate::evidence::{Lent, Origin, Pages};

const PAYLOAD: u64 = 1_000_000;
const FILE: Origin = Origin::PageCache { major: 254, minor: 0, inode: 17 };

fn case(pair: Pair, link: Option<Link>, method: Method) -> Case {
    let cache = Cache::Warm;
    let (bytes, transfer_bytes, discards) = (PAYLOAD, PAYLOAD, false);
    Case { pair, link, cache, method, bytes, transfer_bytes, discards }
}

fn account(took_ns: u64) -> Account {
    Account {
        bytes: PAYLOAD,
        began_ns: 1_000,
        ended_ns: 1_000 + took_ns,
        cpu_ns: took_ns / 2,
        used: Used { disk_read_bytes: Some(0), disk_write_bytes: Some(0), ..Used::default() },
        peak: Some(Resident { anonymous: 0, file: 8192 }),
        ..Account::default()
    }
}

fn run(took_ns: u64) -> Run {
    Run {
        sender: account(took_ns),
        receiver: Some(account(took_ns)),
        sender_process: 1,
        receiver_process: Some(2),
        source_inode: 17,
        sink_inode: 18,
        shared_bytes: None,
        softirq_ticks: Some(0),
    }
}

fn pages(origin: Origin, lent: Lent, bytes: u64) -> Pages {
    Pages { interface: 1, origin, lent, bytes }
}

fn measured(case: Case, timed: &[Run], seen: Result<&Seen, &str>) -> Measured {
    let watched = seen.map(|seen| (run(1), seen.clone())).map_err(str::to_owned);
    Measured { case, checked: run(1), timed: timed.to_vec(), watched }
}

fn judged(case: Case, checked: &Run, seen: Result<&Seen, &str>) -> Row {
    let checked = checked.clone();
    row(&Measured { checked, ..measured(case, &[run(1_000_000)], seen) })
}

fn tcp(link: Link, method: Method, seen: &Seen) -> Row {
    judged(case(Pair::FileToTcp, Some(link), method), &run(1), Ok(seen))
}

#[test]
fn lent_pages_of_the_file_that_arrive_as_such_are_by_reference() {
    let all = vec![pages(FILE, Lent::Shared, PAYLOAD)];
    let seen = Seen { sent: all.clone(), received: all, ..Seen::default() };
    let row = tcp(Link::Loopback, Method::Sendfile, &seen);
    assert_eq!(row.verdict.to_string(), "by reference 100 % (inode 17)");
    assert_eq!(row.sender_copies.value(), Some(0.0));
    assert_eq!(row.receiver_copies, Figure::Measured(1.0));
    assert_eq!(row.by_reference_bytes, Figure::Measured(1_000_000.0));
}

#[test]
fn what_was_read_and_left_in_pages_of_the_kernel_is_copied_twice() {
    let copied =
        vec![pages(Origin::Kernel, Lent::No, PAYLOAD - 400), pages(Origin::Linear, Lent::No, 400)];
    let seen = Seen {
        taken_bytes: PAYLOAD,
        sent: copied.clone(),
        received: copied,
        calls: vec![("pread64".into(), 4, PAYLOAD), ("sendmsg".into(), 4, PAYLOAD)],
        entries: 9,
    };
    let row = tcp(Link::Veth, Method::Copy, &seen);
    assert_eq!(row.sender_copies.value(), Some(2.0));
    assert_eq!(row.crossings.value(), Some(18.0));
    assert_eq!((row.by_reference_bytes, row.by_reference_inode), (Figure::Measured(0.0), None));
    assert!(matches!(row.verdict, Verdict::Copied { .. }), "{}", row.verdict);
}

#[test]
fn pages_that_were_lent_and_arrive_as_the_kernels_were_copied_on_the_way() {
    let seen = Seen {
        sent: vec![pages(FILE, Lent::ZeroCopy, PAYLOAD)],
        received: vec![pages(Origin::Kernel, Lent::No, PAYLOAD)],
        ..Seen::default()
    };
    let row = tcp(Link::Loopback, Method::ZeroCopySend, &seen);
    assert_eq!(row.sender_copies.value(), Some(1.0));
    assert_eq!(row.by_reference_bytes, Figure::Measured(0.0));
    assert!(row.verdict.to_string().ends_with("(a deferred copy)"), "{}", row.verdict);
}

#[test]
fn linear_packets_of_sendfile_are_a_device_without_scatter_gather() {
    let linear = vec![pages(Origin::Linear, Lent::No, PAYLOAD)];
    let seen = Seen { sent: linear.clone(), received: linear, ..Seen::default() };
    let row = tcp(Link::VethWithoutScatterGather, Method::Sendfile, &seen);
    assert_eq!(row.sender_copies.value(), Some(1.0));
    assert_eq!(
        row.verdict.to_string(),
        "copied: the device has no scatter-gather: the kernel copied the pages into the packets"
    );
    assert_eq!(row.textbook.map(|book| book.cpu_copies), Some(1));
}

#[test]
fn bytes_that_were_not_seen_are_not_judged() {
    let half = vec![pages(FILE, Lent::Shared, PAYLOAD / 2)];
    let seen = Seen { sent: half.clone(), received: half, ..Seen::default() };
    let row = tcp(Link::Loopback, Method::Sendfile, &seen);
    let why = "500,000 of 1,000,000 bytes were seen to leave the socket";
    assert_eq!(row.verdict, Verdict::Unknown { why: why.into() });
    assert_eq!(row.sender_copies, Figure::Unavailable(why.into()));
}

#[test]
fn a_kernel_page_that_splice_passes_on_is_a_reference_and_one_beside_a_file_is_not() {
    let lent = vec![pages(Origin::Kernel, Lent::Shared, PAYLOAD)];
    let seen = Seen { sent: lent.clone(), received: lent, ..Seen::default() };
    let passed = case(Pair::SocketToSocket, Some(Link::Loopback), Method::Splice);
    let row = judged(passed, &run(1), Ok(&seen));
    assert_eq!(row.verdict.to_string(), "by reference 100 %");
    assert_eq!(tcp(Link::Loopback, Method::Splice, &seen).sender_copies.value(), Some(1.0));
}

#[test]
fn a_unix_socket_is_judged_by_what_its_receiver_copied_from() {
    let seen = Seen { received: vec![pages(FILE, Lent::Shared, PAYLOAD)], ..Seen::default() };
    let row = judged(case(Pair::FileToUnix, None, Method::Sendfile), &run(1), Ok(&seen));
    assert_eq!(row.verdict.to_string(), "by reference 100 % (inode 17)");
}

#[test]
fn without_a_probe_copying_calls_are_known_and_sendfile_is_not() {
    let tcp = |method, checked: &Run| {
        judged(case(Pair::FileToTcp, Some(Link::Loopback), method), checked, Err("no BPF"))
    };
    assert_eq!(tcp(Method::Copy, &run(1)).sender_copies.value(), Some(2.0));
    assert_eq!(tcp(Method::MmapWrite, &run(1)).sender_copies.value(), Some(1.0));
    let row = tcp(Method::Sendfile, &run(1));
    let Verdict::Unknown { why } = row.verdict else { panic!("{}", row.verdict) };
    assert!(why.starts_with("the calls return the same whether"), "{why}");
    assert_eq!(row.by_reference_bytes, Figure::Unavailable("no BPF".into()));
    let told = |copied| {
        let mut told = run(1);
        (told.sender.zero_copy_done, told.sender.zero_copy_copied) = (copied, copied);
        tcp(Method::ZeroCopySend, &told).verdict.to_string()
    };
    assert_eq!(
        told(PAYLOAD),
        "copied: the kernel reports that it copied 1,000,000 of 1,000,000 bytes"
    );
    assert_eq!(
        told(600_000),
        "unknown: the kernel reports that it copied 600,000 of 1,000,000 bytes, and had not \
         reported on 400,000 when the sender was done"
    );
}

#[test]
fn files_are_by_reference_only_if_extents_are_shared_and_nothing_was_dirtied() {
    let file = |shared, dirtied| {
        let mut checked = Run { receiver: None, shared_bytes: shared, ..run(1) };
        checked.sender.used.disk_write_bytes = Some(dirtied);
        judged(case(Pair::FileToFile, None, Method::CopyFileRange), &checked, Err("no BPF"))
    };
    let row = file(Some(PAYLOAD), 0);
    assert_eq!(row.verdict.to_string(), "by reference 100 % (inode 17)");
    assert_eq!(row.sender_copies.value(), Some(0.0));
    assert_eq!(file(Some(0), PAYLOAD).sender_copies.value(), Some(1.0));
    assert_eq!(file(Some(PAYLOAD), PAYLOAD).by_reference_bytes, Figure::Measured(0.0));
    assert!(matches!(file(None, 0).verdict, Verdict::Unknown { .. }));
    assert!(matches!(file(None, PAYLOAD / 2).verdict, Verdict::Unknown { .. }), "a part");
    let row = file(None, PAYLOAD);
    assert_eq!(row.verdict.to_string(), "copied: the sender dirtied as many pages as it wrote");
    assert!(matches!(row.by_reference_bytes, Figure::Unavailable(_)));
}

#[test]
fn the_median_of_an_even_number_is_the_lower_and_the_extremes_are_kept() {
    let timed = [run(1_000_000), run(4_000_000), run(2_000_000), run(500_000)];
    let case = case(Pair::FileToPipe, None, Method::Copy);
    let row = row(&measured(case, &timed, Err("")));
    let values = [&row.gb_per_s.min, &row.gb_per_s.median, &row.gb_per_s.max];
    assert_eq!(values.map(|figure| figure.value().unwrap()), [0.25, 0.5, 2.0]);
    // Half of 2 ms of processor time for a megabyte.
    assert_eq!(row.sender_cpu_s_per_gb, Figure::Measured(1.0));
    assert_eq!(row.mapped_pages.value(), Some(2.0));
}

/// Of sendfile, watched in `took_ns`, with 12 calls seen and 9 counted by the engine.
fn watched(took_ns: u64, bare: &[Run]) -> Row {
    let case = case(Pair::FileToTcp, Some(Link::Loopback), Method::Sendfile);
    let all = vec![pages(FILE, Lent::Shared, PAYLOAD)];
    let calls = vec![("sendfile".into(), 12, PAYLOAD)];
    let seen = Seen { sent: all.clone(), received: all, calls, entries: 14, ..Seen::default() };
    row(&Measured { watched: Ok((run(took_ns), seen)), ..measured(case, bare, Err("")) })
}

#[test]
fn a_watched_run_that_was_unlike_the_bare_ones_is_told_as_that_and_its_calls_stay() {
    let mut bare = [run(10_000_000), run(12_500_000)];
    for run in &mut bare {
        run.sender.calls = 9;
    }
    // 0.1 GB/s at best, 0.08 at worst: by a tenth more or less is like them.
    for (took_ns, is_like) in
        [(13_800_000, true), (14_000_000, false), (9_200_000, true), (9_000_000, false)]
    {
        let row = watched(took_ns, &bare);
        // Those of the engine would be without faults and calls that move nothing.
        assert_eq!(row.calls[0].calls, Figure::Measured(12.0), "{took_ns}");
        assert_eq!(row.crossings.value(), Some(28.0), "{took_ns}");
        assert_eq!(row.besides.unlike.is_none(), is_like, "{took_ns}");
        assert_eq!(row.verdict.to_string(), "by reference 100 % (inode 17)");
    }
    let unlike = watched(2_000_000_000, &bare).besides.unlike.unwrap();
    assert!(unlike.ends_with("at 0.000500 GB/s, and bare runs had 0.0800 to 0.100"), "{unlike}");
    // Too short to say anything.
    assert_eq!(watched(4_000_000, &[run(1_000_000)]).besides.unlike, None);
}

#[test]
fn a_second_look_that_is_refused_takes_nothing_away() {
    let case = case(Pair::FileToTcp, Some(Link::Loopback), Method::Sendfile);
    let mut measured = measured(case, &[run(1)], Err("not yet"));
    measured.see(Err("refused".into()));
    assert_eq!(measured.watched.as_ref().unwrap_err(), "refused");
    measured.see(Ok((run(2_000_000), Seen::default())));
    measured.see(Err("refused".into()));
    assert!(measured.watched.is_ok());
}

#[test]
fn software_interrupts_are_counted_over_all_timed_runs_and_one_tick_is_none() {
    let with = |ticks| {
        let case = case(Pair::FileToTcp, Some(Link::Loopback), Method::Sendfile);
        let timed = [1, ticks].map(|ticks| Run { softirq_ticks: Some(ticks), ..run(1_000_000) });
        row(&measured(case, &timed, Err(""))).besides.softirq_s_per_gb
    };
    // 4 ticks of 10 ms for 2 MB.
    assert_eq!(with(3).value(), Some(20.0));
    assert!(matches!(with(0), Figure::Unavailable(_)), "{:?}", with(0));
    let stat = "cpu  1 2 3 4 5 6 777 8 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
    assert_eq!(besides::softirq_ticks(stat), Some(777));
    assert_eq!(besides::softirq_ticks("nonsense"), None);
}

#[test]
fn what_a_discarding_receiver_makes_of_it_is_judged_like_any_other_row() {
    let case = case(Pair::FileToTcp, Some(Link::Loopback), Method::Sendfile);
    let case = Case { discards: true, ..case };
    let discarded = |seen| Discarded::from(row(&measured(case, &[run(500_000)], seen)));
    let nothing = Seen::default();
    let seen = discarded(Ok(&nothing));
    assert_eq!(seen.gb_per_s.median, Figure::Measured(2.0));
    assert_eq!(seen.receiver_copies, Figure::Measured(0.0));
    // 250 us for a megabyte.
    assert_eq!(seen.receiver_cpu_s_per_gb, Figure::Measured(0.25));
    assert_eq!(discarded(Err("no BPF")).receiver_copies, Figure::Unavailable("no BPF".into()));
}

#[test]
fn a_row_whose_receiver_discards_is_told_with_the_one_that_reads() {
    let case = case(Pair::FileToTcp, Some(Link::Loopback), Method::Sendfile);
    let of = |method, discards| {
        let case = Case { method, discards, ..case };
        measured(case, &[run(500_000)], Err("no BPF"))
    };
    let (reading, other) = (of(Method::Sendfile, false), of(Method::Splice, true));
    let both = rows(&[reading, of(Method::Sendfile, true), other]);
    assert!(both.len() == 1 && both[0].besides.discarded.is_some(), "{both:?}");
    let one = rows(&[of(Method::Sendfile, false), of(Method::Splice, true)]);
    assert!(one.len() == 1 && one[0].besides.discarded.is_none(), "{one:?}");
}

#[test]
fn a_file_system_that_tells_nothing_of_extents_does_not_hide_what_read_and_write_copy() {
    for (method, copies) in [(Method::Copy, 2.0), (Method::MmapWrite, 1.0)] {
        let checked = Run { receiver: None, ..run(1) };
        let row = judged(case(Pair::FileToFile, None, method), &checked, Err("no BPF"));
        assert!(matches!(row.verdict, Verdict::Copied { .. }), "{}", row.verdict);
        assert_eq!(row.sender_copies.value(), Some(copies));
    }
}

#[test]
fn calls_have_the_kernels_names_also_where_only_the_engine_counted_them() {
    let told = |method: Method, seen: Option<&str>| {
        let case = case(Pair::FileToTcp, Some(Link::Loopback), method);
        let mut bare = [run(10_000_000)];
        bare[0].sender.calls = 32;
        let calls = seen.map(|name| (name.to_owned(), 16, PAYLOAD));
        let seen = calls.map(|call| Seen { calls: vec![call], ..Seen::default() });
        let row = row(&measured(case, &bare, seen.as_ref().ok_or("no BPF")));
        let calls = row.calls[0].calls.value().unwrap();
        (row.calls[0].name.clone(), calls, row.crossings.value())
    };
    assert_eq!(told(Method::MmapWrite, Some("sendto")), ("sendto".into(), 16.0, Some(0.0)));
    // The engine counts neither faults nor calls that move nothing.
    assert_eq!(told(Method::MmapWrite, None), ("write".into(), 32.0, None));
    assert_eq!(told(Method::Copy, None).0, "read + write");
    assert_eq!(told(Method::UringSendZc, Some("io_uring_enter")).0, "io_uring_enter");
    assert_eq!(told(Method::UringSendZc, None).0, "IORING_OP_SEND_ZC");
    for method in Method::ALL.iter().filter(|method| method.name().contains('-')) {
        assert_ne!(told(*method, None).0, method.name());
    }
}
