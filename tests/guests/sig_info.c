/* siginfo of every source, real-time queueing, sigtimedwait(2) and sigqueue(3). */
#include <sys/resource.h>

#include "guest.h"

static const char *code_name(int code) {
    static char text[24];
    switch (code) {
    case SI_USER: return "SI_USER";
    case SI_QUEUE: return "SI_QUEUE";
    case SI_TIMER: return "SI_TIMER";
    case SI_TKILL: return "SI_TKILL";
    case SI_KERNEL: return "SI_KERNEL";
    }
    snprintf(text, sizeof text, "code %d", code);
    return text;
}

static void tell(int number UNUSED, siginfo_t *info, void *context) {
    say("%s errno %d %s pid %s uid %s value %d, context %s", signal_name(info->si_signo), info->si_errno,
        code_name(info->si_code), info->si_pid == getpid() ? "self" : info->si_pid == 0 ? "0" : "other",
        info->si_uid == getuid() ? "own" : "other", info->si_value.sival_int, context ? "given" : "missing");
}

static void catch(int number, int flags) {
    struct sigaction action = {.sa_sigaction = tell, .sa_flags = SA_SIGINFO | flags};
    NEED(sigaction(number, &action, NULL));
}

static sigset_t set_of(int first, int second) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, first);
    if (second) sigaddset(&set, second);
    return set;
}

CASE(senders) {
    catch(SIGUSR1, 0);
    catch(40, 0);
    kill(getpid(), SIGUSR1);
    raise(SIGUSR1);
    NEED(syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1));
    NEED(syscall(SYS_tkill, getpid(), SIGUSR1));
    NEED(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42}));
    NEED(sigqueue(getpid(), 40, (union sigval){.sival_int = -1}));
    kill(getpid(), 40);
    CHECK("tgkill, other group", syscall(SYS_tgkill, 1, getpid(), SIGUSR1));
    CHECK("tgkill 0", syscall(SYS_tgkill, getpid(), 0, SIGUSR1));
    CHECK("tgkill -1", syscall(SYS_tgkill, -1, getpid(), SIGUSR1));
    CHECK("tkill 0", syscall(SYS_tkill, 0, SIGUSR1));
    CHECK("tgkill 65", syscall(SYS_tgkill, getpid(), getpid(), 65));
    CHECK("tgkill signal 0", syscall(SYS_tgkill, getpid(), getpid(), 0));
    CHECK("sigqueue nobody", sigqueue(0x3ffffff, SIGUSR1, (union sigval){0}));
    CHECK("sigqueue 65", sigqueue(getpid(), 65, (union sigval){0}));
    CHECK("sigqueue 0", sigqueue(getpid(), 0, (union sigval){0}));
    signal(SIGUSR1, SIG_DFL);
    signal(40, SIG_DFL);
}

static void note_number(int signo) { say("%s", signal_name(signo)); }

CASE(numbers_from_other_processes) {
    pid_t self = getpid();
    sigset_t set = set_of(SIGUSR1, 41), old;
    signal(SIGUSR1, note_number);
    signal(41, note_number);
    sigprocmask(SIG_BLOCK, &set, &old);
    IN_CHILD("sender") {
        for (int i = 0; i < 3; i++) NEED(kill(self, 41));
        for (int i = 0; i < 2; i++) NEED(kill(self, SIGUSR1));
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGUSR1, SIG_DFL);
    signal(41, SIG_DFL);
}

