//! What becomes of each batch of a Produce request, and what is in the log afterwards.
//!
//! Numbers of errors are Kafka's: 2 corrupt, 3 unknown topic or partition, 10 too large, 21 acks,
//! 45 out of order, 48 transaction, 76 codec, 87 invalid record.

use std::io::Read;

use rustix::process::Signal;
use underpass_testkit::log::batch::{self, Sequence};
use underpass_testkit::log::client::{self, Body, Client, Fetch};

use super::Broker;

/// A batch by Kafka's own library: three records of an idempotent producer, by zstd.
const ZSTD: &[u8] = include_bytes!("../../../../underpass-log/tests/vectors/zstd.batch");

fn one(value: &str) -> Vec<u8> {
    batch::of(&[value], 1_700_000_000_000, Sequence::NONE)
}

/// The batch with a byte changed, and the checksum of that.
fn changed(at: usize, byte: u8) -> Vec<u8> {
    let mut batch = one("changed");
    batch[at] = byte;
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// Sends batches to partitions in one request of this version, and returns the errors.
fn errors(client: &mut Client, version: i16, acks: i16, sent: &[(&str, i32, Vec<u8>)]) -> Vec<i16> {
    let count = i32::try_from(sent.len()).unwrap();
    let mut body = Body::default().i16(-1).i16(acks).i32(30_000).i32(count);
    for (topic, partition, batch) in sent {
        body = body.string(topic).i32(1).i32(*partition).bytes(batch);
    }
    client.send(0, version, &body).unwrap();
    let mut answer = client.receive().unwrap();
    let topics = answer.array_of(|topic| {
        topic.string()?;
        topic.one_of(|partition| {
            partition.i32()?;
            let error = partition.i16()?;
            let (offset, _append_time) = (partition.i64()?, partition.i64()?);
            assert_eq!(offset >= 0, error == 0, "offset {offset} and error {error}");
            if version >= 5 {
                partition.i64()?;
            }
            Ok(error)
        })
    });
    answer.i32().unwrap();
    answer.end().unwrap();
    topics.unwrap()
}

/// The values in a partition.
fn values(client: &mut Client, topic: &str, partition: i32) -> Vec<String> {
    let fetch = Fetch {
        topic,
        partition,
        offset: 0,
        // What is not durable yet is waited for.
        max_wait_ms: 30_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        leader_epoch: -1,
    };
    let fetched = client.fetch(&fetch).unwrap();
    assert_eq!(fetched.error, 0);
    let records = batch::read(&fetched.records).unwrap();
    records.into_iter().map(|record| String::from_utf8(record.value).unwrap()).collect()
}

#[test]
fn each_batch_of_a_request_has_its_own_outcome_and_only_the_right_ones_are_appended() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.create("t", &[]);
    broker.create("small", &[("max.message.bytes", "100")]);
    let mut client = broker.client();
    let mut garbled = one("garbled");
    garbled[65] ^= 1;
    let two = [one("first"), one("second")].concat();
    let cut = one("cut")[..60].to_vec();
    let sent = [
        (0, "t", 0, one("a")),
        (2, "t", 0, garbled),
        (3, "no-such-topic", 0, one("b")),
        (3, "t", 2, one("c")),
        (3, "t", -1, one("d")),
        (10, "small", 0, one(&"long".repeat(20))),
        (0, "small", 0, one("short")),
        (87, "t", 0, two),
        (2, "t", 0, cut),
        // A control batch, a transaction, a codec that there is not.
        (87, "t", 0, changed(22, 0x20)),
        (48, "t", 0, changed(22, 0x10)),
        (76, "t", 0, changed(22, 0x05)),
        // A last offset delta of 1, a count of 0 and of 2, with one record.
        (87, "t", 0, changed(26, 1)),
        (87, "t", 0, changed(60, 0)),
        (87, "t", 0, changed(60, 2)),
        (0, "t", 1, one("e")),
    ];
    let (wanted, sent): (Vec<_>, Vec<_>) = sent
        .into_iter()
        .map(|(error, topic, partition, batch)| (error, (topic, partition, batch)))
        .unzip();
    assert_eq!(errors(&mut client, 7, -1, &sent), wanted);
    assert_eq!(values(&mut client, "t", 0), ["a"]);
    assert_eq!(values(&mut client, "t", 1), ["e"]);
    assert_eq!(values(&mut client, "small", 0), ["short"]);
}

