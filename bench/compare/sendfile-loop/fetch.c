/* The least a broker can do for a fetch: recv(2), a head from memory, the records by sendfile(2),
 * or by pread(2) and one send(2) where they are few. The floor of the fetches of `bench log`.
 *
 *     cc -O2 -o fetch fetch.c
 *     ./fetch PORT SEGMENT HEAD OFFSET_AT BATCH_RECORDS BATCH_BYTES RECORDS_BYTES
 *
 * HEAD is a file with the response's bytes before its records, as a broker sent them. Every request
 * gets them and RECORDS_BYTES bytes of SEGMENT from the batch on that holds the offset found at
 * OFFSET_AT in the request, or from an earlier one if the segment ends before: all batches have
 * BATCH_RECORDS records and BATCH_BYTES bytes. Head and records leave under TCP_CORK where they take more than one call. Sockets are blocking.
 *
 * Does not read requests otherwise, and trusts its client. */
#define _GNU_SOURCE
#include "loop.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

/* Fewer bytes are copied. */
enum { FEW = 8192, HEAD_MAX = 1024 };

static char answer_bytes[HEAD_MAX + FEW];
static size_t head_len, offset_at, records_bytes;
static long batch_records, batch_bytes;
static off_t last;
static int segment;

/* Reads one request, which comes whole, and answers it. Returns 0 when the client has gone. */
static int answer(int client) {
    char request[1024];
    uint64_t offset;
    int on = 1, off = 0;
    if (recv(client, request, sizeof request, 0) <= 0)
        return 0;
    memcpy(&offset, request + offset_at, sizeof offset);
    off_t at = (off_t)(be64toh(offset) / (uint64_t)batch_records) * batch_bytes;
    if (at > last)
        at = last;
    off_t end = at + (off_t)records_bytes;
    if (records_bytes <= FEW) {
        ssize_t n = pread(segment, answer_bytes + head_len, records_bytes, at);
        return n > 0 && send(client, answer_bytes, head_len + (size_t)n, MSG_NOSIGNAL) > 0;
    }
    setsockopt(client, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    int alive = send(client, answer_bytes, head_len, MSG_NOSIGNAL) > 0;
    while (alive && at < end)
        alive = sendfile(client, segment, &at, (size_t)(end - at)) > 0;
    setsockopt(client, IPPROTO_TCP, TCP_CORK, &off, sizeof off);
    return alive;
}

int main(int argc, char **argv) {
    if (argc != 8)
        errx(2, "usage: fetch PORT SEGMENT HEAD OFFSET_AT BATCH_RECORDS BATCH_BYTES RECORDS_BYTES");
    int head = open(argv[3], O_RDONLY | O_CLOEXEC);
    ssize_t n = head < 0 ? -1 : read(head, answer_bytes, HEAD_MAX);
    segment = open(argv[2], O_RDONLY | O_CLOEXEC);
    if (n <= 0 || segment < 0)
        err(1, "%s", n <= 0 ? argv[3] : argv[2]);
    head_len = (size_t)n;
    offset_at = strtoul(argv[4], NULL, 10);
    batch_records = atol(argv[5]);
    batch_bytes = atol(argv[6]);
    records_bytes = strtoul(argv[7], NULL, 10);
    struct stat status;
    if (fstat(segment, &status) < 0 || status.st_size < (off_t)records_bytes)
        errx(1, "%s is too short", argv[2]);
    last = (status.st_size - (off_t)records_bytes) / batch_bytes * batch_bytes;

    loop(argv[1], answer);
}
