//! More segments than files may be open.

use std::process::{Command, Stdio};

use underpass_testkit::log::batch::{self, Sequence};
use underpass_testkit::log::client::Fetch;
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

use super::broker::{Broker, fetch};

const PARTITIONS: i32 = 4;

/// Of each partition; each has one batch.
const SEGMENTS: i64 = 750;

const OPEN_FILES: &str = "--nofile=256:256";

fn start(dir: &std::path::Path) -> Broker {
    Broker::start_as(dir, &[], |program| {
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
    let broker = start(dir.path());
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
    let broker = start(&dir);
    read_all(&broker);
    broker.stop_and_check();
}
