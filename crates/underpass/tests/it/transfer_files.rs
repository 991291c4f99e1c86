//! Files that shrink, grow and are rewritten in mid-send, and files larger than 4 GiB.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use underpass::{ErrorKind, Method, Policy, Sink, Source, Stability, Step, Transfer, transfer};
use underpass_testkit::disk::{Disk, FileSystem, disk_dir};
use underpass_testkit::payload::{difference, pattern, patterned_file};
use underpass_testkit::peer::{Way, collect, set_nonblocking};
use underpass_testkit::require;

const LEN: u64 = 8 << 20;

/// The methods that read a file in more than one call.
const METHODS: [Method; 5] =
    [Method::Copy, Method::MmapWrite, Method::Sendfile, Method::Splice, Method::ZeroCopySend];

/// Steps until a socket that is not read takes no more.
fn fill(transfer: &mut Transfer<'_>) {
    while !matches!(transfer.step().unwrap(), Step::Wait(_)) {}
}

/// Changes the file in mid-send; returns how the transfer ended and what came of it.
fn changed(
    method: Method,
    stability: Stability,
    change: impl Fn(&File),
) -> (Result<u64, ErrorKind>, Vec<u8>) {
    let file = patterned_file(LEN).unwrap();
    // All that is lent in a call counts towards RLIMIT_MEMLOCK, however little of it is taken.
    let is_lent = method == Method::ZeroCopySend;
    let ends = if is_lent { Way::Tcp.connect() } else { Way::Tcp.connect_small() };
    let (sink, end) = ends.unwrap();
    set_nonblocking(&sink, true).unwrap();
    let mut transfer = Transfer::new(Source::file(&file, ..).unwrap(), Sink::stream(&sink))
        .policy(Policy::Only(method))
        .stability(stability);
    fill(&mut transfer);
    change(&file);
    let got = collect(end);
    let outcome = transfer.run();
    assert_eq!(outcome.map_err(|error| error.moved), {
        let moved = transfer.moved();
        if outcome.is_ok() { Ok(moved) } else { Err(moved) }
    });
    drop(transfer);
    drop(sink);
    (outcome.map_err(|error| error.kind), got.join().unwrap().unwrap())
}

#[test]
fn a_file_that_shrinks_in_mid_send_is_truncated_whatever_the_method() {
    for method in METHODS {
        for stability in [Stability::None, Stability::Guard] {
            // Page and folio edges are where a method could send the zeros behind the end.
            for size in [LEN - 1, LEN - 4_096, LEN / 2 + 100] {
                let (outcome, got) = changed(method, stability, |file| file.set_len(size).unwrap());
                let case = format!("{method} {stability} {size}");
                let Err(ErrorKind::Truncated { missing }) = outcome else {
                    panic!("{case}: {outcome:?}");
                };
                assert!(missing >= LEN - size, "{case}: {missing}");
                assert!((got.len() as u64) <= size, "{case}: {}", got.len());
            }
        }
    }
}

#[test]
fn a_file_that_shrinks_to_nothing_is_truncated_and_no_spin() {
    for method in METHODS {
        let (outcome, got) = changed(method, Stability::None, |file| file.set_len(0).unwrap());
        assert!(matches!(outcome, Err(ErrorKind::Truncated { .. })), "{method}: {outcome:?}");
        assert!((got.len() as u64) < LEN, "{method}");
    }
}

#[test]
fn a_short_file_owes_exactly_what_it_does_not_have() {
    for method in METHODS {
        let file = patterned_file(5).unwrap();
        let (sink, end) = Way::Tcp.connect().unwrap();
        let mut transfer = Transfer::new(Source::file(&file, 0..100).unwrap(), Sink::stream(&sink))
            .policy(Policy::Only(method));
        let error = transfer.run().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Truncated { missing: 95 }, "{method}");
        assert_eq!((error.moved, transfer.moved()), (5, 5), "{method}");
        assert_eq!(error.to_string(), "source ended after 5 of 100 bytes: 95 bytes are missing");
        drop(transfer);
        drop(sink);
        assert_eq!(collect(end).join().unwrap().unwrap(), pattern(0..5), "{method}");
    }
}

