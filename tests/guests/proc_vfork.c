/* vfork(2): what is the child's own although it shares its parent's memory, and how it ends or executes a program. */
#include <sys/ioctl.h>
#include <sys/time.h>

#include "guest.h"

static char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
static volatile sig_atomic_t handled, handled_by;
static volatile int shared;

static void note(int number) {
    handled = number;
    handled_by = syscall(SYS_getpid);
}

static void handle(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};
    NEED(sigaction(number, &action, NULL));
}

static void say_action(const char *name, int number) {
    struct sigaction action;
    NEED(sigaction(number, NULL, &action));
    say("%s: %s", name, action.sa_handler == SIG_DFL ? "default" : action.sa_handler == SIG_IGN ? "ignored" : "handler");
}

static void say_mask(const char *name, const sigset_t *set) {
    say("%s: USR1 %d USR2 %d TERM %d", name, sigismember(set, SIGUSR1), sigismember(set, SIGUSR2), sigismember(set, SIGTERM));
}

CASE(actions_and_mask) {
    sigset_t set;
    handle(SIGUSR1, note);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_SETMASK, &set, NULL);
    pid_t child = vfork();
    if (child == 0) {
        handle(SIGUSR1, SIG_IGN);
        handle(SIGUSR2, note);
        sigaddset(&set, SIGTERM);
        sigprocmask(SIG_SETMASK, &set, NULL);
        say_action("child's", SIGUSR1);
        _exit(5);
    }
    say_action("USR1", SIGUSR1);
    say_action("USR2", SIGUSR2);
    sigprocmask(SIG_SETMASK, NULL, &set);
    say_mask("mask", &set);
    reap("child", child);
}

CASE(pending_signals) {
    sigset_t set, waiting;
    handle(SIGUSR1, note);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_SETMASK, &set, NULL);
    raise(SIGUSR1);
    kill(getpid(), SIGUSR2);
    pid_t child = vfork();
    if (child == 0) {
        handle(SIGUSR1, SIG_IGN);
        handle(SIGUSR2, SIG_IGN);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        sigpending(&waiting);
        say_mask("child's", &waiting);
        _exit(6);
    }
    sigpending(&waiting);
    say_mask("pending", &waiting);
    handle(SIGUSR2, SIG_IGN);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    say("handled %s", signal_name(handled));
    reap("child", child);
}

CASE_WITH_PROGRAMS(program_inherits) {
    char *command[] = {"sh", "-c", "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status", NULL};
    sigset_t set;
    handle(SIGUSR1, note);
    handle(SIGHUP, note);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pid_t child = vfork();
    if (child == 0) {
        handle(SIGTERM, SIG_IGN);
        handle(SIGUSR1, SIG_DFL);
        sigprocmask(SIG_SETMASK, &set, NULL);
        execve("/bin/sh", command, environment);
        _exit(127);
    }
    reap("child", child);
    say_action("TERM", SIGTERM);
    say_action("USR1", SIGUSR1);
    child = fork();
    if (child == 0) {
        execve("/bin/sh", command, environment);
        _exit(127);
    }
    reap("child of fork", child);
}

CASE_WITH_PROGRAMS(search) {
    char *command[] = {"true", NULL};
    shared = 0;
    pid_t child = vfork();
    if (child == 0) {
        for (int i = 0; i < 20; i++) shared += execve("/nonexistent/true", command, environment);
        execve("/tmp", command, environment);
        say("after %d: %s", shared, strerrorname_np(errno));
        execve("/bin/true", command, environment);
        _exit(127);
    }
    reap("child", child);
    CHECK("no other", waitpid(-1, NULL, 0));
}

CASE(fault) {
    handle(SIGSEGV, SIG_DFL);
    pid_t child = vfork();
    if (child == 0) {
        shared = 1;
        *(volatile int *)BAD_POINTER = 1;
        _exit(1);
    }
    reap("killed", child);
    say("shared %d", shared);
}

static void leave(int number) {
    _exit(number == SIGSEGV ? 40 : 41);
}

CASE(fault_with_handler) {
    handle(SIGSEGV, leave);
    pid_t child = vfork();
    if (child == 0) {
        *(volatile int *)BAD_POINTER = 1;
        _exit(1);
    }
    reap("child's handler", child);
    child = vfork();
    if (child == 0) {
        handle(SIGSEGV, SIG_DFL);
        *(volatile int *)BAD_POINTER = 1;
        _exit(1);
    }
    reap("without", child);
    say_action("parent's", SIGSEGV);
}

