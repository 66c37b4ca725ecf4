/* sendfile, copy_file_range, splice, tee, vmsplice. */
#include "hostile.h"
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

static void show(const char *name, int fd) {
    char text[128] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    for (ssize_t i = 0; i < n; i++) if (!text[i]) text[i] = '.';
    say("%s: %ld \"%s\"", name, (long)n, text);
}

static void drain(const char *name, int fd) {
    char text[128] = "";
    NEED(fcntl(fd, F_SETFL, O_NONBLOCK));
    ssize_t n = read(fd, text, sizeof text - 1);
    if (n < 0) say("%s: %s", name, strerrorname_np(errno));
    else say("%s: %ld \"%s\"", name, (long)n, text);
}

CASE(sendfile) {
    put_text("in", "0123456789");
    int in = NEED(open("in", O_RDONLY)), out = NEED(open("out", O_RDWR | O_CREAT, 0644)), ends[2], sockets[2];
    NEED(pipe(ends) | socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
    off_t offset = 3;
    CHECK("to a file", sendfile(out, in, NULL, 4));
    CHECK("position", lseek(in, 0, SEEK_CUR));
    CHECK("with offset", sendfile(out, in, &offset, 100));
    say("offset %ld position %ld", (long)offset, (long)lseek(in, 0, SEEK_CUR));
    show("out", out);
    CHECK("to a pipe", sendfile(ends[1], in, NULL, 100));
    drain("pipe", ends[0]);
    offset = 0;
    CHECK("to a socket", sendfile(sockets[0], in, &offset, 5));
    drain("socket", sockets[1]);
    CHECK("at the end", sendfile(out, in, NULL, 10));
    CHECK("zero", sendfile(out, in, NULL, 0));
    offset = -1;
    CHECK("negative", sendfile(out, in, &offset, 1));
    CHECK("bad offset", sendfile(out, in, BAD_POINTER, 1));
    CHECK("from a pipe", sendfile(out, ends[0], NULL, 1));
    CHECK("bad in", sendfile(out, 99, NULL, 1));
    CHECK("bad out", sendfile(99, in, NULL, 1));
    CHECK("out not for writing", sendfile(in, in, NULL, 1));
    CHECK("in not for reading", sendfile(out, NEED(open("in", O_WRONLY)), NULL, 1));
    offset = 0;
    CHECK("out appends", sendfile(NEED(open("out", O_WRONLY | O_APPEND)), in, &offset, 1));
}

CASE(sendfile_without_waiting) {
    static char big[3 << 20], back[sizeof big];
    for (size_t i = 0; i < sizeof big; i++) big[i] = i * 7 + i / 4096;
    int in = NEED(open("in", O_RDWR | O_CREAT, 0600)), sockets[2];
    NEED(write(in, big, sizeof big));
    NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets));
    off_t offset = 0;
    size_t got = 0;
    bool waited = false;
    while (got < sizeof big) {
        ssize_t sent = sendfile(sockets[0], in, &offset, sizeof big - offset);
        if (sent < 0) waited = errno == EAGAIN;
        ssize_t n;
        while ((n = read(sockets[1], back + got, sizeof back - got)) > 0) got += n;
    }
    BOOL("equal", !memcmp(big, back, sizeof big));
    BOOL("was full", waited || offset == sizeof big);
    CHECK("at the end", sendfile(sockets[0], in, &offset, 1));
    close(sockets[1]);
    signal(SIGPIPE, SIG_IGN);
    offset = 0;
    CHECK("nobody reads", sendfile(sockets[0], in, &offset, 10));
    say("offset %ld", (long)offset);
    IN_CHILD("a signal") {
        signal(SIGPIPE, SIG_DFL);
        sendfile(sockets[0], in, &offset, 10);
    }
}

CASE(copy_file_range) {
    put_text("in", "0123456789");
    int in = NEED(open("in", O_RDWR)), out = NEED(open("out", O_RDWR | O_CREAT, 0644)), ends[2];
    NEED(pipe(ends));
    loff_t from = 2, to = 5;
    CHECK("positions", copy_file_range(in, NULL, out, NULL, 3, 0));
    CHECK("offsets", copy_file_range(in, &from, out, &to, 100, 0));
    say("%ld %ld %ld", (long)from, (long)to, (long)lseek(in, 0, SEEK_CUR));
    show("out", out);
    CHECK("at the end", copy_file_range(in, &from, out, &to, 10, 0));
    from = 0;
    to = 100;
    CHECK("hole", copy_file_range(in, &from, out, &to, 1, 0));
    from = 0;
    to = 5;
    CHECK("same file", copy_file_range(in, &from, in, &to, 3, 0));
    from = 0;
    to = 1;
    CHECK("overlapping", copy_file_range(in, &from, in, &to, 3, 0));
    CHECK("flags", copy_file_range(in, NULL, out, NULL, 1, 1));
    CHECK("pipe", copy_file_range(ends[0], NULL, out, NULL, 1, 0));
    CHECK("directory", copy_file_range(NEED(open(".", O_RDONLY)), NULL, out, NULL, 1, 0));
    CHECK("reader", copy_file_range(in, NULL, NEED(open("out", O_RDONLY)), NULL, 1, 0));
    CHECK("append", copy_file_range(in, NULL, NEED(open("out", O_WRONLY | O_APPEND)), NULL, 1, 0));
    CHECK("bad", copy_file_range(99, NULL, out, NULL, 1, 0));
    from = -1;
    CHECK("negative", copy_file_range(in, &from, out, NULL, 1, 0));
}