#[test]
fn a_rewritten_file_is_not_completed_under_guard_and_copy_and_is_under_none() {
    let rewrite = |file: &File| file.write_all_at(b"rewritten", LEN - 100).unwrap();
    for method in METHODS {
        let (outcome, got) = changed(method, Stability::Guard, rewrite);
        assert_eq!(outcome, Err(ErrorKind::Changed), "{method}");
        assert!((got.len() as u64) < LEN, "{method}: a torn body was completed");
        let (outcome, got) = changed(method, Stability::None, rewrite);
        assert_eq!((outcome, got.len() as u64), (Ok(LEN), LEN), "{method}");
    }
    let (outcome, got) = changed(Method::Copy, Stability::Copy, rewrite);
    assert_eq!(outcome, Err(ErrorKind::Changed));
    assert!((got.len() as u64) < LEN);
}

#[test]
fn a_file_that_grows_is_sent_as_it_was_asked_for() {
    for method in METHODS {
        let append = |file: &File| file.write_all_at(b"appended", LEN).unwrap();
        let (outcome, got) = changed(method, Stability::None, append);
        assert_eq!(outcome, Ok(LEN), "{method}");
        assert_eq!(difference(&got, 0, LEN), None, "{method}");
    }
}

#[test]
fn a_lease_fails_the_transfer_when_a_writer_comes_and_is_given_back() {
    let path = tempfile::NamedTempFile::new_in(disk_dir().unwrap()).unwrap().into_temp_path();
    let file = crate::unwritten(&path, LEN);
    let (sink, end) = Way::Tcp.connect_small().unwrap();
    set_nonblocking(&sink, true).unwrap();
    let start = || {
        Transfer::new(Source::file(&file, ..).unwrap(), Sink::stream(&sink))
            .stability(Stability::Lease)
    };
    let mut transfer = start();
    fill(&mut transfer);
    // An open that may not block is refused, and breaks the lease anyway.
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
    let open = || rustix::fs::open(&*path, flags, rustix::fs::Mode::empty());
    assert_eq!(open().unwrap_err(), Errno::AGAIN);
    let got = collect(end);
    assert_eq!(transfer.run().unwrap_err().kind, ErrorKind::Changed);
    drop(transfer);
    let writer = open().expect("the lease was given back");
    let refused = start().step().unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NoLease(Errno::AGAIN));
    assert!(refused.to_string().starts_with("no read lease on the source, after 0 of"));
    drop((writer, sink));
    assert!((got.join().unwrap().unwrap().len() as u64) < LEN);
}

/// Reads until the end, keeping nothing but the count and the bytes that are not zero.
fn count_and_marks(read: OwnedFd) -> std::thread::JoinHandle<(u64, Vec<(u64, u8)>)> {
    std::thread::spawn(move || {
        let (mut file, mut buffer) = (File::from(read), vec![0; 1 << 20]);
        let (mut count, mut marks) = (0, Vec::new());
        loop {
            let n = file.read(&mut buffer).unwrap();
            if n == 0 {
                return (count, marks);
            }
            if buffer[..n].iter().any(|&byte| byte != 0) {
                let here = buffer[..n].iter().zip(count..).filter(|(byte, _)| **byte != 0);
                marks.extend(here.map(|(byte, at)| (at, *byte)));
            }
            count += n as u64;
        }
    })
}