CASE(x86_exceptions) {
#ifdef __x86_64__
    pid_t child = vfork();
    if (child == 0) {
        __asm__ volatile("int3");
        _exit(1);
    }
    reap("int3", child);
    child = vfork();
    if (child == 0) {
        __asm__ volatile("ud2");
        _exit(1);
    }
    reap("ud2", child);
    handle(SIGTRAP, note);
    child = vfork();
    if (child == 0) {
        __asm__ volatile("int3");
        _exit(handled == SIGTRAP ? 12 : 13);
    }
    reap("int3 with a handler", child);
#endif
}

CASE(stack_grows) {
    pid_t child = vfork();
    if (child == 0) {
        volatile char large[400 << 10];
        for (size_t i = 0; i < sizeof large; i += PAGE) large[i] = 1;
        _exit(large[0]);
    }
    reap("child", child);
}

CASE(signal_to_the_parent_meanwhile) {
    struct itimerval soon = {.it_value = {0, 20000}};
    handle(SIGALRM, note);
    NEED(setitimer(ITIMER_REAL, &soon, NULL));
    pid_t child = vfork();
    if (child == 0) {
        int64_t end = now_ns(CLOCK_MONOTONIC) + 100000000;
        while (now_ns(CLOCK_MONOTONIC) < end) {}
        shared = handled;
        _exit(3);
    }
    say("while the child ran: %d; later by the parent: %d", shared, handled_by == getpid());
    reap("child", child);
}

CASE(x86_floating_point) {
#ifdef __x86_64__
    unsigned up = 0x5f80, mode = 0;
    pid_t child = vfork();
    if (child == 0) {
        __asm__ volatile("ldmxcsr %0" : : "m"(up));
        _exit(0);
    }
    __asm__ volatile("stmxcsr %0" : "=m"(mode));
    say("rounding mode %d", mode >> 13 & 3);
    reap("child", child);
#endif
}

CASE(alternate_stack) {
    static char other[1 << 16];
    stack_t mine = {.ss_sp = other, .ss_size = sizeof other}, off = {.ss_flags = SS_DISABLE}, now;
    NEED(sigaltstack(&mine, NULL));
    pid_t child = vfork();
    if (child == 0) {
        sigaltstack(NULL, &now);
        say("child's %d", now.ss_sp == other);
        sigaltstack(&off, NULL);
        _exit(0);
    }
    sigaltstack(NULL, &now);
    say("parent's %d", now.ss_sp == other);
    reap("child", child);
}

CASE_WITH_PROGRAMS(child_of_a_child) {
    char *command[] = {"sh", "-c", "exit 21", NULL};
    volatile int status = 0;
    pid_t child = vfork();
    if (child == 0) {
        handle(SIGUSR1, SIG_IGN);
        pid_t inner = vfork();
        if (inner == 0) {
            handle(SIGUSR1, SIG_DFL);
            execve("/bin/sh", command, environment);
            _exit(127);
        }
        waitpid(inner, (int *)&status, 0);
        say_action("child's", SIGUSR1);
        _exit(WEXITSTATUS(status) + 1);
    }
    say_status("through memory", status);
    say_action("parent's", SIGUSR1);
    reap("child", child);
}

CASE_WITH_PROGRAMS(many) {
    char *command[] = {"true", NULL};
    int good = 0, status;
    for (int i = 0; i < 12; i++) {
        pid_t child = vfork();
        if (child == 0) {
            if (i % 3 == 0) handle(SIGUSR1, SIG_IGN);
            if (i % 3 == 1) execve("/nonexistent", command, environment);
            if (i % 4 == 3) _exit(0);
            execve("/bin/true", command, environment);
            _exit(127);
        }
        good += waitpid(child, &status, 0) == child && status == 0;
    }
    say("%d", good);
    say_action("USR1", SIGUSR1);
}

CASE(end_of_a_pipe) {
    int ends[2];
    char byte;
    NEED(pipe2(ends, O_CLOEXEC));
    pid_t child = vfork();
    if (child == 0) {
        close(ends[0]);
        if (write(ends[1], "x", 1) != 1) _exit(1);
        _exit(0);
    }
    close(ends[1]);
    CHECK("byte", read(ends[0], &byte, 1));
    CHECK("end", read(ends[0], &byte, 1));
    reap("child", child);
}

