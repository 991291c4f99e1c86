//! Every method puts the same bytes into every sink, from every source, or says that it cannot
//! and has moved nothing.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::thread::JoinHandle;

use bytes::Bytes;
use underpass::{Error, ErrorKind, Ledger, Method, Policy, Sink, Source, Transfer};
use underpass_testkit::kernel;
use underpass_testkit::payload::{difference, pattern, patterned_file};
use underpass_testkit::peer::{Way, collect, feed, set_nonblocking};

const FILE_LEN: u64 = 300_000;

/// `(offset, len)`: nothing, single bytes, page edges, the size of a pipe, above the threshold of
/// copying, above one buffer of the copying path.
const RANGES: [(u64, u64); 8] = [
    (0, FILE_LEN),
    (0, 0),
    (0, 1),
    (299_999, 1),
    (4_095, 2),
    (1, 65_536),
    (8_192, 131_073),
    (12_345, 287_655),
];

/// Where the bytes of a case come from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum From {
    File,
    Memory,
    /// A stream to its end.
    Stream(Way),
    /// Exactly as many bytes of a stream that has more.
    Part(Way),
    /// Memory, file, memory, memory, file.
    Chain,
}

const FROM: [From; 8] = [
    From::File,
    From::Memory,
    From::Stream(Way::Tcp),
    From::Stream(Way::Unix),
    From::Stream(Way::Pipe),
    From::Part(Way::Tcp),
    From::Part(Way::Pipe),
    From::Chain,
];

/// Where they go.
#[derive(Debug, Clone, Copy, PartialEq)]
enum To {
    Stream(Way),
    File,
}

const TO: [To; 5] = [
    To::Stream(Way::Tcp),
    To::Stream(Way::Unix),
    To::Stream(Way::Pipe),
    To::Stream(Way::TinyPipe),
    To::File,
];

const SINK_AT: u64 = 777;

/// What a stream holds behind the part that is asked for.
const BEHIND: &[u8] = b"not to be moved";

/// The table of the documentation: whether a method can move this at all. On a file system
/// that shares no extents, Clone cannot whatever the kinds.
fn can(method: Method, from: From, to: To) -> bool {
    let file = matches!(from, From::File | From::Chain);
    let socket = matches!(to, To::Stream(Way::Tcp | Way::Unix));
    match method {
        Method::Copy => true,
        Method::Sendfile => file && to != To::File,
        Method::MmapWrite => file,
        Method::Splice => from != From::Memory,
        Method::CopyFileRange => file && to == To::File,
        Method::ZeroCopySend => (file || from == From::Memory) && to == To::Stream(Way::Tcp),
        Method::UringSendZc => {
            cfg!(feature = "uring")
                && kernel::at_least(6, 1).is_ok()
                && can(Method::ZeroCopySend, from, to)
        }
        Method::UringSplice => cfg!(feature = "uring") && file && socket,
        Method::Clone => false,
        other => panic!("{other} is not in the table"),
    }
}

/// The far end of a sink.
enum Arrived {
    Stream(JoinHandle<io::Result<Vec<u8>>>),
    File(File),
}

impl Arrived {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Stream(thread) => thread.join().unwrap().unwrap(),
            Self::File(file) => {
                let len = file.metadata().unwrap().len();
                let mut got = vec![0; usize::try_from(len.saturating_sub(SINK_AT)).unwrap()];
                file.read_exact_at(&mut got, SINK_AT).unwrap();
                got
            }
        }
    }
}

fn sink_of(to: To) -> (OwnedFd, Arrived) {
    match to {
        To::Stream(way) => {
            let (write, read) = way.connect().unwrap();
            (write, Arrived::Stream(collect(read)))
        }
        To::File => {
            let file = patterned_file(0).unwrap();
            (file.try_clone().unwrap().into(), Arrived::File(file))
        }
    }
}

