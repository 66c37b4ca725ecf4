/* Threads: what pthreads ask of clone, futex, signals, fork and execve. Outcomes only, never an order. */
#include "guest.h"
#include <sys/time.h>
#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static long counted;
static int ready;
static __thread long own = 1;
static volatile sig_atomic_t seen;

static void *count_up(void *rounds) {
    for (long i = 0; i < (long)rounds; i++) {
        pthread_mutex_lock(&mutex);
        counted++;
        pthread_mutex_unlock(&mutex);
    }
    own += (long)rounds;
    return (void *)own;
}

static void *wait_for_ready(void *unused UNUSED) {
    pthread_mutex_lock(&mutex);
    while (!ready) pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
    return (void *)7;
}

static void *wait_for_signal(void *unused UNUSED) {
    while (!seen) usleep(1000);
    return (void *)(long)seen;
}

static void *spin(void *unused UNUSED) {
    for (;;) __asm__ volatile("" ::: "memory");
    return NULL;
}

static void *fork_here(void *unused UNUSED) {
    pid_t child = fork();
    if (!child) _exit(21);
    int status;
    waitpid(child, &status, 0);
    return (void *)(long)WEXITSTATUS(status);
}

static void *read_pipe(void *fd) {
    char byte = 0;
    return (void *)(long)(read((int)(long)fd, &byte, 1) == 1 ? byte : -1);
}

static void *leave_alone(void *code) {
    usleep(20000);
    syscall(SYS_exit, (long)code);
    return NULL;
}

static void note(int signo) { seen = signo; }

static struct { volatile long own, child; volatile int stop; } beside_vfork __attribute__((aligned(4096)));

static void *write_beside_vfork(void *unused UNUSED) {
    long lost = 0;
    for (long i = 1; !beside_vfork.stop; i++) {
        beside_vfork.own = i;
        for (int pause = 0; pause < 100; pause++)
            if (beside_vfork.own != i) lost = 1;
    }
    return (void *)lost;
}

static long joined(pthread_t thread) {
    void *result = NULL;
    int error = pthread_join(thread, &result);
    return error ? -error : (long)result;
}

CASE(mutex_and_thread_locals) {
    pthread_t threads[4];
    for (long i = 0; i < 4; i++) say("create: %d", pthread_create(&threads[i], NULL, count_up, (void *)5000));
    for (int i = 0; i < 4; i++) say("joined: %ld", joined(threads[i]));
    say("counted %ld, own %ld", counted, own);
}

CASE(condition_broadcast) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, wait_for_ready, NULL);
    usleep(20000);
    pthread_mutex_lock(&mutex);
    ready = 1;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 8; i++) say("joined: %ld", joined(threads[i]));
}

CASE(condition_times_out) {
    struct timespec when;
    clock_gettime(CLOCK_REALTIME, &when);
    when.tv_nsec += 30000000;
    if (when.tv_nsec >= 1000000000) when.tv_sec++, when.tv_nsec -= 1000000000;
    pthread_mutex_lock(&mutex);
    say("%s", strerror(pthread_cond_timedwait(&condition, &mutex, &when)));
    pthread_mutex_unlock(&mutex);
}

CASE(signal_to_a_thread) {
    pthread_t thread;
    seen = 0;
    signal(SIGUSR1, note);
    pthread_create(&thread, NULL, wait_for_signal, NULL);
    say("kill: %d", pthread_kill(thread, SIGUSR1));
    say("seen: %d", joined(thread) == SIGUSR1);
}

CASE(signal_to_the_process_reaches_who_does_not_block_it) {
    pthread_t thread;
    sigset_t set;
    seen = 0;
    signal(SIGUSR2, note);
    pthread_create(&thread, NULL, wait_for_signal, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    CHECK("kill", kill(getpid(), SIGUSR2));
    say("seen: %d", joined(thread) == SIGUSR2);
}

CASE(fork_in_a_thread) {
    pthread_t thread;
    pthread_create(&thread, NULL, fork_here, NULL);
    say("status: %ld", joined(thread));
}

CASE(vfork_beside_a_thread_that_writes_the_same_page) {
    pthread_t thread;
    pthread_create(&thread, NULL, write_beside_vfork, NULL);
    for (long i = 1; i <= 20; i++) {
        pid_t child = vfork();
        if (!child) {
            beside_vfork.child = i;
            _exit(0);
        }
        waitpid(child, NULL, 0);
        if (beside_vfork.child != i) say("the child's word is lost");
    }
    beside_vfork.stop = 1;
    say("lost %ld", joined(thread));
}

CASE(one_waits_while_another_works) {
    pthread_t thread;
    int ends[2];
    CHECK("pipe", pipe(ends));
    pthread_create(&thread, NULL, read_pipe, (void *)(long)ends[0]);
    usleep(10000);
    CHECK("write", write(ends[1], "x", 1));
    say("read: %ld", joined(thread));
}

CASE(many_one_after_another) {
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, count_up, (void *)1) || joined(thread) != 2) say("round %d failed", i);
    }
    say("done");
}

CASE(reads_wait_after_the_other_threads_have_ended) {
    pthread_t thread;
    pthread_create(&thread, NULL, count_up, (void *)10);
    pthread_join(thread, NULL);
    int ends[2], good = 0;
    CHECK("pipe", pipe(ends));
    pid_t child = fork();
    if (!child) {
        for (int i = 0; i < 50; i++) {
            usleep(2000);
            if (write(ends[1], "x", 1) != 1) _exit(1);
        }
        _exit(0);
    }
    for (int i = 0; i < 50; i++) {
        char byte = 0;
        for (int calls = 0; calls < 100; calls++) good += getppid() > 0; /* many: Noah may answer them beside */
        good += read(ends[0], &byte, 1) == 1 && byte == 'x';
    }
    say("%d", good);
    reap("child", child);
}

