//! What files and programs are called, as the kernel tells when they are used.
//!
//! Source: execve(2); proc_pid_mountinfo(5).

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use linux_raw_sys::general as nr;
use underpass_measure::{Evidence, Probe, Process, Sight};
use underpass_testkit::disk::disk_dir;
use underpass_testkit::network::Link;
use underpass_testkit::senders::{Load, Receiving, Sending};
use underpass_testkit::skip::Capability::Root;
use underpass_testkit::{require, wait};

use crate::matrix::file_id;
use crate::matrix_peers::{Pair, patterned, program};

const LEN: u64 = 100_003;

const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than what the kernel's side has room for.
const LONG: usize = 80;

#[test]
fn a_file_has_the_name_it_was_used_by_even_after_it_was_closed_and_never_a_part_of_it() {
    require!(Root);
    let program = require!(program());
    let link = Link::loopback();
    for way in [Sending::Sendfile, Sending::MappedWrite] {
        let (file, gone) = (patterned(LEN), patterned(LEN));
        let directory = tempfile::tempdir_in(disk_dir().unwrap().canonicalize().unwrap()).unwrap();
        let long = directory.path().join("x".repeat(LONG));
        std::fs::copy(file.path(), &long).unwrap();
        let mut pair = Pair::start(&program, &link);
        let probe = Probe::load(Sight::Sending).unwrap();
        probe.follow(pair.sender.id()).unwrap();
        pair.connect(&link);
        for path in [file.path(), gone.path(), &long] {
            pair.transfer(way, path, &Load::whole(LEN), Receiving::Copy);
        }
        pair.close();
        let ids = [file.path(), gone.path(), &long].map(file_id);
        std::fs::remove_file(gone.path()).unwrap();
        std::fs::write(gone.path(), "another").unwrap();
        let evidence = probe.evidence().unwrap();
        assert_eq!(
            evidence.names.get(&ids[0]).map(|name| (&*name.path, name.bytes)),
            Some((file.path(), LEN)),
            "{way}"
        );
        assert_eq!(evidence.names.get(&ids[1]), None, "{way}");
        assert_eq!(evidence.names.get(&ids[2]), None, "{way}");
    }
}

fn process_of(evidence: &Evidence, number: u32) -> Process {
    let mut found = evidence.processes.iter().filter(|process| process.process == number);
    found.next().unwrap_or_else(|| panic!("no {number} in {:?}", evidence.processes)).clone()
}

#[test]
fn a_process_has_the_name_of_what_it_executed_last_and_its_child_that_of_its_parent() {
    require!(Root);
    let program = require!(program());
    let path = program.path().to_str().unwrap();
    let mut shell = Command::new("sh")
        .args(["-c", "read a; (read b </dev/null; :); read b; exec \"$0\"", path])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let probe = Probe::load(Sight::Sending).unwrap();
    let number = shell.id();
    let of_shell = std::fs::read_link(format!("/proc/{number}/exe")).unwrap();
    let of_shell = of_shell.file_name().unwrap().to_str().unwrap().to_owned();
    probe.follow(number).unwrap();
    assert_eq!(process_of(&probe.evidence().unwrap(), number).program, of_shell);
    let mut orders = shell.stdin.take().unwrap();
    orders.write_all(b"\n").unwrap();
    let child = wait::until(PATIENCE, || {
        let processes = probe.evidence().unwrap().processes;
        processes.into_iter().find(|process| process.process != number && process.has_ended)
    });
    let child = child.unwrap();
    assert_eq!(child.program, of_shell);
    orders.write_all(b"\n").unwrap();
    let name = program.path().file_name().unwrap().to_str().unwrap();
    let executed = wait::until(PATIENCE, || {
        let process = process_of(&probe.evidence().unwrap(), number);
        (process.program != of_shell).then_some(process)
    });
    let executed = executed.unwrap();
    assert_eq!((executed.program.as_str(), executed.has_ended), (name, false));
    drop(orders);
    shell.wait().unwrap();
    let ended = process_of(&probe.evidence().unwrap(), number);
    assert_eq!((ended.program.as_str(), ended.has_ended), (name, true));
}

#[test]
fn a_call_of_a_32_bit_process_is_not_taken_for_another() {
    require!(Root);
    let program = require!(program());
    let link = Link::loopback();
    let mut pair = Pair::start(&program, &link);
    let probe = Probe::load(Sight::Sending).unwrap();
    let number = pair.sender.id();
    probe.follow(number).unwrap();
    assert!(!process_of(&probe.evidence().unwrap(), number).is_32_bit);
    let answered = pair.sender.ask_as_32_bit().ok();
    // Without such calls (CONFIG_IA32_EMULATION) there is nothing to be told apart.
    let evidence = probe.evidence().unwrap();
    let has_such_calls = answered == Some(i64::from(number));
    assert_eq!(process_of(&evidence, number).is_32_bit, has_such_calls, "{answered:?}");
    assert!(!evidence.calls.iter().any(|row| row.number == nr::__NR_writev));
}
