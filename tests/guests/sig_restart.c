/* Blocking calls that a signal interrupts: which return EINTR, which go on, and what is left of a sleep. */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>

#include "guest.h"

static volatile int calls;
static void count(int number UNUSED) { calls++; }

static void handle(int flags) {
    struct sigaction action = {.sa_handler = count, .sa_flags = flags};
    calls = 0;
    NEED(sigaction(SIGUSR1, &action, NULL));
}

/* A child that signals us after 40 ms, and 80 ms later runs the block that follows. */
#define LATER(child) \
    for (pid_t self_ = getpid(), round_ = 0; round_ == 0; round_ = 1) \
        START_CHILD(child) for (bool done_ = (sleep_ms(40), kill(self_, SIGUSR1), sleep_ms(80), false); !done_; done_ = true)

static void finish(pid_t child) {
    while (waitpid(child, NULL, 0) == -1 && errno == EINTR) {}
    say("handler ran %d", calls);
}

static int pipe_ends[2];

#define WITH_AND_WITHOUT(name, preparation, expression, later) \
    for (int restart_ = 0; restart_ < 2; restart_++) { \
        pid_t child_ = -1; \
        handle(restart_ ? SA_RESTART : 0); \
        preparation; \
        LATER(child_) later; \
        CHECK(restart_ ? name " with SA_RESTART" : name, expression); \
        finish(child_); \
    }

static char byte, large[200000];

CASE(read_pipe) {
    WITH_AND_WITHOUT("read", NEED(pipe(pipe_ends)), read(pipe_ends[0], &byte, 1), write(pipe_ends[1], "x", 1))
}

static void fill_pipe(void) {
    NEED(pipe(pipe_ends));
    fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK);
    NEED(write(pipe_ends[1], large, sizeof large));
    fcntl(pipe_ends[1], F_SETFL, 0);
}

CASE(write_pipe) {
    /* What was written before the signal counts: a partial write instead of EINTR. */
    WITH_AND_WITHOUT("more than the pipe holds", NEED(pipe(pipe_ends)), write(pipe_ends[1], large, sizeof large), {})
    WITH_AND_WITHOUT("full pipe", fill_pipe(), write(pipe_ends[1], "x", 1), NEED(read(pipe_ends[0], large, PAGE)))
}

CASE(wait_child) {
    for (int restart = 0; restart < 2; restart++) {
        pid_t child = -1;
        int status = 0;
        handle(restart ? SA_RESTART : 0);
        LATER(child) _exit(4);
        if (restart) CHECK_OK("wait4 with SA_RESTART", waitpid(child, &status, 0));
        else CHECK("wait4", waitpid(child, &status, 0));
        while (waitpid(child, &status, 0) == -1 && errno == EINTR) {}
        say_status("child", status);
        siginfo_t info;
        handle(restart ? SA_RESTART : 0);
        LATER(child) _exit(5);
        CHECK(restart ? "waitid with SA_RESTART" : "waitid", waitid(P_PID, child, &info, WEXITED));
        finish(child);
    }
}

CASE(sleeps) {
    for (int restart = 0; restart < 2; restart++) {
        struct timespec left = {7, 7}, wanted = {2, 0};
        pid_t child = -1;
        handle(restart ? SA_RESTART : 0);
        LATER(child) {}
        CHECK("nanosleep", nanosleep(&wanted, &left));
        BOOL("left about 2 s", left.tv_sec == 1 && left.tv_nsec > 0);
        finish(child);
        handle(restart ? SA_RESTART : 0);
        LATER(child) {}
        left = (struct timespec){7, 7};
        CHECK_ERROR("clock_nanosleep", clock_nanosleep(CLOCK_MONOTONIC, 0, &wanted, &left));
        BOOL("left about 2 s", left.tv_sec == 1 && left.tv_nsec > 0);
        finish(child);
        handle(restart ? SA_RESTART : 0);
        LATER(child) {}
        left = (struct timespec){7, 7};
        clock_gettime(CLOCK_MONOTONIC, &wanted);
        wanted.tv_sec += 2;
        CHECK_ERROR("absolute", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wanted, &left));
        say("untouched %ld", (long)left.tv_sec);
        finish(child);
    }
    pid_t child = -1;
    handle(0);
    LATER(child) {}
    say("sleep leaves %u", sleep(2));
    finish(child);
}

