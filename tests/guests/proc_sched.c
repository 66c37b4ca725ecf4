/* Scheduling: policies, nice values and I/O priorities of processes and of threads. */
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "guest.h"

struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static void show(const char *what, pid_t pid) {
    struct attributes got = {0};
    int policy = sched_getscheduler(pid);
    struct sched_param param = {-1};
    CHECK(what, syscall(SYS_sched_getattr, pid, &got, sizeof got, 0));
    int kept = sched_getparam(pid, &param);
    say("%s: policy %#x priority %d (%d), size %u policy %u flags %#lx nice %d priority %u", what, policy,
        param.sched_priority, kept, got.size, got.policy, (long)got.flags, got.nice, got.priority);
}

static int set_policy(pid_t pid, int policy, int priority) {
    struct sched_param param = {priority};
    return sched_setscheduler(pid, policy, &param);
}

static int set_priority(pid_t pid, int priority) {
    struct sched_param param = {priority};
    return sched_setparam(pid, &param);
}

CASE(real_time) {
    IN_CHILD("child") {
        CHECK("fifo", set_policy(0, SCHED_FIFO, 10));
        show("fifo", 0);
        show("by pid", getpid());
        CHECK("higher", set_priority(0, 20));
        show("higher", 0);
        CHECK("priority 0", set_priority(0, 0));
        CHECK("priority 100", set_policy(0, SCHED_FIFO, 100));
        CHECK("priority -1", set_policy(0, SCHED_RR, -1));
        CHECK("round robin", set_policy(0, SCHED_RR | SCHED_RESET_ON_FORK, 3));
        show("round robin", 0);
        struct timespec slice = {-1, -1};
        CHECK("slice", sched_rr_get_interval(0, &slice));
        BOOL("some time", slice.tv_sec > 0 || slice.tv_nsec > 0);
        IN_CHILD("its child") show("reset", 0);
        NEED(set_policy(0, SCHED_RR, 3));
        IN_CHILD("its child") show("inherited", 0);
        CHECK("nice", nice(4));
        CHECK("back", set_policy(0, SCHED_OTHER, 0));
        show("back", 0);
        CHECK("nobody", set_policy(0x3ffffff, SCHED_OTHER, 0));
        CHECK("no policy", set_policy(0, 4, 0));
        CHECK("negative policy", set_policy(0, -1, 0));
        CHECK("slice of nobody", sched_rr_get_interval(0x3ffffff, &slice));
    }
}

CASE(attributes) {
    IN_CHILD("child") {
        struct attributes wanted = {sizeof wanted, SCHED_BATCH, 0, 7, 0, 0, 0, 0};
        CHECK("batch", syscall(SYS_sched_setattr, 0, &wanted, 0));
        show("batch", 0);
        wanted = (struct attributes){sizeof wanted, SCHED_FIFO, 1, 0, 5, 0, 0, 0};
        CHECK("fifo", syscall(SYS_sched_setattr, 0, &wanted, 0));
        show("fifo", 0);
        wanted = (struct attributes){sizeof wanted, 77, 8, 3, 6, 0, 0, 0};
        CHECK("keep policy", syscall(SYS_sched_setattr, 0, &wanted, 0));
        show("keep policy", 0);
        wanted = (struct attributes){sizeof wanted, 0, 0x18, 3, 0, 0, 0, 0};
        CHECK("keep all", syscall(SYS_sched_setattr, 0, &wanted, 0));
        show("keep all", 0);
        wanted = (struct attributes){sizeof wanted, 0, 0, 100, 0, 0, 0, 0};
        CHECK("very nice", syscall(SYS_sched_setattr, 0, &wanted, 0));
        show("very nice", 0);
        wanted.flags = 0x100;
        CHECK("flags", syscall(SYS_sched_setattr, 0, &wanted, 0));
        wanted.flags = 0x20;
        CHECK("a clamp without room", syscall(SYS_sched_setattr, 0, &wanted, 0));
        wanted = (struct attributes){40, 0, 0, 0, 0, 0, 0, 0};
        CHECK("small", syscall(SYS_sched_setattr, 0, &wanted, 0));
        say("size %u", wanted.size);
        wanted = (struct attributes){sizeof wanted, 0x80000000, 0, 0, 0, 0, 0, 0};
        CHECK("negative policy", syscall(SYS_sched_setattr, 0, &wanted, 0));
        CHECK("bad", syscall(SYS_sched_setattr, 0, BAD_POINTER, 0));
        CHECK("none", syscall(SYS_sched_setattr, 0, NULL, 0));
        CHECK("get small", syscall(SYS_sched_getattr, 0, &wanted, 47, 0));
        CHECK("get bad", syscall(SYS_sched_getattr, 0, BAD_POINTER, 48, 0));
    }
}

CASE(as_an_ordinary_user) {
    IN_CHILD("child") {
        struct rlimit limit = {0, 0};
        NEED(setrlimit(RLIMIT_RTPRIO, &limit));
        NEED(setrlimit(RLIMIT_NICE, &limit));
        NEED(setresuid(65534, 65534, 65534));
        CHECK("fifo", set_policy(0, SCHED_FIFO, 1));
        CHECK("batch", set_policy(0, SCHED_BATCH, 0));
        CHECK("idle", set_policy(0, SCHED_IDLE, 0));
        show("idle", 0);
        CHECK("back", set_policy(0, SCHED_OTHER, 0));
        CHECK("the parent", set_policy(getppid(), SCHED_BATCH, 0));
        CHECK("nice", setpriority(PRIO_PROCESS, 0, 10));
        CHECK("less nice", setpriority(PRIO_PROCESS, 0, 5));
        CHECK("I/O: real-time", syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 4));
        CHECK("I/O: idle", syscall(SYS_ioprio_set, 1, 0, 3 << 13));
        CHECK("I/O of the parent", syscall(SYS_ioprio_set, 1, getppid(), 3 << 13));
    }
    IN_CHILD("once allowed") {
        CHECK("fifo", set_policy(0, SCHED_FIFO, 5));
        NEED(setresuid(65534, 65534, 65534));
        CHECK("higher", set_priority(0, 6));
        CHECK("lower", set_priority(0, 2));
        show("lower", 0);
        CHECK("round robin", set_policy(0, SCHED_RR, 2));
        CHECK("back", set_policy(0, SCHED_OTHER | SCHED_RESET_ON_FORK, 0));
        CHECK("without the reset", set_policy(0, SCHED_OTHER, 0));
    }
}

