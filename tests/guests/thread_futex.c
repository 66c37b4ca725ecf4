/* futex(2) itself: every operation, between threads and between processes. */
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>

static long futex(void *word, int op, unsigned value, const void *timeout, void *other, unsigned last) {
    return syscall(SYS_futex, word, op, value, timeout, other, last);
}

static unsigned *shared_word(void) {
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED((long)page);
    return page;
}

static unsigned own[4]; /* every case that uses it clears it first */

static void *wait_once(void *word) { return (void *)futex(word, FUTEX_WAIT, 0, NULL, NULL, 0); }

static void errors(unsigned *word, int flag) {
    struct timespec bad = {0, 1000000000}, negative = {-1, 0}, none = {0, 0};
    CHECK("wait, other value", futex(word, FUTEX_WAIT | flag, 1, NULL, NULL, 0));
    CHECK("wait, no time", futex(word, FUTEX_WAIT | flag, 0, &none, NULL, 0));
    CHECK("wait, bad time", futex(word, FUTEX_WAIT | flag, 0, &bad, NULL, 0));
    CHECK("wait, negative time", futex(word, FUTEX_WAIT | flag, 0, &negative, NULL, 0));
    CHECK("wait, bad timeout", futex(word, FUTEX_WAIT | flag, 0, BAD_POINTER, NULL, 0));
    CHECK("wait, odd address", futex((char *)word + 1, FUTEX_WAIT | flag, 0, NULL, NULL, 0));
    CHECK("wait, bad address", futex(BAD_POINTER, FUTEX_WAIT | flag, 0, NULL, NULL, 0));
    CHECK("wait, no bits", futex(word, FUTEX_WAIT_BITSET | flag, 0, NULL, NULL, 0));
    CHECK("wait until long ago", futex(word, FUTEX_WAIT_BITSET | flag, 0, &none, NULL, 1));
    CHECK("wake nobody", futex(word, FUTEX_WAKE | flag, 1, NULL, NULL, 0));
    CHECK("wake, bad address", futex(BAD_POINTER, FUTEX_WAKE | flag, 1, NULL, NULL, 0));
    CHECK("wake, kernel address", futex(KERNEL_POINTER, FUTEX_WAKE | flag, 1, NULL, NULL, 0));
    CHECK("wait, kernel address", futex(KERNEL_POINTER, FUTEX_WAIT | flag, 0, NULL, NULL, 0));
    CHECK("wake, no bits", futex(word, FUTEX_WAKE_BITSET | flag, 1, NULL, NULL, 0));
    CHECK("wake, odd address", futex((char *)word + 2, FUTEX_WAKE | flag, 1, NULL, NULL, 0));
    CHECK("requeue nobody", futex(word, FUTEX_REQUEUE | flag, 1, (void *)1, word + 1, 0));
    CHECK("requeue, other value", futex(word, FUTEX_CMP_REQUEUE | flag, 1, (void *)1, word + 1, 3));
    CHECK("requeue, negative", futex(word, FUTEX_REQUEUE | flag, 1, (void *)-1L, word + 1, 0));
    CHECK("realtime wake", futex(word, FUTEX_WAKE | flag | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
    CHECK("no such operation", futex(word, 77 | flag, 1, NULL, NULL, 0));
    CHECK("wake op", futex(word, FUTEX_WAKE_OP | flag, 1, (void *)1, word + 1,
                           FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 0)));
    CHECK("wake op, shifted", futex(word, FUTEX_WAKE_OP | flag, 1, (void *)1, word + 1,
                                    FUTEX_OP((FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT), 10, FUTEX_OP_CMP_LT, 0)));
    say("word: %u %u", word[0], word[1]);
}

CASE(errors_private) {
    memset(own, 0, sizeof own);
    errors(own, FUTEX_PRIVATE_FLAG);
}

CASE(errors_own) {
    memset(own, 0, sizeof own);
    errors(own, 0);
}

CASE(errors_shared) { errors(shared_word(), 0); }
CASE(errors_shared_private) { errors(shared_word(), FUTEX_PRIVATE_FLAG); }

CASE(wake_counts_threads) {
    pthread_t threads[5];
    long woken = 0;
    memset(own, 0, sizeof own);
    for (int i = 0; i < 5; i++) pthread_create(&threads[i], NULL, wait_once, own);
    sleep_ms(50);
    say("two: %ld", futex(own, FUTEX_WAKE, 2, NULL, NULL, 0));
    say("moved: %ld", futex(own, FUTEX_CMP_REQUEUE, 1, (void *)1, own + 1, 0));
    while (woken < 2) woken += futex(own + (woken != 0), FUTEX_WAKE, 9, NULL, NULL, 0);
    say("rest: %ld", woken);
    for (int i = 0; i < 5; i++) {
        void *result;
        pthread_join(threads[i], &result);
        say("%ld", (long)result);
    }
}

/* A child waits for a word in memory that it shares with its parent. */
CASE(processes) {
    unsigned *word = shared_word();
    pid_t child;
    START_CHILD(child) {
        CHECK("child waits", futex(word, FUTEX_WAIT, 0, NULL, NULL, 0));
        __atomic_store_n(word + 1, 1, __ATOMIC_SEQ_CST);
        CHECK("and wakes", futex(word + 1, FUTEX_WAKE, 1, NULL, NULL, 0) <= 1);
    }
    while (futex(word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0) sleep_ms(1);
    while (!__atomic_load_n(word + 1, __ATOMIC_SEQ_CST)) futex(word + 1, FUTEX_WAIT, 0, NULL, NULL, 0);
    reap("child", child);
}

CASE(processes_bitset_and_requeue) {
    unsigned *word = shared_word();
    pid_t first, second;
    START_CHILD(first) { _exit(futex(word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 1) ? 1 : 0); }
    START_CHILD(second) { _exit(futex(word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 2) ? 1 : 0); }
    while (futex(word, FUTEX_WAKE_BITSET, 9, NULL, NULL, 2) == 0) sleep_ms(1);
    reap("second", second);
    CHECK("not the first", futex(word, FUTEX_WAKE_BITSET, 9, NULL, NULL, 4));
    while (futex(word, FUTEX_REQUEUE, 0, (void *)1, word + 1, 0) == 0) sleep_ms(1);
    CHECK("nobody here", futex(word, FUTEX_WAKE, 9, NULL, NULL, 0));
    CHECK("but there", futex(word + 1, FUTEX_WAKE, 9, NULL, NULL, 0));
    reap("first", first);
}

CASE(processes_time_out) {
    unsigned *word = shared_word();
    struct timespec half = {0, 50000000};
    int64_t before = now_ns(CLOCK_MONOTONIC);
    CHECK("wait", futex(word, FUTEX_WAIT, 0, &half, NULL, 0));
    int64_t took = now_ns(CLOCK_MONOTONIC) - before;
    BOOL("in time", took >= 50000000 && took < 5000000000);
}

static void nothing(int signo UNUSED) {}

CASE(processes_interrupted) {
    unsigned *word = shared_word();
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGALRM, &action, NULL);
    alarm(1);
    CHECK("wait", futex(word, FUTEX_WAIT, 0, NULL, NULL, 0));
}

CASE(semaphore_between_processes) {
    sem_t *there = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *back = there + 1;
    sem_init(there, 1, 0);
    sem_init(back, 1, 0);
    pid_t child;
    START_CHILD(child) {
        for (int i = 0; i < 200; i++) {
            sem_wait(there);
            sem_post(back);
        }
    }
    for (int i = 0; i < 200; i++) {
        sem_post(there);
        sem_wait(back);
    }
    reap("child", child);
}

CASE(robust_mutex_of_a_dead_process) {
    pthread_mutex_t *mutex = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attributes);
    pid_t child;
    int held[2];
    NEED(pipe(held));
    START_CHILD(child) {
        pthread_mutex_lock(mutex);
        NEED(write(held[1], "x", 1));
        sleep_ms(30);
        _exit(3);
    }
    char byte;
    NEED(read(held[0], &byte, 1));
    CHECK_ERROR("lock", pthread_mutex_lock(mutex));
    CHECK_ERROR("consistent", pthread_mutex_consistent(mutex));
    CHECK_ERROR("unlock", pthread_mutex_unlock(mutex));
    CHECK_ERROR("again", pthread_mutex_lock(mutex));
    reap("child", child);
}