#define INTERRUPTED(name, expression) \
    do { handle(SA_RESTART); LATER(child) {} CHECK(name, expression); finish(child); } while (0)

CASE(never_restarted) {
    struct pollfd one = {.events = POLLIN};
    NEED(pipe(pipe_ends));
    one.fd = pipe_ends[0];
    fd_set set;
    pid_t child = -1;
    INTERRUPTED("poll", poll(&one, 1, 3000));
    INTERRUPTED("poll without end", poll(&one, 1, -1));
    INTERRUPTED("ppoll", ppoll(&one, 1, &(struct timespec){3, 0}, NULL));
    FD_ZERO(&set);
    FD_SET(pipe_ends[0], &set);
    struct timeval limit = {3, 0};
    INTERRUPTED("select", select(pipe_ends[0] + 1, &set, NULL, NULL, &limit));
    BOOL("select tells the time left", limit.tv_sec == 2);
    BOOL("select keeps the sets", FD_ISSET(pipe_ends[0], &set));
    INTERRUPTED("pselect", pselect(pipe_ends[0] + 1, &set, NULL, NULL, &(struct timespec){3, 0}, NULL));
    INTERRUPTED("pause", pause());
    sigset_t none;
    sigemptyset(&none);
    INTERRUPTED("sigsuspend", sigsuspend(&none));
    sigaddset(&none, SIGUSR2);
    INTERRUPTED("sigtimedwait", sigtimedwait(&none, NULL, &(struct timespec){3, 0}));
}

CASE(epoll) {
    struct epoll_event event;
    pid_t child = -1;
    int queue = NEED(epoll_create1(0));
    INTERRUPTED("epoll_wait", epoll_wait(queue, &event, 1, 3000));
    INTERRUPTED("epoll_pwait", epoll_pwait(queue, &event, 1, -1, NULL));
}

CASE(atomic_mask) {
    /* The mask of ppoll and pselect holds during the call alone, and a signal that was pending ends it at once. */
    sigset_t usr1, old, none;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    handle(0);
    sigprocmask(SIG_BLOCK, &usr1, &old);
    raise(SIGUSR1);
    say("handler ran %d", calls);
    CHECK("ppoll", ppoll(NULL, 0, &(struct timespec){3, 0}, &none));
    say("handler ran %d", calls);
    raise(SIGUSR1);
    CHECK("pselect", pselect(0, NULL, NULL, NULL, &(struct timespec){3, 0}, &none));
    say("handler ran %d", calls);
    raise(SIGUSR1);
    CHECK("ready beats the signal", (NEED(pipe(pipe_ends)), NEED(write(pipe_ends[1], "x", 1)),
                                     ppoll(&(struct pollfd){pipe_ends[0], POLLIN, 0}, 1, NULL, &none)));
    say("handler ran %d", calls);
    CHECK("without the mask", ppoll(NULL, 0, &(struct timespec){0, 1000}, NULL));
    sigprocmask(SIG_SETMASK, &old, NULL);
    say("handler ran %d", calls);
}

CASE(locks) {
    int fd = NEED(open("lock", O_RDWR | O_CREAT, 0644));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    for (int restart = 0; restart < 2; restart++) {
        pid_t holder, child = -1;
        int gate[2], ready[2];
        NEED(pipe(gate));
        NEED(pipe(ready));
        START_CHILD(holder) {
            int own = NEED(open("lock", O_RDWR));
            close(gate[1]);
            NEED(flock(own, LOCK_EX));
            NEED(fcntl(own, F_SETLK, &lock));
            NEED(write(ready[1], "x", 1));
            NEED(read(gate[0], &byte, 1));
        }
        close(gate[0]);
        NEED(read(ready[0], &byte, 1));
        handle(restart ? SA_RESTART : 0);
        LATER(child) if (restart) NEED(write(gate[1], "x", 1));
        CHECK(restart ? "flock with SA_RESTART" : "flock", flock(fd, LOCK_EX));
        finish(child);
        if (!restart) {
            handle(0);
            LATER(child) NEED(write(gate[1], "x", 1));
            CHECK("F_SETLKW", fcntl(fd, F_SETLKW, &lock));
            finish(child);
        }
        while (waitpid(holder, NULL, 0) == -1 && errno == EINTR) {}
        flock(fd, LOCK_UN);
        close(gate[1]);
    }
}

