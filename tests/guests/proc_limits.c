/* Resource limits, usage, priorities and scheduling. */
#include <sched.h>
#include <sys/resource.h>
#include <sys/times.h>

#include "guest.h"

CASE(get_and_set) {
    IN_CHILD("child") {
        struct rlimit limit, old;
        for (int resource = 0; resource < 16; resource++) {
            limit = (struct rlimit){0, 0};
            if (getrlimit(resource, &limit)) say("%d: %s", resource, strerrorname_np(errno));
            else if (limit.rlim_cur > limit.rlim_max) say("%d: soft above hard", resource);
        }
        CHECK("bad resource", getrlimit(16, &limit));
        CHECK("negative", getrlimit(-1, &limit));
        CHECK("bad pointer", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, BAD_POINTER));
        CHECK("bad new pointer", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, BAD_POINTER, NULL));
        limit = (struct rlimit){100, 50};
        CHECK("soft above hard", setrlimit(RLIMIT_CORE, &limit));
        limit = (struct rlimit){50, 100};
        CHECK("set", setrlimit(RLIMIT_NOFILE, &limit));
        limit = (struct rlimit){20, 90};
        CHECK("prlimit", prlimit(0, RLIMIT_NOFILE, &limit, &old));
        say("old %ld %ld", (long)old.rlim_cur, (long)old.rlim_max);
        CHECK("prlimit by pid", prlimit(getpid(), RLIMIT_NOFILE, NULL, &old));
        say("now %ld %ld", (long)old.rlim_cur, (long)old.rlim_max);
        CHECK("no such process", prlimit(0x3ffffff, RLIMIT_NOFILE, NULL, &old));
        CHECK("negative pid", prlimit(-1, RLIMIT_NOFILE, NULL, &old));
        limit = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
        CHECK("files without limit", setrlimit(RLIMIT_NOFILE, &limit));
        IN_CHILD("inherited") {
            getrlimit(RLIMIT_NOFILE, &limit);
            say("%ld %ld", (long)limit.rlim_cur, (long)limit.rlim_max);
        }
        NEED(setresuid(65534, 65534, 65534));
        limit = (struct rlimit){20, 91};
        CHECK("raise as an ordinary user", setrlimit(RLIMIT_NOFILE, &limit));
        limit = (struct rlimit){80, 90};
        CHECK("soft", setrlimit(RLIMIT_NOFILE, &limit));
        limit = (struct rlimit){10, 10};
        CHECK("lower", setrlimit(RLIMIT_NOFILE, &limit));
        CHECK("another user's process", prlimit(getppid(), RLIMIT_NOFILE, NULL, &old));
    }
}

CASE_WITH_PROGRAMS(shown_by_proc) {
    IN_CHILD("child") {
        struct rlimit limit = {77, 88};
        NEED(setrlimit(RLIMIT_NOFILE, &limit));
        execl("/bin/sh", "sh", "-c", "ulimit -n; ulimit -Hn; grep 'open files' /proc/self/limits | tr -s ' '", NULL);
    }
}

CASE(open_files) {
    IN_CHILD("child") {
        struct rlimit limit = {20, 20};
        int count = 0, fd, last = -1, ends[2];
        for (int i = 3; i < 64; i++) close(i);
        NEED(setrlimit(RLIMIT_NOFILE, &limit));
        while ((fd = open("/dev/null", O_RDONLY)) >= 0) {
            last = fd;
            count++;
        }
        say("opened %d, last %d, then %s", count, last, strerrorname_np(errno));
        CHECK("dup", dup(0));
        CHECK("dup2 over the limit", dup2(0, 20));
        CHECK("dup2 below", dup2(0, 19));
        CHECK("F_DUPFD from above", fcntl(0, F_DUPFD, 20));
        CHECK("F_DUPFD", fcntl(0, F_DUPFD, 5));
        close(19);
        CHECK("pipe with one free", pipe(ends));
        CHECK("the free one is kept", open("/dev/null", O_RDONLY));
        limit.rlim_cur = 5;
        NEED(setrlimit(RLIMIT_NOFILE, &limit));
        CHECK("high one still works", fcntl(15, F_GETFD));
        CHECK("poll more than the limit", syscall(SYS_ppoll, NULL, 6, &(struct timespec){0, 0}, NULL));
    }
}

