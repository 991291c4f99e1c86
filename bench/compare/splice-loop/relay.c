// The least a relay can do: one connection at a time, one way, by splice through a 1 MiB pipe.
// Usage: relay LISTEN_PORT TARGET_PORT, both of 127.0.0.1.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address(const char *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in here = address(argv[1]), there = address(argv[2]);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, p[2];
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 64)) {
        perror("listen");
        return 1;
    }
    for (;;) {
        int from = accept(listener, 0, 0), to = socket(AF_INET, SOCK_STREAM, 0);
        if (from < 0 || connect(to, (struct sockaddr *)&there, sizeof there) || pipe(p)) {
            perror("connect");
            return 1;
        }
        fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
        ssize_t held, gone = 1;
        while (gone > 0 && (held = splice(from, 0, p[1], 0, 1 << 20, 0)) > 0)
            for (; held > 0 && (gone = splice(p[0], 0, to, 0, held, 0)) > 0; held -= gone) {}
        close(from), close(to), close(p[0]), close(p[1]);
    }
}
