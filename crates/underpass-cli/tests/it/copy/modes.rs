//! Who may read a copy, and what a replaced file keeps: as cp(1), and at no time wider.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, getxattr, setxattr};
use rustix::process::Signal;
use underpass_testkit::disk::disk_dir;
use underpass_testkit::require;
use underpass_testkit::skip::Capability;
use underpass_testkit::wait;

use super::{assert_payload, command, failure, mode, names, patterned, report, utf8, with_mode};
use crate::running::{Running, as_nobody, for_everybody};

/// linux/posix_acl_xattr.h: version 2, then tag, permissions and id: the owner rw, user 1001 rw,
/// the group nothing, mask rw, others nothing.
const ACL: [u8; 44] = [
    2, 0, 0, 0, //
    1, 0, 6, 0, 255, 255, 255, 255, //
    2, 0, 6, 0, 0xe9, 3, 0, 0, //
    4, 0, 0, 0, 255, 255, 255, 255, //
    16, 0, 6, 0, 255, 255, 255, 255, //
    32, 0, 0, 0, 255, 255, 255, 255,
];

fn disk() -> tempfile::TempDir {
    tempfile::tempdir_in(disk_dir().unwrap().canonicalize().unwrap()).unwrap()
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let len = getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

/// The one name in the directory other than `from`, once it is there.
fn other_name(dir: &Path) -> PathBuf {
    let found = || names(dir).into_iter().find(|name| name != "from" && name != "to");
    let name = wait::until(Duration::from_secs(60), found).expect("the copy makes a file");
    dir.join(name)
}

/// Without unnamed files, as on NFS or FUSE.
fn without_unnamed(dir: &Path, arguments: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-P", utf8(dir), "-e", "trace=openat"]);
    strace.args(["-e", "inject=openat:error=EOPNOTSUPP", env!("CARGO_BIN_EXE_underpass")]);
    strace.arg("copy").args(arguments);
    strace
}

#[test]
fn at_no_time_can_others_read_a_copy_of_a_private_file() {
    require!(Capability::Program("strace"));
    for (flag, is_hidden, kept) in [
        ("--resume", false, Some("to.part")),
        ("--no-atomic", false, Some("to")),
        ("-q", true, None),
    ] {
        let dir = disk();
        let (from, to) = (patterned(dir.path(), "from", 2_000_000), dir.path().join("to"));
        with_mode(&from, 0o600);
        let arguments = ["--limit-rate", "1M", flag, utf8(&from), utf8(&to)];
        let mut copy = match is_hidden {
            true => without_unnamed(dir.path(), &arguments),
            false => command(&arguments),
        };
        let running = Running::quiet(&mut copy);
        let made = match kept {
            Some(name) => {
                let path = dir.path().join(name);
                let there = wait::until(Duration::from_secs(60), || path.exists().then_some(()));
                there.expect("the copy makes a file");
                path
            }
            None => other_name(dir.path()),
        };
        assert_eq!(mode(&made), 0o600, "{flag}");
        if kept.is_some() {
            running.signal(Signal::INT);
            assert_eq!(running.end().0, Some(130), "{flag}");
            assert_eq!(mode(&made), 0o600, "{flag}");
            std::fs::remove_file(&made).unwrap();
        } else {
            assert_eq!(running.end().0, Some(0), "{flag}");
            assert_eq!((names(dir.path()).len(), mode(&to)), (2, 0o600));
        }
    }
}

#[test]
fn what_takes_the_place_of_a_private_file_is_private_until_it_does() {
    require!(Capability::Program("strace"));
    for flag in ["--resume", "-q"] {
        let dir = disk();
        let from = patterned(dir.path(), "from", 2_000_000);
        let to = patterned(dir.path(), "to", 3_000_000);
        with_mode(&from, 0o644);
        with_mode(&to, 0o640);
        // With --resume a longer file at the target would be a part.
        let part = dir.path().join("to.part");
        if flag == "--resume" {
            std::fs::write(&part, "").unwrap();
            with_mode(&part, 0o666);
        }
        let arguments = ["--limit-rate", "1M", flag, utf8(&from), utf8(&to)];
        let running = Running::quiet(&mut without_unnamed(dir.path(), &arguments));
        let made = other_name(dir.path());
        let narrow = || (mode(&made) == 0o600).then_some(());
        wait::until(Duration::from_secs(60), narrow).expect("it is the owner's alone");
        assert_eq!(running.end().0, Some(0));
        assert_eq!((names(dir.path()), mode(&to)), (vec!["from".into(), "to".into()], 0o640));
    }
}

#[test]
fn a_file_that_is_there_keeps_its_mode_and_a_new_one_gets_its_sources() {
    let dir = disk();
    let from = patterned(dir.path(), "from", 10_000);
    let to = dir.path().join("to");
    for (of_source, of_target) in [(0o644, 0o600), (0o600, 0o664), (0o400, 0o640)] {
        with_mode(&from, of_source);
        for flag in ["--fsync", "--no-atomic", "--resume"] {
            // With --resume, a shorter target is a part.
            patterned(dir.path(), "to", 1_000);
            with_mode(&to, of_target);
            report(&[flag, utf8(&from), utf8(&to)]);
            assert_eq!(mode(&to), of_target, "{flag}");
            std::fs::remove_file(&to).unwrap();
            report(&[flag, utf8(&from), utf8(&to)]);
            assert_eq!(mode(&to), of_source, "{flag}");
            assert_payload(&to, 0, 10_000);
        }
    }
}

#[test]
fn what_is_read_as_a_stream_gives_its_mode_as_well() {
    let dir = disk();
    let (empty, fifo, to) = (dir.path().join("e"), dir.path().join("f"), dir.path().join("to"));
    std::fs::write(&empty, "").unwrap();
    with_mode(&empty, 0o600);
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let writer = fifo.clone();
    let writer = std::thread::spawn(move || std::fs::write(writer, "secret").unwrap());
    for from in [&empty, &fifo] {
        report(&[utf8(from), utf8(&to)]);
        assert_eq!(mode(&to), 0o600, "{}", from.display());
        std::fs::remove_file(&to).unwrap();
    }
    writer.join().unwrap();
}

#[test]
fn a_private_file_is_not_copied_into_the_part_of_another_user() {
    require!(Capability::Root);
    let dir = disk();
    let (from, to) = (patterned(dir.path(), "from", 10), dir.path().join("to"));
    let part = patterned(dir.path(), "to.part", 0);
    chown(&part, Some(1001), Some(1001)).unwrap();
    with_mode(&from, 0o640);
    let (code, line) = failure(&["--resume", utf8(&from), utf8(&to)]);
    assert!(
        code == Some(1) && line.contains("to.part belongs to another user, who could"),
        "{line}"
    );
    assert_eq!((part.metadata().unwrap().len(), to.exists()), (0, false));
    with_mode(&from, 0o644);
    report(&["--resume", utf8(&from), utf8(&to)]);
    assert_payload(&to, 0, 10);
}

#[test]
fn a_replaced_file_keeps_owner_group_and_attributes_but_no_capabilities() {
    require!(Capability::Root);
    let dir = disk();
    let from = patterned(dir.path(), "from", 10);
    let to = patterned(dir.path(), "to", 5);
    chown(&to, Some(1001), Some(1002)).unwrap();
    with_mode(&to, 0o6755);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let none = XattrFlags::empty();
    setxattr(&to, "user.note", b"kept", none).unwrap();
    setxattr(&to, "security.capability", &capability, none).unwrap();
    report(&[utf8(&from), utf8(&to)]);
    let found = to.metadata().unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (1001, 1002, 0o6755));
    assert_eq!(attribute(&to, "user.note").unwrap(), b"kept");
    assert_eq!(attribute(&to, "security.capability"), None);
    setxattr(&to, "system.posix_acl_access", &ACL, none).unwrap();
    report(&[utf8(&from), utf8(&to)]);
    assert_eq!(attribute(&to, "system.posix_acl_access").unwrap(), ACL);
    assert_payload(&to, 0, 10);
}

