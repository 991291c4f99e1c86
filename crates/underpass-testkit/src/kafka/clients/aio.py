"""aiokafka, which still sends what Kafka 0.11 to 2.4 understood."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from features import SHARED, expect, main, values

PATIENCE = 60


def runs(function):
    """A feature that is a coroutine."""
    return lambda stage: asyncio.run(asyncio.wait_for(function(stage), 2 * PATIENCE))


async def write(stage, topic, sent, timestamps=None, **settings):
    async with AIOKafkaProducer(bootstrap_servers=stage.server, **settings) as producer:
        waiting = []
        for i, value in enumerate(sent):
            headers = [("place", str(i).encode())]
            time_ms = timestamps[i] if timestamps else None
            waiting.append(
                await producer.send(topic, value, key=b"k", headers=headers, timestamp_ms=time_ms)
            )
        return [(await one).offset for one in waiting]


async def consumer(stage, *topics, group=None, **settings):
    reader = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=stage.server,
        group_id=stage.name(group) if group else None,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **settings,
    )
    await reader.start()
    return reader


async def take(reader, count):
    end, got = time.monotonic() + PATIENCE, []
    while len(got) < count:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(got)} of {count} records")
        for records in (await reader.getmany(timeout_ms=500)).values():
            got += records
    return got


async def read(stage, topic, count, offset=0):
    reader = await consumer(stage)
    reader.assign([TopicPartition(topic, 0)])
    reader.seek(TopicPartition(topic, 0), offset)
    got = await take(reader, count)
    await reader.stop()
    return got


@runs
async def produce(stage):
    topic, sent = stage.name("produce"), values("produce", 100)
    expect(await write(stage, topic, sent), list(range(100)), "offsets")
    got = await read(stage, topic, 100)
    expect([m.value for m in got], sent, "values")
    expect({m.key for m in got}, {b"k"}, "keys")
    expect(got[7].headers, (("place", b"7"),), "headers")
    expect([m.value for m in await read(stage, topic, 5, 95)], sent[95:], "values from 95 on")


@runs
async def idempotent(stage):
    topic, sent = stage.name("idempotent"), values("idempotent", 100)
    got = await write(stage, topic, sent, enable_idempotence=True)
    expect(got, list(range(100)), "offsets")


def codec(name):
    @runs
    async def run(stage):
        topic, sent = stage.name(name), values(name, 100)
        await write(stage, topic, sent, compression_type=name, linger_ms=100)
        expect([m.value for m in await read(stage, topic, 100)], sent, "values")

    return run


@runs
async def consume(stage):
    expect([m.value for m in await read(stage, stage.shared, 100)], SHARED, "values")


@runs
async def times(stage):
    topic = stage.name("times")
    # By default it asks for one acknowledgement, after which offsets may not be visible yet.
    await write(stage, topic, values("times", 3), timestamps=[1000, 2000, 3000], acks="all")
    reader, partition = await consumer(stage), TopicPartition(topic, 0)
    found = (await reader.offsets_for_times({partition: 1500}))[partition]
    expect((found.offset, found.timestamp), (1, 2000), "offset of 1500 ms")
    expect((await reader.beginning_offsets([partition]))[partition], 0, "first offset")
    expect((await reader.end_offsets([partition]))[partition], 3, "end")
    await reader.stop()


async def groups(stage, name, **settings):
    topic = stage.name(name)
    await write(stage, topic, values("group", 10))
    first = await consumer(stage, topic, group=name, **settings)
    expect([m.offset for m in await take(first, 10)], list(range(10)), "offsets read")
    await first.commit()
    await first.stop()
    expect(await write(stage, topic, values("group", 5)), list(range(10, 15)), "offsets")
    second = await consumer(stage, topic, group=name, **settings)
    expect([m.offset for m in await take(second, 5)], list(range(10, 15)), "offsets read")
    await second.commit()
    expect(await second.committed(TopicPartition(topic, 0)), 15, "committed offset")
    await second.stop()


@runs
async def group(stage):
    await groups(stage, "group")


@runs
async def static_member(stage):
    await groups(stage, "static", group_instance_id="one")


@runs
async def two_members(stage):
    topic = stage.name("two")
    async with admin(stage) as client:
        await client.create_topics([NewTopic(topic, 4, 1)])
    members = [await consumer(stage, topic, group="two") for _ in range(2)]
    end, shares = time.monotonic() + PATIENCE, []
    while sorted(map(len, shares)) != [2, 2]:
        if time.monotonic() > end:
            raise TimeoutError(f"assignments {shares}")
        for member in members:
            await member.getmany(timeout_ms=100)
        shares = [member.assignment() for member in members]
    expect(len(shares[0] | shares[1]), 4, "partitions")
    for member in members:
        await member.stop()


class admin:
    def __init__(self, stage):
        self.client = AIOKafkaAdminClient(bootstrap_servers=stage.server)

    async def __aenter__(self):
        await self.client.start()
        return self.client

    async def __aexit__(self, *_):
        await self.client.close()


async def become(ask, wanted, what):
    """Asks again: Kafka tells of a change before its own view of topics has it."""
    end, found = time.monotonic() + PATIENCE, None
    while found != wanted and time.monotonic() < end:
        found = await ask()
    expect(found, wanted, what)


async def partitions_of(client, topic):
    return len((await client.describe_topics([topic]))[0]["partitions"])


@runs
async def create_topic(stage):
    topic = stage.name("created")
    async with admin(stage) as client:
        config = {"retention.ms": "600000"}
        await client.create_topics([NewTopic(topic, 3, 1, topic_configs=config)])
        await become(lambda: partitions_of(client, topic), 3, "partitions")


@runs
async def add_partitions(stage):
    topic = stage.name("grown")
    async with admin(stage) as client:
        await client.create_topics([NewTopic(topic, 1, 1)])
        await become(lambda: partitions_of(client, topic), 1, "partitions")
        await client.create_partitions({topic: NewPartitions(4)})
        await become(lambda: partitions_of(client, topic), 4, "partitions")


async def retention_of(client, topic):
    answers = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    entries = answers[0].resources[0][4]
    return next((entry[1] for entry in entries if entry[0] == "retention.ms"), None)


@runs
async def configs(stage):
    topic = stage.name("configured")
    async with admin(stage) as client:
        config = {"retention.ms": "600000"}
        await client.create_topics([NewTopic(topic, 1, 1, topic_configs=config)])
        await become(lambda: retention_of(client, topic), "600000", "retention.ms")
        more = {"retention.ms": "700000"}
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, more)])
        await become(lambda: retention_of(client, topic), "700000", "retention.ms")


@runs
async def delete_records(stage):
    topic = stage.name("cut")
    await write(stage, topic, values("cut", 10), acks="all")
    partition = TopicPartition(topic, 0)
    async with admin(stage) as client:
        await client.delete_records({partition: RecordsToDelete(before_offset=4)})
    reader = await consumer(stage)
    expect((await reader.beginning_offsets([partition]))[partition], 4, "first offset")
    await reader.stop()


@runs
async def admin_groups(stage):
    """There is no call that deletes a group."""
    topic, name = stage.name("groups"), stage.name("groups")
    await write(stage, topic, values("groups", 5))
    member = await consumer(stage, topic, group="groups")
    await take(member, 5)
    await member.commit()
    async with admin(stage) as client:
        listed = [group[0] for group in await client.list_consumer_groups()]
        expect(name in listed, True, "listed")
        described = (await client.describe_consumer_groups([name]))[0].groups[0]
        expect((described[2], len(described[5])), ("Stable", 1), "described")
        offsets = await client.list_consumer_group_offsets(name)
        expect({p.topic: o.offset for p, o in offsets.items()}, {topic: 5}, "offsets")
    await member.stop()


@runs
async def delete_topic(stage):
    topic = stage.name("deleted")
    async with admin(stage) as client:
        await client.create_topics([NewTopic(topic, 1, 1)])
        await client.delete_topics([topic])
        expect(topic in await client.list_topics(), False, "still listed")


gzip, snappy, lz4, zstd = (codec(name) for name in ("gzip", "snappy", "lz4", "zstd"))

main(globals())
