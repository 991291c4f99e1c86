/* The least a broker can do for a batch: recv(2), pwrite(2) behind all others, send(2). The floor of
 * the produce cases of `bench log`.
 *
 *     cc -O2 -o produce produce.c && ./produce PORT FILE ANSWER
 *
 * ANSWER is a file with what a broker answered; every request gets it. A request is a length of four
 * bytes and as many bytes, which are written without a look at them, in pieces of 128 KiB that end at
 * multiples of it, to blocks that are allocated 16 MiB ahead. Sockets are blocking. */
#define _GNU_SOURCE
#include "loop.h"

#include <fcntl.h>

enum { ANSWER_MAX = 1024, FRAME_MAX = 2 << 20, PIECE = 128 << 10, AHEAD = 16 << 20 };

static char answer_bytes[ANSWER_MAX], frame[FRAME_MAX];
static size_t answer_len;
static off_t end, allocated;
static int file;

static int receive(int client, char *to, size_t len) {
    while (len > 0) {
        ssize_t n = recv(client, to, len, 0);
        if (n <= 0)
            return 0;
        to += n;
        len -= (size_t)n;
    }
    return 1;
}

static void append(const char *from, size_t len) {
    if (end + (off_t)len > allocated) {
        fallocate(file, FALLOC_FL_KEEP_SIZE, allocated, AHEAD);
        allocated += AHEAD;
    }
    while (len > 0) {
        size_t piece = PIECE - (size_t)(end % PIECE);
        ssize_t n = pwrite(file, from, piece < len ? piece : len, end);
        if (n <= 0)
            err(1, "write");
        from += n;
        len -= (size_t)n;
        end += n;
    }
}

/* Takes one request and answers it. Returns 0 when the client has gone. */
static int answer(int client) {
    /* Most are short: the length and the rest come in one call. */
    ssize_t n = recv(client, frame, 16384, 0);
    if (n < 4)
        return 0;
    size_t len = 4 + (size_t)ntohl(*(uint32_t *)frame);
    if (len > FRAME_MAX || !receive(client, frame + n, len - (size_t)n))
        return 0;
    append(frame + 4, len - 4);
    return send(client, answer_bytes, answer_len, MSG_NOSIGNAL) > 0;
}

int main(int argc, char **argv) {
    if (argc != 4)
        errx(2, "usage: produce PORT FILE ANSWER");
    int canned = open(argv[3], O_RDONLY | O_CLOEXEC);
    ssize_t n = canned < 0 ? -1 : read(canned, answer_bytes, ANSWER_MAX);
    file = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (n <= 0 || file < 0)
        err(1, "%s", n <= 0 ? argv[3] : argv[2]);
    answer_len = (size_t)n;

    loop(argv[1], answer);
}
