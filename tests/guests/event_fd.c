/* Files that tell of events: eventfd(2), timerfd_create(2), signalfd(2). */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#include "guest.h"

static void add(const char *name, int fd, uint64_t value) { CHECK(name, write(fd, &value, 8)); }

static void take(const char *name, int fd) {
    uint64_t value = 0;
    errno = 0;
    long n = read(fd, &value, 8);
    if (n == 8) say("%s: %llu", name, (unsigned long long)value);
    else say("%s: %ld %s", name, n, strerrorname_np(errno));
}

static void state(const char *name, int fd) {
    struct pollfd one = {fd, POLLIN | POLLOUT | POLLPRI, 0};
    NEED(poll(&one, 1, 0));
    say("%s:%s%s%s%s%s", name, one.revents & POLLIN ? " IN" : "", one.revents & POLLOUT ? " OUT" : "",
        one.revents & POLLPRI ? " PRI" : "", one.revents & POLLERR ? " ERR" : "", one.revents & POLLHUP ? " HUP" : "");
}

CASE(counter) {
    int fd = NEED(eventfd(3, EFD_NONBLOCK));
    CHECK("flags", fcntl(fd, F_GETFL));
    CHECK("cloexec", fcntl(fd, F_GETFD));
    CHECK("bad flags", eventfd(0, 2));
    CHECK("with cloexec", fcntl(NEED(eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)), F_GETFD));
    CHECK("blocking", fcntl(NEED(eventfd(0, 0)), F_GETFL));
    take("initial", fd);
    take("empty", fd);
    add("two", fd, 2);
    add("none", fd, 0);
    add("five", fd, 5);
    take("sum", fd);
    char small[7];
    CHECK("short read", read(fd, small, 7));
    CHECK("short write", write(fd, small, 7));
    uint64_t many[3] = {4, 9, 9};
    CHECK("long write", write(fd, many, sizeof many));
    CHECK("long read", read(fd, many, sizeof many));
    say("%llu %llu", (unsigned long long)many[0], (unsigned long long)many[1]);
    CHECK("bad pointer", syscall(SYS_write, fd, BAD_POINTER, 8));
    CHECK("seek", lseek(fd, 0, SEEK_SET));
    CHECK("pread", pread(fd, small, 7, 0));
    CHECK("ftruncate", ftruncate(fd, 0));
    CHECK("ioctl", ioctl(fd, FIONREAD, small));
    CHECK("mmap", (long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) == -1);
    struct stat st;
    NEED(fstat(fd, &st));
    say("mode %o size %ld links %ld", st.st_mode, (long)st.st_size, (long)st.st_nlink);
    char link[64], path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int n = NEED(readlink(path, link, sizeof link));
    say("%.*s", n, link);
}

