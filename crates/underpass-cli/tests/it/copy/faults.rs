//! Whatever goes wrong: the exit code, one line, and nothing under the target's name.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::require;
use underpass_testkit::{payload, wait};

use super::{Waiting, assert_payload, command, failure, names, patterned, piped, report, utf8};

#[test]
fn a_signal_in_mid_copy_leaves_nothing_and_tells_how_far_it_came() {
    for (signal, code, name) in
        [(Signal::HUP, 129, "SIGHUP"), (Signal::INT, 130, "SIGINT"), (Signal::TERM, 143, "SIGTERM")]
    {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        let waiting = Waiting::start(&["tcp-listen://0", utf8(&to)]);
        let mut peer = waiting.connect();
        peer.write_all(&payload::pattern(0..100_000)).unwrap();
        waiting.signal(signal);
        let (status, _, stderr) = waiting.end();
        assert_eq!(status, Some(code), "{stderr}");
        assert!(stderr.contains(&format!("ended by {name} after")), "{stderr}");
        assert_eq!(stderr.lines().count(), 1);
        assert_eq!(names(dir.path()), [""; 0]);
    }
}

#[test]
fn what_nohup_has_started_goes_on_after_the_terminal_closes() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let mut command = Command::new("nohup");
    command.args([env!("CARGO_BIN_EXE_underpass"), "copy", "tcp-listen://0", utf8(&to)]);
    let waiting = Waiting::of(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    let mut peer = waiting.connect();
    peer.write_all(&payload::pattern(0..1000)).unwrap();
    waiting.signal(Signal::HUP);
    peer.write_all(&payload::pattern(1000..2000)).unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    waiting.succeed();
    assert_payload(&to, 0, 2000);
}

#[test]
fn what_arrived_before_a_signal_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let (to, part) = (dir.path().join("to"), dir.path().join("to.part"));
    let waiting = Waiting::start(&["--resume", "tcp-listen://0", utf8(&to)]);
    let mut peer = waiting.connect();
    peer.write_all(&payload::pattern(0..100_000)).unwrap();
    let arrived = || std::fs::metadata(&part).is_ok_and(|m| m.len() == 100_000).then_some(());
    wait::until(Duration::from_secs(10), arrived).expect("the bytes arrive");
    waiting.signal(Signal::INT);
    let (code, _, stderr) = waiting.end();
    assert_eq!(code, Some(130));
    assert!(stderr.contains("after 100000 bytes; what arrived is in"), "{stderr}");
    assert_eq!(names(dir.path()), ["to.part"]);

    let waiting = Waiting::start(&["--resume", "tcp-listen://0", utf8(&to)]);
    let mut peer = waiting.connect();
    peer.write_all(&payload::pattern(100_000..150_000)).unwrap();
    drop(peer);
    let (code, _, stderr) = waiting.end();
    assert_eq!(code, Some(0));
    assert!(stderr.contains("it must continue at byte 100000"), "{stderr}");
    assert_payload(&to, 0, 150_000);
    assert_eq!(names(dir.path()), ["to"]);
}

#[test]
fn a_killed_copy_leaves_no_name_behind() {
    let dir = tempfile::tempdir_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
    let to = dir.path().join("to");
    std::fs::write(&to, "old").unwrap();
    let waiting = Waiting::start(&["tcp-listen://0", utf8(&to)]);
    let mut peer = waiting.connect();
    peer.write_all(&payload::pattern(0..1_000_000)).unwrap();
    wait_until_it_holds(waiting.running.id(), dir.path());
    waiting.signal(Signal::KILL);
    assert_eq!(waiting.end().0, None);
    assert_eq!(names(dir.path()), ["to"]);
    assert_eq!(std::fs::read(&to).unwrap(), b"old");
}

