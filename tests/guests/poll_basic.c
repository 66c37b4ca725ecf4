/* poll, ppoll, select, pselect: events, time-outs, masks, bad arguments. */
#include "hostile.h"
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>

static char text[1 << 17];

static const char *names_of(int events) {
    static char line[100];
    static const struct { int bit; const char *name; } bits[] = {
        {POLLIN, " IN"}, {POLLOUT, " OUT"}, {POLLERR, " ERR"}, {POLLHUP, " HUP"}, {POLLNVAL, " NVAL"}, {POLLPRI, " PRI"},
        {POLLRDHUP, " RDHUP"}, {POLLRDNORM, " RDNORM"}, {POLLWRNORM, " WRNORM"}};
    line[0] = 0;
    for (size_t i = 0; i < LENGTH(bits); i++) if (events & bits[i].bit) strcat(line, bits[i].name);
    return line[0] ? line : " none";
}

static void polls(const char *name, int fd, short events, int timeout) {
    struct pollfd one = {.fd = fd, .events = events, .revents = -1};
    errno = 0;
    int n = poll(&one, 1, timeout);
    say("%s: %d%s", name, n, n < 0 ? strerrorname_np(errno) : names_of(one.revents));
}

#define ALL (POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLWRNORM)

CASE(pipe_events) {
    int ends[2];
    NEED(pipe(ends));
    polls("empty", ends[0], ALL, 0);
    polls("writable", ends[1], ALL, 0);
    NEED(write(ends[1], "x", 1));
    polls("readable", ends[0], ALL, 0);
    polls("not asked", ends[0], 0, 0);
    NEED(fcntl(ends[1], F_SETFL, O_NONBLOCK));
    while (write(ends[1], text, 4096) > 0) {}
    polls("full", ends[1], ALL, 0);
    close(ends[1]);
    polls("hung up with data", ends[0], ALL, 0);
    while (read(ends[0], text, sizeof text) > 0) {}
    polls("hung up", ends[0], ALL, 0);
    polls("hung up, not asked", ends[0], 0, 100);
    NEED(pipe(ends));
    close(ends[0]);
    polls("no reader", ends[1], ALL, 0);
    polls("no reader, not asked", ends[1], 0, 0);
}

CASE(other_files) {
    int pair[2];
    polls("file", NEED(open("f", O_CREAT | O_RDWR, 0600)), ALL, 0);
    polls("directory", NEED(open(".", O_RDONLY)), ALL, 0);
    polls("null", NEED(open("/dev/null", O_RDWR)), ALL, 0);
    polls("zero", NEED(open("/dev/zero", O_RDONLY)), ALL, 0);
    polls("urandom", NEED(open("/dev/urandom", O_RDONLY)), POLLIN, 0);
    polls("O_PATH", NEED(open("f", O_PATH)), ALL, 0);
    polls("closed", 99, ALL, 0);
    polls("negative", -1, ALL, 50);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    polls("socket", pair[0], ALL, 0);
    NEED(write(pair[1], "x", 1));
    polls("socket with data", pair[0], ALL, 0);
    NEED(shutdown(pair[1], SHUT_WR));
    polls("half closed", pair[0], ALL, 0);
    close(pair[1]);
    polls("closed", pair[0], ALL, 0);
    NEED(mkfifo("p", 0600));
    int reader = NEED(open("p", O_RDONLY | O_NONBLOCK));
    polls("fifo never opened", reader, ALL, 0);
    int writer = NEED(open("p", O_WRONLY));
    polls("fifo open", reader, ALL, 0);
    close(writer);
    polls("fifo closed", reader, ALL, 0);
}

CASE(several) {
    int a[2], b[2];
    NEED(pipe(a) | pipe(b));
    NEED(write(b[1], "x", 1));
    struct pollfd set[] = {{a[0], POLLIN, 7}, {b[0], POLLIN, 7}, {-5, POLLIN, 7}, {99, POLLIN, 7}, {b[1], POLLOUT, 7}, {b[0], POLLIN, 7}};
    CHECK("poll", poll(set, LENGTH(set), 1000));
    for (size_t i = 0; i < LENGTH(set); i++) say("%zu:%s", i, names_of(set[i].revents));
    CHECK("none", poll(NULL, 0, 10));
    CHECK("bad pointer", poll(BAD_POINTER, 1, 0));
    CHECK("too many", poll(set, 1 << 30, 0));
    static struct pollfd many[1000];
    for (int i = 0; i < 1000; i++) many[i] = (struct pollfd){b[0], POLLIN, 0};
    CHECK("a thousand", poll(many, 1000, 0));
}

