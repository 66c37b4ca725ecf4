/* wait4(2), waitid(2), exit statuses, process groups and sessions. */
#include <sys/resource.h>

#include "guest.h"

CASE(exit_codes) {
    static const int codes[] = {0, 1, 2, 42, 127, 128, 200, 255, 256, 257, -1, INT_MIN};
    for (size_t i = 0; i < LENGTH(codes); i++) {
        char name[32];
        snprintf(name, sizeof name, "exit(%d)", codes[i]);
        IN_CHILD(name) syscall(SYS_exit_group, codes[i]);
    }
    IN_CHILD("exit, not exit_group") syscall(SYS_exit, 13);
}

CASE(all_exit_codes) {
    int status;
    long good = 0;
    for (int code = 0; code < 256; code += 5) {
        pid_t child = NEED(fork());
        if (child == 0) _exit(code);
        NEED(waitpid(child, &status, 0));
        good += WIFEXITED(status) && WEXITSTATUS(status) == code;
    }
    say("%ld", good);
}

CASE(killed_by_each_signal) {
    for (int number = 1; number <= 64; number++) {
        if (number == 32 || number == 33) continue;  /* the C library's own */
        if (number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU) continue;
        IN_CHILD(signal_name(number)) {
            signal(number, SIG_DFL);
            NEED(kill(getpid(), number));
        }
    }
}

CASE(killed_by_the_parent) {
    static const int numbers[] = {SIGKILL, SIGTERM, SIGUSR1, SIGQUIT, 34, 64};
    for (size_t i = 0; i < LENGTH(numbers); i++) {
        pid_t child;
        START_CHILD(child) sleep_ms(30000);
        CHECK("exists", kill(child, 0));
        CHECK("kill", kill(child, numbers[i]));
        reap(signal_name(numbers[i]), child);
        CHECK("gone", kill(child, 0));
    }
    pid_t child;
    START_CHILD(child) for (volatile long i = 0;; i++) {}
    sleep_ms(20);
    CHECK("kill a busy one", kill(child, SIGKILL));
    reap("busy", child);
    START_CHILD(child) for (volatile long i = 0;; i++) {}
    sleep_ms(20);
    CHECK("terminate a busy one", kill(child, SIGTERM));
    reap("busy", child);
}

CASE(nohang) {
    int gate[2], status = 0x5555;
    char byte;
    NEED(pipe(gate));
    CHECK("no child", waitpid(-1, &status, WNOHANG));
    pid_t child;
    START_CHILD(child) {
        NEED(read(gate[0], &byte, 1));
        _exit(8);
    }
    CHECK("running", waitpid(child, &status, WNOHANG));
    say("status untouched %#x", status);
    NEED(write(gate[1], "x", 1));
    pid_t got;
    while ((got = waitpid(child, &status, WNOHANG)) == 0) sleep_ms(1);
    BOOL("pid", got == child);
    say_status("child", status);
    CHECK("again", waitpid(child, &status, WNOHANG));
}

CASE(errors) {
    int status;
    pid_t child;
    siginfo_t info;
    CHECK("no children", wait(&status));
    CHECK("not a child", waitpid(1, &status, 0));
    CHECK("own pid", waitpid(getpid(), &status, 0));
    CHECK("unknown option", waitpid(-1, &status, 0x40));
    CHECK("INT_MIN", waitpid(INT_MIN, &status, 0));
    CHECK("waitid without what", waitid(P_ALL, 0, &info, 0));
    CHECK("waitid without what, WNOHANG", waitid(P_ALL, 0, &info, WNOHANG));
    CHECK("waitid no children", waitid(P_ALL, 0, &info, WEXITED));
    CHECK("waitid bad type", waitid(99, 0, &info, WEXITED));
    CHECK("waitid pid 0", waitid(P_PID, 0, &info, WEXITED));
    CHECK("waitid pid -1", waitid(P_PID, -1, &info, WEXITED));
    CHECK("waitid bad pidfd", waitid(3, 999, &info, WEXITED));
    CHECK("waitid fd that is no pidfd", waitid(3, 1, &info, WEXITED));
    CHECK("waitid unknown option", waitid(P_ALL, 0, &info, WEXITED | 0x40));
    START_CHILD(child) {}
    CHECK("bad status pointer", syscall(SYS_wait4, child, BAD_POINTER, 0, NULL));
    CHECK("it is reaped", waitpid(child, &status, 0));
    START_CHILD(child) {}
    CHECK("bad rusage pointer", syscall(SYS_wait4, child, NULL, 0, BAD_POINTER));
    CHECK("it is reaped", waitpid(child, &status, 0));
    START_CHILD(child) {}
    CHECK("waitid bad info", syscall(SYS_waitid, P_PID, child, BAD_POINTER, WEXITED, NULL));
    CHECK("it is reaped", waitpid(child, &status, 0));
    START_CHILD(child) {}
    CHECK_OK("no pointers", syscall(SYS_wait4, child, NULL, 0, NULL));
}

