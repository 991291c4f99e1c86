//! Many consumers that wait: they cost nothing, and each is woken.

use std::time::{Duration, Instant};

use underpass_testkit::log::batch::{self, Sequence};
use underpass_testkit::log::client::{Client, Fetch};

use super::broker::{Broker, fetch};

const CONSUMERS: usize = 1_000;

/// Longer than the test, so that what comes earlier was woken.
const MAX_WAIT_MS: i32 = 25_000;

const IDLE: Duration = Duration::from_secs(3);

fn ask(client: &mut Client, offset: i64, min_bytes: i32) {
    let fetch = Fetch { max_wait_ms: MAX_WAIT_MS, min_bytes, ..fetch(offset, 1 << 20) };
    client.send(1, 11, &fetch.body()).unwrap();
}

#[test]
fn a_thousand_waiting_consumers_cost_no_processor_and_each_is_woken_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    broker.create("t", 1, &[]);
    let mut consumers: Vec<Client> = (0..CONSUMERS).map(|_| broker.client()).collect();
    let mut producer = broker.client();
    for round in 0..5 {
        for consumer in &mut consumers {
            ask(consumer, round, 1);
        }
        if round == 2 {
            // Answered in order: what was asked before this is being waited for.
            producer.offset_at("t", 0, -1).unwrap();
            let (before, start) = (broker.cpu_ms(), Instant::now());
            while let Some(left) = IDLE.checked_sub(start.elapsed()) {
                std::thread::park_timeout(left);
            }
            let used = broker.cpu_ms() - before;
            assert!(used <= 30, "{used} ms of {IDLE:?}");
        }
        let start = Instant::now();
        let produced = producer.produce("t", 0, -1, &batch::of(&[b"x"], 0, Sequence::NONE));
        assert_eq!(produced.unwrap().base_offset, round);
        for consumer in &mut consumers {
            let fetched = consumer.fetched().unwrap();
            assert_eq!(batch::read(&fetched.records).unwrap()[0].offset, round);
        }
        assert!(start.elapsed() < Duration::from_secs(20), "woken by time");
    }
    broker.stop_and_check();
}

#[test]
fn no_wake_up_is_lost_where_appends_meet_registrations() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &["--workers", "2"]);
    broker.create("t", 1, &[]);
    let mut consumers: Vec<Client> = (0..8).map(|_| broker.client()).collect();
    let mut producer = broker.client();
    let batch = batch::of(&[b"x"], 0, Sequence::NONE);
    for round in 0..400 {
        // Half of them ask before the append, half of them while it is under way.
        let (early, late) = consumers.split_at_mut(4);
        early.iter_mut().for_each(|consumer| ask(consumer, round, 1));
        let body = underpass_testkit::log::client::produce("t", 0, -1, &batch);
        producer.send(0, 7, &body).unwrap();
        late.iter_mut().for_each(|consumer| ask(consumer, round, 1));
        let start = Instant::now();
        assert_eq!(producer.produced().unwrap().base_offset, round);
        for consumer in &mut consumers {
            assert!(!consumer.fetched().unwrap().records.is_empty());
        }
        assert!(start.elapsed() < Duration::from_secs(20), "woken by time in round {round}");
    }
}

#[test]
fn a_consumer_waits_for_as_many_bytes_as_it_asked_for_or_as_long() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    broker.create("t", 1, &[]);
    let batch = batch::of(&[[7; 100]], 0, Sequence::NONE);
    let min_bytes = i32::try_from(batch.len() * 3).unwrap();
    let (mut consumer, mut producer) = (broker.client(), broker.client());
    ask(&mut consumer, 0, min_bytes);
    for _ in 0..3 {
        producer.produce("t", 0, -1, &batch).unwrap();
    }
    let fetched = consumer.fetched().unwrap();
    assert_eq!(batch::read(&fetched.records).unwrap().len(), 3);
    let start = Instant::now();
    let fetched = consumer.fetch(&Fetch { max_wait_ms: 200, ..fetch(3, 1 << 20) }).unwrap();
    assert!(fetched.records.is_empty() && fetched.error == 0);
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}
