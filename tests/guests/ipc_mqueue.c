/* POSIX message queues: mq_overview(7). */
#include "guest.h"
#include <mqueue.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

static char name_of[64];

static const char *name(const char *what) {
    snprintf(name_of, sizeof name_of, "/noah-%s-%d", what, getpid());
    return name_of;
}

static void show(const char *what, mqd_t queue) {
    struct mq_attr attr;
    CHECK(what, mq_getattr(queue, &attr));
    say("flags %lo, %ld of %ld messages of %ld", attr.mq_flags, attr.mq_curmsgs, attr.mq_maxmsg, attr.mq_msgsize);
}

static void receive(const char *what, mqd_t queue) {
    char text[8192] = "";
    unsigned priority = 99;
    errno = 0;
    ssize_t length = mq_receive(queue, text, sizeof text, &priority);
    if (length == -1) guest_result(what, -1, errno);
    else say("%s: %zd, priority %u, %.30s", what, length, priority, text);
}

CASE(opening) {
    const char *path = name("opening");
    CHECK("not there", mq_open(path, O_RDWR));
    mqd_t queue = NEED(mq_open(path, O_RDWR | O_CREAT | O_EXCL, 0640, NULL));
    show("defaults", queue);
    CHECK("again, exclusively", mq_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, NULL));
    BOOL("close on exec", fcntl(queue, F_GETFD) == FD_CLOEXEC);
    struct stat status;
    CHECK("fstat", fstat(queue, &status));
    say("mode %o size %ld", status.st_mode, (long)status.st_size);
    char line[200] = "";
    ssize_t length = read(queue, line, sizeof line - 1);
    say("%zd: %.20s", length, line);
    CHECK("at its end", read(queue, line, 10));
    CHECK("seek", lseek(queue, -5, SEEK_CUR));
    CHECK("read", read(queue, line, 10));
    CHECK("pread", pread(queue, line, 10, 3));
    CHECK("pwrite", pwrite(queue, "x", 1, 3));
    CHECK("write", write(queue, "x", 1));
    CHECK("unlink", mq_unlink(path));
    CHECK("unlink twice", mq_unlink(path));
    CHECK("still usable", mq_send(queue, "x", 1, 0));
    CHECK("close", mq_close(queue));
    CHECK("close twice", mq_close(queue));
    CHECK("slash", syscall(SYS_mq_open, "a/b", O_RDWR | O_CREAT, 0600, NULL));
    CHECK("no name", syscall(SYS_mq_open, "", O_RDWR | O_CREAT, 0600, NULL));
    CHECK("dot", syscall(SYS_mq_open, ".", O_RDWR | O_CREAT, 0600, NULL));
    CHECK("bad name", syscall(SYS_mq_open, BAD_POINTER, O_RDWR | O_CREAT, 0600, NULL));
    char longest[300];
    memset(longest, 'x', 299);
    longest[299] = 0;
    CHECK("long name", syscall(SYS_mq_open, longest, O_RDWR | O_CREAT, 0600, NULL));
    CHECK("not a queue", mq_send(0, "x", 1, 0));
}

CASE(attributes) {
    const char *path = name("attributes");
    struct mq_attr wanted = {.mq_maxmsg = 2, .mq_msgsize = 8, .mq_flags = O_NONBLOCK};
    mqd_t queue = NEED(mq_open(path, O_RDWR | O_CREAT, 0600, &wanted));
    show("small", queue);
    struct mq_attr flags = {.mq_flags = O_NONBLOCK}, old;
    CHECK("mq_setattr", mq_setattr(queue, &flags, &old));
    say("before %lo", old.mq_flags);
    show("after", queue);
    flags.mq_flags = O_APPEND;
    CHECK("other flags", mq_setattr(queue, &flags, NULL));
    CHECK("too long", mq_send(queue, "123456789", 9, 0));
    char text[8];
    CHECK("small buffer", mq_receive(queue, text, 7, NULL));
    CHECK("empty", mq_receive(queue, text, 8, NULL));
    CHECK("one", mq_send(queue, "1", 1, 0));
    CHECK("two", mq_send(queue, "2", 1, 0));
    CHECK("full", mq_send(queue, "3", 1, 0));
    CHECK("priority too high", mq_send(queue, "3", 1, 32768));
    struct pollfd ready = {.fd = queue, .events = POLLIN | POLLOUT};
    CHECK("poll", poll(&ready, 1, 0));
    say("%#x", ready.revents);
    mq_close(queue);
    mq_unlink(path);
    wanted.mq_maxmsg = 0;
    CHECK("no messages", mq_open(path, O_RDWR | O_CREAT, 0600, &wanted));
    wanted.mq_maxmsg = 1, wanted.mq_msgsize = -1;
    CHECK("negative size", mq_open(path, O_RDWR | O_CREAT, 0600, &wanted));
    wanted.mq_maxmsg = 65537, wanted.mq_msgsize = 1;
    CHECK("too many", mq_open(path, O_RDWR | O_CREAT, 0600, &wanted));
    struct rlimit limit = {50, 50};
    IN_CHILD("limited") {
        NEED(setrlimit(RLIMIT_MSGQUEUE, &limit));
        wanted.mq_maxmsg = 1;
        CHECK("RLIMIT_MSGQUEUE", mq_open(path, O_RDWR | O_CREAT, 0600, &wanted));
    }
}

