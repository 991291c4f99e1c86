// Kafka's own clients: runs the features that it is asked for and prints a line for each.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Client {
    static final Duration PATIENCE = Duration.ofSeconds(60);

    interface Feature {
        void run() throws Exception;
    }

    final String server, prefix, shared;

    Client(String server, String prefix, String shared) {
        this.server = server;
        this.prefix = prefix;
        this.shared = shared;
    }

    String name(String of) {
        return prefix + "-" + of;
    }

    static void expect(Object found, Object wanted, String what) {
        if (!Objects.equals(found, wanted)) {
            throw new IllegalStateException(what + ": " + found + ", not " + wanted);
        }
    }

    static List<String> values(String of, int count) {
        return IntStream.range(0, count).mapToObj(i -> of + "-" + i + " " + "x".repeat(100)).toList();
    }

    static List<Long> range(long from, long to) {
        return LongStream.range(from, to).boxed().toList();
    }

    static <T> T get(Future<T> future) throws Exception {
        return future.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    }

    Properties properties(Object... more) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", server);
        for (int i = 0; i < more.length; i += 2) {
            properties.put(more[i], more[i + 1]);
        }
        return properties;
    }

    List<Long> write(String topic, List<String> sent, List<Long> times, Object... more) throws Exception {
        List<Long> offsets = new ArrayList<>();
        var text = new StringSerializer();
        try (var producer = new KafkaProducer<>(properties(more), text, text)) {
            List<Future<RecordMetadata>> waiting = new ArrayList<>();
            for (int i = 0; i < sent.size(); i++) {
                Long time = times.isEmpty() ? null : times.get(i);
                var record = new ProducerRecord<>(topic, null, time, "k", sent.get(i));
                record.headers().add("place", Integer.toString(i).getBytes());
                waiting.add(producer.send(record));
            }
            for (var one : waiting) {
                offsets.add(get(one).offset());
            }
        }
        return offsets;
    }

    KafkaConsumer<String, String> consumer(String group, Object... more) {
        Properties properties = properties(more);
        properties.put("group.id", name(group));
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        var text = new StringDeserializer();
        return new KafkaConsumer<>(properties, text, text);
    }

    static List<ConsumerRecord<String, String>> take(KafkaConsumer<String, String> reader, int count) {
        long end = System.nanoTime() + PATIENCE.toNanos();
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        while (got.size() < count) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException(got.size() + " of " + count + " records");
            }
            reader.poll(Duration.ofMillis(500)).forEach(got::add);
        }
        return got;
    }

    List<ConsumerRecord<String, String>> read(String topic, int count, long from) {
        try (var reader = consumer("assigned")) {
            var partition = new TopicPartition(topic, 0);
            reader.assign(List.of(partition));
            reader.seek(partition, from);
            return take(reader, count);
        }
    }

    static List<String> texts(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).toList();
    }

    void produce() throws Exception {
        var sent = values("produce", 100);
        expect(write(name("produce"), sent, List.of()), range(0, 100), "offsets");
        var got = read(name("produce"), 100, 0);
        expect(texts(got), sent, "values");
        expect(got.get(7).key(), "k", "key");
        expect(new String(got.get(7).headers().lastHeader("place").value()), "7", "header");
        expect(texts(read(name("produce"), 5, 95)), sent.subList(95, 100), "values from 95 on");
    }

    void idempotent() throws Exception {
        var offsets = write(name("idempotent"), values("idempotent", 100), List.of(), "enable.idempotence", "true");
        expect(offsets, range(0, 100), "offsets");
    }

    void codec(String codec) throws Exception {
        var sent = values(codec, 100);
        write(name(codec), sent, List.of(), "compression.type", codec, "linger.ms", "100");
        expect(texts(read(name(codec), 100, 0)), sent, "values");
    }

    void consume() {
        List<String> wanted = new ArrayList<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            IntStream.range(0, 20).forEach(i -> wanted.add(codec + "-" + i));
        }
        expect(texts(read(shared, 100, 0)), wanted, "values");
    }

    void times() throws Exception {
        write(name("times"), values("times", 3), List.of(1000L, 2000L, 3000L));
        var partition = new TopicPartition(name("times"), 0);
        try (var reader = consumer("times")) {
            var found = reader.offsetsForTimes(Map.of(partition, 1500L)).get(partition);
            expect(List.of(found.offset(), found.timestamp()), List.of(1L, 2000L), "offset of 1500 ms");
            expect(reader.beginningOffsets(List.of(partition)).get(partition), 0L, "first offset");
            expect(reader.endOffsets(List.of(partition)).get(partition), 3L, "end");
        }
    }

    void groups(String name, Object... more) throws Exception {
        String topic = name(name);
        long end = 0;
        for (int count : new int[] {10, 5}) {
            var wanted = range(end, end + count);
            end += count;
            expect(write(topic, values("group", count), List.of()), wanted, "offsets");
            try (var member = consumer(name, more)) {
                member.subscribe(List.of(topic));
                expect(take(member, count).stream().map(ConsumerRecord::offset).toList(), wanted, "offsets read");
                member.commitSync();
                var partition = new TopicPartition(topic, 0);
                expect(member.committed(Set.of(partition)).get(partition).offset(), end, "committed offset");
            }
        }
    }

    void twoMembers() throws Exception {
        create("two", 4);
        try (var first = consumer("two"); var second = consumer("two")) {
            var members = List.of(first, second);
            members.forEach(member -> member.subscribe(List.of(name("two"))));
            long end = System.nanoTime() + PATIENCE.toNanos();
            while (!members.stream().allMatch(member -> member.assignment().size() == 2)) {
                if (System.nanoTime() > end) {
                    throw new IllegalStateException("no rebalance");
                }
                members.forEach(member -> member.poll(Duration.ofMillis(100)));
            }
            Set<Integer> all = new TreeSet<>();
            members.forEach(member -> member.assignment().forEach(p -> all.add(p.partition())));
            expect(all.size(), 4, "partitions");
        }
    }

    /** What is done with an administrator's client. */
    interface Work<T> {
        T run(Admin admin) throws Exception;
    }

    <T> T admin(Work<T> work) throws Exception {
        try (Admin admin = Admin.create(properties())) {
            return work.run(admin);
        }
    }

    void create(String of, int partitions) throws Exception {
        var topic = new NewTopic(name(of), partitions, (short) 1).configs(Map.of("retention.ms", "600000"));
        admin(admin -> get(admin.createTopics(List.of(topic)).all()));
    }

    int partitionsOf(String of) throws Exception {
        return admin(admin -> get(admin.describeTopics(List.of(name(of))).allTopicNames()))
            .get(name(of)).partitions().size();
    }

    String retentionOf(String of) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, name(of));
        return admin(admin -> get(admin.describeConfigs(List.of(resource)).all()))
            .get(resource).get("retention.ms").value();
    }

    void createTopic() throws Exception {
        create("created", 3);
        expect(partitionsOf("created"), 3, "partitions");
    }

    void addPartitions() throws Exception {
        create("grown", 1);
        admin(admin -> get(admin.createPartitions(Map.of(name("grown"), NewPartitions.increaseTo(4))).all()));
        expect(partitionsOf("grown"), 4, "partitions");
    }

    void configs() throws Exception {
        create("configured", 1);
        expect(retentionOf("configured"), "600000", "retention.ms");
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, name("configured"));
        var change = new AlterConfigOp(new ConfigEntry("retention.ms", "700000"), AlterConfigOp.OpType.SET);
        Map<ConfigResource, Collection<AlterConfigOp>> changes = Map.of(resource, List.of(change));
        admin(admin -> get(admin.incrementalAlterConfigs(changes).all()));
        expect(retentionOf("configured"), "700000", "retention.ms");
    }

    void deleteRecords() throws Exception {
        write(name("cut"), values("cut", 10), List.of());
        var partition = new TopicPartition(name("cut"), 0);
        admin(admin -> get(admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).all()));
        try (var reader = consumer("asking")) {
            expect(reader.beginningOffsets(List.of(partition)).get(partition), 4L, "first offset");
        }
    }

    void adminGroups() throws Exception {
        String group = name("groups");
        write(name("groups"), values("groups", 5), List.of());
        try (var member = consumer("groups"); Admin admin = Admin.create(properties())) {
            member.subscribe(List.of(name("groups")));
            take(member, 5);
            member.commitSync();
            var listed = get(admin.listGroups().all()).stream().map(one -> one.groupId()).toList();
            expect(listed.contains(group), true, "listed");
            var described = get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
            expect(described.groupState().toString(), "Stable", "state");
            expect(described.members().size(), 1, "members");
            var offsets = get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
            expect(offsets.get(new TopicPartition(name("groups"), 0)).offset(), 5L, "offset");
        }
        admin(admin -> get(admin.deleteConsumerGroups(List.of(group)).all()));
    }

    void deleteTopic() throws Exception {
        create("deleted", 1);
        admin(admin -> get(admin.deleteTopics(List.of(name("deleted"))).all()));
        expect(admin(admin -> get(admin.listTopics().names())).contains(name("deleted")), false, "still listed");
    }

    Map<String, Feature> features() {
        Map<String, Feature> all = new HashMap<>();
        all.put("produce", this::produce);
        all.put("idempotent", this::idempotent);
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) {
            all.put(codec, () -> codec(codec));
        }
        all.put("consume", this::consume);
        all.put("times", this::times);
        all.put("group", () -> groups("group"));
        all.put("static-member", () -> groups("static", "group.instance.id", "one"));
        all.put("two-members", this::twoMembers);
        all.put("create-topic", this::createTopic);
        all.put("add-partitions", this::addPartitions);
        all.put("configs", this::configs);
        all.put("delete-records", this::deleteRecords);
        all.put("admin-groups", this::adminGroups);
        all.put("delete-topic", this::deleteTopic);
        return all;
    }

    static String outcome(Feature feature) {
        if (feature == null) {
            return "cannot";
        }
        try {
            feature.run();
            return "yes";
        } catch (Exception error) {
            return ("no " + error).replaceAll("\\s+", " ");
        }
    }

    public static void main(String[] arguments) {
        Map<String, Feature> features = new Client(arguments[0], arguments[1], arguments[2]).features();
        for (int i = 3; i < arguments.length; i++) {
            System.out.println(arguments[i] + " " + outcome(features.get(arguments[i])));
        }
    }
}
