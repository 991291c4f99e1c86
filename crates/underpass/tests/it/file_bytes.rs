//! File-backed bytes as memory: mapped, sliced, read, changed and lost.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use underpass::{Broken, Errno, FileBytes, FileBytesMut, MapError, Stability, StoreError};
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::payload::{pattern, patterned_file};
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

fn map(file: &File, range: impl std::ops::RangeBounds<u64>) -> Result<FileBytes, MapError> {
    FileBytes::map(file.try_clone().unwrap(), range, Stability::None)
}

#[test]
fn a_slice_reads_as_the_file_does_at_its_offset() {
    let file = patterned_file(20_000).unwrap();
    let whole = map(&file, 5_000..).unwrap();
    let part = whole.slice(1_000..3_000).unwrap();
    drop(whole);
    assert_eq!((part.len(), part.file_offset()), (2_000, 6_000));
    let mut got = vec![0; 10_000];
    assert_eq!(part.read_at(500, &mut got), Ok(1_500), "up to the piece's end");
    assert_eq!(got[..1_500], pattern(6_500..8_000));
    assert_eq!(part.read_at(2_000, &mut got), Ok(0));
    assert_eq!(part.read_at(usize::MAX, &mut got), Ok(0));
    assert!(part.slice(1..2_001).is_none() && part.slice(2_000..2_000).is_some());
}

#[test]
fn an_empty_file_maps_to_no_bytes_and_a_range_beyond_the_end_to_an_error() {
    let file = patterned_file(0).unwrap();
    assert!(map(&file, ..).unwrap().is_empty());
    let file = patterned_file(10).unwrap();
    for range in [5..11, 11..11] {
        let error = map(&file, range.clone()).unwrap_err();
        let message =
            format!("bytes {}..{} are not within a file of 10 bytes", range.start, range.end);
        assert_eq!(error.to_string(), message);
    }
    let backwards = (std::ops::Bound::Included(5), std::ops::Bound::Excluded(4));
    assert!(matches!(map(&file, backwards), Err(MapError::Range { offset: 5, end: 4, .. })));
}

#[test]
fn bytes_the_file_lost_are_an_error_with_their_offset() {
    let file = patterned_file(3 * 4_096).unwrap();
    let bytes = map(&file, ..).unwrap();
    file.set_len(4_096).unwrap();
    let mut got = [0; 4_096];
    assert_eq!(bytes.read_at(0, &mut got), Ok(4_096));
    assert_eq!(bytes.read_at(8_000, &mut got), Err(Broken { offset: 4_096 }));
    assert_eq!(bytes.check(), Err(Broken { offset: 4_096 }), "and it stays known");
    assert!(bytes.has_changed());
    assert_eq!(bytes.read_at(1, &mut got[1..]), Ok(4_095), "what is there can still be read");
    assert_eq!(got[1..], pattern(1..4_096));
}

/// The page in which a file ends does not fault: the rest of it reads as zeros.
#[test]
fn bytes_lost_in_the_page_where_the_file_ends_now_are_not_read_as_zeros() {
    let file = patterned_file(4_096).unwrap();
    let bytes = map(&file, ..).unwrap();
    file.set_len(100).unwrap();
    let mut got = [0; 200];
    assert_eq!(bytes.read_at(0, &mut got), Err(Broken { offset: 100 }));
    assert!(bytes.has_changed());
    assert_eq!(bytes.read_at(0, &mut got[..100]), Ok(100));
    assert_eq!(bytes.check(), Err(Broken { offset: 100 }));
}

#[test]
fn what_is_stored_in_a_mapping_is_in_the_file_and_flushed_to_its_disk() {
    let file = patterned_file(10_000).unwrap();
    let mut bytes = FileBytesMut::map(file.try_clone().unwrap(), 4_000..).unwrap();
    bytes.write_at(96, b"changed in memory").unwrap();
    let mut got = [0; 17];
    file.read_exact_at(&mut got, 4_096).unwrap();
    assert_eq!(&got, b"changed in memory", "at once");
    bytes.flush().unwrap();
    assert_eq!(
        bytes.write_at(5_990, b"eleven here"),
        Err(StoreError::Outside { at: 5_990, end: 6_001, len: 6_000 })
    );
    file.write_all_at(b"and back", 9_992).unwrap();
    let mut got = [0; 8];
    assert_eq!(bytes.freeze().read_at(5_992, &mut got), Ok(8));
    assert_eq!(&got, b"and back");
}

