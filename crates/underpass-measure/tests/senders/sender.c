/* One end of a TCP connection, told line by line on stdin what to do, answering each line on
 * stdout: an independent peer for tests of what the kernel does with the bytes of a file.
 *
 *   connect ADDRESS PORT                      connected INODE PORT ADDRESS-OF-SOCKET
 *   adopt         (descriptor 2)              connected INODE PORT ADDRESS-OF-SOCKET
 *   listen ADDRESS                            listening PORT
 *   accept                                    connected INODE PORT ADDRESS-OF-SOCKET
 *   send METHOD CALL HEADER BODY TIMES FILE   sent BYTES RETRANSMITTED SENDS COPIED
 *   gather HEADER TIMES r|x FILE...           sent BYTES 0 0 0
 *   ring BYTES                                sent BYTES 0 0 0     (by operations of an io_uring)
 *   scatter PIECES FILE                       sent BYTES 0 0 0
 *   noise                                     noisy          (sends nothing by TCP)
 *   load FILE                                 loaded BYTES
 *   reply FILE                                sent BYTES 0 0 0     (to one byte)
 *   race CHILDREN FILE                        sent BYTES 0 0 0
 *   churn                                     churning      (a thread maps and unmaps, for ever)
 *   receive copy|truncate HEADER BODY TIMES   received BYTES
 *   encrypt                                   encrypted      (what is sent from now on)
 *   decrypt                                   decrypted      (what is received from now on)
 *   compat                                    compat NUMBER  (of the process, by a 32-bit call)
 *   shut                                      shut           (nothing can be sent any more)
 *   ended                                     ended          (the other end closed)
 *   close                                     closed
 *
 * A failure is answered by a line that begins with "error". "send" sends TIMES times HEADER
 * bytes of 255, with MSG_MORE, and the first BODY bytes of FILE, CALL bytes a call; it answers
 * when every byte is acknowledged and every MSG_ZEROCOPY send has its completion. "gather" maps the
 * whole of each FILE anew each time, to be executed or not, gives a header and all of them by one
 * call, and unmaps them; the names hold no blank. "scatter" gives PIECES pieces by one call, turn
 * by turn a byte of its own and one of FILE, which it maps. In a "race" each child reads FILE, and
 * two threads of it send a byte at once. "receive"
 * expects the same of a file whose byte i is i mod 251. The address of the socket is as
 * /proc/net/tcp shows it: hashed, so good for nothing but comparing.
 *
 * "encrypt" and "decrypt" give the kernel keys for TLS 1.3 that both ends know beforehand.
 *
 * Source: sendfile(2), splice(2), vmsplice(2), tcp(7), Documentation/networking/msg_zerocopy.rst,
 * Documentation/networking/tls.rst.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/errqueue.h>
#include <linux/io_uring.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/tls.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

enum { PATIENCE_S = 60, HEADER_BYTE = 255, PERIOD = 251, RECEIVE = 1 << 18 };

struct load {
    char method[8];
    size_t call, header, body, times;
    const char *file;
};

static int sock = -1, listener = -1;
static size_t sends, completed, copied;
static char failure[256];

/* Notes why a line cannot be done; the first note stays. */
static int fail(const char *what)
{
    if (!failure[0])
        snprintf(failure, sizeof failure, "%.160s: %s", what, strerror(errno));
    return -1;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Reads the completions of MSG_ZEROCOPY that are there. */
static int reap(void)
{
    for (;;) {
        char control[128];
        struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof control };
        if (recvmsg(sock, &msg, MSG_ERRQUEUE) < 0)
            return errno == EAGAIN ? 0 : fail("error queue");
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
            struct sock_extended_err err;
            memcpy(&err, CMSG_DATA(c), sizeof err);
            if (err.ee_origin != SO_EE_ORIGIN_ZEROCOPY || err.ee_errno != 0)
                return fail("no completion in the error queue");
            size_t n = (size_t)(err.ee_data - err.ee_info) + 1;
            completed += n;
            if (err.ee_code & SO_EE_CODE_ZEROCOPY_COPIED)
                copied += n;
        }
    }
}