#[test]
fn one_who_cannot_keep_owner_and_group_gives_the_new_group_no_more_than_others() {
    require!(Capability::Root);
    require!(Capability::Program("setpriv"));
    let (dir, program) = for_everybody();
    with_mode(dir.path(), 0o777);
    let (from, to) = (patterned(dir.path(), "from", 10), patterned(dir.path(), "to", 5));
    chown(&to, Some(1001), Some(1002)).unwrap();
    with_mode(&to, 0o6676);
    setxattr(&to, "user.note", b"kept", XattrFlags::empty()).unwrap();
    let copy = as_nobody(&[], &program).args(["copy", utf8(&from), utf8(&to)]).output().unwrap();
    let lines = String::from_utf8(copy.stderr).unwrap();
    assert_eq!(copy.status.code(), Some(0), "{lines}");
    assert!(lines.contains("/to could not get its owner: Operation not permitted"), "{lines}");
    let found = to.metadata().unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (65534, 65534, 0o666));
    assert_eq!(attribute(&to, "user.note").unwrap(), b"kept");
    // write(2) would take the bits off the user's own file too.
    let own = patterned(dir.path(), "own", 5);
    chown(&own, Some(65534), Some(65534)).unwrap();
    with_mode(&own, 0o4755);
    let copy = as_nobody(&[], &program).args(["copy", "-q", utf8(&from), utf8(&own)]).status();
    assert_eq!((copy.unwrap().code(), mode(&own)), (Some(0), 0o755));
    // Without the rename, there is nothing to set.
    chown(&to, Some(1001), Some(1002)).unwrap();
    let mut command = as_nobody(&[], &program);
    let copy = command.args(["copy", "-q", "--no-atomic", utf8(&from), utf8(&to)]).output();
    let copy = copy.unwrap();
    assert_eq!((copy.status.code(), copy.stderr), (Some(0), Vec::new()));
    assert_eq!((to.metadata().unwrap().uid(), mode(&to)), (1001, 0o666));
    assert_payload(&to, 0, 10);
}