CASE(waiting) {
    int ends[2];
    NEED(pipe(ends));
    int64_t start = now_ns(CLOCK_MONOTONIC);
    polls("time out", ends[0], POLLIN, 200);
    long ms = (now_ns(CLOCK_MONOTONIC) - start) / 1000000;
    BOOL("took its time", ms >= 199 && ms < 2000);
    pid_t child;
    START_CHILD(child) {
        sleep_ms(100);
        NEED(write(ends[1], "x", 1));
    }
    polls("data comes", ends[0], POLLIN, 10000);
    reap("child", child);
    NEED(read(ends[0], text, 1));
    START_CHILD(child) {
        close(ends[0]);
        sleep_ms(100);
    }
    close(ends[1]);
    polls("hang-up comes", ends[0], POLLIN, -1);
    reap("child", child);
    struct timespec none = {0, 0}, some = {0, 100000000}, bad = {0, 1000000000}, negative = {-1, 0};
    struct pollfd one = {.fd = -1};
    CHECK("ppoll none", ppoll(&one, 1, &none, NULL));
    CHECK("ppoll some", ppoll(&one, 1, &some, NULL));
    CHECK("ppoll bad", ppoll(&one, 1, &bad, NULL));
    CHECK("ppoll negative", ppoll(&one, 1, &negative, NULL));
    CHECK("ppoll bad pointer", syscall(SYS_ppoll, &one, 1, BAD_POINTER, NULL, 8));
    CHECK("ppoll sigset size", syscall(SYS_ppoll, &one, 1, &none, &none, 4));
    some = (struct timespec){0, 50000000};
    CHECK("raw", syscall(SYS_ppoll, &one, 1, &some, NULL, 8));
    say("left %ld.%09ld", (long)some.tv_sec, some.tv_nsec);
}

static void on_signal(int number) { say("got %s", signal_name(number)); }

CASE(signals) {
    int ends[2];
    NEED(pipe(ends));
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    NEED(sigaction(SIGALRM, &action, NULL) | sigaction(SIGUSR1, &action, NULL));
    alarm(1);
    polls("never restarted", ends[0], POLLIN, 5000);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    alarm(1);
    CHECK("select", select(ends[0] + 1, &set, NULL, NULL, NULL));
    sigset_t blocked, open_mask;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    NEED(sigprocmask(SIG_BLOCK, &blocked, &open_mask));
    NEED(raise(SIGUSR1));
    say("pending");
    struct pollfd one = {.fd = ends[0], .events = POLLIN};
    struct timespec zero = {0, 0}, long_time = {5, 0};
    CHECK("ppoll lets it in", ppoll(&one, 1, &long_time, &open_mask));
    NEED(raise(SIGUSR1));
    CHECK("ppoll with no time", ppoll(&one, 1, &zero, &open_mask));
    NEED(raise(SIGUSR1));
    FD_SET(ends[0], &set);
    CHECK("pselect lets it in", pselect(ends[0] + 1, &set, NULL, NULL, &long_time, &open_mask));
    sigset_t now;
    NEED(sigprocmask(SIG_BLOCK, NULL, &now));
    BOOL("mask is back", sigismember(&now, SIGUSR1));
    NEED(raise(SIGUSR1));
    NEED(write(ends[1], "x", 1));
    CHECK("ready wins or not", ppoll(&one, 1, &long_time, &blocked));
    NEED(sigprocmask(SIG_SETMASK, &open_mask, NULL));
}

