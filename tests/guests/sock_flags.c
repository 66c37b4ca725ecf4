/* Flags of send(2) and recv(2), several messages at once, descriptors in messages. */
#include "guest.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

static void pair_of(int type, int ends[2]) { NEED(socketpair(AF_UNIX, type, 0, ends)); }

static void receive(const char *name, int fd, size_t size, int flags) {
    char text[64] = "";
    errno = 0;
    ssize_t length = recv(fd, text, size, flags);
    if (length == -1) guest_result(name, -1, errno);
    else say("%s: %zd %.10s", name, length, text);
}

/* Two connected TCP sockets. */
static void tcp(int ends[2]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = NEED(socket(AF_INET, SOCK_STREAM, 0));
    NEED(bind(listener, (struct sockaddr *)&address, length));
    NEED(listen(listener, 1));
    NEED(getsockname(listener, (struct sockaddr *)&address, &length));
    ends[0] = NEED(socket(AF_INET, SOCK_STREAM, 0));
    NEED(connect(ends[0], (struct sockaddr *)&address, length));
    ends[1] = NEED(accept(listener, NULL, NULL));
    close(listener);
}

CASE(streams) {
    int ends[2];
    pair_of(SOCK_STREAM, ends);
    receive("nothing there", ends[0], 10, MSG_DONTWAIT);
    NEED(write(ends[1], "abcdef", 6));
    receive("peek", ends[0], 3, MSG_PEEK);
    receive("read", ends[0], 2, 0);
    receive("all that is there", ends[0], 10, MSG_WAITALL | MSG_DONTWAIT);
    pid_t child;
    START_CHILD(child) {
        NEED(write(ends[1], "123", 3));
        sleep_ms(30);
        NEED(write(ends[1], "456", 3));
    }
    receive("wait for all", ends[0], 6, MSG_WAITALL);
    reap("child", child);
    NEED(write(ends[1], "xy", 2));
    close(ends[1]);
    receive("wait for all to the end", ends[0], 6, MSG_WAITALL);
    receive("end", ends[0], 6, 0);
    CHECK("nobody reads", send(ends[0], "x", 1, MSG_NOSIGNAL));
}

CASE(without_flags) {
    int pair[2], alone = NEED(socket(AF_INET, SOCK_STREAM, 0)), listener = NEED(socket(AF_INET, SOCK_STREAM, 0));
    char text[8] = "";
    NEED(listen(listener, 1));
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    signal(SIGPIPE, SIG_IGN);
    CHECK("send", send(pair[0], "abcdef", 6, 0));
    CHECK("part", recv(pair[1], text, 2, 0));
    CHECK("nothing", recv(pair[1], text, 0, 0));
    CHECK("bad pointer", recv(pair[1], BAD_POINTER, 4, 0));
    CHECK("rest", recv(pair[1], text, 8, MSG_DONTWAIT));
    say("%.4s", text);
    CHECK("empty", recv(pair[1], text, 8, MSG_DONTWAIT));
    CHECK("send nothing", send(pair[0], text, 0, 0));
    CHECK("send from a bad pointer", send(pair[0], BAD_POINTER, 4, 0));
    CHECK("send alone", send(alone, text, 1, 0));
    CHECK("send nothing alone", send(alone, text, 0, 0));
    CHECK("receive alone", recv(alone, text, 1, 0));
    CHECK("receive from a listener", recv(listener, text, 1, 0));
    CHECK("read from a listener", read(listener, text, 1));
    CHECK("read nothing from a listener", read(listener, text, 0));
    IN_CHILD("child") {
        struct iovec part = {text, 1};
        CHECK("readv from a listener", readv(listener, &part, 1));
    }
    int local = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK("read from nobody", read(local, text, 1));
    pid_t listens;
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "name"};
    NEED(bind(local, (struct sockaddr *)&name, sizeof name));
    START_CHILD(listens) NEED(listen(local, 1));
    reap("listens", listens);
    CHECK("read where a child listens", read(local, text, 1));
    close(local);
    NEED(shutdown(pair[0], SHUT_WR));
    CHECK("the end", recv(pair[1], text, 8, 0));
    CHECK("send after it", send(pair[0], text, 1, 0));
    IN_CHILD("with a signal") {
        signal(SIGPIPE, SIG_DFL);
        CHECK("MSG_NOSIGNAL", send(pair[0], text, 1, MSG_NOSIGNAL));
        send(pair[0], text, 1, 0);
    }
}

