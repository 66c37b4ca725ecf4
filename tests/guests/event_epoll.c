/* epoll(7). */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "guest.h"

static char text[100000];

static const char *names_of(uint32_t events) {
    static char line[128];
    static const struct { uint32_t bit; const char *name; } all[] = {
        {EPOLLIN, " IN"}, {EPOLLPRI, " PRI"}, {EPOLLOUT, " OUT"}, {EPOLLERR, " ERR"}, {EPOLLHUP, " HUP"},
        {EPOLLRDHUP, " RDHUP"}, {EPOLLRDNORM, " RDNORM"}, {EPOLLWRNORM, " WRNORM"},
    };
    line[0] = 0;
    for (size_t i = 0; i < LENGTH(all); i++) {
        if (events & all[i].bit) strcat(line, all[i].name);
        events &= ~all[i].bit;
    }
    if (events) snprintf(line + strlen(line), 32, " %#x", events);
    return line;
}

static int control(int set, int op, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(set, op, fd, &event);
}

/* Prints what is ready, sorted by data. */
static void ready(const char *name, int set, int timeout) {
    struct epoll_event found[16];
    errno = 0;
    int n = epoll_wait(set, found, LENGTH(found), timeout);
    if (n <= 0) {
        say("%s: %d %s", name, n, n < 0 ? strerrorname_np(errno) : "");
        return;
    }
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++)
            if (found[j].data.u64 < found[i].data.u64) {
                struct epoll_event other = found[i];
                found[i] = found[j];
                found[j] = other;
            }
    for (int i = 0; i < n; i++) say("%s: %llx%s", name, (unsigned long long)found[i].data.u64, names_of(found[i].events));
}

CASE(making) {
    CHECK("size 0", epoll_create(0));
    CHECK("negative size", epoll_create(-1));
    int set = NEED(epoll_create(1));
    CHECK("cloexec", fcntl(set, F_GETFD));
    CHECK("flags", fcntl(set, F_GETFL));
    CHECK("cloexec", fcntl(NEED(epoll_create1(EPOLL_CLOEXEC)), F_GETFD));
    CHECK("bad flags", epoll_create1(1));
    CHECK("read", read(set, text, 8));
    CHECK("write", write(set, text, 8));
    CHECK("seek", lseek(set, 1, SEEK_SET));
    char link[64], path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", set);
    int n = NEED(readlink(path, link, sizeof link));
    say("%.*s", n, link);
}

CASE(controlling) {
    int set = NEED(epoll_create1(0)), ends[2];
    struct epoll_event event = {.events = EPOLLIN};
    NEED(pipe(ends));
    CHECK("add", control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN, 1));
    CHECK("again", control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN, 2));
    CHECK("modify", control(set, EPOLL_CTL_MOD, ends[0], 0, 2));
    CHECK("delete", epoll_ctl(set, EPOLL_CTL_DEL, ends[0], NULL));
    CHECK("delete again", epoll_ctl(set, EPOLL_CTL_DEL, ends[0], NULL));
    CHECK("modify nothing", control(set, EPOLL_CTL_MOD, ends[0], EPOLLIN, 2));
    CHECK("bad operation", control(set, 7, ends[0], EPOLLIN, 2));
    CHECK("bad pointer", syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, ends[0], BAD_POINTER));
    CHECK("no file", epoll_ctl(set, EPOLL_CTL_ADD, 99, &event));
    CHECK("no set", epoll_ctl(99, EPOLL_CTL_ADD, ends[0], &event));
    CHECK("not a set", epoll_ctl(ends[1], EPOLL_CTL_ADD, ends[0], &event));
    CHECK("itself", epoll_ctl(set, EPOLL_CTL_ADD, set, &event));
    CHECK("regular file", epoll_ctl(set, EPOLL_CTL_ADD, NEED(open("f", O_CREAT | O_RDWR, 0600)), &event));
    CHECK("directory", epoll_ctl(set, EPOLL_CTL_ADD, NEED(open(".", O_RDONLY)), &event));
    CHECK("/dev/null", epoll_ctl(set, EPOLL_CTL_ADD, NEED(open("/dev/null", O_RDONLY)), &event));
    CHECK("/proc file", epoll_ctl(set, EPOLL_CTL_ADD, NEED(open("/proc/self/stat", O_RDONLY)), &event));
    CHECK("path only", epoll_ctl(set, EPOLL_CTL_ADD, NEED(open("f", O_PATH)), &event));
    CHECK("regular file in no set", epoll_ctl(ends[0], EPOLL_CTL_ADD, NEED(open("f", O_RDONLY)), &event));
    CHECK("exclusive and oneshot", control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1));
    CHECK("exclusive", control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLEXCLUSIVE, 1));
    CHECK("modify exclusive", control(set, EPOLL_CTL_MOD, ends[0], EPOLLIN, 1));
    NEED(epoll_ctl(set, EPOLL_CTL_DEL, ends[0], &event));
    NEED(control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN, 1));
    CHECK("to exclusive", control(set, EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLEXCLUSIVE, 1));
}

