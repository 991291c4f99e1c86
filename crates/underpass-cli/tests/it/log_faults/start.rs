//! The start after a crash, and the start on a directory of which a part is gone or damaged.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use underpass_testkit::injected::Injected;
use underpass_testkit::log::batch;
use underpass_testkit::log::client::{Body, Client, Fetch, produce};
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

use super::broker::{Broker, batch_of, fetch};
use crate::running::program;

/// `UNKNOWN_TOPIC_OR_PARTITION`
const UNKNOWN: i16 = 3;

/// `LEADER_NOT_AVAILABLE`
const NO_LEADER: i16 = 5;

/// `KAFKA_STORAGE_ERROR`
const STORAGE: i16 = 56;

/// A server with one record in each partition that was killed and started again.
fn after_a_crash(dir: &std::path::Path, partitions: i32) -> Broker {
    let broker = Broker::start(dir, &[]);
    broker.create("t", partitions, &[]);
    for partition in 0..partitions {
        broker.client().produce("t", partition, -1, &batch_of(10)).unwrap();
    }
    broker.kill();
    Broker::start(dir, &[])
}

#[test]
fn the_first_batch_after_a_crash_waits_for_its_epoch_and_no_one_else_does() {
    require!(Capability::Strace);
    let dir = tempfile::tempdir().unwrap();
    let broker = after_a_crash(dir.path(), 3);
    let delay = Duration::from_secs(2);
    let slow = Injected::into(broker.id(), "fsync:delay_enter=2000000").unwrap();
    let (mut producer, mut other) = (broker.client(), broker.client());
    let start = Instant::now();
    producer.send(0, 7, &produce("t", 0, 1, &batch_of(10))).unwrap();
    for _ in 0..20 {
        assert_eq!(other.offset_at("t", 0, -1).unwrap(), 1);
    }
    assert!(start.elapsed() < delay, "the worker waited for the disk");
    assert_eq!(producer.produced().unwrap().base_offset, 1);
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    drop(slow);
    // Written down once, and not for each batch.
    let _slow = Injected::into(broker.id(), "fsync:delay_enter=60000000").unwrap();
    assert_eq!(producer.produce("t", 0, -1, &batch_of(10)).unwrap().base_offset, 2);
    let records = batch::read(&other.fetch(&fetch(0, 1 << 20)).unwrap().records).unwrap();
    let epochs: Vec<i32> = records.iter().map(|record| record.leader_epoch).collect();
    assert_eq!(epochs, [0, 1, 1]);
}

#[test]
fn a_batch_whose_epoch_cannot_be_written_down_is_refused() {
    require!(Capability::Strace);
    let dir = tempfile::tempdir().unwrap();
    let broker = after_a_crash(dir.path(), 3);
    let full = Injected::into(broker.id(), "fsync:error=ENOSPC").unwrap();
    let mut client = broker.client();
    for acks in [1, -1] {
        assert_eq!(client.produce("t", 0, acks, &batch_of(10)).unwrap().error, STORAGE);
    }
    drop(full);
    // There is room again.
    assert_eq!(client.produce("t", 0, -1, &batch_of(10)).unwrap().base_offset, 1);
    let failing = Injected::into(broker.id(), "fsync:error=EIO").unwrap();
    assert_eq!(client.produce("t", 1, 1, &batch_of(10)).unwrap().error, STORAGE);
    drop(failing);
    for _ in 0..3 {
        assert_eq!(client.produce("t", 1, 1, &batch_of(10)).unwrap().error, STORAGE);
    }
}

