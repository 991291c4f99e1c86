use std::io::Write;
use std::os::unix::fs::FileExt;

use super::*;
use crate::arena::Space;

fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn region(file: &std::fs::File, offset: u64, len: usize, access: Access) -> Arc<Region> {
    let fd = file.try_clone().unwrap().into();
    Region::map(fd, offset, len, access, Box::new(())).unwrap()
}

fn slice(region: &Arc<Region>, range: Range<usize>) -> RegionSlice {
    // SAFETY: the caller promises: each test below reads only bytes it does not change, or
    // means to read changed ones through the guard.
    unsafe { RegionSlice::new(Arc::clone(region), range) }
}

#[test]
fn a_slice_tells_its_file_and_offset_by_address() {
    let file = file(&[5; 20_000]);
    let region = region(&file, 4_097, 10_000, Access::Read);
    let whole = slice(&region, 0..10_000);
    let (found, offset) = Region::find(&whole.as_ref()[100..200]).unwrap();
    assert!(ptr::eq(found, &*region));
    assert_eq!(offset, 4_097 + 100);
    assert!(Region::find(&[1, 2, 3]).is_none(), "heap memory is in no region");
    assert!(Region::find(&whole.as_ref()[7..7]).is_none(), "an empty slice is nowhere");
}

#[test]
fn neighbours_do_not_answer_for_each_other() {
    let (one, two) = (file(&[1; 4_096]), file(&[2; 4_096]));
    let (one, two) = (region(&one, 0, 4_096, Access::Read), region(&two, 0, 4_096, Access::Read));
    for (region, byte) in [(&one, 1), (&two, 2)] {
        let bytes = slice(region, 0..4_096);
        let (found, offset) = Region::find(&bytes.as_ref()[4_095..]).unwrap();
        assert!(ptr::eq(found, &**region));
        assert_eq!((offset, bytes.as_ref()[4_095]), (4_095, byte));
    }
}

#[test]
fn every_size_finds_its_class_and_a_dropped_slot_is_reserved_again() {
    let sparse = tempfile::tempfile().unwrap();
    for len in [1, 4_096, 4_097, 16_384, 16_385, 1 << 30, (1 << 30) + 1, 5 << 30] {
        sparse.set_len(len as u64).unwrap();
        let region = region(&sparse, 0, len, Access::Read);
        let at = region.address;
        assert_eq!(Space::made().unwrap().region_at(at + len - 1), Some(Arc::as_ptr(&region)));
        drop(region);
        assert_eq!(Space::made().unwrap().region_at(at), Some(ptr::null()), "{len}");
    }
    let fd = sparse.into();
    let refused = Region::map(fd, 0, 1 << 41, Access::Read, Box::new(()));
    assert_eq!(refused.unwrap_err(), Errno::NOMEM, "no class holds 2 TiB");
}

#[test]
fn a_page_the_file_lost_reads_as_zeros_and_marks_the_region() {
    let file = file(&[9; 12_288]);
    let region = region(&file, 0, 12_288, Access::Read);
    let bytes = slice(&region, 0..12_288);
    assert_eq!(bytes.as_ref()[12_287], 9);
    file.set_len(4_096).unwrap();
    let mut copy = [1; 12_288];
    assert_eq!(region.copy_out(0, &mut copy), 12_288);
    assert_eq!((copy[4_095], copy[4_096], copy[12_287]), (9, 0, 0));
    assert_eq!(region.broken_at(), Some(4_096));
    assert_eq!(bytes.as_ref()[8_000], 0, "later touches do not fault again");
}

#[test]
fn stores_reach_the_file_and_stores_past_its_end_do_not_kill() {
    let file = file(b"hello, world");
    let region = region(&file, 0, 12, Access::ReadWrite);
    assert_eq!(region.copy_in(7, b"there!"), 5, "cut at the region's end");
    region.sync().unwrap();
    let mut got = [0; 12];
    file.read_exact_at(&mut got, 0).unwrap();
    assert_eq!(&got, b"hello, there");
    file.set_len(0).unwrap();
    assert_eq!(region.copy_in(0, b"x"), 1);
    assert_eq!(region.broken_at(), Some(0));
    assert_eq!(file.metadata().unwrap().len(), 0);
}

#[test]
fn a_read_only_region_takes_no_stores() {
    let file = file(b"abc");
    assert_eq!(region(&file, 0, 3, Access::Read).copy_in(0, b"x"), 0);
}

#[test]
fn a_found_region_can_be_kept_after_its_slice_is_gone() {
    let file = file(b"abcdef");
    let region = region(&file, 0, 6, Access::Read);
    let bytes = slice(&region, 2..4);
    let kept = Region::find(bytes.as_ref()).unwrap().0.to_shared();
    drop((bytes, region));
    let mut got = [0; 2];
    kept.copy_out(2, &mut got);
    assert_eq!(&got, b"cd");
}

/// Sealed against writing and shrinking, not against growing.
fn sealed(bytes: &[u8]) -> std::fs::File {
    let flags = rustix::fs::MemfdFlags::ALLOW_SEALING | rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("sealed", flags).unwrap());
    file.write_all(bytes).unwrap();
    rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK).unwrap();
    file
}

#[test]
fn the_kernel_vouches_for_this_very_region_and_up_to_the_files_end_only() {
    let (sealed, open) = (sealed(b"for ever"), file(b"for now"));
    let (good, bad) = (region(&sealed, 0, 8, Access::Read), region(&open, 0, 7, Access::Read));
    assert_eq!(RegionSlice::by_kernel(good, 0..8).unwrap().as_ref(), b"for ever");
    assert!(RegionSlice::by_kernel(bad, 0..7).is_err(), "while the other is sealed");
    let longer = region(&sealed, 4, 100, Access::Read);
    let longer = RegionSlice::by_kernel(longer, 0..5).expect_err("its file may grow");
    assert_eq!(RegionSlice::by_kernel(longer, 0..4).unwrap().as_ref(), b"ever");
}

#[test]
fn an_empty_slice_is_in_no_region_and_no_holder_is_read_for_it() {
    let space = Space::get().unwrap();
    let slot = space.take(NonZeroUsize::new(1).unwrap()).unwrap();
    // A holder that is gone: reading it would end the process.
    space.set_holder(slot, ptr::without_provenance(align_of::<Region>()));
    let start = ptr::NonNull::new(ptr::with_exposed_provenance_mut::<u8>(space.address(slot)));
    // SAFETY: std::slice::from_raw_parts: an empty slice needs only an aligned pointer, not null.
    let empty = unsafe { std::slice::from_raw_parts(start.unwrap().as_ptr(), 0) };
    assert!(Region::find(empty).is_none() && RegionSlice::of(empty).is_none());
    space.set_holder(slot, ptr::null());
    space.give_back(slot);
}