static pid_t thread_id;
static int start_ends[2], go_ends[2];

static void *own_values(void *unused UNUSED) {
    char byte;
    thread_id = gettid();
    NEED(write(start_ends[1], "x", 1));
    NEED(read(go_ends[0], &byte, 1));
    CHECK("own nice", getpriority(PRIO_PROCESS, 0));
    CHECK("own nice by id", getpriority(PRIO_PROCESS, gettid()));
    show("own policy", 0);
    CHECK("own I/O", syscall(SYS_ioprio_get, 1, 0));
    CHECK("change", setpriority(PRIO_PROCESS, 0, 9));
    CHECK("change", set_policy(0, SCHED_IDLE, 0));
    return NULL;
}

CASE(threads) {
    IN_CHILD("child") {
        char byte;
        pthread_t thread;
        NEED(pipe(start_ends) | pipe(go_ends));
        NEED(setpriority(PRIO_PROCESS, 0, 3));
        NEED(set_policy(0, SCHED_BATCH, 0));
        NEED(-pthread_create(&thread, NULL, own_values, NULL));
        NEED(read(start_ends[0], &byte, 1));
        CHECK("inherited", getpriority(PRIO_PROCESS, thread_id));
        show("inherited", thread_id);
        CHECK("set", setpriority(PRIO_PROCESS, thread_id, 5));
        CHECK("set", set_policy(thread_id, SCHED_RR, 2));
        CHECK("set I/O", syscall(SYS_ioprio_set, 1, thread_id, 2 << 13 | 6));
        CHECK("mine", getpriority(PRIO_PROCESS, 0));
        show("mine", 0);
        CHECK("set mine", syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 1));
        NEED(write(go_ends[1], "x", 1));
        pthread_join(thread, NULL);
        CHECK("mine", getpriority(PRIO_PROCESS, 0));
        CHECK("mine", getpriority(PRIO_PROCESS, getpid()));
        show("mine", getpid());
        CHECK("mine I/O", syscall(SYS_ioprio_get, 1, 0));
        CHECK("of a group", getpriority(PRIO_PGRP, 0));
    }
}

CASE(of_other_processes) {
    pid_t child;
    int ends[2];
    NEED(pipe(ends));
    START_CHILD(child) {
        char byte;
        close(ends[1]);
        NEED(read(ends[0], &byte, 1));
        show("itself", 0);
        CHECK("itself", getpriority(PRIO_PROCESS, 0));
        CHECK("itself", syscall(SYS_ioprio_get, 1, 0));
    }
    CHECK("set", set_policy(child, SCHED_FIFO, 4));
    show("other", child);
    CHECK("back", set_policy(child, SCHED_IDLE, 0));
    CHECK("nice", setpriority(PRIO_PROCESS, child, 12));
    CHECK("I/O", syscall(SYS_ioprio_set, 1, child, 2 << 13 | 7));
    CHECK("I/O", syscall(SYS_ioprio_get, 1, child));
    show("other", child);
    NEED(write(ends[1], "x", 1));
    reap("child", child);
}

CASE(io_priorities) {
    IN_CHILD("child") {
        CHECK("get", syscall(SYS_ioprio_get, 1, 0));
        CHECK("set", syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 3));
        CHECK("get", syscall(SYS_ioprio_get, 1, getpid()));
        IN_CHILD("inherited") CHECK("get", syscall(SYS_ioprio_get, 1, 0));
        CHECK("real-time", syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 2));
        CHECK("get", syscall(SYS_ioprio_get, 1, 0));
        CHECK("none with a level", syscall(SYS_ioprio_set, 1, 0, 4));
        CHECK("bad class", syscall(SYS_ioprio_set, 1, 0, 5 << 13));
        CHECK("bad which", syscall(SYS_ioprio_set, 9, 0, 0));
        CHECK("bad which", syscall(SYS_ioprio_get, 9, 0));
        CHECK("nobody", syscall(SYS_ioprio_get, 1, 0x3ffffff));
        CHECK("nobody", syscall(SYS_ioprio_set, 1, 0x3ffffff, 0));
    }
}

CASE(of_the_first_process) {
    struct sched_param param = {-1};
    cpu_set_t set;
    IN_CHILD("somebody") {
        NEED(setresuid(65534, 65534, 65534));
        BOOL("policy", sched_getscheduler(1) >= 0);
        CHECK("parameters", sched_getparam(1, &param));
        BOOL("nice", getpriority(PRIO_PROCESS, 1) <= 19);
        BOOL("I/O", syscall(SYS_ioprio_get, 1, 1) >= 0);
        CHECK("affinity", sched_getaffinity(1, sizeof set, &set));
        CHECK("set policy", set_policy(1, SCHED_BATCH, 0));
        CHECK("set nice", setpriority(PRIO_PROCESS, 1, 5));
        CHECK("set I/O", syscall(SYS_ioprio_set, 1, 1, 3 << 13));
        CHECK("set affinity", sched_setaffinity(1, sizeof set, &set));
    }
}
