//! How `underpass explain` asks a command to end: whom, by which signals, how often, and what it
//! says of those who do not.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use underpass_testkit::skip::Capability::{Program, Root};
use underpass_testkit::{require, wait};

use crate::explain_ends::{PATIENCE, child_of, explain, has_ended, number_in, summary};
use crate::running::{Running, as_nobody, copy_program, for_everybody};

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

    /// None is left, and each got each of these signals once, and no other.
    fn check(&self, family: &[u32], signals: &[Signal]) {
        let gone = || family.iter().all(|process| has_ended(*process)).then_some(());
        wait::until(PATIENCE, gone).expect("none is left behind");
        let mut got = self.notes(3 + 3 * signals.len()).split_off(3);
        got.sort_unstable();
        let each = signals.iter().map(|signal| signal.as_raw());
        let mut wanted: Vec<_> =
            family.iter().flat_map(|one| each.clone().map(|signal| (*one, signal))).collect();
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
        family.check(&processes, &[signal]);
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
    // After five seconds, and at signals that do not end.
    for is_twice in [false, true] {
        let family = Family::new(&[]);
        let watch = family.watched(&[]);
        let processes = family.ready();
        let begun = Instant::now();
        watch.signal(Signal::TERM);
        family.notes(6);
        while is_twice && !has_ended(watch.id()) {
            watch.signal(Signal::TERM);
            std::thread::park_timeout(Duration::from_millis(50));
        }
        let (code, summary, stderr) = summary(watch);
        assert_eq!(code, Some(0), "{stderr}");
        let patience = Duration::from_secs(5);
        assert_eq!(begun.elapsed() < patience, is_twice, "{:?}", begun.elapsed());
        family.check(&processes, &[Signal::TERM]);
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
        family.check(&processes, &[Signal::INT]);
    }
}

/// Who outlives the watch keeps nothing open that is read to its end.
const QUIET: &str = ">/dev/null 2>&1";

/// A command of sh(1) that is watched, and where it notes a number when it is ready.
struct Shell {
    dir: tempfile::TempDir,
    watch: Running,
}

impl Shell {
    /// `$1` is where it notes it.
    fn ready(arguments: &[&str], script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ready");
        let command = ["--", "sh", "-c", script, "sh", path.to_str().unwrap()];
        let watch = explain(&[arguments, &command].concat());
        wait::until(PATIENCE, || noted(&path)).expect("the command begins");
        Self { dir, watch }
    }

    /// The number that it noted under another name.
    fn number(&self, name: &str) -> u32 {
        wait::until(PATIENCE, || noted(&self.dir.path().join(name))).expect("it is noted")
    }

    /// What is told of its end by a signal.
    fn asked(self, signal: Signal) -> (Option<i32>, Value, String) {
        self.watch.signal(signal);
        summary(self.watch)
    }
}

fn noted(path: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(path).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}

