use super::*;
use crate::compare::besides::Besides;
use crate::compare::group::{Group, tests::ALONE};
use crate::compare::report::{CallsOfKind, Conditions, Machine, Row, Verdict as Judged};
use crate::compare::tests::program;
use crate::figure::Spread;
use crate::observe::Tier;
use crate::terms::{Cache, Link, Pair};
use std::os::fd::AsFd;
use std::path::PathBuf;
use underpass::Method;
use underpass_testkit::disk::disk_dir;

/// A report of nothing.
pub(super) fn report() -> Report {
    Report {
        machine: Machine {
            kernel: String::new(),
            processor: String::new(),
            processors: 1,
            memory_bytes: 0,
            default_congestion_control: String::new(),
            tier: 'C',
            tier_reason: String::new(),
        },
        conditions: Conditions {
            file: String::new(),
            inode: 1,
            file_system: String::new(),
            file_bytes: 0,
            repeats: 1,
            congestion_control: String::new(),
            sender_processor: None,
            receiver_processor: None,
            receiver_call_bytes: 1,
            notes: Vec::new(),
        },
        rows: Vec::new(),
        absent: Vec::new(),
    }
}

fn request() -> Request {
    Request {
        bytes: 0,
        pairs: Vec::new(),
        methods: Vec::new(),
        links: Vec::new(),
        cold: false,
        transfers: Vec::new(),
        repeats: 1,
        most: Tier::C,
        eyes: false,
        claims: true,
        program: program(),
    }
}

/// A row from file to TCP, warm, in transfers of a size: copies at the sender, its processor time
/// and calls.
pub(super) fn row(
    link: Link,
    method: Method,
    transfer_bytes: u64,
    (copies, cpu, calls): (f64, f64, u64),
) -> Row {
    let none = || Figure::Measured(0.0);
    let name = method.name().into();
    Row {
        pair: Pair::FileToTcp,
        link: Some(link),
        cache: Cache::Warm,
        method,
        bytes: 1 << 24,
        transfer_bytes,
        calls: vec![CallsOfKind { name, calls: Figure::count(calls), bytes: none() }],
        crossings: Figure::count(2 * calls),
        context_switches: none(),
        sender_copies: Figure::Measured(copies),
        receiver_copies: none(),
        by_reference_bytes: none(),
        by_reference_inode: None,
        dma_copies: none(),
        minor_faults: none(),
        major_faults: none(),
        mapped_pages: none(),
        sender_cpu_s_per_gb: Figure::Measured(cpu),
        sender_cpu_s_per_gb_range: Spread::of(&[cpu; 3], |cpu| *cpu),
        receiver_cpu_s_per_gb: none(),
        gb_per_s: Spread::of(&[0.0; 3], |speed| *speed),
        peak_anonymous_bytes: none(),
        peak_file_mapped_bytes: none(),
        besides: Besides {
            watched_gb_per_s: none(),
            unlike: None,
            softirq_s_per_gb: none(),
            discarded: None,
        },
        verdict: Judged::Unknown { why: String::new() },
        textbook: None,
    }
}

fn groups_left() -> usize {
    let own = format!("underpass-claims-{}-", std::process::id());
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    let mut left = 0;
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())) {
            left += usize::from(entry.file_name().to_string_lossy().starts_with(&own));
            directories.push(entry.path());
        }
    }
    left
}