CASE(splice) {
    put_text("in", "0123456789");
    int in = NEED(open("in", O_RDWR)), out = NEED(open("out", O_RDWR | O_CREAT, 0644)), a[2], b[2];
    NEED(pipe(a) | pipe(b));
    loff_t offset = 4;
    CHECK("file to pipe", splice(in, NULL, a[1], NULL, 3, 0));
    CHECK("with offset", splice(in, &offset, a[1], NULL, 100, 0));
    say("%ld %ld", (long)offset, (long)lseek(in, 0, SEEK_CUR));
    CHECK("pipe to pipe", splice(a[0], NULL, b[1], NULL, 5, 0));
    offset = 1;
    CHECK("pipe to file", splice(a[0], NULL, out, &offset, 100, 0));
    show("out", out);
    drain("b", b[0]);
    CHECK("empty, nonblocking", splice(a[0], NULL, out, NULL, 10, SPLICE_F_NONBLOCK));
    CHECK("no pipe", splice(in, NULL, out, NULL, 10, 0));
    CHECK("offset of a pipe", splice(a[0], &offset, out, NULL, 10, 0));
    CHECK("bad flags", splice(in, NULL, a[1], NULL, 10, 0x100));
    CHECK("zero", splice(in, NULL, a[1], NULL, 0, 0));
    CHECK("wrong end", splice(in, NULL, a[0], NULL, 1, 0));
    CHECK("to itself", splice(a[0], NULL, a[1], NULL, 1, 0));
    CHECK("to a file at its end", splice(a[0], NULL, NEED(open("out", O_WRONLY | O_APPEND)), NULL, 1, 0));
    CHECK("bad", splice(99, NULL, a[1], NULL, 1, 0));
    close(a[1]);
    CHECK("end", splice(a[0], NULL, out, NULL, 10, 0));
    close(b[0]);
    signal(SIGPIPE, SIG_IGN);
    CHECK("nobody reads", splice(in, &offset, b[1], NULL, 3, 0));
    signal(SIGPIPE, SIG_DFL);
}

CASE(splice_waits) {
    int a[2], b[2];
    char text[64];
    pid_t child;
    NEED(pipe(a) | pipe(b));
    START_CHILD(child) {
        sleep_ms(100);
        NEED(write(a[1], "late", 4));
    }
    close(a[1]);
    CHECK("waits", splice(a[0], NULL, b[1], NULL, 10, 0));
    CHECK("read", read(b[0], text, sizeof text));
    reap("writer", child);
    CHECK("end", splice(a[0], NULL, b[1], NULL, 10, 0));
    int in = NEED(open("in", O_RDWR | O_CREAT, 0644));
    NEED(ftruncate(in, 200000));
    fcntl(b[1], F_SETFL, O_NONBLOCK);
    long all = 0, moved;
    while ((moved = splice(in, NULL, b[1], NULL, 10000, 0)) > 0) all += moved;
    CHECK("full", moved);
    BOOL("as much as fits", all >= 4096 && all == lseek(in, 0, SEEK_CUR));
}

CASE(tee) {
    put_text("in", "0123456789");
    int in = NEED(open("in", O_RDWR)), a[2], b[2];
    NEED(pipe(a) | pipe(b));
    NEED(write(a[1], "0123", 4));
    CHECK("tee", tee(a[0], b[1], 2, 0));
    drain("b", b[0]);
    drain("a", a[0]);
    CHECK("empty", tee(a[0], b[1], 10, SPLICE_F_NONBLOCK));
    CHECK("to itself", tee(a[0], a[1], 1, 0));
    CHECK("on a file", tee(in, a[1], 1, 0));
    close(a[1]);
    CHECK("end", tee(a[0], b[1], 10, 0));
}

CASE(vmsplice) {
    int ends[2];
    char text[32] = "";
    NEED(pipe(ends));
    struct iovec parts[] = {{"from ", 5}, {"memory", 6}}, into[] = {{text, 31}};
    CHECK("in", vmsplice(ends[1], parts, 2, 0));
    CHECK("out", vmsplice(ends[0], into, 1, 0));
    say("%s", text);
    CHECK("empty", vmsplice(ends[0], into, 1, SPLICE_F_NONBLOCK));
    CHECK("bad vector", vmsplice(ends[1], BAD_POINTER, 1, 0));
    CHECK("not a pipe", vmsplice(NEED(open("/dev/null", O_RDWR)), parts, 1, 0));
    CHECK("bad flags", vmsplice(ends[1], parts, 1, 0x100));
}