CASE(waiting_errors) {
    int set = NEED(epoll_create1(0)), ends[2];
    struct epoll_event event;
    NEED(pipe(ends));
    CHECK("no room", syscall(SYS_epoll_pwait, set, &event, 0, 0, NULL, 8));
    CHECK("negative room", syscall(SYS_epoll_pwait, set, &event, -1, 0, NULL, 8));
    CHECK("much room", syscall(SYS_epoll_pwait, set, &event, INT_MAX, 0, NULL, 8));
    CHECK("no set", epoll_wait(99, &event, 1, 0));
    CHECK("not a set", epoll_wait(ends[0], &event, 1, 0));
    CHECK("outside", syscall(SYS_epoll_pwait, set, KERNEL_POINTER, 1, 0, NULL, 8));
    CHECK("nothing", epoll_wait(set, &event, 1, 0));
    CHECK("nothing for a while", epoll_wait(set, &event, 1, 20));
    CHECK("sigset size", syscall(SYS_epoll_pwait, set, &event, 1, 0, text, 4));
    CHECK("no sigset", syscall(SYS_epoll_pwait, set, &event, 1, 0, NULL, 4));
    struct timespec none = {0, 0}, some = {0, 20000000}, bad = {0, 1000000000};
    CHECK("pwait2 none", syscall(SYS_epoll_pwait2, set, &event, 1, &none, NULL, 8));
    CHECK("pwait2 some", syscall(SYS_epoll_pwait2, set, &event, 1, &some, NULL, 8));
    CHECK("pwait2 bad", syscall(SYS_epoll_pwait2, set, &event, 1, &bad, NULL, 8));
    NEED(write(ends[1], "x", 1));
    NEED(control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN, 5));
    CHECK("pwait2 ready", syscall(SYS_epoll_pwait2, set, &event, 1, NULL, NULL, 8));
    say("%llx%s", (unsigned long long)event.data.u64, names_of(event.events));
}

CASE(level) {
    int set = NEED(epoll_create1(0)), a[2], b[2];
    NEED(pipe(a) | pipe(b));
    NEED(control(set, EPOLL_CTL_ADD, a[0], EPOLLIN, 0x123456789abcdef0));
    NEED(control(set, EPOLL_CTL_ADD, b[1], EPOLLOUT, 2));
    NEED(control(set, EPOLL_CTL_ADD, b[0], EPOLLIN | EPOLLRDHUP, 3));
    ready("writable", set, 0);
    NEED(write(a[1], "xy", 2));
    ready("readable", set, 0);
    ready("still", set, 1000);
    NEED(read(a[0], text, 1));
    ready("one left", set, 0);
    NEED(read(a[0], text, 1));
    ready("none left", set, 0);
    NEED(control(set, EPOLL_CTL_MOD, b[1], 0, 2));
    ready("nothing", set, 10);
    close(a[1]);
    ready("hung up", set, -1);
    NEED(epoll_ctl(set, EPOLL_CTL_DEL, a[0], NULL));
    close(b[0]);
    ready("error though not asked", set, -1);
    close(b[1]);
    ready("closed is gone", set, 10);
}

