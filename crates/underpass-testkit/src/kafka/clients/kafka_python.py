"""kafka-python, written in Python alone."""

import threading
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic

from features import SHARED, expect, main, values

PATIENCE = 60


def write(stage, topic, sent, timestamps=None, **settings):
    producer = KafkaProducer(bootstrap_servers=stage.server, **settings)
    futures = [
        producer.send(
            topic,
            value,
            key=b"k",
            headers=[("place", str(i).encode())],
            timestamp_ms=timestamps[i] if timestamps else None,
        )
        for i, value in enumerate(sent)
    ]
    got = [future.get(PATIENCE).offset for future in futures]
    producer.close()
    return got


def consumer(stage, group=None, **settings):
    return KafkaConsumer(
        bootstrap_servers=stage.server,
        group_id=stage.name(group) if group else None,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **settings,
    )


def take(reader, count):
    end, got = time.monotonic() + PATIENCE, []
    while len(got) < count:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(got)} of {count} records")
        for records in reader.poll(500).values():
            got += records
    return got


def read(stage, topic, count, offset=0):
    reader = consumer(stage)
    reader.assign([TopicPartition(topic, 0)])
    reader.seek(TopicPartition(topic, 0), offset)
    got = take(reader, count)
    reader.close()
    return got


def produce(stage):
    topic, sent = stage.name("produce"), values("produce", 100)
    expect(write(stage, topic, sent), list(range(100)), "offsets")
    got = read(stage, topic, 100)
    expect([m.value for m in got], sent, "values")
    expect({m.key for m in got}, {b"k"}, "keys")
    expect([tuple(header) for header in got[7].headers], [("place", b"7")], "headers")
    expect([m.value for m in read(stage, topic, 5, 95)], sent[95:], "values from 95 on")


def idempotent(stage):
    topic, sent = stage.name("idempotent"), values("idempotent", 100)
    expect(write(stage, topic, sent, enable_idempotence=True), list(range(100)), "offsets")


def codec(name):
    def run(stage):
        topic, sent = stage.name(name), values(name, 100)
        write(stage, topic, sent, compression_type=name, linger_ms=100)
        expect([m.value for m in read(stage, topic, 100)], sent, "values")

    return run


def consume(stage):
    expect([m.value for m in read(stage, stage.shared, 100)], SHARED, "values")


def times(stage):
    topic = stage.name("times")
    write(stage, topic, values("times", 3), timestamps=[1000, 2000, 3000])
    reader, partition = consumer(stage), TopicPartition(topic, 0)
    found = reader.offsets_for_times({partition: 1500})[partition]
    expect((found.offset, found.timestamp), (1, 2000), "offset of 1500 ms")
    expect(reader.beginning_offsets([partition])[partition], 0, "first offset")
    expect(reader.end_offsets([partition])[partition], 3, "end")
    reader.close()


def groups(stage, name, **settings):
    topic = stage.name(name)
    write(stage, topic, values("group", 10))
    first = consumer(stage, name, **settings)
    first.subscribe([topic])
    expect([m.offset for m in take(first, 10)], list(range(10)), "offsets read")
    first.commit()
    first.close()
    expect(write(stage, topic, values("group", 5)), list(range(10, 15)), "offsets")
    second = consumer(stage, name, **settings)
    second.subscribe([topic])
    expect([m.offset for m in take(second, 5)], list(range(10, 15)), "offsets read")
    second.commit()
    expect(second.committed(TopicPartition(topic, 0)), 15, "committed offset")
    second.close()


def group(stage):
    groups(stage, "group")


def static_member(stage):
    groups(stage, "static", group_instance_id="one")


def two_members(stage):
    """Each in a thread: a member's poll waits for the other to join."""
    topic = stage.name("two")
    admin(stage).create_topics([NewTopic(topic, 4, 1)])
    shares, is_over = [set(), set()], threading.Event()

    def member(place):
        reader = consumer(stage, "two")
        reader.subscribe([topic])
        while not is_over.is_set():
            reader.poll(100)
            shares[place] = reader.assignment()
        reader.close()

    threads = [threading.Thread(target=member, args=[place]) for place in range(2)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    while sorted(map(len, shares)) != [2, 2] and time.monotonic() < end:
        time.sleep(0.05)
    is_over.set()
    for thread in threads:
        thread.join()
    expect(sorted(map(len, shares)), [2, 2], "partitions of each")
    expect(len(shares[0] | shares[1]), 4, "partitions")


def admin(stage):
    return KafkaAdminClient(bootstrap_servers=stage.server)


def partitions_of(stage, topic):
    return len(admin(stage).describe_topics([topic])[0]["partitions"])


def create_topic(stage):
    topic = stage.name("created")
    config = {"retention.ms": "600000"}
    admin(stage).create_topics([NewTopic(topic, 3, 1, topic_configs=config)])
    expect(partitions_of(stage, topic), 3, "partitions")


def add_partitions(stage):
    topic = stage.name("grown")
    admin(stage).create_topics([NewTopic(topic, 1, 1)])
    admin(stage).create_partitions({topic: NewPartitions(4)})
    expect(partitions_of(stage, topic), 4, "partitions")


def retention_of(stage, topic):
    found = admin(stage).describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return found["topic"][topic]["retention.ms"]["value"]


def configs(stage):
    topic = stage.name("configured")
    config = {"retention.ms": "600000"}
    admin(stage).create_topics([NewTopic(topic, 1, 1, topic_configs=config)])
    expect(retention_of(stage, topic), "600000", "retention.ms")
    change = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "700000"})
    admin(stage).alter_configs([change])
    expect(retention_of(stage, topic), "700000", "retention.ms")


def delete_records(stage):
    topic = stage.name("cut")
    write(stage, topic, values("cut", 10))
    partition = TopicPartition(topic, 0)
    admin(stage).delete_records({partition: 4})
    expect(consumer(stage).beginning_offsets([partition])[partition], 4, "first offset")


def admin_groups(stage):
    topic, name = stage.name("groups"), stage.name("groups")
    write(stage, topic, values("groups", 5))
    member = consumer(stage, "groups")
    member.subscribe([topic])
    take(member, 5)
    member.commit()
    client = admin(stage)
    listed = [group["group_id"] for group in client.list_groups()]
    expect(name in listed, True, "listed")
    described = client.describe_groups([name])[name]
    expect((described["group_state"], len(described["members"])), ("Stable", 1), "described")
    member.close()
    offsets = client.list_group_offsets([name])[name]
    expect({p.topic: o.offset for p, o in offsets.items()}, {topic: 5}, "offsets")
    client.delete_groups([name])
    expect(name in [group["group_id"] for group in client.list_groups()], False, "still listed")


def delete_topic(stage):
    topic = stage.name("deleted")
    admin(stage).create_topics([NewTopic(topic, 1, 1)])
    admin(stage).delete_topics([topic])
    expect(topic in admin(stage).list_topics(), False, "still listed")


gzip, snappy, lz4, zstd = (codec(name) for name in ("gzip", "snappy", "lz4", "zstd"))

main(globals())
