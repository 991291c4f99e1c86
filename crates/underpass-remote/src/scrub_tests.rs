//! Bits that flip on the disk, and what looking for them leaves behind.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::origin::Object as Content;

use super::*;
use crate::rig::{LEN, Rig, until};

const FAST: u64 = u64::MAX;

/// Whole objects under these paths, each of which is used by none.
fn whole(rig: &Rig, paths: &[&str]) -> Vec<Arc<Entry>> {
    let one = |path: &&str| {
        rig.server.put(path, Content::new(LEN));
        let entry = rig.ask(path);
        rig.read(&entry, 0..LEN).unwrap();
        until(|| entry.is_whole());
        entry
    };
    paths.iter().map(one).collect()
}

fn flip(entry: &Entry, at: u64) {
    let file = File::options().read(true).write(true).open(entry.name().data()).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn a_bit_that_flipped_is_found_and_its_object_comes_anew() {
    for at in [0, 65_535, 65_536, 2_000_000, LEN - 1] {
        let rig = Rig::new();
        let entries = whole(&rig, &["/a", "/b"]);
        flip(&entries[0], at);
        let scrubbed = rig.store.scrub(FAST, &Interrupt::never().unwrap());
        assert_eq!((scrubbed.entries, scrubbed.damaged), (1, 1), "{at}");
        assert_eq!(rig.store.facts().scrubbed, scrubbed);
        assert!(rig.store.get(&rig.key("/a")).is_none() && entries[0].is_removed());
        assert!(rig.store.get(&rig.key("/b")).is_some());
        let again = rig.store.scrub(FAST, &Interrupt::never().unwrap());
        assert_eq!(again, Scrubbed { entries: 1, bytes: LEN, damaged: 0 });
    }
}

#[test]
fn it_is_as_slow_as_it_is_to_be_and_ends_when_it_is_told_to() {
    let rig = Rig::new();
    whole(&rig, &["/a"]);
    let began = Instant::now();
    rig.store.scrub(LEN * 2, &Interrupt::never().unwrap());
    assert!(began.elapsed() >= Duration::from_millis(490), "{:?}", began.elapsed());
    let (interrupt, store) = (Interrupt::never().unwrap(), Arc::clone(&rig.store));
    let own = interrupt.clone();
    let slow = thread::spawn(move || store.scrub(1000, &own));
    let before = LEN + STEP_BYTES as u64;
    until(|| rig.store.facts().scrubbed.bytes >= LEN + CELL);
    interrupt.end();
    assert_eq!(slow.join().unwrap().entries, 0);
    assert!(rig.store.facts().scrubbed.bytes <= before, "one step at a time");
}

/// Bytes of a piece of a small object.
const CELL: u64 = 64 << 10;

#[test]
fn what_cannot_be_looked_at_is_not_called_damaged() {
    let rig = Rig::new();
    let entries = whole(&rig, &["/a"]);
    let data = entries[0].name().data();
    std::fs::remove_file(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    let scrubbed = rig.store.scrub(FAST, &Interrupt::never().unwrap());
    assert_eq!((scrubbed.entries, scrubbed.damaged), (0, 0));
    assert!(!entries[0].is_removed());
    std::fs::remove_dir(&data).unwrap();
    let scrubbed = rig.store.scrub(FAST, &Interrupt::never().unwrap());
    assert_eq!((scrubbed.damaged, entries[0].is_removed()), (1, true));
}

#[test]
fn the_page_cache_is_as_it_was() {
    let disk = underpass_testkit::require!(Disk::new(FileSystem::Ext4, 64 << 20));
    let rig = Rig::with(|options| options.directory = disk.path().join("cache"));
    let entries = whole(&rig, &["/cold", "/warm"]);
    let [cold, warm] = [&entries[0], &entries[1]].map(|entry| entry.name().data());
    let file = File::open(&cold).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    let scrubbed = rig.store.scrub(FAST, &Interrupt::never().unwrap());
    assert_eq!((scrubbed.entries, scrubbed.bytes), (2, 2 * LEN));
    let [cold, warm] = [in_memory(&cold), in_memory(&warm)];
    assert!(cold < 100 && warm > 700, "{cold} and {warm} of 733 pages");
    drop(rig);
}

/// How many pages of a file are. Asking makes them so.
fn in_memory(path: &Path) -> usize {
    let file = File::open(path).unwrap();
    fadvise(&file, 0, None, Advice::Random).unwrap();
    (0..LEN / 4096).filter(|page| !is_cold(&file, page * 4096)).count()
}