CASE(edge) {
    int set = NEED(epoll_create1(0)), ends[2];
    NEED(pipe2(ends, O_NONBLOCK));
    NEED(control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLET, 1));
    ready("empty", set, 0);
    NEED(write(ends[1], "ab", 2));
    ready("edge", set, 0);
    ready("no edge", set, 0);
    NEED(write(ends[1], "c", 1));
    ready("more came", set, 0);
    ready("no edge", set, 0);
    NEED(control(set, EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLET, 2));
    ready("set again", set, 0);
    ready("no edge", set, 0);
    CHECK("drain", read(ends[0], text, 10));
    CHECK("drained", read(ends[0], text, 10));
    NEED(write(ends[1], "d", 1));
    ready("new", set, 1000);
    pid_t child;
    NEED(read(ends[0], text, 1));
    START_CHILD(child) {
        sleep_ms(50);
        NEED(write(ends[1], "e", 1));
    }
    ready("while waiting", set, 5000);
    reap("child", child);
    NEED(control(set, EPOLL_CTL_ADD, ends[1], EPOLLOUT | EPOLLET, 3));
    ready("writer", set, 0);
    ready("writer once", set, 0);
    close(ends[1]);
    ready("hang-up", set, 1000);
    ready("once", set, 0);
}

CASE(edge_of_a_part) {
    int set = NEED(epoll_create1(0)), ends[2];
    NEED(pipe2(ends, O_NONBLOCK));
    NEED(control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLET, 1));
    NEED(write(ends[1], "ab", 2));
    ready("edge", set, 0);
    NEED(read(ends[0], text, 1));
    ready("one is left", set, 10);
}

CASE(oneshot) {
    int set = NEED(epoll_create1(0)), ends[2];
    NEED(pipe(ends));
    NEED(control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLONESHOT, 1));
    NEED(write(ends[1], "x", 1));
    ready("first", set, 0);
    ready("second", set, 10);
    close(ends[1]);
    ready("not even this", set, 10);
    CHECK("arm", control(set, EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT, 2));
    ready("armed", set, 0);
    ready("again not", set, 0);
    CHECK("still there", control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN, 1));
}

CASE(limit_is_fair) {
    int set = NEED(epoll_create1(0)), seen[6] = {0};
    struct epoll_event found[2];
    for (int i = 0; i < 6; i++) NEED(control(set, EPOLL_CTL_ADD, NEED(eventfd(1, 0)), EPOLLIN, i));
    for (int i = 0; i < 6; i++) {
        int n = NEED(epoll_wait(set, found, 2, 0));
        for (int j = 0; j < n; j++) seen[found[j].data.u64]++;
    }
    for (int i = 0; i < 6; i++) say("%d: %d", i, seen[i]);
}

CASE(sockets) {
    int set = NEED(epoll_create1(0)), pair[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
    NEED(control(set, EPOLL_CTL_ADD, pair[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 1));
    ready("new", set, 0);
    NEED(write(pair[1], "x", 1));
    ready("data", set, 0);
    NEED(shutdown(pair[1], SHUT_WR));
    ready("shut down", set, 0);
    close(pair[1]);
    ready("closed", set, 0);
    CHECK("read", read(pair[0], text, 10));
    CHECK("end", read(pair[0], text, 10));
}

CASE(duplicates) {
    /* An entry is a number and an open file; it lives as long as the file. */
    int set = NEED(epoll_create1(0)), ends[2];
    NEED(pipe(ends));
    int copy = NEED(dup(ends[0]));
    CHECK("first", control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN, 1));
    CHECK("copy", control(set, EPOLL_CTL_ADD, copy, EPOLLIN, 2));
    CHECK("copy again", control(set, EPOLL_CTL_ADD, copy, EPOLLIN, 2));
    NEED(write(ends[1], "x", 1));
    ready("both", set, 0);
    close(ends[0]);
    ready("both still", set, 0);
    CHECK("closed number", epoll_ctl(set, EPOLL_CTL_DEL, ends[0], NULL));
    CHECK("modify the copy", control(set, EPOLL_CTL_MOD, copy, EPOLLIN, 3));
    ready("changed", set, 0);
    CHECK("delete the copy", epoll_ctl(set, EPOLL_CTL_DEL, copy, NULL));
    ready("the closed one", set, 0);
    CHECK("the copy is not there", epoll_ctl(set, EPOLL_CTL_DEL, copy, NULL));
    close(copy);
    ready("none", set, 10);
    NEED(pipe(ends));
    NEED(control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN, 7));
    NEED(write(ends[1], "x", 1));
    ready("other file, same number", set, 0);
    int again = NEED(dup(set));
    close(set);
    ready("set by another number", again, 0);
}