CASE(counter_semaphore) {
    int fd = NEED(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
    take("one", fd);
    take("two", fd);
    take("none", fd);
    add("three", fd, 3);
    state("polled", fd);
    for (int i = 0; i < 4; i++) take("again", fd);
    state("empty", fd);
}

CASE(counter_overflow) {
    int fd = NEED(eventfd(0, EFD_NONBLOCK));
    add("all ones", fd, UINT64_MAX);
    add("most", fd, UINT64_MAX - 1);
    add("one more", fd, 1);
    add("nothing more", fd, 0);
    take("most", fd);
    add("nearly", fd, UINT64_MAX - 2);
    add("two more", fd, 2);
    add("one more", fd, 1);
    take("again", fd);
    state("then", fd);
}

CASE(counter_blocks) {
    int fd = NEED(eventfd(0, 0));
    pid_t child;
    START_CHILD(child) {
        sleep_ms(60);
        uint64_t seven = 7;
        NEED(write(fd, &seven, 8));
    }
    take("waits", fd);
    reap("child", child);
    add("fills", fd, UINT64_MAX - 1);
    START_CHILD(child) {
        sleep_ms(60);
        take("child takes", fd);
    }
    int64_t start = now_ns(CLOCK_MONOTONIC);
    uint64_t value = 5;
    long n = write(fd, &value, 8);
    start = now_ns(CLOCK_MONOTONIC) - start;
    reap("child", child);
    BOOL("waited", start > 50000000);
    say("wrote %ld", n);
    take("then", fd);
    NEED(fcntl(fd, F_SETFL, O_NONBLOCK));
    take("nonblocking now", fd);
}

static volatile int signals;
static void on_signal(int number UNUSED) { signals++; }

CASE(counter_interrupted) {
    int fd = NEED(eventfd(0, 0));
    struct sigaction action = {.sa_handler = on_signal};
    NEED(sigaction(SIGALRM, &action, NULL));
    ualarm(50000, 0);
    take("interrupted", fd);
    say("handler ran %d", signals);
}

CASE(sent_to_another_process) {
    int pair[2], flags;
    char space[CMSG_SPACE(3 * sizeof(int))] = {0}, one = 'x';
    struct iovec part = {&one, 1};
    NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    int files[3] = {NEED(eventfd(3, EFD_NONBLOCK)), NEED(timerfd_create(CLOCK_MONOTONIC, 0)), NEED(epoll_create1(0))};
    IN_CHILD("flags are shared") NEED(fcntl(files[1], F_SETFL, O_NONBLOCK));
    CHECK("nonblocking by the child", fcntl(files[1], F_GETFL));
    IN_CHILD("sender") {
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof files);
        memcpy(CMSG_DATA(head), files, sizeof files);
        NEED(sendmsg(pair[0], &message, 0));
    }
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    NEED(recvmsg(pair[1], &message, MSG_DONTWAIT));
    int got[3];
    memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
    flags = NEED(fcntl(got[0], F_GETFL));
    say("flags %o", flags);
    take("received", got[0]);
    take("the same", files[0]);
    add("added", files[0], 4);
    take("added", got[0]);
    struct itimerspec now;
    CHECK("timer", timerfd_gettime(got[1], &now));
    struct epoll_event event = {.events = EPOLLIN};
    CHECK("set", epoll_ctl(got[2], EPOLL_CTL_ADD, got[0], &event));
    add("added", files[0], 4);
    CHECK("wait", epoll_wait(files[2], &event, 1, 0));
}

/* ---- timers ------------------------------------------------------------------------------------------------------- */

#define MS 1000000L
#define TIMES(value, interval) \
    (&(struct itimerspec){{(interval) / 1000, (interval) % 1000 * MS}, {(value) / 1000, (value) % 1000 * MS}})

CASE(timer) {
    int fd = NEED(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    struct itimerspec now, old;
    CHECK("flags", fcntl(fd, F_GETFL));
    CHECK("bad clock", timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0));
    CHECK("coarse clock", timerfd_create(CLOCK_REALTIME_COARSE, 0));
    CHECK("bad flags", timerfd_create(CLOCK_MONOTONIC, 1));
    CHECK_OK("boot time", timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC));
    NEED(timerfd_gettime(fd, &now));
    say("%ld %ld", (long)now.it_value.tv_nsec, (long)now.it_interval.tv_nsec);
    take("not running", fd);
    char small[7];
    CHECK("short", read(fd, small, 7));
    CHECK("write", write(fd, "12345678", 8));
    CHECK("settime", timerfd_settime(fd, 0, TIMES(30, 0), &old));
    say("old %ld", (long)old.it_value.tv_sec);
    state("before", fd);
    NEED(timerfd_gettime(fd, &now));
    BOOL("runs", now.it_value.tv_nsec > 0 && now.it_value.tv_nsec <= 30 * MS);
    sleep_ms(60);
    state("after", fd);
    NEED(timerfd_gettime(fd, &now));
    say("left %ld", (long)now.it_value.tv_nsec);
    take("one", fd);
    take("again", fd);
    CHECK("far", timerfd_settime(fd, 0, TIMES(100000, 5000), NULL));
    NEED(timerfd_settime(fd, 0, TIMES(0, 0), &old));
    say("was %ld %ld", (long)old.it_value.tv_sec, (long)old.it_interval.tv_sec);
    NEED(timerfd_gettime(fd, &now));
    say("stopped %ld %ld", (long)now.it_value.tv_sec, (long)now.it_interval.tv_sec);
    struct itimerspec bad = {{0, 0}, {0, 1000000000}}, negative = {{0, 0}, {-1, 0}};
    CHECK("bad time", timerfd_settime(fd, 0, &bad, NULL));
    CHECK("negative", timerfd_settime(fd, 0, &negative, NULL));
    CHECK("bad settime flags", timerfd_settime(fd, 8, TIMES(1, 0), NULL));
    CHECK("bad pointer", timerfd_settime(fd, 0, BAD_POINTER, NULL));
    CHECK("bad old", timerfd_settime(fd, 0, TIMES(10000, 0), BAD_POINTER));
    CHECK("no timer", timerfd_settime(0, 0, TIMES(1, 0), NULL));
    CHECK("no timer get", timerfd_gettime(0, &now));
    CHECK("not open", timerfd_gettime(77, &now));
}

