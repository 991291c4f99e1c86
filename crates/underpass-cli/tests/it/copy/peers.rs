//! `--keep-listening`: several peers at once, and what they may not share.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::skip::Capability;
use underpass_testkit::{payload, require, wait};

use super::{Waiting, assert_payload, failure, names, patterned, report, utf8};

/// More than the buffers of a socket hold.
const LEN: u64 = 30_000_000;

fn assert_gets_all(mut peer: TcpStream) {
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(payload::difference(&got, 0, LEN), None);
}

#[test]
fn a_peer_that_takes_nothing_holds_up_no_other() {
    require!(Capability::Program("nc"));
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", LEN);
    let waiting = Waiting::start(&["--keep-listening", utf8(&from), "tcp-listen://0"]);
    let silent = waiting.connect();
    assert_gets_all(waiting.connect());
    let (host, port) = waiting.host_and_port();
    let nc = Command::new("nc").args(["-d", host, port]).output().unwrap();
    assert_eq!(payload::difference(&nc.stdout, 0, LEN), None);
    let name = silent.local_addr().unwrap();
    assert_gets_all(silent);
    waiting.signal(Signal::TERM);
    let (code, _, lines) = waiting.end();
    assert_eq!((code, lines.lines().count()), (Some(0), 3), "{lines}");
    let last = lines.lines().last().unwrap();
    assert!(last.starts_with(&format!("{name}: {LEN} bytes in ")), "{lines}");
}

#[test]
fn peers_past_the_most_wait_until_one_has_left() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", LEN);
    let arguments =
        ["-q", "--keep-listening", "--max-connections", "2", utf8(&from), "tcp-listen://0"];
    let waiting = Waiting::start(&arguments);
    let mut begun = [waiting.connect(), waiting.connect()];
    for peer in &mut begun {
        peer.read_exact(&mut [0; 1]).unwrap();
    }
    let mut third = waiting.connect();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(third.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    third.set_read_timeout(None).unwrap();
    let [one, _other] = begun;
    drop(one);
    assert_gets_all(third);
}

#[test]
fn in_a_directory_each_peer_gets_a_file_and_replaces_none() {
    require!(Capability::Program("nc"));
    let dir = tempfile::tempdir().unwrap();
    let (from, inbox) = (patterned(dir.path(), "from", 3_000_000), dir.path().join("inbox"));
    std::fs::create_dir(&inbox).unwrap();
    std::fs::write(inbox.join("peer-2"), "old").unwrap();
    // A name without a number is in no one's way.
    std::fs::create_dir(inbox.join("peer-")).unwrap();
    let arguments = ["--json", "--keep-listening", "tcp-listen://0", utf8(&inbox)];
    let waiting = Waiting::start(&arguments);
    let (host, port) = waiting.host_and_port();
    let mut slow = waiting.connect();
    slow.write_all(&payload::pattern(0..1_000)).unwrap();
    let ncs: Vec<_> = (0..3)
        .map(|_| {
            let mut nc = Command::new("nc");
            nc.args(["-N", host, port]).stdin(std::fs::File::open(&from).unwrap()).spawn().unwrap()
        })
        .collect();
    for mut nc in ncs {
        assert!(nc.wait().unwrap().success());
    }
    let arrived = || (names(&inbox).len() == 5).then_some(());
    wait::until(Duration::from_secs(10), arrived).expect("three have arrived");
    slow.write_all(&payload::pattern(1_000..2_000)).unwrap();
    drop(slow);
    let arrived = || (names(&inbox).len() == 6).then_some(());
    wait::until(Duration::from_secs(10), arrived).expect("the slow one has, too");
    waiting.signal(Signal::TERM);
    let (code, stdout, lines) = waiting.end();
    assert_eq!((code, lines.as_str()), (Some(0), ""));
    assert_eq!(names(&inbox), ["peer-", "peer-1", "peer-2", "peer-3", "peer-4", "peer-5"]);
    assert_eq!(std::fs::read(inbox.join("peer-2")).unwrap(), b"old");
    for name in ["peer-1", "peer-3", "peer-4"] {
        assert_payload(&inbox.join(name), 0, 3_000_000);
    }
    assert_payload(&inbox.join("peer-5"), 0, 2_000);
    let reports = String::from_utf8(stdout).unwrap();
    let report = line_with(&reports, utf8(&inbox.join("peer-5")));
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    assert_eq!(
        (&report["bytes"], &report["sink"]),
        (&2_000.into(), &utf8(&inbox.join("peer-5")).into())
    );
    assert!(report["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{report}");
}

#[test]
fn each_peer_gets_its_file_where_nothing_can_be_linked() {
    require!(Capability::Strace);
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 10_000);
    let inbox = dir.path().join("inbox");
    std::fs::create_dir(&inbox).unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=linkat:error=EPERM"]);
    strace.args([env!("CARGO_BIN_EXE_underpass"), "copy", "-q", "--keep-listening"]);
    let waiting = Waiting::of(strace.args(["tcp-listen://0", utf8(&inbox)]));
    for name in ["peer-1", "peer-2"] {
        report(&[utf8(&from), &waiting.address]);
        let arrived = || inbox.join(name).exists().then_some(());
        wait::until(Duration::from_secs(60), arrived).expect("it has arrived");
    }
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.end().2, "");
    assert_eq!(names(&inbox), ["peer-1", "peer-2"]);
    assert_payload(&inbox.join("peer-2"), 0, 10_000);
}

