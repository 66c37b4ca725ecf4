/* What a box sees of the network, for test_network.py: `network WORD...` tries each thing and says what came of it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *what, long result) {
    printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
    fflush(stdout);
}

static socklen_t abstract(struct sockaddr_un *address, const char *name) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(address->sun_path + 1, name);
    return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
}

static void show_name(const char *what, int fd, int (*get)(int, struct sockaddr *, socklen_t *)) {
    struct sockaddr_un address;
    socklen_t length = sizeof address;
    get(fd, (struct sockaddr *)&address, &length);
    printf("%s: @%.*s\n", what, (int)(length - offsetof(struct sockaddr_un, sun_path) - 1), address.sun_path + 1);
    fflush(stdout);
}

static int get_own(int fd, struct sockaddr *address, socklen_t *length) { return getsockname(fd, address, length); }
static int get_peer(int fd, struct sockaddr *address, socklen_t *length) { return getpeername(fd, address, length); }

static void connect_to(const char *name) {
    struct sockaddr_un address;
    socklen_t length = abstract(&address, name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int result = connect(fd, (struct sockaddr *)&address, length);
    tell("connect", result);
    if (!result) show_name("peer", fd, get_peer);
    close(fd);
}

static void listen_at(const char *name) {
    struct sockaddr_un address;
    socklen_t length = abstract(&address, name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    tell("bind", bind(fd, (struct sockaddr *)&address, length));
    show_name("own", fd, get_own);
    tell("listen", listen(fd, 5));
    int again = socket(AF_UNIX, SOCK_STREAM, 0);
    tell("bind again", bind(again, (struct sockaddr *)&address, length));
    if (fork() == 0) {
        connect_to(name);
        _exit(0);
    }
    wait(NULL);
    int any = socket(AF_UNIX, SOCK_DGRAM, 0);
    address.sun_family = AF_UNIX;
    tell("any name", bind(any, (struct sockaddr *)&address, sizeof address.sun_family));
    length = sizeof address;
    getsockname(any, (struct sockaddr *)&address, &length);
    printf("any name: %zu bytes\n", length - offsetof(struct sockaddr_un, sun_path));
}

static void loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) {
        tell("socket", fd);
        return;
    }
    tell("bind", bind(fd, (struct sockaddr *)&address, length));
    tell("listen", listen(fd, 5));
    getsockname(fd, (struct sockaddr *)&address, &length);
    tell("connect", connect(other, (struct sockaddr *)&address, length));
}

static void port(int number) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(number)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    tell("port", fd < 0 ? fd : connect(fd, (struct sockaddr *)&address, sizeof address));
}

static void show_file(const char *path) {
    char text[4096];
    int fd = open(path, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (length < 0) tell(path, -1);
    else fwrite(text, 1, length, stdout);
    tell("write", open(path, O_WRONLY));
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "connect")) connect_to(argv[++i]);
        else if (!strcmp(argv[i], "listen")) listen_at(argv[++i]);
        else if (!strcmp(argv[i], "loopback")) loopback();
        else if (!strcmp(argv[i], "port")) port(atoi(argv[++i]));
        else if (!strcmp(argv[i], "show")) show_file(argv[++i]);
    }
    return 0;
}
