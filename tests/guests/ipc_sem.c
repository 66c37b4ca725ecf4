/* System V semaphores: semget(2), semop(2), semctl(2). */
#include "guest.h"
#include <sys/ipc.h>
#include <sys/sem.h>

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
    struct seminfo *info;
};

static int sem_get(int id, int number, int command) { return semctl(id, number, command, (union semun){.val = 0}); }

static int step(int id, int number, int change, int flags) {
    struct sembuf one = {number, change, flags};
    return semop(id, &one, 1);
}

static void remove_set(int id) { CHECK("remove", semctl(id, 0, IPC_RMID, (union semun){.val = 0})); }

/* Waits until a process sleeps on the semaphore. */
static void await_waiter(int id, int number, int command) {
    for (int i = 0; i < 2000 && sem_get(id, number, command) < 1; i++) sleep_ms(2);
}

CASE(keys) {
    key_t key = 0x6e6f6168 ^ getpid();
    CHECK("nothing there", semget(key, 2, 0600));
    int id = NEED(semget(key, 2, IPC_CREAT | IPC_EXCL | 0640));
    CHECK("again, exclusively", semget(key, 2, IPC_CREAT | IPC_EXCL | 0600));
    BOOL("the same", semget(key, 0, 0) == id);
    BOOL("fewer", semget(key, 1, IPC_CREAT | 0600) == id);
    CHECK("more", semget(key, 3, 0600));
    CHECK("none", semget(IPC_PRIVATE, 0, 0600));
    CHECK("negative", semget(IPC_PRIVATE, -1, 0600));
    CHECK("too many", semget(IPC_PRIVATE, 32001, 0600));
    remove_set(id);
    CHECK("gone", semget(key, 2, 0600));
    CHECK("remove twice", semctl(id, 0, IPC_RMID));
    CHECK("use what is gone", step(id, 0, 1, 0));
    CHECK("no id", step(-1, 0, 1, 0));
    int other = NEED(semget(IPC_PRIVATE, 1, 0600));
    BOOL("another id", other != id);
    remove_set(other);
}

CASE(status) {
    struct semid_ds status;
    time_t before = time(NULL);
    int id = NEED(semget(IPC_PRIVATE, 3, 0642));
    CHECK("IPC_STAT", semctl(id, 0, IPC_STAT, (union semun){.buf = &status}));
    say("mode %o, %ld semaphores", status.sem_perm.mode, (long)status.sem_nsems);
    BOOL("owner", status.sem_perm.uid == geteuid() && status.sem_perm.cgid == getegid());
    BOOL("never used", status.sem_otime == 0);
    BOOL("made now", status.sem_ctime >= before && status.sem_ctime <= time(NULL));
    CHECK("up", step(id, 1, 2, 0));
    CHECK("IPC_STAT", semctl(id, 0, IPC_STAT, (union semun){.buf = &status}));
    BOOL("used now", status.sem_otime >= before);
    status.sem_perm.mode = 01777;
    CHECK("IPC_SET", semctl(id, 0, IPC_SET, (union semun){.buf = &status}));
    CHECK("IPC_STAT", semctl(id, 0, IPC_STAT, (union semun){.buf = &status}));
    say("mode %o", status.sem_perm.mode);
    CHECK("bad buffer", semctl(id, 0, IPC_STAT, (union semun){.buf = BAD_POINTER}));
    CHECK("unknown command", semctl(id, 0, 77, (union semun){.val = 0}));
    struct seminfo info;
    CHECK_OK("IPC_INFO", semctl(0, 0, IPC_INFO, (union semun){.info = &info}));
    say("semmsl %d semopm %d semvmx %d semmni %d", info.semmsl, info.semopm, info.semvmx, info.semmni);
    remove_set(id);
}

