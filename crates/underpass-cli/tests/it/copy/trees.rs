//! `-r` where a folder is odd, private, deep, or on a file system that keeps nothing but content.

use std::fs::create_dir;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, getxattr, setxattr};
use rustix::process::Signal;
use underpass_testkit::disk::disk_dir;
use underpass_testkit::require;
use underpass_testkit::skip::Capability;
use underpass_testkit::wait;

use super::{assert_payload, command, failure, mode, names, patterned, report, utf8, with_mode};
use crate::running::Running;

/// linux/posix_acl_xattr.h: version 2, then tag, permissions and id: the owner rwx, user 1001 rwx,
/// the group nothing, mask rwx, others nothing.
const ACL: [u8; 44] = [
    2, 0, 0, 0, //
    1, 0, 7, 0, 255, 255, 255, 255, //
    2, 0, 7, 0, 0xe9, 3, 0, 0, //
    4, 0, 0, 0, 255, 255, 255, 255, //
    16, 0, 7, 0, 255, 255, 255, 255, //
    32, 0, 0, 0, 255, 255, 255, 255,
];

/// A directory on disk with a folder `from`.
fn disk() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in(disk_dir().unwrap().canonicalize().unwrap()).unwrap();
    create_dir(dir.path().join("from")).unwrap();
    dir
}

