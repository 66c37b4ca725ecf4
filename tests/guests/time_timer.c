/* alarm(2), setitimer(2) and POSIX timers. */
#include "guest.h"
#include <poll.h>
#include <sys/time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define MS 1000000L

static volatile int calls, last_code, last_value, overruns;
static void on_signal(int number UNUSED, siginfo_t *info, void *context UNUSED) {
    calls++;
    last_code = info->si_code;
    last_value = info->si_value.sival_int;
    overruns += info->si_overrun;
}

static void handle(int number) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    calls = last_code = last_value = overruns = 0;
    NEED(sigaction(number, &action, NULL));
}

static void wait_for_calls(int wanted) {
    int64_t end = now_ns(CLOCK_MONOTONIC) + 5000 * MS;
    while (calls < wanted && now_ns(CLOCK_MONOTONIC) < end) usleep(1000);
}

CASE(alarm) {
    handle(SIGALRM);
    say("%u", alarm(0));
    say("%u", alarm(100));
    unsigned left = alarm(1);
    BOOL("left", left == 100 || left == 99);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    CHECK("pause", pause());
    int64_t took = now_ns(CLOCK_MONOTONIC) - start;
    BOOL("after a second", took > 900 * MS && took < 2500 * MS);
    say("calls %d, then %u", calls, alarm(0));
    IN_CHILD("unhandled") {
        signal(SIGALRM, SIG_DFL);
        alarm(1);
        pause();
    }
    signal(SIGALRM, SIG_DFL);
}

CASE(setitimer) {
    struct itimerval timer = {{0, 0}, {0, 20000}}, old;
    handle(SIGALRM);
    CHECK("get", getitimer(ITIMER_REAL, &old));
    say("%ld %ld", (long)old.it_value.tv_sec, (long)old.it_value.tv_usec);
    CHECK("once", setitimer(ITIMER_REAL, &timer, NULL));
    wait_for_calls(1);
    sleep_ms(60);
    say("calls %d", calls);
    timer = (struct itimerval){{0, 10000}, {0, 10000}};
    CHECK("interval", setitimer(ITIMER_REAL, &timer, NULL));
    wait_for_calls(6);
    BOOL("at least 5 more", calls >= 6);
    CHECK("get", getitimer(ITIMER_REAL, &old));
    say("interval %ld", (long)old.it_interval.tv_usec);
    BOOL("value within the interval", old.it_value.tv_sec == 0 && old.it_value.tv_usec <= 10000);
    timer = (struct itimerval){{0, 0}, {100, 0}};
    CHECK("replace", setitimer(ITIMER_REAL, &timer, &old));
    say("old interval %ld", (long)old.it_interval.tv_usec);
    BOOL("alarm shares the timer", alarm(0) >= 99);
    CHECK("get", getitimer(ITIMER_REAL, &old));
    say("%ld %ld", (long)old.it_value.tv_sec, (long)old.it_value.tv_usec);
    timer.it_value.tv_sec = 50;
    NEED(setitimer(ITIMER_REAL, &timer, NULL));
    IN_CHILD("not inherited") {
        NEED(getitimer(ITIMER_REAL, &old));
        say("%ld", (long)old.it_value.tv_sec);
    }
    CHECK("NULL stops", syscall(SYS_setitimer, ITIMER_REAL, NULL, &old));
    BOOL("remaining", old.it_value.tv_sec == 49 || old.it_value.tv_sec == 50);
    signal(SIGALRM, SIG_DFL);
}