CASE(stop_and_continue) {
    int status, gate[2];
    char byte;
    pid_t child;
    NEED(pipe(gate));
    START_CHILD(child) {
        raise(SIGSTOP);
        NEED(read(gate[0], &byte, 1));
        _exit(4);
    }
    BOOL("stopped", waitpid(child, &status, WUNTRACED) == child);
    say_status("child", status);
    CHECK("no second report", waitpid(child, &status, WUNTRACED | WNOHANG));
    CHECK("continue", kill(child, SIGCONT));
    BOOL("continued", waitpid(child, &status, WCONTINUED) == child);
    say_status("child", status);
    NEED(write(gate[1], "x", 1));
    reap("child", child);
}

CASE(stop_signals) {
    static const int numbers[] = {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
    int status;
    for (size_t i = 0; i < LENGTH(numbers); i++) {
        pid_t child;
        START_CHILD(child) {
            /* In an orphaned process group only SIGSTOP stops: a parent in the same session prevents that. */
            setpgid(0, 0);
            kill(getpid(), numbers[i]);
            _exit(6);
        }
        NEED(waitpid(child, &status, WUNTRACED));
        say_status(signal_name(numbers[i]), status);
        CHECK("kill", kill(child, i % 2 ? SIGKILL : SIGCONT));
        reap("then", child);
    }
}

CASE(stop_while_blocked_in_a_call) {
    int ends[2], status;
    char byte;
    pid_t child;
    NEED(pipe(ends));
    START_CHILD(child) {
        NEED(read(ends[0], &byte, 1));
        _exit(byte);
    }
    sleep_ms(20);
    NEED(kill(child, SIGSTOP));
    NEED(waitpid(child, &status, WUNTRACED));
    say_status("child", status);
    NEED(write(ends[1], "A", 1));
    sleep_ms(20);
    CHECK("does not run", waitpid(child, &status, WNOHANG));
    NEED(kill(child, SIGCONT));
    reap("child", child);
}

static const char *child_code(int code) {
    static const char *const names[] = {"?", "CLD_EXITED", "CLD_KILLED", "CLD_DUMPED", "CLD_TRAPPED", "CLD_STOPPED", "CLD_CONTINUED"};
    return code >= 1 && code <= 6 ? names[code == CLD_DUMPED ? CLD_KILLED : code] : names[0];
}

static void say_info(const char *name, siginfo_t *info, pid_t child) {
    say("%s: signo %d errno %d %s status %d pid %s uid %s", name, info->si_signo, info->si_errno,
        child_code(info->si_code), info->si_status, info->si_pid == child ? "right" : "wrong",
        info->si_uid == getuid() ? "right" : "wrong");
}

CASE(waitid) {
    siginfo_t info;
    pid_t child;
    START_CHILD(child) {
        raise(SIGSTOP);
        raise(SIGTERM);
    }
    NEED(waitid(P_PID, child, &info, WSTOPPED));
    say_info("stopped", &info, child);
    NEED(kill(child, SIGCONT));
    NEED(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    say_info("killed, left there", &info, child);
    NEED(waitid(P_ALL, 0, &info, WEXITED));
    say_info("killed", &info, child);
    START_CHILD(child) _exit(77);
    NEED(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    say_info("exited, left there", &info, child);
    NEED(waitid(P_PID, child, &info, WEXITED | WSTOPPED | WCONTINUED));
    say_info("exited", &info, child);
    START_CHILD(child) {
        raise(SIGSTOP);
    }
    NEED(waitid(P_PID, child, &info, WSTOPPED | WNOWAIT));
    NEED(kill(child, SIGCONT));
    memset(&info, 1, sizeof info);
    int gate[2];
    NEED(pipe(gate));
    reap("child", child);
    START_CHILD(child) read(gate[0], &info, 1);
    memset(&info, 1, sizeof info);
    CHECK("WNOHANG, running", waitid(P_PID, child, &info, WEXITED | WNOHANG));
    say("pid %d signo %d", info.si_pid, info.si_signo);
    NEED(write(gate[1], "x", 1));
    reap("child", child);
}

CASE(wait_for_group) {
    pid_t first, second;
    int status;
    siginfo_t info;
    START_CHILD(first) {
        setpgid(0, 0);
        sleep_ms(20);
        _exit(1);
    }
    NEED(setpgid(first, first));
    START_CHILD(second) _exit(2);
    BOOL("by group", waitpid(-first, &status, 0) == first);
    say_status("first", status);
    CHECK("none left in the group", waitpid(-first, &status, 0));
    BOOL("own group", waitpid(0, &status, 0) == second);
    say_status("second", status);
    START_CHILD(first) {
        setpgid(0, 0);
        _exit(3);
    }
    setpgid(first, first);
    CHECK("P_PGID", waitid(P_PGID, first, &info, WEXITED));
    say_info("first", &info, first);
    CHECK("P_PGID of none", waitid(P_PGID, first, &info, WEXITED));
}

CASE(zombie) {
    pid_t child;
    siginfo_t info;
    START_CHILD(child) _exit(0);
    NEED(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    CHECK("kill 0", kill(child, 0));
    CHECK("kill TERM", kill(child, SIGTERM));
    BOOL("getpgid", getpgid(child) == getpgrp());
    reap("still exited", child);
    CHECK("kill 0", kill(child, 0));
}

CASE(ignored_children) {
    int status;
    signal(SIGCHLD, SIG_IGN);
    pid_t child;
    START_CHILD(child) _exit(1);
    CHECK("ignored SIGCHLD", waitpid(child, &status, 0));
    signal(SIGCHLD, SIG_DFL);
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    NEED(sigaction(SIGCHLD, &action, NULL));
    START_CHILD(child) _exit(1);
    CHECK("SA_NOCLDWAIT", waitpid(child, &status, 0));
    signal(SIGCHLD, SIG_DFL);
}

CASE(usage_of_child) {
    struct rusage usage;
    int status;
    pid_t child;
    START_CHILD(child) {
        for (int64_t end = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 60000000; now_ns(CLOCK_PROCESS_CPUTIME_ID) < end;) {}
    }
    NEED(wait4(child, &status, 0, &usage));
    long ms = usage.ru_utime.tv_sec * 1000 + usage.ru_utime.tv_usec / 1000 + usage.ru_stime.tv_sec * 1000 +
              usage.ru_stime.tv_usec / 1000;
    BOOL("some time was used", ms >= 40 && ms < 20000);
    BOOL("some memory was used", usage.ru_maxrss > 100);
    NEED(getrusage(RUSAGE_CHILDREN, &usage));
    BOOL("in RUSAGE_CHILDREN too", usage.ru_utime.tv_sec * 1000 + usage.ru_utime.tv_usec / 1000 +
                                           usage.ru_stime.tv_sec * 1000 + usage.ru_stime.tv_usec / 1000 >= ms);
}

CASE(process_groups) {
    pid_t child, self = getpid();
    int gate[2];
    char byte;
    NEED(pipe(gate));
    START_CHILD(child) {
        close(gate[1]);
        NEED(read(gate[0], &byte, 1) + 1);
    }
    BOOL("inherited", getpgid(child) == getpgrp());
    CHECK("setpgid", setpgid(child, 0));
    BOOL("own group", getpgid(child) == child);
    CHECK("again", setpgid(child, child));
    CHECK("back", setpgid(child, getpgrp()));
    CHECK("negative", setpgid(child, -1));
    CHECK("negative pid", setpgid(-5, 0));
    CHECK("group that is not there", setpgid(child, 1));
    CHECK("process that is not there", setpgid(0x3ffffff, 0));
    IN_CHILD("grandchild") CHECK("not a child", setpgid(getppid(), 0));
    CHECK("getpgid of none", getpgid(0x3ffffff));
    CHECK("getpgid negative", getpgid(-1));
    BOOL("getpgid 0", getpgid(0) == getpgrp());
    CHECK("getsid of none", getsid(0x3ffffff));
    BOOL("getsid of the child", getsid(child) == getsid(0));
    close(gate[1]);
    close(gate[0]);
    reap("child", child);
    CHECK("dead child", setpgid(child, 0));
    BOOL("unchanged", getpid() == self);
}

CASE_WITH_PROGRAMS(setpgid_after_exec) {
    int out[2], in[2];
    char byte;
    pid_t child;
    NEED(pipe(out));
    NEED(pipe(in));
    START_CHILD(child) {
        dup2(in[0], 0);
        dup2(out[1], 3);
        close(in[1]);
        execl("/bin/sh", "sh", "-c", "echo >&3; read x", NULL);
        _exit(127);
    }
    NEED(read(out[0], &byte, 1));
    CHECK("after exec", setpgid(child, 0));
    NEED(write(in[1], "\n", 1));
    reap("child", child);
}

CASE(sessions) {
    IN_CHILD("child") {
        CHECK_OK("setsid", setsid());
        BOOL("session", getsid(0) == getpid());
        BOOL("group", getpgrp() == getpid());
        CHECK("setsid of a leader", setsid());
        CHECK("setpgid of a session leader", setpgid(0, 0));
        CHECK("no terminal", open("/dev/tty", O_RDWR));
        IN_CHILD("grandchild") {
            BOOL("session kept", getsid(0) == getppid());
            CHECK("setpgid", setpgid(0, 0));
            CHECK("setsid of a group leader", setsid());
        }
    }
    pid_t child;
    int gate[2];
    char byte;
    NEED(pipe(gate));
    START_CHILD(child) {
        setsid();
        NEED(write(gate[1], "x", 1));
        sleep_ms(30000);
    }
    NEED(read(gate[0], &byte, 1));
    CHECK("setpgid of a child in another session", setpgid(child, getpgrp()));
    BOOL("its session", getsid(child) == child);
    kill(child, SIGKILL);
    reap("child", child);
}

CASE(kill_group) {
    pid_t first, second;
    START_CHILD(first) {
        setpgid(0, 0);
        sleep_ms(30000);
    }
    setpgid(first, first);
    START_CHILD(second) {
        setpgid(0, first);
        sleep_ms(30000);
    }
    setpgid(second, first);
    CHECK("signal 0", kill(-first, 0));
    CHECK("kill", kill(-first, SIGTERM));
    reap("first", first);
    reap("second", second);
    CHECK("gone", kill(-first, SIGTERM));
    CHECK("killpg of none", killpg(0x3ffffff, 0));
    CHECK("bad signal", kill(getpid(), 65));
    CHECK("negative signal", kill(getpid(), -1));
    CHECK("no such process", kill(0x3ffffff, 0));
    IN_CHILD("own group") {
        setpgid(0, 0);
        if (fork() == 0) {
            sleep_ms(30000);
            _exit(0);
        }
        kill(0, SIGUSR1);
        _exit(1);
    }
}
