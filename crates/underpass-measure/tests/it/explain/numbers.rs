//! Numbers of processes that are given again, and processes that become other programs.
//!
//! Source: clone(2) (`set_tid`), execve(2), proc_pid_stat(5).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use underpass_measure::{Probe, Report, Sight, Summary, Tier, Watch};
use underpass_testkit::payload::pattern;
use underpass_testkit::skip::Capability::{Program, RealProcessor, Root};
use underpass_testkit::{require, wait};

use crate::explain::made::totals;
use crate::explain::site::{Site, rows};
use crate::hidden::tried;

const LEN: u64 = 1_000_003;

const PATIENCE: Duration = Duration::from_secs(60);

/// Reads orders and answers each with a line.
const ORDERS: &str = "
import ctypes, os, socket, struct, sys, threading, time
def orders():
    for line in sys.stdin:
        yield line.split()
def connect():
    return socket.create_connection(('127.0.0.1', int(sys.argv[1])))
def answer(what):
    print(what, flush=True)
def sendfile(peer, name):
    file = os.open(name, os.O_RDONLY)
    at, count = 0, os.fstat(file).st_size
    while at < count:
        at += os.sendfile(peer.fileno(), file, at, count - at)
";

/// Forks one that sends and stays until its peer is gone, and reaps it when it is told.
const PARENT: &str = "
for order in orders():
    if order[0] == 'fork':
        child = os.fork()
        if child == 0:
            peer = connect()
            sendfile(peer, 'www/a.bin')
            peer.recv(1)
            os._exit(0)
        answer(child)
    elif order[0] == 'fork-and-end':
        child = os.fork()
        if child == 0:
            os._exit(0)
        answer(child)
    elif order[0] == 'reap':
        os.waitpid(child, 0)
        answer('reaped')
";

/// Is given a number (a clone_args of 88 bytes, with set_tid), sends by it, and becomes `sh`.
const STRANGER: &str = "
for order in orders():
    numbers = (ctypes.c_int32 * 1)(int(order[0]))
    wanted = struct.pack('<11Q', 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(numbers), 1, 0)
    child = ctypes.CDLL(None, use_errno=True).syscall(435, wanted, len(wanted))
    if child == 0:
        peer = connect()
        sendfile(peer, 'www/b.bin')
        os.dup2(peer.fileno(), 0)
        os.execvp('sh', ['sh', '-c', 'read end'])
    answer(child)
";