static int send_all(const char *at, size_t n, int flags)
{
    while (n > 0) {
        ssize_t sent = send(sock, at, n, flags);
        if (sent < 0 && errno == ENOBUFS && (flags & MSG_ZEROCOPY)) {
            /* Too many completions are outstanding (optmem_max). */
            struct pollfd error = { .fd = sock };
            if (poll(&error, 1, -1) < 0 || reap() < 0)
                return fail("poll");
            continue;
        }
        if (sent < 0)
            return fail("send");
        if (flags & MSG_ZEROCOPY)
            sends++;
        at += sent;
        n -= (size_t)sent;
    }
    return 0;
}

static int read_write(int file, const struct load *load, char *buffer)
{
    for (size_t at = 0; at < load->body;) {
        ssize_t n = pread(file, buffer, least(load->call, load->body - at), (off_t)at);
        if (n <= 0)
            return fail("read");
        for (ssize_t done = 0; done < n;) {
            ssize_t sent = write(sock, buffer + done, (size_t)(n - done));
            if (sent < 0)
                return fail("write");
            done += sent;
        }
        at += (size_t)n;
    }
    return 0;
}

static int mapped_write(const char *map, const struct load *load)
{
    for (size_t at = 0; at < load->body;) {
        ssize_t n = write(sock, map + at, least(load->call, load->body - at));
        if (n < 0)
            return fail("write");
        at += (size_t)n;
    }
    return 0;
}

static int send_file(int file, const struct load *load)
{
    off_t at = 0;
    while ((size_t)at < load->body) {
        ssize_t n = sendfile(sock, file, &at, least(load->call, load->body - (size_t)at));
        if (n <= 0)
            return fail("sendfile");
    }
    return 0;
}

/* Moves what lies in the pipe to the socket; more is to follow unless this is the last. */
static int empty_pipe(int pipe, size_t n, int is_last)
{
    while (n > 0) {
        ssize_t sent = splice(pipe, NULL, sock, NULL, n, is_last ? 0 : SPLICE_F_MORE);
        if (sent <= 0)
            return fail("splice from the pipe");
        n -= (size_t)sent;
    }
    return 0;
}

static int through_pipe(int file, const char *map, const struct load *load, const int pipe[2])
{
    for (size_t at = 0; at < load->body;) {
        size_t want = least(load->call, load->body - at);
        ssize_t n;
        if (map) {
            struct iovec piece = { .iov_base = (char *)map + at, .iov_len = want };
            n = vmsplice(pipe[1], &piece, 1, 0);
        } else {
            loff_t offset = (loff_t)at;
            n = splice(file, &offset, pipe[1], NULL, want, 0);
        }
        if (n <= 0)
            return fail("splice into the pipe");
        at += (size_t)n;
        if (empty_pipe(pipe[0], (size_t)n, at == load->body) < 0)
            return -1;
    }
    return 0;
}

static int zero_copy(const char *memory, const struct load *load)
{
    for (size_t at = 0; at < load->body;) {
        size_t n = least(load->call, load->body - at);
        if (send_all(memory + at, n, MSG_ZEROCOPY) < 0 || reap() < 0)
            return -1;
        at += n;
    }
    return 0;
}

/* Until every byte is acknowledged and every completion has been read. */
static int settle(void)
{
    int unacknowledged = 1;
    for (;;) {
        if (ioctl(sock, SIOCOUTQ, &unacknowledged) < 0)
            return fail("SIOCOUTQ");
        if (completed < sends && reap() < 0)
            return -1;
        if (unacknowledged == 0 && completed == sends)
            return 0;
        poll(NULL, 0, 1);
    }
}

static int send_with(const struct load *load, int file, const char *map, const int pipe[2])
{
    static char header[1 << 16];
    size_t size = load->body > load->call ? load->body : load->call;
    char *memory = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return fail("mmap");
    const char *method = load->method;
    int is_anonymous = !strcmp(method, "zc");
    for (size_t at = 0; is_anonymous && at < load->body;) {
        ssize_t n = pread(file, memory + at, least(1 << 20, load->body - at), (off_t)at);
        if (n <= 0)
            return fail("read");
        at += (size_t)n;
    }
    memset(header, HEADER_BYTE, sizeof header);
    for (size_t i = 0; i < load->times; i++) {
        if (send_all(header, load->header, MSG_MORE) < 0)
            return -1;
        int done = -1;
        if (!strcmp(method, "rw"))
            done = read_write(file, load, memory);
        else if (!strcmp(method, "mw"))
            done = mapped_write(map, load);
        else if (!strcmp(method, "sf"))
            done = send_file(file, load);
        else if (!strcmp(method, "sp"))
            done = through_pipe(file, NULL, load, pipe);
        else if (!strcmp(method, "vm"))
            done = through_pipe(file, map, load, pipe);
        else if (is_anonymous)
            done = zero_copy(memory, load);
        else if (!strcmp(method, "zcm"))
            done = zero_copy(map, load);
        if (done < 0)
            return fail(method);
    }
    int settled = settle();
    munmap(memory, size + 1);
    return settled;
}