CASE(timer_intervals) {
    int fd = NEED(timerfd_create(CLOCK_REALTIME, 0));
    NEED(timerfd_settime(fd, 0, TIMES(10, 10), NULL));
    sleep_ms(55);
    uint64_t count = 0;
    CHECK("read", read(fd, &count, 8));
    BOOL("several", count >= 5 && count < 50);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    CHECK("waits", read(fd, &count, 8));
    BOOL("not for long", now_ns(CLOCK_MONOTONIC) - start < 2000 * MS);
    struct itimerspec now;
    NEED(timerfd_gettime(fd, &now));
    say("interval %ld", now.it_interval.tv_nsec);
    BOOL("left", now.it_value.tv_nsec <= 10 * MS);
}

CASE(timer_absolute) {
    int fd = NEED(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    NEED(timerfd_settime(fd, TFD_TIMER_ABSTIME, TIMES(1, 0), NULL));
    struct pollfd one = {fd, POLLIN, 0};
    CHECK("past", poll(&one, 1, 1000));
    take("past", fd);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct itimerspec soon = {{0, 0}, now};
    soon.it_value.tv_nsec += 50 * MS;
    if (soon.it_value.tv_nsec >= 1000 * MS) soon.it_value.tv_sec++, soon.it_value.tv_nsec -= 1000 * MS;
    NEED(timerfd_settime(fd, TFD_TIMER_ABSTIME, &soon, NULL));
    CHECK("soon", poll(&one, 1, 5000));
    BOOL("not early", now_ns(CLOCK_MONOTONIC) >= soon.it_value.tv_sec * 1000 * MS + soon.it_value.tv_nsec);
    take("soon", fd);
    int wall = NEED(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
    CHECK("cancel on set", timerfd_settime(wall, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, TIMES(1, 0), NULL));
    sleep_ms(5);
    take("wall", wall);
}

CASE(timer_and_poll) {
    int fd = NEED(timerfd_create(CLOCK_MONOTONIC, 0));
    NEED(timerfd_settime(fd, 0, TIMES(40, 0), NULL));
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    CHECK("select", select(fd + 1, &set, NULL, NULL, NULL));
    BOOL("not early", now_ns(CLOCK_MONOTONIC) - start > 35 * MS);
    struct pollfd two[2] = {{fd, POLLIN, 0}, {NEED(eventfd(0, 0)), POLLIN, 0}};
    CHECK("both", poll(two, 2, 1000));
    take("take", fd);
    CHECK("none", poll(two, 2, 20));
    NEED(timerfd_settime(fd, 0, TIMES(1000, 0), NULL));
    CHECK("too early", poll(two, 2, 20));
}

/* ---- signals ------------------------------------------------------------------------------------------------------ */

static int signal_file(int flags, int first, int second) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, first);
    if (second) sigaddset(&set, second);
    NEED(sigprocmask(SIG_BLOCK, &set, NULL));
    return NEED(signalfd(-1, &set, flags));
}

