//! The `rdkafka` crate, which is librdkafka 2.12 with Rust around it: runs the features it is
//! asked for and prints a line for each.

use std::collections::HashSet;
use std::error::Error;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(60);

struct Stage {
    server: String,
    prefix: String,
    shared: String,
    /// For what a client does between two polls.
    runtime: tokio::runtime::Runtime,
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, wanted: T, what: &str) -> Outcome {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?}, not {wanted:?}").into()) }
}

fn values(of: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{of}-{i} {}", "x".repeat(100))).collect()
}

impl Stage {
    fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.prefix)
    }

    fn config(&self, more: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.server);
        for (key, value) in more {
            config.set(*key, *value);
        }
        config
    }

    /// The offsets that the records got.
    fn write(
        &self,
        topic: &str,
        sent: &[String],
        times: &[i64],
        more: &[(&str, &str)],
    ) -> Outcome<Vec<i64>> {
        let producer: FutureProducer = self.config(more).create()?;
        let mut waiting = Vec::new();
        for (i, value) in sent.iter().enumerate() {
            let place = i.to_string();
            let headers = OwnedHeaders::new().insert(Header { key: "place", value: Some(&place) });
            let mut record = FutureRecord::to(topic).key("k").payload(value).headers(headers);
            record.timestamp = times.get(i).copied();
            waiting.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        self.runtime.block_on(async {
            let mut offsets = Vec::new();
            for one in waiting {
                offsets.push(one.await?.map_err(|(error, _)| error)?.offset);
            }
            Ok(offsets)
        })
    }

    fn consumer(&self, group: &str, more: &[(&str, &str)]) -> Outcome<BaseConsumer> {
        let mut config = self.config(more);
        config.set("group.id", self.name(group)).set("auto.offset.reset", "earliest");
        Ok(config.set("enable.auto.commit", "false").create()?)
    }

    fn read(&self, topic: &str, count: usize, from: i64) -> Outcome<Vec<OwnedMessage>> {
        let reader = self.consumer("assigned", &[])?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(from))?;
        reader.assign(&list)?;
        take(&reader, count)
    }

    fn admin(&self) -> Outcome<AdminClient<DefaultClientContext>> {
        Ok(self.config(&[]).create()?)
    }

    fn create(&self, topic: &str, partitions: i32) -> Outcome {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = new.set("retention.ms", "600000");
        let made = self.runtime.block_on(self.admin()?.create_topics([&new], &options()))?;
        one(made)?.map_err(|(_, code)| code)?;
        Ok(())
    }

    fn partitions_of(&self, topic: &str) -> Outcome<usize> {
        let reader = self.consumer("asking", &[])?;
        let all = reader.fetch_metadata(Some(topic), PATIENCE)?;
        Ok(all.topics().iter().map(|topic| topic.partitions().len()).sum())
    }

    fn retention_of(&self, topic: &str) -> Outcome<String> {
        let asked = ResourceSpecifier::Topic(topic);
        let found = self.runtime.block_on(self.admin()?.describe_configs([&asked], &options()))?;
        let config = one(found)?;
        let config = config?;
        let entry = config.get("retention.ms").ok_or("no retention.ms")?;
        Ok(entry.value.clone().unwrap_or_default())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}

fn one<T>(all: Vec<T>) -> Outcome<T> {
    all.into_iter().next().ok_or_else(|| "no answer".into())
}

fn take(reader: &BaseConsumer, count: usize) -> Outcome<Vec<OwnedMessage>> {
    let (end, mut got) = (Instant::now() + PATIENCE, Vec::new());
    while got.len() < count {
        if Instant::now() > end {
            return Err(format!("{} of {count} records", got.len()).into());
        }
        if let Some(message) = reader.poll(Duration::from_millis(500)) {
            got.push(message?.detach());
        }
    }
    Ok(got)
}

fn texts(messages: &[OwnedMessage]) -> Vec<String> {
    let text = |m: &OwnedMessage| String::from_utf8_lossy(m.payload().unwrap_or_default()).into();
    messages.iter().map(text).collect()
}

