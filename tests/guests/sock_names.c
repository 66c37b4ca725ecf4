/* The names of AF_UNIX sockets, as other processes of the box see them. */
#include "guest.h"
#include <sys/socket.h>
#include <sys/un.h>

static void show(const char *what, const struct sockaddr_un *address, socklen_t length) {
    if (length == sizeof(sa_family_t)) say("%s: no name", what);
    else say("%s: %d bytes, \"%s\"", what, (int)length, address->sun_path);
}

static int named(int type, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = NEED(socket(AF_UNIX, type, 0));
    strcpy(address.sun_path, path);
    NEED(bind(fd, (struct sockaddr *)&address, sizeof address));
    return fd;
}

static void send_to(int fd, const char *path, const char *text) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    CHECK("send", sendto(fd, text, strlen(text), 0, (struct sockaddr *)&address, sizeof address));
}

static void answer(int fd) {
    char text[16];
    struct sockaddr_un peer = {0};
    socklen_t length = sizeof peer;
    NEED(recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&peer, &length));
    show("from", &peer, length);
    if (length > sizeof(sa_family_t)) CHECK("answer", sendto(fd, "yes", 3, 0, (struct sockaddr *)&peer, length));
}

CASE(datagrams_answered_by_name) {
    NEED(mkdir("folder", 0755));
    int server = named(SOCK_DGRAM, "folder/../folder/server");
    static const char *const clients[] = {"client", "folder/client", "./folder/./client2"};
    for (size_t i = 0; i < LENGTH(clients); i++) {
        IN_CHILD("client") {
            char text[16];
            struct sockaddr_un peer = {0};
            socklen_t length = sizeof peer;
            int client = named(SOCK_DGRAM, clients[i]);
            send_to(client, "folder/server", "hello");
            answer(server);
            NEED(recvfrom(client, text, sizeof text, MSG_DONTWAIT, (struct sockaddr *)&peer, &length));
            show("answered by", &peer, length);
            send_to(client, "folder/server", "again");
        }
        answer(server);
    }
    int nobody = NEED(socket(AF_UNIX, SOCK_DGRAM, 0));
    send_to(nobody, "folder/server", "hello");
    answer(server);
}

CASE(streams_tell_both_names) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "./listener"};
    int listener = named(SOCK_STREAM, "listener");
    NEED(listen(listener, 5));
    for (int i = 0; i < 2; i++) {
        int client = i ? named(SOCK_STREAM, "connector") : NEED(socket(AF_UNIX, SOCK_STREAM, 0));
        NEED(connect(client, (struct sockaddr *)&address, sizeof address));
        struct sockaddr_un peer = {0};
        socklen_t length = sizeof peer;
        NEED(getpeername(client, (struct sockaddr *)&peer, &length));
        show("listener", &peer, length);
        length = sizeof peer;
        memset(&peer, 0, sizeof peer);
        int accepted = NEED(accept(listener, (struct sockaddr *)&peer, &length));
        show("accepted", &peer, length);
        length = sizeof peer;
        memset(&peer, 0, sizeof peer);
        NEED(getpeername(accepted, (struct sockaddr *)&peer, &length));
        show("its peer", &peer, length);
        length = sizeof peer;
        NEED(getsockname(accepted, (struct sockaddr *)&peer, &length));
        show("its own", &peer, length);
    }
}
