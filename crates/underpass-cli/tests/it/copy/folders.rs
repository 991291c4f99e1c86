//! `-r`: what is kept of a folder, and what a failing entry does to the rest.

use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::XattrFlags;
use underpass_testkit::disk::disk_dir;
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

use super::{failure, names, patterned, report, utf8};

fn folder(root: &Path) {
    let inner = root.join("inner");
    std::fs::create_dir_all(&inner).unwrap();
    let file = patterned(&inner, "file", 100_000);
    std::fs::hard_link(&file, root.join("same")).unwrap();
    symlink("inner/file", root.join("link")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.write_all_at(b"end", 200 << 20).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    File::create(root.join("empty")).unwrap();
    rustix::fs::setxattr(&file, "user.note", b"kept", XattrFlags::empty()).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o4640)).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    for path in [&file, &inner, &root.to_owned()] {
        let times = FileTimes::new().set_modified(old).set_accessed(old);
        File::open(path).unwrap().set_times(times).unwrap();
    }
    std::fs::set_permissions(&inner, Permissions::from_mode(0o2750)).unwrap();
}

#[test]
fn modes_times_links_holes_and_attributes_are_kept() {
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    folder(&from);
    let account = report(&["-r", "--xattrs", utf8(&from), utf8(&to)]);
    assert_eq!((&account["entries"], &account["through_user_space"]), (&9.into(), &0.into()));
    let diff = Command::new("diff").args(["-r", "--no-dereference"]).arg(&from).arg(&to).output();
    let diff = String::from_utf8(diff.unwrap().stdout).unwrap();
    // diff(1) does not compare FIFOs.
    assert!(diff.lines().all(|line| line.contains("fifo")), "{diff}");
    for name in ["", "inner", "inner/file", "link", "dangling", "fifo", "empty", "sparse"] {
        let look = |root: &Path| {
            let found = std::fs::symlink_metadata(root.join(name)).unwrap();
            let time = if name.is_empty() || name.starts_with("inner") || name == "link" {
                (found.mtime(), found.mtime_nsec())
            } else {
                (0, 0)
            };
            (found.mode(), found.nlink(), found.len(), found.blocks(), time)
        };
        assert_eq!(look(&from), look(&to), "{name}");
    }
    let inode = |name: &str| std::fs::metadata(to.join(name)).unwrap().ino();
    assert_eq!(inode("same"), inode("inner/file"));
    let mut value = [0; 8];
    let len = rustix::fs::getxattr(to.join("same"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..len], b"kept");
}

#[test]
fn a_folder_goes_into_one_that_is_there_and_again_over_itself_but_not_into_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    std::fs::create_dir(&to).unwrap();
    patterned(&from, "file", 10);
    symlink("file", from.join("link")).unwrap();
    for _ in 0..2 {
        report(&["-r", utf8(&from), utf8(&to)]);
        assert_eq!(names(&to), ["from"]);
        assert_eq!(names(&to.join("from")), ["file", "link"]);
    }
    let inside = from.join("inside");
    let (code, line) = failure(&["-r", utf8(&from), utf8(&inside)]);
    assert_eq!(code, Some(1));
    assert!(line.contains("which is inside it"), "{line}");
    let (code, line) = failure(&["-r", utf8(&from), "-"]);
    assert_eq!(code, Some(1));
    assert!(line.contains("-r copies a directory to a path, and - is not one"), "{line}");
}

#[test]
fn an_entry_that_cannot_be_copied_is_named_and_counted_and_the_rest_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    patterned(&from, "file", 10);
    patterned(&from, "taken", 10);
    std::fs::create_dir_all(to.join("from/taken")).unwrap();
    let (code, lines) = failure(&["-r", utf8(&from), utf8(&to)]);
    assert_eq!(code, Some(1));
    assert!(lines.contains("/taken was not copied: writing its copy: Is a directory"), "{lines}");
    assert!(lines.contains("1 of 3 entries of"), "{lines}");
    assert_eq!(names(&to.join("from")), ["file", "taken"]);
}

#[test]
fn owners_are_kept_on_request_with_the_bits_that_belong_to_them() {
    require!(Capability::Root);
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    patterned(&from, "file", 10);
    symlink("nowhere", from.join("link")).unwrap();
    assert!(Command::new("mkfifo").arg(from.join("fifo")).status().unwrap().success());
    for (name, uid) in [("", 1001), ("file", 1002), ("link", 1003), ("fifo", 1004)] {
        lchown(from.join(name), Some(uid), Some(uid + 1000)).unwrap();
    }
    std::fs::set_permissions(from.join("file"), Permissions::from_mode(0o6755)).unwrap();
    std::fs::set_permissions(&from, Permissions::from_mode(0o2755)).unwrap();
    // Of a file with capabilities too, which a change of the owner would take off.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let file = from.join("file");
    rustix::fs::setxattr(&file, "security.capability", &capability, XattrFlags::empty()).unwrap();
    let look = |root: &Path| {
        ["", "file", "link", "fifo"].map(|name| {
            let found = std::fs::symlink_metadata(root.join(name)).unwrap();
            (found.uid(), found.gid(), found.mode())
        })
    };
    report(&["-r", "--owners", "--xattrs", utf8(&from), utf8(&to)]);
    assert_eq!(look(&to), look(&from));
    let mut value = [0; 32];
    let len = rustix::fs::getxattr(to.join("file"), "security.capability", &mut value[..]).unwrap();
    assert_eq!(value[..len], capability);
    let other = dir.path().join("other");
    report(&["-r", utf8(&from), utf8(&other)]);
    assert!(look(&other).iter().all(|(uid, gid, mode)| (*uid, *gid, mode & 0o6000) == (0, 0, 0)));
}

#[test]
fn an_owner_that_cannot_be_kept_on_request_is_an_error_after_all_is_copied() {
    require!(Capability::Root);
    require!(Capability::Program("setpriv"));
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    lchown(patterned(&from, "file", 10), Some(1001), Some(1001)).unwrap();
    patterned(&from, "own", 10);
    let copy = super::command(&["-r", "--owners", utf8(&from), utf8(&to)]);
    let output = Command::new("setpriv")
        .args(["--bounding-set=-chown", "--inh-caps=-chown"])
        .arg(copy.get_program())
        .args(copy.get_args())
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{lines}");
    assert!(lines.contains("/file could not get its owner: Operation not"), "{lines}");
    assert!(lines.contains("1 of 3 entries of"), "{lines}");
    assert_eq!(names(&to), ["file", "own"]);
}
