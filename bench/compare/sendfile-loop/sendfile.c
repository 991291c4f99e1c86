/* sendfile(2) in a loop and nothing else: what a transfer costs at least. With CORK 1 under
 * TCP_CORK, which is the yardstick of `bench transfer` and `bench copy`.
 *
 *     cc -O2 -o sendfile sendfile.c
 *     ./sendfile FILE BYTES PORT MILLISECONDS EVICT CORK HEAD
 *
 * Sends HEAD bytes of memory and the first BYTES of FILE to 127.0.0.1:PORT, again and again for
 * so long, or once if MILLISECONDS is 0. With EVICT 1 the file is evicted from the page cache
 * before each time. Prints `cpu_ns wall_ns calls bytes`: evictions are not counted, nor the bytes
 * of heads. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t send_once(int to, int file, off_t size, int corks, size_t head) {
    static char memory[4096];
    int on = 1, off = 0;
    uint64_t calls = 0;
    off_t at = 0;
    if (corks)
        calls++, setsockopt(to, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    if (head > 0) {
        calls++;
        if (send(to, memory, head, corks ? 0 : MSG_MORE) != (ssize_t)head)
            err(1, "head");
    }
    while (at < size) {
        calls++;
        if (sendfile(to, file, &at, (size_t)(size - at)) <= 0)
            err(1, "sendfile at %lld", (long long)at);
    }
    if (corks)
        calls++, setsockopt(to, IPPROTO_TCP, TCP_CORK, &off, sizeof off);
    return calls;
}

int main(int argc, char **argv) {
    if (argc != 8)
        errx(2, "usage: sendfile FILE BYTES PORT MILLISECONDS EVICT CORK HEAD");
    int file = open(argv[1], O_RDONLY | O_CLOEXEC), on = 1;
    int evicts = atoi(argv[5]), corks = atoi(argv[6]);
    off_t size = atoll(argv[2]);
    size_t head = strtoul(argv[7], NULL, 10) % 4097;
    uint64_t length = strtoull(argv[4], NULL, 10) * 1000000u;
    int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)atoi(argv[3])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (file < 0 || connect(to, (struct sockaddr *)&at, sizeof at) < 0)
        err(1, "%s to port %s", argv[1], argv[3]);
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    uint64_t cpu = 0, wall = 0, calls = 0, bytes = 0, end = now(CLOCK_MONOTONIC) + length;
    do {
        if (evicts)
            posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        uint64_t cpu_before = now(CLOCK_THREAD_CPUTIME_ID), wall_before = now(CLOCK_MONOTONIC);
        for (int i = 0; i < (evicts || length == 0 || size >= 4 << 20 ? 1 : 16); i++) {
            calls += send_once(to, file, size, corks, head);
            bytes += (uint64_t)size;
        }
        cpu += now(CLOCK_THREAD_CPUTIME_ID) - cpu_before;
        wall += now(CLOCK_MONOTONIC) - wall_before;
    } while (now(CLOCK_MONOTONIC) < end);
    printf("%llu %llu %llu %llu\n", (unsigned long long)cpu, (unsigned long long)wall,
           (unsigned long long)calls, (unsigned long long)bytes);
}
