//! Power cuts: what was not synced is gone.

use underpass_testkit::disk::power::stop;
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::log::batch;
use underpass_testkit::log::workload::{Producing, Topic, Workload};
use underpass_testkit::require;
use underpass_testkit::skip::Missing;

use super::broker::{Broker, batch_of, fetch};

const DISK_BYTES: u64 = 128 << 20;

/// `OFFSET_OUT_OF_RANGE`
const OUT_OF_RANGE: i16 = 1;

/// Cuts the power under a server, and starts another on what is left.
fn cut(
    broker: Broker,
    disk: &Disk,
    flags: &[&str],
    workload: &Workload,
) -> Result<(Broker, Disk), Missing> {
    stop(broker.id()).unwrap();
    let left = disk.after_power_cut()?;
    broker.kill();
    let broker = Broker::start(&left.path().join("data"), flags);
    workload.moved_to(broker.address);
    Ok((broker, left))
}

#[test]
fn what_was_acknowledged_or_seen_survives_power_cuts() {
    let mut disk = require!(Disk::new(FileSystem::Ext4, DISK_BYTES));
    let mut broker = Broker::start(&disk.path().join("data"), &[]);
    let workload = broker.workload(-1, &[("segment.bytes", "65536")]);
    for round in 0..4 {
        workload.wait_for(300 + 100 * round);
        (broker, disk) = require!(cut(broker, &disk, &[], &workload));
    }
    workload.wait_for(100);
    workload.finish().unwrap().assert_sound();
    broker.stop_and_check();
}

#[test]
fn what_was_only_written_may_be_lost_but_no_reader_saw_it() {
    let flags = ["--acks", "written"];
    let mut disk = require!(Disk::new(FileSystem::Ext4, DISK_BYTES));
    let mut broker = Broker::start(&disk.path().join("data"), &flags);
    broker.create("t", 3, &[]);
    let topic = Topic { name: "t".to_owned(), partitions: 3, acks: -1 };
    let workload = Workload::start(topic, broker.address, &[Producing::Plain; 4], 2);
    for _ in 0..3 {
        workload.wait_for(500);
        (broker, disk) = require!(cut(broker, &disk, &flags, &workload));
    }
    workload.wait_for(100);
    let mut history = workload.finish().unwrap();
    // An acknowledgement of what was written says nothing of a power cut: these are forgotten.
    let kept: Vec<_> = history.log.clone();
    for told in &mut history.acknowledged {
        history.unknown.extend(told.iter().map(|entry| entry.value));
        told.retain(|entry| kept.contains(entry));
    }
    history.assert_sound();
    broker.stop_and_check();
}

#[test]
fn what_a_start_after_a_crash_shows_survives_a_power_cut() {
    let written = ["--acks", "written", "--reads", "written"];
    let disk = require!(Disk::new(FileSystem::Ext4, DISK_BYTES));
    let broker = Broker::start(&disk.path().join("data"), &written);
    broker.create("t", 1, &[]);
    for _ in 0..10 {
        assert_eq!(broker.client().produce("t", 0, 1, &batch_of(1_000)).unwrap().error, 0);
    }
    broker.kill();
    let broker = Broker::start(&disk.path().join("data"), &[]);
    let shown = broker.client().fetch(&fetch(0, 1 << 20)).unwrap().records;
    assert_eq!(batch::read(&shown).unwrap().len(), 10);
    stop(broker.id()).unwrap();
    let left = require!(disk.after_power_cut());
    broker.kill();
    let broker = Broker::start(&left.path().join("data"), &[]);
    assert!(broker.client().fetch(&fetch(0, 1 << 20)).unwrap().records == shown);
    broker.stop_and_check();
}

#[test]
fn a_consumer_ahead_of_a_lost_tail_is_told_where_the_epochs_part() {
    let flags = ["--acks", "written", "--reads", "written"];
    let disk = require!(Disk::new(FileSystem::Ext4, DISK_BYTES));
    let broker = Broker::start(&disk.path().join("data"), &flags);
    let workload = broker.workload(1, &[]);
    workload.wait_for(500);
    let before = broker.client().offset_at("t", 0, -1).unwrap();
    let (broker, _left) = require!(cut(broker, &disk, &flags, &workload));
    let mut client = broker.client();
    let (epoch, end) = client.end_of_epoch("t", 0, 0).unwrap();
    assert_eq!(epoch, 0);
    assert!(end <= before, "epoch 0 ends at {end}, and its end was {before}");
    assert_eq!(client.fetch(&fetch(i64::MAX, 1 << 20)).unwrap().error, OUT_OF_RANGE);
    // What was lost is given again, to others, in the next epoch.
    workload.wait_for(100);
    let again = client.end_of_epoch("t", 0, 1).unwrap();
    assert_eq!(again.0, 1);
    assert!(again.1 > end, "epoch 1 ends at {}, and epoch 0 at {end}", again.1);
    drop(workload.finish().unwrap());
    broker.stop_and_check();
}
