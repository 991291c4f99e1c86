/* The least a broker can do for a batch: recv(2), pwrite(2) behind all others, send(2). The floor of
 * the produce cases of `bench log`.
 *
 *     cc -O2 -o produce produce.c && ./produce PORT FILE ANSWER
 *
 * ANSWER is a file with what a broker answered; every request gets it. A request is a length of four
 * bytes and as many bytes, which are written without a look at them, in pieces of 128 KiB that end at
 * multiples of it, to blocks that are allocated 16 MiB ahead. Sockets are blocking. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

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

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)atoi(argv[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 1024) < 0)
        err(1, "port %s", argv[1]);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[64];
    epoll_ctl(set, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(set, ready, 64, -1);
        for (int i = 0; i < count; i++) {
            int client = ready[i].data.fd;
            if (client == listener) {
                event.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (event.data.fd < 0)
                    err(1, "accept");
                setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                epoll_ctl(set, EPOLL_CTL_ADD, event.data.fd, &event);
            } else if (!answer(client)) {
                close(client);
            }
        }
    }
}