static volatile int too_large;
static void count_too_large(int number UNUSED) { too_large++; }

CASE(file_size) {
    IN_CHILD("killed") {
        struct rlimit limit = {1000, 1000};
        int fd = NEED(open("killed", O_WRONLY | O_CREAT, 0644));
        char block[2000] = {0};
        NEED(setrlimit(RLIMIT_FSIZE, &limit));
        CHECK("partial", write(fd, block, 2000));
        CHECK("over", write(fd, block, 1));
    }
    IN_CHILD("handled") {
        struct rlimit limit = {1000, 1000};
        int fd = NEED(open("handled", O_WRONLY | O_CREAT, 0644)), ends[2];
        char block[2000] = {0};
        signal(SIGXFSZ, count_too_large);
        NEED(setrlimit(RLIMIT_FSIZE, &limit));
        CHECK("write", write(fd, block, 999));
        CHECK("partial", write(fd, block, 10));
        CHECK("over", write(fd, block, 1));
        CHECK("pwrite over", pwrite(fd, block, 1, 5000));
        CHECK("truncate", ftruncate(fd, 1001));
        CHECK("truncate to the limit", ftruncate(fd, 1000));
        say("signals %d", too_large);
        NEED(pipe(ends));
        CHECK("a pipe has no limit", write(ends[1], block, 2000));
    }
}

CASE(size_to_allocate) {
    IN_CHILD("child") {
        struct rlimit limit = {1000, 1000};
        int fd = NEED(open("file", O_WRONLY | O_CREAT, 0644));
        too_large = 0;
        signal(SIGXFSZ, count_too_large);
        NEED(setrlimit(RLIMIT_FSIZE, &limit));
        CHECK("fallocate", fallocate(fd, 0, 0, 2000));
        say("signals %d", too_large);
    }
}

CASE(cpu_time) {
    IN_CHILD("soft limit") {
        struct rlimit limit = {1, 5};
        NEED(setrlimit(RLIMIT_CPU, &limit));
        for (volatile long i = 0;; i++) {}
    }
}

CASE(usage) {
    struct rusage usage;
    CHECK("self", getrusage(RUSAGE_SELF, &usage));
    BOOL("memory", usage.ru_maxrss > 500 && usage.ru_maxrss < 4000000);
    CHECK("children", getrusage(RUSAGE_CHILDREN, &usage));
    CHECK("thread", getrusage(RUSAGE_THREAD, &usage));
    CHECK("bad", getrusage(5, &usage));
    CHECK("bad pointer", syscall(SYS_getrusage, RUSAGE_SELF, BAD_POINTER));
    IN_CHILD("child") {
        NEED(getrusage(RUSAGE_CHILDREN, &usage));
        BOOL("no children's time yet", usage.ru_utime.tv_sec == 0 && usage.ru_utime.tv_usec == 0);
        NEED(getrusage(RUSAGE_SELF, &usage));
        BOOL("own time starts near 0", usage.ru_utime.tv_sec < 2);
        struct tms before, after;
        clock_t start = times(&before);
        for (int64_t end = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 80000000; now_ns(CLOCK_PROCESS_CPUTIME_ID) < end;) {}
        clock_t end = times(&after);
        BOOL("time went on", end - start >= 5 && end - start < 2000);
        BOOL("used time went on", after.tms_utime + after.tms_stime - before.tms_utime - before.tms_stime >= 5);
        BOOL("no children", after.tms_cutime == 0 && after.tms_cstime == 0);
        CHECK_OK("times NULL", times(NULL));
        CHECK("times bad", syscall(SYS_times, BAD_POINTER));
    }
}