CASE(values) {
    int id = NEED(semget(IPC_PRIVATE, 3, 0600));
    unsigned short all[3] = {1, 2, 32767};
    CHECK("SETALL", semctl(id, 0, SETALL, (union semun){.array = all}));
    memset(all, 0, sizeof all);
    CHECK("GETALL", semctl(id, 0, GETALL, (union semun){.array = all}));
    say("%d %d %d", all[0], all[1], all[2]);
    CHECK("SETVAL", semctl(id, 1, SETVAL, (union semun){.val = 7}));
    CHECK("GETVAL", sem_get(id, 1, GETVAL));
    BOOL("GETPID", sem_get(id, 1, GETPID) == getpid());
    CHECK("GETNCNT", sem_get(id, 1, GETNCNT));
    CHECK("GETZCNT", sem_get(id, 1, GETZCNT));
    CHECK("too large", semctl(id, 1, SETVAL, (union semun){.val = 32768}));
    CHECK("negative", semctl(id, 1, SETVAL, (union semun){.val = -1}));
    CHECK("no such semaphore", semctl(id, 3, SETVAL, (union semun){.val = 1}));
    CHECK("no such semaphore", sem_get(id, 3, GETVAL));
    CHECK("no such semaphore", sem_get(id, -1, GETVAL));
    all[1] = 40000;
    CHECK("SETALL too large", semctl(id, 0, SETALL, (union semun){.array = all}));
    CHECK("beyond the maximum", step(id, 2, 1, 0));
    CHECK("would wait", step(id, 0, -2, IPC_NOWAIT));
    CHECK("not zero", step(id, 0, 0, IPC_NOWAIT));
    CHECK("no operations", semop(id, NULL, 0));
    CHECK("bad pointer", semop(id, BAD_POINTER, 1));
    CHECK("too many operations", semop(id, BAD_POINTER, 501));
    CHECK("number too large", step(id, 3, 1, 0));
    remove_set(id);
}

CASE(all_or_none) {
    int id = NEED(semget(IPC_PRIVATE, 3, 0600));
    struct sembuf steps[] = {{0, 1, 0}, {1, 1, 0}, {2, -1, IPC_NOWAIT}};
    CHECK("the third would wait", semop(id, steps, 3));
    say("%d %d %d", sem_get(id, 0, GETVAL), sem_get(id, 1, GETVAL), sem_get(id, 2, GETVAL));
    steps[2].sem_op = 1;
    CHECK("all", semop(id, steps, 3));
    say("%d %d %d", sem_get(id, 0, GETVAL), sem_get(id, 1, GETVAL), sem_get(id, 2, GETVAL));
    struct sembuf twice[] = {{0, -1, 0}, {0, 0, 0}, {0, 5, 0}};
    CHECK("one semaphore several times", semop(id, twice, 3));
    say("%d", sem_get(id, 0, GETVAL));
    remove_set(id);
}

CASE(waiting) {
    int id = NEED(semget(IPC_PRIVATE, 2, 0600));
    pid_t child;
    START_CHILD(child) { _exit(step(id, 0, -3, 0) ? errno : 0); }
    await_waiter(id, 0, GETNCNT);
    CHECK("GETNCNT", sem_get(id, 0, GETNCNT));
    CHECK("GETZCNT", sem_get(id, 0, GETZCNT));
    CHECK("not enough", step(id, 0, 2, 0));
    sleep_ms(30);
    CHECK("GETNCNT", sem_get(id, 0, GETNCNT));
    CHECK("enough", step(id, 0, 2, 0));
    reap("child", child);
    CHECK("rest", sem_get(id, 0, GETVAL));
    BOOL("GETPID", sem_get(id, 0, GETPID) == child);
    START_CHILD(child) { _exit(step(id, 0, 0, 0) ? errno : 0); }
    await_waiter(id, 0, GETZCNT);
    CHECK("GETZCNT", sem_get(id, 0, GETZCNT));
    CHECK("to zero", step(id, 0, -1, 0));
    reap("child", child);
    START_CHILD(child) { _exit(step(id, 1, -1, 0) ? errno : 0); }
    await_waiter(id, 1, GETNCNT);
    CHECK("SETVAL", semctl(id, 1, SETVAL, (union semun){.val = 1}));
    reap("child", child);
    START_CHILD(child) { _exit(step(id, 1, -1, 0) ? errno : 0); }
    await_waiter(id, 1, GETNCNT);
    remove_set(id);
    reap("child", child);
}

static void nothing(int number UNUSED) {}

CASE(limits_of_waits) {
    int id = NEED(semget(IPC_PRIVATE, 1, 0600));
    struct sembuf down = {0, -1, 0};
    struct timespec limit = {0, 30000000};
    int64_t start = now_ns(CLOCK_MONOTONIC);
    CHECK("time is over", semtimedop(id, &down, 1, &limit));
    BOOL("not early", now_ns(CLOCK_MONOTONIC) - start >= 30000000);
    limit.tv_nsec = 1000000000;
    CHECK("no time", semtimedop(id, &down, 1, &limit));
    limit.tv_sec = -1, limit.tv_nsec = 0;
    CHECK("negative time", semtimedop(id, &down, 1, &limit));
    CHECK("bad time", semtimedop(id, &down, 1, BAD_POINTER));
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    NEED(sigaction(SIGALRM, &action, NULL));
    ualarm(30000, 0);
    CHECK("a signal, never restarted", semop(id, &down, 1));
    CHECK("nobody waits", sem_get(id, 0, GETNCNT));
    remove_set(id);
}

