//! The server as a child, started again and again on one directory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use underpass_testkit::log::batch::{self, Sequence};
use underpass_testkit::log::client::{Client, Fetch};
use underpass_testkit::log::workload::{Producing, Topic, Workload};

use crate::running::{Running, program};

/// A running server.
pub(super) struct Broker {
    running: Running,
    /// What it said before it listened.
    pub(super) said: String,
    pub(super) address: SocketAddr,
    data: PathBuf,
    flags: Vec<String>,
}

impl Broker {
    pub(super) fn start(data: &Path, flags: &[&str]) -> Self {
        Self::start_as(data, flags, |program| program)
    }

    /// Starts it through another command, such as one in a namespace.
    pub(super) fn start_as(
        data: &Path,
        flags: &[&str],
        wrap: impl FnOnce(Command) -> Command,
    ) -> Self {
        let mut command = wrap(program());
        command.arg("log").arg("--data").arg(data).args(flags);
        for (flag, value) in [("--listen", "127.0.0.1:0"), ("--workers", "1")] {
            if !flags.contains(&flag) {
                command.args([flag, value]);
            }
        }
        let mut running = Running::start(&mut command);
        let mut said = String::new();
        let address = loop {
            if let Some(address) = address_in(&running.line) {
                break address;
            }
            assert!(!running.line.is_empty(), "it ends instead of listening");
            said += &running.line;
            running.line = running.next_line();
        };
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self { running, said, address, data: data.to_owned(), flags }
    }

    pub(super) fn id(&self) -> u32 {
        self.running.id()
    }

    /// The next line that it says.
    pub(super) fn next_line(&mut self) -> String {
        self.running.next_line()
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// Creates a topic of this name.
    pub(super) fn create(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        assert_eq!(self.client().create_topic(name, partitions, configs).unwrap(), 0);
    }

    /// Creates a topic of three partitions, and starts producers and consumers of it.
    pub(super) fn workload(&self, acks: i16, configs: &[(&str, &str)]) -> Workload {
        self.create("t", 3, configs);
        let topic = Topic { name: "t".to_owned(), partitions: 3, acks };
        Workload::start(topic, self.address, &Producing::MIXED, 2)
    }

    /// Kills it with SIGKILL.
    pub(super) fn kill(self) -> (PathBuf, Vec<String>) {
        self.running.signal(Signal::KILL);
        let (code, _, _) = self.running.end();
        assert_eq!(code, None);
        (self.data, self.flags)
    }

    /// Kills it, and starts it on what it left.
    pub(super) fn killed_and_started(self, workload: &Workload) -> Self {
        let (data, flags) = self.kill();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let next = Self::start(&data, &flags);
        workload.moved_to(next.address);
        next
    }

    /// Ends it with SIGTERM; it must end well. Then `underpass log check` must find nothing.
    pub(super) fn stop_and_check(self) {
        self.running.signal(Signal::TERM);
        let (code, _, stderr) = self.running.end();
        assert_eq!(code, Some(0), "{stderr}");
        check(&self.data);
    }

    /// Has `underpass log check` find nothing while nothing is appended.
    pub(super) fn check(&self) {
        check(&self.data);
    }

    /// Processor time that it has used, in milliseconds.
    pub(super) fn cpu_ms(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = rest.split(' ').collect();
        // proc_pid_stat(5): utime and stime are fields 14 and 15 of all, in ticks of 10 ms.
        [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap() * 10).sum()
    }
}

/// `underpass log check` must find nothing.
fn check(data: &Path) {
    let check = program().args(["log", "check"]).arg(data).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success(), "{said}{}", String::from_utf8_lossy(&check.stderr));
}

/// The first address with a port in a line.
fn address_in(line: &str) -> Option<SocketAddr> {
    let words = line.split([' ', '/', ',']);
    words.map(str::trim).find_map(|word| word.trim_end_matches(['.', ':']).parse().ok())
}

/// A fetch of partition 0 of `t` that is answered at once.
pub(super) const fn fetch(offset: i64, max_bytes: i32) -> Fetch<'static> {
    Fetch {
        topic: "t",
        partition: 0,
        offset,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes,
        leader_epoch: -1,
    }
}

/// A batch of one record of this many bytes.
pub(super) fn batch_of(bytes: usize) -> Vec<u8> {
    batch::of(&[vec![7; bytes]], 0, Sequence::NONE)
}