static void say_descriptors(const char *name) {
    char line[64] = "";
    for (int fd = 0; fd < 12; fd++) strcat(line, fcntl(fd, F_GETFD) < 0 ? "-" : fcntl(fd, F_GETFD) & FD_CLOEXEC ? "c" : "+");
    say("%s: %s", name, line);
}

CASE_WITH_PROGRAMS(descriptors) {
    char *missing[] = {"missing", NULL};
    char *command[] = {"sh", "-c", "for i in 0 1 2 3 4 5 6 7 8 9; do test -e /proc/self/fd/$i && echo $i; done; echo x >&9", NULL};
    char text[100] = "";
    int file = NEED(open("file", O_RDWR | O_CREAT, 0644)), kept = NEED(dup3(file, 7, O_CLOEXEC));
    pid_t child = vfork();
    if (child == 0) {
        close(0);
        CHECK("again", close(0));
        CHECK("dup2", dup2(kept, 9));
        CHECK("dup2 of a closed one", dup2(0, 5));
        CHECK("dup", dup(kept));
        CHECK("dup3", dup3(kept, 8, O_CLOEXEC));
        CHECK("close_range", syscall(SYS_close_range, 4, 6, 0));
        execve("/nonexistent", missing, environment);
        say_descriptors("child's");
        _exit(0);
    }
    say_descriptors("parent's");
    reap("child", child);
    child = vfork();
    if (child == 0) {
        close(file);
        dup2(kept, 9);
        dup2(kept, 8);
        syscall(SYS_close_range, 8, 8, 4);
        execve("/bin/sh", command, environment);
        _exit(127);
    }
    reap("program", child);
    CHECK("written", pread(kept, text, sizeof text - 1, 0));
    say_descriptors("parent's");
}

CASE_WITH_PROGRAMS(end_of_a_pipe_of_a_program) {
    char *command[] = {"sh", "-c", "echo out", NULL};
    char text[16];
    int ends[2];
    NEED(pipe(ends));
    pid_t child = vfork();
    if (child == 0) {
        close(ends[0]);
        dup2(ends[1], 1);
        close(ends[1]);
        execve("/bin/sh", command, environment);
        _exit(127);
    }
    close(ends[1]);
    CHECK("read", read(ends[0], text, sizeof text));
    CHECK("end", read(ends[0], text, sizeof text));
    CHECK("closed", close(ends[0]));
    reap("program", child);
}

CASE_WITH_PROGRAMS(descriptors_seen_by_others) {
    char *command[] = {"cat", NULL}, name[64];
    struct stat info;
    int ends[2];
    NEED(pipe2(ends, O_CLOEXEC));
    pid_t child = vfork();
    if (child == 0) {
        dup2(ends[0], 0);
        dup2(ends[0], 20);
        dup2(ends[0], 22);
        close(22);
        execve("/bin/cat", command, environment);
        _exit(127);
    }
    for (int fd = 18; fd < 24; fd++) {
        snprintf(name, sizeof name, "/proc/%d/fd/%d", child, fd);
        if (lstat(name, &info) == 0) say("child has %d", fd);
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        if (lstat(name, &info) == 0) say("parent has %d", fd);
    }
    close(ends[1]);
    reap("cat", child);
}

CASE(interrupt_from_the_terminal) {
    int ends[2], master = NEED(posix_openpt(O_RDWR | O_NOCTTY));
    char byte;
    NEED(pipe(ends));
    NEED(grantpt(master));
    NEED(unlockpt(master));
    pid_t child = fork();
    if (child == 0) {
        NEED(setsid());
        int terminal = NEED(open(ptsname(master), O_RDWR));
        NEED(ioctl(terminal, TIOCSCTTY, 0));
        handle(SIGINT, note);
        if (write(ends[1], "r", 1) != 1) _exit(1);
        pid_t inner = vfork();
        if (inner == 0) {
            handle(SIGINT, SIG_DFL);
            int64_t end = now_ns(CLOCK_MONOTONIC) + 3000000000;
            while (now_ns(CLOCK_MONOTONIC) < end) {}
            _exit(0);
        }
        reap("child of vfork", inner);
        say("parent handled %s", signal_name(handled));
        _exit(0);
    }
    NEED(read(ends[0], &byte, 1));
    sleep_ms(100);
    if (write(master, "\003", 1) != 1) _exit(1);
    reap("session", child);
}