#[test]
fn ranges_across_the_edges_of_32_bits_arrive_whole() {
    let file = tempfile::tempfile_in(disk_dir().unwrap()).unwrap();
    file.set_len(5 << 30).unwrap();
    let edges = [(1_u64 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (5 << 30) - 1];
    for (mark, at) in (1..).zip(edges) {
        file.write_all_at(&[mark], at).unwrap();
    }
    let near = |edge: u64| edge - 3_000_000..edge + 3_000_001;
    for method in METHODS {
        for (edge, marks) in [(1_u64 << 31, (1, 2)), (1 << 32, (3, 4))] {
            let (sink, end) = Way::Tcp.connect().unwrap();
            let got = count_and_marks(end);
            Transfer::new(Source::file(&file, near(edge)).unwrap(), Sink::stream(&sink))
                .policy(Policy::Only(method))
                .run()
                .unwrap();
            drop(sink);
            let want = vec![(2_999_999, marks.0), (3_000_000, marks.1)];
            assert_eq!(got.join().unwrap(), (6_000_001, want), "{method} {edge}");
        }
    }
}

#[test]
fn more_than_2_gib_go_to_a_device_whole() {
    const LONG: u64 = (1 << 31) + 4_097;
    let file = tempfile::tempfile_in(disk_dir().unwrap()).unwrap();
    file.set_len(6 << 30).unwrap();
    let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
    let start = (1 << 32) - (1 << 30) + 1;
    let source = Source::file(&file, start..start + LONG).unwrap();
    let ledger = transfer(source, Sink::stream(&null)).unwrap();
    assert_eq!(ledger.moved(), LONG, "{ledger}");
    assert_eq!(ledger.of(Method::Sendfile).bytes, LONG, "{ledger}");
}

#[test]
fn clones_share_extents_and_ranges_that_cannot_fall_back() {
    for kind in [FileSystem::Xfs, FileSystem::Btrfs] {
        let disk = require!(Disk::new(kind, 400 << 20));
        let file = |name: &str| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true);
            options.open(disk.path().join(name)).unwrap()
        };
        let (from, to) = (file("from"), file("to"));
        from.write_all_at(&pattern(0..1 << 20), 0).unwrap();
        let run = |range: std::ops::Range<u64>, policy| {
            Transfer::new(Source::file(&from, range).unwrap(), Sink::file(&to, 0))
                .policy(policy)
                .run()
        };
        assert_eq!(run(4_096..1 << 20, Policy::Only(Method::Clone)), Ok((1 << 20) - 4_096));
        let mut got = Vec::new();
        File::from(rustix::io::dup(to.as_fd()).unwrap()).read_to_end(&mut got).unwrap();
        assert_eq!(difference(&got, 4_096, (1 << 20) - 4_096), None, "{kind:?}");
        let error = run(1..1 << 20, Policy::Only(Method::Clone)).unwrap_err();
        let unaligned =
            matches!(error.kind, ErrorKind::Unsupported { errno: Some(Errno::INVAL), .. });
        assert!(unaligned && error.moved == 0, "{kind:?}: {error}");
        assert_eq!(run(1..1 << 20, Policy::Prefer(Method::Clone)), Ok((1 << 20) - 1), "{kind:?}");
    }
}

#[test]
fn a_full_disk_is_an_error_with_the_exact_count() {
    let disk = require!(Disk::new(FileSystem::Ext4, 8 << 20));
    let from = patterned_file(16 << 20).unwrap();
    for method in [Method::Copy, Method::CopyFileRange, Method::Splice, Method::MmapWrite] {
        let path = disk.path().join("to");
        let to = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let to = to.unwrap();
        let mut transfer = Transfer::new(Source::file(&from, ..).unwrap(), Sink::file(&to, 0))
            .policy(Policy::Prefer(method));
        let error = transfer.run().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Io(Errno::NOSPC), "{method}: {error}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);
        let mut got = vec![0; usize::try_from(error.moved).unwrap()];
        to.read_exact_at(&mut got, 0).unwrap();
        assert_eq!(difference(&got, 0, error.moved), None, "{method}");
        assert_eq!(to.metadata().unwrap().len(), error.moved, "{method}");
    }
}

#[test]
fn a_step_moves_no_more_than_it_may_by_any_method_that_moves() {
    let source = patterned_file(10_000).unwrap();
    for &method in Method::ALL.iter().filter(|&&method| method != Method::Clone) {
        let sink = tempfile::tempfile().unwrap();
        let range = Source::file(&source, ..).unwrap();
        let mut transfer = Transfer::new(range, Sink::file(&sink, 0))
            .policy(Policy::Prefer(method))
            .at_most(3_000);
        loop {
            let before = transfer.moved();
            let step = transfer.step().unwrap();
            assert!(transfer.moved() - before <= 3_000, "{method}: {step:?}");
            if step == Step::Done {
                break;
            }
        }
        let mut bytes = vec![0; 10_000];
        sink.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(difference(&bytes, 0, 10_000), None, "{method}");
    }
}