#[test]
fn a_batch_that_waits_for_its_epoch_is_refused_when_its_topic_is_deleted() {
    /// Far more than are written down at a time.
    const PARTITIONS: i32 = 16;
    require!(Capability::Strace);
    let dir = tempfile::tempdir().unwrap();
    let broker = after_a_crash(dir.path(), PARTITIONS);
    let _slow = Injected::into(broker.id(), "fsync:delay_enter=300000").unwrap();
    let mut producers: Vec<_> = (0..PARTITIONS).map(|_| broker.client()).collect();
    let mut other = broker.client();
    for (partition, producer) in (0..).zip(&mut producers) {
        producer.send(0, 7, &produce("t", partition, 1, &batch_of(10))).unwrap();
    }
    assert_eq!(other.delete_topic("t").unwrap(), 0);
    let told = producers.iter_mut().map(|producer| producer.produced().unwrap().error);
    let told: Vec<i16> = told.collect();
    assert!(told.iter().all(|error| [0, UNKNOWN].contains(error)), "{told:?}");
    assert!(told.contains(&UNKNOWN), "{told:?}");
}

/// Error, leader and offline replicas of each partition of `t`, as Metadata 5 tells.
fn described(client: &mut Client) -> io::Result<Vec<(i16, i32, Vec<i32>)>> {
    client.send(3, 5, &Body::default().i32(1).string("t").i8(0))?;
    let mut answer = client.receive()?;
    answer.i32()?;
    answer.one_of(|broker| {
        broker.i32()?;
        broker.string()?;
        broker.i32()?;
        broker.string()
    })?;
    answer.string()?;
    answer.i32()?;
    let described = answer.one_of(|topic| {
        assert_eq!(topic.i16()?, 0);
        topic.string()?;
        topic.i8()?;
        topic.array_of(|partition| {
            let (error, _index, leader) = (partition.i16()?, partition.i32()?, partition.i32()?);
            let [_replicas, _isr, offline] =
                [(); 3].map(|()| partition.array_of(underpass_testkit::log::answer::Answer::i32));
            Ok((error, leader, offline?))
        })
    })?;
    answer.end()?;
    Ok(described)
}

#[test]
fn partitions_that_cannot_be_opened_are_offline_and_named_and_the_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, elsewhere) = (after_a_crash(dir.path(), 3), dir.path().join("elsewhere"));
    broker.kill();
    fs::rename(dir.path().join("t-1"), &elsewhere).unwrap();
    let damaged = dir.path().join("t-2/log-start-offset");
    fs::write(&damaged, [0xff]).unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let lines: Vec<&str> = broker.said.lines().filter(|line| line.contains("offline")).collect();
    assert_eq!(lines.len(), 2, "{}", broker.said);
    for (name, why) in [("t-1 is offline", "is missing"), ("t-2 is offline", "log-start-offset")] {
        let line = lines.iter().find(|line| line.contains(name)).unwrap();
        assert!(line.contains(why) && line.contains("start again"), "{line}");
    }
    let mut client = broker.client();
    let offline = || (NO_LEADER, -1, vec![1]);
    assert_eq!(described(&mut client).unwrap(), [(0, 1, vec![]), offline(), offline()]);
    assert_eq!(client.produce("t", 0, -1, &batch_of(10)).unwrap().base_offset, 1);
    for partition in [1, 2] {
        assert_eq!(client.produce("t", partition, -1, &batch_of(10)).unwrap().error, STORAGE);
        let fetched = client.fetch(&Fetch { partition, ..fetch(0, 1 << 20) }).unwrap();
        assert_eq!((fetched.error, fetched.records.len()), (STORAGE, 0));
        for error in [
            client.offset_at("t", partition, -1).unwrap_err(),
            client.end_of_epoch("t", partition, 0).unwrap_err(),
            client.delete_records("t", partition, 0).unwrap_err(),
        ] {
            assert!(error.to_string().ends_with("error 56"), "{error}");
        }
    }
    let check = program().args(["log", "check"]).arg(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(!check.status.success());
    assert!(said.contains("t-0: ok") && said.contains("t-1: DAMAGED"), "{said}");
    assert!(said.contains("t-2: DAMAGED") && said.contains("log-start-offset"), "{said}");
    broker.kill();
    fs::rename(elsewhere, dir.path().join("t-1")).unwrap();
    fs::remove_file(damaged).unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let end = |partition| broker.client().offset_at("t", partition, -1).unwrap();
    assert_eq!([0, 1, 2].map(end), [2, 1, 1]);
    broker.stop_and_check();
}
