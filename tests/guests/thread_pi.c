/* Futexes that inherit priority (futex(2)): condition variables over them, between processes, and when owners die. */
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>

static long futex(void *word, int op, unsigned value, const void *timeout, void *other, unsigned last) {
    return syscall(SYS_futex, word, op, value, timeout, other, last);
}

struct words {
    unsigned condition, lock, other, count;
};

static struct words own;

static struct words *shared_words(void) {
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED((long)page);
    return page;
}

static unsigned tid(void) { return syscall(SYS_gettid); }

/* What pthread_mutex_lock and unlock do with such a mutex. */
static long lock(unsigned *word, int flag) {
    unsigned free = 0;
    if (__atomic_compare_exchange_n(word, &free, tid(), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return 0;
    return futex(word, FUTEX_LOCK_PI | flag, 0, NULL, NULL, 0);
}

static long unlock(unsigned *word, int flag) {
    unsigned mine = tid();
    if (__atomic_compare_exchange_n(word, &mine, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return 0;
    return futex(word, FUTEX_UNLOCK_PI | flag, 0, NULL, NULL, 0);
}

/* Where there are no such futexes nothing below would end. */
static void need_them(void) {
    unsigned word = 0;
    NEED(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
}

static void errors(struct words *words, int flag) {
    struct timespec none = {0, 0}, bad = {0, -1};
    int wait = FUTEX_WAIT_REQUEUE_PI | flag, requeue = FUTEX_CMP_REQUEUE_PI | flag;
    CHECK("wait, other value", futex(&words->condition, wait, 1, NULL, &words->lock, 0));
    CHECK("wait until long ago", futex(&words->condition, wait, 0, &none, &words->lock, 0));
    CHECK("realtime", futex(&words->condition, wait | FUTEX_CLOCK_REALTIME, 0, &none, &words->lock, 0));
    CHECK("wait, bad time", futex(&words->condition, wait, 0, &bad, &words->lock, 0));
    CHECK("wait, same word", futex(&words->condition, wait, 0, NULL, &words->condition, 0));
    CHECK("wait, odd lock", futex(&words->condition, wait, 0, NULL, (char *)&words->lock + 1, 0));
    CHECK("wait, odd word", futex((char *)&words->condition + 1, wait, 0, NULL, &words->lock, 0));
    CHECK("wait, bad lock", futex(&words->condition, wait, 0, &none, BAD_POINTER, 0));
    CHECK("requeue nobody", futex(&words->condition, requeue, 1, (void *)1, &words->lock, 0));
    CHECK("requeue, other value", futex(&words->condition, requeue, 1, (void *)1, &words->lock, 5));
    CHECK("requeue, wake two", futex(&words->condition, requeue, 2, (void *)1, &words->lock, 0));
    CHECK("requeue, wake none", futex(&words->condition, requeue, 0, (void *)1, &words->lock, 0));
    CHECK("requeue, negative", futex(&words->condition, requeue, 1, (void *)-1L, &words->lock, 0));
    CHECK("requeue, same word", futex(&words->condition, requeue, 1, (void *)1, &words->condition, 0));
    CHECK("requeue, bad lock", futex(&words->condition, requeue, 1, (void *)1, BAD_POINTER, 0));
    CHECK("wait on the wrong clock", futex(&words->condition, FUTEX_WAIT | flag | FUTEX_CLOCK_REALTIME, 0, &none, NULL, 0));
    CHECK("lock, bad time", futex(&words->lock, FUTEX_LOCK_PI | flag, 0, &bad, NULL, 0));
    say("words: %u %u", words->condition, words->lock);
}

CASE(requeue_errors_private) {
    memset(&own, 0, sizeof own);
    errors(&own, FUTEX_PRIVATE_FLAG);
}

CASE(requeue_errors_shared) {
    need_them();
    errors(shared_words(), 0);
}

static void *wait_for_condition(void *unused UNUSED) {
    long result = futex(&own.condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &own.lock, 0);
    if (result == 0) {
        own.count++;
        if ((own.lock & FUTEX_TID_MASK) != tid()) own.other++;
        unlock(&own.lock, FUTEX_PRIVATE_FLAG);
    }
    return (void *)result;
}

CASE(requeue_between_threads) {
    need_them();
    pthread_t threads[4];
    memset(&own, 0, sizeof own);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, wait_for_condition, NULL);
    sleep_ms(50);
    CHECK("lock", lock(&own.lock, FUTEX_PRIVATE_FLAG));
    CHECK("wrong lock", futex(&own.condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &own.other, 0));
    CHECK("plain wake", futex(&own.condition, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    CHECK("plain requeue", futex(&own.condition, FUTEX_REQUEUE_PRIVATE, 0, (void *)1, &own.other, 0));
    CHECK("one", futex(&own.condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)0, &own.lock, 0));
    CHECK("the others", futex(&own.condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)9, &own.lock, 0));
    sleep_ms(20);
    say("none has it: %u", own.count);
    CHECK("unlock", unlock(&own.lock, FUTEX_PRIVATE_FLAG));
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        say("waiter: %ld", (long)result);
    }
    say("had it: %u, without owning it: %u, word %u", own.count, own.other, own.lock);
}

CASE(requeue_between_processes) {
    need_them();
    struct words *words = shared_words();
    pid_t children[3];
    for (int i = 0; i < 3; i++) {
        START_CHILD(children[i]) {
            if (futex(&words->condition, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &words->lock, 0)) _exit(1);
            words->count++;
            if ((words->lock & FUTEX_TID_MASK) != tid()) _exit(3);
            _exit(unlock(&words->lock, 0) ? 2 : 0);
        }
    }
    CHECK("lock", lock(&words->lock, 0));
    for (long moved = 0; moved < 3;) {
        sleep_ms(2);
        moved += NEED(futex(&words->condition, FUTEX_CMP_REQUEUE_PI, 1, (void *)9, &words->lock, 0));
    }
    CHECK("unlock", unlock(&words->lock, 0));
    for (int i = 0; i < 3; i++) reap("child", children[i]);
    say("count %u, word %u", words->count, words->lock);
}

static volatile sig_atomic_t handled;
static void note(int signo UNUSED) { handled = 1; }

CASE(requeue_wait_goes_on_after_a_signal) {
    need_them();
    struct sigaction action = {.sa_handler = note};
    struct timespec until;
    memset(&own, 0, sizeof own);
    sigaction(SIGALRM, &action, NULL);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    ualarm(100000, 0);
    CHECK("wait", futex(&own.condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, &until, &own.lock, 0));
    BOOL("handled", handled);
}

/* The lock is a word in memory that two processes share. */
CASE(lock_between_processes) {
    need_them();
    struct words *words = shared_words();
    pid_t children[3];
    for (int i = 0; i < 3; i++) {
        START_CHILD(children[i]) {
            for (int turn = 0; turn < 100; turn++) {
                NEED(lock(&words->lock, 0));
                words->count++;
                NEED(unlock(&words->lock, 0));
            }
        }
    }
    for (int i = 0; i < 3; i++) reap("child", children[i]);
    say("count %u, word %u", words->count, words->lock);
}

static unsigned never_there(void) {
    pid_t child;
    START_CHILD(child) { _exit(0); }
    waitpid(child, NULL, 0);
    return child;
}

CASE(lock_of_the_dead) {
    need_them();
    struct words *words = shared_words();
    pid_t child;
    words->lock = never_there();
    CHECK("lock", futex(&words->lock, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    CHECK("try", futex(&words->lock, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
    words->lock |= FUTEX_OWNER_DIED;
    CHECK("abandoned", futex(&words->lock, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    words->lock = 0;
    START_CHILD(child) {
        NEED(lock(&words->lock, 0));
        while (!(__atomic_load_n(&words->lock, __ATOMIC_SEQ_CST) & FUTEX_WAITERS)) sleep_ms(1);
        _exit(4);
    }
    while (!__atomic_load_n(&words->lock, __ATOMIC_SEQ_CST)) sleep_ms(1);
    CHECK("inherit", futex(&words->lock, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    BOOL("mine", (words->lock & FUTEX_TID_MASK) == tid());
    reap("owner", child);
}

static void *die_with_it(void *unused UNUSED) {
    lock(&own.lock, FUTEX_PRIVATE_FLAG);
    while (!(__atomic_load_n(&own.lock, __ATOMIC_SEQ_CST) & FUTEX_WAITERS)) sleep_ms(1);
    return NULL;
}

CASE(lock_of_a_dead_thread) {
    need_them();
    pthread_t thread;
    memset(&own, 0, sizeof own);
    pthread_create(&thread, NULL, die_with_it, NULL);
    while (!__atomic_load_n(&own.lock, __ATOMIC_SEQ_CST)) sleep_ms(1);
    CHECK("inherit", futex(&own.lock, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    BOOL("mine", (own.lock & FUTEX_TID_MASK) == tid());
    pthread_join(thread, NULL);
}

static pthread_mutex_t *robust_mutex(void) {
    pthread_mutex_t *mutex = (void *)shared_words();
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    CHECK_ERROR("init", pthread_mutex_init(mutex, &attributes));
    return mutex;
}

static void use_after_death(pthread_mutex_t *mutex) {
    CHECK_ERROR("lock", pthread_mutex_lock(mutex));
    CHECK_ERROR("consistent", pthread_mutex_consistent(mutex));
    CHECK_ERROR("unlock", pthread_mutex_unlock(mutex));
    CHECK_ERROR("again", pthread_mutex_lock(mutex));
    CHECK_ERROR("unlock", pthread_mutex_unlock(mutex));
}

CASE(robust_mutex_of_a_dead_process) {
    need_them();
    pthread_mutex_t *mutex = robust_mutex();
    pid_t child;
    START_CHILD(child) {
        pthread_mutex_lock(mutex);
        _exit(3);
    }
    reap("owner", child);
    use_after_death(mutex);
}

/* A process that has the mutex when this returns. patience: after how long it kills itself; 0: never. */
static pid_t start_owner(pthread_mutex_t *mutex, int patience) {
    int held[2];
    char byte;
    pid_t child;
    NEED(pipe(held));
    START_CHILD(child) {
        pthread_mutex_lock(mutex);
        NEED(write(held[1], "x", 1));
        if (!patience) for (;;) pause();
        sleep_ms(patience);
        kill(getpid(), SIGKILL);
    }
    NEED(read(held[0], &byte, 1));
    return child;
}

CASE(robust_mutex_of_a_process_that_is_killed) {
    need_them();
    pthread_mutex_t *mutex = robust_mutex();
    pid_t child = start_owner(mutex, 60);
    use_after_death(mutex);
    reap("owner", child);
}

CASE(robust_mutex_of_a_process_that_was_killed) {
    need_them();
    pthread_mutex_t *mutex = robust_mutex();
    pid_t child = start_owner(mutex, 0);
    kill(child, SIGKILL);
    reap("owner", child);
    use_after_death(mutex);
}

static void *hold(void *mutex) {
    pthread_mutex_lock(mutex);
    sleep_ms(60);
    return NULL;
}

CASE(robust_mutex_of_a_dead_thread) {
    need_them();
    pthread_mutex_t *mutex = robust_mutex();
    pthread_t thread;
    pthread_create(&thread, NULL, hold, mutex);
    sleep_ms(20);
    use_after_death(mutex);
    pthread_join(thread, NULL);
}
