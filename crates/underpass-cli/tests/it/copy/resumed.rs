//! Resuming what several connections, or two ends that verify, have left.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use underpass_testkit::disk::disk_dir;
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, wait};

use super::http::nginx;
use super::{Waiting, assert_payload, command, failure, names, patterned, report, utf8};

const LEN: u64 = 20_000_003;

/// The ranges that a part says it has: both ends inclusive.
fn pieces(part: &Path) -> Vec<(u64, u64)> {
    let mut value = [0; 4096];
    let Ok(len) = rustix::fs::getxattr(part, "user.underpass.pieces", &mut value[..]) else {
        return Vec::new();
    };
    let text = std::str::from_utf8(&value[..len]).unwrap();
    let (total, ranges) = text.split_once(' ').unwrap();
    assert_eq!(total, LEN.to_string());
    let ranges = ranges.split(',').filter(|range| !range.is_empty());
    let ends = ranges.map(|range| range.split_once('-').unwrap());
    ends.map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap())).collect()
}

fn bytes_of(pieces: &[(u64, u64)]) -> u64 {
    pieces.iter().map(|(first, last)| last - first + 1).sum()
}

/// Waits until a part has this many ranges.
fn wait_until_it_has(ranges: usize, part: &Path) {
    let begun = || (pieces(part).len() == ranges).then_some(());
    wait::until(Duration::from_secs(20), begun).expect("all connections bring something");
}

/// Kills a copy when its part has `ranges` ranges, and tells them.
pub(super) fn kill_when_it_has(ranges: usize, child: &mut Child, part: &Path) -> Vec<(u64, u64)> {
    wait_until_it_has(ranges, part);
    kill_process(Pid::from_child(child), Signal::KILL).unwrap();
    child.wait().unwrap();
    pieces(part)
}

