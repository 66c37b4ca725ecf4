/* For test_ends.py: gets into a state that only somebody else can end, says "ready" when it is there. */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
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

static int listening, events;

static void *accept_one(void *unused) {
    accept(listening, NULL, NULL);
    return unused;
}

static void *await_event(void *unused) {
    struct epoll_event event;
    epoll_wait(events, &event, 1, -1);
    return unused;
}

static void start(void *(*what)(void *)) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, what, NULL)) abort();
}

/* What a killed process held goes to others: a semaphore with SEM_UNDO, locks, a port and a name. */

static int listen_at(const struct sockaddr *address, socklen_t length) {
    int fd = socket(address->sa_family, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, address, length) || listen(fd, 1)) return -1;
    return fd;
}

static void hold(sem_t *held, int set, const char *path, const struct sockaddr_in *port, const struct sockaddr_un *name) {
    struct sembuf down = {0, -1, SEM_UNDO};
    int file = open(path, O_RDWR);
    if (semop(set, &down, 1) || flock(file, LOCK_EX)) _exit(1);
    if (lockf(file, F_LOCK, 10) || listen_at((const void *)port, sizeof(*port)) < 0) _exit(2);
    if (listen_at((const void *)name, sizeof(*name)) < 0) _exit(3);
    start(spin);
    sem_post(held);
    pause();
}

static int inherit(void) {
    struct sockaddr_in port = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(port);
    struct sembuf up = {0, 1, 0}, down = {0, -1, 0};
    sem_t *held = mmap(NULL, sizeof(*held), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int set = semget(IPC_PRIVATE, 1, 0600), status, fd = listen_at((void *)&port, sizeof(port));
    sem_init(held, 1, 0);
    if (getsockname(fd, (void *)&port, &length) || close(fd) || semop(set, &up, 1)) return 10;
    snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "noah-ends-%d", getpid());
    char path[] = "/tmp/noah-ends-XXXXXX";
    int file = mkstemp(path);
    pid_t child = fork();
    if (child == 0) {
        hold(held, set, path, &port, &name);
    }
    while (sem_wait(held)) {}
    ready();
    kill(child, SIGKILL);
    if (semop(set, &down, 1)) return 12;
    if (waitpid(child, &status, 0) != child || status != SIGKILL) return 13;
    if (flock(file, LOCK_EX | LOCK_NB) || lockf(file, F_TLOCK, 10) || unlink(path)) return 14;
    if (listen_at((void *)&port, sizeof(port)) < 0 || listen_at((void *)&name, sizeof(name)) < 0) return 15;
    return semctl(set, 0, IPC_RMID);
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
    } else if (!strcmp(state, "inherit")) {
        return inherit();
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
    } else if (!strcmp(state, "listen")) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct epoll_event event = {.events = EPOLLPRI};
        socklen_t size = sizeof address;
        listening = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(listening, (struct sockaddr *)&address, size) || listen(listening, 5)) return errno;
        if (getsockname(listening, (struct sockaddr *)&address, &size)) return errno;
        events = epoll_create1(0);
        if (events >= 0) epoll_ctl(events, EPOLL_CTL_ADD, listening, &event);
        start(accept_one);
        start(await_event);
        if (fork() == 0) accept_one(NULL);  // a child has the socket, too
        dprintf(STDOUT_FILENO, "ready %d\n", ntohs(address.sin_port));
        pause();
    } else if (!strcmp(state, "stopped")) {
        // The group of the child is orphaned when its parent ends: SIGHUP and SIGCONT for it, setpgid(2).
        pid_t child = fork();
        if (child == 0) {
            setpgid(0, 0);
            raise(SIGSTOP);
            pause();
        }
        if (waitpid(child, NULL, WUNTRACED) != child) return errno;
        ready();
        pause();
    }
    return errno;
}