CASE(priority) {
    IN_CHILD("child") {
        CHECK("get", getpriority(PRIO_PROCESS, 0));
        CHECK("raw", syscall(SYS_getpriority, PRIO_PROCESS, 0));
        CHECK("nice", nice(5));
        CHECK("get", getpriority(PRIO_PROCESS, 0));
        CHECK("set", setpriority(PRIO_PROCESS, 0, 10));
        CHECK("raw", syscall(SYS_getpriority, PRIO_PROCESS, 0));
        CHECK("too much", setpriority(PRIO_PROCESS, 0, 100));
        CHECK("get", getpriority(PRIO_PROCESS, getpid()));
        IN_CHILD("inherited") CHECK("get", getpriority(PRIO_PROCESS, 0));
        CHECK("bad which", getpriority(9, 0));
        CHECK("set bad which", setpriority(9, 0, 0));
        CHECK("no such process", getpriority(PRIO_PROCESS, 0x3ffffff));
        NEED(setresuid(65534, 65534, 65534));
        CHECK("up as an ordinary user", setpriority(PRIO_PROCESS, 0, 5));
        CHECK("down", setpriority(PRIO_PROCESS, 0, 19));
        CHECK("the parent's", setpriority(PRIO_PROCESS, getppid(), 5));
    }
}

CASE(scheduling) {
    struct sched_param parameters = {.sched_priority = 0};
    cpu_set_t set;
    CHECK("policy", sched_getscheduler(0));
    CHECK("parameters", sched_getparam(0, &parameters));
    say("priority %d", parameters.sched_priority);
    CHECK("max fifo", sched_get_priority_max(SCHED_FIFO));
    CHECK("min fifo", sched_get_priority_min(SCHED_FIFO));
    CHECK("max other", sched_get_priority_max(SCHED_OTHER));
    CHECK("max bad", sched_get_priority_max(77));
    CHECK("yield", sched_yield());
    CHECK("no such process", sched_getscheduler(0x3ffffff));
    CHECK("negative", sched_getscheduler(-1));
    CHECK("affinity", sched_getaffinity(0, sizeof set, &set));
    BOOL("some processors", CPU_COUNT(&set) >= 1);
    BOOL("as many as the system tells", CPU_COUNT(&set) == sysconf(_SC_NPROCESSORS_ONLN));
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof set, &set);
    BOOL("a multiple of 8 bytes", bytes > 0 && bytes % 8 == 0);
    CHECK("odd size", syscall(SYS_sched_getaffinity, 0, 7, &set));
    CHECK("size 0", syscall(SYS_sched_getaffinity, 0, 0, &set));
    CHECK("bad pointer", syscall(SYS_sched_getaffinity, 0, sizeof set, BAD_POINTER));
    CHECK("no such process", syscall(SYS_sched_getaffinity, 0x3ffffff, sizeof set, &set));
    CHECK("negative pid", syscall(SYS_sched_getaffinity, -1, sizeof set, &set));
    CHECK("negative pid to set", syscall(SYS_sched_setaffinity, -1, sizeof set, &set));
    IN_CHILD("child") {
        CHECK("set the same", sched_setaffinity(0, sizeof set, &set));
        cpu_set_t none;
        CPU_ZERO(&none);
        CHECK("set none", sched_setaffinity(0, sizeof none, &none));
        CHECK("batch", sched_setscheduler(0, SCHED_BATCH, &parameters));
        CHECK("policy", sched_getscheduler(0));
        CHECK("idle", sched_setscheduler(0, SCHED_IDLE, &parameters));
        CHECK("bad policy", sched_setscheduler(0, 77, &parameters));
        parameters.sched_priority = 5;
        CHECK("priority of other", sched_setscheduler(0, SCHED_OTHER, &parameters));
    }
    unsigned cpu = 9999, node = 9999;
    CHECK("getcpu", syscall(SYS_getcpu, &cpu, &node, NULL));
    BOOL("sane", cpu < 4096 && node < 64);
    CHECK("getcpu NULL", syscall(SYS_getcpu, NULL, NULL, NULL));
    CHECK("getcpu bad", syscall(SYS_getcpu, BAD_POINTER, NULL, NULL));
    BOOL("library", sched_getcpu() >= 0);
}