CASE(nested) {
    int outer = NEED(epoll_create1(0)), inner = NEED(epoll_create1(0)), event = NEED(eventfd(0, 0));
    uint64_t one = 1;
    NEED(control(inner, EPOLL_CTL_ADD, event, EPOLLIN, 1));
    CHECK("add a set", control(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 2));
    CHECK("a ring", control(inner, EPOLL_CTL_ADD, outer, EPOLLIN, 3));
    ready("nothing", outer, 10);
    NEED(write(event, &one, 8));
    ready("outer", outer, 1000);
    struct pollfd both[2] = {{outer, POLLIN, 0}, {inner, POLLIN | POLLOUT, 0}};
    CHECK("poll", poll(both, 2, 1000));
    say("%d %d", both[0].revents, both[1].revents);
    ready("inner", inner, 0);
    NEED(read(event, &one, 8));
    ready("taken", outer, 10);
    CHECK("poll none", poll(both, 2, 10));
    int sets[8];
    for (int i = 0; i < 8; i++) {
        sets[i] = NEED(epoll_create1(0));
        char name[16];
        snprintf(name, sizeof name, "depth %d", i);
        if (i) CHECK(name, control(sets[i], EPOLL_CTL_ADD, sets[i - 1], EPOLLIN, 1));
    }
}

CASE(event_files) {
    int set = NEED(epoll_create1(0));
    int timer = NEED(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)), event = NEED(eventfd(0, EFD_NONBLOCK));
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    NEED(sigprocmask(SIG_BLOCK, &usr1, NULL));
    int signals = NEED(signalfd(-1, &usr1, SFD_NONBLOCK));
    NEED(control(set, EPOLL_CTL_ADD, timer, EPOLLIN, 1));
    NEED(control(set, EPOLL_CTL_ADD, event, EPOLLIN, 2));
    NEED(control(set, EPOLL_CTL_ADD, signals, EPOLLIN | EPOLLET, 3));
    ready("none", set, 0);
    struct itimerspec soon = {{0, 0}, {0, 30000000}};
    NEED(timerfd_settime(timer, 0, &soon, NULL));
    int64_t start = now_ns(CLOCK_MONOTONIC);
    ready("timer", set, 5000);
    BOOL("in time", now_ns(CLOCK_MONOTONIC) - start > 25000000);
    uint64_t value;
    NEED(read(timer, &value, 8));
    ready("taken", set, 0);
    pid_t child, parent = getpid();
    START_CHILD(child) {
        sleep_ms(40);
        kill(parent, SIGUSR1);
    }
    ready("signal", set, 5000);
    ready("once", set, 0);
    reap("child", child);
    struct signalfd_siginfo info;
    CHECK("take", read(signals, &info, sizeof info));
    NEED(raise(SIGUSR1));
    ready("own signal", set, 0);
    CHECK("take", read(signals, &info, sizeof info));
    START_CHILD(child) {
        uint64_t four = 4;
        sleep_ms(40);
        NEED(write(event, &four, 8));
    }
    ready("event", set, 5000);
    reap("child", child);
    CHECK("close", close(signals));
    NEED(raise(SIGUSR1));
    NEED(read(event, &value, 8));
    ready("closed signals", set, 10);
}

static volatile int handled;
static void on_signal(int number UNUSED) { handled++; }

