//! Errors that come late: of bytes that were accepted, and did not reach where they are kept.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use underpass_testkit::require;
use underpass_testkit::skip::Capability;
use underpass_testkit::wait;

use super::{command, in_shell, names, patterned};

const PATIENCE: Duration = Duration::from_secs(20);

/// Copies `from` to a sink, with a fault in calls; what it said.
fn failing(directory: &Path, fault: &str, flags: &str, sink: &str) -> String {
    let strace = format!("strace -qq -o /dev/null -e inject={fault}");
    let script = format!("{strace} underpass copy {flags} -q from {sink}");
    let (code, line) = in_shell(directory, &script);
    assert_eq!((code, line.lines().count()), (Some(1), 1), "{flags} {sink}: {line}");
    line
}

#[test]
fn what_close_says_is_an_error_of_every_sink_and_the_file_gets_no_name() {
    require!(Capability::Strace);
    let dir = tempfile::tempdir().unwrap();
    patterned(dir.path(), "from", 10_000);
    // As NFS answers. The loader of the program closes four descriptors, and gives up if it cannot;
    // in the program itself nothing else looks at what close(2) says.
    for (flags, kept) in [
        ("", &["from"][..]),
        ("--resume", &["from", "to.part"]),
        ("--no-atomic", &["from", "to"]),
        ("--checksum sha256", &["from"]),
    ] {
        let line = failing(dir.path(), "close:error=EDQUOT:when=5+", flags, "to");
        assert!(line.contains("cannot finish to: ") && line.contains("quota exceeded"), "{line}");
        assert!(line.contains("; free some space there"), "{line}");
        assert_eq!(names(dir.path()), kept, "{flags:?}");
        for name in &kept[1..] {
            std::fs::remove_file(dir.path().join(name)).unwrap();
        }
    }
    for sink in ["- >to", "- >>to", "fd:3 3>to", "- | cat >/dev/null", "/dev/null"] {
        let line = failing(dir.path(), "close:error=EIO:when=5+", "", sink);
        assert!(line.contains("cannot finish") && line.contains("Input/output error"), "{line}");
    }
}

#[test]
fn what_close_says_about_a_file_of_a_folder_is_told_and_the_rest_is_copied() {
    require!(Capability::Strace);
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("from")).unwrap();
    patterned(&dir.path().join("from"), "file", 10_000);
    let strace = "strace -qq -o /dev/null -e inject=close:error=ENOSPC:when=5+";
    let (code, said) = in_shell(dir.path(), &format!("{strace} underpass copy -q -r from to"));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("from/file was not copied: ") && said.contains("No space left"),
        "{said}"
    );
    assert_eq!(names(&dir.path().join("to")), [""; 0]);
}

#[test]
fn a_reset_that_comes_after_the_last_byte_was_accepted_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut command = command(&["-q", "-", &format!("tcp://{address}")]);
    let copying = command.stdin(reader).stderr(Stdio::piped()).spawn().unwrap();
    let peer = listener.accept().unwrap().0;
    writer.write_all(b"accepted, and never read").unwrap();
    let unread = || (rustix::io::ioctl_fionread(&peer).unwrap() > 0).then_some(());
    wait::until(PATIENCE, unread).expect("the bytes arrive");
    drop(peer);
    // As proc_net(5) writes a connection to that port that is established.
    let established = format!(" 0100007F:{:04X} 01 ", address.port());
    let is_reset = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        (!table.contains(&established)).then_some(())
    };
    wait::until(PATIENCE, is_reset).expect("unread bytes turn the close into a reset");
    drop(writer);
    let output = copying.wait_with_output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains("Connection reset by peer"), "{line}");
    assert!(line.contains("; the other end closed before it had everything"), "{line}");
}

#[test]
fn fsync_is_made_of_every_file_and_refused_where_nothing_is_kept() {
    require!(Capability::Strace);
    let dir = tempfile::tempdir().unwrap();
    patterned(dir.path(), "from", 10_000);
    for (sink, why) in [
        ("to", "Input/output error"),
        ("- >to", "Input/output error"),
        ("- >>to", "Input/output error"),
        ("fd:3 3>>to", "Input/output error"),
        ("- | cat >/dev/null", "--fsync cannot be used with -: only a file or a disk keeps"),
        ("/dev/null", "--fsync cannot be used with /dev/null"),
    ] {
        let line = failing(dir.path(), "fsync:error=EIO", "--fsync", sink);
        assert!(line.contains(why), "{sink}: {line}");
    }
    // Where no name can be linked, the file that gets one is another.
    let fault = "fsync:error=EIO:when=2 -e inject=linkat:error=EPERM";
    let line = failing(dir.path(), fault, "--fsync", "new");
    assert!(line.contains("cannot finish new: Input/output error"), "{line}");
    assert!(!dir.path().join("new").exists());
}