static int send_load(const struct load *load)
{
    int one = 1, pipe_ends[2], done = -1;
    int file = open(load->file, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (file < 0 || fstat(file, &stat) < 0)
        return fail(load->file);
    if ((size_t)stat.st_size < load->body || load->header > 1 << 16) {
        errno = EINVAL;
        return fail("the file is too short or the header too long");
    }
    char *map = mmap(NULL, load->body + 1, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED || pipe2(pipe_ends, O_CLOEXEC) < 0)
        return fail("mmap or pipe");
    /* A pipe holds 16 pages: a larger call would be cut, which is allowed but measures less. */
    if (fcntl(pipe_ends[1], F_SETPIPE_SZ, 1 << 20) < 0)
        return fail("F_SETPIPE_SZ");
    sends = completed = copied = 0;
    if (load->method[0] == 'z' && setsockopt(sock, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one) < 0)
        return fail("SO_ZEROCOPY");
    done = send_with(load, file, map, pipe_ends);
    munmap(map, load->body + 1);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    close(file);
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (done == 0 && getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return fail("TCP_INFO");
    if (done == 0)
        printf("sent %zu %llu %zu %zu\n", load->times * (load->header + load->body),
               (unsigned long long)info.tcpi_bytes_retrans, sends, copied);
    return done;
}

static int gather(size_t header, size_t times, int protection, char *names)
{
    enum { FILES = 8 };
    /* In the file of the program, as what a program is compiled with. */
    static char head[1 << 16] = { (char)HEADER_BYTE };
    struct iovec pieces[FILES + 1] = { { .iov_base = head, .iov_len = least(header, sizeof head) } };
    int files[FILES], count = 0;
    size_t each = pieces[0].iov_len;
    for (char *name = strtok(names, " "); name && count < FILES; name = strtok(NULL, " ")) {
        struct stat stat;
        files[count] = open(name, O_RDONLY | O_CLOEXEC);
        if (files[count] < 0 || fstat(files[count], &stat) < 0)
            return fail(name);
        pieces[++count].iov_len = (size_t)stat.st_size;
        each += (size_t)stat.st_size;
    }
    memset(head, HEADER_BYTE, sizeof head);
    for (size_t i = 0; i < times; i++) {
        for (int at = 0; at < count; at++) {
            struct iovec *piece = &pieces[at + 1];
            piece->iov_base = mmap(NULL, piece->iov_len, protection, MAP_SHARED, files[at], 0);
            if (piece->iov_base == MAP_FAILED)
                return fail("mmap");
        }
        ssize_t given = writev(sock, pieces, count + 1);
        if (given != (ssize_t)each)
            return fail("writev");
        for (int at = 0; at < count; at++)
            munmap(pieces[at + 1].iov_base, pieces[at + 1].iov_len);
    }
    while (count > 0)
        close(files[--count]);
    if (settle() < 0)
        return -1;
    printf("sent %zu 0 0 0\n", times * each);
    return 0;
}

static int scatter(size_t count, const char *name)
{
    static struct iovec pieces[1024];
    static char own[1];
    int file = open(name, O_RDONLY | O_CLOEXEC);
    char *map = mmap(NULL, count, PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || map == MAP_FAILED || count > sizeof pieces / sizeof *pieces)
        return fail(name);
    own[0] = 1;
    for (size_t at = 0; at < count; at++)
        pieces[at] = (struct iovec){ at % 2 ? map + at : own, 1 };
    if (writev(sock, pieces, (int)count) != (ssize_t)count)
        return fail("writev");
    munmap(map, count);
    close(file);
    if (settle() < 0)
        return -1;
    printf("sent %zu 0 0 0\n", count);
    return 0;
}

/* What a program may do before it sends: ask a name server, make a ring. */
static int noise(void)
{
    char byte = 1;
    struct iovec piece = { &byte, 1 };
    struct mmsghdr message = { .msg_hdr = { .msg_iov = &piece, .msg_iovlen = 1 } };
    struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t size = sizeof own;
    struct io_uring_params params = { 0 };
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (udp < 0 || bind(udp, (struct sockaddr *)&own, size) < 0
        || getsockname(udp, (struct sockaddr *)&own, &size) < 0
        || connect(udp, (struct sockaddr *)&own, size) < 0 || sendmmsg(udp, &message, 1, 0) != 1
        || recvmmsg(udp, &message, 1, 0, NULL) != 1)
        return fail("udp");
    /* Where there is none, that is no failure of the test. */
    close((int)syscall(__NR_io_uring_setup, 1, &params));
    close(udp);
    puts("noisy");
    return 0;
}

static char loaded[1 << 20];
static size_t loaded_size;

static int read_file(const char *name)
{
    ssize_t n;
    int file = open(name, O_RDONLY | O_CLOEXEC);
    loaded_size = 0;
    while ((n = read(file, loaded + loaded_size, sizeof loaded - loaded_size)) > 0)
        loaded_size += (size_t)n;
    if (n < 0)
        return fail(name);
    close(file);
    return 0;
}

/* Reads the file first, and then the request. */
static int reply(const char *name)
{
    char request;
    if (read_file(name) < 0 || recv(sock, &request, 1, 0) != 1)
        return fail("request");
    if (send_all(loaded, loaded_size, 0) < 0 || settle() < 0)
        return -1;
    printf("sent %zu 0 0 0\n", loaded_size);
    return 0;
}

static volatile int started, begun;
static int other = -1;

/* Another connection, which this process has both ends of: on one socket sends wait in turn. */
static int connect_other(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t size = sizeof at;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0 || other < 0 || listen(server, 1) < 0
        || getsockname(server, (struct sockaddr *)&at, &size) < 0
        || connect(other, (struct sockaddr *)&at, size) < 0 || accept(server, NULL, NULL) < 0)
        return fail("another connection");
    return 0;
}

static void *send_byte(void *is_second)
{
    if (is_second) {
        started = 1;
        while (!begun)
            ;
    } else {
        while (!started)
            ;
        begun = 1;
    }
    return send(is_second ? other : sock, "", 1, 0) == 1 ? NULL : &failure;
}

static int race(size_t children, const char *name)
{
    if (connect_other() < 0)
        return -1;
    fflush(stdout);
    for (size_t i = 0; i < children; i++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            pthread_t second;
            int file = open(name, O_RDONLY | O_CLOEXEC);
            if (read(file, loaded, sizeof loaded) < 1
                || pthread_create(&second, NULL, send_byte, loaded) != 0 || send_byte(NULL))
                _exit(1);
            pthread_join(second, NULL);
            _exit(0);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            return fail("a child");
    }
    if (settle() < 0)
        return -1;
    printf("sent %zu 0 0 0\n", children);
    return 0;
}

/* The memory of a ring that begins at an offset (io_uring_setup(2)). */
static char *part_of(int ring, size_t size, off_t offset)
{
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);
}