static long open_limit(pid_t pid) {
    struct rlimit limit = {0, 0};
    return prlimit(pid, RLIMIT_NOFILE, NULL, &limit) ? -errno : (long)limit.rlim_cur;
}

CASE(of_another_process) {
    pid_t child;
    int ends[2];
    struct rlimit limit = {50, 100}, old = {0, 0};
    NEED(pipe(ends));
    START_CHILD(child) {
        char byte;
        close(ends[1]);
        NEED(read(ends[0], &byte, 1));
        say("own %ld", open_limit(0));
        CHECK("above its limit", fcntl(0, F_DUPFD, 40));
        NEED(read(ends[0], &byte, 1));
    }
    close(ends[0]);
    CHECK("set", prlimit(child, RLIMIT_NOFILE, &limit, NULL));
    limit = (struct rlimit){20, 90};
    CHECK("set and get", prlimit(child, RLIMIT_NOFILE, &limit, &old));
    say("before %ld %ld", (long)old.rlim_cur, (long)old.rlim_max);
    say("now %ld, mine differs %d", open_limit(child), open_limit(0) != 20);
    limit = (struct rlimit){30, 20};
    CHECK("soft above hard", prlimit(child, RLIMIT_NOFILE, &limit, NULL));
    CHECK("bad resource", prlimit(child, 16, NULL, &old));
    IN_CHILD("another user") {
        NEED(setresuid(65534, 65534, 65534));
        CHECK("get", prlimit(child, RLIMIT_NOFILE, NULL, &old));
    }
    NEED(write(ends[1], "x", 1));
    sleep_ms(50);
    NEED(write(ends[1], "x", 1));
    reap("child", child);
}

CASE(processes) {
    IN_CHILD("child") {
        struct rlimit limit = {2, 3};
        int ends[2];
        NEED(pipe(ends));
        NEED(setrlimit(RLIMIT_NPROC, &limit));
        NEED(setresgid(12345, 12345, 12345));
        NEED(setresuid(12345, 12345, 12345));
        char byte;
        pid_t first = fork();
        if (!first) {
            close(ends[1]);
            _exit(read(ends[0], &byte, 1) != 0);
        }
        BOOL("one", first > 0);
        CHECK("two", fork());
        CHECK("two by clone", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
        CHECK("vfork", vfork());
        close(ends[1]);
        reap("one", first);
        IN_CHILD("again") {}
    }
}

CASE_WITH_PROGRAMS(too_many_processes_to_execute) {
    IN_CHILD("child") {
        struct rlimit limit = {1, 3};
        int ends[2];
        char byte;
        pid_t first[2];
        int ready[2];
        NEED(pipe(ends) | pipe(ready));
        NEED(setrlimit(RLIMIT_NPROC, &limit));
        for (int i = 0; i < 2; i++) {
            START_CHILD(first[i]) {
                close(ends[1]);
                NEED(setresuid(12346, 12346, 12346));
                NEED(write(ready[1], "x", 1));
                NEED(read(ends[0], &byte, 1));
                execl("/bin/true", "true", NULL);
            }
            NEED(read(ready[0], &byte, 1));
        }
        IN_CHILD("second") {
            close(ends[0]);
            for (int i = 0; i < 2; i++) {
                NEED(setresuid(12346, 0, 0));
                CHECK("exec with too many", execl("/bin/true", "true", NULL));
                limit.rlim_cur = 3;
                NEED(setrlimit(RLIMIT_NPROC, &limit));
            }
        }
        close(ends[0]);
        NEED(write(ends[1], "xx", 2));
        for (int i = 0; i < 2; i++) reap("first", first[i]);
    }
}