CASE(order) {
    const char *path = name("order");
    mqd_t queue = NEED(mq_open(path, O_RDWR | O_CREAT, 0600, NULL));
    mqd_t reader = NEED(mq_open(path, O_RDONLY)), writer = NEED(mq_open(path, O_WRONLY));
    mq_unlink(path);
    CHECK("write-only", mq_receive(writer, (char[8192]){0}, 8192, NULL));
    CHECK("read-only", mq_send(reader, "x", 1, 0));
    static const struct { const char *text; unsigned priority; } messages[] = {
        {"low", 1}, {"high", 9}, {"low again", 1}, {"lowest", 0}, {"high again", 9}, {"", 5}};
    for (size_t i = 0; i < LENGTH(messages); i++)
        NEED(mq_send(writer, messages[i].text, strlen(messages[i].text), messages[i].priority));
    for (size_t i = 0; i < LENGTH(messages); i++) receive("message", reader);
    show("empty", queue);
    mq_close(queue), mq_close(reader), mq_close(writer);
}

static volatile sig_atomic_t handled;
static void note(int number, siginfo_t *info, void *context UNUSED) {
    handled++;
    say("%s code %d value %d", signal_name(number), info->si_code, info->si_value.sival_int);
}
static void nothing(int number UNUSED) { handled++; }

CASE(waiting) {
    struct mq_attr wanted = {.mq_maxmsg = 1, .mq_msgsize = 8192};
    mqd_t queue = NEED(mq_open(name("waiting"), O_RDWR | O_CREAT, 0600, &wanted));
    mq_unlink(name_of);
    pid_t child;
    START_CHILD(child) { receive("child", queue); }
    sleep_ms(30);
    NEED(mq_send(queue, "late", 4, 3));
    reap("child", child);
    NEED(mq_send(queue, "first", 5, 3));
    START_CHILD(child) { _exit(mq_send(queue, "second", 6, 4) ? errno : 0); }
    sleep_ms(30);
    receive("first", queue);
    reap("child", child);
    receive("second", queue);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    char text[8192];
    CHECK("in the past", mq_timedreceive(queue, text, sizeof text, NULL, &limit));
    limit.tv_nsec += 30000000;
    if (limit.tv_nsec >= 1000000000) limit.tv_sec++, limit.tv_nsec -= 1000000000;
    CHECK("soon", mq_timedreceive(queue, text, sizeof text, NULL, &limit));
    limit.tv_nsec = -1;
    CHECK("bad time", mq_timedreceive(queue, text, sizeof text, NULL, &limit));
    struct sigaction action = {.sa_handler = nothing};
    NEED(sigaction(SIGALRM, &action, NULL));
    ualarm(30000, 0);
    receive("interrupted", queue);
    mq_close(queue);
}

/* A child has the queue from its first moment on, whatever its parent does in that. */
CASE(inherited_and_unlinked_at_once) {
    long wrong = 0;
    for (int turn = 0; turn < 20; turn++) {
        const char *path = name("inherited");
        mqd_t queue = NEED(mq_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, NULL));
        pid_t child = NEED(fork());
        struct mq_attr found;
        if (!child) _exit(mq_getattr(queue, &found) || found.mq_curmsgs || mq_close(queue));
        int status;
        wrong += mq_close(queue) || mq_unlink(path);
        NEED(waitpid(child, &status, 0));
        wrong += status != 0;
    }
    say("wrong: %ld", wrong);
}

CASE(notification) {
    mqd_t queue = NEED(mq_open(name("notify"), O_RDWR | O_CREAT, 0600, NULL));
    mq_unlink(name_of);
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    NEED(sigaction(SIGUSR1, &action, NULL));
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77};
    CHECK("mq_notify", mq_notify(queue, &event));
    CHECK("twice", mq_notify(queue, &event));
    IN_CHILD("another") { CHECK("mq_notify", mq_notify(queue, &event)); }
    CHECK("send", mq_send(queue, "a", 1, 0));
    say("handled %d", handled);
    CHECK("only once", mq_send(queue, "b", 1, 0));
    CHECK("again", mq_notify(queue, &event));
    CHECK("not empty", mq_send(queue, "c", 1, 0));
    say("handled %d", handled);
    for (int i = 0; i < 3; i++) receive("message", queue);
    CHECK("still asked for", mq_notify(queue, &event));
    CHECK("taken back", mq_notify(queue, NULL));
    CHECK("send", mq_send(queue, "e", 1, 0));
    receive("message", queue);
    say("handled %d", handled);
    event.sigev_signo = 99;
    CHECK("bad signal", mq_notify(queue, &event));
    event.sigev_notify = 77;
    CHECK("bad kind", mq_notify(queue, &event));
    mq_close(queue);
}

