/* Who is at the other end: SO_PEERCRED, SCM_CREDENTIALS (unix(7)). */
#include "guest.h"
#include <grp.h>
#include <sys/socket.h>
#include <sys/un.h>

static pid_t first;  /* the process that the case runs in */

static const char *who(pid_t pid) { return pid == getpid() ? "this" : pid == first ? "the first" : pid > 0 ? "another" : "0"; }

static void peer(const char *name, int fd) {
    struct ucred found;
    socklen_t length = sizeof found;
    CHECK(name, getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &found, &length));
    say("%u bytes: %s %d %d", length, who(found.pid), found.uid, found.gid);
}

static void send_as(const char *name, int fd, pid_t pid, uid_t uid, gid_t gid) {
    struct ucred own = {pid, uid, gid};
    union { struct cmsghdr head; char room[CMSG_SPACE(sizeof own)]; } control = {
        .head = {CMSG_LEN(sizeof own), SOL_SOCKET, SCM_CREDENTIALS}};
    memcpy(CMSG_DATA(&control.head), &own, sizeof own);
    struct iovec text = {"x", 1};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    CHECK(name, sendmsg(fd, &message, 0));
}

static void receive(const char *name, int fd) {
    union { struct cmsghdr head; char room[100]; } control;
    char byte;
    struct iovec text = {&byte, 1};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);
    guest_result(name, length, errno);
    if (length == -1) return;
    for (struct cmsghdr *one = CMSG_FIRSTHDR(&message); one; one = CMSG_NXTHDR(&message, one)) {
        struct ucred *found = (void *)CMSG_DATA(one);
        say("type %d: %s %d %d", one->cmsg_type, who(found->pid), found->uid, found->gid);
    }
}

CASE(pair) {
    int ends[2], on = 1;
    first = getpid();
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    peer("peer", ends[0]);
    NEED(write(ends[1], "x", 1));
    receive("not asked for", ends[0]);
    NEED(setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    NEED(write(ends[1], "x", 1));
    receive("asked for", ends[0]);
    send_as("explicitly", ends[1], getpid(), getuid(), getgid());
    receive("explicitly", ends[0]);
    IN_CHILD("child") {
        peer("peer", ends[0]);
        NEED(write(ends[1], "x", 1));
        send_as("parent's id", ends[1], getppid(), getuid(), getgid());
    }
    receive("from the child", ends[0]);
}

CASE(users) {
    if (geteuid() != 0) {
        say("needs root");
        return;
    }
    int ends[2], on = 1, listener = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un address = {AF_UNIX, "socket"};
    first = getpid();
    NEED(bind(listener, (struct sockaddr *)&address, sizeof address));
    NEED(chmod("socket", 0777));
    NEED(listen(listener, 5));
    NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
    NEED(setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    int told[2], done[2];
    char byte;
    pid_t child;
    NEED(pipe(told));
    NEED(pipe(done));
    NEED(chmod(".", 0755));
    START_CHILD(child) {
        NEED(setgroups(0, NULL));
        NEED(setresgid(5001, 5002, 5003));
        NEED(setresuid(6001, 6002, 6003));
        int fd = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
        NEED(connect(fd, (struct sockaddr *)&address, sizeof address));
        peer("who listens", fd);
        NEED(write(ends[1], "x", 1));
        send_as("real", ends[1], getpid(), 6001, 5001);
        send_as("somebody", ends[1], getpid(), 77, 5001);
        send_as("some group", ends[1], getpid(), 6001, 77);
        send_as("another process", ends[1], getppid(), 6001, 5001);
        NEED(write(done[1], "x", 1));
        NEED(read(told[0], &byte, 1));
    }
    int fd = NEED(accept(listener, NULL, NULL));
    NEED(read(done[0], &byte, 1));
    peer("who connects", fd);
    receive("by itself", ends[0]);
    receive("explicitly", ends[0]);
    receive("nothing more", ends[0]);
    NEED(write(told[1], "x", 1));
    reap("child", child);
}