fn run(
    case: (Method, From, To, u64, u64),
    file: &File,
    policy: Policy,
    nonblocking: bool,
) -> (Result<Ledger, Error>, Vec<u8>) {
    let (_, from, to, offset, len) = case;
    let (sink_fd, arrived) = sink_of(to);
    let mut feeder = None;
    let stream = match from {
        From::Stream(way) | From::Part(way) => {
            let (write, read) = way.connect().unwrap();
            let mut fed = pattern(offset..offset + len);
            if matches!(from, From::Part(_)) {
                fed.extend_from_slice(BEHIND);
            }
            feeder = Some(feed(write, fed));
            set_nonblocking(&read, nonblocking).unwrap();
            Some(read)
        }
        From::File | From::Memory | From::Chain => None,
    };
    let sink = match to {
        To::Stream(_) => {
            set_nonblocking(&sink_fd, nonblocking).unwrap();
            Sink::stream(&sink_fd)
        }
        To::File => Sink::file(&sink_fd, SINK_AT),
    };
    let part = |from: u64, to: u64| Source::file(file, offset + from..offset + to).unwrap();
    let memory =
        |from: u64, to: u64| Source::bytes(Bytes::from(pattern(offset + from..offset + to)));
    let transfer = match (from, &stream) {
        (From::File, _) => Transfer::new(part(0, len), sink),
        (From::Memory, _) => Transfer::new(memory(0, len), sink),
        (From::Chain, _) => {
            let cuts = [len / 7, len / 2, len / 2 + len / 9, len / 2 + len / 8];
            Transfer::new(memory(0, cuts[0]), sink)
                .chain(part(cuts[0], cuts[1]))
                .chain(memory(cuts[1], cuts[2]))
                .chain(memory(cuts[2], cuts[3]))
                .chain(part(cuts[3], len))
        }
        (From::Stream(_), Some(read)) => Transfer::new(Source::stream(read), sink),
        (From::Part(_), Some(read)) => Transfer::new(Source::stream(read).take(len), sink),
        (From::Stream(_) | From::Part(_), None) => unreachable!("connected above"),
    };
    let mut transfer = transfer.policy(policy);
    let outcome = transfer.run().map(|moved| {
        assert_eq!(moved, transfer.ledger().moved());
        transfer.ledger().clone()
    });
    assert_eq!(transfer.buffered(), outcome.as_ref().map_or(0, |_| 0), "{case:?}");
    drop(transfer);
    if let (Ok(_), From::Part(_), Some(read)) = (&outcome, from, &stream) {
        set_nonblocking(read, false).unwrap();
        let mut rest = Vec::new();
        File::from(read.try_clone().unwrap()).read_to_end(&mut rest).unwrap();
        assert_eq!(rest, BEHIND, "{case:?} took what it was not asked for");
    }
    drop((sink_fd, stream));
    if let Some(feeder) = feeder {
        // A transfer that refused leaves its feeder with a closed peer.
        let fed = feeder.join().unwrap();
        assert!(fed.is_ok() || outcome.is_err(), "{case:?}: {fed:?}");
    }
    (outcome, arrived.bytes())
}

fn every_case(mut check: impl FnMut((Method, From, To, u64, u64), &File)) {
    let file = patterned_file(FILE_LEN).unwrap();
    for &method in Method::ALL {
        for from in FROM {
            for to in TO {
                for (offset, len) in RANGES {
                    check((method, from, to, offset, len), &file);
                }
            }
        }
    }
}

#[test]
fn a_demanded_method_moves_the_same_bytes_or_refuses_before_the_first() {
    every_case(|case, file| {
        let (method, from, to, offset, len) = case;
        let (outcome, got) = run(case, file, Policy::Only(method), true);
        match outcome {
            Ok(ledger) => {
                // Nothing to move is moved by anyone; a chain of five bytes has no files in it.
                assert!(can(method, from, to) || len < 2, "{case:?} should be refused");
                assert_eq!(difference(&got, offset, len), None, "{case:?} {ledger}");
                assert_eq!(ledger.moved(), len, "{case:?}");
                assert_eq!(ledger.fallbacks(), [], "{case:?}");
                let other = if from == From::Chain { Method::Copy } else { method };
                let bytes = ledger.of(method).bytes;
                let rest = if other == method { 0 } else { ledger.of(other).bytes };
                assert_eq!(bytes + rest, len, "{case:?} {ledger}");
            }
            Err(Error { moved: 0, buffered: 0, kind: ErrorKind::Unsupported { .. }, .. }) => {
                assert!(!can(method, from, to), "{case:?} should be possible: {outcome:?}");
                assert_eq!(got, b"", "{case:?}");
            }
            // The memory ahead of a file has left when the kernel refuses the file.
            Err(Error { moved, kind: ErrorKind::Unsupported { errno: Some(_), .. }, .. })
                if from == From::Chain =>
            {
                assert!(!can(method, from, to), "{case:?} should be possible");
                assert_eq!(difference(&got, offset, moved), None, "{case:?}");
            }
            Err(error) => panic!("{case:?}: {error}"),
        }
    });
}

#[test]
fn a_preferred_method_always_ends_with_the_same_bytes() {
    every_case(|case, file| {
        let (method, from, to, offset, len) = case;
        let (outcome, got) = run(case, file, Policy::Prefer(method), false);
        let ledger = outcome.unwrap();
        assert_eq!(difference(&got, offset, len), None, "{case:?} {ledger}");
        assert_eq!(ledger.moved(), len, "{case:?}");
        if !can(method, from, to) && len > 9 {
            let first = ledger.fallbacks().first().map(|fallback| fallback.from);
            assert_eq!(first, Some(method), "{case:?} {ledger}");
            assert_eq!(ledger.of(method).bytes, 0, "{case:?} {ledger}");
        }
    });
}
