//! What files and programs are called, as the kernel tells when they are used.
//!
//! Source: execve(2); proc_pid_mountinfo(5).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use linux_raw_sys::general as nr;
use underpass_measure::{Evidence, FileKind, Memory, Probe, Process, Sight};
use underpass_testkit::disk::disk_dir;
use underpass_testkit::network::Link;
use underpass_testkit::payload::pattern;
use underpass_testkit::senders::{Load, Peer, Receiving, Sending};
use underpass_testkit::skip::{Capability::Root, Missing};
use underpass_testkit::{require, wait};

use crate::matrix::{by_origin, file_id, page_cache};
use crate::matrix_peers::{Pair, patterned, program};

const LEN: u64 = 100_003;

const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than what the kernel's side has room for.
const LONG: usize = 127;

/// As long as a digest by SHA-256.
const DIGEST: usize = 64;

#[test]
fn a_file_has_the_name_it_was_used_by_even_after_it_was_closed_and_never_a_part_of_it() {
    require!(Root);
    let program = require!(program());
    let link = Link::loopback();
    for way in [Sending::Sendfile, Sending::MappedWrite] {
        let (file, gone) = (patterned(LEN), patterned(LEN));
        let directory = tempfile::tempdir_in(disk_dir().unwrap().canonicalize().unwrap()).unwrap();
        let named = |len| {
            let path = directory.path().join("x".repeat(len));
            std::fs::copy(file.path(), &path).unwrap();
            path
        };
        let (digest, long) = (named(DIGEST), named(LONG));
        let mut pair = Pair::start(&program, &link);
        let probe = Probe::load(Sight::Sending).unwrap();
        probe.follow(pair.sender.id()).unwrap();
        pair.connect(&link);
        for path in [file.path(), gone.path(), &digest, &long] {
            pair.transfer(way, path, &Load::whole(LEN), Receiving::Copy);
        }
        pair.close();
        let ids = [file.path(), gone.path(), &digest, &long].map(file_id);
        std::fs::remove_file(gone.path()).unwrap();
        std::fs::write(gone.path(), "another").unwrap();
        let evidence = probe.evidence().unwrap();
        let name = |at: usize| evidence.names.get(&ids[at]).map(|name| (&*name.path, name.bytes));
        assert_eq!(name(0), Some((file.path(), LEN)), "{way}");
        assert_eq!(name(2), Some((&*digest, LEN)), "{way}");
        assert_eq!((name(1), name(3)), (None, None), "{way}");
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

/// On overlayfs, as containers have it, pages and areas are of the file beneath.
#[test]
fn in_a_container_files_and_programs_are_those_beneath_and_have_the_names_it_sees() {
    require!(Root);
    let (program, link) = (require!(program()), Link::loopback());
    let directory = tempfile::tempdir_in(disk_dir().unwrap().canonicalize().unwrap()).unwrap();
    let within = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(within(name)).unwrap();
    }
    std::fs::copy(program.path(), within("lower/sender")).unwrap();
    std::fs::write(within("lower/file"), pattern(0..LEN)).unwrap();
    let options = "-t overlay -o lowerdir=lower,upperdir=upper,workdir=work";
    let mount = format!("cd {} && mount {options} it merged", within(""));
    let tried = Command::new("unshare").args(["-m", "sh", "-c", &mount]).status();
    let is_mounted = tried.is_ok_and(|status| status.success());
    require!(is_mounted.then_some(()).ok_or_else(|| Missing::new("overlayfs is not there")));
    let mut contained = Command::new("unshare");
    contained.args(["-m", "sh", "-c", &format!("{mount} && exec merged/sender")]);
    let receiver = Peer::start(&program, link.far()).unwrap();
    let mut pair = Pair { sender: Peer::spawn(contained).unwrap(), receiver };
    let probe = Probe::load(Sight::Sending).unwrap();
    let sender = pair.sender.id();
    // It answers as soon as it is the program.
    pair.connect(&link);
    probe.follow(sender).unwrap();
    let (seen, id) = (PathBuf::from(within("merged/file")), file_id(within("lower/file").as_ref()));
    let load = Load { header_bytes: 200, ..Load::whole(LEN) };
    for way in [Sending::Sendfile, Sending::MappedWrite, Sending::ReadWrite] {
        pair.transfer(way, &seen, &load, Receiving::Copy);
    }
    pair.receiver.begin_receiving(Receiving::Truncate, &Load::whole(200 + LEN)).unwrap();
    pair.sender.begin_gathering((200, 1), false, &[&seen]).unwrap();
    pair.sender.sent().unwrap();
    pair.receiver.received().unwrap();
    let evidence = probe.evidence().unwrap();
    assert_eq!(evidence.names.get(&id).map(|name| (&name.path, name.bytes)), Some((&seen, LEN)));
    let rows = evidence.calls.iter().filter(|row| row.process == sender && row.bytes > 0);
    let to_socket = rows.filter(|row| row.target.is_some_and(|to| to.kind == FileKind::Socket));
    let mut sums: BTreeMap<_, u64> = BTreeMap::new();
    for row in to_socket {
        *sums.entry((row.source, row.memory)).or_default() += row.bytes;
    }
    let expected = [
        ((Some(id), Memory::None), LEN),
        ((None, Memory::Own), 4 * 200 + LEN),
        ((None, Memory::File(id)), 2 * LEN),
    ];
    assert_eq!(sums, expected.into());
    assert!(by_origin(&evidence.sockets[0].sent)[&page_cache(id)] >= LEN);
    assert!(evidence.mapped.iter().any(|mapped| mapped.file == id && !mapped.is_program));
}

#[test]
fn libraries_are_told_once_and_not_for_each_process_that_loads_them() {
    require!(Root);
    let script = "read a; for i in 1 2 3 4 5 6 7 8; do /bin/sh -c 'exit 0'; done";
    let mut shell = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    let probe = Probe::load(Sight::Sending).unwrap();
    probe.follow(shell.id()).unwrap();
    drop(shell.stdin.take());
    shell.wait().unwrap();
    let evidence = probe.evidence().unwrap();
    require!(evidence.mapped.first().ok_or_else(|| Missing::new("sh has no libraries")));
    let programs: Vec<_> = evidence.mapped.iter().filter(|mapped| mapped.is_program).collect();
    assert!(!programs.is_empty(), "{:?}", evidence.mapped);
    for program in programs {
        assert_eq!(program.process, 0, "{program:?}");
        let others = evidence.mapped.iter().filter(|mapped| mapped.file == program.file);
        assert!(others.count() <= 2, "{:?}", evidence.mapped);
        let heads = evidence.calls.iter().filter(|row| row.source == Some(program.file));
        let readers: BTreeSet<u32> = heads.map(|row| row.process).collect();
        assert!(readers.len() <= 1, "{program:?} of {readers:?}");
    }
}
