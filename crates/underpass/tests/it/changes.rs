//! What is done to a file while it is sent, and what becomes of the sending, policy by policy.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, XattrFlags};
use underpass::{
    BlockingStream, Errno, FileBytes, Method, Policy, Sink, Source, Stability, Step, Transfer,
};
use underpass_testkit::disk::disk_dir;
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::peer::collect;
use underpass_testkit::wait::until_file_times_move;

/// More than a Unix socket and its peer hold together.
const LEN: u64 = 3 << 20;

/// How a file is sent.
#[derive(Debug, Clone, Copy)]
enum Way {
    Transfer(Method),
    Stream(Method),
}

const WAYS: [Way; 6] = [
    Way::Transfer(Method::Copy),
    Way::Transfer(Method::Sendfile),
    Way::Transfer(Method::Splice),
    Way::Transfer(Method::MmapWrite),
    Way::Stream(Method::Copy),
    Way::Stream(Method::Sendfile),
];

#[expect(unsafe_code, reason = "bytes of files that change are what is tested")]
fn map(file: &File, stability: Stability) -> Bytes {
    let mapped = FileBytes::map(file.try_clone().unwrap(), .., stability).unwrap();
    // SAFETY: `FileBytes::into_bytes`, "no one reads the bytes": they are only sent.
    unsafe { mapped.into_bytes() }
}

/// Sends until the peer's buffer is full, makes the change, and sends the rest: whether all of it
/// was sent, and what the peer got.
fn send(file: &File, way: Way, stability: Stability, change: impl FnOnce()) -> (bool, Vec<u8>) {
    let (writer, reader) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    match way {
        Way::Transfer(method) => {
            let source = Source::file(file, ..).unwrap();
            let mut transfer = Transfer::new(source, Sink::stream(&writer))
                .policy(Policy::Prefer(method))
                .stability(stability);
            while !matches!(transfer.step().unwrap(), Step::Wait(_)) {}
            change();
            let got = collect(reader.into());
            let end = transfer.run();
            drop(transfer);
            drop(writer);
            (end.is_ok(), got.join().unwrap().unwrap())
        }
        Way::Stream(method) => {
            let mut rest = map(file, stability);
            let mut stream = BlockingStream::new(writer).with_policy(Policy::Prefer(method));
            // As much as the socket takes without its reader, in pieces that it surely has
            // room for.
            for _ in 0..4 {
                drop(rest.split_to(stream.write(&rest[..16 << 10]).unwrap()));
            }
            change();
            let got = collect(reader.into());
            let end = stream.write_all(&rest);
            drop(stream);
            (end.is_ok(), got.join().unwrap().unwrap())
        }
    }
}

/// What becomes of a sending of the payload during which `change` is made to its file.
fn sent(way: Way, stability: Stability, change: impl Fn(&Path)) -> (bool, Vec<u8>) {
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let path = dir.path().join("sent");
    fs::write(&path, pattern(0..LEN)).unwrap();
    until_file_times_move();
    send(&File::open(&path).unwrap(), way, stability, || change(&path))
}

fn assert_whole(stability: Stability, name: &str, change: impl Fn(&Path)) {
    for way in WAYS {
        let (is_whole, got) = sent(way, stability, &change);
        assert!(is_whole, "{name} under {stability}, {way:?}");
        assert_eq!(difference(&got, 0, LEN), None, "{name} under {stability}, {way:?}");
    }
}

fn assert_cut(stability: Stability, name: &str, change: impl Fn(&Path)) {
    for way in WAYS {
        let (is_whole, got) = sent(way, stability, &change);
        assert!(!is_whole && (got.len() as u64) < LEN, "{name} under {stability}, {way:?}");
    }
}

fn append(path: &Path) {
    let mut file = File::options().append(true).open(path).unwrap();
    file.write_all(&pattern(LEN..LEN + 5_000)).unwrap();
}

/// As `cp longer over` does it: truncated, and written in place.
fn copy_longer_over(path: &Path) {
    fs::write(path, pattern(100..LEN + 5_000)).unwrap();
}

