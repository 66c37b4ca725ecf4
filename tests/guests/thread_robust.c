/* Robust mutexes between processes whose owner is killed or executes another program: those who wait get EOWNERDEAD. */
#include "guest.h"
#include <pthread.h>

struct shared {
    pthread_mutex_t mutex;
    unsigned turn;
};

static struct shared *make_mutex(void) {
    struct shared *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attributes;
    NEED((long)shared);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    CHECK_ERROR("init", pthread_mutex_init(&shared->mutex, &attributes));
    return shared;
}

static void await_turn(struct shared *shared, unsigned turn) {
    while (__atomic_load_n(&shared->turn, __ATOMIC_SEQ_CST) != turn) sleep_ms(1);
}

static void end_turn(struct shared *shared) { __atomic_fetch_add(&shared->turn, 1, __ATOMIC_SEQ_CST); }

static pid_t start_owner(struct shared *shared) {
    pid_t child;
    START_CHILD(child) {
        pthread_mutex_lock(&shared->mutex);
        end_turn(shared);
        for (;;) pause();
    }
    await_turn(shared, 1);
    return child;
}

static void use_after_death(pthread_mutex_t *mutex) {
    CHECK_ERROR("lock", pthread_mutex_lock(mutex));
    CHECK_ERROR("consistent", pthread_mutex_consistent(mutex));
    CHECK_ERROR("unlock", pthread_mutex_unlock(mutex));
    CHECK_ERROR("again", pthread_mutex_trylock(mutex));
    CHECK_ERROR("unlock", pthread_mutex_unlock(mutex));
}

CASE(killed_and_not_reaped) {
    struct shared *shared = make_mutex();
    pid_t owner = start_owner(shared);
    kill(owner, SIGKILL);
    use_after_death(&shared->mutex);
    reap("owner", owner);
}

CASE(killed_and_reaped) {
    struct shared *shared = make_mutex();
    pid_t owner = start_owner(shared);
    kill(owner, SIGKILL);
    reap("owner", owner);
    use_after_death(&shared->mutex);
}

CASE(killed_while_others_wait) {
    struct shared *shared = make_mutex();
    pid_t owner = start_owner(shared), waiters[3];
    int found[2], results[3];
    NEED(pipe(found));
    for (int i = 0; i < 3; i++) {
        START_CHILD(waiters[i]) {
            int error = pthread_mutex_lock(&shared->mutex);
            if (error == EOWNERDEAD) pthread_mutex_consistent(&shared->mutex);
            NEED(write(found[1], &error, sizeof error));
            sleep_ms(5);
            if (!error || error == EOWNERDEAD) pthread_mutex_unlock(&shared->mutex);
            _exit(0);
        }
    }
    sleep_ms(60);
    kill(owner, SIGKILL);
    reap("owner", owner);
    for (int i = 0; i < 3; i++) {
        reap("waiter", waiters[i]);
        NEED(read(found[0], &results[i], sizeof results[i]));
        CHECK_ERROR("lock", results[i]);
    }
}

CASE(alive_until_the_time_is_up) {
    struct shared *shared = make_mutex();
    pid_t owner = start_owner(shared);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 80000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    CHECK_ERROR("timed lock", pthread_mutex_timedlock(&shared->mutex, &until));
    CHECK_ERROR("try", pthread_mutex_trylock(&shared->mutex));
    kill(owner, SIGKILL);
    until.tv_sec += 20;
    CHECK_ERROR("timed lock", pthread_mutex_timedlock(&shared->mutex, &until));
    reap("owner", owner);
}

static void *hold(void *shared) {
    pthread_mutex_lock(&((struct shared *)shared)->mutex);
    end_turn(shared);
    pause();
    return NULL;
}

CASE(held_by_a_second_thread) {
    struct shared *shared = make_mutex();
    pid_t owner;
    START_CHILD(owner) {
        pthread_t thread;
        pthread_create(&thread, NULL, hold, shared);
        for (;;) pause();
    }
    await_turn(shared, 1);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    CHECK_ERROR("while it lives", pthread_mutex_timedlock(&shared->mutex, &until));
    kill(owner, SIGKILL);
    use_after_death(&shared->mutex);
    reap("owner", owner);
}

CASE_WITH_PROGRAMS(owner_executes_another_program) {
    struct shared *shared = make_mutex();
    pid_t owner;
    START_CHILD(owner) {
        pthread_mutex_lock(&shared->mutex);
        end_turn(shared);
        execl("/bin/sleep", "sleep", "60", (char *)NULL);
        _exit(1);
    }
    await_turn(shared, 1);
    use_after_death(&shared->mutex);
    kill(owner, SIGKILL);
    reap("owner", owner);
}
