//! `underpass log groups` of a running server, with a consumer group of kcat.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use underpass_testkit::log::batch::{self, Sequence};
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, wait};

use crate::log_server::Log;

const PATIENCE: Duration = Duration::from_secs(60);

const TIME: i64 = 1_700_000_000_000;

/// A consumer of the group `g`, which commits what it has read; killed with the test.
struct Consumer(Child);

impl Consumer {
    fn start(log: &Log) -> Self {
        let mut kcat = Command::new("kcat");
        kcat.args(["-b", &log.address.to_string(), "-q", "-u", "-X", "auto.offset.reset=earliest"]);
        kcat.args(["-X", "auto.commit.interval.ms=50", "-X", "client.id=reader", "-G", "g", "t"]);
        Self(kcat.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// The next records.
    fn values(&mut self, count: usize) -> Vec<String> {
        let lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
        lines.take(count).map(Result::unwrap).collect()
    }

    /// Has it commit and leave the group.
    fn leave(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
}

/// A server with a topic `t` whose partition 1 has three records.
fn log_of_three(data: &std::path::Path) -> Log {
    let log = Log::start(data, &["--group-delay", "off"]);
    let mut client = log.client();
    assert_eq!(client.create_topic("t", 2, &[]).unwrap(), 0);
    let batch = batch::of(&["a", "b", "c"], TIME, Sequence::NONE);
    assert_eq!(client.produce("t", 1, -1, &batch).unwrap().error, 0);
    log
}

/// What a command prints that succeeds.
fn printed(log: &Log, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = log.says(arguments);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    stdout
}

fn wait_for(log: &Log, arguments: &[&str], wanted: &str) {
    let mut last = String::new();
    let found = wait::until(PATIENCE, || {
        last = printed(log, arguments);
        last.contains(wanted).then_some(())
    });
    assert!(found.is_some(), "no {wanted} in {last}");
}

const LIST: &str = "\
GROUP                                            STATE                TYPE
";

const HEADING: &str =
    "  TOPIC-PARTITION                            OFFSET          END          LAG
";

#[test]
fn a_group_that_reads_is_shown_and_not_touched() {
    require!(Capability::Program("kcat"));
    let dir = tempfile::tempdir().unwrap();
    let log = log_of_three(&dir.path().join("data"));
    assert_eq!(printed(&log, &["groups", "list"]), LIST);
    let mut consumer = Consumer::start(&log);
    assert_eq!(consumer.values(3), ["a", "b", "c"]);
    let describe = ["groups", "describe", "g", "--json"];
    wait_for(&log, &describe, r#""lag":0,"#);
    let json: serde_json::Value = serde_json::from_str(&printed(&log, &describe)).unwrap();
    let member = &json["members"][0];
    assert_eq!((&json["state"], &member["clientId"]), (&"Stable".into(), &"reader".into()));
    assert_eq!(member["clientHost"], "/127.0.0.1");
    let read = json["partitions"].as_array().unwrap().iter().find(|one| one["partition"] == 1);
    let read = read.unwrap();
    assert_eq!(
        (&read["topic"], &read["offset"], &read["endOffset"]),
        (&"t".into(), &3.into(), &3.into())
    );
    assert_eq!(read["memberId"], member["memberId"]);
    let listed = format!("{LIST}{:<48} {:<20} consumer\n", "g", "Stable");
    assert_eq!(printed(&log, &["groups", "list"]), listed);
    let said = "underpass log: g has members (1): stop them first\n";
    for arguments in
        [&["groups", "reset", "g", "--topic", "t", "--to", "start"][..], &["groups", "delete", "g"]]
    {
        assert_eq!(log.says(arguments), (Some(1), String::new(), said.to_owned()));
    }
    assert_eq!(printed(&log, &["groups", "list"]), listed);
}

#[test]
fn a_group_whose_members_have_left_is_moved_continues_there_and_is_deleted() {
    require!(Capability::Program("kcat"));
    let dir = tempfile::tempdir().unwrap();
    let log = log_of_three(&dir.path().join("data"));
    let mut consumer = Consumer::start(&log);
    assert_eq!(consumer.values(3), ["a", "b", "c"]);
    wait_for(&log, &["groups", "describe", "g", "--json"], r#""lag":0,"#);
    consumer.leave();
    wait_for(&log, &["groups", "list"], "Empty");
    let described = |offset: i64| {
        let lag = 3 - offset;
        format!("g: Empty, 0 members\n{HEADING}  {:<36} {offset:>12} {:>12} {lag:>12}\n", "t-1", 3)
    };
    let describe = ["groups", "describe", "g"];
    assert_eq!(printed(&log, &describe), described(3));
    let moved = format!("{:<48} {:>20}\n{:<48} {:>20}\n", "TOPIC-PARTITION", "OFFSET", "t-1", 1);
    let reset = ["groups", "reset", "g", "--topic", "t:1", "--to", "1"];
    assert_eq!(printed(&log, &[&reset[..], &["--dry-run"]].concat()), moved);
    assert_eq!(printed(&log, &describe), described(3));
    assert_eq!(printed(&log, &reset), moved);
    assert_eq!(printed(&log, &describe), described(1));
    let mut consumer = Consumer::start(&log);
    assert_eq!(consumer.values(2), ["b", "c"]);
    consumer.leave();
    wait_for(&log, &["groups", "list"], "Empty");
    assert_eq!(printed(&log, &["groups", "delete", "g"]), "");
    assert_eq!(printed(&log, &["groups", "list"]), LIST);
    let said = "underpass log: there is no group g\n";
    assert_eq!(log.says(&describe), (Some(1), String::new(), said.to_owned()));
}