CASE(leader_ends_first) {
    pid_t child = fork();
    if (!child) {
        pthread_t thread;
        pthread_create(&thread, NULL, leave_alone, (void *)3);
        syscall(SYS_exit, 5L);
    }
    int status;
    CHECK("wait", waitpid(child, &status, 0) == child);
    say("exited %d, status %d", WIFEXITED(status), WEXITSTATUS(status));
}

CASE(exit_group_ends_a_spinning_thread) {
    pid_t child = fork();
    if (!child) {
        pthread_t thread;
        pthread_create(&thread, NULL, spin, NULL);
        usleep(10000);
        exit(9);
    }
    int status;
    CHECK("wait", waitpid(child, &status, 0) == child);
    say("exited %d, status %d", WIFEXITED(status), WEXITSTATUS(status));
}

CASE(robust_mutex_of_a_dead_owner) {
    pthread_mutexattr_t attributes;
    pthread_mutex_t *robust = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(robust, &attributes);
    pid_t child = fork();
    if (!child) {
        pthread_mutex_lock(robust);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    say("lock: %s", strerror(pthread_mutex_lock(robust)));
    say("consistent: %d", pthread_mutex_consistent(robust));
    say("unlock: %d", pthread_mutex_unlock(robust));
}

CASE_WITH_PROGRAMS(exec_from_a_thread_that_is_not_the_first) {
    pid_t child = fork();
    if (!child) {
        pthread_t thread;
        pthread_create(&thread, NULL, spin, NULL);
        usleep(10000);
        execl("/bin/echo", "echo", "executed", NULL);
    }
    int status;
    waitpid(child, &status, 0);
    say("status %d", WEXITSTATUS(status));
}

static void *wait_for_two_signals(void *unused UNUSED) {
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    long sum = 0;
    for (int i = 0; i < 2; i++) {
        if (sigwaitinfo(&set, &info) == SIGRTMIN) sum += info.si_value.sival_int;
    }
    return (void *)sum;
}

CASE(sigwaitinfo_in_a_thread_lets_others_work) {
    pthread_t thread;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_create(&thread, NULL, wait_for_two_signals, NULL);
    usleep(10000);
    CHECK("to the process", sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 30}));
    usleep(10000);
    CHECK("to the thread", pthread_sigqueue(thread, SIGRTMIN, (union sigval){.sival_int = 4}));
    say("sum: %ld", joined(thread));
}

static void count_expiry(union sigval value) { __atomic_fetch_add((long *)value.sival_ptr, 1, __ATOMIC_SEQ_CST); }

CASE(timer_that_starts_threads) {
    long expired = 0;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = count_expiry};
    struct itimerspec often = {{0, 20000000}, {0, 20000000}}, off = {{0, 0}, {0, 0}};
    timer_t timer;
    event.sigev_value.sival_ptr = &expired;
    CHECK("create", timer_create(CLOCK_MONOTONIC, &event, &timer));
    CHECK("start", timer_settime(timer, 0, &often, NULL));
    for (int i = 0; i < 500 && __atomic_load_n(&expired, __ATOMIC_SEQ_CST) < 3; i++) sleep_ms(10);
    CHECK("stop", timer_settime(timer, 0, &off, NULL));
    BOOL("expired", __atomic_load_n(&expired, __ATOMIC_SEQ_CST) >= 3);
    CHECK("delete", timer_delete(timer));
    struct sigevent nobody = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    nobody._sigev_un._tid = 0x3ffffff;
    CHECK("no such thread", timer_create(CLOCK_MONOTONIC, &nobody, &timer));
}

static pthread_t burner;
static _Atomic int by_burner, by_others;

static void count_by_thread(int number UNUSED) {
    if (pthread_equal(pthread_self(), burner)) by_burner++;
    else by_others++;
}

static _Atomic bool burnt;

static void *burn(void *signal_number) {
    burner = pthread_self();
    int64_t end = now_ns(CLOCK_MONOTONIC) + 5000000000;
    while (by_burner + by_others < 8 && now_ns(CLOCK_MONOTONIC) < end) {}
    burnt = true;
    return signal_number;
}

static void *idle(void *unused) {
    struct timespec moment = {0, 5000000};
    while (!burnt) nanosleep(&moment, NULL);
    return unused;
}

static void measure(const char *name, int number) {
    pthread_t threads[3];
    by_burner = by_others = 0;
    burnt = false;
    signal(number, count_by_thread);
    for (int i = 0; i < 2; i++) NEED(-pthread_create(&threads[i], NULL, idle, NULL));
    NEED(-pthread_create(&threads[2], NULL, burn, NULL));
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    say("%s: some %d, most by who runs %d", name, by_burner + by_others >= 8, by_burner > 2 * by_others);
}

CASE(processor_time_is_told_to_who_used_it) {
    IN_CHILD("child") {
        struct itimerval every = {{0, 10000}, {0, 10000}}, none = {{0, 0}, {0, 0}};
        NEED(setitimer(ITIMER_PROF, &every, NULL));
        measure("ITIMER_PROF", SIGPROF);
        NEED(setitimer(ITIMER_PROF, &none, NULL));
        NEED(setitimer(ITIMER_VIRTUAL, &every, NULL));
        measure("ITIMER_VIRTUAL", SIGVTALRM);
        NEED(setitimer(ITIMER_VIRTUAL, &none, NULL));
        timer_t timer;
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
        struct itimerspec often = {{0, 10000000}, {0, 10000000}};
        NEED(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer));
        NEED(timer_settime(timer, 0, &often, NULL));
        measure("CLOCK_PROCESS_CPUTIME_ID", SIGUSR1);
    }
}
