//! Files that change or go while slow consumers are sent what is in them: more than the 4 MiB that
//! a socket takes in (`tcp_wmem`).

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::log::batch::{self, Sequence};
use underpass_testkit::log::client::{Body, Client, Fetch};
use underpass_testkit::{require, wait};

use super::broker::{Broker, fetch};

const PATIENCE: Duration = Duration::from_secs(10);

const RECORD_BYTES: usize = 900_000;

/// `OFFSET_OUT_OF_RANGE`
const OUT_OF_RANGE: i16 = 1;

/// Waits until the first bytes of an answer are there.
fn wait_for_first_bytes(client: &Client) {
    let mut one = [PollFd::new(client.stream(), PollFlags::IN)];
    let limit = Timespec { tv_sec: 100, tv_nsec: 0 };
    assert_eq!(poll(&mut one, Some(&limit)).unwrap(), 1, "no answer begins");
}

/// Appends records of which each has its own bytes.
fn produce(broker: &Broker, count: u8) {
    let mut client = broker.client();
    for nth in 0..count {
        let batch = batch::of(&[vec![nth; RECORD_BYTES]], 0, Sequence::NONE);
        assert_eq!(client.produce("t", 0, -1, &batch).unwrap().error, 0);
    }
}

/// What comes until the connection ends, however it does.
fn read_to_end(client: &Client) -> Vec<u8> {
    let (mut got, mut room) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match client.stream().read(&mut room) {
            Ok(0) => return got,
            Ok(count) => got.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return got,
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }
}

/// The file is longer than what sockets take in, and is cut behind that.
#[test]
fn a_segment_that_is_truncated_while_it_is_sent_ends_the_connection_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path(), &[]);
    broker.create("t", 1, &[]);
    broker.create("other", 1, &[]);
    produce(&broker, 32);
    let whole = fetch(0, 32 << 20);
    let mut quick = broker.client();
    quick.send(1, 11, &whole.body()).unwrap();
    let mut len = [0; 4];
    quick.stream().read_exact(&mut len).unwrap();
    let mut expected = vec![0; u32::from_be_bytes(len) as usize];
    quick.stream().read_exact(&mut expected).unwrap();

    let mut slow = broker.client();
    slow.send(1, 11, &whole.body()).unwrap();
    wait_for_first_bytes(&slow);
    let segment = dir.path().join("t-0/00000000000000000000.log");
    let left = 24_000_000;
    File::options().write(true).open(&segment).unwrap().set_len(left).unwrap();
    let got = read_to_end(&slow);
    assert_eq!(got[..4], len);
    let got = &got[4..];
    assert!(got.len() < 24_100_000, "{} bytes came of {left}", got.len());
    assert!(*got == expected[..got.len()], "what came is not what was there");
    let line = broker.next_line();
    let client = slow.stream().local_addr().unwrap().to_string();
    assert!(line.contains(&client) && line.contains("t-0/00000000000000000000.log"), "{line}");
    // What is left can be fetched, on the connection from before as well.
    let there = quick.fetch(&fetch(0, 1 << 20)).unwrap();
    assert_eq!(batch::read(&there.records).unwrap()[0].value, vec![0; RECORD_BYTES]);
    let other = Fetch { topic: "other", ..fetch(0, 1 << 20) };
    assert_eq!(quick.fetch(&other).unwrap().error, 0);
}

/// Sets what a topic keeps: `IncrementalAlterConfigs`, version 0.
fn keep_bytes(client: &mut Client, bytes: &str) {
    let (topic, set) = (2, 0);
    let body = Body::default().i32(1).i8(topic).string("t").i32(1);
    let body = body.string("retention.bytes").i8(set).string(bytes).i8(0);
    client.send(44, 0, &body).unwrap();
    let mut answer = client.receive().unwrap();
    assert_eq!((answer.i32().unwrap(), answer.i32().unwrap(), answer.i16().unwrap()), (0, 1, 0));
}

fn segments(partition: &Path) -> usize {
    let names = fs::read_dir(partition).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".log")).count()
}

/// Open files of a process that have no name any more.
fn deleted_files(process: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let names = open.filter_map(|fd| fs::read_link(fd.path()).ok());
    names.filter(|name| name.to_string_lossy().ends_with(" (deleted)")).count()
}

fn free_bytes(disk: &Disk) -> u64 {
    let there = rustix::fs::statvfs(disk.path()).unwrap();
    there.f_bfree * there.f_frsize
}

#[test]
fn what_retention_deletes_under_slow_consumers_they_get_whole_and_then_it_is_gone() {
    const SEGMENTS: u8 = 5;
    const BATCHES: u8 = 8;
    let first_of = |segment| i64::from(BATCHES) * segment;
    let disk = require!(Disk::new(FileSystem::Ext4, 96 << 20));
    let broker = Broker::start(&disk.path().join("data"), &["--retention-check", "100ms"]);
    broker.create("t", 1, &[("segment.bytes", "7500000"), ("retention.ms", "-1")]);
    produce(&broker, BATCHES * SEGMENTS);
    let partition = disk.path().join("data/t-0");
    assert_eq!(segments(&partition), usize::from(SEGMENTS));
    let mut client = broker.client();
    let expected: Vec<Vec<u8>> = (0..i64::from(SEGMENTS) - 1)
        .map(|nth| client.fetch(&fetch(first_of(nth), 8 << 20)).unwrap().records)
        .collect();
    let free = free_bytes(&disk);

    let mut consumers: Vec<(usize, Client)> = (0..200).map(|nth| (nth, broker.client())).collect();
    for (nth, consumer) in &mut consumers {
        *nth %= expected.len();
        let from = first_of(i64::try_from(*nth).unwrap());
        consumer.send(1, 11, &fetch(from, 8 << 20).body()).unwrap();
    }
    consumers.iter().for_each(|(_, consumer)| wait_for_first_bytes(consumer));
    keep_bytes(&mut client, "1");
    let is_deleted = || (segments(&partition) == 1).then_some(());
    wait::until(PATIENCE, is_deleted).expect("the last segment is left alone");
    assert_eq!(deleted_files(broker.id()), expected.len());
    for (nth, consumer) in &mut consumers {
        let from = first_of(i64::try_from(*nth).unwrap());
        let fetched = consumer.fetched().unwrap();
        assert!(fetched.error == 0 && fetched.records == expected[*nth], "segment {nth}");
        assert_eq!(consumer.fetch(&fetch(from, 8 << 20)).unwrap().error, OUT_OF_RANGE);
    }
    let start = first_of(i64::from(SEGMENTS) - 1);
    let first = client.fetch(&fetch(start, 2 << 20)).unwrap();
    assert_eq!((first.error, first.log_start), (0, start));
    assert_eq!(batch::read(&first.records).unwrap()[0].offset, start);
    let is_closed = || (deleted_files(broker.id()) == 0).then_some(());
    wait::until(PATIENCE, is_closed).expect("files are closed when they are sent");
    let deleted = u64::from((SEGMENTS - 1) * BATCHES) * RECORD_BYTES as u64;
    let is_given_back = || (free_bytes(&disk) >= free + deleted).then_some(());
    wait::until(PATIENCE, is_given_back).expect("the disk has room again");
    broker.stop_and_check();
}
