/* Clocks and sleeps. */
#include <dlfcn.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>

#include "guest.h"

#define MS INT64_C(1000000)

static const struct { const char *name; clockid_t id; } clocks[] = {
    {"REALTIME", CLOCK_REALTIME}, {"MONOTONIC", CLOCK_MONOTONIC}, {"PROCESS_CPUTIME_ID", CLOCK_PROCESS_CPUTIME_ID},
    {"THREAD_CPUTIME_ID", CLOCK_THREAD_CPUTIME_ID}, {"MONOTONIC_RAW", CLOCK_MONOTONIC_RAW},
    {"REALTIME_COARSE", CLOCK_REALTIME_COARSE}, {"MONOTONIC_COARSE", CLOCK_MONOTONIC_COARSE},
    {"BOOTTIME", CLOCK_BOOTTIME}, {"TAI", CLOCK_TAI},
};

static int64_t raw_ns(clockid_t clock) {
    struct timespec now;
    NEED(syscall(SYS_clock_gettime, clock, &now));
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

CASE(every_clock) {
    struct timespec now, resolution;
    for (size_t i = 0; i < LENGTH(clocks); i++) {
        CHECK(clocks[i].name, clock_gettime(clocks[i].id, &now));
        BOOL("nanoseconds in range", now.tv_nsec >= 0 && now.tv_nsec < 1000000000);
        CHECK("raw", syscall(SYS_clock_gettime, clocks[i].id, &now));
        CHECK("resolution", clock_getres(clocks[i].id, &resolution));
        bool coarse = clocks[i].id == CLOCK_REALTIME_COARSE || clocks[i].id == CLOCK_MONOTONIC_COARSE;
        BOOL("resolution sane", coarse ? resolution.tv_nsec >= 1000000 : resolution.tv_nsec == 1 && resolution.tv_sec == 0);
        CHECK("raw resolution", syscall(SYS_clock_getres, clocks[i].id, &resolution));
    }
}

CASE(errors) {
    struct timespec now;
    static const clockid_t bad[] = {10, 12, 99, 1000000, INT_MAX};
    for (size_t i = 0; i < LENGTH(bad); i++) {
        char name[32];
        snprintf(name, sizeof name, "clock %d", bad[i]);
        CHECK(name, clock_gettime(bad[i], &now));
        CHECK("getres", clock_getres(bad[i], &now));
        CHECK("settime", clock_settime(bad[i], &now));
    }
    CHECK("bad pointer", syscall(SYS_clock_gettime, CLOCK_REALTIME, BAD_POINTER));
    CHECK("NULL", syscall(SYS_clock_gettime, CLOCK_REALTIME, NULL));
    CHECK("getres NULL", clock_getres(CLOCK_REALTIME, NULL));
    CHECK("getres bad pointer", syscall(SYS_clock_getres, CLOCK_REALTIME, BAD_POINTER));
    CHECK("settime MONOTONIC", clock_settime(CLOCK_MONOTONIC, &now));
    now.tv_nsec = 1000000000;
    CHECK("settime bad time", clock_settime(CLOCK_REALTIME, &now));
    IN_CHILD("ordinary user") {
        NEED(setresuid(65534, 65534, 65534));
        clock_gettime(CLOCK_REALTIME, &now);
        CHECK("settime", clock_settime(CLOCK_REALTIME, &now));
        struct timex change = {.modes = ADJ_TICK, .tick = 10000};
        CHECK("adjtimex", adjtimex(&change) < 0 ? -1 : 0);
    }
}

CASE(clocks_of_processes) {
    clockid_t clock;
    CHECK_ERROR("own", clock_getcpuclockid(getpid(), &clock));
    BOOL("runs", now_ns(clock) > 0);
    CHECK_ERROR("of nobody", clock_getcpuclockid(0x3ffffff, &clock));
}

CASE(clocks_of_children) {
    clockid_t clock;
    pid_t child;
    int gate[2];
    char byte;
    NEED(pipe(gate));
    START_CHILD(child) {
        close(gate[1]);
        read(gate[0], &byte, 1);
    }
    CHECK_ERROR("child's", clock_getcpuclockid(child, &clock));
    struct timespec now;
    CHECK("time of the child", clock_gettime(clock, &now));
    close(gate[1]);
    reap("child", child);
    CHECK("of nobody", clock_gettime(clock, &now));
}

CASE(agreement) {
    static const clockid_t same[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI};
    for (size_t i = 0; i < LENGTH(same); i++) {
        int64_t best = INT64_MAX;
        bool ordered = true;
        for (int round = 0; round < 20; round++) {
            int64_t before = raw_ns(same[i]), library = now_ns(same[i]), after = raw_ns(same[i]);
            ordered &= before <= library && library <= after;
            if (after - before < best) best = after - before;
        }
        char name[32];
        snprintf(name, sizeof name, "clock %d", same[i]);
        BOOL(name, ordered);
        BOOL("within 1 ms", best < MS);
    }
    struct timeval day;
    CHECK("gettimeofday", gettimeofday(&day, NULL));
    int64_t difference = raw_ns(CLOCK_REALTIME) / 1000 - (day.tv_sec * INT64_C(1000000) + day.tv_usec);
    BOOL("gettimeofday is the clock", difference >= -1 && difference < 50000);
    BOOL("time is the clock", labs(time(NULL) - raw_ns(CLOCK_REALTIME) / 1000000000) <= 1);
    BOOL("coarse is behind", raw_ns(CLOCK_MONOTONIC) - now_ns(CLOCK_MONOTONIC_COARSE) < 20 * MS);
    BOOL("boot time is not less", now_ns(CLOCK_BOOTTIME) >= now_ns(CLOCK_MONOTONIC) - MS);
    BOOL("the year is after 2024", time(NULL) > 1735689600);
}

CASE(monotonic) {
    int64_t last = 0, steps_back = 0, last_raw = 0;
    for (int i = 0; i < 100000; i++) {
        int64_t now = now_ns(CLOCK_MONOTONIC);
        steps_back += now < last;
        last = now;
        if (i % 1000 == 0) {
            now = raw_ns(CLOCK_MONOTONIC);
            steps_back += now < last || now < last_raw;
            last_raw = last = now;
        }
    }
    say("steps back %ld", (long)steps_back);
    last = 0;
    for (int i = 0; i < 20000; i++) {
        struct timeval now;
        gettimeofday(&now, NULL);
        int64_t value = now.tv_sec * INT64_C(1000000) + now.tv_usec;
        steps_back += value < last;
        last = value;
    }
    say("steps back %ld", (long)steps_back);
}

CASE(after_fork) {
    int64_t before = now_ns(CLOCK_MONOTONIC);
    IN_CHILD("child") {
        int64_t now = now_ns(CLOCK_MONOTONIC);
        BOOL("goes on", now >= before && now - before < 5000 * MS);
        BOOL("as the call", llabs(raw_ns(CLOCK_MONOTONIC) - now) < 50 * MS);
    }
}

CASE(old_calls) {
    struct timezone zone = {5, 5};
    struct timeval now;
    CHECK("both", gettimeofday(&now, &zone));
    CHECK("only the zone", syscall(SYS_gettimeofday, NULL, &zone));
    CHECK("none", syscall(SYS_gettimeofday, NULL, NULL));
    CHECK("bad", syscall(SYS_gettimeofday, BAD_POINTER, NULL));
    time_t seconds = 0;
    BOOL("time through the pointer", time(&seconds) == seconds);
    BOOL("clock", clock() >= 0);
    IN_CHILD("ordinary user") {
        NEED(setresuid(65534, 65534, 65534));
        CHECK("settimeofday", settimeofday(&now, NULL));
        now.tv_usec = 1000000;
        CHECK("bad time", syscall(SYS_settimeofday, &now, NULL));
    }
}

static void took(const char *name, int64_t start, long ms) {
    int64_t passed = now_ns(CLOCK_MONOTONIC) - start;
    BOOL(name, passed >= ms * MS && passed < (ms + 1500) * MS);
}

CASE(nanosleep) {
    int64_t start = now_ns(CLOCK_MONOTONIC);
    struct timespec left = {9, 9};
    CHECK("0", nanosleep(&(struct timespec){0, 0}, &left));
    CHECK("30 ms", nanosleep(&(struct timespec){0, 30 * MS}, &left));
    took("took 30 ms", start, 30);
    say("left untouched %ld", (long)left.tv_sec);
    CHECK("negative", nanosleep(&(struct timespec){-1, 0}, NULL));
    CHECK("negative nanoseconds", nanosleep(&(struct timespec){0, -1}, NULL));
    CHECK("nanoseconds", nanosleep(&(struct timespec){0, 1000000000}, NULL));
    CHECK("bad pointer", syscall(SYS_nanosleep, BAD_POINTER, NULL));
    CHECK("usleep", usleep(1000));
}

CASE(clock_nanosleep) {
    static const clockid_t sleepable[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI};
    for (size_t i = 0; i < LENGTH(sleepable); i++) {
        int64_t start = now_ns(CLOCK_MONOTONIC);
        struct timespec when = {0, 20 * MS};
        CHECK_ERROR("relative", clock_nanosleep(sleepable[i], 0, &when, NULL));
        took("took 20 ms", start, 20);
        start = now_ns(CLOCK_MONOTONIC);
        clock_gettime(sleepable[i], &when);
        when.tv_nsec += 20 * MS;
        if (when.tv_nsec >= 1000000000) {
            when.tv_nsec -= 1000000000;
            when.tv_sec++;
        }
        CHECK_ERROR("absolute", clock_nanosleep(sleepable[i], TIMER_ABSTIME, &when, NULL));
        took("took 20 ms", start, 19);
        when.tv_sec -= 100;
        CHECK_ERROR("in the past", clock_nanosleep(sleepable[i], TIMER_ABSTIME, &when, NULL));
    }
    struct timespec when = {0, 1};
    CHECK_ERROR("thread clock", clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &when, NULL));
    CHECK("raw clock", syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &when, NULL));
    CHECK("coarse", syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_COARSE, 0, &when, NULL));
    CHECK("unknown clock", syscall(SYS_clock_nanosleep, 99, 0, &when, NULL));
    CHECK("unknown flags are ignored", syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0x10, &when, NULL));
    when.tv_nsec = -5;
    CHECK_ERROR("bad time", clock_nanosleep(CLOCK_MONOTONIC, 0, &when, NULL));
    CHECK("bad pointer", syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, BAD_POINTER, NULL));
}

