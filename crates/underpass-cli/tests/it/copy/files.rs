//! From file to file: holes, reflinks, ranges, resuming, digests, and who may not be a target.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Command;

use underpass_testkit::disk::{Disk, FileSystem, disk_dir};
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

use super::{
    assert_payload, command, copy, failure, in_shell, names, patterned, piped, report, utf8,
};

const GIB: u64 = 1 << 30;

#[test]
fn five_gib_with_holes_stay_so_and_no_byte_enters_user_space() {
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let source = File::create(&from).unwrap();
    for place in [0, 3 * GIB + 12_288, 5 * GIB - 5] {
        source.write_all_at(b"bytes", place).unwrap();
    }
    source.set_permissions(std::fs::Permissions::from_mode(0o751)).unwrap();
    let account = report(&[utf8(&from), utf8(&to)]);
    assert_eq!(account["bytes"], 5 * GIB);
    assert_eq!(account["through_user_space"], 0);
    assert!(account["holes"].as_u64().unwrap() > 4 * GIB, "{account}");
    let made = to.metadata().unwrap();
    assert_eq!((made.len(), made.mode() & 0o777), (5 * GIB, 0o751));
    assert_eq!(made.blocks(), from.metadata().unwrap().blocks());
    let sink = File::open(&to).unwrap();
    for place in [0, 3 * GIB + 12_288, 5 * GIB - 5] {
        let mut got = [0; 5];
        sink.read_exact_at(&mut got, place).unwrap();
        assert_eq!(&got, b"bytes", "{place}");
    }
}

#[test]
fn extents_are_shared_where_the_file_system_can() {
    for kind in [FileSystem::Xfs, FileSystem::Btrfs] {
        let disk = require!(Disk::new(kind, 320 << 20));
        let from = patterned(disk.path(), "from", 3_000_001);
        let to = disk.path().join("to");
        let account = report(&[utf8(&from), utf8(&to)]);
        assert_eq!(account["methods"][0]["method"], "clone", "{}", kind.name());
        assert_eq!(account["methods"][0]["bytes"], 3_000_001);
        assert_eq!(account["fallbacks"].as_array().unwrap().len(), 0);
        assert_payload(&to, 0, 3_000_001);
        let other = disk.path().join("other");
        let account = report(&["--method", "copy", utf8(&from), utf8(&other)]);
        assert_eq!(account["through_user_space"], 3_000_001);
        assert_payload(&other, 0, 3_000_001);
    }
}

#[test]
fn every_method_between_files_that_can_makes_the_same_file() {
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let from = patterned(dir.path(), "from", 5_000_003);
    for method in ["copy", "splice", "mmap-write", "copy-file-range"] {
        let to = dir.path().join(method);
        let account = report(&["--method", method, utf8(&from), utf8(&to)]);
        assert_eq!(account["methods"][0]["method"], method);
        assert_payload(&to, 0, 5_000_003);
    }
    let to = dir.path().join("none");
    let (code, line) = failure(&["--method", "sendfile", utf8(&from), utf8(&to)]);
    assert_eq!(code, Some(1));
    assert!(line.contains("sendfile cannot move file to file, after 0 of 5000003"), "{line}");
    assert!(!to.exists());
}

#[test]
fn a_range_is_of_both_its_ends_and_one_behind_the_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 10_000);
    let to = dir.path().join("to");
    for (range, start, len) in [
        ("100-4199", 100, 4_100),
        ("9000-", 9_000, 1_000),
        ("-7", 9_993, 7),
        ("5000-90000", 5_000, 5_000),
    ] {
        report(&["--range", range, utf8(&from), utf8(&to)]);
        assert_payload(&to, start, len);
    }
    let (code, line) = failure(&["--range", "10001-", utf8(&from), utf8(&to)]);
    assert_eq!(code, Some(1));
    assert!(line.contains("range 10001- does not start within"), "{line}");
    assert_payload(&to, 5_000, 5_000);
}