CASE(setitimer_errors) {
    struct itimerval timer = {{0, 0}, {0, 1000000}}, old;
    CHECK("microseconds", setitimer(ITIMER_REAL, &timer, NULL));
    timer.it_value.tv_usec = -1;
    CHECK("negative", setitimer(ITIMER_REAL, &timer, NULL));
    timer = (struct itimerval){{0, 0}, {-1, 0}};
    CHECK("negative seconds", setitimer(ITIMER_REAL, &timer, NULL));
    timer = (struct itimerval){{0, 0}, {0, 0}};
    CHECK("which", setitimer(3, &timer, NULL));
    CHECK("get which", getitimer(-1, &old));
    CHECK("bad pointer", syscall(SYS_setitimer, ITIMER_REAL, BAD_POINTER, NULL));
    CHECK("get bad pointer", syscall(SYS_getitimer, ITIMER_REAL, BAD_POINTER));
}

CASE(processor_timers) {
    struct itimerval timer = {{0, 0}, {0, 30000}}, old;
    handle(SIGPROF);
    CHECK("prof", setitimer(ITIMER_PROF, &timer, NULL));
    sleep_ms(120);
    say("sleeping does not count: %d", calls);
    int64_t end = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 100 * MS;
    while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < end) for (volatile int i = 0; i < 10000; i++) {}
    say("after 100 ms of work: %d", calls);
    CHECK("get", getitimer(ITIMER_PROF, &old));
    say("%ld", (long)old.it_value.tv_usec);
    handle(SIGVTALRM);
    CHECK("virtual", setitimer(ITIMER_VIRTUAL, &timer, NULL));
    end = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 150 * MS;
    while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < end) for (volatile int i = 0; i < 100000; i++) {}
    say("after 150 ms of work: %d", calls);
    signal(SIGPROF, SIG_DFL);
    signal(SIGVTALRM, SIG_DFL);
}

CASE(posix_timer) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 1234};
    struct itimerspec when = {.it_value = {0, 20 * MS}}, now;
    timer_t timer;
    handle(SIGUSR1);
    CHECK("create", timer_create(CLOCK_MONOTONIC, &event, &timer));
    CHECK("get", timer_gettime(timer, &now));
    say("%ld %ld", (long)now.it_value.tv_sec, (long)now.it_value.tv_nsec);
    CHECK("set", timer_settime(timer, 0, &when, &now));
    CHECK("get", timer_gettime(timer, &now));
    BOOL("remaining", now.it_value.tv_nsec > 0 && now.it_value.tv_nsec <= 20 * MS);
    wait_for_calls(1);
    say("calls %d, SI_TIMER %d, value %d", calls, last_code == SI_TIMER, last_value);
    CHECK("get", timer_gettime(timer, &now));
    say("%ld %ld", (long)now.it_value.tv_sec, (long)now.it_value.tv_nsec);
    when.it_interval.tv_nsec = 10 * MS;
    CHECK("interval", timer_settime(timer, 0, &when, NULL));
    wait_for_calls(5);
    BOOL("several", calls >= 5);
    when = (struct itimerspec){0};
    CHECK("stop", timer_settime(timer, 0, &when, &now));
    say("old interval %ld", (long)now.it_interval.tv_nsec);
    CHECK("delete", timer_delete(timer));
    CHECK("again", timer_delete(timer));
    CHECK("get deleted", timer_gettime(timer, &now));
    signal(SIGUSR1, SIG_DFL);
}

CASE(posix_timer_absolute) {
    static const clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    for (size_t i = 0; i < LENGTH(ids); i++) {
        struct itimerspec when = {0};
        timer_t timer;
        handle(SIGUSR1);
        CHECK("create", timer_create(ids[i], &event, &timer));
        clock_gettime(ids[i], &when.it_value);
        when.it_value.tv_nsec += 30 * MS;
        if (when.it_value.tv_nsec >= 1000 * MS) {
            when.it_value.tv_nsec -= 1000 * MS;
            when.it_value.tv_sec++;
        }
        int64_t start = now_ns(CLOCK_MONOTONIC);
        CHECK("absolute", timer_settime(timer, TIMER_ABSTIME, &when, NULL));
        wait_for_calls(1);
        int64_t took = now_ns(CLOCK_MONOTONIC) - start;
        BOOL("after 30 ms", calls == 1 && took >= 28 * MS && took < 1500 * MS);
        when.it_value.tv_sec -= 10;
        CHECK("in the past", timer_settime(timer, TIMER_ABSTIME, &when, NULL));
        wait_for_calls(2);
        say("calls %d", calls);
        NEED(timer_delete(timer));
    }
    signal(SIGUSR1, SIG_DFL);
}

