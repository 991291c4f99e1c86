"""confluent-kafka, which is librdkafka underneath."""

import functools
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)
from features import SHARED, expect, main, values

PATIENCE = 60


def write(stage, topic, sent, partition=None, timestamps=None, **settings):
    settings = {key.replace("_", "."): value for key, value in settings.items()}
    producer = Producer({"bootstrap.servers": stage.server, **settings})
    got = []

    def delivered(error, message):
        got.append(error or message.offset())

    for i, value in enumerate(sent):
        more = {} if partition is None else {"partition": partition}
        if timestamps:
            more["timestamp"] = timestamps[i]
        headers = [("place", str(i).encode())]
        producer.produce(topic, value, key=b"k", headers=headers, on_delivery=delivered, **more)
    expect(producer.flush(PATIENCE), 0, "records left in the queue")
    for answer in got:
        if isinstance(answer, KafkaError):
            raise RuntimeError(answer)
    return got


def consumer(stage, group, **settings):
    settings = {key.replace("_", "."): value for key, value in settings.items()}
    return Consumer(
        {
            "bootstrap.servers": stage.server,
            "group.id": stage.name(group),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **settings,
        }
    )


def take(reader, count):
    end, got = time.monotonic() + PATIENCE, []
    while len(got) < count:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(got)} of {count} records")
        message = reader.poll(0.5)
        if message is None:
            continue
        if message.error():
            raise RuntimeError(message.error())
        got.append(message)
    return got


def read(stage, topic, count, offset=0):
    reader = consumer(stage, "assigned")
    reader.assign([TopicPartition(topic, 0, offset)])
    got = take(reader, count)
    reader.close()
    return got


def produce(stage):
    topic, sent = stage.name("produce"), values("produce", 100)
    expect(write(stage, topic, sent), list(range(100)), "offsets")
    got = read(stage, topic, 100)
    expect([m.value() for m in got], sent, "values")
    expect({m.key() for m in got}, {b"k"}, "keys")
    expect(got[7].headers(), [("place", b"7")], "headers")
    expect([m.value() for m in read(stage, topic, 5, 95)], sent[95:], "values from 95 on")


def idempotent(stage):
    topic, sent = stage.name("idempotent"), values("idempotent", 100)
    expect(write(stage, topic, sent, enable_idempotence=True), list(range(100)), "offsets")


def codec(name):
    def run(stage):
        topic, sent = stage.name(name), values(name, 100)
        write(stage, topic, sent, compression_type=name, linger_ms=100)
        expect([m.value() for m in read(stage, topic, 100)], sent, "values")

    return run


def consume(stage):
    expect([m.value() for m in read(stage, stage.shared, 100)], SHARED, "values")


def times(stage):
    topic = stage.name("times")
    write(stage, topic, values("times", 3), timestamps=[1000, 2000, 3000])
    reader = consumer(stage, "times")
    found = reader.offsets_for_times([TopicPartition(topic, 0, 1500)], timeout=PATIENCE)
    expect([p.offset for p in found], [1], "offset of 1500 ms")
    expect(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=PATIENCE), (0, 3), "ends")
    reader.close()


def groups(stage, **settings):
    name = "static" if settings else "group"
    topic = stage.name(name)
    write(stage, topic, values("group", 10), enable_idempotence=True)
    first = consumer(stage, name, **settings)
    first.subscribe([topic])
    known = {m.offset() for m in take(first, 10)}
    first.commit(asynchronous=False)
    first.close()
    after = max(known) + 1
    expect(write(stage, topic, values("group", 5)), list(range(after, after + 5)), "offsets")
    second = consumer(stage, name, **settings)
    second.subscribe([topic])
    expect([m.offset() for m in take(second, 5)], list(range(after, after + 5)), "offsets read")
    second.commit(asynchronous=False)
    committed = second.committed([TopicPartition(topic, 0)], timeout=PATIENCE)
    expect([p.offset for p in committed], [after + 5], "committed offset")
    second.close()


