// kafkajs, written in JavaScript alone. It has gzip itself; the other codecs come as it asks for
// them, from packages that need no compiler.
'use strict'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const { ZstdCodec } = require('zstd-codec')

const PATIENCE_MS = 60000
const [server, prefix, shared, ...features] = process.argv.slice(2)
// retry: kafkajs gives up a new topic's leader after five times otherwise.
const kafka = new Kafka({ clientId: 'kafkajs', brokers: [server], logLevel: logLevel.NOTHING, retry: { retries: 10 } })
const SHARED = ['none', 'gzip', 'snappy', 'lz4', 'zstd'].flatMap(codec =>
  [...Array(20).keys()].map(i => `${codec}-${i}`)
)

function name(of) {
  return `${prefix}-${of}`
}

function expect(found, wanted, what) {
  const [a, b] = [found, wanted].map(value => JSON.stringify(value))
  if (a !== b) throw new Error(`${what}: ${a}, not ${b}`)
}

function values(of, count) {
  return [...Array(count).keys()].map(i => `${of}-${i} ${'x'.repeat(100)}`)
}

function withTime(promise, what) {
  let timer
  const late = new Promise((_, refuse) => {
    timer = setTimeout(() => refuse(new Error(`no end of ${what}`)), PATIENCE_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

async function withClient(client, work) {
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.disconnect()
  }
}

function withAdmin(work) {
  return withClient(kafka.admin(), work)
}

async function create(topic, numPartitions = 1, configEntries = []) {
  await withAdmin(admin => admin.createTopics({ topics: [{ topic, numPartitions, configEntries }] }))
}

// The base offset of what was sent in one request.
async function write(topic, sent, { compression, timestamps, ...settings } = {}) {
  const messages = sent.map((value, i) => ({
    key: 'k',
    value,
    headers: { place: String(i) },
    ...(timestamps ? { timestamp: String(timestamps[i]) } : {}),
  }))
  return withClient(kafka.producer(settings), async producer => {
    const answers = await producer.send({ topic, messages, compression })
    return Number(answers[0].baseOffset)
  })
}

// Reads with a group, from its offset or the beginning on; kafkajs has no other way.
async function read(topic, count, { groupId, seek, commits } = {}) {
  const consumer = kafka.consumer({ groupId: groupId || `${topic}-${Math.random()}` })
  return withClient(consumer, async () => {
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    const got = []
    const all = new Promise((resolve, reject) => {
      consumer.on(consumer.events.CRASH, event => reject(event.payload.error))
      const eachMessage = async ({ message }) => {
        got.push(message)
        if (got.length === count) resolve()
      }
      consumer.run({ autoCommit: false, eachMessage }).catch(reject)
      if (seek !== undefined) consumer.seek({ topic, partition: 0, offset: String(seek) })
    })
    await withTime(all, `${count} records`)
    if (commits) {
      const offset = String(Number(got[got.length - 1].offset) + 1)
      await consumer.commitOffsets([{ topic, partition: 0, offset }])
    }
    return got
  })
}

function codec(type, of) {
  return async () => {
    const [topic, sent] = [name(of), values(of, 100)]
    await write(topic, sent, { compression: type })
    expect((await read(topic, 100)).map(m => m.value.toString()), sent, 'values')
  }
}

async function retentionOf(admin, topic) {
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic }]
  const { resources: found } = await admin.describeConfigs({ resources, includeSynonyms: false })
  return found[0].configEntries.find(entry => entry.configName === 'retention.ms').configValue
}

async function partitionsOf(admin, topic) {
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  return topics[0].partitions.length
}

const RETENTION = [{ name: 'retention.ms', value: '600000' }]

const known = {
  async produce() {
    const [topic, sent] = [name('produce'), values('produce', 100)]
    expect(await write(topic, sent), 0, 'base offset')
    const got = await read(topic, 100)
    expect(got.map(m => m.value.toString()), sent, 'values')
    expect(got[7].key.toString(), 'k', 'key')
    expect(got[7].headers.place.toString(), '7', 'header')
    const rest = await read(topic, 5, { seek: 95 })
    expect(rest.map(m => m.value.toString()), sent.slice(95), 'values from 95 on')
  },
  async idempotent() {
    const topic = name('idempotent')
    await create(topic)
    const settings = { idempotent: true, maxInFlightRequests: 1 }
    expect(await write(topic, values('idempotent', 100), settings), 0, 'base offset')
  },
  gzip: codec(CompressionTypes.GZIP, 'gzip'),
  snappy: codec(CompressionTypes.Snappy, 'snappy'),
  lz4: codec(CompressionTypes.LZ4, 'lz4'),
  zstd: codec(CompressionTypes.ZSTD, 'zstd'),
  async consume() {
    const got = await read(shared, 100)
    expect(got.map(m => m.value.toString()), SHARED, 'values')
  },
  async times() {
    const topic = name('times')
    await write(topic, values('times', 3), { timestamps: [1000, 2000, 3000] })
    await withAdmin(async admin => {
      const found = await admin.fetchTopicOffsetsByTimestamp(topic, 1500)
      expect(found[0].offset, '1', 'offset of 1500 ms')
      const [{ low, high }] = await admin.fetchTopicOffsets(topic)
      expect([low, high], ['0', '3'], 'ends')
    })
  },
  async group() {
    const [topic, groupId] = [name('group'), name('group')]
    await write(topic, values('group', 10))
    await read(topic, 10, { groupId, commits: true })
    expect(await write(topic, values('group', 5)), 10, 'base offset')
    const got = await read(topic, 5, { groupId, commits: true })
    expect(got.map(m => m.offset), ['10', '11', '12', '13', '14'], 'offsets read')
    const [committed] = await withAdmin(admin => admin.fetchOffsets({ groupId, topics: [topic] }))
    expect(committed.partitions[0].offset, '15', 'committed offset')
  },
  async 'two-members'() {
    const [topic, groupId] = [name('two'), name('two')]
    await create(topic, 4)
    const members = [kafka.consumer({ groupId }), kafka.consumer({ groupId })]
    const shares = [[], []]
    const settled = new Promise(resolve => {
      members.forEach((member, i) =>
        member.on(member.events.GROUP_JOIN, ({ payload }) => {
          shares[i] = payload.memberAssignment[topic] || []
          if (shares.every(share => share.length === 2)) resolve()
        })
      )
    })
    for (const member of members) {
      await member.connect()
      await member.subscribe({ topics: [topic] })
      member.run({ eachMessage: async () => {} })
    }
    await withTime(settled, 'a rebalance')
    expect(shares.flat().sort(), [0, 1, 2, 3], 'partitions')
    for (const member of members) await member.disconnect()
  },
  async 'create-topic'() {
    const topic = name('created')
    await create(topic, 3, RETENTION)
    expect(await withAdmin(admin => partitionsOf(admin, topic)), 3, 'partitions')
  },
  async 'add-partitions'() {
    const topic = name('grown')
    await create(topic)
    await withAdmin(async admin => {
      await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
      expect(await partitionsOf(admin, topic), 4, 'partitions')
    })
  },
  async configs() {
    const topic = name('configured')
    await create(topic, 1, RETENTION)
    await withAdmin(async admin => {
      expect(await retentionOf(admin, topic), '600000', 'retention.ms')
      const configEntries = [{ name: 'retention.ms', value: '700000' }]
      const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }]
      await admin.alterConfigs({ resources, validateOnly: false })
      expect(await retentionOf(admin, topic), '700000', 'retention.ms')
    })
  },
  async 'delete-records'() {
    const topic = name('cut')
    await write(topic, values('cut', 10))
    await withAdmin(async admin => {
      // What loads the topic's leader, which kafkajs needs and does not ask for.
      await admin.fetchTopicOffsets(topic)
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
      expect((await admin.fetchTopicOffsets(topic))[0].low, '4', 'first offset')
    })
  },
  async 'admin-groups'() {
    const [topic, groupId] = [name('groups'), name('groups')]
    await write(topic, values('groups', 5))
    await read(topic, 5, { groupId, commits: true })
    await withAdmin(async admin => {
      const { groups } = await admin.listGroups()
      expect(groups.some(group => group.groupId === groupId), true, 'listed')
      const described = (await admin.describeGroups([groupId])).groups[0]
      expect([described.state, described.members.length], ['Empty', 0], 'described')
      const [offsets] = await admin.fetchOffsets({ groupId, topics: [topic] })
      expect(offsets.partitions[0].offset, '5', 'offset')
      await admin.deleteGroups([groupId])
    })
  },
  async 'delete-topic'() {
    const topic = name('deleted')
    await create(topic)
    await withAdmin(async admin => {
      await admin.deleteTopics({ topics: [topic] })
      expect((await admin.listTopics()).includes(topic), false, 'still listed')
    })
  },
}

async function main() {
  const zstd = await new Promise(resolve => ZstdCodec.run(codec => resolve(new codec.Streaming())))
  const now = codec => () => codec
  CompressionCodecs[CompressionTypes.Snappy] = snappy
  CompressionCodecs[CompressionTypes.LZ4] = now({
    compress: encoder => lz4.compressFrame(encoder.buffer),
    decompress: buffer => lz4.decompressFrame(buffer),
  })
  CompressionCodecs[CompressionTypes.ZSTD] = now({
    compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
    decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
  })
  for (const feature of features) {
    let answer = 'cannot'
    if (known[feature]) {
      answer = await known[feature]().then(
        () => 'yes',
        error => `no ${error.name}: ${error.message}`.replace(/\s+/g, ' ')
      )
    }
    console.log(feature, answer)
  }
  process.exit(0)
}

main()