static void selects(const char *name, int count, int fd, int kind, struct timeval *timeout) {
    fd_set sets[3];
    for (int i = 0; i < 3; i++) FD_ZERO(&sets[i]);
    FD_SET(fd, &sets[kind]);
    errno = 0;
    int n = select(count, &sets[0], &sets[1], &sets[2], timeout);
    say("%s: %d %s %d%d%d", name, n, n < 0 ? strerrorname_np(errno) : "-", FD_ISSET(fd, &sets[0]) != 0,
        FD_ISSET(fd, &sets[1]) != 0, FD_ISSET(fd, &sets[2]) != 0);
}

CASE(selecting) {
    int ends[2];
    NEED(pipe(ends));
    struct timeval zero = {0, 0}, some = {0, 100000}, bad = {0, -1}, large = {0, 2000000};
    selects("empty", ends[0] + 1, ends[0], 0, &zero);
    selects("writable", ends[1] + 1, ends[1], 1, &zero);
    selects("exception", ends[0] + 1, ends[0], 2, &zero);
    NEED(write(ends[1], "x", 1));
    selects("readable", ends[0] + 1, ends[0], 0, &zero);
    selects("count too small", ends[0], ends[0], 0, &zero);
    selects("bad descriptor", 64, 63, 0, &zero); /* the smallest table of descriptors has 64 places */
    selects("negative count", -1, ends[0], 0, &zero);
    selects("bad time", ends[0] + 1, ends[0], 0, &bad);
    selects("large microseconds", ends[0] + 1, ends[0], 0, &large);
    NEED(read(ends[0], text, 1));
    selects("time out", ends[0] + 1, ends[0], 0, &some);
    say("left %ld.%06ld", (long)some.tv_sec, (long)some.tv_usec);
    CHECK("nothing", select(0, NULL, NULL, NULL, &zero));
    CHECK("bad set", select(ends[0] + 1, BAD_POINTER, NULL, NULL, &zero));
    CHECK("bad time pointer", syscall(SYS_pselect6, 0, NULL, NULL, NULL, BAD_POINTER, NULL));
    close(ends[1]);
    selects("hung up", ends[0] + 1, ends[0], 0, &zero);
    NEED(pipe(ends));
    close(ends[0]);
    selects("no reader: writable", ends[1] + 1, ends[1], 1, &zero);
    selects("no reader: readable", ends[1] + 1, ends[1], 0, &zero);
    selects("file", 1024, NEED(open("f", O_CREAT | O_RDWR, 0600)), 0, &zero);
    NEED(dup2(ends[1], 1000));
    selects("high descriptor", 1001, 1000, 1, &zero);
    struct timespec tiny = {0, 1}, wrong = {0, 2000000000};
    CHECK("pselect", pselect(0, NULL, NULL, NULL, &tiny, NULL));
    CHECK("pselect bad time", pselect(0, NULL, NULL, NULL, &wrong, NULL));
}

#ifdef __x86_64__ /* other architectures have pselect6(2) alone, whose timeouts are checked above */
CASE(x86_select_timeouts_at_the_edge) {
    int ends[2];
    fd_set set;
    struct timeval times[] = {{LONG_MAX, 1000000}, {LONG_MAX, LONG_MAX}, {LONG_MAX, 999999}, {0, LONG_MAX}, {-1, 0}};
    NEED(pipe(ends));
    for (size_t i = 0; i < LENGTH(times); i++) {
        FD_ZERO(&set);
        FD_SET(ends[1], &set);
        say("%zu", i);
        CHECK("result", syscall(SYS_select, ends[1] + 1, NULL, &set, NULL, &times[i]));
    }
}
#endif

static volatile sig_atomic_t alarmed;
static void note_alarm(int number UNUSED) { alarmed = 1; }

CASE(signal_beside_what_is_always_ready) {
    int ends[2];
    NEED(pipe(ends));
    NEED(write(ends[1], "x", 1));
    signal(SIGALRM, note_alarm);
    ualarm(30000, 0);
    struct pollfd one = {.fd = ends[0], .events = POLLIN};
    int64_t limit = now_ns(CLOCK_MONOTONIC) + 5000000000;
    while (!alarmed && now_ns(CLOCK_MONOTONIC) < limit) poll(&one, 1, 1000);
    BOOL("it came", alarmed);
}
