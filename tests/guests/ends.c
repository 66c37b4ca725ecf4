/* For test_ends.py: gets into a state that only somebody else can end, says "ready" when it is there. */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER, two = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;

static void ready(void) {
    if (write(STDOUT_FILENO, "ready\n", 6) != 6) _exit(1);
}

static void *lock_crosswise(void *unused) {
    pthread_mutex_lock(&two);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&one);
    return unused;
}

static void *spin(void *unused) {
    for (volatile long count = 0;; count++) {}
    return unused;
}

static void start(void *(*what)(void *)) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, what, NULL)) abort();
}

int main(int argc, char **argv) {
    const char *state = argc > 1 ? argv[1] : "";
    if (!strcmp(state, "deadlock")) {
        pthread_barrier_init(&both, NULL, 2);
        start(lock_crosswise);
        pthread_mutex_lock(&one);
        pthread_barrier_wait(&both);
        ready();
        pthread_mutex_lock(&two);
    } else if (!strcmp(state, "spin")) {
        for (int i = 0; i < 3; i++) start(spin);
        ready();
        spin(NULL);
    } else if (!strcmp(state, "crash")) {
        for (int i = 0; i < 3; i++) start(spin);
        ready();
        *(volatile int *)8 = 1;
    } else if (!strcmp(state, "shared")) {
        sem_t semaphore;
        sem_init(&semaphore, 1, 0);
        ready();
        sem_wait(&semaphore);
    } else if (!strcmp(state, "ipc")) {
        int segment = shmget(0x6e6f6168, 1 << 20, IPC_CREAT | 0600), set = semget(0x6e6f6168, 1, IPC_CREAT | 0600);
        memset(shmat(segment, NULL, 0), 'x', 1 << 20);
        if (msgget(0x6e6f6168, IPC_CREAT | 0600) < 0 || mq_open("/noah-ends", O_CREAT | O_RDWR, 0600, NULL) < 0) return 1;
        if (fork() == 0) {
            struct sembuf down = {0, -1, SEM_UNDO};
            semop(set, &down, 1);
        }
        ready();
        pause();
    }
    return errno;
}
