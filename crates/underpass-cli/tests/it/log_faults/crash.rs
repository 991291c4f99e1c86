//! SIGKILL and SIGSTOP at any moment.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::disk::power::stop;

use super::broker::{Broker, batch_of};

#[test]
fn killed_at_any_moment_it_keeps_what_it_acknowledged_and_gives_no_offset_twice() {
    let written = ["--acks", "written", "--reads", "written"];
    for (acks, flags) in [(-1, &[][..]), (1, &[]), (1, &written)] {
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Broker::start(dir.path(), flags);
        let workload = broker.workload(acks, &[("segment.bytes", "65536")]);
        for round in 0..8 {
            workload.wait_for(100 + 37 * round);
            broker = broker.killed_and_started(&workload);
        }
        workload.wait_for(100);
        let history = workload.finish().unwrap();
        history.assert_sound();
        broker.stop_and_check();
    }
}

#[test]
fn killed_while_it_recovers_it_recovers_again() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let workload = broker.workload(-1, &[("segment.bytes", "65536")]);
    workload.wait_for(2_000);
    broker.kill();
    tear(dir.path());
    for pause_us in (0..20).map(|nth| nth * 500) {
        let mut command = crate::running::program();
        command.arg("log").arg("--data").arg(dir.path()).args(["--listen", "127.0.0.1:0"]);
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::park_timeout(Duration::from_micros(pause_us));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    tear(dir.path());
    let broker = Broker::start(dir.path(), &[]);
    assert_eq!(broker.said.matches("cut ").count(), 3, "{}", broker.said);
    broker.check();
    workload.moved_to(broker.address);
    workload.wait_for(100);
    workload.finish().unwrap().assert_sound();
    broker.stop_and_check();
}

/// Appends to each partition what a write that was cut short leaves.
fn tear(data: &Path) {
    for index in 0..3 {
        let dir = data.join(format!("t-{index}"));
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let logs = names.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
        let mut last = fs::File::options().append(true).open(logs.max().unwrap()).unwrap();
        last.write_all(&batch_of(100)[..99]).unwrap();
    }
}

#[test]
fn stopped_for_a_while_it_continues_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let workload = broker.workload(-1, &[]);
    for _ in 0..5 {
        workload.wait_for(100);
        stop(broker.id()).unwrap();
        broker.signal(Signal::CONT);
    }
    workload.wait_for(100);
    let history = workload.finish().unwrap();
    history.assert_sound();
    assert!(history.unknown.is_empty(), "a connection was dropped");
    broker.stop_and_check();
}
