/* inotify(7). */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

#include "guest.h"

static char text[8192] __attribute__((aligned(8)));

static const char *names_of(uint32_t mask) {
    static char line[256];
    static const struct { uint32_t bit; const char *name; } all[] = {
        {IN_ACCESS, " ACCESS"}, {IN_MODIFY, " MODIFY"}, {IN_ATTRIB, " ATTRIB"}, {IN_CLOSE_WRITE, " CLOSE_WRITE"},
        {IN_CLOSE_NOWRITE, " CLOSE_NOWRITE"}, {IN_OPEN, " OPEN"}, {IN_MOVED_FROM, " MOVED_FROM"},
        {IN_MOVED_TO, " MOVED_TO"}, {IN_CREATE, " CREATE"}, {IN_DELETE, " DELETE"}, {IN_DELETE_SELF, " DELETE_SELF"},
        {IN_MOVE_SELF, " MOVE_SELF"}, {IN_UNMOUNT, " UNMOUNT"}, {IN_Q_OVERFLOW, " Q_OVERFLOW"}, {IN_IGNORED, " IGNORED"},
        {IN_ISDIR, " ISDIR"},
    };
    line[0] = 0;
    for (size_t i = 0; i < LENGTH(all); i++) {
        if (mask & all[i].bit) strcat(line, all[i].name);
        mask &= ~all[i].bit;
    }
    if (mask) snprintf(line + strlen(line), 32, " %#x", mask);
    return line;
}

static void news(const char *name, int fd) {
    errno = 0;
    long n = read(fd, text, sizeof text);
    if (n <= 0) {
        say("%s: %ld %s", name, n, strerrorname_np(errno));
        return;
    }
    uint32_t cookie = 0;
    for (char *at = text; at < text + n;) {
        struct inotify_event *event = (struct inotify_event *)at;
        const char *pair = !event->cookie ? "" : event->cookie == cookie ? " (same cookie)" : " (new cookie)";
        say("%s: watch %d%s '%s' %u%s", name, event->wd, names_of(event->mask), event->len ? event->name : "", event->len,
            pair);
        cookie = event->cookie;
        at += sizeof *event + event->len;
    }
}

CASE(making) {
    int fd = NEED(inotify_init1(IN_NONBLOCK));
    CHECK("flags", fcntl(fd, F_GETFL));
    CHECK("cloexec", fcntl(NEED(inotify_init1(IN_CLOEXEC)), F_GETFD));
    CHECK("bad flags", inotify_init1(1));
    news("none", fd);
    CHECK("write", write(fd, text, 8));
    CHECK("watch", inotify_add_watch(fd, ".", IN_ALL_EVENTS));
    CHECK("again", inotify_add_watch(fd, ".", IN_CREATE));
    CHECK("create only", inotify_add_watch(fd, ".", IN_CREATE | IN_MASK_CREATE));
    CHECK("add and create", inotify_add_watch(fd, ".", IN_CREATE | IN_MASK_CREATE | IN_MASK_ADD));
    CHECK("no events", inotify_add_watch(fd, ".", 0));
    CHECK("no file", inotify_add_watch(fd, "none", IN_CREATE));
    CHECK("bad pointer", syscall(SYS_inotify_add_watch, fd, BAD_POINTER, IN_CREATE));
    CHECK("no inotify", inotify_add_watch(0, ".", IN_CREATE));
    CHECK("not open", inotify_add_watch(99, ".", IN_CREATE));
    put_text("f", "");
    CHECK("only a directory", inotify_add_watch(fd, "f", IN_CREATE | IN_ONLYDIR));
    CHECK("file", inotify_add_watch(fd, "f", IN_MODIFY));
    CHECK("made up", inotify_add_watch(fd, "/proc/self/stat", IN_MODIFY) > 0);
    CHECK("no watch", inotify_rm_watch(fd, 77));
    CHECK("remove", inotify_rm_watch(fd, 1));
    CHECK("remove again", inotify_rm_watch(fd, 1));
    int waiting = 0;
    CHECK("FIONREAD", ioctl(fd, FIONREAD, &waiting));
    say("%d", waiting);
    CHECK("too small", read(fd, text, 15));
    news("after that", fd);
    char link[64], path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int n = NEED(readlink(path, link, sizeof link));
    say("%.*s", n, link);
}