#[test]
fn a_store_into_a_file_that_was_truncated_is_an_error_and_not_a_signal() {
    let file = patterned_file(8_192).unwrap();
    let mut bytes = FileBytesMut::map(file.try_clone().unwrap(), ..).unwrap();
    file.set_len(4_196).unwrap();
    assert_eq!(bytes.write_at(5_000, b"x"), Err(StoreError::Broken(Broken { offset: 4_196 })));
    let mut got = [0; 2];
    for at in [0, 4_100] {
        bytes.write_at(at, b"ok").unwrap();
        file.read_exact_at(&mut got, at as u64).unwrap();
        assert_eq!(&got, b"ok", "a store elsewhere is in the file");
        assert_eq!(bytes.read_at(at, &mut got), Ok(2));
    }
    bytes.flush().unwrap();
    assert_eq!(file.metadata().unwrap().len(), 4_196, "and none made it longer");
}

/// The disk fills up while a hole is stored into.
#[test]
fn a_store_for_which_the_disk_has_no_room_says_so_and_the_others_are_made() {
    const HOLE_END: usize = 64 << 20;
    require!(Capability::Root);
    let disk = require!(Disk::new(FileSystem::Ext4, 8 << 20));
    let path = disk.path().join("sparse");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all_at(&pattern(0..4_096), HOLE_END as u64).unwrap();
    file.sync_all().unwrap();
    let mut bytes = FileBytesMut::map(file.try_clone().unwrap(), ..).unwrap();
    let pages = (0..HOLE_END).step_by(4_096);
    let refused = pages.map(|at| (at, bytes.write_at(at, b"x"))).find(|(_, end)| end.is_err());
    let (at, error) = refused.unwrap();
    let StoreError::Call { errno, offset, .. } = error.unwrap_err() else {
        panic!("the kernel's answer is not reported");
    };
    assert_eq!((errno, offset), (Errno::NOSPC, at as u64));
    let mut got = [0; 4_096];
    assert_eq!(bytes.read_at(HOLE_END, &mut got), Ok(4_096), "behind the page that failed");
    assert_eq!(got[..], pattern(0..4_096));
    bytes.write_at(HOLE_END + 7, b"stored").unwrap();
    file.read_exact_at(&mut got[..6], HOLE_END as u64 + 7).unwrap();
    assert_eq!(&got[..6], b"stored");
}

#[test]
fn errors_name_their_errno_once_and_convert() {
    let error = FileBytes::map(File::open("/").unwrap(), ..0, Stability::None).unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "mmap failed for bytes 0..0: No such device (ENODEV)");
    assert!(std::error::Error::source(&error).is_none());
    assert_eq!(std::io::Error::from(error).to_string(), text);
    let broken = std::io::Error::from(Broken { offset: 7 });
    assert_eq!(broken.kind(), std::io::ErrorKind::UnexpectedEof);
    let outside = StoreError::Outside { at: 1, end: 3, len: 2 };
    assert_eq!(std::io::Error::from(outside).kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn a_file_that_is_not_open_for_writing_is_not_mapped_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("read-only");
    std::fs::write(&path, b"abc").unwrap();
    let error = FileBytesMut::map(File::open(path).unwrap(), ..).unwrap_err();
    assert!(matches!(error, MapError::Call { call: "mmap", errno: Errno::ACCESS, .. }));
}

#[test]
fn only_a_file_that_cannot_change_becomes_bytes_without_a_promise() {
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let file = memfd_create("sealed", flags).unwrap();
    rustix::io::write(&file, b"for ever").unwrap();
    let map = |fd: &std::os::fd::OwnedFd| {
        FileBytes::map(fd.try_clone().unwrap(), .., Stability::None).unwrap()
    };
    assert!(map(&file).into_bytes_if_immutable().is_err());
    fcntl_add_seals(&file, SealFlags::WRITE).unwrap();
    assert!(map(&file).into_bytes_if_immutable().is_err(), "it could still shrink");
    fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    assert_eq!(map(&file).into_bytes_if_immutable().unwrap(), "for ever");
}
