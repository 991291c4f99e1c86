//! Descriptors that are closed, shared or another's: refused, or left as they were.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rustix::fs::OFlags;
use rustix::process::Signal;
use underpass_testkit::payload;

use super::{Waiting, command, in_shell, patterned, utf8};
use crate::running::Running;

#[test]
fn what_is_closed_or_open_the_other_way_is_told_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    for (script, why) in [
        ("underpass copy -q - keep <&-", "cannot read from -: Bad file descriptor"),
        ("underpass copy -q fd:0 keep <&-", "cannot read from fd:0: Bad file descriptor"),
        ("underpass copy -q from - >&-", "cannot write to -: Bad file descriptor"),
        ("underpass copy -q from fd:1 >&-", "cannot write to fd:1: Bad file descriptor"),
        ("underpass copy -q --no-atomic fd:3 keep 3>x", "read from fd:3: Bad file descriptor"),
        ("underpass copy -q --no-atomic - keep 0>x", "read from -: Bad file descriptor"),
        ("underpass copy -q from fd:3 3<keep", "write to fd:3: Bad file descriptor"),
        ("underpass copy -q from - 1<keep", "write to -: Bad file descriptor"),
        ("underpass copy -q fd:3 keep 3<.", "fd:3 is a directory"),
    ] {
        std::fs::write(dir.path().join("keep"), "keep").unwrap();
        std::fs::write(dir.path().join("from"), "from").unwrap();
        let (code, line) = in_shell(dir.path(), script);
        assert_eq!((code, line.lines().count()), (Some(1), 1), "{script}: {line}");
        assert!(line.contains(why) && line.contains("; "), "{script}: {line}");
        assert_eq!(std::fs::read(dir.path().join("keep")).unwrap(), b"keep", "{script}");
    }
    // What only looks closed is open.
    let (code, line) = in_shell(dir.path(), "underpass copy -q - empty <>/dev/null");
    assert_eq!((code, line.as_str()), (Some(0), ""));
}

#[test]
fn a_socket_that_others_write_to_as_well_is_neither_ended_nor_made_non_blocking() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 1_000_000);
    for flags in [&["-q"][..], &["-q", "--checksum", "sha256"]] {
        let (mut reader, shared) = UnixStream::pair().unwrap();
        let reading = std::thread::spawn(move || {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            got
        });
        let mut command = command(&[flags, &[utf8(&from), "-"]].concat());
        let copied = command.stdout(OwnedFd::from(shared.try_clone().unwrap())).status();
        assert!(copied.unwrap().success());
        (&shared).write_all(b"more").unwrap();
        // The command holds another descriptor of it.
        drop(command);
        shared.shutdown(std::net::Shutdown::Write).unwrap();
        let got = reading.join().unwrap();
        assert_eq!(got.len(), 1_000_004, "{flags:?}");
        assert_eq!(payload::difference(&got[..1_000_000], 0, 1_000_000), None);
    }
}

#[test]
fn a_killed_copy_leaves_a_shared_socket_as_it_was() {
    let (shared, mut peer) = UnixStream::pair().unwrap();
    let mut command = command(&["-q", "-", "-"]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    command.stdin(OwnedFd::from(shared.try_clone().unwrap())).stdout(writer);
    let running = Running::quiet(&mut command);
    peer.write_all(b"first").unwrap();
    // It has begun, and waits for more.
    let mut got = [0; 5];
    reader.read_exact(&mut got).unwrap();
    let flags = || rustix::fs::fcntl_getfl(&shared).unwrap();
    assert!(!flags().contains(OFlags::NONBLOCK));
    running.signal(Signal::KILL);
    running.end();
    assert!(!flags().contains(OFlags::NONBLOCK));
}

#[test]
fn a_method_that_would_need_the_flag_is_refused_on_a_shared_socket() {
    let (shared, peer) = UnixStream::pair().unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let mut command = command(&["--method", "splice", "-", "-"]);
    let output = command.stdin(OwnedFd::from(shared)).stdout(Stdio::piped()).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains("splice cannot be used with - (other processes share it"), "{line}");
}

#[test]
fn the_next_writer_goes_on_where_a_failed_copy_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut to = File::create(dir.path().join("to")).unwrap();
    let waiting = Waiting::of(command(&["tcp-listen://0", "-"]).stdout(to.try_clone().unwrap()));
    let mut peer = waiting.connect();
    peer.write_all(&payload::pattern(0..1000)).unwrap();
    let arrived = || (to.metadata().unwrap().len() == 1000).then_some(());
    underpass_testkit::wait::until(std::time::Duration::from_secs(20), arrived).unwrap();
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.end().0, Some(143));
    assert_eq!(to.stream_position().unwrap(), 1000);
}