fn produce(stage: &Stage) -> Outcome {
    let (topic, sent) = (stage.name("produce"), values("produce", 100));
    expect(stage.write(&topic, &sent, &[], &[])?, (0..100).collect(), "offsets")?;
    let got = stage.read(&topic, 100, 0)?;
    expect(texts(&got), sent.clone(), "values")?;
    expect(got[7].key(), Some(&b"k"[..]), "key")?;
    let headers = got[7].headers().ok_or("no headers")?;
    expect(headers.get(0).value, Some(&b"7"[..]), "header")?;
    expect(texts(&stage.read(&topic, 5, 95)?), sent[95..].to_vec(), "values from 95 on")
}

fn idempotent(stage: &Stage) -> Outcome {
    let (topic, sent) = (stage.name("idempotent"), values("idempotent", 100));
    let offsets = stage.write(&topic, &sent, &[], &[("enable.idempotence", "true")])?;
    expect(offsets, (0..100).collect(), "offsets")
}

fn codec(stage: &Stage, codec: &str) -> Outcome {
    let (topic, sent) = (stage.name(codec), values(codec, 100));
    stage.write(&topic, &sent, &[], &[("compression.type", codec), ("linger.ms", "100")])?;
    expect(texts(&stage.read(&topic, 100, 0)?), sent, "values")
}

fn consume(stage: &Stage) -> Outcome {
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let of = |codec| (0..20).map(move |i| format!("{codec}-{i}"));
    let all = codecs.into_iter().flat_map(of).collect();
    expect(texts(&stage.read(&stage.shared, 100, 0)?), all, "values")
}

fn times(stage: &Stage) -> Outcome {
    let topic = stage.name("times");
    stage.write(&topic, &values("times", 3), &[1000, 2000, 3000], &[])?;
    let reader = stage.consumer("times", &[])?;
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(&topic, 0, Offset::Offset(1500))?;
    let found = reader.offsets_for_times(asked, PATIENCE)?;
    expect(found.elements()[0].offset(), Offset::Offset(1), "offset of 1500 ms")?;
    expect(reader.fetch_watermarks(&topic, 0, PATIENCE)?, (0, 3), "ends")
}

fn groups(stage: &Stage, name: &str, more: &[(&str, &str)]) -> Outcome {
    let topic = stage.name(name);
    let ten_and_five = [values("group", 10), values("group", 5)];
    let mut end = 0;
    for sent in ten_and_five {
        let wanted: Vec<i64> = (end..).take(sent.len()).collect();
        end += i64::try_from(sent.len())?;
        expect(stage.write(&topic, &sent, &[], &[])?, wanted.clone(), "offsets")?;
        let member = stage.consumer(name, more)?;
        member.subscribe(&[&topic])?;
        let got = take(&member, sent.len())?;
        expect(got.iter().map(Message::offset).collect(), wanted, "offsets read")?;
        member.commit_consumer_state(CommitMode::Sync)?;
        let committed = member.committed(PATIENCE)?;
        expect(committed.elements()[0].offset(), Offset::Offset(end), "committed offset")?;
    }
    Ok(())
}

fn two_members(stage: &Stage) -> Outcome {
    let topic = stage.name("two");
    stage.create(&topic, 4)?;
    let members = [stage.consumer("two", &[])?, stage.consumer("two", &[])?];
    for member in &members {
        member.subscribe(&[&topic])?;
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let mut shares = Vec::new();
        for member in &members {
            drop(member.poll(Duration::from_millis(100)).transpose()?);
            let assigned = member.assignment()?;
            shares.push(assigned.elements().iter().map(|p| p.partition()).collect::<Vec<_>>());
        }
        if shares.iter().all(|share| share.len() == 2) {
            let all: HashSet<i32> = shares.into_iter().flatten().collect();
            return expect(all.len(), 4, "partitions");
        }
        if Instant::now() > end {
            return Err(format!("assignments {shares:?}").into());
        }
    }
}

fn create_topic(stage: &Stage) -> Outcome {
    let topic = stage.name("created");
    stage.create(&topic, 3)?;
    expect(stage.partitions_of(&topic)?, 3, "partitions")
}

