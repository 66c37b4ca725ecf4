/* What processes have in common, and what one takes from another: kcmp(2), pidfd_getfd(2), process_madvise(2). */
#include "memory.h"
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { FILE_, VM, FILES, FS, SIGHAND, IO, SYSVSEM, EPOLL_TFD };

static long compare(pid_t one, pid_t two, int type, long first, long second) {
    long result = syscall(SYS_kcmp, one, two, type, first, second);
    return result > 0 ? 1 : result; /* which of them is less is nobody's business */
}

static int ends[2];
static pid_t thread_id;

static void *wait_for_it(void *own) {
    char byte;
    if (own) NEED(unshare(CLONE_FILES));
    thread_id = gettid();
    NEED(write(ends[1], "x", 1));
    NEED(read(((int *)ends)[0], &byte, 1));
    return NULL;
}

CASE(own) {
    pid_t self = getpid();
    int fd = NEED(open("/dev/null", O_RDONLY)), same = NEED(dup(fd)), other = NEED(open("/dev/null", O_RDONLY));
    CHECK("dup", compare(self, self, FILE_, fd, same));
    CHECK("another", compare(self, self, FILE_, fd, other));
    long one = syscall(SYS_kcmp, self, self, FILE_, fd, other), two = syscall(SYS_kcmp, self, self, FILE_, other, fd);
    BOOL("an order", one + two == 3);
    CHECK("not open", compare(self, self, FILE_, fd, 99));
    CHECK("not open", compare(self, self, FILE_, 99, fd));
    for (int type = VM; type <= SYSVSEM; type++) CHECK("the same", compare(self, self, type, 0, 0));
    CHECK("unknown", compare(self, self, 8, 0, 0));
    CHECK("negative", compare(self, self, -1, 0, 0));
    CHECK("nobody", compare(self, 0x3ffffff, VM, 0, 0));
    CHECK("zero", compare(0, self, VM, 0, 0));
    for (int own_files = 0; own_files < 2; own_files++) {
        pthread_t thread;
        int mine[2];
        NEED(pipe(ends));
        NEED(pipe(mine));
        int reading = ends[0];
        ends[0] = mine[0];
        NEED(-pthread_create(&thread, NULL, wait_for_it, own_files ? mine : NULL));
        char byte;
        NEED(read(reading, &byte, 1));
        CHECK("memory of threads", compare(self, thread_id, VM, 0, 0));
        CHECK("files of threads", compare(self, thread_id, FILES, 0, 0));
        CHECK("directories of threads", compare(thread_id, self, FS, 0, 0));
        CHECK("a file of threads", compare(thread_id, self, FILE_, fd, fd));
        NEED(write(mine[1], "x", 1));
        pthread_join(thread, NULL);
        close(reading), close(mine[0]), close(mine[1]), close(ends[1]);
    }
}

CASE(of_another_process) {
    int go[2], ready[2];
    pid_t child, self = getpid();
    char byte, text[16] = "";
    NEED(pipe(go) | pipe(ready));
    int fd = NEED(open("/dev/null", O_RDONLY));
    START_CHILD(child) {
        close(go[1]);
        int file = NEED(open("file", O_RDWR | O_CREAT, 0644)), pair[2];
        NEED(write(file, "0123456789", 10));
        NEED(lseek(file, 4, SEEK_SET));
        NEED(dup2(file, 50));
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        NEED(dup2(pair[0], 51));
        NEED(write(ready[1], "x", 1));
        NEED(read(go[0], &byte, 1));
        say("at %ld", (long)lseek(file, 0, SEEK_CUR));
        NEED(recv(pair[1], text, 5, MSG_DONTWAIT));
        say("%s", text);
    }
    close(go[0]);
    NEED(read(ready[0], &byte, 1));
    CHECK("inherited", compare(self, child, FILE_, fd, fd));
    CHECK("another", compare(self, child, FILE_, fd, 50));
    CHECK("the other's", compare(child, child, FILE_, fd, fd));
    CHECK("not open", compare(child, self, FILE_, 99, fd));
    CHECK("memory", compare(self, child, VM, 0, 0));
    CHECK("files", compare(child, self, FILES, 0, 0));
    int pidfd = NEED(syscall(SYS_pidfd_open, child, 0));
    int taken = NEED(syscall(SYS_pidfd_getfd, pidfd, 50, 0)), socket = NEED(syscall(SYS_pidfd_getfd, pidfd, 51, 0));
    CHECK("close on exec", fcntl(taken, F_GETFD));
    CHECK("the same", compare(self, child, FILE_, taken, 50));
    CHECK("read", read(taken, text, 3));
    say("%s", text);
    CHECK("send", send(socket, "hello", 5, 0));
    CHECK("not open", syscall(SYS_pidfd_getfd, pidfd, 99, 0));
    CHECK("flags", syscall(SYS_pidfd_getfd, pidfd, 50, 1));
    CHECK("no pidfd", syscall(SYS_pidfd_getfd, fd, 50, 0));
    IN_CHILD("another user") {
        NEED(setresuid(65534, 65534, 65534));
        CHECK("take", syscall(SYS_pidfd_getfd, pidfd, 50, 0));
        CHECK("compare", compare(getpid(), child, VM, 0, 0));
    }
    NEED(write(go[1], "x", 1));
    reap("child", child);
}

CASE(advice) {
    char *area = pages(4, READ_WRITE), *other = pages(2, READ_WRITE);
    int self = NEED(syscall(SYS_pidfd_open, getpid(), 0)), go[2];
    struct iovec ranges[] = {{area, 2 * PAGE}, {other, PAGE}};
    CHECK("own", syscall(SYS_process_madvise, self, ranges, 2, 20 /* MADV_COLD */, 0));
    CHECK("flags", syscall(SYS_process_madvise, self, ranges, 2, 20, 1));
    CHECK("no pidfd", syscall(SYS_process_madvise, 0, ranges, 2, 20, 0));
    CHECK("bad advice", syscall(SYS_process_madvise, self, ranges, 2, 77, 0));
    CHECK("bad ranges", syscall(SYS_process_madvise, self, BAD_POINTER, 2, 20, 0));
    CHECK("too many", syscall(SYS_process_madvise, self, ranges, 1025, 20, 0));
    pid_t child;
    NEED(pipe(go));
    START_CHILD(child) {
        char byte;
        close(go[1]);
        NEED(read(go[0], &byte, 1));
    }
    int pidfd = NEED(syscall(SYS_pidfd_open, child, 0));
    CHECK("the child's", syscall(SYS_process_madvise, pidfd, ranges, 2, 20, 0));
    CHECK("not for others", syscall(SYS_process_madvise, pidfd, ranges, 2, MADV_DONTNEED, 0));
    ranges[1] = (struct iovec){(void *)0x10000, PAGE};
    CHECK("part of it", syscall(SYS_process_madvise, pidfd, ranges, 2, 20, 0));
    CHECK("none of it", syscall(SYS_process_madvise, pidfd, ranges + 1, 1, 20, 0));
    NEED(write(go[1], "x", 1));
    reap("child", child);
}
