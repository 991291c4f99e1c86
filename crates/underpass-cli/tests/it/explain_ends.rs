//! How `underpass explain` ends: what it waits for, and whom it leaves alone.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use underpass_testkit::skip::Capability::{Program, Root};
use underpass_testkit::{require, wait};

use crate::hidden::tried;
use crate::running::{Running, program};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Of what a program sends, this is read when it has ended: more than the reader's buffer takes,
/// and less than a sender's queue of ten packets of loopback.
const LATE: u64 = 768 << 10;
const BUFFER: usize = 256 << 10;

pub(crate) fn explain(arguments: &[&str]) -> Running {
    Running::start(program().args(["explain", "--budget", "100", "--json"]).args(arguments))
}

/// Ends one that was told to, and returns what it says.
pub(crate) fn summary(watch: Running) -> (Option<i32>, Value, String) {
    let (code, stdout, stderr) = watch.end_of_text();
    let summary = serde_json::from_str(&stdout);
    (code, summary.unwrap_or_else(|_| panic!("{stdout}{stderr}")), stderr)
}

pub(crate) fn has_ended(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z ") || stat.contains(") X "))
}

pub(crate) fn child_of(process: u32) -> u32 {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = || std::fs::read_to_string(&path).ok()?.trim().parse().ok();
    wait::until(PATIENCE, children).expect("the command is a child of its watcher")
}

/// All bytes that left, whatever became of them, and those that had not.
fn seen(summary: &Value) -> (u64, u64) {
    let total = &summary["report"]["total"];
    let parts = ["by_reference_bytes", "copied_bytes", "unknown_bytes", "other_bytes"];
    let left = parts.iter().map(|part| total[part].as_u64().unwrap()).sum();
    (left, summary["queued_bytes"].as_u64().unwrap_or(0))
}

/// Watches nc(1) send a file of that length to a reader that takes all of it but [`LATE`] bytes,
/// waits for nc's end, and takes the others too if it is told to.
fn sent_by_nc(len: u64, is_all_read: bool) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(len).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    set_socket_recv_buffer_size(&listener, BUFFER).unwrap();
    let port = listener.local_addr().unwrap().port();
    let send = format!("exec nc -w 1 127.0.0.1 {port} < {}", file.path().display());
    let watch = explain(&["--", "sh", "-c", &send]);
    let nc = child_of(watch.id());
    let mut reader = listener.accept().unwrap().0;
    let mut take = |count| {
        let mut part = Read::by_ref(&mut reader).take(count);
        assert_eq!(std::io::copy(&mut part, &mut std::io::sink()).unwrap(), count);
    };
    take(len - LATE);
    // It ends when nothing has moved for a second.
    wait::until(PATIENCE, || has_ended(nc).then_some(())).expect("the rest fits into its queue");
    if is_all_read {
        // A slow one.
        for _ in 0..8 {
            std::thread::park_timeout(Duration::from_millis(40));
            take(LATE / 8);
        }
    }
    let (code, summary, stderr) = summary(watch);
    assert_eq!(code, Some(0), "{stderr}");
    drop(reader);
    summary
}

#[test]
fn what_a_command_had_queued_when_it_ended_is_seen_to_leave() {
    require!(Root);
    require!(Program("nc"));
    const LEN: u64 = 300_000_000;
    let is_whole = |summary: &Value| seen(summary).0 >= LEN;
    let summary = tried(|| sent_by_nc(LEN, true), is_whole);
    assert_eq!(seen(&summary), (LEN, 0), "{summary}");
}

#[test]
fn what_a_reader_does_not_take_is_said_not_to_have_left() {
    require!(Root);
    require!(Program("nc"));
    const LEN: u64 = 20_000_000;
    let is_whole = |summary: &Value| {
        let (left, queued) = seen(summary);
        left + queued >= LEN
    };
    let begun = Instant::now();
    let summary = tried(|| sent_by_nc(LEN, false), is_whole);
    let (left, queued) = seen(&summary);
    assert_eq!(left + queued, LEN, "{summary}");
    assert!(queued > 0, "{summary}");
    assert!(begun.elapsed() < PATIENCE, "it waits for one that stands still");
}

#[test]
fn what_a_command_leaves_running_is_left_alone_and_named() {
    require!(Root);
    let dir = tempfile::tempdir().unwrap();
    let number = dir.path().join("number");
    let leave = format!("sleep 1000 >/dev/null 2>&1 & echo $! > {}", number.display());
    let watch = explain(&["--", "sh", "-c", &leave]);
    let (code, summary, stderr) = summary(watch);
    let left = number_in(&number);
    let is_there = !has_ended(left);
    kill_process(Pid::from_raw(left.cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert!(is_there, "{stderr}");
    assert_eq!((code, &summary["left_running"][0][0]), (Some(0), &Value::from(left)), "{summary}");
}

pub(crate) fn number_in(path: &Path) -> u32 {
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

#[test]
fn a_connection_that_its_reader_gives_up_is_not_waited_for() {
    require!(Root);
    require!(Program("nc"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let send = format!("head -c 1000000 /dev/zero | nc -N 127.0.0.1 {port}");
    let watch = explain(&["--", "sh", "-c", &send]);
    let reader: TcpStream = listener.accept().unwrap().0;
    drop(reader);
    let (_, summary, _) = summary(watch);
    assert_eq!(seen(&summary).1, 0, "{summary}");
    assert!(summary["seconds"].as_f64().unwrap() < 2.0, "{summary}");
}