static void next_signal(const char *name, int fd) {
    struct signalfd_siginfo info[4];
    memset(info, 0x5a, sizeof info);
    errno = 0;
    long n = read(fd, info, sizeof info);
    if (n < 0) {
        say("%s: -1 %s", name, strerrorname_np(errno));
        return;
    }
    for (size_t i = 0; i < n / sizeof *info; i++) {
        struct signalfd_siginfo *one = &info[i];
        say("%s: %s errno %d code %d ours %d uid %u fd %d tid %u band %u overrun %u trapno %u status %d int %d ptr %llx addr "
            "%llx lsb %u", name, signal_name(one->ssi_signo), one->ssi_errno, one->ssi_code,
            one->ssi_pid == (unsigned)getpid(), one->ssi_uid, one->ssi_fd, one->ssi_tid, one->ssi_band, one->ssi_overrun,
            one->ssi_trapno, one->ssi_status, one->ssi_int, (unsigned long long)one->ssi_ptr,
            (unsigned long long)one->ssi_addr, one->ssi_addr_lsb);
        const char *rest = (const char *)one + 84;
        for (int at = 0; at < 44; at++) if (rest[at]) say("byte %d is %d", 84 + at, rest[at]);
    }
}

CASE(signal_file) {
    int fd = signal_file(SFD_NONBLOCK, SIGUSR1, SIGUSR2);
    sigset_t set;
    sigemptyset(&set);
    CHECK("flags", fcntl(fd, F_GETFL));
    CHECK("bad flags", signalfd(-1, &set, 1));
    CHECK("bad size", syscall(SYS_signalfd4, -1, &set, 4, 0));
    CHECK("bad pointer", syscall(SYS_signalfd4, -1, BAD_POINTER, 8, 0));
    CHECK("no signalfd", signalfd(0, &set, 0));
    CHECK("not open", signalfd(88, &set, 0));
    next_signal("none", fd);
    state("none", fd);
    NEED(kill(getpid(), SIGUSR2));
    NEED(kill(getpid(), SIGUSR1));
    NEED(kill(getpid(), SIGUSR1));
    state("two", fd);
    char small[127];
    CHECK("short", read(fd, small, sizeof small));
    CHECK("write", write(fd, small, sizeof small));
    next_signal("kill", fd);
    state("taken", fd);
    NEED(raise(SIGUSR1));
    next_signal("raise", fd);
    NEED(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_ptr = (void *)0x123456789abcL}));
    next_signal("queue", fd);
    sigset_t pending;
    NEED(sigpending(&pending));
    BOOL("still pending", sigismember(&pending, SIGUSR2));
    sigaddset(&set, SIGUSR1);
    NEED(raise(SIGUSR2));
    state("before", fd);
    CHECK("other mask", signalfd(fd, &set, 0) == fd);
    state("masked", fd);
    next_signal("masked", fd);
    char link[64], path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int n = NEED(readlink(path, link, sizeof link));
    say("%.*s", n, link);
}

CASE(signal_real_time) {
    int fd = signal_file(SFD_NONBLOCK, SIGRTMIN + 2, SIGRTMIN + 1);
    for (int i = 0; i < 3; i++) NEED(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = i - 1}));
    NEED(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 77}));
    struct signalfd_siginfo one;
    CHECK("one", read(fd, &one, sizeof one));
    say("%s %d", signal_name(one.ssi_signo), one.ssi_int);
    next_signal("rest", fd);
    next_signal("none", fd);
}

CASE(signal_waits) {
    int fd = signal_file(0, SIGUSR1, SIGCHLD);
    pid_t child, parent = getpid();
    START_CHILD(child) {
        sleep_ms(50);
        kill(parent, SIGUSR1);
        sleep_ms(50);
        _exit(3);
    }
    struct signalfd_siginfo one;
    CHECK("read", read(fd, &one, sizeof one));
    say("%s code %d", signal_name(one.ssi_signo), one.ssi_code);
    struct pollfd wait = {fd, POLLIN, 0};
    CHECK("poll", poll(&wait, 1, 5000));
    CHECK("read", read(fd, &one, sizeof one));
    say("%s code %d from child %d status %d uid %u", signal_name(one.ssi_signo), one.ssi_code,
        one.ssi_pid == (unsigned)child, one.ssi_status, one.ssi_uid);
    reap("child", child);
    state("none", fd);
}

