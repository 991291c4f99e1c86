use std::io::Write;

use underpass::Method;
use underpass_testkit::browser::Browser;
use underpass_testkit::require;

use super::*;
use crate::claims::{Line, Unit};
use crate::compare::besides::{Besides, Discarded};
use crate::compare::report::{Absent, CallsOfKind, Conditions, Machine, Verdict as Judged};
use crate::eyes::{Look, Order, Task, Way};
use crate::figure::{Figure, Spread};
use crate::methods::Textbook;
use crate::terms::{Link, Pair};

fn steady(value: f64) -> Spread {
    let of = |value| Figure::Measured(value);
    Spread { median: of(value), min: of(value * 0.9), max: of(value * 1.05), runs: 5 }
}

fn row(pair: Pair, link: Option<Link>, method: Method, bytes: u64, copies: f64) -> Row {
    let verdict = if copies < 0.5 {
        Judged::ByReference { share: 1.0, inode: Some(10_018_911) }
    } else {
        Judged::Copied { why: "read into <user memory> & written".into() }
    };
    Row {
        pair,
        link,
        cache: Cache::Warm,
        method,
        bytes: 268_435_456,
        transfer_bytes: bytes,
        calls: vec![CallsOfKind {
            name: "read".into(),
            calls: Figure::Measured(4_099.0),
            bytes: Figure::Measured(268_435_456.0),
        }],
        crossings: Figure::Derived { value: 16_484.0, from: "2 x (calls + faults)" },
        context_switches: Figure::Measured(77.0),
        sender_copies: Figure::Derived { value: copies, from: "bytes copied / payload" },
        receiver_copies: Figure::Unavailable("this tier sees no \"receiver\"".into()),
        by_reference_bytes: Figure::Measured((1.0 - copies / 2.0) * 268_435_456.0),
        by_reference_inode: (copies < 0.5).then_some(10_018_911),
        dma_copies: Figure::Derived { value: 0.0, from: "no device took part" },
        minor_faults: Figure::Measured(23.0),
        major_faults: Figure::Measured(0.0),
        mapped_pages: Figure::Measured(0.0),
        sender_cpu_s_per_gb: Figure::Measured(0.232),
        sender_cpu_s_per_gb_range: steady(0.232),
        receiver_cpu_s_per_gb: Figure::Measured(0.102),
        gb_per_s: steady(3.66 + 2.0 * (2.0 - copies)),
        peak_anonymous_bytes: Figure::Measured(1_763_328.0),
        peak_file_mapped_bytes: Figure::Measured(0.0),
        besides: Besides {
            watched_gb_per_s: Figure::Measured(3.5),
            unlike: None,
            softirq_s_per_gb: Figure::Unavailable("too few ticks".into()),
            discarded: Some(Discarded {
                gb_per_s: steady(9.25),
                sender_cpu_s_per_gb: Figure::Measured(0.05),
                receiver_cpu_s_per_gb: Figure::Measured(0.04),
                receiver_copies: Figure::Measured(0.0),
            }),
        },
        verdict,
        textbook: Some(Textbook {
            name: "read+write",
            switches: 4,
            cpu_copies: 2,
            dma_copies: 2,
            why: "the book's are of one call",
        }),
    }
}

fn report() -> Report {
    let mut rows = Vec::new();
    for (pair, link) in [
        (Pair::FileToTcp, Some(Link::Loopback)),
        (Pair::FileToTcp, Some(Link::VethWithoutScatterGather)),
        (Pair::FileToFile, None),
        (Pair::SocketToSocket, None),
    ] {
        for (method, copies) in [
            (Method::Copy, 2.0),
            (Method::MmapWrite, 1.0),
            (Method::Sendfile, 0.0),
            (Method::ZeroCopySend, 0.0),
        ] {
            for size in [268_435_456, 65_536, 4_096] {
                rows.push(row(pair, link, method, size, copies));
            }
        }
    }
    Report {
        machine: Machine {
            kernel: "6.18.44".into(),
            processor: "AMD EPYC".into(),
            processors: 2,
            memory_bytes: 24 << 30,
            default_congestion_control: "bbr".into(),
            tier: 'A',
            tier_reason: "root".into(),
        },
        conditions: Conditions {
            file: "/srv/a<b>&\"c\".bin".into(),
            inode: 10_018_911,
            file_system: "ext4".into(),
            file_bytes: 268_435_456,
            repeats: 7,
            congestion_control: "cubic".into(),
            sender_processor: Some(0),
            receiver_processor: None,
            receiver_call_bytes: 1 << 20,
            notes: vec!["pages left <meanwhile>".into()],
        },
        rows,
        absent: vec![Absent {
            pair: Pair::FileToTcp,
            link: Some(Link::Veth),
            method: Method::UringSplice,
            cache: Cache::Cold,
            transfer_bytes: 65_536,
            why: "io_uring is <off>".into(),
        }],
    }
}