CASE(from_other_processes) {
    pid_t self = getpid();
    sigset_t set = set_of(SIGUSR1, 41), old;
    catch(SIGUSR1, 0);
    catch(41, 0);
    sigprocmask(SIG_BLOCK, &set, &old);
    IN_CHILD("sender") {
        NEED(sigqueue(self, 41, (union sigval){.sival_int = 1}));
        NEED(sigqueue(self, 41, (union sigval){.sival_int = 2}));
        NEED(kill(self, SIGUSR1));
        NEED(sigqueue(self, 41, (union sigval){.sival_int = 3}));
        NEED(sigqueue(self, SIGUSR1, (union sigval){.sival_int = 9}));
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    siginfo_t info;
    sigprocmask(SIG_BLOCK, &set, &old);
    pid_t child;
    START_CHILD(child) {
        sleep_ms(20);
        NEED(sigqueue(self, 41, (union sigval){.sival_ptr = (void *)0x123456789abc}));
    }
    CHECK("sigwaitinfo", sigwaitinfo(&set, &info));
    BOOL("from the child", info.si_pid == child);
    say("%s value %p", code_name(info.si_code), info.si_value.sival_ptr);
    reap("child", child);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGUSR1, SIG_DFL);
    signal(41, SIG_DFL);
}

CASE(of_another_user) {
    pid_t self = getpid();
    sigset_t set = set_of(SIGUSR1, SIGCHLD), old;
    siginfo_t info;
    sigprocmask(SIG_BLOCK, &set, &old);
    IN_CHILD("sender") {
        NEED(setresuid(1234, 0, 0));
        NEED(kill(self, SIGUSR1));
    }
    for (int i = 0; i < 2; i++) {
        int signo = NEED(sigwaitinfo(&set, &info));
        say("%s from %d", signal_name(signo), info.si_uid);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
}

CASE(raw_information) {
    siginfo_t info = {0};
    catch(SIGUSR1, 0);
    info.si_code = -77;
    info.si_pid = 5;
    info.si_value.sival_int = 6;
    CHECK("to itself", syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
    CHECK("to its thread", syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGUSR1, &info));
    info.si_code = SI_USER;
    CHECK("forged SI_USER to itself", syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
    pid_t child, self = getpid();
    START_CHILD(child) {
        CHECK("forged SI_USER to another", syscall(SYS_rt_sigqueueinfo, self, SIGUSR1, &info));
        info.si_code = SI_TKILL;
        CHECK("forged SI_TKILL to another", syscall(SYS_rt_sigqueueinfo, self, SIGUSR1, &info));
    }
    reap("child", child);
    CHECK("bad pointer", syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, BAD_POINTER));
    signal(SIGUSR1, SIG_DFL);
}

static void tell_child(int number UNUSED, siginfo_t *info, void *context UNUSED) {
    static const char *const codes[] = {"?", "EXITED", "KILLED", "KILLED", "TRAPPED", "STOPPED", "CONTINUED"};
    say("SIGCHLD %s status %d, uid %s", codes[info->si_code >= 1 && info->si_code <= 6 ? info->si_code : 0],
        info->si_status, info->si_uid == getuid() ? "own" : "other");
}

CASE(children) {
    struct sigaction action = {.sa_sigaction = tell_child, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigset_t set = set_of(SIGCHLD, 0), old;
    sigprocmask(SIG_BLOCK, &set, &old);
    NEED(sigaction(SIGCHLD, &action, NULL));
    IN_CHILD("exits") _exit(9);
    sigprocmask(SIG_SETMASK, &old, NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    IN_CHILD("killed") raise(SIGTERM);
    sigprocmask(SIG_SETMASK, &old, NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pid_t child;
    int status;
    START_CHILD(child) raise(SIGSTOP);
    waitpid(child, &status, WUNTRACED);
    sigprocmask(SIG_SETMASK, &old, NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(child, SIGCONT);
    reap("continued", child);
    sigprocmask(SIG_SETMASK, &old, NULL);
    action.sa_flags |= SA_NOCLDSTOP;
    NEED(sigaction(SIGCHLD, &action, NULL));
    START_CHILD(child) raise(SIGSTOP);
    waitpid(child, &status, WUNTRACED);
    say("no signal for a stop");
    kill(child, SIGKILL);
    reap("killed", child);
    action.sa_flags = SA_SIGINFO | SA_NOCLDWAIT;
    NEED(sigaction(SIGCHLD, &action, NULL));
    START_CHILD(child) _exit(2);
    while (waitpid(child, &status, 0) == -1 && errno == EINTR) {}
    CHECK("SA_NOCLDWAIT leaves no zombie", waitpid(child, &status, 0));
    signal(SIGCHLD, SIG_DFL);
}

static volatile int child_signals;
static void collect(int number UNUSED) {
    int saved = errno;
    child_signals++;
    while (waitpid(-1, NULL, WNOHANG) > 0) {}
    errno = saved;
}

CASE(many_children) {
    signal(SIGCHLD, collect);
    for (int i = 0; i < 30; i++) if (NEED(fork()) == 0) _exit(i);
    for (int i = 0; i < 500 && waitpid(-1, NULL, WNOHANG) != -1; i++) sleep_ms(10);
    CHECK("all reaped", waitpid(-1, NULL, WNOHANG));
    BOOL("at least one signal", child_signals >= 1 && child_signals <= 30);
    signal(SIGCHLD, SIG_DFL);
}

CASE(standard_signals_coalesce) {
    sigset_t set = set_of(SIGUSR1, 0), old;
    catch(SIGUSR1, 0);
    sigprocmask(SIG_BLOCK, &set, &old);
    for (int i = 1; i < 6; i++) NEED(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = i}));
    sigprocmask(SIG_SETMASK, &old, NULL);
    say("done");
    sigprocmask(SIG_BLOCK, &set, &old);
    kill(getpid(), SIGUSR1);  /* once for the process, once for the thread */
    raise(SIGUSR1);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGUSR1, SIG_DFL);
}

CASE(real_time_signals_queue) {
    sigset_t set = set_of(45, 44), old;
    siginfo_t info;
    sigprocmask(SIG_BLOCK, &set, &old);
    for (int i = 0; i < 5; i++) {
        NEED(sigqueue(getpid(), 45, (union sigval){.sival_int = i}));
        NEED(sigqueue(getpid(), 44, (union sigval){.sival_int = 100 + i}));
    }
    for (int i = 0; i < 10; i++) {
        int number = sigwaitinfo(&set, &info);
        say("%s %d", signal_name(number), info.si_value.sival_int);
    }
    CHECK("empty", sigtimedwait(&set, &info, &(struct timespec){0, 0}));
    sigprocmask(SIG_SETMASK, &old, NULL);
}

CASE(queue_limit) {
    IN_CHILD("child") {
        struct rlimit limit = {5, 5};
        sigset_t set = set_of(45, 0);
        siginfo_t info;
        int sent = 0;
        sigprocmask(SIG_BLOCK, &set, NULL);
        if (getuid() == 0) NEED(setresuid(64124, 64124, 64124));
        NEED(setrlimit(RLIMIT_SIGPENDING, &limit));
        while (sent < 50 && sigqueue(getpid(), 45, (union sigval){.sival_int = sent}) == 0) sent++;
        say("queued %d, then %s", sent, strerrorname_np(errno));
        CHECK("kill has room always", kill(getpid(), 45));
        int got = 0;
        while (sigtimedwait(&set, &info, &(struct timespec){0, 0}) > 0) got++;
        say("received %d", got);
    }
}

static void no_words(int signo) { (void)signo; }

CASE(waiting_for_the_sender) {
    sigset_t set = set_of(SIGUSR1, SIGUSR2), old;
    siginfo_t info;
    sigprocmask(SIG_BLOCK, &set, &old);
    pid_t self = getpid(), child;
    START_CHILD(child) {
        sleep_ms(30);
        kill(self, SIGUSR1);
    }
    CHECK("wait", sigwaitinfo(&set, &info));
    BOOL("sender", info.si_pid == child);
    reap("child", child);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

CASE(sigtimedwait) {
    sigset_t set = set_of(SIGUSR1, SIGUSR2), old, none;
    siginfo_t info;
    sigprocmask(SIG_BLOCK, &set, &old);
    CHECK("poll", sigtimedwait(&set, &info, &(struct timespec){0, 0}));
    int64_t start = now_ns(CLOCK_MONOTONIC);
    CHECK("50 ms", sigtimedwait(&set, &info, &(struct timespec){0, 50000000}));
    int64_t took = now_ns(CLOCK_MONOTONIC) - start;
    BOOL("took 50 ms", took >= 50000000 && took < 2000000000);
    CHECK("bad time", sigtimedwait(&set, &info, &(struct timespec){0, 1000000000}));
    CHECK("negative time", sigtimedwait(&set, &info, &(struct timespec){-1, 0}));
    CHECK("bad size", syscall(SYS_rt_sigtimedwait, &set, &info, NULL, 4));
    CHECK("bad set", syscall(SYS_rt_sigtimedwait, BAD_POINTER, &info, NULL, 8));
    raise(SIGUSR2);
    raise(SIGUSR1);
    CHECK("lowest first", sigwaitinfo(&set, NULL));
    CHECK("bad info", syscall(SYS_rt_sigtimedwait, &set, BAD_POINTER, NULL, 8));
    CHECK("it is consumed", sigtimedwait(&set, &info, &(struct timespec){0, 0}));
    pid_t self = getpid(), child;
    START_CHILD(child) {
        sleep_ms(30);
        kill(self, SIGUSR1);
    }
    CHECK("wait", sigwaitinfo(&set, &info));
    reap("child", child);
    signal(SIGHUP, no_words);
    START_CHILD(child) {
        sleep_ms(30);
        kill(self, SIGHUP);
    }
    CHECK("other signal with a handler", sigtimedwait(&set, &info, &(struct timespec){10, 0}));
    reap("child", child);
    sigemptyset(&none);
    CHECK("empty set", sigtimedwait(&none, &info, &(struct timespec){0, 1000}));
    int number = 0;
    raise(SIGUSR2);
    CHECK_ERROR("sigwait", sigwait(&set, &number));
    say("%s", signal_name(number));
    signal(SIGHUP, SIG_DFL);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

CASE(broken_pipe) {
    int ends[2];
    catch(SIGPIPE, 0);
    NEED(pipe(ends));
    close(ends[0]);
    CHECK("write", write(ends[1], "x", 1));
    CHECK("write of nothing", write(ends[1], "x", 0));
    signal(SIGPIPE, SIG_IGN);
    CHECK("ignored", write(ends[1], "x", 1));
    signal(SIGPIPE, SIG_DFL);
    IN_CHILD("default") {
        NEED(write(ends[1], "x", 1));
        _exit(1);
    }
}

static void use_processor(long ms) {
    int64_t end = now_ns(CLOCK_PROCESS_CPUTIME_ID) + ms * 1000000;
    while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < end) for (volatile int i = 0; i < 100000; i++) {}
}

CASE(alarms) {
    catch(SIGALRM, 0);
    catch(SIGVTALRM, 0);
    catch(SIGPROF, 0);
    struct { struct timeval interval, value; } soon = {{0, 0}, {0, 20000}};
    NEED(syscall(SYS_setitimer, 0, &soon, NULL));
    CHECK("pause", pause());
    NEED(syscall(SYS_setitimer, 1, &soon, NULL));
    use_processor(200);
    NEED(syscall(SYS_setitimer, 2, &soon, NULL));
    use_processor(200);
    signal(SIGALRM, SIG_DFL);
    signal(SIGVTALRM, SIG_DFL);
    signal(SIGPROF, SIG_DFL);
}

CASE(abort) {
    IN_CHILD("default") abort();
    IN_CHILD("ignored") {
        signal(SIGABRT, SIG_IGN);
        abort();
    }
    IN_CHILD("handled") {
        catch(SIGABRT, 0);
        abort();
    }
    IN_CHILD("blocked") {
        sigset_t set = set_of(SIGABRT, 0);
        sigprocmask(SIG_BLOCK, &set, NULL);
        abort();
    }
}