CASE(notification_by_another_process) {
    mqd_t queue = NEED(mq_open(name("notify"), O_RDWR | O_CREAT, 0600, NULL));
    mq_unlink(name_of);
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    NEED(sigaction(SIGUSR1, &action, NULL));
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 78};
    CHECK("mq_notify", mq_notify(queue, &event));
    int before = handled;
    IN_CHILD("another") { NEED(mq_send(queue, "d", 1, 0)); }
    for (int i = 0; i < 200 && handled == before; i++) sleep_ms(5);
    receive("message", queue);
    IN_CHILD("who asks and dies") { CHECK("mq_notify", mq_notify(queue, &event)); }
    CHECK("mq_notify", mq_notify(queue, &event));
    mq_close(queue);
}

static int told[2];

static void tell(union sigval value) {
    char byte = value.sival_int;
    NEED(write(told[1], &byte, 1));
}

static void say_line(const char *what, mqd_t queue) {
    char line[200] = "";
    ssize_t length = pread(queue, line, sizeof line - 1, 0);
    char *end = strstr(line, "NOTIFY_PID:");
    if (end) *end = 0;
    say("%s: %zd, %s", what, length, line);
}

static void wait_for_it(const char *what) {
    struct pollfd ready = {told[0], POLLIN, 0};
    char byte = 0;
    if (poll(&ready, 1, 3000) == 1) NEED(read(told[0], &byte, 1));
    say("%s: told %d", what, byte);
}

CASE(notification_by_a_thread) {
    mqd_t queue = NEED(mq_open(name("thread"), O_RDWR | O_CREAT, 0600, NULL));
    mq_unlink(name_of);
    NEED(pipe(told));
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = tell, .sigev_value.sival_int = 7};
    CHECK("mq_notify", mq_notify(queue, &event));
    CHECK("twice", mq_notify(queue, &event));
    say_line("asked for", queue);
    CHECK("send", mq_send(queue, "abc", 3, 0));
    wait_for_it("by itself");
    say_line("told", queue);
    receive("message", queue);
    event.sigev_value.sival_int = 8;
    CHECK("again", mq_notify(queue, &event));
    IN_CHILD("another") { NEED(mq_send(queue, "d", 1, 0)); }
    wait_for_it("by another process");
    receive("message", queue);
    CHECK("again", mq_notify(queue, &event));
    CHECK("taken back", mq_notify(queue, NULL));
    CHECK("send", mq_send(queue, "e", 1, 0));
    sleep_ms(30);
    CHECK("nothing", poll(&(struct pollfd){told[0], POLLIN, 0}, 1, 0));
    char cookie[32] = "";
    struct sigevent raw = {.sigev_notify = SIGEV_THREAD, .sigev_value.sival_ptr = cookie, .sigev_signo = 99};
    CHECK("no descriptor", syscall(SYS_mq_notify, queue, &raw));
    raw.sigev_signo = told[0];
    CHECK("no socket", syscall(SYS_mq_notify, queue, &raw));
    int other = NEED(socket(AF_UNIX, SOCK_DGRAM, 0)), netlink = NEED(socket(AF_NETLINK, SOCK_RAW, 0));
    raw.sigev_signo = other;
    CHECK("another socket", syscall(SYS_mq_notify, queue, &raw));
    raw.sigev_signo = netlink;
    CHECK("no queue", syscall(SYS_mq_notify, other, &raw));
    raw.sigev_value.sival_ptr = BAD_POINTER;
    CHECK("bad cookie", syscall(SYS_mq_notify, queue, &raw));
    raw.sigev_value.sival_ptr = cookie;
    strcpy(cookie, "cookie");
    CHECK("raw", syscall(SYS_mq_notify, queue, &raw));
    CHECK("removed", syscall(SYS_mq_notify, queue, NULL));
    char text[64] = "";
    CHECK("receive", recv(netlink, text, sizeof text, MSG_DONTWAIT));
    say("%s %d", text, text[31]);
    CHECK("nothing more", recv(netlink, text, sizeof text, MSG_DONTWAIT));
    mq_close(queue);
}

CASE(permissions) {
    if (geteuid() != 0) {
        say("needs root");
        return;
    }
    mqd_t queue = NEED(mq_open(name("permissions"), O_RDWR | O_CREAT, 0604, NULL));
    IN_CHILD("somebody") {
        NEED(setuid(12345));
        CHECK_OK("read", mq_open(name_of, O_RDONLY));
        CHECK("write", mq_open(name_of, O_WRONLY));
        CHECK("unlink", mq_unlink(name_of));
        struct mq_attr many = {.mq_maxmsg = 11, .mq_msgsize = 1};
        CHECK("too many for users", mq_open("/noah-permissions-x", O_RDWR | O_CREAT, 0600, &many));
    }
    mq_close(queue);
    mq_unlink(name_of);
}