#[test]
fn what_was_not_run_is_told_with_its_size_where_another_size_was() {
    let mut report = report();
    let (method, link) = (Method::Sendfile, Some(Link::Loopback));
    report.absent.push(Absent { method, link, ..report.absent[0].clone() });
    let why = "io_uring is <off>";
    let others = "sendfile, file → TCP over loopback, cold, in transfers of 64 KiB";
    let lines = [format!("uring-splice, file → TCP over veth: {why}"), format!("{others}: {why}")];
    assert_eq!(report.not_run(), lines);
}

fn eyes() -> Eyes {
    let mut rows = Vec::new();
    for cache in [Cache::Warm, Cache::Cold] {
        for (task, order) in crate::eyes::tasks() {
            for way in [Way::Read, Way::Mapping] {
                let is_cold = cache == Cache::Cold && order == Order::Random;
                let speed = if task == Task::Search { 4.5 } else { 3.25 };
                rows.push(Look {
                    way,
                    task,
                    order,
                    cache,
                    bytes: 67_108_864,
                    pieces: 1024,
                    gb_per_s: if is_cold {
                        Spread::unavailable("the file is in memory")
                    } else {
                        steady(if way == Way::Read { speed } else { speed * 1.37 })
                    },
                    piece_ns: Figure::Derived { value: 31_061.0, from: "time / pieces" },
                    cpu_s_per_gb: Figure::Measured(0.235),
                    minor_faults: Figure::Measured(1_024.0),
                    major_faults: Figure::Measured(0.0),
                    disk_bytes: Figure::Measured(0.0),
                });
            }
        }
    }
    Eyes { file: "/srv/<eyes>".into(), bytes: 67_108_864, repeats: 5, rows, memory: Vec::new() }
}

fn claims() -> Vec<Claim> {
    vec![Claim {
        name: "mmap-cache",
        sentence: "mmap goes around the page cache.",
        lines: vec![
            Line::new("pages <before>", Figure::Measured(8_192.0), Unit::Pages),
            Line::new("never", Figure::Unavailable("no cachestat".into()), Unit::Bytes),
            Line::answer("asked", "EINVAL & more"),
        ],
        verdict: Verdict::HoldsIf("it <rains>".into()),
        explanation: "because a < b".into(),
    }]
}

fn page() -> String {
    render(&report(), Some(&eyes()), Some(&claims()))
}

/// Elements that have no end tag.
const VOID: [&str; 3] = ["meta", "br", "!DOCTYPE"];

