//! How `underpass explain` ends: what it waits for, whom it asks to end, and whom it leaves alone.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use underpass_testkit::skip::Capability::{Program, Root};
use underpass_testkit::{require, wait};

use crate::hidden::tried;
use crate::running::{Running, program};

const PATIENCE: Duration = Duration::from_secs(60);

/// Of what a program sends, this is read when it has ended: more than the reader's buffer takes,
/// and less than a sender's queue of ten packets of loopback.
const LATE: u64 = 768 << 10;
const BUFFER: usize = 256 << 10;

fn explain(arguments: &[&str]) -> Running {
    Running::start(program().args(["explain", "--budget", "100", "--json"]).args(arguments))
}

/// Ends one that was told to, and returns what it says.
fn summary(watch: Running) -> (Option<i32>, Value, String) {
    let (code, stdout, stderr) = watch.end_of_text();
    let summary = serde_json::from_str(&stdout);
    (code, summary.unwrap_or_else(|_| panic!("{stdout}{stderr}")), stderr)
}

fn has_ended(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z ") || stat.contains(") X "))
}

fn child_of(process: u32) -> u32 {
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

/// Has a child that has a child, and each notes its number with 0 when it is ready, and later with
/// the signals it gets. With `ends` it ends half a second after the first. With `away` the last has
/// its own session.
const FAMILY: &str = "
import os, signal, sys, time
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
got = []
def note(number, _=None):
    os.write(log, b'%d %d\\n' % (os.getpid(), number))
    got.append(number)
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, note)
if os.fork() == 0 and os.fork() == 0 and 'away' in sys.argv:
    os.setsid()
note(0)
while len(got) < 2 or 'ends' not in sys.argv:
    time.sleep(0.01)
time.sleep(0.5)
";

/// A family under watch, and where it notes its signals.
struct Family {
    _dir: tempfile::TempDir,
    log: PathBuf,
    command: Vec<String>,
}

impl Family {
    fn new(words: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(&log, "").unwrap();
        let fixed = ["--", "python3", "-c", FAMILY, log.to_str().unwrap()];
        let command = fixed.iter().chain(words).map(|&word| word.to_owned()).collect();
        Self { _dir: dir, log, command }
    }

    fn watched(&self, arguments: &[&str]) -> Running {
        let command = self.command.iter().map(String::as_str);
        explain(&arguments.iter().copied().chain(command).collect::<Vec<_>>())
    }

    /// Numbers of processes with what they noted, when there are that many.
    fn notes(&self, count: usize) -> Vec<(u32, i32)> {
        let notes = || {
            let text = std::fs::read_to_string(&self.log).unwrap();
            let note = |line: &str| {
                let (process, number) = line.split_once(' ')?;
                Some((process.parse().ok()?, number.parse().ok()?))
            };
            let notes: Vec<(u32, i32)> = text.lines().filter_map(note).collect();
            (notes.len() >= count).then_some(notes)
        };
        wait::until(PATIENCE, notes).expect("the family notes")
    }

    /// Waits until all are there.
    fn ready(&self) -> Vec<u32> {
        self.notes(3).into_iter().map(|(process, _)| process).collect()
    }

    /// None is left, and each got one signal, this one.
    fn check(&self, family: &[u32], signal: Signal) {
        let gone = || family.iter().all(|process| has_ended(*process)).then_some(());
        wait::until(PATIENCE, gone).expect("none is left behind");
        let mut got = self.notes(6).split_off(3);
        got.sort_unstable();
        let mut wanted: Vec<_> = family.iter().map(|one| (*one, signal.as_raw())).collect();
        wanted.sort_unstable();
        assert_eq!(got, wanted);
    }
}

#[test]
fn a_command_and_its_children_get_the_signal_that_its_watcher_gets_once() {
    require!(Root);
    require!(Program("python3"));
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let family = Family::new(&["ends"]);
        let watch = family.watched(&[]);
        let processes = family.ready();
        watch.signal(signal);
        let (code, summary, stderr) = summary(watch);
        assert_eq!((code, summary.get("killed")), (Some(0), None), "{stderr}{summary}");
        family.check(&processes, signal);
    }
}

#[test]
fn when_its_time_is_over_a_command_is_asked_to_end_with_its_children() {
    require!(Root);
    let dir = tempfile::tempdir().unwrap();
    let number = dir.path().join("number");
    let family = format!("sleep 1000 & echo $! > {}; wait", number.display());
    let watch = explain(&["--for", "3", "--", "sh", "-c", &family]);
    let shell = child_of(watch.id());
    let (code, summary, stderr) = summary(watch);
    assert_eq!((code, summary.get("killed")), (Some(0), None), "{stderr}{summary}");
    let left = [shell, number_in(&number)];
    assert!(left.iter().all(|process| has_ended(*process)), "{left:?} {summary}");
}

#[test]
fn who_does_not_end_is_killed_and_named() {
    require!(Root);
    require!(Program("python3"));
    // After five seconds, and at a second signal.
    for is_twice in [false, true] {
        let family = Family::new(&[]);
        let watch = family.watched(&[]);
        let processes = family.ready();
        let begun = Instant::now();
        watch.signal(Signal::TERM);
        family.notes(6);
        if is_twice {
            watch.signal(Signal::INT);
        }
        let (code, summary, stderr) = summary(watch);
        assert_eq!(code, Some(0), "{stderr}");
        let patience = Duration::from_secs(5);
        assert_eq!(begun.elapsed() < patience, is_twice, "{:?}", begun.elapsed());
        family.check(&processes, Signal::TERM);
        let killed = summary["killed"].as_array().unwrap().iter();
        let mut killed: Vec<u64> = killed.map(|one| one[0].as_u64().unwrap()).collect();
        killed.sort_unstable();
        let mut all: Vec<u64> = processes.iter().map(|one| u64::from(*one)).collect();
        all.sort_unstable();
        assert_eq!(killed, all, "{summary}");
    }
}

#[test]
fn from_a_terminal_a_signal_arrives_once_even_where_the_terminal_does_not_reach() {
    require!(Root);
    require!(Program("python3"));
    require!(Program("script"));
    for words in [&["ends"][..], &["ends", "away"]] {
        let family = Family::new(words);
        let quoted = family.command.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''")));
        let quoted = quoted.collect::<Vec<_>>().join(" ");
        let typed = format!("{} explain --budget 100 {quoted}", env!("CARGO_BIN_EXE_underpass"));
        let mut script = Command::new("script");
        script.args(["-qec", &typed, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut terminal = script.spawn().unwrap();
        let processes = family.ready();
        terminal.stdin.as_ref().unwrap().write_all(b"\x03").unwrap();
        let output = wait::until(PATIENCE, || terminal.try_wait().unwrap()).map(|_| {
            let mut said = String::new();
            terminal.stdout.take().unwrap().read_to_string(&mut said).unwrap();
            said
        });
        terminal.kill().unwrap_or_default();
        terminal.wait().unwrap();
        let said = output.expect("the watch ends");
        assert!(said.contains("tier A (BPF)") && !said.contains("killed"), "{said}");
        family.check(&processes, Signal::INT);
    }
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

fn number_in(path: &Path) -> u32 {
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