CASE(timeouts_of_other_calls) {
    int64_t start = now_ns(CLOCK_MONOTONIC);
    CHECK("pselect6", syscall(SYS_pselect6, 0, NULL, NULL, NULL, &(struct timespec){0, 30 * MS}, NULL));
    took("took 30 ms", start, 30);
    start = now_ns(CLOCK_MONOTONIC);
    CHECK("ppoll", syscall(SYS_ppoll, NULL, 0, &(struct timespec){0, 30 * MS}, NULL, 8));
    took("took 30 ms", start, 30);
    start = now_ns(CLOCK_MONOTONIC);
    int word = 5;
    CHECK("futex", syscall(SYS_futex, &word, 0, 5, &(struct timespec){0, 30 * MS}, NULL, 0));
    took("took 30 ms", start, 30);
    CHECK("futex, other value", syscall(SYS_futex, &word, 0, 6, NULL, NULL, 0));
    CHECK("futex wake", syscall(SYS_futex, &word, 1, 6, NULL, NULL, 0));
    CHECK("futex bad pointer", syscall(SYS_futex, BAD_POINTER, 0, 6, NULL, NULL, 0));
    CHECK("futex unaligned", syscall(SYS_futex, (char *)&word + 1, 0, 6, NULL, NULL, 0));
}