fn touch(path: &Path) {
    let now = std::time::SystemTime::now();
    File::options().write(true).open(path).unwrap().set_modified(now).unwrap();
}

fn truncate(path: &Path) {
    File::options().write(true).open(path).unwrap().set_len(LEN - 1).unwrap();
}

/// Each of them changes the file's ctime and none its content.
fn change_attributes(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(path, path.with_extension("linked")).unwrap();
    match rustix::fs::setxattr(path, "user.underpass", b"x", XattrFlags::empty()) {
        Ok(()) | Err(Errno::NOTSUP) => {}
        Err(errno) => panic!("setxattr: {errno}"),
    }
    fs::rename(path, path.with_extension("moved")).unwrap();
}

/// A writer that comes does not wait for the lease, and has broken it.
fn open_to_append(path: &Path) {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK;
    let refused = rustix::fs::open(path, flags, Mode::empty());
    assert_eq!(refused.unwrap_err(), Errno::AGAIN);
}

#[test]
fn a_file_that_was_appended_to_is_sent_whole_up_to_the_length_it_had() {
    for stability in [Stability::None, Stability::Guard, Stability::Copy] {
        assert_whole(stability, "append", append);
    }
}

#[test]
fn a_file_written_anew_and_longer_is_cut() {
    for stability in [Stability::Guard, Stability::Copy] {
        assert_cut(stability, "cp longer over", copy_longer_over);
    }
}

/// Every eighth of a file that was sent is remembered.
#[test]
fn a_file_written_in_place_where_it_was_sent_and_longer_is_cut() {
    for method in [Method::Copy, Method::Sendfile] {
        let file = tempfile::tempfile_in(disk_dir().unwrap()).unwrap();
        (&file).write_all(&pattern(0..LEN)).unwrap();
        until_file_times_move();
        let mut rest = map(&file, Stability::Guard);
        let (writer, reader) = UnixStream::pair().unwrap();
        let got = collect(reader.into());
        let mut stream = BlockingStream::new(writer).with_policy(Policy::Prefer(method));
        stream.write_all(&rest.split_to(1 << 20)).unwrap();
        file.write_all_at(b"written", LEN / 8).unwrap();
        file.write_all_at(b"appended", LEN).unwrap();
        assert!(stream.write_all(&rest).is_err(), "{method}");
        drop(stream);
        assert!((got.join().unwrap().unwrap().len() as u64) < LEN, "{method}");
    }
}

/// No content changes, but fstat(2) does not tell this from a write of the same length.
#[test]
fn a_file_that_was_touched_is_cut() {
    for stability in [Stability::Guard, Stability::Copy] {
        assert_cut(stability, "touch", touch);
    }
    assert_whole(Stability::None, "touch", touch);
}

#[test]
fn a_file_with_another_mode_link_attribute_and_name_is_sent_whole() {
    for &stability in Stability::ALL {
        assert_whole(stability, "chmod, link, setxattr, mv", change_attributes);
    }
}

#[test]
fn a_truncated_file_is_cut_under_every_policy() {
    for stability in [Stability::None, Stability::Guard, Stability::Copy] {
        assert_cut(stability, "truncate", truncate);
    }
}

#[test]
fn a_leased_file_is_cut_when_someone_comes_to_append() {
    assert_cut(Stability::Lease, "an appending writer", open_to_append);
}

/// What is kept with a file that grew, such as its length, is out of date.
#[test]
fn growth_makes_what_is_kept_with_a_file_out_of_date() {
    let file = tempfile::tempfile_in(disk_dir().unwrap()).unwrap();
    (&file).write_all(&pattern(0..100_000)).unwrap();
    let mapped = FileBytes::map(file.try_clone().unwrap(), .., Stability::Guard).unwrap();
    let kept = mapped.clone();
    let mut frames = mapped.into_copied_frames();
    assert!(frames.next().unwrap().is_ok() && !kept.has_changed());
    (&file).write_all(b"more").unwrap();
    assert!(frames.all(|piece| piece.is_ok()), "whole");
    assert!(kept.has_changed());
}