#[test]
fn an_acl_does_not_open_the_copy_to_the_group_and_a_folders_default_goes_to_new_files_only() {
    let dir = disk();
    let from = patterned(dir.path(), "from", 10);
    with_mode(&from, 0o600);
    setxattr(&from, "system.posix_acl_access", &ACL, XattrFlags::empty()).unwrap();
    assert_eq!(mode(&from), 0o660);
    let to = dir.path().join("to");
    for flag in ["--fsync", "--no-atomic", "--resume"] {
        report(&[flag, utf8(&from), utf8(&to)]);
        assert_eq!(mode(&to), 0o600, "{flag}");
        std::fs::remove_file(&to).unwrap();
    }
    let old = patterned(dir.path(), "old", 5);
    with_mode(&old, 0o640);
    setxattr(dir.path(), "system.posix_acl_default", &ACL, XattrFlags::empty()).unwrap();
    report(&[utf8(&from), utf8(&old)]);
    assert_eq!((mode(&old), attribute(&old, "system.posix_acl_access")), (0o640, None));
    with_mode(&from, 0o640);
    report(&[utf8(&from), utf8(&to)]);
    assert!(attribute(&to, "system.posix_acl_access").is_some());
    assert_eq!(mode(&to), 0o600);
}

#[test]
fn the_longest_names_can_be_replaced_with_unnamed_files_and_without() {
    require!(Capability::Program("strace"));
    let dir = disk();
    let from = patterned(dir.path(), "from", 10);
    let to = dir.path().join("ä".repeat(127) + "x");
    assert_eq!(to.file_name().unwrap().len(), 255);
    for _ in 0..2 {
        report(&[utf8(&from), utf8(&to)]);
        assert!(
            without_unnamed(dir.path(), &["-q", utf8(&from), utf8(&to)])
                .status()
                .unwrap()
                .success()
        );
        assert_payload(&to, 0, 10);
        assert_eq!(names(dir.path()).len(), 2);
    }
    let (code, line) = failure(&["--resume", utf8(&from), utf8(&dir.path().join("n".repeat(252)))]);
    assert!(code == Some(1) && line.contains("choose a shorter name"), "{line}");
}

#[test]
fn a_chain_of_links_is_followed_to_a_file_that_is_not_there_yet() {
    let dir = disk();
    let from = patterned(dir.path(), "from", 10);
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    for (link, to) in [("a", "sub/b"), ("sub/b", "../c"), ("c", "end"), ("loop", "loop")] {
        std::os::unix::fs::symlink(to, dir.path().join(link)).unwrap();
    }
    for flag in ["--fsync", "--resume", "--no-atomic"] {
        report(&[flag, utf8(&from), utf8(&dir.path().join("a"))]);
        let end = dir.path().join("end");
        assert!(end.symlink_metadata().unwrap().is_file(), "{flag}");
        std::fs::remove_file(end).unwrap();
    }
    assert_eq!(names(dir.path()), ["a", "c", "from", "loop", "sub"]);
    let (code, line) = failure(&[utf8(&from), utf8(&dir.path().join("loop"))]);
    assert!(code == Some(1) && line.contains("Too many levels of symbolic links"), "{line}");
}

#[test]
fn a_target_that_is_a_mount_point_is_refused_at_once_and_can_be_written_in_place() {
    require!(Capability::Root);
    let dir = disk();
    let from = patterned(dir.path(), "from", 10);
    let (to, other) = (patterned(dir.path(), "to", 5), patterned(dir.path(), "other", 5));
    let script = "mount --bind other to && \"$0\" copy from to; \"$0\" copy -q --no-atomic from to";
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_underpass")]);
    let shell = shell.current_dir(dir.path()).output().unwrap();
    let line = String::from_utf8(shell.stderr).unwrap();
    assert!(shell.status.success(), "{line}");
    let want = "cannot write to: Device or resource busy (os error 16); it is a mount point, which \
                only --no-atomic can write to\n";
    assert_eq!(line, format!("underpass copy: {want}"));
    assert_payload(&other, 0, 10);
    assert_eq!((from.exists(), to.metadata().unwrap().len()), (true, 5));
}