CASE(processor_time) {
    int64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), thread = now_ns(CLOCK_THREAD_CPUTIME_ID);
    sleep_ms(100);
    BOOL("sleeping costs little", now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu < 60 * MS);
    int64_t wall = now_ns(CLOCK_MONOTONIC);
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    while (now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu < 100 * MS) {}
    BOOL("not faster than the wall", now_ns(CLOCK_MONOTONIC) - wall >= 95 * MS);
    BOOL("thread clock", now_ns(CLOCK_THREAD_CPUTIME_ID) - thread >= 90 * MS);
    struct rusage usage;
    NEED(getrusage(RUSAGE_SELF, &usage));
    BOOL("usage", usage.ru_utime.tv_sec * 1000 + usage.ru_utime.tv_usec / 1000 + usage.ru_stime.tv_sec * 1000 +
                          usage.ru_stime.tv_usec / 1000 >= 80);
}

CASE(vdso_symbols) {
    /* A program that looks for its vDSO finds the functions that C libraries use. */
    BOOL("mapped", getauxval(AT_SYSINFO_EHDR) != 0);
    void *vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
#ifdef __x86_64__
    static const char *const names[] = {"__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu", "__vdso_clock_getres"};
#else
    static const char *const names[] = {"__kernel_clock_gettime", "__kernel_gettimeofday", "__kernel_clock_getres"};
#endif
    for (size_t i = 0; vdso && i < LENGTH(names); i++) BOOL(names[i], dlsym(vdso, names[i]) != NULL);
}