static int send_by_ring(size_t total)
{
    static char memory[1 << 16];
    struct io_uring_params params = { 0 };
    int ring = (int)syscall(__NR_io_uring_setup, 1, &params);
    if (ring < 0)
        return fail("io_uring_setup");
    char *given = part_of(ring, 4096, IORING_OFF_SQ_RING);
    char *taken = part_of(ring, 4096, IORING_OFF_CQ_RING);
    struct io_uring_sqe *entry = (void *)part_of(ring, 4096, IORING_OFF_SQES);
    if (given == MAP_FAILED || taken == MAP_FAILED || (void *)entry == MAP_FAILED)
        return fail("mmap of the ring");
    unsigned mask = *(unsigned *)(taken + params.cq_off.ring_mask);
    for (size_t at = 0; at < total;) {
        unsigned *head = (unsigned *)(taken + params.cq_off.head);
        struct io_uring_cqe *done = (struct io_uring_cqe *)(taken + params.cq_off.cqes);
        memset(entry, 0, sizeof *entry);
        entry->opcode = IORING_OP_SEND;
        entry->fd = sock;
        entry->addr = (unsigned long)memory;
        entry->len = (unsigned)least(sizeof memory, total - at);
        ((unsigned *)(given + params.sq_off.array))[0] = 0;
        __atomic_fetch_add((unsigned *)(given + params.sq_off.tail), 1, __ATOMIC_RELEASE);
        if (syscall(__NR_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
            return fail("io_uring_enter");
        int sent = done[*head & mask].res;
        __atomic_fetch_add(head, 1, __ATOMIC_RELEASE);
        errno = -sent;
        if (sent <= 0)
            return fail("IORING_OP_SEND");
        at += (size_t)sent;
    }
    if (settle() < 0)
        return -1;
    printf("sent %zu 0 0 0\n", total);
    return 0;
}

static void *map_and_unmap(void *nothing)
{
    for (;;) {
        void *map = mmap(NULL, 1 << 16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map != MAP_FAILED)
            munmap(map, 1 << 16);
    }
    return nothing;
}

static int churn(void)
{
    pthread_t thread;
    errno = pthread_create(&thread, NULL, map_and_unmap, NULL);
    if (errno != 0)
        return fail("pthread_create");
    puts("churning");
    return 0;
}

/* Where byte `at` of the stream belongs: in a header, or at a place of the file. */
static int expected(size_t at, size_t header, size_t body)
{
    size_t in = at % (header + body);
    return in < header ? HEADER_BYTE : (int)((in - header) % PERIOD);
}

static int receive(const char *how, size_t header, size_t body, size_t times)
{
    static unsigned char buffer[RECEIVE];
    int is_copied = !strcmp(how, "copy");
    size_t total = times * (header + body), at = 0;
    while (at < total) {
        /* tcp(7): with MSG_TRUNC the bytes are discarded and the buffer is not touched. */
        size_t want = least(sizeof buffer, total - at);
        ssize_t n = recv(sock, buffer, want, is_copied ? 0 : MSG_TRUNC);
        if (n < 0)
            return fail("recv");
        if (n == 0) {
            snprintf(failure, sizeof failure, "ended after %zu of %zu bytes", at, total);
            return -1;
        }
        for (ssize_t i = 0; is_copied && i < n; i++) {
            if (buffer[i] != expected(at + (size_t)i, header, body)) {
                snprintf(failure, sizeof failure, "byte %zu is %d", at + (size_t)i, buffer[i]);
                return -1;
            }
        }
        at += (size_t)n;
    }
    printf("received %zu\n", at);
    return 0;
}

/* Says which socket this is; tunes it as every measurement wants it. */
static int connected(void)
{
    int one = 1;
    struct stat stat;
    struct sockaddr_in local;
    socklen_t size = sizeof local;
    if (setsockopt(sock, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) < 0)
        return fail("TCP_CONGESTION cubic");
    if (setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
        return fail("TCP_NODELAY");
    if (fstat(sock, &stat) < 0 || getsockname(sock, (struct sockaddr *)&local, &size) < 0)
        return fail("socket");
    char line[256], address[32] = "?";
    FILE *table = fopen("/proc/net/tcp", "r");
    while (table && fgets(line, sizeof line, table)) {
        unsigned long inode;
        char found[32];
        if (sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %*s %31s", &inode, found) == 2
            && inode == stat.st_ino)
            strcpy(address, found);
    }
    if (table)
        fclose(table);
    printf("connected %lu %u %s\n", (unsigned long)stat.st_ino, ntohs(local.sin_port), address);
    return 0;
}

static int address_of(const char *address, unsigned port, struct sockaddr_in *to)
{
    memset(to, 0, sizeof *to);
    to->sin_family = AF_INET;
    to->sin_port = htons((unsigned short)port);
    errno = EINVAL;
    return inet_pton(AF_INET, address, &to->sin_addr) == 1 ? 0 : fail(address);
}

static int connect_to(const char *address, unsigned port)
{
    struct sockaddr_in to;
    if (address_of(address, port, &to) < 0)
        return -1;
    sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0 || connect(sock, (struct sockaddr *)&to, sizeof to) < 0)
        return fail("connect");
    return connected();
}

static int listen_at(const char *address)
{
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    if (address_of(address, 0, &at) < 0)
        return -1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) < 0
        || listen(listener, 16) < 0 || getsockname(listener, (struct sockaddr *)&at, &size) < 0)
        return fail("listen");
    printf("listening %u\n", ntohs(at.sin_port));
    return 0;
}