/// Kills a copy when its part has this many bytes.
pub(super) fn kill_when_it_holds(bytes: u64, child: &mut Child, part: &Path) {
    let begun = || std::fs::metadata(part).is_ok_and(|m| m.len() >= bytes).then_some(());
    wait::until(Duration::from_secs(20), begun).expect("it begins");
    kill_process(Pid::from_child(child), Signal::KILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_download_over_several_connections_is_gone_on_with_where_each_stopped() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let server = nginx(dir.path(), false);
    let root = dir.path().join("root");
    let from = patterned(&root, "file", LEN);
    let url = format!("http://{}/file", server.address());
    let inside = dir.path().join("in");
    std::fs::create_dir(&inside).unwrap();
    let (to, part) = (inside.join("to"), inside.join("to.part"));
    // As many connections, one that closes all gaps, and more than there are gaps.
    for connections in ["4", "1", "16"] {
        let slow = ["-q", "--resume", "--parallel", "4", "--limit-rate", "3M", &url, utf8(&to)];
        let mut child = command(&slow).spawn().unwrap();
        let have = kill_when_it_has(4, &mut child, &part);
        for (first, last) in &have {
            let mut got = vec![0; usize::try_from(last - first + 1).unwrap()];
            File::open(&part).unwrap().read_exact_at(&mut got, *first).unwrap();
            assert_eq!(
                underpass_testkit::payload::difference(&got, *first, got.len() as u64),
                None
            );
        }
        let arguments = ["--resume", "--parallel", connections, &url, utf8(&to)];
        let account = report(&arguments);
        assert_eq!(account["resumed_at"], bytes_of(&have), "{account}");
        if connections != "1" {
            assert_eq!(account["bytes"], LEN - bytes_of(&have), "{account}");
        }
        assert_eq!(account["through_user_space"], 0);
        assert_payload(&to, 0, LEN);
        assert_eq!((names(&inside), pieces(&to)), (vec!["to".to_owned()], vec![]));
        std::fs::remove_file(&to).unwrap();
    }
    // Who cannot fill the gaps, says so.
    let slow = ["-q", "--resume", "--parallel", "4", "--limit-rate", "3M", &url, utf8(&to)];
    let mut child = command(&slow).spawn().unwrap();
    let have = kill_when_it_has(4, &mut child, &part);
    let (code, line) = failure(&["--resume", utf8(&from), utf8(&to)]);
    assert_eq!(code, Some(1));
    assert!(line.contains("several connections left gaps in"), "{line}");
    // A byte that is wrong before a gap but the first.
    let write = |byte: &[u8]| {
        File::options().write(true).open(&part).unwrap().write_all_at(byte, have[1].1).unwrap();
    };
    let mut right = [0];
    File::open(&part).unwrap().read_exact_at(&mut right, have[1].1).unwrap();
    write(&[right[0] ^ 1]);
    let (code, line) = failure(&["--resume", "--parallel", "4", &url, utf8(&to)]);
    assert_eq!(code, Some(1));
    assert!(line.contains(&format!("differs from the source at byte {}", have[1].1)), "{line}");
    write(&right);
    patterned(&root, "file", LEN + 1);
    let (code, line) = failure(&["--resume", "--parallel", "4", &url, utf8(&to)]);
    assert_eq!(code, Some(1));
    assert!(line.contains("has changed since") && line.contains("to.part was begun"), "{line}");
    assert_eq!(names(&inside), ["to.part"]);
}

/// Both ends of one transfer: the sender's and the receiver's code, output and message.
fn exchange(arguments: &[&str], from: &Path, to: &Path) -> [(Option<i32>, Value, String); 2] {
    let waiting = Waiting::start(&["--json", "--verify", "--resume", "tcp-listen://0", utf8(to)]);
    let mut sender = command(&["--json", "--verify"]);
    let sender = sender.args(arguments).arg(from).arg(&waiting.address).output().unwrap();
    let (code, stdout, stderr) = waiting.end();
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap();
    let line = String::from_utf8(sender.stderr).unwrap();
    [(sender.status.code(), json(&sender.stdout), line), (code, json(&stdout), stderr)]
}

#[test]
fn a_verified_transfer_goes_on_where_it_was_killed_unless_the_source_has_changed() {
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let from = patterned(dir.path(), "from", LEN);
    let inside = dir.path().join("in");
    std::fs::create_dir(&inside).unwrap();
    let (to, part) = (inside.join("to"), inside.join("to.part"));
    for (connections, is_changed) in [("1", false), ("4", false), ("1", true), ("4", true)] {
        let waiting = Waiting::start(&["-q", "--verify", "--resume", "tcp-listen://0", utf8(&to)]);
        let slow = ["-q", "--limit-rate", "3M", "--parallel", connections, "--verify", utf8(&from)];
        let mut sender = command(&slow);
        let mut sender = sender.arg(&waiting.address).stderr(Stdio::null()).spawn().unwrap();
        if connections == "4" {
            wait_until_it_has(4, &part);
        } else {
            let begun = || std::fs::metadata(&part).is_ok_and(|m| m.len() > 0).then_some(());
            wait::until(Duration::from_secs(20), begun).expect("it begins");
        }
        waiting.signal(Signal::KILL);
        waiting.end();
        let have = if connections == "4" {
            bytes_of(&pieces(&part))
        } else {
            std::fs::metadata(&part).unwrap().len()
        };
        assert_eq!(sender.wait().unwrap().code(), Some(1));
        let change = |byte: &[u8]| {
            File::options().write(true).open(&from).unwrap().write_all_at(byte, 0).unwrap();
        };
        if is_changed {
            change(b"?");
        }
        let [sent, got] = exchange(&["--parallel", connections], &from, &to);
        if is_changed {
            for (code, _, line) in [sent, got] {
                assert_eq!(code, Some(1), "{line}");
                assert!(line.contains("the receiver has other bytes than the sender"), "{line}");
            }
            assert_eq!(names(&inside), ["to.part"]);
            std::fs::remove_file(&part).unwrap();
            change(&[0]);
            continue;
        }
        assert_eq!((sent.0, got.0), (Some(0), Some(0)), "{} {}", sent.2, got.2);
        assert_eq!((&sent.1["verified"], &got.1["verified"]), (&true.into(), &true.into()));
        assert_eq!(got.1["resumed_at"], have);
        assert_eq!(
            (&sent.1["bytes"], &got.1["bytes"]),
            (&(LEN - have).into(), &(LEN - have).into())
        );
        assert_payload(&to, 0, LEN);
        assert_eq!((names(&inside), pieces(&to)), (vec!["to".to_owned()], vec![]));
        std::fs::remove_file(&to).unwrap();
    }
}

#[test]
fn what_is_whole_is_confirmed_and_a_stream_is_not_gone_on_with() {
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let from = patterned(dir.path(), "from", LEN);
    let to = dir.path().join("to");
    patterned(dir.path(), "to.part", LEN);
    let [sent, got] = exchange(&[], &from, &to);
    assert_eq!((sent.0, got.0), (Some(0), Some(0)), "{} {}", sent.2, got.2);
    assert_eq!((&got.1["bytes"], &got.1["resumed_at"]), (&0.into(), &LEN.into()));
    assert_payload(&to, 0, LEN);
    std::fs::rename(&to, dir.path().join("to.part")).unwrap();
    let fifo = dir.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let both = File::options().read(true).write(true).open(&fifo).unwrap();
    std::io::Write::write_all(&mut &both, b"x").unwrap();
    let [sent, got] = exchange(&[], &fifo, &to);
    for (code, _, line) in [sent, got] {
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains("or the sender reads a stream"), "{line}");
    }
}
