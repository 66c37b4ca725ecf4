/* Pipes: capacity, end of file, EPIPE, non-blocking, atomic writes, packets; socket pairs. */
#include "hostile.h"
#include <sys/ioctl.h>
#include <sys/socket.h>

static char text[1 << 17];

static void on_signal(int number) { say("got %s", signal_name(number)); }

static void handle(int number, int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    NEED(sigaction(number, &action, NULL));
}

CASE(ends_and_eof) {
    int ends[2];
    CHECK("pipe", pipe(ends));
    CHECK("write", write(ends[1], "hello", 5));
    CHECK("short read", read(ends[0], text, 3));
    CHECK("rest", read(ends[0], text, 100));
    CHECK("write to read end", write(ends[0], "x", 1));
    CHECK("read from write end", read(ends[1], text, 1));
    say("%#o %#o", flags_of(ends[0]), flags_of(ends[1]));
    CHECK("last words", write(ends[1], "bye", 3));
    close(ends[1]);
    CHECK("still there", read(ends[0], text, 100));
    CHECK("end", read(ends[0], text, 100));
    CHECK("end again", read(ends[0], text, 100));
    CHECK("bad pointer", pipe(BAD_POINTER));
    CHECK("bad flags", pipe2(ends, O_APPEND));
    CHECK("cloexec", pipe2(ends, O_CLOEXEC | O_NONBLOCK));
    CHECK("flag", fcntl(ends[0], F_GETFD));
    CHECK("empty, nonblocking", read(ends[0], text, 1));
    NEED(write(ends[1], "abc", 3));
    CHECK("to bad pointer", read(ends[0], BAD_POINTER, 3));
    CHECK("nothing lost", read(ends[0], text, 10));
    CHECK("from bad pointer", write(ends[1], BAD_POINTER, 3));
    CHECK("zero bytes", write(ends[1], text, 0));
    CHECK("still empty", read(ends[0], text, 1));
}

CASE(broken_pipe) {
    int ends[2];
    NEED(pipe(ends));
    close(ends[0]);
    IN_CHILD("dies") write(ends[1], "x", 1);
    handle(SIGPIPE, 0);
    CHECK("handled", write(ends[1], "x", 1));
    signal(SIGPIPE, SIG_IGN);
    CHECK("ignored", write(ends[1], "x", 1));
    CHECK("zero bytes", write(ends[1], "x", 0));
    signal(SIGPIPE, SIG_DFL);
}

CASE(capacity) {
    int ends[2], waiting;
    NEED(pipe2(ends, O_NONBLOCK));
    CHECK("F_GETPIPE_SZ", fcntl(ends[0], F_GETPIPE_SZ));
    long total = 0, n;
    while ((n = write(ends[1], text, 4096)) > 0) total += n;
    CHECK("full", n);
    say("total %ld", total);
    CHECK("FIONREAD", ioctl(ends[0], FIONREAD, &waiting));
    say("%d", waiting);
    CHECK("one byte", write(ends[1], text, 1));
    NEED(read(ends[0], text, 4096));
    CHECK("partial", write(ends[1], text, 10000));
    CHECK("negative", fcntl(ends[1], F_SETPIPE_SZ, -1));
    CHECK("as it is", fcntl(ends[1], F_SETPIPE_SZ, 65536));
    CHECK("on a file", fcntl(NEED(open("f", O_CREAT | O_RDWR, 0600)), F_GETPIPE_SZ));
    CHECK("set on a file", fcntl(NEED(open("f", O_RDWR)), F_SETPIPE_SZ, 65536));
}

CASE(changing_capacity) {
    int ends[2];
    NEED(pipe2(ends, O_NONBLOCK));
    long total = 0, n;
    NEED(write(ends[1], text, 10000));
    CHECK("shrink below content", fcntl(ends[1], F_SETPIPE_SZ, 4096));
    while (read(ends[0], text, sizeof text) > 0) {}
    CHECK("shrink", fcntl(ends[1], F_SETPIPE_SZ, 1));
    CHECK("page", fcntl(ends[0], F_GETPIPE_SZ));
    total = 0;
    while ((n = write(ends[1], text, 512)) > 0) total += n;
    say("total %ld", total);
    CHECK("grow", fcntl(ends[1], F_SETPIPE_SZ, 100000));
}

CASE(blocking) {
    int ends[2];
    NEED(pipe(ends));
    pid_t child;
    START_CHILD(child) {
        close(ends[0]);
        sleep_ms(150);
        NEED(write(ends[1], "late", 4));
        sleep_ms(150);
    }
    close(ends[1]);
    CHECK("waits for data", read(ends[0], text, 100));
    CHECK("waits for the end", read(ends[0], text, 100));
    reap("writer", child);
    NEED(pipe(ends));
    START_CHILD(child) {
        close(ends[1]);
        sleep_ms(150);
        long total = 0, n;
        while ((n = read(ends[0], text, 10000)) > 0) total += n;
        say("child read %ld", total);
    }
    close(ends[0]);
    CHECK("a big write waits", write(ends[1], text, sizeof text));
    close(ends[1]);
    reap("reader", child);
}