CASE(directory) {
    int fd = NEED(inotify_init1(IN_NONBLOCK));
    CHECK("watch", inotify_add_watch(fd, ".", IN_ALL_EVENTS));
    int file = NEED(open("one", O_CREAT | O_RDWR, 0600));
    news("create", fd);
    NEED(write(file, "abc", 3));
    news("write", fd);
    NEED(lseek(file, 0, SEEK_SET) + read(file, text, 3));
    news("read", fd);
    NEED(ftruncate(file, 1));
    news("truncate", fd);
    NEED(fchmod(file, 0644));
    news("chmod", fd);
    close(file);
    news("close", fd);
    NEED(rename("one", "another name"));
    news("rename", fd);
    NEED(link("another name", "linked"));
    news("link", fd);
    NEED(symlink("linked", "symbolic"));
    news("symlink", fd);
    NEED(mkdir("folder", 0700));
    news("mkdir", fd);
    NEED(rename("linked", "folder/inside"));
    news("move out", fd);
    NEED(rmdir("folder") == -1 ? 0 : -1);
    news("rmdir fails", fd);
    NEED(unlink("folder/inside"));
    NEED(rmdir("folder"));
    news("rmdir", fd);
    NEED(unlink("another name"));
    news("unlink", fd);
    struct stat st;
    NEED(stat("symbolic", &st) == -1 ? 0 : -1);
    NEED(access(".", R_OK));
    news("looking is no news", fd);
    file = NEED(open("symbolic", O_CREAT | O_WRONLY | O_TRUNC, 0600));
    close(file);
    news("through a link", fd);
    IN_CHILD("child") put_text("made by the child", "x");
    news("child", fd);
}

/* Unlike put_text(), leaves the attributes alone. */
static void plainly_put(const char *path, const char *content) {
    int fd = NEED(open(path, O_WRONLY | O_CREAT, 0644));
    NEED(write(fd, content, strlen(content)));
    close(fd);
}

CASE(changes) {
    int fd = NEED(inotify_init1(IN_NONBLOCK));
    const uint32_t changes = IN_CREATE | IN_DELETE | IN_MODIFY | IN_ATTRIB | IN_MOVE | IN_DELETE_SELF;
    mkdir("d", 0700), mkdir("e", 0700);
    CHECK("d", inotify_add_watch(fd, "d", changes));
    CHECK("e", inotify_add_watch(fd, "e", changes));
    plainly_put("d/one", "");
    news("create", fd);
    plainly_put("d/one", "abc");
    news("write", fd);
    NEED(chmod("d/one", 0600));
    news("chmod", fd);
    NEED(rename("d/one", "d/two"));
    news("rename", fd);
    NEED(rename("d/two", "e/three"));
    news("move", fd);
    NEED(link("e/three", "d/four"));
    news("link", fd);
    NEED(mkdir("e/folder", 0700));
    news("mkdir", fd);
    IN_CHILD("child") NEED(unlink("d/four"));
    news("unlink", fd);
    NEED(chmod("d", 0755));
    news("chmod of the directory", fd);
    NEED(rmdir("d"));
    news("rmdir", fd);
    CHECK("gone", inotify_rm_watch(fd, 1));
    plainly_put("f", "x");
    CHECK("f", inotify_add_watch(fd, "f", IN_MODIFY | IN_DELETE_SELF));
    plainly_put("f", "yz");
    news("write", fd);
    NEED(unlink("f"));
    news("unlink", fd);
}

CASE(files) {
    int fd = NEED(inotify_init1(IN_NONBLOCK));
    put_text("f", "x");
    put_text("g", "x");
    NEED(symlink("g", "s"));
    CHECK("f", inotify_add_watch(fd, "f", IN_ALL_EVENTS));
    CHECK("g", inotify_add_watch(fd, "s", IN_MODIFY | IN_ONESHOT));
    CHECK("link", inotify_add_watch(fd, "s", IN_ALL_EVENTS | IN_DONT_FOLLOW));
    put_text("g", "yz");
    put_text("g", "yz");
    news("oneshot", fd);
    NEED(rename("f", "ff"));
    news("moved", fd);
    int file = NEED(open("ff", O_RDONLY));
    NEED(unlink("ff"));
    news("unlinked but open", fd);
    close(file);
    news("closed", fd);
    NEED(unlink("s"));
    news("link", fd);
    CHECK("gone", inotify_rm_watch(fd, 1));
    mkdir("d", 0700);
    CHECK("directory", inotify_add_watch(fd, "d", IN_DELETE_SELF | IN_MOVE_SELF | IN_CREATE));
    NEED(rename("d", "e"));
    NEED(rmdir("e"));
    news("directory", fd);
}

CASE(waiting) {
    int fd = NEED(inotify_init1(0)), set = NEED(epoll_create1(0));
    NEED(inotify_add_watch(fd, ".", IN_CREATE));
    struct pollfd one = {fd, POLLIN | POLLOUT, 0};
    CHECK("none", poll(&one, 1, 10));
    pid_t child;
    START_CHILD(child) {
        sleep_ms(40);
        put_text("first", "");
        sleep_ms(60);
        put_text("second", "");
    }
    news("read waits", fd);
    CHECK("poll waits", poll(&one, 1, 5000));
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 6};
    NEED(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    CHECK("epoll", epoll_wait(set, &event, 1, 5000));
    news("second", fd);
    reap("child", child);
}