CASE(overrun) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec when = {{0, 5 * MS}, {0, 5 * MS}};
    sigset_t set, old;
    timer_t timer;
    handle(SIGUSR1);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    NEED(timer_create(CLOCK_MONOTONIC, &event, &timer));
    sigprocmask(SIG_BLOCK, &set, &old);
    NEED(timer_settime(timer, 0, &when, NULL));
    sleep_ms(103);
    siginfo_t info;
    CHECK("one signal", sigwaitinfo(&set, &info));
    BOOL("overrun in the information", info.si_overrun >= 15 && info.si_overrun < 400);
    BOOL("the same from the call", timer_getoverrun(timer) == info.si_overrun);
    when = (struct itimerspec){0};
    NEED(timer_settime(timer, 0, &when, NULL));
    NEED(timer_delete(timer));
    CHECK("getoverrun deleted", timer_getoverrun(timer));
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGUSR1, SIG_DFL);
}

CASE(default_event) {
    struct itimerspec when = {.it_value = {0, 10 * MS}};
    int first = -1, second = -1;
    handle(SIGALRM);
    CHECK("no event", syscall(SYS_timer_create, CLOCK_REALTIME, NULL, &first));
    CHECK("second", syscall(SYS_timer_create, CLOCK_REALTIME, NULL, &second));
    BOOL("numbers differ", first != second);
    NEED(syscall(SYS_timer_settime, second, 0, &when, NULL));
    wait_for_calls(1);
    BOOL("SIGALRM with the timer's number", calls == 1 && last_code == SI_TIMER && last_value == second);
    NEED(syscall(SYS_timer_delete, first));
    NEED(syscall(SYS_timer_delete, second));
    signal(SIGALRM, SIG_DFL);
}

CASE(no_event_and_thread_event) {
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    struct itimerspec when = {.it_value = {0, 10 * MS}}, now;
    timer_t timer;
    CHECK("none", timer_create(CLOCK_MONOTONIC, &event, &timer));
    NEED(timer_settime(timer, 0, &when, NULL));
    sleep_ms(30);
    NEED(timer_gettime(timer, &now));
    say("%ld %ld", (long)now.it_value.tv_sec, (long)now.it_value.tv_nsec);
    when.it_interval.tv_sec = 100;
    NEED(timer_settime(timer, 0, &when, NULL));
    sleep_ms(30);
    NEED(timer_gettime(timer, &now));
    BOOL("counts on", now.it_value.tv_sec == 99);
    NEED(timer_delete(timer));
    event = (struct sigevent){.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
    event.sigev_notify_thread_id = gettid();
    handle(SIGUSR2);
    CHECK("thread", timer_create(CLOCK_MONOTONIC, &event, &timer));
    when.it_interval.tv_sec = 0;
    NEED(timer_settime(timer, 0, &when, NULL));
    wait_for_calls(1);
    say("calls %d", calls);
    NEED(timer_delete(timer));
    event.sigev_notify_thread_id = 1;
    CHECK("thread of another process", timer_create(CLOCK_MONOTONIC, &event, &timer));
    signal(SIGUSR2, SIG_DFL);
}

CASE(processor_clock) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec when = {.it_value = {0, 30 * MS}};
    timer_t timer;
    handle(SIGUSR1);
    CHECK("create", timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer));
    NEED(timer_settime(timer, 0, &when, NULL));
    sleep_ms(100);
    say("sleeping does not count: %d", calls);
    int64_t end = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 120 * MS;
    while (now_ns(CLOCK_PROCESS_CPUTIME_ID) < end) for (volatile int i = 0; i < 10000; i++) {}
    say("after 120 ms of work: %d", calls);
    NEED(timer_delete(timer));
    signal(SIGUSR1, SIG_DFL);
}

