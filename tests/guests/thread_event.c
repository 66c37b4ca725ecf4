/* Several threads of a process wait for events. */
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "guest.h"

static int set, event;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int taken;

static void *take_one(void *unused UNUSED) {
    uint64_t value;
    if (read(event, &value, 8) != 8) return NULL;
    pthread_mutex_lock(&lock);
    taken += value;
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void *serve(void *unused UNUSED) {
    struct epoll_event found;
    for (;;) {
        if (epoll_wait(set, &found, 1, -1) != 1) continue;
        if (found.data.u32 == 0) return NULL;
        uint64_t value;
        if (read(found.data.u32, &value, 8) != 8) continue;
        pthread_mutex_lock(&lock);
        taken += value;
        pthread_mutex_unlock(&lock);
    }
}

static int sum(void) {
    pthread_mutex_lock(&lock);
    int now = taken;
    pthread_mutex_unlock(&lock);
    return now;
}

CASE(counter) {
    pthread_t threads[4];
    event = NEED(eventfd(0, EFD_SEMAPHORE));
    for (int i = 0; i < 4; i++) CHECK_ERROR("start", pthread_create(&threads[i], NULL, take_one, NULL));
    for (uint64_t i = 0, one = 1; i < 4; i++) {
        sleep_ms(5);
        NEED(write(event, &one, 8));
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    say("taken %d", taken);
}

CASE(workers) {
    taken = 0;
    pthread_t threads[3];
    set = NEED(epoll_create1(0));
    for (int i = 0; i < 3; i++) CHECK_ERROR("start", pthread_create(&threads[i], NULL, serve, NULL));
    sleep_ms(20);
    int files[4];
    for (int i = 0; i < 4; i++) {
        files[i] = NEED(eventfd(0, EFD_NONBLOCK));
        struct epoll_event wanted = {.events = EPOLLIN | EPOLLET | (i % 2 ? EPOLLEXCLUSIVE : 0), .data.u32 = files[i]};
        NEED(epoll_ctl(set, EPOLL_CTL_ADD, files[i], &wanted));
    }
    for (int round = 0; round < 20; round++) {
        uint64_t one = 1;
        NEED(write(files[round % 4], &one, 8));
        while (sum() <= round) sleep_ms(1);
    }
    say("taken %d", sum());
    int end = NEED(eventfd(1, 0));
    struct epoll_event wanted = {.events = EPOLLIN};
    NEED(epoll_ctl(set, EPOLL_CTL_ADD, end, &wanted));
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

static void *signal_reader(void *argument) {
    struct signalfd_siginfo info;
    long n = read((int)(long)argument, &info, sizeof info);
    say("read %ld: %s", n, signal_name(info.ssi_signo));
    return NULL;
}

CASE(signals) {
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    int fd = NEED(signalfd(-1, &usr1, 0));
    pthread_t thread;
    CHECK_ERROR("start", pthread_create(&thread, NULL, signal_reader, (void *)(long)fd));
    sleep_ms(30);
    NEED(kill(getpid(), SIGUSR1));
    pthread_join(thread, NULL);
    struct pollfd one = {fd, POLLIN, 0};
    CHECK("none left", poll(&one, 1, 0));
    pthread_kill(pthread_self(), SIGUSR1);
    CHECK("own", poll(&one, 1, 1000));
    signal_reader((void *)(long)fd);
}