#[test]
fn resuming_compares_what_is_there_and_goes_on_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 3_000_000);
    let to = dir.path().join("to");
    for part in ["to.part", "to"] {
        patterned(dir.path(), part, 1_234_567);
        let account = report(&["--resume", utf8(&from), utf8(&to)]);
        assert_eq!(account["resumed_at"], 1_234_567);
        assert_eq!(account["bytes"], 3_000_000 - 1_234_567);
        assert_payload(&to, 0, 3_000_000);
        assert_eq!(names(dir.path()), ["from", "to"]);
        std::fs::remove_file(&to).unwrap();
    }
    let part = patterned(dir.path(), "to.part", 1_000);
    File::options().write(true).open(&part).unwrap().write_all_at(b"?", 777).unwrap();
    let (code, line) = failure(&["--resume", utf8(&from), utf8(&to)]);
    assert_eq!(code, Some(1));
    assert!(line.contains("has 1000 bytes, and differs from"), "{line}");
    assert!(line.contains(" at byte 777"), "{line}");
    patterned(dir.path(), "to.part", 3_000_001);
    let (_, line) = failure(&["--resume", utf8(&from), utf8(&to)]);
    assert!(line.contains("already has 3000001 bytes, and"), "{line}");
    assert_eq!(names(dir.path()), ["from", "to.part"]);
}

#[test]
fn digests_are_those_that_sha256sum_prints() {
    require!(Capability::Program("sha256sum"));
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 1_000_001);
    let printed = Command::new("sha256sum").arg(&from).output().unwrap().stdout;
    let want = String::from_utf8(printed).unwrap()[..64].to_owned();
    let to = dir.path().join("to");
    // Of what was made, of what was read apart from sendfile, and of what passed through.
    for arguments in [[utf8(&from), utf8(&to)], [utf8(&from), "/dev/null"], ["-", "/dev/null"]] {
        let mut command = command(&["--checksum", "sha256"]);
        command.args(arguments).stdin(piped(&from));
        let line = String::from_utf8(command.output().unwrap().stderr).unwrap();
        assert!(line.contains(&format!("; sha256 {want}")), "{arguments:?}: {line}");
    }
}

#[test]
fn what_is_no_copy_is_refused_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 10);
    let link = dir.path().join("link");
    std::fs::hard_link(&from, &link).unwrap();
    let listening = format!("unix-listen://{}", utf8(&from));
    for (arguments, code, part) in [
        (vec![utf8(&from), utf8(&link)], 1, "are the same file"),
        (vec![utf8(dir.path()), "x"], 1, "is a directory; copy it with -r"),
        (vec!["-", utf8(dir.path())], 1, "the source has no file name; add one"),
        (vec!["none-such", "x"], 1, "cannot open none-such: No such file or directory"),
        (vec!["--resume", utf8(&from), "-"], 1, "--resume cannot be used with -"),
        (vec!["ftp://x/y", "z"], 2, "the scheme 'ftp' is not known"),
        (vec!["--limit-rate", "fast", "a", "b"], 2, "give bytes a second"),
        (vec!["--keep-listening", "a", "b"], 1, "needs an end that listens"),
        (vec!["fd:99", "b"], 1, "fd:99 is not open; open it in the shell"),
        (vec!["new\nline\x1b[m", "x"], 1, "cannot open new\\u{a}line\\u{1b}[m: No such file"),
        (vec![utf8(&from), "none/x"], 1, "missing directories are not made"),
        (vec![&*listening, "x"], 1, "Address already in use (os error 98); choose another"),
    ] {
        let (status, line) = failure(&arguments);
        assert_eq!(status, Some(code), "{arguments:?}: {line}");
        assert!(line.contains(part), "{arguments:?}: {line}");
        assert!(code == 2 || line.lines().count() == 1, "{line}");
    }
    assert_payload(&from, 0, 10);
}

#[test]
fn a_number_that_a_descriptor_of_the_program_would_get_is_not_taken_for_the_users() {
    for ends in ["fd:3 x", "/dev/null fd:5"] {
        // The test may have been given some.
        let script = format!("exec \"$0\" copy {ends} 3<&- 4<&- 5<&- 6<&-");
        let program = env!("CARGO_BIN_EXE_underpass");
        let shell = Command::new("sh").args(["-c", &script, program]).output().unwrap();
        let line = String::from_utf8(shell.stderr).unwrap();
        assert_eq!(shell.status.code(), Some(1), "{ends}: {line}");
        assert!(line.contains(" is not open; open it in the shell"), "{line}");
    }
}

