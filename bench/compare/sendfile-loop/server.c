/* The least a server can do to send a file over keep-alive connections: recv(2), the head,
 * sendfile(2) until the file has left. The floor of `bench serve`.
 *
 *     cc -O2 -o server server.c && ./server PORT ROOT CORK
 *
 * With CORK 1 the head and the body leave under TCP_CORK, as nginx sends with tcp_nopush; with 0
 * the head goes with MSG_MORE and the body as sendfile makes it. A file stays open from its first
 * request on, as with nginx's open_file_cache. Sockets are blocking: one response at a time.
 *
 * Knows GET of regular files only, answers nothing else, and trusts its client. */
#define _GNU_SOURCE
#include "loop.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

static struct {
    char path[PATH_MAX];
    int file;
    off_t size;
} kept = {.file = -1};

static const char *root;
static int corks;

static void open_kept(const char *path) {
    char name[2 * PATH_MAX];
    struct stat status;
    if (kept.file >= 0 && strcmp(kept.path, path) == 0)
        return;
    if (kept.file >= 0)
        close(kept.file);
    snprintf(name, sizeof name, "%s%s", root, path);
    kept.file = open(name, O_RDONLY | O_CLOEXEC);
    if (kept.file < 0 || fstat(kept.file, &status) < 0)
        err(1, "%s", name);
    kept.size = status.st_size;
    strcpy(kept.path, path);
}

/* Reads one request, which comes whole, and answers it. Returns 0 when the client has gone. */
static int answer(int client) {
    char request[4096], path[PATH_MAX], head[128];
    int on = 1, off = 0;
    ssize_t n = recv(client, request, sizeof request - 1, 0);
    if (n <= 0)
        return 0;
    request[n] = 0;
    if (sscanf(request, "GET %4095s ", path) != 1)
        return 0;
    open_kept(path);
    int len = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %lld\r\n\r\n",
                       (long long)kept.size);
    if (corks)
        setsockopt(client, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    int alive = send(client, head, (size_t)len, MSG_NOSIGNAL | (corks ? 0 : MSG_MORE)) == len;
    off_t at = 0;
    while (alive && at < kept.size)
        alive = sendfile(client, kept.file, &at, (size_t)(kept.size - at)) > 0;
    if (corks)
        setsockopt(client, IPPROTO_TCP, TCP_CORK, &off, sizeof off);
    return alive;
}

int main(int argc, char **argv) {
    if (argc != 4)
        errx(2, "usage: server PORT ROOT CORK");
    root = argv[2];
    corks = argv[3][0] == '1';
    loop(argv[1], answer);
}