#[test]
fn a_refused_connection_is_one_line_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let (from, none) = (patterned(dir.path(), "from", 10), dir.path().join("none"));
    let address = underpass_testkit::server::free_address().unwrap();
    let to = dir.path().join("to");
    for (end, why) in [
        (format!("tcp://{address}"), "Connection refused"),
        (format!("unix://{}", utf8(&none)), "No such file or directory"),
        (format!("http://{address}/x"), "Connection refused"),
        (format!("https://{address}/x"), "Connection refused"),
    ] {
        for ends in [[utf8(&from), &*end], [&*end, utf8(&to)]] {
            let (code, line) = failure(&ends);
            assert_eq!((code, line.lines().count()), (Some(1), 1), "{line}");
            let wanted = format!("underpass copy: cannot connect to {end}: {why}");
            assert!(line.starts_with(&wanted) && line.contains("; "), "{line}");
            assert!(!to.exists());
        }
    }
}

#[test]
fn a_peer_that_resets_is_an_error_with_the_bytes_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 30_000_000);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let end = format!("tcp://{}", listener.local_addr().unwrap());
    let child = command(&[utf8(&from), &end]).stderr(Stdio::piped()).spawn().unwrap();
    let mut peer = listener.accept().unwrap().0;
    peer.read_exact(&mut [0; 1000]).unwrap();
    // Unread bytes turn the close into a reset.
    drop(peer);
    let output = child.wait_with_output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(
        line.contains("sendfile failed after ") && line.contains(" of 30000000 bytes"),
        "{line}"
    );
    assert!(line.contains("the other end closed before it had everything"), "{line}");
}

#[test]
fn a_full_disk_leaves_the_old_file_and_no_other() {
    let disk = require!(Disk::new(FileSystem::Ext4, 16 << 20));
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 40_000_000);
    let to = disk.path().join("to");
    std::fs::write(&to, "old").unwrap();
    let before = names(disk.path());
    for source in [utf8(&from), "-"] {
        let mut command = command(&[source, utf8(&to)]);
        let output = command.stdin(piped(&from)).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(line.contains("No space left on device (ENOSPC); free some space"), "{line}");
        assert_eq!(names(disk.path()), before);
        assert_eq!(std::fs::read(&to).unwrap(), b"old");
    }
}

#[test]
fn a_read_only_target_is_refused_untouched() {
    let disk = require!(Disk::new(FileSystem::Ext4, 16 << 20));
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 10);
    let to = disk.path().join("to");
    std::fs::write(&to, "old").unwrap();
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status();
    assert!(remount.unwrap().success());
    for path in [to.clone(), disk.path().join("new")] {
        let (code, line) = failure(&[utf8(&from), utf8(&path)]);
        assert_eq!(code, Some(1));
        assert!(line.contains("Read-only file system"), "{line}");
        assert!(line.ends_with("choose a sink on a file system that is not read-only\n"), "{line}");
    }
    assert_eq!(std::fs::read(&to).unwrap(), b"old");
}

#[test]
fn a_source_that_is_cut_in_mid_copy_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", 3_000_000), dir.path().join("to"));
    let arguments = ["--limit-rate", "2M", utf8(&from), utf8(&to)];
    let child = command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    wait_until_it_holds(child.id(), &from);
    let peer = File::options().write(true).open(&from).unwrap();
    wait::until(Duration::from_millis(300), || None::<()>);
    peer.set_len(1_000).unwrap();
    let output = child.wait_with_output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains("source ended after "), "{line}");
    assert!(!to.exists());
}