CASE(signals) {
    int set = NEED(epoll_create1(0)), ends[2];
    NEED(pipe(ends));
    NEED(control(set, EPOLL_CTL_ADD, ends[0], EPOLLIN, 1));
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    NEED(sigaction(SIGALRM, &action, NULL) | sigaction(SIGUSR1, &action, NULL));
    handled = 0;
    ualarm(40000, 0);
    ready("interrupted", set, 5000);
    say("handled %d", handled);
    sigset_t usr1, none, now;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    NEED(sigprocmask(SIG_BLOCK, &usr1, NULL));
    NEED(raise(SIGUSR1));
    struct epoll_event event;
    CHECK("lets it in", epoll_pwait(set, &event, 1, 5000, &none));
    say("handled %d", handled);
    NEED(sigprocmask(SIG_BLOCK, NULL, &now));
    BOOL("mask is back", sigismember(&now, SIGUSR1));
    NEED(raise(SIGUSR1));
    CHECK("no time", epoll_pwait(set, &event, 1, 0, &none));
    say("handled %d", handled);
    NEED(write(ends[1], "x", 1));
    CHECK("ready wins", epoll_pwait(set, &event, 1, 5000, &none));
    say("handled %d", handled);
    NEED(sigprocmask(SIG_SETMASK, &none, NULL));
    say("handled %d", handled);
}

CASE(forked) {
    int set = NEED(epoll_create1(0)), a[2];
    NEED(pipe(a));
    NEED(control(set, EPOLL_CTL_ADD, a[0], EPOLLIN, 1));
    IN_CHILD("child") {
        ready("child none", set, 0);
        NEED(write(a[1], "x", 1));
        ready("child one", set, 0);
    }
    ready("parent one", set, 0);
    NEED(epoll_ctl(set, EPOLL_CTL_DEL, a[0], NULL));
    pid_t child;
    START_CHILD(child) {
        int mine = NEED(epoll_create1(0));
        NEED(control(mine, EPOLL_CTL_ADD, a[0], EPOLLIN | EPOLLEXCLUSIVE, 9));
        ready("child's own", mine, 0);
    }
    reap("child", child);
    ready("parent's", set, 10);
}

CASE(shared_after_fork) {
    /* The set itself is shared: what the child adds, the parent sees. */
    int set = NEED(epoll_create1(0)), a[2];
    NEED(pipe(a));
    IN_CHILD("child") NEED(control(set, EPOLL_CTL_ADD, a[0], EPOLLIN, 4));
    NEED(write(a[1], "x", 1));
    ready("added by the child", set, 0);
    CHECK("delete", epoll_ctl(set, EPOLL_CTL_DEL, a[0], NULL));
    ready("deleted", set, 0);
}

CASE(many) {
    int set = NEED(epoll_create1(0)), files[500];
    for (int i = 0; i < 500; i++) {
        files[i] = NEED(eventfd(0, 0));
        NEED(control(set, EPOLL_CTL_ADD, files[i], EPOLLIN, i));
    }
    uint64_t one = 1;
    for (int i = 0; i < 500; i += 2) NEED(write(files[i], &one, 8));
    static struct epoll_event found[600];
    CHECK("half", epoll_wait(set, found, 600, 0));
    for (int i = 0; i < 500; i++) close(files[i]);
    CHECK("none", epoll_wait(set, found, 600, 0));
}

CASE(many_at_once) {
    enum { MANY = 1500 };
    static struct epoll_event found[MANY + 100];
    static int files[MANY];
    struct rlimit limit;
    NEED(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    NEED(setrlimit(RLIMIT_NOFILE, &limit));
    int set = NEED(epoll_create1(0));
    for (int i = 0; i < MANY; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        files[i] = NEED(eventfd(1, 0));
        NEED(epoll_ctl(set, EPOLL_CTL_ADD, files[i], &event));
    }
    CHECK("all", epoll_wait(set, found, MANY + 100, 0));
    CHECK("some", epoll_wait(set, found, 1100, 0));
    for (int i = 0; i < MANY; i += 2) NEED(close(files[i]));
    CHECK("the others", epoll_wait(set, found, MANY + 100, 0));
}