#[test]
fn acknowledgements_are_none_one_or_all() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.create("t", &[]);
    let mut client = broker.client();
    for (acks, wanted) in [(2, 21), (-2, 21), (1, 0), (-1, 0)] {
        let sent = [("t", 0, one(&format!("acks {acks}")))];
        assert_eq!(errors(&mut client, 7, acks, &sent), [wanted], "acks {acks}");
    }
    assert_eq!(values(&mut client, "t", 0), ["acks 1", "acks -1"]);
}

#[test]
fn zstandard_is_for_clients_that_know_it() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.create("t", &[]);
    let sent = [("t", 0, ZSTD.to_vec())];
    for (version, wanted) in [(3, 76), (6, 76), (7, 0)] {
        assert_eq!(errors(&mut broker.client(), version, 1, &sent), [wanted], "{version}");
    }
}

#[test]
fn without_acknowledgements_success_is_silent_and_an_error_ends_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.create("t", &[]);
    let mut client = broker.client();
    client.send(0, 7, &client::produce("t", 0, 0, &one("silent"))).unwrap();
    // The next answer is that of the next request, which finds the record.
    assert_eq!(values(&mut client, "t", 0), ["silent"]);
    for (topic, batch) in [("gone", one("x")), ("t", changed(60, 2))] {
        let mut client = broker.client();
        client.send(0, 7, &client::produce(topic, 0, 0, &batch)).unwrap();
        let mut rest = Vec::new();
        client.stream().read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "{topic}");
    }
    assert_eq!(values(&mut broker.client(), "t", 0), ["silent"]);
}

#[test]
fn with_validation_in_full_records_are_counted_whatever_the_codec() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.create("full", &[("underpass.validate", "full")]);
    broker.create("header", &[]);
    // Two records, as the header says in both places, of which one is there.
    let mut wrong = changed(60, 2);
    wrong[26] = 1;
    let mut packed = ZSTD.to_vec();
    (packed[26], packed[60]) = (3, 4);
    for batch in [&mut wrong, &mut packed] {
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    let sent = |topic| {
        [wrong.clone(), packed.clone(), one("right"), ZSTD.to_vec()].map(|batch| (topic, 0, batch))
    };
    let mut client = broker.client();
    assert_eq!(errors(&mut client, 7, -1, &sent("full")), [87, 87, 0, 0]);
    // Its header alone does not tell.
    assert_eq!(errors(&mut client, 7, -1, &sent("header"))[..3], [0, 0, 0]);
}

#[test]
fn a_batch_that_is_sent_twice_is_appended_once_and_so_it_is_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.create("t", &[]);
    let mut client = broker.client();
    let first = client.init_producer().unwrap();
    let numbered = |base: i32| {
        let sequence = Sequence { base, ..first };
        batch::of(&[format!("{base}"), format!("{}", base + 1)], 1_700_000_000_000, sequence)
    };
    let produce = |client: &mut Client, base| {
        let produced = client.produce("t", 0, -1, &numbered(base)).unwrap();
        (produced.error, produced.base_offset)
    };
    for batch in 0..6 {
        assert_eq!(produce(&mut client, 2 * batch), (0, i64::from(2 * batch)));
    }
    let again = |client: &mut Client| {
        for batch in 1..6 {
            assert_eq!(produce(client, 2 * batch), (0, i64::from(2 * batch)));
        }
        // Out of the window, and one that is missing in between.
        assert_eq!(produce(client, 0), (45, -1));
        assert_eq!(produce(client, 14), (45, -1));
    };
    again(&mut client);
    broker.running.signal(Signal::KILL);
    broker.running.end();
    let broker = Broker::start(dir.path());
    let mut client = broker.client();
    again(&mut client);
    assert_eq!(produce(&mut client, 12), (0, 12));
    let wanted: Vec<String> = (0..14).map(|number| number.to_string()).collect();
    assert_eq!(values(&mut client, "t", 0), wanted);
    assert_ne!(client.init_producer().unwrap().producer_id, first.producer_id);
}
