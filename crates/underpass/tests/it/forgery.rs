//! What safe code can try to get a `&[u8]` whose bytes change, and why each attempt fails.
//!
//! That safe code cannot make the promise is a `compile_fail` example of `FileBytes::into_bytes`.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut, Bytes};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use underpass::{BlockingStream, FileBytes, FileBytesMut, Rope, Stability};
use underpass_testkit::payload::pattern;

const WHOLE: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK);

fn memfd(bytes: &[u8], seals: SealFlags) -> File {
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let file = File::from(memfd_create("f", flags).unwrap());
    file.write_all_at(bytes, 0).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file
}

fn map(file: &File) -> FileBytes {
    let fd: OwnedFd = file.try_clone().unwrap().into();
    FileBytes::map(fd, .., Stability::None).unwrap()
}

#[test]
fn the_guarantee_of_one_file_is_not_that_of_another() {
    let sealed = map(&memfd(b"sealed", WHOLE)).into_bytes_if_immutable().unwrap();
    let open = memfd(b"before", SealFlags::empty());
    let refused = map(&open).into_bytes_if_immutable().unwrap_err();
    assert_eq!(refused.len(), 6, "the piece comes back");
    drop(sealed);
    // The slot, and with it the address, of what was sealed.
    assert!(map(&open).into_bytes_if_immutable().is_err());
}

#[test]
fn a_file_that_can_still_be_written_to_is_refused_and_cannot_be_sealed() {
    let file = memfd(b"before", SealFlags::empty());
    let writable = FileBytesMut::map(file.try_clone().unwrap(), ..).unwrap();
    assert_eq!(fcntl_add_seals(&file, WHOLE), Err(Errno::BUSY), "a mapping can store");
    let frozen = writable.freeze();
    assert!(frozen.into_bytes_if_immutable().is_err());
    fcntl_add_seals(&file, WHOLE).unwrap();
    let bytes = map(&file).into_bytes_if_immutable().unwrap();
    assert!(file.write_at(b"AFTER!", 0).is_err());
    assert!(FileBytesMut::map(file.try_clone().unwrap(), ..).is_err());
    assert_eq!(bytes, "before");
}

#[test]
fn a_sealed_file_that_grows_changes_no_byte() {
    let file = memfd(b"sealed", WHOLE);
    let bytes = map(&file).into_bytes_if_immutable().unwrap();
    file.set_len(10_000).unwrap();
    assert!(file.write_at(b"x", 6).is_err() && file.set_len(6).is_err());
    assert_eq!(bytes, "sealed");
    assert_eq!(map(&file).into_bytes_if_immutable().unwrap()[..6], bytes);
}

#[test]
fn what_a_rope_took_outlives_the_bytes_the_piece_and_the_file() {
    let mut rope = Rope::new();
    {
        let bytes = map(&memfd(&pattern(0..4_096), WHOLE)).into_bytes_if_immutable().unwrap();
        rope.put_slice(&bytes[100..1_100]);
    }
    // Its mapping is still there: another one does not take its place.
    let other = map(&memfd(&[9; 4_096], WHOLE)).into_bytes_if_immutable().unwrap();
    assert_eq!(rope.into_pieces()[0], pattern(100..1_100));
    assert_eq!(other, vec![9; 4_096]);
}

/// `Bytes::slice(n..n)` keeps no owner: an empty slice may point to where a region was.
#[test]
fn an_empty_slice_of_a_region_that_is_gone_is_written_as_nothing() {
    let (writer, _reader) = UnixStream::pair().unwrap();
    let file = memfd(&[7; 4_096], WHOLE);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut stream = BlockingStream::new(writer);
        let empty: Bytes = map(&file).into_bytes_if_immutable().unwrap().slice(8..8);
        scope.spawn(|| {
            // Regions come and go at the same place.
            while !is_over.load(Ordering::Relaxed) {
                drop(map(&file));
            }
        });
        for _ in 0..1_000 {
            assert_eq!(stream.write_vectored(&[IoSlice::new(&empty)]).unwrap(), 0);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
