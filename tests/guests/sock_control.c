/* Control messages of datagrams: what IPv6 tells of a packet, and buffers that are too small for it. */
#include "guest.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static int receiver, sender;

static void prepare(void) {
    int on = 1;
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t length = sizeof address;
    receiver = NEED(socket(AF_INET6, SOCK_DGRAM, 0));
    sender = NEED(socket(AF_INET6, SOCK_DGRAM, 0));
    NEED(bind(receiver, (struct sockaddr *)&address, sizeof address));
    NEED(getsockname(receiver, (struct sockaddr *)&address, &length));
    NEED(connect(sender, (struct sockaddr *)&address, sizeof address));
    CHECK("traffic class", setsockopt(receiver, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof on));
    CHECK("hop limit", setsockopt(receiver, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on));
}

static void receive(size_t room) {
    char data[16], control[256];
    struct iovec vector = {data, sizeof data};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
    long got = recvmsg(receiver, &message, MSG_DONTWAIT);
    CHECK("received", got);
    say("control %zu flags %#x", message.msg_controllen, message.msg_flags);
    if (got < 0) return;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
        int value = 0;
        memcpy(&value, CMSG_DATA(head), head->cmsg_len >= CMSG_LEN(4) ? 4 : 0);
        say("level %d type %d length %zu value %d", head->cmsg_level, head->cmsg_type, (size_t)head->cmsg_len, value);
    }
}

CASE(ipv6_traffic_class_and_hop_limit) {
    prepare();
    char control[CMSG_SPACE(4) * 2] = {0};
    struct iovec vector = {"data", 4};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(4), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_TCLASS};
    *(int *)CMSG_DATA(head) = 17;
    head = CMSG_NXTHDR(&message, head);
    *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(4), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_HOPLIMIT};
    *(int *)CMSG_DATA(head) = 5;
    CHECK("sent", sendmsg(sender, &message, 0));
    receive(256);
    CHECK("sent plainly", send(sender, "more", 4, 0));
    receive(256);
}

CASE(ipv6_control_cut_off) {
    prepare();
    static const size_t rooms[] = {0, 1, 15, 16, 17, 20, 23, 24, 25, 39, 40, 43, 44, 47, 48};
    for (size_t i = 0; i < LENGTH(rooms); i++) {
        say("room %zu", rooms[i]);
        NEED(send(sender, "data", 4, 0));
        receive(rooms[i]);
    }
}