#[test]
fn what_one_at_a_time_can_use_is_refused_to_several() {
    let dir = tempfile::tempdir().unwrap();
    patterned(dir.path(), "from", 10);
    let to = dir.path().join("to");
    for (arguments, why) in [
        (vec!["tcp-listen://0", utf8(&to)], "a file has one writer at a time"),
        (vec!["tcp-listen://0", "-"], "a stream serves one peer at a time"),
        (vec!["-", "tcp-listen://0"], "a stream serves one peer at a time"),
        (vec!["/dev/zero", "tcp-listen://0"], "it can be read only once"),
        (vec!["tcp-listen://0", "tcp-listen://0"], "both ends listen"),
        (vec!["--resume", "tcp-listen://0", utf8(dir.path())], "gets a new file"),
    ] {
        let several = ["--keep-listening", "--max-connections", "2"];
        let (code, line) = failure(&[&several[..], &arguments].concat());
        assert_eq!((code, line.lines().count()), (Some(1), 1), "{line}");
        assert!(line.contains(why) && line.contains(" cannot be used with "), "{line}");
    }
    assert_eq!(names(dir.path()), ["from"]);
}

#[test]
fn peers_of_one_file_come_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let waiting = Waiting::start(&["-q", "--keep-listening", "tcp-listen://0", utf8(&to)]);
    let mut first = waiting.connect();
    first.write_all(&payload::pattern(0..1_000)).unwrap();
    let mut second = waiting.connect();
    second.write_all(&payload::pattern(0..500)).unwrap();
    second.shutdown(std::net::Shutdown::Write).unwrap();
    second.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(second.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(first);
    second.set_read_timeout(None).unwrap();
    assert_eq!(second.read(&mut [0; 1]).unwrap(), 0);
    assert_payload(&to, 0, 500);
}

#[test]
fn a_failure_is_one_peers_and_a_signal_everybodys() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", LEN), dir.path().join("to"));
    let waiting = Waiting::start(&["--verify", "--keep-listening", utf8(&from), "tcp-listen://0"]);
    let silent = waiting.connect();
    let mut wrong = waiting.connect();
    wrong.write_all(b"GET /file HTTP/1.1\r\n\r\n").unwrap();
    // What it had sent is not read, so that it may be reset.
    drop(wrong.read_to_end(&mut Vec::new()));
    let account = report(&["--verify", &waiting.address, utf8(&to)]);
    assert_eq!(account["verified"], true);
    assert_payload(&to, 0, LEN);
    waiting.signal(Signal::INT);
    let (code, _, lines) = waiting.end();
    let name = silent.local_addr().unwrap();
    assert_eq!(code, Some(130), "{lines}");
    let wrong =
        line_with(&lines, "it sent something else than a greeting; is it underpass copy --verify?");
    assert!(wrong.contains("underpass copy: ") && wrong.contains(" (127.0.0.1:"), "{lines}");
    let ended = line_with(&lines, "ended by SIGINT after 0 bytes");
    assert!(ended.contains(&format!("({name})")), "{lines}");
}

fn line_with<'l>(lines: &'l str, part: &str) -> &'l str {
    lines.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {lines}"))
}

#[test]
fn a_source_that_is_missing_is_each_peers_error_and_does_not_end_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    let waiting = Waiting::start(&["--keep-listening", utf8(&from), "tcp-listen://0"]);
    assert_eq!(waiting.connect().read(&mut [0; 1]).unwrap(), 0);
    patterned(dir.path(), "from", LEN);
    assert_gets_all(waiting.connect());
    waiting.signal(Signal::TERM);
    let (code, _, lines) = waiting.end();
    assert_eq!(code, Some(0), "{lines}");
    assert!(lines.contains("cannot open ") && lines.contains(&format!(": {LEN} bytes")), "{lines}");
}