CASE(undo) {
    int id = NEED(semget(IPC_PRIVATE, 2, 0600));
    NEED(semctl(id, 0, SETVAL, (union semun){.val = 5}));
    IN_CHILD("child") {
        CHECK("down", step(id, 0, -3, SEM_UNDO));
        CHECK("up", step(id, 1, 2, SEM_UNDO));
        CHECK("value", sem_get(id, 0, GETVAL));
        IN_CHILD("grandchild") { CHECK("down", step(id, 0, -1, 0)); }
    }
    CHECK("undone", sem_get(id, 0, GETVAL));
    CHECK("undone", sem_get(id, 1, GETVAL));
    IN_CHILD("killed") {
        CHECK("down", step(id, 0, -3, SEM_UNDO));
        kill(getpid(), SIGKILL);
    }
    CHECK("undone", sem_get(id, 0, GETVAL));
    pid_t child, waiter;
    int ready[2];
    char byte;
    NEED(pipe(ready));
    START_CHILD(child) {
        NEED(step(id, 0, -4, SEM_UNDO));
        NEED(write(ready[1], "x", 1));
        pause();
    }
    NEED(read(ready[0], &byte, 1));
    START_CHILD(waiter) { _exit(step(id, 0, -4, 0) ? errno : 0); }
    await_waiter(id, 0, GETNCNT);
    NEED(kill(child, SIGKILL));
    reap("waiter goes on before the dead is reaped", waiter);
    reap("killed", child);
    CHECK("value", sem_get(id, 0, GETVAL));
    IN_CHILD("forgotten") {
        CHECK("up", step(id, 0, 3, SEM_UNDO));
        CHECK("SETVAL", semctl(id, 0, SETVAL, (union semun){.val = 9}));
    }
    CHECK("value", sem_get(id, 0, GETVAL));
    CHECK("out of range", step(id, 1, 32767, SEM_UNDO));
    CHECK("and again", step(id, 1, -32767, SEM_UNDO));
    remove_set(id);
}

CASE(permissions) {
    if (geteuid() != 0) {
        say("needs root");
        return;
    }
    int id = NEED(semget(0x6e6f6169 ^ getpid(), 1, IPC_CREAT | 0604));
    IN_CHILD("somebody") {
        NEED(setuid(12345));
        struct semid_ds status;
        CHECK("read", sem_get(id, 0, GETVAL));
        CHECK("IPC_STAT", semctl(id, 0, IPC_STAT, (union semun){.buf = &status}));
        CHECK("alter", step(id, 0, 1, 0));
        CHECK("wait for zero", step(id, 0, 0, 0));
        CHECK("SETVAL", semctl(id, 0, SETVAL, (union semun){.val = 1}));
        CHECK("IPC_SET", semctl(id, 0, IPC_SET, (union semun){.buf = &status}));
        CHECK("IPC_RMID", semctl(id, 0, IPC_RMID, (union semun){.val = 0}));
        CHECK_OK("get to read", semget(0x6e6f6169 ^ getppid(), 0, 0004));
        CHECK("get to write", semget(0x6e6f6169 ^ getppid(), 0, 0006));
    }
    remove_set(id);
}

CASE(many_processes) {
    enum { PROCESSES = 6, ROUNDS = 200 };
    int id = NEED(semget(IPC_PRIVATE, 1, 0600));
    long *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(semctl(id, 0, SETVAL, (union semun){.val = 1}));
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        START_CHILD(children[i]) {
            for (int round = 0; round < ROUNDS; round++) {
                NEED(step(id, 0, -1, SEM_UNDO));
                long old = *(volatile long *)shared;
                if (round % 50 == 0) sleep_ms(1);
                *(volatile long *)shared = old + 1;
                NEED(step(id, 0, 1, SEM_UNDO));
            }
        }
    }
    for (int i = 0; i < PROCESSES; i++) reap("child", children[i]);
    say("%ld", *shared);
    CHECK("value", sem_get(id, 0, GETVAL));
    remove_set(id);
}
