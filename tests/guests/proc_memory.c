/* Memory of processes and name spaces: process_vm_readv(2), process_vm_writev(2), unshare(2), setns(2). */
#include "memory.h"
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/uio.h>

CASE(own) {
    char from[] = "0123456789", to[16] = "", more[4] = "";
    struct iovec local[] = {{to, 3}, {more, 3}}, remote[] = {{from + 1, 2}, {from + 5, 5}};
    CHECK("read", process_vm_readv(getpid(), local, 2, remote, 2, 0));
    say("%.3s %.3s", to, more);
    strcpy(to, "abc"), strcpy(more, "def");
    CHECK("write", process_vm_writev(getpid(), local, 2, remote, 2, 0));
    say("%s", from);
    CHECK("flags", process_vm_readv(getpid(), local, 2, remote, 2, 1));
    CHECK("nothing", process_vm_readv(getpid(), local, 0, remote, 2, 0));
    CHECK("no process", process_vm_readv(0x3ffffff, local, 2, remote, 2, 0));
    CHECK("too many", process_vm_readv(getpid(), local, 2, remote, 1025, 0));
    CHECK("bad local", process_vm_readv(getpid(), BAD_POINTER, 1, remote, 2, 0));
    CHECK("bad remote", process_vm_readv(getpid(), local, 2, BAD_POINTER, 1, 0));
    char *two = pages(2, READ_WRITE);
    NEED(munmap(two + PAGE, PAGE));
    char *room = pages(2, READ_WRITE);
    struct iovec all = {room, 2 * PAGE}, edge = {two + PAGE - 5, 20}, gone = {two + PAGE, 5};
    CHECK("to the edge", process_vm_readv(getpid(), &all, 1, &edge, 1, 0));
    CHECK("beyond it", process_vm_readv(getpid(), &all, 1, &gone, 1, 0));
    NEED(mprotect(two, PAGE, PROT_READ));
    CHECK("read-only", process_vm_writev(getpid(), &all, 1, &edge, 1, 0));
}

static void *wait_for_it(void *ends) {
    char byte;
    NEED(read(((int *)ends)[0], &byte, 1));
    return NULL;
}

CASE(unsharing) {
    CHECK("nothing", unshare(0));
    CHECK("files", unshare(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM));
    CHECK("memory", unshare(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD));
    CHECK("unknown", unshare(1));
    CHECK("pidfd", unshare(CLONE_PIDFD));
    CHECK("parent", unshare(CLONE_PARENT));
    CHECK("vfork", unshare(CLONE_NEWNS | CLONE_VFORK));
    int ends[2];
    pthread_t thread;
    NEED(pipe(ends));
    NEED(-pthread_create(&thread, NULL, wait_for_it, ends));
    CHECK("memory with threads", unshare(CLONE_VM));
    CHECK("user with threads", unshare(CLONE_NEWUSER));
    NEED(write(ends[1], "x", 1));
    pthread_join(thread, NULL);
    CHECK("no descriptor", setns(99, 0));
    int fd = NEED(open("/dev/null", O_RDONLY));
    CHECK("no name space", setns(fd, 0));
    CHECK("no name space", setns(fd, CLONE_NEWNET));
    int self = NEED(syscall(SYS_pidfd_open, getpid(), 0));
    CHECK("which", setns(self, 0));
    CHECK("which", setns(self, CLONE_VM));
}

CASE(of_another_process) {
    static char text[] = "0123456789";
    char *area = pages(3, READ_WRITE), *large = pages(512, READ_WRITE), *copy = pages(512, READ_WRITE);
    int ends[2];
    pid_t child;
    NEED(pipe(ends));
    NEED(munmap(area + 2 * PAGE, PAGE));
    START_CHILD(child) {
        char byte;
        close(ends[1]);
        strcpy(text, "abcdefghij");
        memset(area, 'x', 2 * PAGE);
        for (size_t i = 0; i < 512 * PAGE; i++) large[i] = i * 7 >> 3;
        NEED(prctl(PR_SET_NAME, "ready"));
        NEED(read(ends[0], &byte, 1));
        say("child has %s %.5s", text, area + 2 * PAGE - 5);
    }
    char comm[16], path[64], to[24] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", child);
    do {
        int fd = NEED(open(path, O_RDONLY));
        comm[NEED(read(fd, comm, 15))] = 0;
        close(fd);
    } while (strcmp(comm, "ready\n"));
    struct iovec local = {to, 10}, remote = {text, 10};
    CHECK("read", process_vm_readv(child, &local, 1, &remote, 1, 0));
    say("%s, mine %s", to, text);
    remote = (struct iovec){text + 2, 3};
    memcpy(to, "XYZ", 3);
    CHECK("write", process_vm_writev(child, &local, 1, &remote, 1, 0));
    struct iovec edge = {area + 2 * PAGE - 5, 20}, gone = {area + 2 * PAGE, 5};
    CHECK("to the edge", process_vm_readv(child, &local, 1, &edge, 1, 0));
    CHECK("beyond it", process_vm_readv(child, &local, 1, &gone, 1, 0));
    local.iov_len = 20;
    memcpy(to, "01234567890123456789", 20);
    CHECK("write to the edge", process_vm_writev(child, &local, 1, &edge, 1, 0));
    CHECK("write beyond it", process_vm_writev(child, &local, 1, &gone, 1, 0));
    struct iovec all = {copy, 512 * PAGE}, whole = {large, 512 * PAGE};
    CHECK("2 MiB", process_vm_readv(child, &all, 1, &whole, 1, 0));
    size_t right = 0;
    while (right < 512 * PAGE && copy[right] == (char)(right * 7 >> 3)) right++;
    say("right %zu", right);
    IN_CHILD("another user") {
        NEED(setresuid(65534, 65534, 65534));
        CHECK("read", process_vm_readv(child, &local, 1, &remote, 1, 0));
    }
    NEED(write(ends[1], "x", 1));
    reap("child", child);
}
