//! More segments than files may be open.

use std::process::{Command, Stdio};

use underpass_testkit::injected::Injected;
use underpass_testkit::log::batch::{self, Sequence};
use underpass_testkit::log::client::{Fetch, produce};
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

use super::broker::{Broker, fetch};

const PARTITIONS: i32 = 4;

/// Of each partition; each has one batch.
const SEGMENTS: i64 = 750;

const OPEN_FILES: &str = "--nofile=256:256";

fn start(dir: &std::path::Path, flags: &[&str]) -> Broker {
    Broker::start_as(dir, flags, |program| {
        let mut limited = Command::new("prlimit");
        limited.arg(OPEN_FILES).arg(program.get_program()).stdout(Stdio::piped());
        limited
    })
}

fn value(partition: i32, offset: i64) -> Vec<u8> {
    format!("{partition} at {offset}").into_bytes()
}

/// Reads every record, from the first on and from the last back, over several connections.
fn read_all(broker: &Broker) {
    let mut clients: Vec<_> = (0..20).map(|_| broker.client()).collect();
    let mut turns = (0..clients.len()).cycle();
    for at in (0..SEGMENTS).flat_map(|nth| [nth, SEGMENTS - 1 - nth]) {
        for partition in 0..PARTITIONS {
            let client = &mut clients[turns.next().unwrap()];
            let fetched = client.fetch(&Fetch { partition, ..fetch(at, 1 << 20) }).unwrap();
            assert_eq!(fetched.error, 0, "{partition} at {at}");
            let records = batch::read(&fetched.records).unwrap();
            assert_eq!((records[0].offset, &records[0].value), (at, &value(partition, at)));
        }
    }
}

#[test]
fn thousands_of_segments_are_written_and_read_with_256_open_files() {
    require!(Capability::Program("prlimit"));
    // In memory: every segment comes with three calls of fdatasync(2) or fsync(2).
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let broker = start(dir.path(), &[]);
    broker.create("t", PARTITIONS, &[("segment.bytes", "14")]);
    let mut client = broker.client();
    for offset in 0..SEGMENTS {
        for partition in 0..PARTITIONS {
            let batch = batch::of(&[value(partition, offset)], 0, Sequence::NONE);
            let produced = client.produce("t", partition, -1, &batch).unwrap();
            assert_eq!((produced.error, produced.base_offset), (0, offset), "{partition}");
        }
    }
    read_all(&broker);
    let (dir, _) = broker.kill();
    let broker = start(&dir, &[]);
    read_all(&broker);
    broker.stop_and_check();
}

#[test]
fn segments_that_come_faster_than_the_disk_takes_them_wait_for_it() {
    /// Together as many segments as there may be open files.
    const PRODUCERS: usize = 16;
    const EACH: usize = 20;
    require!(Capability::Program("prlimit"));
    require!(Capability::Strace);
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let broker = start(dir.path(), &["--acks", "written", "--reads", "written"]);
    broker.create("t", 1, &[("segment.bytes", "14")]);
    let mut producers: Vec<_> = (0..PRODUCERS).map(|_| broker.client()).collect();
    let _slow = Injected::into(broker.id(), "fdatasync:delay_enter=10000").unwrap();
    let mut told = vec![None; PRODUCERS * EACH];
    for turn in 0..EACH {
        for (nth, producer) in producers.iter_mut().enumerate() {
            let batch = batch::of(&[format!("{turn} of {nth}").into_bytes()], 0, Sequence::NONE);
            producer.send(0, 7, &produce("t", 0, 1, &batch)).unwrap();
        }
        for (nth, producer) in producers.iter_mut().enumerate() {
            let produced = producer.produced().unwrap();
            assert_eq!(produced.error, 0, "{turn} of {nth}");
            let offset = usize::try_from(produced.base_offset).unwrap();
            let before = told[offset].replace(format!("{turn} of {nth}").into_bytes());
            assert!(before.is_none(), "{offset} was given twice");
        }
    }
    for (offset, value) in (0..).zip(told) {
        let fetched = producers[0].fetch(&fetch(offset, 1)).unwrap();
        let records = batch::read(&fetched.records).unwrap();
        assert_eq!((records[0].offset, Some(&records[0].value)), (offset, value.as_ref()));
    }
    broker.stop_and_check();
}

#[test]
fn more_partitions_than_open_files_are_made_and_written() {
    const MANY: i32 = 300;
    require!(Capability::Program("prlimit"));
    for flags in [&["--acks", "written", "--reads", "written"][..], &[]] {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let broker = start(dir.path(), flags);
        broker.create("t", MANY, &[]);
        let mut client = broker.client();
        for offset in 0..2 {
            for partition in 0..MANY {
                let batch = batch::of(&[value(partition, offset)], 0, Sequence::NONE);
                let produced = client.produce("t", partition, 1, &batch).unwrap();
                assert_eq!((produced.error, produced.base_offset), (0, offset), "{partition}");
            }
        }
        broker.stop_and_check();
    }
}
