/* The network interfaces: getifaddrs(3) by netlink(7), and netdevice(7). */
#include "guest.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static const char *address_of(const struct sockaddr *address) {
    static char text[4][64];
    static int next;
    char *line = text[next++ % 4];
    strcpy(line, "-");
    if (address && address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)address)->sin_addr, line, 64);
    if (address && address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)address)->sin6_addr, line, 64);
    return line;
}

CASE(addresses) {
    struct ifaddrs *all, *one;
    if (NEED(getifaddrs(&all))) return;
    for (one = all; one; one = one->ifa_next) {
        int family = one->ifa_addr ? one->ifa_addr->sa_family : 0;
        if (family != AF_INET && family != AF_INET6) continue;
        say("%s %#x %s mask %s", one->ifa_name, one->ifa_flags & 0x1fff, address_of(one->ifa_addr),
            address_of(one->ifa_netmask));
        if (family == AF_INET && one->ifa_flags & IFF_BROADCAST) say("broadcast %s", address_of(one->ifa_broadaddr));
    }
    freeifaddrs(all);
}

CASE(names) {
    struct if_nameindex *all = if_nameindex();
    if (!all) _exit(98);
    for (struct if_nameindex *one = all; one->if_index; one++) say("%u %s", one->if_index, one->if_name);
    if_freenameindex(all);
    CHECK("lo", if_nametoindex("lo"));
    CHECK("none", if_nametoindex("none"));
    char name[IF_NAMESIZE] = "";
    say("%s", if_indextoname(1, name) ?: "?");
    errno = 0;
    BOOL("no such index", if_indextoname(99999, name) == NULL && errno == ENXIO);
}

CASE(requests) {
    int fd = NEED(socket(AF_INET, SOCK_DGRAM, 0));
    struct ifreq all[50];
    struct ifconf list = {.ifc_len = 0};
    CHECK("room", ioctl(fd, SIOCGIFCONF, &list));
    say("%d", list.ifc_len);
    list.ifc_len = sizeof all, list.ifc_req = all;
    CHECK("list", ioctl(fd, SIOCGIFCONF, &list));
    for (int i = 0; i < list.ifc_len / (int)sizeof *all; i++) {
        struct ifreq one = all[i];
        say("%s %s", one.ifr_name, address_of(&one.ifr_addr));
        CHECK("flags", ioctl(fd, SIOCGIFFLAGS, &one));
        say("%#x", one.ifr_flags & 0x1fff);
        CHECK("address", ioctl(fd, SIOCGIFADDR, &one));
        say("%s", address_of(&one.ifr_addr));
        CHECK("netmask", ioctl(fd, SIOCGIFNETMASK, &one));
        say("%s", address_of(&one.ifr_netmask));
        CHECK("mtu", ioctl(fd, SIOCGIFMTU, &one));
        say("%d", one.ifr_mtu);
        CHECK("index", ioctl(fd, SIOCGIFINDEX, &one));
        CHECK("name", ioctl(fd, SIOCGIFNAME, &one));
        say("%s", one.ifr_name);
        CHECK("hardware", ioctl(fd, SIOCGIFHWADDR, &one));
        const unsigned char *mac = (unsigned char *)one.ifr_hwaddr.sa_data;
        say("%d %02x:%02x:%02x:%02x:%02x:%02x", one.ifr_hwaddr.sa_family, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    }
    list.ifc_len = sizeof *all;
    CHECK("one", ioctl(fd, SIOCGIFCONF, &list));
    say("%d", list.ifc_len);
    struct ifreq none = {.ifr_name = "none"};
    CHECK("none", ioctl(fd, SIOCGIFFLAGS, &none));
    CHECK("bad pointer", ioctl(fd, SIOCGIFCONF, BAD_POINTER));
    CHECK("bad pointer", ioctl(fd, SIOCGIFFLAGS, BAD_POINTER));
}

CASE(messages) {
    struct sockaddr_nl own = {.nl_family = AF_NETLINK}, from;
    socklen_t length = sizeof own;
    int fd = NEED(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    CHECK("bind", bind(fd, (struct sockaddr *)&own, sizeof own));
    CHECK("getsockname", getsockname(fd, (struct sockaddr *)&own, &length));
    say("%u bytes, family %d", length, own.nl_family);
    BOOL("has a port", own.nl_pid != 0);
    struct { struct nlmsghdr head; struct rtgenmsg body; } question = {
        {sizeof question, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 77, 0}, {AF_INET}};
    CHECK("send", send(fd, &question, sizeof question, 0));
    char answer[16384];
    bool over = false;
    int wrong = 0, count = 0;
    while (!over) {
        length = sizeof from;
        ssize_t size = NEED(recvfrom(fd, answer, sizeof answer, 0, (struct sockaddr *)&from, &length));
        wrong += from.nl_family != AF_NETLINK || from.nl_pid != 0;
        for (struct nlmsghdr *one = (void *)answer; NLMSG_OK(one, size); one = NLMSG_NEXT(one, size)) {
            wrong += one->nlmsg_seq != 77 || one->nlmsg_pid != own.nl_pid || !(one->nlmsg_flags & NLM_F_MULTI);
            if (one->nlmsg_type == NLMSG_DONE) over = true;
            else if (one->nlmsg_type == RTM_NEWADDR) count++;
            else wrong++;
        }
    }
    say("%d wrong, addresses: %s", wrong, count ? "yes" : "no");
    CHECK("nothing more", recv(fd, answer, sizeof answer, MSG_DONTWAIT));
    struct { struct nlmsghdr head; struct ifinfomsg body; } link = {
        {sizeof link, RTM_GETLINK, NLM_F_REQUEST, 78, 0}, {.ifi_index = 1}};
    CHECK("send", send(fd, &link, sizeof link, 0));
    ssize_t size = recv(fd, answer, sizeof answer, 0);
    struct nlmsghdr *one = (void *)answer;
    struct ifinfomsg *info = NLMSG_DATA(one);
    say("type %d flags %d seq %d index %d kind %d", one->nlmsg_type, one->nlmsg_flags, one->nlmsg_seq, info->ifi_index,
        info->ifi_type);
    for (struct rtattr *part = IFLA_RTA(info), *end = (void *)(answer + size); part < end;
         part = (void *)((char *)part + RTA_ALIGN(part->rta_len)))
        if (part->rta_type == IFLA_IFNAME) say("name %s", (char *)RTA_DATA(part));
    link.body.ifi_index = 99999;
    CHECK("send", send(fd, &link, sizeof link, 0));
    NEED(recv(fd, answer, sizeof answer, 0));
    say("type %d error %d", one->nlmsg_type, ((struct nlmsgerr *)NLMSG_DATA(one))->error);
    CHECK("no such type", socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE));
}