/// A Python program that takes orders.
struct Ordered {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Ordered {
    fn start(site: &Site, program: &str, listener: &TcpListener) -> Self {
        let mut command = Command::new("python3");
        command.arg("-c").arg(format!("{ORDERS}{program}"));
        command.arg(listener.local_addr().unwrap().port().to_string());
        let command = site.started_here(&mut command).stderr(Stdio::inherit());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, answers) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, orders, answers: BufReader::new(answers) }
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders.as_ref().unwrap(), "{order}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    fn number(&mut self, order: &str) -> u32 {
        self.order(order).parse().unwrap()
    }

    /// Has it end.
    fn end(mut self) {
        drop(self.orders.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Ordered {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn site() -> Site {
    Site::new(&[("a.bin", &pattern(0..LEN)), ("b.bin", &pattern(1..LEN))])
}

/// Takes what the next one sends, who stays connected.
fn taken(listener: &TcpListener, len: u64) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut peer = wait::until(PATIENCE, || listener.accept().ok()).expect("one connects").0;
    peer.set_nonblocking(false).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut got = vec![0; usize::try_from(len).unwrap()];
    peer.read_exact(&mut got).unwrap();
    peer
}

/// Waits until what begins now has another time of beginning than what has begun.
fn next_tick() {
    let tick = || {
        let now = clock_gettime(ClockId::Boottime);
        now.tv_sec * 100 + now.tv_nsec / 10_000_000
    };
    let before = tick();
    wait::until(PATIENCE, || (tick() > before).then_some(())).unwrap();
}

/// What is known of a child that ended, and of a stranger who has its number since.
fn given_again(tier: Tier) -> (Summary, Site, u32) {
    let (site, listener) = (site(), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let mut parent = Ordered::start(&site, PARENT, &listener);
    let mut stranger = Ordered::start(&site, STRANGER, &listener);
    let mut watch = Watch::start_within(parent.child.id(), tier).unwrap();
    assert_eq!(watch.tier(), tier, "{:?}", watch.tier_why());
    let number = parent.number("fork");
    let peer = taken(&listener, LEN);
    watch.look().unwrap();
    assert!(!watch.is_over());
    drop(peer);
    assert_eq!(parent.order("reap"), "reaped");
    next_tick();
    assert_eq!(stranger.number(&number.to_string()), number);
    let peer = taken(&listener, LEN - 1);
    let is_sh = || {
        let name = std::fs::read_to_string(format!("/proc/{number}/comm")).unwrap();
        (name == "sh\n").then_some(())
    };
    wait::until(PATIENCE, is_sh).unwrap();
    watch.look().unwrap();
    assert!(!watch.is_over(), "the parent is there");
    parent.end();
    watch.look().unwrap();
    assert!(watch.is_over(), "the stranger is none of its family");
    let summary = watch.summary().unwrap();
    drop(peer);
    stranger.end();
    (summary, site, number)
}

fn name_of(summary: &Summary, number: u32) -> &str {
    let (_, name) = summary.followed.iter().find(|(process, _)| *process == number).unwrap();
    name
}

#[test]
fn a_strangers_bytes_and_name_are_not_those_of_the_child_that_had_its_number() {
    require!(Root);
    require!(Program("python3"));
    let is_whole = |(summary, ..): &(Summary, Site, u32)| {
        totals(summary.report.as_ref().unwrap()).iter().sum::<u64>() >= LEN
    };
    let (summary, site, number) = tried(|| given_again(Tier::A), is_whole);
    let report = summary.report.as_ref().unwrap();
    assert_eq!(totals(report), [LEN, 0, 0, 0]);
    assert_eq!(rows(&report.files), [(site.name("a.bin").as_str(), LEN, 0)]);
    let name = name_of(&summary, number);
    assert!(name.starts_with("python3"), "{name}");
}

#[test]
fn a_strangers_counters_are_not_those_of_the_child_that_had_its_number() {
    require!(Root);
    require!(Program("python3"));
    let (summary, _, number) = given_again(Tier::C);
    let name = name_of(&summary, number);
    assert!(name.starts_with("python3"), "{name}");
    let counted = summary.counted.iter().find(|counted| counted.process == number).unwrap();
    assert!(counted.read_bytes < LEN + LEN / 2, "{counted:?}");
}

#[test]
fn the_number_of_one_that_had_ended_before_the_watch_is_not_followed() {
    require!(Root);
    require!(Program("python3"));
    let (site, listener) = (site(), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let mut parent = Ordered::start(&site, PARENT, &listener);
    let mut stranger = Ordered::start(&site, STRANGER, &listener);
    let number = parent.number("fork-and-end");
    let state = || std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap();
    wait::until(PATIENCE, || state().contains(") Z ").then_some(())).unwrap();
    let refused = Watch::start(number).unwrap_err().to_string();
    assert!(refused.contains(") has ended, and only its parent"), "{refused}");
    let mut watch = Watch::start(parent.child.id()).unwrap();
    let probe = Probe::load(Sight::Sending).unwrap();
    probe.follow(number).unwrap();
    assert_eq!(probe.followed().unwrap(), [number].into());
    for _ in 0..2 {
        probe.unfollow(number).unwrap();
        assert_eq!(probe.followed().unwrap(), [].into());
    }
    assert_eq!(parent.order("reap"), "reaped");
    assert_eq!(stranger.number(&number.to_string()), number);
    let peer = taken(&listener, LEN - 1);
    let report = watch.summary().unwrap().report.unwrap();
    assert_eq!(totals(&report), [0, 0, 0, 0], "{report:?}");
    drop(peer);
    stranger.end();
}

/// Opens a file, sends it by a number, and becomes another program when it is told: in a thread
/// that is not its first, which therefore is given the number of the process.
const BEFORE: &str = "
def become():
    os.dup2(os.open('www/a.bin', os.O_RDONLY), 50, inheritable=False)
    first = connect()
    os.dup2(first.fileno(), 100)
    at = 0
    while at < 1000003:
        at += os.sendfile(100, 50, at, 1000003 - at)
    sys.stdin.readline()
    os.execvp(sys.executable, [sys.executable, '-c', sys.argv[2]])
if sys.stdin.readline().strip() == 'thread':
    threading.Thread(target=become).start()
    while True:
        time.sleep(60)
become()
";

/// Has a pipe where the file was, and gives what it writes there to the socket that is left.
const AFTER: &str = "
import os
while os.memfd_create('below') < 49:
    pass
ends = os.pipe()
assert ends[0] == 50, ends
for _ in range(10):
    os.write(ends[1], bytes(5000))
    assert os.splice(ends[0], 100, 5000) == 5000
os.read(100, 1)
";

#[test]
fn a_process_that_becomes_another_program_is_followed_and_its_files_are_those_of_the_new_one() {
    require!(Root);
    require!(Program("python3"));
    for order in ["first", "thread"] {
        let (report, site) = tried(
            || became_another(order),
            |(report, _)| totals(report).iter().sum::<u64>() >= LEN + 50_000,
        );
        assert_eq!(totals(&report), [LEN, 0, 0, 50_000], "{order}");
        assert_eq!(rows(&report.files), [(site.name("a.bin").as_str(), LEN, 0)]);
    }
}

fn became_another(order: &str) -> (Report, Site) {
    let (site, listener) = (site(), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let mut command = Command::new("python3");
    command.arg("-c").arg(format!("{ORDERS}{BEFORE}"));
    command.arg(listener.local_addr().unwrap().port().to_string()).arg(AFTER);
    let command = site.started_here(&mut command).stderr(Stdio::inherit());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut watch = Watch::start(child.id()).unwrap();
    writeln!(child.stdin.as_ref().unwrap(), "{order}").unwrap();
    let mut peer = taken(&listener, LEN);
    watch.look().unwrap();
    writeln!(child.stdin.as_ref().unwrap(), "become").unwrap();
    let mut got = vec![0; 50_000];
    peer.read_exact(&mut got).unwrap();
    watch.look().unwrap();
    assert!(!watch.is_over());
    let report = watch.summary().unwrap().report.unwrap();
    drop(peer);
    assert!(child.wait().unwrap().success());
    watch.look().unwrap();
    assert!(watch.is_over());
    (report, site)
}

#[test]
fn the_newest_of_very_many_children_is_known_and_one_too_many_at_a_time_is_lost() {
    const MOST: u32 = 4_096;
    require!(Root);
    require!(RealProcessor);
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "read n; while [ $n -gt 0 ]; do (:); n=$((n-1)); done; exec 3<&0; cat <&3 & wait",
    ]);
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let probe = Probe::load(Sight::Sending).unwrap();
    probe.follow(shell.id()).unwrap();
    writeln!(shell.stdin.as_ref().unwrap(), "{}", MOST + 100).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", shell.id());
    let is_cat = || {
        let newest = std::fs::read_to_string(&children).unwrap().trim().parse().ok()?;
        let name = std::fs::read_to_string(format!("/proc/{newest}/comm")).ok()?;
        (name == "cat\n").then_some(newest)
    };
    let newest: u32 = wait::until(5 * PATIENCE, is_cat).unwrap();
    let seen = probe.evidence().unwrap();
    assert_eq!(seen.lost, 0);
    assert!(seen.processes.iter().any(|process| process.process == newest));
    assert_eq!(probe.followed().unwrap(), [shell.id(), newest].into());
    shell.kill().unwrap();
    shell.wait().unwrap();

    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", "read go; (:); read end"]).stdin(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let probe = Probe::load(Sight::Sending).unwrap();
    probe.follow(shell.id()).unwrap();
    // Beyond what pid_max may be.
    for process in 1..MOST {
        probe.follow((1 << 23) + process).unwrap();
    }
    writeln!(shell.stdin.as_ref().unwrap()).unwrap();
    let lost = || (probe.evidence().unwrap().lost > 0).then_some(());
    wait::until(PATIENCE, lost).unwrap();
    shell.kill().unwrap();
    shell.wait().unwrap();
}
