/* sendfile(2) in a loop and nothing else: what a transfer costs at least. The row beside which
 * CPU per byte of the engine's own sendfile is read.
 *
 *     cc -O2 -o sendfile sendfile.c && ./sendfile FILE BYTES PORT MILLISECONDS EVICT
 *
 * Sends the first BYTES of FILE to 127.0.0.1:PORT again and again for so long, before each time
 * evicting them from the page cache if EVICT is 1, and prints
 * `cpu_ns wall_ns calls bytes`, the eviction left out. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t send_once(int to, int file, off_t size) {
    uint64_t calls = 0;
    off_t at = 0;
    while (at < size) {
        calls++;
        if (sendfile(to, file, &at, (size_t)(size - at)) <= 0)
            err(1, "sendfile at %lld", (long long)at);
    }
    return calls;
}

int main(int argc, char **argv) {
    if (argc != 6)
        errx(2, "usage: sendfile FILE BYTES PORT MILLISECONDS EVICT");
    int file = open(argv[1], O_RDONLY | O_CLOEXEC), on = 1, evict = atoi(argv[5]);
    off_t size = atoll(argv[2]);
    int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)atoi(argv[3])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (file < 0 || connect(to, (struct sockaddr *)&at, sizeof at) < 0)
        err(1, "%s to port %s", argv[1], argv[3]);
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    uint64_t cpu = 0, wall = 0, calls = 0, bytes = 0;
    uint64_t end = now(CLOCK_MONOTONIC) + strtoull(argv[4], NULL, 10) * 1000000u;
    do {
        if (evict)
            posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        uint64_t cpu_before = now(CLOCK_THREAD_CPUTIME_ID), wall_before = now(CLOCK_MONOTONIC);
        for (int i = 0; i < (evict ? 1 : 16); i++) {
            calls += send_once(to, file, size);
            bytes += (uint64_t)size;
        }
        cpu += now(CLOCK_THREAD_CPUTIME_ID) - cpu_before;
        wall += now(CLOCK_MONOTONIC) - wall_before;
    } while (now(CLOCK_MONOTONIC) < end);
    printf("%llu %llu %llu %llu\n", (unsigned long long)cpu, (unsigned long long)wall,
           (unsigned long long)calls, (unsigned long long)bytes);
}
