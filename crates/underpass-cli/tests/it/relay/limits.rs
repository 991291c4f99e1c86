//! Limits of the process and of what it is told: none of them is the targets' fault.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use underpass_testkit::wait;

use super::{PATIENCE, accept, connect, is_listening, listener, start, utf8};
use crate::running::Running;

/// More than tokio lets a task do before others have their turn.
const QUEUED: usize = 400;

#[test]
fn clients_that_wait_to_be_accepted_when_it_is_told_to_stop_are_served() {
    let (target, address) = listener();
    let relay = start(&["relay", "0", &address, "--max-connections", "1"]);
    let (first, first_server) = (connect(&relay), accept(&target));
    let clients: Vec<_> = (0..QUEUED).map(|_| connect(&relay)).collect();
    relay.signal(Signal::TERM);
    wait::until(PATIENCE, || (!is_listening(&relay)).then_some(())).expect("it stops");
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..QUEUED {
                let mut server = accept(&target);
                server.write_all(b"served").unwrap();
                server.shutdown(Shutdown::Write).unwrap();
                server.read_to_end(&mut Vec::new()).unwrap();
            }
        });
        drop((first, first_server));
        for (nth, mut client) in clients.into_iter().enumerate() {
            client.shutdown(Shutdown::Write).unwrap_or_default();
            let mut got = String::new();
            client.read_to_string(&mut got).unwrap_or_else(|error| panic!("{nth}: {error}"));
            assert_eq!(got, "served", "{nth}");
        }
    });
    assert_eq!(relay.end().0, Some(0));
}

#[test]
fn a_client_whose_turn_never_came_is_reset() {
    let (target, address) = listener();
    let relay = start(&["relay", "0", &address, "--max-connections", "1", "--grace", "50ms"]);
    let (_first, _server) = (connect(&relay), accept(&target));
    let mut waiting = connect(&relay);
    relay.signal(Signal::TERM);
    let error = waiting.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let (code, _, stderr) = relay.end();
    assert_eq!(code, Some(0));
    assert!(stderr.ends_with("2 connections were cut\n"), "{stderr}");
}

#[test]
fn a_relay_without_descriptors_does_not_take_its_targets_for_down() {
    let (target, address) = listener();
    let mut relay = start(&["relay", "0", &address, "--check", "10ms"]);
    let exchange = |relay: &Running| {
        let mut client = connect(relay);
        client.write_all(b"x").unwrap();
        // Checks connect too, and say nothing.
        while accept(&target).read(&mut [0]).unwrap() == 0 {}
    };
    exchange(&relay);
    let id = Pid::from_raw(relay.id().try_into().unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let before = prlimit(id, Resource::Nofile, Rlimit { current: Some(3), maximum }).unwrap();
    loop {
        let warning = relay.next_line();
        assert!(!warning.contains("is down"), "{warning}");
        if warning.contains("checks tell nothing: Too many open files") {
            break;
        }
        // The worker says that it has no room either.
        assert!(warning.contains("accepting pauses"), "{warning}");
    }
    prlimit(id, Resource::Nofile, before).unwrap();
    exchange(&relay);
}

#[test]
fn more_connections_than_there_can_be_files_are_not_promised() {
    let (_target, address) = listener();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 400; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_underpass")]);
    command.args(["relay", "0", &address, "--workers", "1", "--max-connections", "1000"]);
    let relay = Running::start(&mut command);
    // Less 64, and two for each of 50 pipes; two a connection.
    let warning = "open files allow 118 connections at a time, and not 1000";
    assert!(relay.line.contains(warning), "{}", relay.line);
}

#[test]
fn times_past_all_time_are_as_good_as_none() {
    let (target, address) = listener();
    let ages = "500000000000y";
    let relay = start(&["relay", "0", &address, "--idle-timeout", ages, "--grace", ages]);
    let (mut client, mut server) = (connect(&relay), accept(&target));
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    relay.signal(Signal::TERM);
    wait::until(PATIENCE, || (!is_listening(&relay)).then_some(())).expect("it stops");
    server.write_all(b"y").unwrap();
    client.read_exact(&mut [0]).unwrap();
    drop((client, server));
    let (code, _, stderr) = relay.end();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}

/// A file that is a pipe, or on a server that is gone, or names a host that does not resolve.
#[test]
fn a_file_of_targets_that_takes_long_to_read_keeps_nobody_from_stopping_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("targets");
    let (target, address) = listener();
    fs::write(&file, &address).unwrap();
    let relay = start(&["relay", "0", "--targets-file", utf8(&file), "--check", "off"]);
    let (client, server) = (connect(&relay), accept(&target));
    fs::remove_file(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    relay.signal(Signal::HUP);
    let flags = OFlags::WRONLY | OFlags::NONBLOCK;
    // open(2): ENXIO until somebody reads.
    let reading = wait::until(PATIENCE, || rustix::fs::open(&file, flags, Mode::empty()).ok());
    let _reading = reading.expect("the file is read");
    relay.signal(Signal::TERM);
    wait::until(PATIENCE, || (!is_listening(&relay)).then_some(())).expect("it stops");
    drop((client, server));
    assert_eq!(relay.end().0, Some(0));
}
