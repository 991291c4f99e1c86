//! A consumer whose records come from a slow disk: no one else waits with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::log::batch;
use underpass_testkit::log::client::Fetch;
use underpass_testkit::{require, wait};

use super::broker::{Broker, batch_of, fetch};

const PATIENCE: Duration = Duration::from_secs(10);

/// So few that the cold records take half a minute.
const READS_BYTES_PER_S: u64 = 1 << 20;

const COLD_BATCHES: usize = 32;
const COLD_RECORD_BYTES: usize = 1_000_000;

/// The server makes each call for 2 MiB at most: where it waits within one, these requests get
/// their turns between a few dozen calls, and do not all fit.
const ROUNDS: i64 = 200;

fn segments(partition: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(partition).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
}

/// Whether a thread of a process waits for a disk: state D, `proc_pid_stat(5)`.
fn waits_for_a_disk(process: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut stats = tasks.flatten().map(|task| fs::read_to_string(task.path().join("stat")));
    // A thread may end meanwhile.
    stats.any(|stat| stat.is_ok_and(|stat| stat.contains(") D ")))
}

#[test]
fn while_one_waits_for_cold_records_others_produce_and_fetch() {
    let mut disk = require!(Disk::new(FileSystem::Ext4, 128 << 20));
    // Before the server starts: a limit may be for those who start later.
    require!(disk.throttle_reads(READS_BYTES_PER_S));
    let data = disk.path().join("data");
    let broker = Broker::start(&data, &[]);
    let (mut producer, mut consumer, mut cold) =
        (broker.client(), broker.client(), broker.client());
    broker.create("t", 1, &[]);
    broker.create("hot", 1, &[]);
    for _ in 0..COLD_BATCHES {
        let produced = producer.produce("t", 0, -1, &batch_of(COLD_RECORD_BYTES)).unwrap();
        assert_eq!(produced.error, 0);
    }
    for segment in segments(&data.join("t-0")) {
        Disk::evict(File::open(segment).unwrap()).unwrap();
    }
    cold.send(1, 11, &fetch(0, 48 << 20).body()).unwrap();
    let cold = std::thread::spawn(move || cold.fetched().unwrap());
    let waits = || waits_for_a_disk(broker.id()).then_some(());
    wait::until(PATIENCE, waits).expect("the cold records are waited for");
    for round in 0..ROUNDS {
        let produced = producer.produce("hot", 0, 1, &batch_of(10)).unwrap();
        assert_eq!((produced.error, produced.base_offset), (0, round));
        let hot = Fetch { topic: "hot", max_wait_ms: 10_000, ..fetch(round, 1 << 20) };
        let fetched = consumer.fetch(&hot).unwrap();
        assert_eq!(batch::read(&fetched.records).unwrap()[0].offset, round);
    }
    assert!(!cold.is_finished(), "the cold records came first");
    disk.release_reads();
    let records = batch::read(&cold.join().unwrap().records).unwrap();
    assert_eq!(records.len(), COLD_BATCHES);
    assert!(records.iter().all(|record| record.value == vec![7; COLD_RECORD_BYTES]));
    broker.stop_and_check();
}
