use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use rustix::thread::CapabilitySet;

use super::*;

/// A tree whose root is `served`, next to a `secret` that must stay out of reach.
fn tree() -> (tempfile::TempDir, Root) {
    let tree = tempfile::tempdir().unwrap();
    let served = tree.path().join("served");
    fs::create_dir_all(served.join("sub/deep")).unwrap();
    fs::write(tree.path().join("secret"), "secret").unwrap();
    fs::write(served.join("a.txt"), "content of a").unwrap();
    let root = Root::open(&served).unwrap();
    (tree, root)
}

fn outcome(root: &Root, path: &str) -> Result<&'static str, OpenError> {
    root.open_beneath(path.as_bytes(), Wait::Allowed).map(|found| match found {
        Found::File(..) => "file",
        Found::Directory(_) => "directory",
    })
}

#[test]
fn files_and_directories_are_found_and_told_apart() {
    let (_tree, root) = tree();
    assert_eq!(outcome(&root, ""), Ok("directory"));
    assert_eq!(outcome(&root, "sub"), Ok("directory"));
    assert_eq!(outcome(&root, "sub/deep/"), Ok("directory"));
    assert_eq!(outcome(&root, "a.txt"), Ok("file"));
    let Ok(Found::File(mut file, stat)) = root.open_beneath(b"a.txt", Wait::Allowed) else {
        panic!("a.txt is a file");
    };
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), stat.st_size), ("content of a", 12));
}

#[test]
fn what_cannot_exist_is_absent() {
    let (_tree, root) = tree();
    let long = "x".repeat(300);
    let longer = "x/".repeat(3000);
    for path in ["none", "a.txt/", "a.txt/b", "none/b", &long, &longer] {
        assert_eq!(outcome(&root, path), Err(OpenError::Absent), "{:.20}", path);
    }
}

#[test]
fn no_link_leads_out_of_the_root() {
    let (tree, root) = tree();
    let served = tree.path().join("served");
    symlink("../secret", served.join("relative")).unwrap();
    symlink(tree.path().join("secret"), served.join("absolute")).unwrap();
    symlink("..", served.join("up")).unwrap();
    symlink("/proc/self/root", served.join("magic")).unwrap();
    symlink("loop", served.join("loop")).unwrap();
    symlink("../a.txt", served.join("sub/inside")).unwrap();
    for path in ["../secret", "relative", "absolute", "up/secret", "up", "magic", "loop"] {
        assert_eq!(outcome(&root, path), Err(OpenError::Absent), "{path}");
    }
    assert_eq!(outcome(&root, "sub/inside"), Ok("file"));
}

#[test]
fn neither_fifo_nor_socket_nor_device_is_opened() {
    let (tree, root) = tree();
    let served = tree.path().join("served");
    let fifo = served.join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _socket = UnixListener::bind(served.join("socket")).unwrap();
    for path in ["fifo", "socket"] {
        assert_eq!(outcome(&root, path), Err(OpenError::Absent), "{path}");
    }
    let devices = Root::open(Path::new("/dev")).unwrap();
    assert_eq!(outcome(&devices, "null"), Err(OpenError::Absent));
}

#[test]
fn a_fifo_never_gains_a_reader() {
    let (tree, root) = tree();
    let fifo = tree.path().join("served/fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let writers = std::thread::spawn({
        // fifo(7): opening for writing without waiting fails with ENXIO without a reader.
        move || {
            (0..20_000)
                .filter(|_| {
                    let flags = OFlags::WRONLY | OFlags::NONBLOCK;
                    rustix::fs::open(&fifo, flags, Mode::empty()).is_ok()
                })
                .count()
        }
    });
    while !writers.is_finished() {
        assert_eq!(outcome(&root, "fifo"), Err(OpenError::Absent));
    }
    assert_eq!(writers.join().unwrap(), 0, "openings that met a reader");
}

#[test]
fn an_unreadable_file_is_denied() {
    let (tree, root) = tree();
    let served = tree.path().join("served");
    fs::create_dir(served.join("closed")).unwrap();
    for (path, mode) in [("a.txt", 0o000), ("closed", 0o600)] {
        fs::set_permissions(served.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    read_as_any_user_would();
    assert_eq!(outcome(&root, "a.txt"), Err(OpenError::Denied));
    assert_eq!(outcome(&root, "closed/a"), Err(OpenError::Denied));
}

/// capabilities(7): they belong to the thread, here to that of one test.
pub(crate) fn read_as_any_user_would() {
    let mut own = rustix::thread::capabilities(None).unwrap();
    own.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
    rustix::thread::set_capabilities(None, own).unwrap();
}

#[test]
fn a_name_in_the_cache_is_answered_without_waiting() {
    let (_tree, root) = tree();
    assert_eq!(outcome(&root, "a.txt"), Ok("file"));
    if !root.can_refuse_to_wait {
        assert!(root.open_beneath(b"a.txt", Wait::Never).is_err());
        return;
    }
    assert!(matches!(root.open_beneath(b"a.txt", Wait::Never), Ok(Found::File(..))));
    let never_asked = root.open_beneath(b"sub/never-asked", Wait::Never).unwrap_err();
    assert!(matches!(never_asked, OpenError::WouldWait | OpenError::Absent), "{never_asked}");
}

#[test]
fn errnos_become_what_a_caller_decides_by() {
    for (errno, error) in [
        (Errno::MFILE, OpenError::Exhausted(Errno::MFILE)),
        (Errno::NFILE, OpenError::Exhausted(Errno::NFILE)),
        (Errno::NXIO, OpenError::Absent),
        (Errno::XDEV, OpenError::Absent),
        (Errno::IO, OpenError::Failed(Errno::IO)),
    ] {
        assert_eq!(OpenError::from(errno), error);
    }
}

#[test]
fn a_root_that_is_no_directory_is_refused_with_its_name() {
    let (tree, _root) = tree();
    let file = tree.path().join("secret");
    let error = Root::open(&file).unwrap_err();
    assert!(matches!(error, RootError::Open { source: Errno::NOTDIR, .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot open directory {}", file.display()));
}