#[test]
fn a_target_that_is_taken_away_meanwhile_is_an_error_and_nothing_half_written_is_named() {
    type Meddling = fn(&Path, &Path);
    let occupied: Meddling = |to, _| std::fs::create_dir(to).unwrap();
    let gone: Meddling = |to, _| std::fs::remove_dir_all(to.parent().unwrap()).unwrap();
    let unlinked: Meddling = |_, written| std::fs::remove_file(written).unwrap();
    let replaced: Meddling = |_, written| {
        std::fs::remove_file(written).unwrap();
        std::fs::write(written, "else").unwrap();
    };
    for (flags, written, meddling, why, left) in [
        (&[][..], "", occupied, "Is a directory", Some(vec!["to"])),
        (&[], "", gone, "No such file or directory", None),
        (&["--no-atomic"], "to", unlinked, "to was removed or replaced while it was", Some(vec![])),
        (&["--no-atomic"], "to", replaced, "was removed or replaced", Some(vec!["to"])),
        (&["--resume"], "to.part", unlinked, "to.part was removed or replaced", Some(vec![])),
        (&["--resume"], "to.part", replaced, "was removed or replaced", Some(vec!["to.part"])),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        let to = inside.join("to");
        let waiting = Waiting::start(&[flags, &["tcp-listen://0", utf8(&to)]].concat());
        let mut peer = waiting.connect();
        peer.write_all(&payload::pattern(0..100_000)).unwrap();
        wait_until_it_holds(waiting.running.id(), &inside);
        meddling(&to, &inside.join(written));
        drop(peer);
        let (code, _, line) = waiting.end();
        assert_eq!(code, Some(1), "{flags:?} {why}: {line}");
        assert!(line.contains("cannot finish ") && line.contains(why), "{flags:?}: {line}");
        let names = left.as_ref().map(|_| names(&inside));
        assert_eq!(names, left.map(|left| left.into_iter().map(String::from).collect()));
    }
}

#[test]
fn two_copies_do_not_go_on_with_the_same_part() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", 200_000), dir.path().join("to"));
    let waiting = Waiting::start(&["--resume", "tcp-listen://0", utf8(&to)]);
    let mut peer = waiting.connect();
    peer.write_all(&payload::pattern(0..100_000)).unwrap();
    let part = dir.path().join("to.part");
    let begun = || std::fs::metadata(&part).is_ok_and(|m| m.len() == 100_000).then_some(());
    wait::until(Duration::from_secs(10), begun).expect("the first begins");
    let (code, line) = failure(&["--resume", utf8(&from), utf8(&to)]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("another copy is writing it; wait for that one"), "{line}");
    drop(peer);
    waiting.succeed();
    assert_payload(&to, 0, 100_000);
    report(&["--resume", utf8(&from), utf8(&to)]);
    assert_payload(&to, 0, 200_000);
}

#[test]
fn a_sink_that_nobody_reads_does_not_hold_up_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 5_000_000);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = command(&[utf8(&from), "-"]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let is_full = || rustix::io::ioctl_fionread(&reader).is_ok_and(|n| n >= 4_096).then_some(());
    wait::until(Duration::from_secs(10), is_full).expect("the pipe fills");
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until a copy has the file open, or one in that directory: then it has its length.
fn wait_until_it_holds(process: u32, path: &Path) {
    let opened = format!("/proc/{process}/fd");
    let path = path.canonicalize().unwrap();
    let is_open = || {
        let links = std::fs::read_dir(&opened).ok()?;
        links
            .flatten()
            .find(|link| std::fs::read_link(link.path()).is_ok_and(|to| to.starts_with(&path)))
    };
    wait::until(Duration::from_secs(10), is_open).expect("the source is opened");
}

#[test]
fn a_source_that_is_cut_within_its_last_hole_is_an_error_too() {
    let dir = tempfile::tempdir_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
    let (from, to) = (patterned(dir.path(), "from", 1 << 20), dir.path().join("to"));
    let source = File::options().write(true).open(&from).unwrap();
    source.set_len(10 << 20).unwrap();
    // The file's times are not checked: only its length shows it.
    let arguments =
        ["--stability", "none", "--limit-rate", "2M", "--method", "copy", utf8(&from), utf8(&to)];
    let child = command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    wait_until_it_holds(child.id(), &from);
    wait::until(Duration::from_millis(200), || None::<()>);
    source.set_len(2 << 20).unwrap();
    let output = child.wait_with_output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains("source ended") && line.contains("8388608 bytes are missing"), "{line}");
    assert!(!to.exists());
}