#[test]
fn every_element_that_is_opened_is_closed_in_order() {
    let page = page();
    let mut open = Vec::new();
    let mut rest = page.as_str();
    while let Some((_, tag)) = rest.split_once('<') {
        let (tag, after) = tag.split_once('>').unwrap();
        rest = after;
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "before {:.200}", after);
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = page();
    for outside in ["http:", "https:", "//", "src=", "@import", "url(", "<script", "<link", "<img"]
    {
        assert!(!page.contains(outside), "{outside}");
    }
    for part in page.split("href=\"").skip(1) {
        let target = part.split('"').next().unwrap();
        let id = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leads outside"));
        assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
}

#[test]
fn names_and_reasons_from_outside_are_text() {
    let page = page();
    for text in [
        "/srv/a&lt;b&gt;&amp;&quot;c&quot;.bin",
        "read into &lt;user memory&gt; &amp; written",
        "this tier sees no &quot;receiver&quot;",
        "io_uring is &lt;off&gt;",
        "pages left &lt;meanwhile&gt;",
        "/srv/&lt;eyes&gt;",
        "it &lt;rains&gt;",
        "EINVAL &amp; more",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for raw in ["a<b>", "<user memory>", "<off>", "<meanwhile>", "<eyes>", "<rains>"] {
        assert!(!page.contains(raw), "{raw}");
    }
}

#[test]
fn the_reports_numbers_and_what_it_lacks_are_on_the_page() {
    let page = page();
    for number in [
        "268,435,456",
        "4,099",
        "~16,484",
        "~2.00",
        "inode 10018911",
        "0.232",
        ">7.66<",
        ">5.66<",
        ">6.89<",
        ">8.04<",
        "1.7 MiB",
        "1,024",
        "~31.1 µs",
        "8,192 pages",
        "24 GiB",
        "\u{d7} 1.37",
    ] {
        assert!(page.contains(number), "{number}");
    }
    for reason in ["no cachestat", "the file is in memory", "this tier sees no"] {
        assert_eq!(page.matches(&format!("Not available: {reason}")).count(), 1, "{reason}");
    }
    assert_eq!(page.matches("Derived: 2 x (calls + faults).").count(), 1);
    assert_eq!(page.matches("are of one call").count(), 4, "once for each kind of book");
}

#[test]
fn each_row_has_its_path_and_a_way_of_its_kind() {
    let page = page();
    assert_eq!(page.matches("class=\"path\"").count(), 4 * 4);
    assert_eq!(page.matches("by reference 100 %</span>").count(), 4 * 2);
    assert!(page.contains("copied ~1.00</span>"), "one copy a leg of read and write");
    assert_eq!(page.matches(">user memory<").count(), 4, "of read and write alone");
}

#[test]
fn a_path_has_no_station_that_a_byte_does_not_pass() {
    let page = page();
    assert_eq!(page.matches(">extents of both files<").count(), 2, "of what shares extents");
    assert_eq!(page.matches(">written back<").count(), 2, "of what does not");
    let mut in_memory = report();
    in_memory.conditions.file_system = "tmpfs".into();
    let page = render(&in_memory, None, None);
    let has = |words: &str| page.contains(&format!(">{words}<"));
    assert!(!has("disk") && !has("written back") && !has("cached already"), "a station too many");
    assert!(has("page cache") && has("other file's cache"), "a station too few");
}

#[test]
fn a_name_turns_nothing_around() {
    let mut report = report();
    let name = "a\u{202e}b\nc";
    report.conditions.file = name.into();
    report.conditions.notes.push(format!("of {name}"));
    report.absent[0].why = format!("{name} was not warm");
    let claims = [Claim {
        name: "switch",
        sentence: "Books are right.",
        lines: Vec::new(),
        verdict: Verdict::HoldsIf(format!("it is {name}")),
        explanation: format!("Of {name}."),
    }];
    for drawn in [render(&report, None, Some(&claims)), report.text(None, Some(&claims))] {
        assert!(!drawn.contains('\u{202e}') && drawn.contains("a\\u{202e}b\\u{a}c"), "{drawn}");
    }
}

#[test]
fn a_report_without_rows_is_a_page_too() {
    let mut report = report();
    report.rows.clear();
    let page = render(&report, None, None);
    assert!(page.contains("id=\"conditions\"") && !page.contains("id=\"eyes\""));
    assert!(!page.contains("#methods") && !page.contains("id=\"methods\""));
    assert!(!page.contains("<figure") && !page.contains("<table"), "{page}");
}

#[test]
fn what_has_no_values_has_no_plot() {
    let mut report = report();
    for row in &mut report.rows {
        let none = || Figure::Unavailable("it was not timed".into());
        row.gb_per_s = Spread::unavailable("it was not timed");
        row.sender_cpu_s_per_gb = none();
    }
    let page = render(&report, None, None);
    assert!(!page.contains("<figure") && !page.contains("<svg"));
    let page = self::page();
    // Two of each group, two by size of each link, and of the eyes the warm and the cold.
    assert_eq!(page.matches("<figure").count(), 4 * 2 + 4 * 2 + 2);
}

#[test]
fn what_to_take_away_is_at_the_head_of_the_page_and_of_the_text() {
    let (report, eyes) = (report(), eyes());
    let mut claims = claims();
    claims.push(Claim { verdict: Verdict::DoesNotHold, ..claims[0].clone() });
    let page = render(&report, Some(&eyes), Some(&claims));
    let text = report.text(Some(&eyes), Some(&claims));
    assert!(page.find("id=\"summary\"") < page.find("<nav"));
    let (_, short) = text.split_once("\nIn short\n").unwrap();
    let (short, _) = short.split_once("\n\n").unwrap();
    let short = short.split_whitespace().collect::<Vec<_>>().join(" ");
    for told in [
        "file → TCP over loopback: quickest zero-copy-send 7.66 GB/s (by reference; sendfile may \
         be as quick), slowest copy 3.66 GB/s (copied)",
        "What a copy costs: no processor time that shows here: copy takes 0.232",
        "file → the program's own eyes: compared with read(2), a mapping is from 1.37 times as \
         fast (sequential sum) to 1.37 times as fast (random search), warm",
        "What textbooks say: of 2 sentences, 0 hold here, 1 under a condition",
        "Does not hold: mmap goes around the page cache.",
    ] {
        assert!(short.contains(told), "{told} in {short}");
        let (of, words) = told.split_once(": ").unwrap();
        let words = words.replace('\'', "&#39;");
        assert!(page.contains(of) && page.contains(&words), "{told}");
    }
}

#[test]
fn methods_whose_runs_overlap_are_not_ranked() {
    let mut report = report();
    for row in &mut report.rows {
        row.gb_per_s.max = Figure::Measured(9.0);
        if row.method == Method::Copy {
            (row.sender_cpu_s_per_gb, row.sender_cpu_s_per_gb_range) =
                (Figure::Measured(0.4), steady(0.4));
        }
    }
    let text = report.text(None, None);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("3.66 to 7.66 GB/s, none clearly the quickest"), "{text}");
    let cost = "about 0.0840 s of the sender's processor time per GB, calls included (file → TCP \
                over loopback): copy takes 0.400 s/GB and copies every byte 2 times, sendfile \
                takes 0.232 and does not copy";
    assert!(text.contains(cost), "{text}");
}

#[test]
fn single_runs_and_runs_that_overlap_rank_nothing() {
    let mut report = report();
    let costs = |report: &Report| {
        let text = report.text(None, None);
        let (_, short) = text.split_once("In short").unwrap();
        short.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(costs(&report).contains("CPU s/GB 0.232 to 0.232, none clearly the cheapest"));
    for row in report.rows.iter_mut().filter(|row| row.method == Method::Copy) {
        (row.sender_cpu_s_per_gb, row.sender_cpu_s_per_gb_range) =
            (Figure::Measured(0.4), steady(0.4));
    }
    let text = costs(&report);
    assert!(
        text.contains("0.232 (mmap-write; 2 others may be as cheap) to 0.400 (copy)"),
        "{text}"
    );
    report.conditions.repeats = 1;
    let text = costs(&report);
    assert!(text.contains("3.66 to 7.66 GB/s; not ranked: only 1 run of each"), "{text}");
    assert!(!text.contains("What a copy costs") && !text.contains("quickest"), "{text}");
}

#[test]
fn the_text_keeps_to_the_width_of_a_terminal_and_says_once_what_is_not_available() {
    let mut report = report();
    report.absent.push(report.absent[0].clone());
    let text = report.text(Some(&eyes()), Some(&claims()));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(text.matches("io_uring is <off>").count(), 1, "{text}");
    assert_eq!(text.matches("the file is in memory").count(), 1, "{text}");
}

#[test]
fn at_every_width_the_page_fits_and_everyone_can_use_it() {
    let browser = require!(Browser::ready());
    let mut file = tempfile::Builder::new().suffix(".html").tempfile().unwrap();
    file.write_all(page().as_bytes()).unwrap();
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page.js");
    let said = browser.run(&script, &[&format!("file://{}", file.path().display())]);
    assert_eq!(said, "done\n");
}