fn acl(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let len = getxattr(path, format!("system.posix_acl_{name}"), &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

/// Runs a script in the directory; `copy` in it is the program's.
fn shell(dir: &Path, script: &str) -> (Option<i32>, String) {
    let script = format!("copy() {{ \"$0\" copy \"$@\"; }}; {script}");
    let mut shell = Command::new("bash");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_underpass")]).current_dir(dir);
    let output = shell.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_folder_is_its_owners_alone_until_it_is_complete() {
    for is_there in [false, true] {
        let dir = disk();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        patterned(&from, "file", 2_000_000);
        with_mode(&from, 0o700);
        // With to/from in place, the folder that is there becomes as narrow as the source.
        let made = if is_there { to.join("from") } else { to.clone() };
        if is_there {
            std::fs::create_dir_all(&made).unwrap();
            with_mode(&made, 0o755);
        }
        let copy = ["-r", "--no-atomic", "--limit-rate", "1M", utf8(&from), utf8(&to)];
        let running = Running::quiet(&mut command(&copy));
        let file = made.join("file");
        let begun = || file.exists().then_some(());
        wait::until(Duration::from_secs(60), begun).expect("the file is begun");
        assert_eq!((mode(&made), mode(&file)), (0o700, 0o600));
        running.signal(Signal::INT);
        assert_eq!(running.end().0, Some(130));
        assert_eq!((mode(&made), mode(&file)), (0o700, 0o600));
    }
}

#[test]
fn where_nothing_but_content_can_be_kept_all_content_arrives_with_notes() {
    require!(Capability::Program("strace"));
    for (call, note, flag, code) in [
        ("fchmod", "could not get its mode: Operation not permitted", None, 0),
        ("utimensat", "could not get its times: Operation not permitted", None, 0),
        ("linkat", "is a copy and not a hard link: Operation not permitted", None, 0),
        ("linkat:when=2", "is a copy and not a hard link: Operation not permitted", None, 0),
        ("fsetxattr", "could not get its extended attributes: Op", Some("--xattrs"), 1),
        ("fchown", "could not get its owner: Operation not permitted", Some("--owners"), 1),
    ] {
        let dir = disk();
        let from = dir.path().join("from");
        let file = patterned(&from, "a", 10_000);
        setxattr(&file, "user.note", b"kept", XattrFlags::empty()).unwrap();
        std::fs::hard_link(file, from.join("b")).unwrap();
        let (call, when) = call.split_once(':').unwrap_or((call, "when=1+"));
        let script = format!(
            "strace -f -o /dev/null -e trace={call} -e inject={call}:error=EPERM:{when} \
             $0 copy -q -r {} from to",
            flag.unwrap_or_default()
        );
        let (status, lines) = shell(dir.path(), &script);
        assert_eq!(status, Some(code), "{call}: {lines}");
        assert!(lines.contains("note: to/") && lines.contains(note), "{call}: {lines}");
        assert_eq!(lines.contains("entries of from lost owners or attributes"), code == 1);
        for name in ["a", "b"] {
            assert_payload(&dir.path().join("to").join(name), 0, 10_000);
        }
    }
}

#[test]
fn a_copy_in_a_folder_has_the_name_that_cp_gives_it() {
    let dir = disk();
    patterned(&dir.path().join("from"), "file", 10);
    let script = "set -e; ln -s from link; mkdir 1 2 3 4 5; ln -s 5 6; chmod 1777 3
        copy -q -r link 1; copy -q -r link/ 2; copy -q -r from/. 3; (cd from; copy -q -r . ../4)
        copy -q -r from/.//. 6; copy -q -r from/file 1; copy -q -r from/file 7";
    assert_eq!(shell(dir.path(), script), (Some(0), String::new()));
    let link = std::fs::read_link(dir.path().join("1/link")).unwrap();
    assert_eq!(link, Path::new("from"));
    for (place, want) in [("1", ["file", "link"].as_slice()), ("2", &["link"]), ("3", &["file"])] {
        assert_eq!(names(&dir.path().join(place)), want, "{place}");
    }
    for place in ["1/file", "2/link/file", "4/file", "5/file", "7"] {
        assert_payload(&dir.path().join(place), 0, 10);
    }
    // What is only filled, such as /tmp, keeps its mode.
    assert_eq!(mode(&dir.path().join("3")), 0o1777);
    let (code, line) = shell(dir.path(), "copy -r from/file from");
    assert!(code == Some(1) && line.contains("are the same file"), "{line}");
    let (code, line) = shell(dir.path(), "copy -r from/. from");
    assert!(code == Some(1) && line.contains("it is the copy itself"), "{line}");
    let (code, line) = shell(dir.path(), "copy -r from/file none/");
    assert!(code == Some(1) && line.contains("none/ is not a directory"), "{line}");
}

#[test]
fn files_are_written_in_place_on_request_but_no_link_is_followed() {
    let dir = disk();
    let from = dir.path().join("from");
    for name in ["linked", "plain", "same"] {
        patterned(&from, name, 10);
    }
    let script = "set -e; mkdir to; echo old >other; ln -s ../other to/linked; echo old >to/plain
        ln to/plain name; ln from/same to/same; ln -s .. from/folder; mkdir from/inner
        ln -s .. to/inner";
    assert_eq!(shell(dir.path(), script), (Some(0), String::new()));
    let (code, lines) = shell(dir.path(), "copy -q -r --no-atomic from/. to");
    assert_eq!(code, Some(1), "{lines}");
    assert!(lines.contains("/same was not copied: writing its copy: both are the"), "{lines}");
    assert!(lines.contains("/inner was not copied: making the directory: some"), "{lines}");
    assert!(lines.contains("2 of 6 entries of from/. were not copied"), "{lines}");
    assert_eq!(std::fs::read(dir.path().join("other")).unwrap(), b"old\n");
    assert!(dir.path().join("to/linked").symlink_metadata().unwrap().is_file());
    for path in ["name", "from/same", "to/linked"] {
        assert_payload(&dir.path().join(path), 0, 10);
    }
}

#[test]
fn fifos_sockets_and_devices_are_made_anew_with_modes_and_times() {
    require!(Capability::Root);
    let dir = disk();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let _listener = UnixListener::bind(from.join("socket")).unwrap();
    let any = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, from.join("fifo"), FileType::Fifo, any, 0).unwrap();
    // /dev/null
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(CWD, from.join("null"), FileType::CharacterDevice, any, null).unwrap();
    let old = Timespec { tv_sec: 978_307_200, tv_nsec: 5 };
    for name in ["fifo", "socket", "null"] {
        with_mode(&from.join(name), 0o662);
        let times = Timestamps { last_access: old, last_modification: old };
        rustix::fs::utimensat(CWD, from.join(name), &times, rustix::fs::AtFlags::empty()).unwrap();
    }
    let (code, lines) = failure(&["-r", utf8(&from), utf8(&to)]);
    assert_eq!(code, Some(1));
    assert!(lines.contains("/null was not copied: looking at it: it is a device"), "{lines}");
    assert_eq!(names(&to), ["fifo", "socket"]);
    report(&["-r", "--owners", utf8(&from), utf8(&dir.path().join("all"))]);
    for (name, to) in [("fifo", "to"), ("socket", "to"), ("null", "all"), ("fifo", "all")] {
        let made = dir.path().join(to).join(name).symlink_metadata().unwrap();
        assert_eq!(made.mode() & 0o7777, 0o662, "{name}");
        assert_eq!((made.mtime(), made.mtime_nsec()), (978_307_200, 5), "{name}");
    }
    let made = dir.path().join("all/null").metadata().unwrap();
    assert!(made.file_type().is_char_device() && made.rdev() == null);
}

#[test]
fn deep_trees_with_long_paths_take_few_descriptors() {
    let dir = disk();
    // 330 levels; the paths of the last have more than PATH_MAX bytes.
    let script = "set -e; n=$(printf 'n%.0s' {1..200}); cd from
        for i in {1..300}; do mkdir d; cd d; done; for i in {1..30}; do mkdir $n; cd $n; done
        echo leaf >a; ln a b; ln -s a c; touch ../after; chmod 0500 ..";
    assert_eq!(shell(dir.path(), script), (Some(0), String::new()));
    let (code, lines) = shell(dir.path(), "ulimit -n 48; copy -r from to");
    assert!(code == Some(0) && lines.contains("335 entries, 5 bytes"), "{lines}");
    let script = "set -e; n=$(printf 'n%.0s' {1..200}); cd to; for i in {1..300}; do cd d; done
        for i in {1..29}; do cd $n; done; [ \"$(stat -c %a .)\" = 500 ]; [ -e after ]; cd $n
        [ \"$(cat b)\" = leaf ]; [ a -ef b ]; [ \"$(readlink c)\" = a ]";
    assert_eq!(shell(dir.path(), script), (Some(0), String::new()));
}

#[test]
fn an_acl_belongs_to_the_mode_and_the_defaults_of_the_place_do_not_come_in() {
    let dir = disk();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let (plain, open) = (patterned(&from, "plain", 10), patterned(&from, "open", 10));
    with_mode(&plain, 0o640);
    setxattr(&open, "system.posix_acl_access", &ACL, XattrFlags::empty()).unwrap();
    create_dir(from.join("inner")).unwrap();
    with_mode(&from.join("inner"), 0o750);
    create_dir(&to).unwrap();
    setxattr(&to, "system.posix_acl_default", &ACL, XattrFlags::empty()).unwrap();
    for flag in ["--fsync", "--no-atomic"] {
        report(&["-r", flag, utf8(&from), utf8(&to)]);
        let made = to.join("from");
        for (name, mode_wanted) in [("plain", 0o640), ("inner", 0o750)] {
            assert_eq!(
                (mode(&made.join(name)), acl(&made.join(name), "access")),
                (mode_wanted, None)
            );
        }
        assert_eq!(acl(&made, "default"), None);
        assert_eq!(acl(&made.join("open"), "access").unwrap(), ACL);
        std::fs::remove_dir_all(made).unwrap();
    }
}

#[test]
fn set_user_id_bits_are_for_the_same_owner_and_group() {
    require!(Capability::Root);
    let dir = disk();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for (name, gid) in [("own", 0), ("groups", 1002)] {
        let file = patterned(&from, name, 10);
        chown(&file, None, Some(gid)).unwrap();
        with_mode(&file, 0o6755);
    }
    // What is replaced keeps its owner, which gets no bits of another's program.
    create_dir(&to).unwrap();
    create_dir(to.join("from")).unwrap();
    let bobs = patterned(&to.join("from"), "bobs", 10);
    chown(&bobs, Some(1001), Some(1001)).unwrap();
    with_mode(&patterned(&from, "bobs", 20), 0o4755);
    report(&["-r", utf8(&from), utf8(&to)]);
    let made = to.join("from");
    assert_eq!((mode(&made.join("own")), mode(&made.join("groups"))), (0o6755, 0o755));
    let bobs = bobs.metadata().unwrap();
    assert_eq!((bobs.uid(), bobs.len(), bobs.mode() & 0o7777), (1001, 20, 0o755));
}

#[test]
fn files_without_a_true_size_arrive_whole() {
    let from = Path::new("/sys/kernel/mm/transparent_hugepage");
    if !from.is_dir() {
        return;
    }
    let dir = disk();
    let (code, lines) = failure(&["-r", utf8(from), utf8(&dir.path().join("to"))]);
    assert_eq!(code, Some(0), "{lines}");
    let made = std::fs::read(dir.path().join("to/enabled")).unwrap();
    assert_eq!(made, std::fs::read(from.join("enabled")).unwrap());
}

#[test]
fn several_sources_go_into_a_directory_and_one_that_fails_stops_no_other() {
    let dir = disk();
    patterned(dir.path(), "a", 10);
    patterned(&dir.path().join("from"), "b", 20);
    assert_eq!(shell(dir.path(), "mkdir to all; copy -q a from/b to"), (Some(0), String::new()));
    assert_payload(&dir.path().join("to/a"), 0, 10);
    assert_payload(&dir.path().join("to/b"), 0, 20);
    assert_eq!(shell(dir.path(), "copy -q -r a from all"), (Some(0), String::new()));
    assert_eq!(names(&dir.path().join("all")), ["a", "from"]);
    let (code, lines) = shell(dir.path(), "copy -q none a to/a from/b all");
    assert_eq!(code, Some(1), "{lines}");
    assert!(lines.contains("cannot open none: No such file"), "{lines}");
    assert!(lines.contains("to/a would replace the copy of another source"), "{lines}");
    assert!(lines.contains("2 of 4 sources were not copied"), "{lines}");
    assert_payload(&dir.path().join("all/b"), 0, 20);
    let (code, line) = shell(dir.path(), "copy a from/b new");
    assert!(code == Some(1) && line.contains("new is not a directory; several"), "{line}");
}
