//! Topics of a running `underpass log`: made, shown, changed and deleted, by the command and by
//! requests whose bytes are made by hand.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use underpass_testkit::log::batch::{self, Sequence};
use underpass_testkit::log::client::{Body, Client, Fetch};
use underpass_testkit::wait;

use crate::log_server::Log;

const PATIENCE: Duration = Duration::from_secs(60);

/// Kafka's numbers of errors.
const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC: i16 = 3;

/// A time in ms, in the past of every test.
const TIME: i64 = 1_700_000_000_000;

/// What `underpass log topics` says.
fn topics(log: &Log, arguments: &[&str]) -> (Option<i32>, String, String) {
    log.says(&[&["topics"], arguments].concat())
}

fn one(value: &str, time: i64) -> Vec<u8> {
    batch::of(&[value], time, Sequence::NONE)
}

fn fetch(topic: &str, offset: i64, max_wait_ms: i32) -> Fetch<'_> {
    let (partition, min_bytes, max_bytes, leader_epoch) = (0, 1, 1 << 20, -1);
    Fetch { topic, partition, offset, max_wait_ms, min_bytes, max_bytes, leader_epoch }
}

#[test]
fn the_command_makes_shows_changes_and_deletes_topics() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(&dir.path().join("data"), &["--default", "segment.ms=5000"]);
    let done = (Some(0), String::new(), String::new());
    let create = ["create", "orders", "--partitions", "2", "--config", "retention.ms=9000000"];
    assert_eq!(topics(&log, &create), done);
    assert_eq!(log.client().produce("orders", 1, -1, &one("x", TIME)).unwrap().error, 0);
    let list = "\
TOPIC                                            PARTITIONS              OFFSETS
orders                                                    2                    1
";
    assert_eq!(topics(&log, &["list"]).1, list);
    let alter = [
        "alter",
        "orders",
        "--partitions",
        "3",
        "--config",
        "max.message.bytes=77",
        "--unset",
        "retention.ms",
    ];
    assert_eq!(topics(&log, &alter), done);
    let described = "\
orders
  max.message.bytes=77
  PARTITION  LEADER   EPOCH                START                  END
          0       1       0                    0                    0
          1       1       0                    0                    1
          2       1       0                    0                    0
";
    assert_eq!(topics(&log, &["describe", "orders"]).1, described);
    let json = topics(&log, &["describe", "orders", "--json"]).1;
    for part in [
        r#""retention.ms":"604800000""#,
        r#""segment.ms":"5000""#,
        r#""cleanup.policy":"delete""#,
        r#""set":["max.message.bytes"]"#,
        r#"{"endOffset":1,"leader":1,"leaderEpoch":0,"partition":1,"startOffset":0}"#,
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
    assert_eq!(topics(&log, &["delete", "orders"]), done);
    assert_eq!(topics(&log, &["list", "--json"]), done);
}

#[test]
fn what_the_command_cannot_do_is_said_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(&dir.path().join("data"), &[]);
    assert_eq!(topics(&log, &["create", "t", "--partitions", "2"]).0, Some(0));
    for (arguments, said) in [
        (&["create", "t"][..], "topic 't' exists (TOPIC_ALREADY_EXISTS)"),
        (&["create", "a/b"], "character 2 of this one is '/' (INVALID_TOPIC_EXCEPTION)"),
        (
            &["create", "u", "--config", "retention.ms=7d"],
            "a number of ms, or -1 for ever (INVALID_CONFIG)",
        ),
        (
            &["alter", "t", "--partitions", "1"],
            "has 2 partitions, and 1 are not more (INVALID_PARTITIONS)",
        ),
        (&["alter", "t", "--unset", "flush"], "a topic has no setting 'flush'; there are"),
        (&["alter", "t"], "nothing to change; give --partitions, --config or --unset"),
        (&["describe", "u"], "topic 'u': UNKNOWN_TOPIC_OR_PARTITION"),
        (&["delete", "u"], "there is no topic 'u' (UNKNOWN_TOPIC_OR_PARTITION)"),
    ] {
        let (code, stdout, stderr) = topics(&log, arguments);
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(1), "", 1), "{stderr}");
        assert!(stderr.starts_with("underpass log: ") && stderr.contains(said), "{stderr}");
    }
}

