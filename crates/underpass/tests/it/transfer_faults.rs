//! What the kernel rarely answers, put into calls by strace: refusals, interruptions, failures.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use underpass::{ErrorKind, Method, Policy, Sink, Source, Transfer};
use underpass_testkit::payload::{difference, patterned_file};
use underpass_testkit::peer::collect;
use underpass_testkit::skip::Capability;
use underpass_testkit::strace::{Strace, is_inside};
use underpass_testkit::{require, test_name};

const LEN: u64 = 5_000_000;

/// Three calls from file to file, of 16 MiB each.
const FILE_LEN: u64 = 40_000_000;

/// One fault, and what the transfer says of it.
struct Case {
    /// To a socket or to a file.
    to_file: bool,
    /// A method that is demanded; none for Auto.
    only: Option<Method>,
    faults: &'static [&'static str],
    /// `moved`, then fallbacks `from>to@at errno`, then the error; as the child prints them.
    says: &'static str,
}

const fn to_socket(faults: &'static [&'static str], says: &'static str) -> Case {
    Case { to_file: false, only: None, faults, says }
}

const fn to_file(faults: &'static [&'static str], says: &'static str) -> Case {
    Case { to_file: true, only: None, faults, says }
}

const fn only(method: Method, faults: &'static [&'static str], says: &'static str) -> Case {
    Case { to_file: false, only: Some(method), faults, says }
}

const CASES: [Case; 14] = [
    to_file(&["copy_file_range:error=EXDEV"], "40000000 copy-file-range>splice@0 EXDEV"),
    to_file(
        &["copy_file_range:error=ENOSYS", "splice:error=EPERM"],
        "40000000 copy-file-range>splice@0 ENOSYS splice>copy@0 EPERM",
    ),
    // A first count of 0 is procfs speaking; a later one would be the end.
    to_file(&["copy_file_range:retval=0:when=1"], "40000000 copy-file-range>splice@0 -"),
    to_file(&["copy_file_range:error=EIO:when=3"], "33554432 copy-file-range EIO"),
    to_file(&["copy_file_range:error=EINTR:when=2"], "40000000"),
    to_file(&["copy_file_range:error=ENOSPC:when=2"], "16777216 copy-file-range ENOSPC"),
    to_socket(&["sendfile:error=EINVAL"], "5000000 sendfile>splice@0 EINVAL"),
    to_socket(
        &["sendfile:error=EPERM", "pipe2:error=EMFILE"],
        "5000000 sendfile>splice@0 EPERM splice>copy@0 EMFILE",
    ),
    to_socket(&["sendfile:error=EINTR:when=1..3"], "5000000"),
    to_socket(&["sendfile:error=EAGAIN:when=2"], "5000000"),
    only(Method::Sendfile, &["sendfile:error=EINVAL"], "0 sendfile unsupported EINVAL"),
    only(Method::Copy, &["sendmsg:error=EINTR:when=2"], "5000000"),
    only(
        Method::ZeroCopySend,
        &["sendto:error=ENOBUFS:when=1"],
        "0 zero-copy-send unsupported ENOBUFS",
    ),
    only(Method::MmapWrite, &["sendto:error=EINTR:when=1"], "5000000"),
];

#[test]
fn faults_are_survived_or_reported_with_the_exact_count() {
    if is_inside() {
        return inside();
    }
    require!(Capability::Strace);
    for (index, case) in CASES.iter().enumerate() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let reader = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            collect(OwnedFd::from(stream)).join().unwrap().unwrap()
        });
        let calls: Vec<&str> =
            case.faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        let mut strace = Strace::of_test(test_name!()).unwrap().only(&calls.join(","));
        for fault in case.faults {
            strace = strace.inject(fault);
        }
        let strace = strace.env("PORT", &port.to_string()).env("CASE", &index.to_string());
        let trace = strace.run().unwrap();
        trace.assert_success();
        let line = trace.stdout().lines().find_map(|line| line.split_once("SAYS "));
        let says = line.map(|(_, says)| says);
        assert_eq!(says, Some(case.says), "{:?}\n{}", case.faults, trace.stdout());
        let got = reader.join().unwrap();
        let moved: u64 = case.says.split(' ').next().unwrap().parse().unwrap();
        let arrived = if case.to_file { 0 } else { moved };
        assert_eq!(difference(&got, 0, arrived), None, "{:?}", case.faults);
    }
}

#[expect(clippy::print_stdout, reason = "this is how the traced half reports")]
fn inside() {
    let number = |name| std::env::var(name).unwrap().parse::<u16>().unwrap();
    let case = &CASES[usize::from(number("CASE"))];
    let file = patterned_file(if case.to_file { FILE_LEN } else { LEN }).unwrap();
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, number("PORT"))).unwrap();
    let to = patterned_file(0).unwrap();
    let sink = if case.to_file { Sink::file(&to, 0) } else { Sink::stream(&socket) };
    let mut transfer = Transfer::new(Source::file(&file, ..).unwrap(), sink)
        .policy(case.only.map_or(Policy::Auto, Policy::Only));
    let outcome = transfer.run();
    let mut says = transfer.moved().to_string();
    for fallback in transfer.ledger().fallbacks() {
        let errno = fallback.errno.map_or_else(|| "-".to_owned(), short);
        says += &format!(" {}>{}@{} {errno}", fallback.from, fallback.to, fallback.at);
    }
    if let Err(error) = outcome {
        assert_eq!(error.moved, transfer.moved());
        let (how, errno) = if let ErrorKind::Unsupported { errno, .. } = error.kind {
            (" unsupported", errno)
        } else if let ErrorKind::Io(errno) = error.kind {
            ("", Some(errno))
        } else {
            panic!("{error}")
        };
        let errno = errno.unwrap();
        says += &format!(" {}{how} {}", error.method, short(errno));
    }
    if case.to_file {
        let mut got = vec![0; usize::try_from(transfer.moved()).unwrap()];
        std::os::unix::fs::FileExt::read_exact_at(&to, &mut got, 0).unwrap();
        assert_eq!(difference(&got, 0, transfer.moved()), None);
        assert_eq!(to.metadata().unwrap().len(), transfer.moved());
    }
    println!("SAYS {says}");
}

/// The errno's name, from the engine's own words for it.
fn short(errno: rustix::io::Errno) -> String {
    use rustix::io::Errno;
    let names = [
        (Errno::XDEV, "EXDEV"),
        (Errno::NOSYS, "ENOSYS"),
        (Errno::PERM, "EPERM"),
        (Errno::IO, "EIO"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::INVAL, "EINVAL"),
        (Errno::MFILE, "EMFILE"),
        (Errno::NOBUFS, "ENOBUFS"),
    ];
    names.iter().find(|(known, _)| *known == errno).unwrap().1.to_owned()
}