#[test]
fn every_sentence_gets_its_measurement_and_its_verdict() {
    let _alone = ALONE.lock();
    let directory = disk_dir().unwrap();
    // The loops over words take long unless they are optimised, so little is looked at.
    let file = tempfile::NamedTempFile::new_in(&directory).unwrap();
    file.as_file().set_len(8 << 20).unwrap();
    let wanted = Wanted { bytes_max: 8 << 20, repeats: 1, cold: false };
    let eyes = eyes::run(file.path(), "a file", &wanted, &mut |_, _| ()).unwrap();
    let eyes = Eyes { bytes: EYES_MIN, repeats: REPEATS_MIN, ..eyes };
    let (request, mut report, mut labels) = (request(), report(), 0);
    let specimen = Specimen::open(file.path()).unwrap();
    let file = super::file(&directory, FILE_BYTES);
    // A whole file that is measured again, in fewer bytes.
    let large = row(Link::Loopback, Method::Copy, 1 << 30, (9.0, 9.0, 1));
    report.rows.push(Row { bytes: 1 << 30, ..large });
    report.conditions.repeats = REPEATS_MIN;
    let given = (&mut report, Some(&eyes));
    let claims = run((&specimen, &request), &file, given, &mut |_| labels += 1);
    assert!(labels > claims.len());
    let sent = claims.iter().find(|claim| claim.name == "sendfile-switches").unwrap();
    let how = format!(" For this, 24 MiB of a temporary file in {}", directory.display());
    assert!(sent.explanation.contains(&how), "{}", sent.explanation);
    let verdict = |name| &claims.iter().find(|claim| claim.name == name).unwrap().verdict;
    assert_eq!(claims.len(), SENTENCES.len());
    for claim in &claims {
        let is_told = !matches!(claim.verdict, Verdict::Unavailable(_));
        assert!(!is_told || claim.lines.iter().any(|line| !line.what.is_empty()), "{claim:?}");
    }
    assert_eq!(verdict("mmap-copy"), &Verdict::Holds, "{claims:#?}");
    assert_eq!(verdict("sendfile-switches"), &Verdict::Holds, "{claims:#?}");
    assert!(claims[3].lines.iter().any(|line| line.what == "16 MiB: mmap + write"), "{claims:#?}");
    assert!(matches!(verdict("sendfile-input"), Verdict::HoldsIf(why) if why.contains("TCP")));
    assert!(matches!(verdict("sendfile-device"), Verdict::Unavailable(_)), "{claims:#?}");
    if underpass_sys::cachestat::cached_pages(file.as_ref().unwrap().file.as_fd(), 0, 1).is_ok() {
        assert_eq!(verdict("mmap-cache"), &Verdict::DoesNotHold, "{claims:#?}");
        assert_eq!(verdict("mmap-refault"), &Verdict::Holds, "{claims:#?}");
        assert_eq!(verdict("mmap-dirty"), &Verdict::Holds, "{claims:#?}");
    }
    if Group::new(&request.program, 64 << 20).is_ok_and(|group| group.refaults().is_ok()) {
        assert_eq!(verdict("mmap-stays"), &Verdict::Holds, "{claims:#?}");
    }
    assert_eq!(groups_left(), 0);
}

#[test]
fn without_a_directory_to_write_to_the_file_is_made_where_temporary_files_are() {
    let made = file(Path::new("/proc"), 4096).unwrap();
    assert_ne!(made.directory(), Path::new("/proc"));
    let none = &mut |_: Progress<'_>| ();
    let claims = run((&made, &request()), &Err("no room".into()), (&mut report(), None), none);
    assert_eq!(claims.len(), SENTENCES.len());
    for claim in &claims[..2] {
        assert_eq!(claim.verdict, Verdict::Unavailable("no room".into()), "{claim:?}");
    }
}

#[test]
fn eyes_of_little_or_of_single_runs_decide_nothing() {
    let eyes = |bytes, repeats| Eyes {
        file: String::new(),
        bytes,
        repeats,
        rows: Vec::new(),
        memory: Vec::new(),
    };
    let are_taken = |bytes, repeats| is_enough(&eyes(bytes, repeats));
    assert!(are_taken(EYES_MIN, REPEATS_MIN));
    assert!(!are_taken(EYES_MIN - 1, REPEATS_MIN) && !are_taken(EYES_MIN, REPEATS_MIN - 1));
}

#[test]
fn rows_of_little_of_other_sizes_or_of_single_runs_decide_nothing() {
    let left = |repeats, transfer_bytes, bytes| {
        let mut sent = report();
        sent.conditions.repeats = repeats;
        let row = row(Link::Loopback, Method::Copy, transfer_bytes, (2.0, 0.2, 1));
        sent.rows.push(Row { bytes, ..row });
        let (why, none) = ("no file".to_owned(), &mut |_: Progress<'_>| ());
        devices::completed(&sent, [Err(&why), Err(&why)], &request(), none).report.rows.len()
    };
    assert_eq!((left(3, 4 << 10, 8 << 20), left(3, 64 << 20, 64 << 20)), (1, 1));
    for (repeats, transfer_bytes, bytes) in [
        (1, 8 << 20, 8 << 20),
        (3, 8 << 20, 8 << 20),
        (3, 4 << 10, 8 << 10),
        (3, 32 << 10, 64 << 20),
        (2, 64 << 20, 64 << 20),
    ] {
        assert_eq!(left(repeats, transfer_bytes, bytes), 0, "{repeats} of {transfer_bytes}");
    }
}