static pthread_mutex_t inheriting;
static long sum;

static void *add(void *unused UNUSED) {
    for (int i = 0; i < 300; i++) {
        pthread_mutex_lock(&inheriting);
        sum++;
        pthread_mutex_unlock(&inheriting);
    }
    return NULL;
}

CASE(priority_inheriting_mutex) {
    pthread_mutexattr_t attributes;
    pthread_t threads[3];
    pthread_mutexattr_init(&attributes);
    CHECK_ERROR("protocol", pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
    CHECK_ERROR("init", pthread_mutex_init(&inheriting, &attributes));
    pthread_mutex_lock(&inheriting);
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, add, NULL);
    sleep_ms(30);
    pthread_mutex_unlock(&inheriting);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    say("sum %ld", sum);
    unsigned word = 0;
    struct timespec past = {1, 0};
    CHECK("lock", futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    BOOL("mine", (word & FUTEX_TID_MASK) == (unsigned)syscall(SYS_gettid));
    CHECK("lock again", futex(&word, FUTEX_LOCK_PI, 0, &past, NULL, 0));
    CHECK("try", futex(&word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
    CHECK("unlock", futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    CHECK("unlock again", futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    say("word %u", word);
}

struct waited {
    uint64_t value, address;
    uint32_t flags, reserved;
};

static void *wake_second(void *unused UNUSED) {
    sleep_ms(20);
    while (futex(own + 1, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0) sleep_ms(1);
    return NULL;
}

CASE(wait_for_one_of_several) {
    struct waited words[2] = {{0, (uintptr_t)own, 2 | 128, 0}, {0, (uintptr_t)(own + 1), 2 | 128, 0}};
    struct timespec past = {1, 0};
    pthread_t thread;
    memset(own, 0, sizeof own);
    CHECK("past", syscall(449, words, 2, 0, &past, CLOCK_MONOTONIC));
    CHECK("none", syscall(449, words, 0, 0, NULL, CLOCK_MONOTONIC));
    CHECK("too many", syscall(449, words, 129, 0, NULL, CLOCK_MONOTONIC));
    CHECK("flags", syscall(449, words, 2, 1, NULL, CLOCK_MONOTONIC));
    pthread_create(&thread, NULL, wake_second, NULL);
    CHECK("wait", syscall(449, words, 2, 0, NULL, CLOCK_MONOTONIC));
    pthread_join(thread, NULL);
    words[1].value = 1;
    CHECK("other value", syscall(449, words, 2, 0, NULL, CLOCK_MONOTONIC));
    words[1].reserved = 1;
    CHECK("reserved", syscall(449, words, 2, 0, NULL, CLOCK_MONOTONIC));
}

CASE(barriers) {
    say("commands: %lx", syscall(SYS_membarrier, 0, 0, 0) & ~0x180);
    say("registered: %lx", syscall(SYS_membarrier, 0x200, 0, 0));
    CHECK("global", syscall(SYS_membarrier, 1, 0, 0));
    CHECK("global expedited", syscall(SYS_membarrier, 2, 0, 0));
    CHECK("register global expedited", syscall(SYS_membarrier, 4, 0, 0));
    CHECK("sync core, not registered", syscall(SYS_membarrier, 0x20, 0, 0));
    CHECK("register sync core", syscall(SYS_membarrier, 0x40, 0, 0));
    CHECK("sync core", syscall(SYS_membarrier, 0x20, 0, 0));
    say("registered: %lx", syscall(SYS_membarrier, 0x200, 0, 0));
    BOOL("query", syscall(SYS_membarrier, 0, 0, 0) > 0);
    CHECK("not registered", syscall(SYS_membarrier, 8, 0, 0));
    CHECK("register", syscall(SYS_membarrier, 16, 0, 0));
    CHECK("private expedited", syscall(SYS_membarrier, 8, 0, 0));
    CHECK("no such command", syscall(SYS_membarrier, 3, 0, 0));
    CHECK("flags", syscall(SYS_membarrier, 8, 2, 0));
}

static struct {
    uint32_t cpu_id_start, cpu_id;
    uint64_t critical_section;
    uint32_t flags, padding[11];
} __attribute__((aligned(32))) area;

static void *register_area(void *unused UNUSED) {
    CHECK("unregister", syscall(SYS_rseq, &area, 32, 1, 0x53053053));
    CHECK("register", syscall(SYS_rseq, &area, 32, 0, 0x53053053));
    return NULL;
}

/* The C library may have registered an area for each thread. */
CASE(restartable_sequences) {
    pthread_t thread;
    pthread_create(&thread, NULL, register_area, NULL);
    pthread_join(thread, NULL);
    say("commands of membarrier for them: %lx", syscall(SYS_membarrier, 0, 0, 0) & 0x180);
    CHECK("register a barrier for them", syscall(SYS_membarrier, 0x100, 0, 0));
}