fn end(process: u32) {
    kill_process(Pid::from_raw(process.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn two_signals_at_once_are_no_impatience() {
    require!(Root);
    require!(Program("python3"));
    // A terminal that goes, timeout(1), and systemd with SendSIGHUP= send two.
    for second in [Signal::TERM, Signal::HUP] {
        let family = Family::new(&["ends"]);
        let watch = family.watched(&[]);
        let processes = family.ready();
        watch.signal(Signal::TERM);
        watch.signal(second);
        let (code, summary, stderr) = summary(watch);
        assert_eq!((code, summary.get("killed")), (Some(0), None), "{stderr}{summary}");
        let mut signals = vec![Signal::TERM];
        signals.extend((second != Signal::TERM).then_some(second));
        family.check(&processes, &signals);
    }
}

#[test]
fn who_takes_hup_for_something_else_is_asked_by_term() {
    require!(Root);
    let reloads = "trap : HUP; echo $$ > $1; while :; do sleep 0.05; done";
    let (code, summary, stderr) = Shell::ready(&[], reloads).asked(Signal::HUP);
    assert_eq!((code, summary.get("killed")), (Some(0), None), "{stderr}{summary}");
}

#[test]
fn a_child_that_is_born_after_the_signal_is_asked_as_well() {
    require!(Root);
    let late = "trap 'sleep 1000; exit' TERM; echo $$ > $1; while :; do sleep 0.05; done";
    let (code, summary, stderr) = Shell::ready(&[], late).asked(Signal::TERM);
    assert_eq!((code, summary.get("killed")), (Some(0), None), "{stderr}{summary}");
}

#[test]
fn a_command_that_ends_because_it_is_asked_to_has_not_failed_and_another_has() {
    require!(Root);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let exits =
            format!("trap 'exit {code}' INT TERM; echo $$ > $1; while :; do sleep 0.05; done");
        let (code, _, stderr) = Shell::ready(&[], &exits).asked(signal);
        assert_eq!(code, Some(0), "{stderr}");
    }
    // As Java, Kafka's scripts and others end.
    let (code, _, stderr) = summary(explain(&["--", "sh", "-c", "kill -TERM $$"]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("sh ended with signal: 15"), "{stderr}");
}

#[test]
fn who_cannot_be_reached_is_left_running_and_not_told_as_killed() {
    require!(Root);
    require!(Program("setpriv"));
    let (dir, path) = for_everybody();
    let root = dir.path().join("root");
    copy_program("/usr/bin/setpriv", &root);
    std::fs::set_permissions(&root, PermissionsExt::from_mode(0o4755)).unwrap();
    let root = root.display();
    let script = format!("{root} --reuid=0 --regid=0 --clear-groups sleep 1000 {QUIET} & wait");
    let mut command = as_nobody(&[], &path);
    command.args(["explain", "--json", "--", "sh", "-c", &script]).stdout(Stdio::piped());
    let watch = Running::start(&mut command);
    let shell = child_of(watch.id());
    let sleep = child_of(shell);
    let comm = || std::fs::read_to_string(format!("/proc/{sleep}/comm")).unwrap();
    wait::until(PATIENCE, || (comm() == "sleep\n").then_some(())).expect("it becomes root");
    watch.signal(Signal::TERM);
    let (code, summary, stderr) = summary(watch);
    let is_there = !has_ended(sleep);
    end(sleep);
    assert!(is_there, "{stderr}");
    assert_eq!((code, summary.get("killed")), (Some(0), None), "{stderr}{summary}");
    assert_eq!(summary["left_running"], serde_json::json!([[sleep, "sleep"]]), "{summary}");
}

#[test]
fn without_bpf_orphans_are_of_the_family_and_those_that_end_are_gone() {
    require!(Root);
    let orphans = "( sleep 1000 >/dev/null 2>&1 & echo $! > ${1%/*}/stays )
                   ( sleep 0 & echo $! > ${1%/*}/ends )
                   echo $$ > $1; while :; do sleep 0.05; done";
    let shell = Shell::ready(&["--tier", "C"], orphans);
    let (stays, ends) = (shell.number("stays"), shell.number("ends"));
    let is_gone = || (!Path::new(&format!("/proc/{ends}")).exists()).then_some(());
    let is_reaped = wait::until(PATIENCE, is_gone).is_some();
    let (code, summary, stderr) = shell.asked(Signal::TERM);
    let is_left = !has_ended(stays);
    if is_left {
        end(stays);
    }
    assert!(is_reaped && !is_left, "{is_reaped} {is_left} {summary}");
    assert_eq!((code, summary.get("killed")), (Some(0), None), "{stderr}{summary}");
    let followed = summary["followed"].as_array().unwrap();
    assert!(followed.iter().any(|one| one[0] == stays), "{summary}");
}

#[test]
fn a_watch_that_fails_leaves_its_command_running_and_says_so() {
    require!(Root);
    require!(Program("strace"));
    let watch = explain(&["--", "sh", "-c", &format!("exec sleep 1000 {QUIET}")]);
    let sleep = child_of(watch.id());
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", "inject=bpf:error=ENOMEM", "-p"]);
    let mut strace = strace.arg(watch.id().to_string()).spawn().unwrap();
    let (code, stdout, stderr) = watch.end_of_text();
    strace.wait().unwrap();
    let is_there = !has_ended(sleep);
    end(sleep);
    assert!(is_there, "{stderr}");
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.starts_with("underpass explain: the watch failed and leaves "), "{stderr}");
    let why = format!(" ({sleep}) running: ");
    assert!(stderr.contains(&why) && stderr.contains("Cannot allocate memory"), "{stderr}");
}
