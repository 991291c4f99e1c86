//! A disk that is full, and then is not.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::log::batch;
use underpass_testkit::log::client::Fetch;
use underpass_testkit::{require, wait};

use super::broker::{Broker, batch_of, fetch};

const PATIENCE: Duration = Duration::from_secs(10);

/// `KAFKA_STORAGE_ERROR`
const STORAGE: i16 = 56;

/// Writes until there is no room.
fn fill(path: &Path) {
    let (mut file, zeros) = (File::create(path).unwrap(), vec![0; 1 << 16]);
    let full = std::iter::repeat_with(|| file.write_all(&zeros)).find_map(Result::err);
    assert_eq!(full.unwrap().kind(), ErrorKind::StorageFull);
}

#[test]
fn a_full_disk_refuses_what_is_produced_and_nothing_else_until_it_has_room() {
    let disk = require!(Disk::new(FileSystem::Ext4, 48 << 20));
    let broker = Broker::start(&disk.path().join("data"), &[]);
    let workload = broker.workload(-1, &[("segment.bytes", "65536")]);
    for round in 0..3 {
        workload.wait_for(300);
        let other = disk.path().join("other");
        fill(&other);
        let (before, refused) = (workload.seen(), workload.refused());
        let is_refused = || (workload.refused() >= refused + 20).then_some(());
        wait::until(PATIENCE, is_refused).expect("there is no room for it");
        // The workload sends small batches; of this one every partition has no room.
        let mut client = broker.client();
        for partition in 0..3 {
            let produced = client.produce("t", partition, -1, &batch_of(500_000)).unwrap();
            assert_eq!(produced.error, STORAGE, "round {round}");
            let fetched = client.fetch(&Fetch { partition, ..fetch(0, 1 << 20) }).unwrap();
            assert_eq!(fetched.error, 0);
            assert!(!batch::read(&fetched.records).unwrap().is_empty());
        }
        assert!(before > 0);
        std::fs::remove_file(other).unwrap();
    }
    workload.wait_for(300);
    workload.finish().unwrap().assert_sound();
    broker.stop_and_check();
}