CASE(interrupted) {
    int ends[2];
    NEED(pipe(ends));
    handle(SIGALRM, 0);
    alarm(1);
    CHECK("read", read(ends[0], text, 1));
    while (fcntl(ends[1], F_SETFL, O_NONBLOCK), write(ends[1], text, 4096) > 0) {}
    fcntl(ends[1], F_SETFL, 0);
    alarm(1);
    CHECK("write", write(ends[1], text, 1));
    NEED(read(ends[0], text, 4096));
    alarm(1);
    CHECK("partly written", write(ends[1], text, 10000));
    handle(SIGALRM, SA_RESTART);
    NEED(pipe(ends));
    pid_t child;
    START_CHILD(child) {
        sleep_ms(1500);
        NEED(write(ends[1], "x", 1));
    }
    alarm(1);
    CHECK("restarted", read(ends[0], text, 1));
    reap("writer", child);
}

CASE(atomic_writes) {
    int ends[2];
    NEED(pipe(ends));
    pid_t children[4];
    for (int k = 0; k < 4; k++) START_CHILD(children[k]) {
        char line[512];
        memset(line, 'a' + k, sizeof line);
        for (int i = 0; i < 100; i++) NEED(write(ends[1], line, sizeof line));
    }
    close(ends[1]);
    FILE *file = fdopen(ends[0], "r");
    char line[512];
    int counts[4] = {0}, mixed = 0;
    while (fread(line, sizeof line, 1, file) == 1) {
        counts[line[0] - 'a']++;
        for (size_t i = 1; i < sizeof line; i++) mixed += line[i] != line[0];
    }
    say("%d %d %d %d mixed %d", counts[0], counts[1], counts[2], counts[3], mixed);
    for (int k = 0; k < 4; k++) reap("writer", children[k]);
}

CASE(packets) {
    int ends[2];
    NEED(pipe2(ends, O_DIRECT));
    say("%#o", flags_of(ends[1]));
    NEED(write(ends[1], "first", 5));
    NEED(write(ends[1], "second", 6));
    CHECK("one packet", read(ends[0], text, 100));
    CHECK("rest is dropped", read(ends[0], text, 3));
    close(ends[1]);
    CHECK("end", read(ends[0], text, 100));
}

CASE(stat_of_a_pipe) {
    int ends[2];
    struct stat a, b;
    NEED(pipe(ends));
    NEED(fstat(ends[0], &a) | fstat(ends[1], &b));
    say("%o %o same %d size %ld blksize %ld", a.st_mode, b.st_mode, a.st_ino == b.st_ino, (long)a.st_size, (long)a.st_blksize);
    CHECK("fchmod", fchmod(ends[0], 0640));
    NEED(fstat(ends[1], &b));
    say("%o", b.st_mode);
}

CASE(opened_again) {
    int ends[2];
    NEED(pipe(ends));
    char path[64], target[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    int again = NEED(open(path, O_RDONLY)); /* does not wait for another writer */
    CHECK("flags", flags_of(again));
    CHECK("flags of the first", flags_of(ends[0]));
    NEED(write(ends[1], "x", 1));
    CHECK("read", read(again, target, 10));
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[1]);
    int other = NEED(open(path, O_WRONLY));
    close(ends[1]);
    CHECK("write", write(other, "yz", 2));
    close(other);
    CHECK("rest", read(ends[0], target, 10));
    CHECK("end", read(again, target, 10));
}

CASE(reopening) {
    int ends[2];
    NEED(pipe(ends));
    char path[64], target[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    int again = NEED(open(path, O_WRONLY));
    CHECK("write", write(again, "x", 1));
    CHECK("read", read(ends[0], target, 1));
}

CASE(socket_pair) {
    int pair[2];
    CHECK("stream", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    CHECK("write", write(pair[0], "to 1", 4));
    CHECK("write back", write(pair[1], "to 0!", 5));
    CHECK("read", read(pair[0], text, 100));
    CHECK("read", read(pair[1], text, 2));
    CHECK("peek", recv(pair[1], text, 100, MSG_PEEK));
    CHECK("read", recv(pair[1], text, 100, 0));
    CHECK("nothing", recv(pair[1], text, 100, MSG_DONTWAIT));
    CHECK("shutdown", shutdown(pair[0], SHUT_WR));
    CHECK("end", read(pair[1], text, 100));
    CHECK("other way works", write(pair[1], "x", 1));
    CHECK("write after shutdown", send(pair[0], "x", 1, MSG_NOSIGNAL));
    IN_CHILD("SIGPIPE") write(pair[0], "x", 1);
    close(pair[1]);
    CHECK("data before the end", read(pair[0], text, 100));
    CHECK("end", read(pair[0], text, 100));
    CHECK("seek", lseek(pair[0], 0, SEEK_SET));
    NEED(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
    say("%#o %d", flags_of(pair[0]), fcntl(pair[0], F_GETFD));
    NEED(write(pair[0], "one", 3));
    NEED(write(pair[0], "three", 5));
    CHECK("datagram cut", read(pair[1], text, 2));
    CHECK("next", read(pair[1], text, 100));
    CHECK("none", read(pair[1], text, 100));
    CHECK("inet", socketpair(AF_INET, SOCK_STREAM, 0, pair));
    CHECK("bad type", socketpair(AF_UNIX, 77, 0, pair));
    CHECK("bad pointer", socketpair(AF_UNIX, SOCK_STREAM, 0, BAD_POINTER));
}