CASE(datagrams) {
    int ends[2];
    pair_of(SOCK_DGRAM, ends);
    NEED(send(ends[1], "abcdef", 6, 0));
    receive("peek", ends[0], 3, MSG_PEEK);
    receive("true length", ends[0], 3, MSG_PEEK | MSG_TRUNC);
    char part[3];
    struct iovec text = {part, 3};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
    CHECK("cut", recvmsg(ends[0], &message, 0));
    say("flags %#x", message.msg_flags);
    CHECK("empty", send(ends[1], NULL, 0, 0));
    receive("empty", ends[0], 3, 0);
    receive("gone", ends[0], 3, MSG_DONTWAIT);
    pair_of(SOCK_SEQPACKET, ends);
    NEED(send(ends[1], "abc", 3, MSG_EOR));
    NEED(send(ends[1], "de", 2, 0));
    CHECK("packet", recvmsg(ends[0], &message, 0));
    say("flags %#x", message.msg_flags & MSG_TRUNC);
    receive("packet", ends[0], 10, 0);
    receive("no errors", NEED(socket(AF_INET, SOCK_DGRAM, 0)), 10, MSG_ERRQUEUE);
}

CASE(urgent) {
    int ends[2];
    tcp(ends);
    receive("none", ends[1], 1, MSG_OOB);
    NEED(send(ends[0], "abc", 3, 0));
    NEED(send(ends[0], "!", 1, MSG_OOB));
    NEED(send(ends[0], "def", 3, 0));
    struct pollfd one = {ends[1], POLLPRI, 0};
    CHECK("poll", poll(&one, 1, 2000));
    say("%#x", one.revents);
    receive("before", ends[1], 10, 0);
    receive("urgent", ends[1], 1, MSG_OOB);
    receive("after", ends[1], 10, 0);
    receive("wait for none", ends[1], 1, MSG_OOB | MSG_DONTWAIT);
    NEED(send(ends[0], "more", 4, MSG_MORE));
    NEED(send(ends[0], "!", 1, 0));
    receive("more", ends[1], 5, MSG_WAITALL);
}

CASE(several) {
    int ends[2];
    pair_of(SOCK_DGRAM, ends);
    char texts[3][8] = {"one", "two", "three"}, got[4][8] = {0};
    struct iovec out[3], in[4];
    struct mmsghdr sent[3] = {0}, received[4] = {0};
    for (int i = 0; i < 3; i++) {
        out[i] = (struct iovec){texts[i], strlen(texts[i])};
        sent[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
    }
    for (int i = 0; i < 4; i++) {
        in[i] = (struct iovec){got[i], 8};
        received[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
    }
    CHECK("sendmmsg", sendmmsg(ends[1], sent, 3, 0));
    say("%u %u %u", sent[0].msg_len, sent[1].msg_len, sent[2].msg_len);
    CHECK("recvmmsg", recvmmsg(ends[0], received, 2, 0, NULL));
    say("%s %s", got[0], got[1]);
    CHECK("what is there", recvmmsg(ends[0], received, 4, MSG_WAITFORONE, NULL));
    say("%s", got[0]);
    CHECK("nothing", recvmmsg(ends[0], received, 4, MSG_DONTWAIT, NULL));
    struct timespec limit = {0, -1};
    CHECK("bad time", recvmmsg(ends[0], received, 4, MSG_DONTWAIT, &limit));
    sent[1].msg_hdr.msg_iov = BAD_POINTER;
    CHECK("the second is bad", sendmmsg(ends[1], sent, 3, 0));
    CHECK("none", sendmmsg(ends[1], sent, 0, 0));
    CHECK("bad socket", sendmmsg(0, sent, 1, 0));
}

CASE(descriptors) {
    int ends[2], ring[2];
    pair_of(SOCK_STREAM, ends);
    NEED(pipe(ring));
    union { struct cmsghdr head; char room[CMSG_SPACE(3 * sizeof(int))]; } control = {
        .head = {CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.head), ring, sizeof ring);
    struct iovec text = {"x", 1};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(2 * sizeof(int))};
    CHECK("send", sendmsg(ends[1], &message, 0));
    CHECK("send", sendmsg(ends[1], &message, 0));
    close(ring[0]), close(ring[1]);
    char byte;
    text.iov_base = &byte;
    message.msg_controllen = sizeof control;
    memset(&control, 0, sizeof control);
    CHECK("receive", recvmsg(ends[0], &message, MSG_CMSG_CLOEXEC));
    int got[2];
    memcpy(got, CMSG_DATA(&control.head), sizeof got);
    say("length %zu flags %d %d", (size_t)control.head.cmsg_len, fcntl(got[0], F_GETFD), fcntl(got[1], F_GETFD));
    CHECK("write", write(got[1], "through", 7));
    char back[8] = "";
    CHECK("read", read(got[0], back, 7));
    say("%s", back);
    message.msg_controllen = CMSG_LEN(sizeof(int));
    CHECK("room for one", recvmsg(ends[0], &message, 0));
    say("flags %#x length %zu", message.msg_flags, (size_t)message.msg_controllen);
    control.head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.head), &(int){999}, sizeof(int));
    message.msg_controllen = CMSG_SPACE(sizeof(int));
    CHECK("not open", sendmsg(ends[1], &message, 0));
    control.head.cmsg_len = 4;
    CHECK("too short", sendmsg(ends[1], &message, 0));
}