CASE(sockets) {
    int ends[2];
    WITH_AND_WITHOUT("recv", NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends)), recv(ends[0], &byte, 1, 0), write(ends[1], "x", 1))
    struct timeval limit = {3, 0};
    pid_t child = -1;
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    NEED(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    handle(SA_RESTART);
    LATER(child) {}
    CHECK("recv with a timeout", recv(ends[0], &byte, 1, 0));
    finish(child);
}

CASE(open_fifo) {
    NEED(mkfifo("fifo", 0644));
    WITH_AND_WITHOUT("open", (void)0, open("fifo", O_RDONLY) >= 0 ? 0 : -1, open("fifo", O_WRONLY | O_NONBLOCK))
}

CASE(ignored_signals_do_not_interrupt) {
    pid_t self = getpid(), child;
    NEED(pipe(pipe_ends));
    signal(SIGUSR1, SIG_IGN);
    START_CHILD(child) {
        sleep_ms(20);
        kill(self, SIGUSR1);
        kill(self, SIGWINCH);
        kill(self, SIGCONT);
        kill(self, SIGURG);
        sleep_ms(50);
        NEED(write(pipe_ends[1], "x", 1));
    }
    CHECK("read", read(pipe_ends[0], &byte, 1));
    reap("child", child);
    struct pollfd one = {pipe_ends[0], POLLIN, 0};
    START_CHILD(child) {
        sleep_ms(20);
        kill(self, SIGWINCH);
        kill(self, SIGCHLD);
    }
    CHECK("poll", poll(&one, 1, 150));
    reap("child", child);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    handle(0);
    sigprocmask(SIG_BLOCK, &set, &old);
    START_CHILD(child) {
        sleep_ms(20);
        kill(self, SIGUSR1);
    }
    CHECK("blocked signal, poll", poll(&one, 1, 100));
    reap("child", child);
    say("handler ran %d", calls);
    sigprocmask(SIG_SETMASK, &old, NULL);
    say("handler ran %d", calls);
    signal(SIGUSR1, SIG_DFL);
}

CASE(stop_and_continue_do_not_interrupt) {
    pid_t child;
    START_CHILD(child) {
        int64_t start = now_ns(CLOCK_MONOTONIC);
        int result = nanosleep(&(struct timespec){0, 250000000}, NULL);
        bool whole = now_ns(CLOCK_MONOTONIC) - start >= 250000000;
        start = now_ns(CLOCK_MONOTONIC);
        int polled = poll(NULL, 0, 250);
        bool whole_poll = now_ns(CLOCK_MONOTONIC) - start >= 249000000;
        say("nanosleep %d %s, poll %d %s", result, whole ? "whole" : "short", polled, whole_poll ? "whole" : "short");
    }
    for (int i = 0; i < 2; i++) {
        int status;
        sleep_ms(100);
        NEED(kill(child, SIGSTOP));
        NEED(waitpid(child, &status, WUNTRACED));
        sleep_ms(50);
        NEED(kill(child, SIGCONT));
        sleep_ms(100);
    }
    reap("child", child);
}

CASE(handler_result_of_call) {
    /* A handler that runs between two calls does not disturb the result of either. */
    handle(0);
    struct { struct timeval interval, value; } often = {{0, 2000}, {0, 2000}};
    struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
    NEED(sigaction(SIGALRM, &action, NULL));
    NEED(pipe(pipe_ends));
    NEED(syscall(SYS_setitimer, 0, &often, NULL));
    long bad = 0, parent = getppid();
    int64_t end = now_ns(CLOCK_MONOTONIC) + 500000000;
    while (now_ns(CLOCK_MONOTONIC) < end) {
        bad += syscall(SYS_getppid) != parent;
        bad += write(pipe_ends[1], "abc", 3) != 3;
        bad += read(pipe_ends[0], large, 3) != 3 || large[2] != 'c';
    }
    often.interval.tv_usec = often.value.tv_usec = 0;
    NEED(syscall(SYS_setitimer, 0, &often, NULL));
    say("wrong results %ld", bad);
    BOOL("handler ran", calls > 2);
    signal(SIGALRM, SIG_DFL);
}