/* Direction is TLS_TX or TLS_RX. */
static int by_kernel_tls(int direction)
{
    struct tls12_crypto_info_aes_gcm_128 crypto = {
        .info = { .version = TLS_1_3_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128 },
    };
    memset(crypto.iv, 1, sizeof crypto.iv);
    memset(crypto.key, 2, sizeof crypto.key);
    memset(crypto.salt, 3, sizeof crypto.salt);
    if (setsockopt(sock, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") < 0)
        return fail("TCP_ULP tls");
    if (setsockopt(sock, SOL_TLS, direction, &crypto, sizeof crypto) < 0)
        return fail("SOL_TLS");
    puts(direction == TLS_TX ? "encrypted" : "decrypted");
    return 0;
}

static int ended(void)
{
    char byte;
    ssize_t n = recv(sock, &byte, 1, 0);
    if (n < 0)
        return fail("recv");
    if (n > 0) {
        snprintf(failure, sizeof failure, "a byte more than was asked for");
        return -1;
    }
    puts("ended");
    return 0;
}

static int perform(const char *line)
{
    struct load load = { .file = NULL };
    size_t header, body, times;
    unsigned port;
    int at = 0;
    char word[64];
    if (sscanf(line, "connect %63s %u", word, &port) == 2)
        return connect_to(word, port);
    if (sscanf(line, "listen %63s", word) == 1)
        return listen_at(word);
    if (sscanf(line, "send %7s %zu %zu %zu %zu %n", load.method, &load.call, &load.header,
               &load.body, &load.times, &at) == 5 && at > 0) {
        load.file = line + at;
        return send_load(&load);
    }
    if (sscanf(line, "gather %zu %zu %63s %n", &header, &times, word, &at) == 3 && at > 0) {
        char names[4096];
        snprintf(names, sizeof names, "%s", line + at);
        return gather(header, times, word[0] == 'x' ? PROT_READ | PROT_EXEC : PROT_READ, names);
    }
    if (sscanf(line, "scatter %zu %n", &body, &at) == 1 && at > 0)
        return scatter(body, line + at);
    if (sscanf(line, "race %zu %n", &body, &at) == 1 && at > 0)
        return race(body, line + at);
    if (!strncmp(line, "load ", 5))
        return read_file(line + 5) < 0 ? -1 : printf("loaded %zu\n", loaded_size) < 0;
    if (!strncmp(line, "reply ", 6))
        return reply(line + 6);
    if (!strcmp(line, "noise"))
        return noise();
    if (sscanf(line, "ring %zu", &body) == 1)
        return send_by_ring(body);
    if (!strcmp(line, "churn"))
        return churn();
    if (sscanf(line, "receive %63s %zu %zu %zu", word, &header, &body, &times) == 4)
        return receive(word, header, body, times);
    if (!strcmp(line, "adopt")) {
        sock = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        return sock < 0 ? fail("adopt") : connected();
    }
    if (!strcmp(line, "accept")) {
        sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        return sock < 0 ? fail("accept") : connected();
    }
    if (!strcmp(line, "encrypt"))
        return by_kernel_tls(TLS_TX);
    if (!strcmp(line, "decrypt"))
        return by_kernel_tls(TLS_RX);
    if (!strcmp(line, "compat")) {
        int number = 20; /* getpid(2) there, and writev(2) here. */
        __asm__ volatile("int $0x80" : "+a"(number) : : "memory", "r8", "r9", "r10", "r11");
        printf("compat %d\n", number);
        return 0;
    }
    if (!strcmp(line, "shut")) {
        puts("shut");
        return shutdown(sock, SHUT_WR) < 0 ? fail("shutdown") : 0;
    }
    if (!strcmp(line, "ended"))
        return ended();
    if (!strcmp(line, "close")) {
        if (close(sock) < 0)
            return fail("close");
        sock = -1;
        puts("closed");
        return 0;
    }
    errno = EINVAL;
    return fail(line);
}

int main(void)
{
    char line[4096];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        failure[0] = '\0';
        /* Nobody waits for longer: a peer that hangs is killed and its test fails. */
        alarm(PATIENCE_S);
        if (perform(line) < 0)
            printf("error %s\n", failure);
        fflush(stdout);
        alarm(0);
    }
    return 0;
}