CASE(signal_of_timers) {
    int fd = signal_file(0, SIGALRM, SIGRTMIN);
    struct itimerval soon = {{0, 0}, {0, 30000}};
    NEED(setitimer(ITIMER_REAL, &soon, NULL));
    next_signal("alarm", fd);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value = {.sival_int = -5}};
    NEED(timer_create(CLOCK_MONOTONIC, &event, &timer));
    NEED(timer_settime(timer, 0, TIMES(20, 0), NULL));
    struct pollfd wait = {fd, POLLIN, 0};
    CHECK("poll", poll(&wait, 1, 5000));
    struct signalfd_siginfo one;
    CHECK("read", read(fd, &one, sizeof one));
    say("%s code %d int %d", signal_name(one.ssi_signo), one.ssi_code, one.ssi_int);
    NEED(timer_delete(timer));
}

CASE(signal_of_child) {
    /* After fork(2) the file reads the signals of whoever reads it. */
    int fd = signal_file(SFD_NONBLOCK, SIGUSR1, 0);
    NEED(raise(SIGUSR1));
    IN_CHILD("child") {
        state("child sees", fd);
        next_signal("nothing of its parent", fd);
        NEED(raise(SIGUSR1));
        state("child sees", fd);
        next_signal("its own", fd);
    }
    state("parent sees", fd);
    next_signal("parent", fd);
}

CASE(signal_with_handler) {
    /* A signal that is not blocked goes to its handler; the read is interrupted. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    struct sigaction action = {.sa_handler = on_signal};
    NEED(sigaction(SIGALRM, &action, NULL));
    int fd = NEED(signalfd(-1, &set, 0));
    signals = 0;
    ualarm(50000, 0);
    struct signalfd_siginfo one;
    CHECK("read", read(fd, &one, sizeof one));
    say("handler ran %d", signals);
}

CASE(process_files) {
    /* A directory of /proc is as good as a pidfd to send a signal; a pidfd is readable when the process has ended. */
    pid_t child;
    int ends[2];
    NEED(pipe(ends));
    START_CHILD(child) {
        close(ends[1]);
        NEED(read(ends[0], ends, 1) ? -1 : 0);
    }
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", child);
    int folder = NEED(open(path, O_DIRECTORY | O_RDONLY)), file = NEED(syscall(SYS_pidfd_open, child, 0));
    CHECK("by folder", syscall(SYS_pidfd_send_signal, folder, 0, NULL, 0));
    CHECK("by pidfd", syscall(SYS_pidfd_send_signal, file, 0, NULL, 0));
    CHECK("by other folder", syscall(SYS_pidfd_send_signal, NEED(open("/proc", O_RDONLY)), 0, NULL, 0));
    CHECK("by pipe", syscall(SYS_pidfd_send_signal, ends[0], 0, NULL, 0));
    state("alive", file);
    int set = NEED(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN};
    CHECK("add", epoll_ctl(set, EPOLL_CTL_ADD, file, &event));
    CHECK("alive", epoll_wait(set, &event, 1, 10));
    close(ends[1]);
    CHECK("ended", epoll_wait(set, &event, 1, 5000));
    state("ended", file);
    reap("child", child);
    state("reaped", file);
    CHECK("gone", syscall(SYS_pidfd_send_signal, file, 0, NULL, 0));
    CHECK("folder gone", syscall(SYS_pidfd_send_signal, folder, 0, NULL, 0));
    int line[2] = {-1, -1};
    NEED(pipe(line));
    CHECK("signal-driven", ioctl(line[0], FIOASYNC, &(int){1}) | fcntl(line[0], F_GETFL));
}