fn add_partitions(stage: &Stage) -> Outcome {
    let topic = stage.name("grown");
    stage.create(&topic, 1)?;
    let more = NewPartitions::new(&topic, 4);
    let made = stage.runtime.block_on(stage.admin()?.create_partitions([&more], &options()))?;
    one(made)?.map_err(|(_, code)| code)?;
    expect(stage.partitions_of(&topic)?, 4, "partitions")
}

fn configs(stage: &Stage) -> Outcome {
    let topic = stage.name("configured");
    stage.create(&topic, 1)?;
    expect(stage.retention_of(&topic)?, "600000".to_owned(), "retention.ms")?;
    let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("retention.ms", "700000");
    let made = stage.runtime.block_on(stage.admin()?.alter_configs([&change], &options()))?;
    one(made)?.map_err(|(_, code)| code)?;
    expect(stage.retention_of(&topic)?, "700000".to_owned(), "retention.ms")
}

fn delete_records(stage: &Stage) -> Outcome {
    let topic = stage.name("cut");
    stage.write(&topic, &values("cut", 10), &[], &[])?;
    let mut until = TopicPartitionList::new();
    until.add_partition_offset(&topic, 0, Offset::Offset(4))?;
    stage.runtime.block_on(stage.admin()?.delete_records(&until, &options()))?;
    let reader = stage.consumer("asking", &[])?;
    expect(reader.fetch_watermarks(&topic, 0, PATIENCE)?, (4, 10), "ends")
}

/// The crate has no call for the offsets of a group that it is not in.
fn admin_groups(stage: &Stage) -> Outcome {
    let (topic, name) = (stage.name("groups"), stage.name("groups"));
    stage.write(&topic, &values("groups", 5), &[], &[])?;
    let member = stage.consumer("groups", &[])?;
    member.subscribe(&[&topic])?;
    take(&member, 5)?;
    let asking = stage.consumer("asking", &[])?;
    let all = asking.fetch_group_list(None, PATIENCE)?;
    let found = all.groups().iter().find(|group| group.name() == name).ok_or("not listed")?;
    expect((found.state(), found.members().len()), ("Stable", 1), "described")?;
    drop(member);
    let gone = stage.runtime.block_on(stage.admin()?.delete_groups(&[&name], &options()))?;
    one(gone)?.map_err(|(_, code)| code)?;
    Ok(())
}

fn delete_topic(stage: &Stage) -> Outcome {
    let topic = stage.name("deleted");
    stage.create(&topic, 1)?;
    let gone = stage.runtime.block_on(stage.admin()?.delete_topics(&[&topic], &options()))?;
    one(gone)?.map_err(|(_, code)| code)?;
    let reader = stage.consumer("asking", &[])?;
    let all = reader.fetch_metadata(None, PATIENCE)?;
    expect(all.topics().iter().any(|t| t.name() == topic), false, "still listed")
}

fn run(stage: &Stage, feature: &str) -> Outcome<bool> {
    match feature {
        "produce" => produce(stage),
        "idempotent" => idempotent(stage),
        "gzip" | "snappy" | "lz4" | "zstd" => codec(stage, feature),
        "consume" => consume(stage),
        "times" => times(stage),
        "group" => groups(stage, "group", &[]),
        "static-member" => groups(stage, "static", &[("group.instance.id", "one")]),
        "two-members" => two_members(stage),
        "create-topic" => create_topic(stage),
        "add-partitions" => add_partitions(stage),
        "configs" => configs(stage),
        "delete-records" => delete_records(stage),
        "admin-groups" => admin_groups(stage),
        "delete-topic" => delete_topic(stage),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("SERVER PREFIX SHARED FEATURE...");
    let (server, prefix, shared) = (next(), next(), next());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stage = Stage { server, prefix, shared, runtime };
    for feature in arguments {
        match run(&stage, &feature) {
            Ok(true) => println!("{feature} yes"),
            Ok(false) => println!("{feature} cannot"),
            Err(error) => println!("{feature} no {}", error.to_string().replace('\n', " ")),
        }
    }
}
