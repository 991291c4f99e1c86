//! What a power cut leaves of a store: what was said to be whole, and no byte that did not come.

use std::fs::File;
use std::sync::Arc;

use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::origin::{Fault, Object as Content, Stop};
use underpass_testkit::require;

use crate::rig::{LEN, Rig, read, until};
use crate::store::{Store, StoreOptions};

fn rig_on(disk: &Disk) -> Rig {
    Rig::with(|options| options.directory = disk.path().join("cache"))
}

/// The store as the disk has it after a power cut.
fn after(cut: &Disk) -> Arc<Store> {
    Store::open(StoreOptions::new(cut.path().join("cache"), 1 << 30)).unwrap()
}

#[test]
fn what_was_whole_is_whole_after_a_power_cut() {
    let disk = require!(Disk::new(FileSystem::Ext4, 64 << 20));
    let rig = rig_on(&disk);
    let content = rig.server.put("/a", Content::new(LEN));
    let (entry, object) = rig.ask_and_open("/a");
    read(&object, 0..LEN).unwrap();
    until(|| entry.is_whole());
    rig.store.close();
    let cut = require!(disk.after_power_cut());
    let store = after(&cut);
    let entry = store.get(&rig.key("/a")).expect("it is there");
    assert!(entry.is_whole());
    rig.server.down();
    let object = entry.object(&rig.origin).unwrap();
    assert_eq!(content.difference(0, &read(&object, 0..LEN).unwrap()), None);
    assert_eq!(rig.server.request_count(), 1);
    drop((object, entry, store));
}

#[test]
fn of_a_part_whose_bytes_were_not_on_the_disk_none_is_believed() {
    let disk = require!(Disk::new(FileSystem::Ext4, 64 << 20));
    let rig = rig_on(&disk);
    let content = rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Stall));
    let (entry, object) = rig.ask_and_open("/a");
    until(|| object.available(0) == 1_000_000);
    // What there is of it is written down, and that alone reaches the disk.
    rig.store.close();
    let meta = entry.name().meta();
    File::open(&meta).unwrap().sync_all().unwrap();
    File::open(meta.parent().unwrap()).unwrap().sync_all().unwrap();
    let cut = require!(disk.after_power_cut());
    let store = after(&cut);
    let entry = store.get(&rig.key("/a")).expect("its meta is there");
    let data = std::fs::read(entry.name().data()).unwrap();
    assert_eq!(data.len() as u64, LEN);
    assert!(content.difference(0, &data[..1_000_000]).is_some(), "its bytes are not");
    rig.server.down();
    rig.server.up().unwrap();
    let object = entry.object(&rig.origin).unwrap();
    assert_eq!(object.available(0), 0);
    assert_eq!(content.difference(0, &read(&object, 0..LEN).unwrap()), None);
    store.close();
    drop((object, entry, store));
}
