/* The least a server can do to send a file: one connection after the other, a head with
 * MSG_MORE, then sendfile(2) until the file has left. The row beside which CPU per byte of a
 * real server is read.
 *
 *     cc -O2 -o server server.c && ./server PORT ROOT
 *
 * Knows GET of regular files only, answers nothing else, and trusts its client. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads up to the empty line that ends a request. Returns 0 when the client has gone. */
static int read_request(int client, char *request, size_t size) {
    size_t have = 0;
    while (have < size - 1) {
        ssize_t n = recv(client, request + have, size - 1 - have, 0);
        if (n <= 0)
            return 0;
        have += (size_t)n;
        request[have] = 0;
        if (strstr(request, "\r\n\r\n"))
            return 1;
    }
    return 0;
}

/* Sends one file. Returns 0 when the connection cannot go on. */
static int answer(int client, const char *root, const char *path) {
    char name[PATH_MAX], head[128];
    snprintf(name, sizeof name, "%s%s", root, path);
    int file = open(name, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status) < 0)
        err(1, "%s", name);
    int len = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %lld\r\n\r\n",
                       (long long)status.st_size);
    int alive = send(client, head, (size_t)len, MSG_MORE | MSG_NOSIGNAL) == len;
    off_t at = 0;
    while (alive && at < status.st_size)
        alive = sendfile(client, file, &at, (size_t)(status.st_size - at)) > 0;
    close(file);
    return alive;
}

int main(int argc, char **argv) {
    if (argc != 3)
        errx(2, "usage: server PORT ROOT");
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)atoi(argv[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 16) < 0)
        err(1, "port %s", argv[1]);
    for (;;) {
        char request[4096], path[PATH_MAX];
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
            err(1, "accept");
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        while (read_request(client, request, sizeof request) &&
               sscanf(request, "GET %4095s ", path) == 1 && answer(client, argv[2], path)) {
        }
        close(client);
    }
}