#[test]
fn offsets_are_found_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(&dir.path().join("data"), &[]);
    let mut client = log.client();
    assert_eq!(client.create_topic("t", 1, &[("segment.bytes", "200")]).unwrap(), 0);
    // Two segments, and times that are out of order.
    for (value, time) in [("a", TIME + 10), ("b", TIME + 30), ("c", TIME + 20), ("d", TIME + 25)] {
        assert_eq!(client.produce("t", 0, -1, &one(value, time)).unwrap().error, 0);
    }
    let wanted =
        [(-1, 4), (-2, 0), (0, 0), (TIME + 10, 0), (TIME + 11, 1), (TIME + 30, 1), (TIME + 31, -1)];
    for (time, offset) in wanted {
        assert_eq!(client.offset_at("t", 0, time).unwrap(), offset, "{}", time - TIME);
    }
    // The record with the latest time, which version 7 can ask for.
    let host = log.address.to_string().parse().unwrap();
    let mut latest = underpass_log::client::Client::connect(&host, PATIENCE).unwrap();
    assert_eq!(latest.offset_at("t", 0, -3).unwrap(), Some((1, TIME + 30)));
    assert_eq!(latest.offset_at("t", 0, -4).unwrap_err().code(), Some(35), "UNSUPPORTED_VERSION");
    assert_eq!(client.delete_records("t", 0, 2).unwrap(), 2);
    assert_eq!(client.offset_at("t", 0, -2).unwrap(), 2);
    assert_eq!(client.offset_at("t", 0, 0).unwrap(), 2);
    assert_eq!(client.fetch(&fetch("t", 1, 0)).unwrap().error, OFFSET_OUT_OF_RANGE);
    assert_eq!(client.end_of_epoch("t", 0, 0).unwrap(), (0, 4));
    assert_eq!(client.end_of_epoch("t", 0, 7).unwrap(), (-1, -1));
}

#[test]
fn a_topic_is_deleted_and_made_again_under_running_consumers() {
    const ROUNDS: usize = 15;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let log = Log::start(&data, &["--auto-create", "off"]);
    let mut admin = log.client();
    let followers: Vec<_> = (0..3)
        .map(|_| {
            let mut client = log.client();
            thread::spawn(move || follow(&mut client, ROUNDS))
        })
        .collect();
    for round in 0..ROUNDS {
        assert_eq!(admin.create_topic("t", 1, &[]).unwrap(), 0, "{round}");
        let produced = admin.produce("t", 0, -1, &one(&round.to_string(), TIME)).unwrap();
        assert_eq!((produced.error, produced.base_offset), (0, 0), "{round}");
        // Another reader sees this topic's record, and then waits for more in vain.
        let mut waiting = log.client();
        let read = waiting.fetch(&fetch("t", 0, 30_000)).unwrap();
        assert_eq!(batch::read(&read.records).unwrap()[0].value, round.to_string().as_bytes());
        waiting.send(1, 11, &fetch("t", 1, 30_000).body()).unwrap();
        let since = Instant::now();
        assert_eq!(admin.delete_topic("t").unwrap(), 0, "{round}");
        assert_eq!(waiting.fetched().unwrap().error, UNKNOWN_TOPIC, "{round}");
        assert!(since.elapsed() < Duration::from_secs(20), "{round}: the wait was not ended");
    }
    // Those that follow end with the last topic.
    assert_eq!(admin.create_topic("t", 1, &[]).unwrap(), 0);
    assert_eq!(admin.produce("t", 0, -1, &one("end", TIME)).unwrap().error, 0);
    for follower in followers {
        follower.join().unwrap();
    }
    let of_topics = |name: &str| name.ends_with(".delete") || name.starts_with("t-");
    let left = wait::until(PATIENCE, || {
        let names: Vec<String> = std::fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| of_topics(name))
            .collect();
        (names == ["t-0"]).then_some(())
    });
    assert!(left.is_some(), "directories of deleted topics stay");
}

/// Reads the only record of topic `t`, whichever there is, until it says that it is the last: each
/// time a whole batch at offset 0 whose value is not older than the one before.
fn follow(client: &mut Client, rounds: usize) {
    let mut last = 0;
    loop {
        let read = client.fetch(&fetch("t", 0, 50)).unwrap();
        if read.error == UNKNOWN_TOPIC || read.error == 0 && read.records.is_empty() {
            continue;
        }
        assert_eq!(read.error, 0);
        let records = batch::read(&read.records).unwrap();
        assert_eq!((records.len(), records[0].offset), (1, 0));
        let value = std::str::from_utf8(&records[0].value).unwrap();
        if value == "end" {
            return;
        }
        let round: usize = value.parse().unwrap();
        assert!((last..rounds).contains(&round), "{round} after {last}");
        last = round;
    }
}

#[test]
fn what_is_older_than_a_topic_keeps_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(&dir.path().join("data"), &["--retention-check", "20ms"]);
    let mut client = log.client();
    let configs = [("segment.bytes", "100"), ("retention.ms", "1000")];
    assert_eq!(client.create_topic("old", 1, &configs).unwrap(), 0);
    assert_eq!(client.create_topic("kept", 1, &[("segment.bytes", "100")]).unwrap(), 0);
    for topic in ["old", "kept"] {
        for _ in 0..3 {
            // Five days ago, which is less than the default.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let time = i64::try_from(now.as_millis()).unwrap() - 5 * 24 * 3_600_000;
            assert_eq!(client.produce(topic, 0, -1, &one("x", time)).unwrap().error, 0);
        }
    }
    let start =
        wait::until(PATIENCE, || (client.offset_at("old", 0, -2).unwrap() == 3).then_some(()));
    assert!(start.is_some(), "records that are too old stay");
    let logs = |topic: &str| {
        let entries = std::fs::read_dir(dir.path().join("data").join(topic)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".log")).count()
    };
    assert!(wait::until(PATIENCE, || (logs("old-0") == 1).then_some(())).is_some(), "files stay");
    assert_eq!((client.offset_at("kept", 0, -2).unwrap(), logs("kept-0")), (0, 3));
    // The next offset is the one behind them.
    assert_eq!(client.produce("old", 0, -1, &one("y", TIME)).unwrap().base_offset, 3);
}