CASE(errors) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
    struct itimerspec when = {.it_value = {0, 1000000000}};
    timer_t timer = NULL;
    int number;
    CHECK("bad signal", timer_create(CLOCK_MONOTONIC, &event, &timer));
    event = (struct sigevent){.sigev_notify = 99, .sigev_signo = SIGUSR1};
    CHECK("bad notification", syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &number));
    CHECK("bad clock", syscall(SYS_timer_create, 99, NULL, &number));
    CHECK("coarse clock", syscall(SYS_timer_create, CLOCK_MONOTONIC_COARSE, NULL, &number));
    CHECK("bad event pointer", syscall(SYS_timer_create, CLOCK_MONOTONIC, BAD_POINTER, &number));
    CHECK("bad result pointer", syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, BAD_POINTER));
    CHECK("set unknown", syscall(SYS_timer_settime, 12345, 0, &(struct itimerspec){0}, NULL));
    CHECK("get unknown", syscall(SYS_timer_gettime, 12345, &when));
    CHECK("overrun unknown", syscall(SYS_timer_getoverrun, 12345));
    CHECK("delete unknown", syscall(SYS_timer_delete, 12345));
    NEED(timer_create(CLOCK_MONOTONIC, NULL, &timer));
    CHECK("bad time", timer_settime(timer, 0, &when, NULL));
    when.it_value = (struct timespec){-1, 0};
    CHECK("negative", timer_settime(timer, 0, &when, NULL));
    CHECK("NULL", syscall(SYS_timer_settime, timer, 0, NULL, NULL));
    CHECK("bad old pointer", syscall(SYS_timer_settime, timer, 0, &(struct itimerspec){0}, BAD_POINTER));
    IN_CHILD("not inherited") CHECK("delete", timer_delete(timer));
    CHECK("delete", timer_delete(timer));
}

CASE(many_timers) {
    timer_t timers[50];
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 5};
    handle(SIGRTMIN + 5);
    for (int i = 0; i < 50; i++) {
        struct itimerspec when = {.it_value = {0, (1 + i) * MS}};
        NEED(timer_create(CLOCK_MONOTONIC, &event, &timers[i]));
        NEED(timer_settime(timers[i], 0, &when, NULL));
    }
    wait_for_calls(50);
    say("calls %d", calls);
    for (int i = 0; i < 50; i++) NEED(timer_delete(timers[i]));
    signal(SIGRTMIN + 5, SIG_DFL);
}

static void note_alarm(int number UNUSED) {
    if (write(9, "a", 1) != 1) _exit(9);
}

/* Another process' SIGALRM arrives, and is handled, while a timer of another signal rings all the time. */
CASE(alarm_of_another_process) {
    int pipes[2], heard = 0;
    pid_t child;
    NEED(pipe(pipes));
    NEED(dup2(pipes[1], 9));
    START_CHILD(child) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
        struct itimerspec often = {{0, 50000}, {0, 50000}};
        timer_t timer;
        handle(SIGRTMIN);
        signal(SIGALRM, note_alarm);
        NEED(timer_create(CLOCK_MONOTONIC, &event, &timer));
        NEED(timer_settime(timer, 0, &often, NULL));
        NEED(write(9, "r", 1));
        while (getppid() != 1) usleep(1000);
    }
    struct pollfd readable = {pipes[0], POLLIN, 0};
    char byte;
    NEED(read(pipes[0], &byte, 1));
    for (int i = 0; i < 100; i++) {
        kill(child, SIGALRM);
        if (poll(&readable, 1, 3000) != 1) break;
        NEED(read(pipes[0], &byte, 1));
        heard++;
    }
    say("heard %d", heard);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}
