//! SIGKILL and SIGSTOP at any moment.

use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::disk::power::stop;

use super::broker::Broker;

#[test]
fn killed_at_any_moment_it_keeps_what_it_acknowledged_and_gives_no_offset_twice() {
    for acks in [-1, 1] {
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Broker::start(dir.path(), &[]);
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
    for pause_us in (0..20).map(|nth| nth * 500) {
        let mut command = crate::running::program();
        command.arg("log").arg("--data").arg(dir.path()).args(["--listen", "127.0.0.1:0"]);
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::park_timeout(Duration::from_micros(pause_us));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let broker = Broker::start(dir.path(), &[]);
    workload.moved_to(broker.address);
    workload.wait_for(100);
    workload.finish().unwrap().assert_sound();
    broker.stop_and_check();
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
    workload.finish().unwrap().assert_sound();
    broker.stop_and_check();
}