#[test]
fn a_file_on_standard_input_is_read_from_where_it_stands_and_left_behind_what_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 100_000);
    let program = env!("CARGO_BIN_EXE_underpass");
    let script = format!(
        "dd bs=10 count=1 status=none >/dev/null; {program} copy -q --range 0-89 - a; \
         {program} copy -q - b; echo head >c; {program} copy -q {} - >>c",
        utf8(&from)
    );
    let shell = Command::new("sh")
        .args(["-ec", &script])
        .current_dir(dir.path())
        .stdin(File::open(&from).unwrap())
        .output()
        .unwrap();
    assert!(shell.status.success(), "{}", String::from_utf8_lossy(&shell.stderr));
    assert_payload(&dir.path().join("a"), 10, 90);
    assert_payload(&dir.path().join("b"), 100, 99_900);
    assert_eq!(std::fs::read(dir.path().join("c")).unwrap().len(), 100_005);
}

#[test]
fn files_without_a_true_size_are_read_to_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    for from in [
        "/proc/filesystems",
        "/proc/sys/kernel/osrelease",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ] {
        let output = copy(&["-q", from, utf8(&to)]);
        assert!(output.status.success(), "{from}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(std::fs::read(&to).unwrap(), std::fs::read(from).unwrap(), "{from}");
    }
}

#[test]
fn a_message_queue_is_read_as_cat_reads_it_although_its_size_says_80() {
    require!(Capability::Root);
    let dir = tempfile::tempdir().unwrap();
    let shell =
        "mkdir q && mount -t mqueue none q && trap 'rm -f q/made; umount q' EXIT && : >q/made
                 cat q/made >want; [ $(wc -c <want) -lt $(stat -c %s q/made) ]
                 underpass copy -q q/made a; underpass copy -q --resume q/made b
                 underpass copy -q --checksum blake3 q/made c; underpass copy -q - d <q/made
                 underpass copy -q --range 0- q/made e; underpass copy -q --no-atomic q/made f
                 underpass copy -q q/made - >g; mkdir r; underpass copy -q -r q r
                 for to in a b c d e f g r/q/made; do cmp want $to; done";
    let (code, said) = in_shell(dir.path(), &format!("set -e; {shell}"));
    assert_eq!((code, said.as_str()), (Some(0), ""));
}

#[test]
fn what_has_no_length_is_compared_with_what_is_there_before_it_is_continued() {
    let dir = tempfile::tempdir().unwrap();
    let (to, part) = (dir.path().join("to"), dir.path().join("to.part"));
    let whole = std::fs::read("/proc/version").unwrap();
    let longer = [&whole[..], b"more"].concat();
    for (there, why) in [
        (&b"other"[..], "differs from /proc/version at byte 0"),
        (&longer[..], "and /proc/version only"),
    ] {
        std::fs::write(&part, there).unwrap();
        let (code, line) = failure(&["--resume", "/proc/version", utf8(&to)]);
        assert!(code == Some(1) && line.contains(why), "{line}");
        assert_eq!(std::fs::read(&part).unwrap(), there);
    }
    std::fs::write(&part, &whole[..10]).unwrap();
    let account = report(&["--resume", "/proc/version", utf8(&to)]);
    assert_eq!(account["resumed_at"], 10);
    assert_eq!(std::fs::read(&to).unwrap(), whole);
    // An empty file has no length that says so, either.
    let (empty, to) = (patterned(dir.path(), "empty", 0), dir.path().join("other"));
    std::fs::write(&to, "there").unwrap();
    let (code, line) = failure(&["--resume", utf8(&empty), utf8(&to)]);
    assert!(code == Some(1) && line.contains("already has 5 bytes"), "{line}");
}

#[test]
fn a_new_file_has_the_mode_of_its_source_less_the_umask() {
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let from = patterned(dir.path(), "from", 10);
    std::fs::set_permissions(&from, std::fs::Permissions::from_mode(0o766)).unwrap();
    let program = env!("CARGO_BIN_EXE_underpass");
    for flag in ["", "--resume", "--no-atomic"] {
        let script = format!("umask 027; rm -f to; {program} copy -q {flag} from to");
        let shell = Command::new("sh").args(["-ec", &script]).current_dir(dir.path()).output();
        let shell = shell.unwrap();
        assert!(shell.status.success(), "{}", String::from_utf8_lossy(&shell.stderr));
        let made = dir.path().join("to").metadata().unwrap();
        assert_eq!(made.mode() & 0o777, 0o740, "{flag}");
    }
}