def group(stage):
    groups(stage)


def static_member(stage):
    groups(stage, group_instance_id="one")


def two_members(stage):
    topic = stage.name("two")
    create(stage, topic, 4)
    members = [consumer(stage, "two") for _ in range(2)]
    for member in members:
        member.subscribe([topic])
    end = time.monotonic() + PATIENCE
    shares = []
    while sorted(len(share) for share in shares) != [2, 2]:
        if time.monotonic() > end:
            raise TimeoutError(f"assignments {shares}")
        for member in members:
            member.poll(0.1)
        shares = [member.assignment() for member in members]
    expect(len({p.partition for share in shares for p in share}), 4, "partitions")
    for member in members:
        member.close()


@functools.cache
def admin(stage):
    """Kept: what a client that is gone was asked for ends with it."""
    return AdminClient({"bootstrap.servers": stage.server})


def done(futures):
    return [future.result(PATIENCE) for future in futures.values()]


def create(stage, topic, partitions, **config):
    new = NewTopic(topic, partitions, 1, config={k.replace("_", "."): v for k, v in config.items()})
    done(admin(stage).create_topics([new]))


def partitions_of(stage, topic):
    return len(admin(stage).list_topics(topic, timeout=PATIENCE).topics[topic].partitions)


def create_topic(stage):
    topic = stage.name("created")
    create(stage, topic, 3, retention_ms="600000")
    expect(partitions_of(stage, topic), 3, "partitions")


def add_partitions(stage):
    topic = stage.name("grown")
    create(stage, topic, 1)
    done(admin(stage).create_partitions([NewPartitions(topic, 4)]))
    expect(partitions_of(stage, topic), 4, "partitions")


def config_of(stage, topic):
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return done(admin(stage).describe_configs([resource]))[0]


def configs(stage):
    topic = stage.name("configured")
    create(stage, topic, 1, retention_ms="600000")
    expect(config_of(stage, topic)["retention.ms"].value, "600000", "retention.ms")
    entry = ConfigEntry("retention.ms", "700000", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    done(admin(stage).incremental_alter_configs([change]))
    expect(config_of(stage, topic)["retention.ms"].value, "700000", "retention.ms")


def delete_records(stage):
    topic = stage.name("cut")
    write(stage, topic, values("cut", 10))
    done(admin(stage).delete_records([TopicPartition(topic, 0, 4)]))
    found = done(admin(stage).list_offsets({TopicPartition(topic, 0): OffsetSpec.earliest()}))
    expect([f.offset for f in found], [4], "first offset")


def admin_groups(stage):
    topic, name = stage.name("groups"), stage.name("groups")
    write(stage, topic, values("groups", 5))
    member = consumer(stage, "groups")
    member.subscribe([topic])
    take(member, 5)
    member.commit(asynchronous=False)
    client = admin(stage)
    listed = client.list_consumer_groups(request_timeout=PATIENCE).result()
    expect(name in [g.group_id for g in listed.valid], True, "listed")
    described = done(client.describe_consumer_groups([name], request_timeout=PATIENCE))[0]
    expect((described.state.name, len(described.members)), ("STABLE", 1), "described")
    member.close()
    asked = ConsumerGroupTopicPartitions(name)
    found = done(client.list_consumer_group_offsets([asked]))[0]
    expect([p.offset for p in found.topic_partitions], [5], "offsets")
    done(client.delete_consumer_groups([name], request_timeout=PATIENCE))


def delete_topic(stage):
    topic = stage.name("deleted")
    create(stage, topic, 1)
    done(admin(stage).delete_topics([topic], operation_timeout=10))
    expect(topic in admin(stage).list_topics(timeout=PATIENCE).topics, False, "still listed")


gzip, snappy, lz4, zstd = (codec(name) for name in ("gzip", "snappy", "lz4", "zstd"))

main(globals())
