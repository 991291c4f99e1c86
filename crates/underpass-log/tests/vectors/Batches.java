import java.nio.ByteBuffer;
import java.nio.file.*;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.*;

/** Writes one record batch a codec. */
class Batches {
    public static void main(String[] args) throws Exception {
        for (CompressionType type : CompressionType.values()) {
            Compression codec = Compression.of(type).build();
            MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(4096),
                RecordBatch.MAGIC_VALUE_V2, codec, TimestampType.CREATE_TIME, 0L,
                RecordBatch.NO_TIMESTAMP, 7L, (short) 1, 3, false, 0);
            long time = 1700000000000L;
            byte[] value = "underpass ".repeat(30).getBytes();
            Header[] headers = {new RecordHeader("h1", "x".getBytes()), new RecordHeader("h2", (byte[]) null)};
            builder.append(time, null, value, new Header[0]);
            builder.append(time + 5, "k".getBytes(), null, headers);
            builder.append(time - 3, new byte[0], new byte[0], new Header[0]);
            ByteBuffer buffer = builder.build().buffer();
            byte[] batch = new byte[buffer.remaining()];
            buffer.get(batch);
            Files.write(Path.of(type.name + ".batch"), batch);
        }
    }
}