#[test]
fn records_from_the_future_are_refused_as_far_as_the_topic_says() {
    const INVALID_TIMESTAMP: i16 = 32;
    let dir = tempfile::tempdir().unwrap();
    let log = Log::start(&dir.path().join("data"), &[]);
    let mut client = log.client();
    let ahead = |minutes: u64| {
        let time = SystemTime::now() + Duration::from_secs(60 * minutes);
        one("x", i64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
    };
    let after = "message.timestamp.after.max.ms";
    for (topic, configs, minutes, error) in [
        ("default", &[][..], 50, 0),
        ("default-far", &[], 70, INVALID_TIMESTAMP),
        ("far", &[(after, "9000000")], 70, 0),
        ("append-time", &[("message.timestamp.type", "LogAppendTime")], 70, 0),
    ] {
        assert_eq!(client.create_topic(topic, 1, configs).unwrap(), 0, "{topic}");
        let produced = client.produce(topic, 0, 1, &ahead(minutes)).unwrap();
        assert_eq!(produced.error, error, "{topic}");
    }
}

#[test]
fn clients_are_told_to_connect_to_where_they_have_or_to_what_is_advertised() {
    let dir = tempfile::tempdir().unwrap();
    for (nth, (flags, host, port)) in [
        (&["--listen", "127.0.0.1:0"][..], "127.0.0.1", None),
        (&["--listen", "[::1]:0"], "::1", None),
        (&["--advertise", "log.example.org:7777"], "log.example.org", Some(7777)),
        (&["--advertise", "[2001:db8::1]:7777"], "2001:db8::1", Some(7777)),
    ]
    .into_iter()
    .enumerate()
    {
        let log = Log::start(&dir.path().join(nth.to_string()), flags);
        let mut client = log.client();
        // Metadata of no topic, version 1.
        client.send(3, 1, &Body::default().i32(0)).unwrap();
        let mut answer = client.receive().unwrap();
        let broker = answer.one_of(|broker| {
            let found = (broker.i32()?, broker.string()?, broker.i32()?);
            assert_eq!(broker.i16()?, -1, "no rack");
            Ok(found)
        });
        let port = port.unwrap_or_else(|| log.address.port().into());
        assert_eq!(broker.unwrap(), (1, host.to_owned(), port));
        assert_eq!((answer.i32().unwrap(), answer.i32().unwrap()), (1, 0), "controller, topics");
    }
}

#[test]
fn a_topic_that_is_asked_about_is_made_if_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    for (flag, may, error, partitions) in
        [("on", 1, 0, 4), ("on", 0, UNKNOWN_TOPIC, 0), ("off", 1, UNKNOWN_TOPIC, 0)]
    {
        let data = dir.path().join(format!("{flag}{may}"));
        let log = Log::start(&data, &["--auto-create", flag, "--partitions", "4"]);
        let mut client = log.client();
        // A name a thousand times is a topic once; an impossible one is refused.
        let mut body = Body::default().i32(1_001);
        for _ in 0..1_000 {
            body = body.string("t");
        }
        client.send(3, 4, &body.string("..").i8(may)).unwrap();
        let mut answer = client.receive().unwrap();
        answer.i32().unwrap();
        answer
            .one_of(|broker| {
                let (_id, _host, _port) = (broker.i32()?, broker.string()?, broker.i32()?);
                broker.i16()
            })
            .unwrap();
        answer.string().unwrap();
        answer.i32().unwrap();
        let topics = answer.array_of(|topic| {
            let (error, name) = (topic.i16()?, topic.string()?);
            topic.i8()?;
            let partitions = topic.array_of(|partition| {
                partition.i16()?;
                let (index, leader) = (partition.i32()?, partition.i32()?);
                partition.array_of(|replica| replica.i32())?;
                partition.array_of(|replica| replica.i32())?;
                Ok((index, leader))
            })?;
            Ok((error, name, partitions))
        });
        let led: Vec<(i32, i32)> = (0..partitions).map(|index| (index, 1)).collect();
        let invalid = 17;
        let wanted = [(error, "t".to_owned(), led), (invalid, "..".to_owned(), vec![])];
        let found = topics.unwrap();
        assert_eq!(found[0], wanted[0], "{flag} {may}");
        assert_eq!(found[1], wanted[1], "{flag} {may}");
        assert_eq!(found.len(), 2, "{flag} {may}");
    }
}
