/* chmod, chown, umask, access, faccessat2 and extended attributes. */
#include "hostile.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

static void mode_of(const char *name, const char *path) {
    struct stat st;
    if (lstat(path, &st)) say("%s: %s", name, strerrorname_np(errno));
    else say("%s: %06o %d:%d", name, st.st_mode, (int)(st.st_uid - getuid()), (int)(st.st_gid - getgid()));
}

CASE(modes) {
    put_text("f", "x");
    NEED(mkdir("d", 0755));
    NEED(symlink("f", "s"));
    static const mode_t modes[] = {0, 0644, 0777, 01777, 02755, 04755, 07777, 0100644, 0170000 | 0600};
    for (size_t i = 0; i < LENGTH(modes); i++) {
        CHECK("chmod", chmod("f", modes[i]));
        mode_of("f", "f");
    }
    CHECK("directory", chmod("d", 03711));
    mode_of("d", "d");
    CHECK("through link", chmod("s", 0600));
    mode_of("f", "f");
    mode_of("s", "s");
    int fd = NEED(open("f", O_RDONLY));
    CHECK("fchmod", fchmod(fd, 0640));
    mode_of("f", "f");
    CHECK("fchmodat", fchmodat(AT_FDCWD, "f", 0604, 0));
    mode_of("f", "f");
    CHECK("missing", chmod("none", 0600));
    CHECK("bad descriptor", fchmod(99, 0600));
    CHECK("bad pointer", chmod(BAD_POINTER, 0600));
    CHECK("empty", chmod("", 0600));
    CHECK("write clears setuid", (NEED(chmod("f", 06777)), close(NEED(open("f", O_WRONLY | O_TRUNC)))));
    mode_of("f", "f");
    CHECK("umask", umask(077));
    CHECK("umask keeps 9 bits", umask(0177777));
    CHECK("umask", umask(022));
}

CASE(owners) {
    put_text("f", "x");
    NEED(symlink("f", "s"));
    CHECK("no change", chown("f", -1, -1));
    CHECK("own", chown("f", getuid(), getgid()));
    mode_of("f", "f");
    CHECK("missing", chown("none", 1, 1));
    CHECK("bad descriptor", fchown(99, 1, 1));
    CHECK("empty path", fchownat(NEED(open("f", O_RDONLY)), "", -1, -1, AT_EMPTY_PATH));
    CHECK("bad flag", fchownat(AT_FDCWD, "f", -1, -1, 0x10));
    if (getuid() == 0) {
        NEED(chmod("f", 06755));
        CHECK("other", chown("f", 1234, 5678));
        mode_of("f", "f");
        CHECK("group only", chown("f", -1, 99));
        mode_of("f", "f");
        CHECK("lchown", lchown("s", 77, 88));
        mode_of("s", "s");
        mode_of("f", "f");
        CHECK("through link", chown("s", 5, 6));
        mode_of("f", "f");
        CHECK("fchown", fchown(NEED(open("f", O_RDONLY)), 7, -1));
        mode_of("f", "f");
        CHECK("big ids", chown("f", 3000000000U, 4000000000U));
        mode_of("f", "f");
    }
    IN_CHILD("as nobody") {
        if (getuid() == 0) NEED(setresgid(65534, 65534, 65534));
        if (getuid() == 0) NEED(setresuid(65534, 65534, 65534));
        else _exit(0);
        CHECK("chown other's", chown("f", 65534, -1));
        CHECK("chmod other's", chmod("f", 0777));
    }
}

CASE(accessing) {
    put_text("f", "x");
    NEED(chmod("f", 0640));
    NEED(mkdir("closed", 0755));
    put_text("closed/in", "x");
    NEED(chmod("closed", 0700));
    NEED(symlink("none", "dangling"));
    static const int modes[] = {F_OK, R_OK, W_OK, X_OK, R_OK | W_OK, R_OK | X_OK, 7, 8, -1};
    for (size_t i = 0; i < LENGTH(modes); i++) CHECK("access", access("f", modes[i]));
    CHECK("directory", access("closed", R_OK | W_OK | X_OK));
    CHECK("missing", access("none", F_OK));
    CHECK("dangling", access("dangling", F_OK));
    CHECK("dangling itself", syscall(SYS_faccessat2, AT_FDCWD, "dangling", F_OK, AT_SYMLINK_NOFOLLOW));
    CHECK("effective", syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, AT_EACCESS));
    CHECK("empty path", syscall(SYS_faccessat2, NEED(open("f", O_RDONLY)), "", R_OK, AT_EMPTY_PATH));
    CHECK("bad flag", syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, 0x10));
    CHECK("bad mode", syscall(SYS_faccessat2, AT_FDCWD, "f", 0x20, 0));
    CHECK("bad pointer", access(BAD_POINTER, F_OK));
    CHECK("through a file", access("f/x", F_OK));
    if (getuid()) return;
    IN_CHILD("real and effective differ") {
        NEED(setresgid(-1, 65534, -1));
        NEED(setresuid(-1, 65534, -1));
        CHECK("access uses real", access("closed/in", R_OK));
        CHECK("AT_EACCESS uses effective", syscall(SYS_faccessat2, AT_FDCWD, "closed/in", R_OK, AT_EACCESS));
        CHECK("open uses effective", open("closed/in", O_RDONLY));
    }
    IN_CHILD("as nobody") {
        NEED(setresgid(65534, 65534, 65534));
        NEED(setresuid(65534, 65534, 65534));
        CHECK("read", access("f", R_OK));
        CHECK("exists", access("f", F_OK));
        CHECK("in closed", access("closed/in", F_OK));
    }
}

CASE(attributes_refused) {
    char text[256];
    put_text("f", "x");
    CHECK("bad flag", setxattr("f", "user.color", "x", 1, 8));
    CHECK("unknown prefix", setxattr("f", "nothing.x", "x", 1, 0));
    CHECK("no prefix", setxattr("f", "color", "x", 1, 0));
    CHECK("empty name", setxattr("f", "", "x", 1, 0));
    char longer[300];
    memset(longer, 'n', sizeof longer);
    memcpy(longer, "user.", 5);
    longer[256] = 0;
    CHECK("too long a name", setxattr("f", longer, "x", 1, 0));
    CHECK("too big a value", setxattr("f", "user.big", text, 65537, 0));
    CHECK("bad descriptor", fgetxattr(99, "user.x", text, 1));
    CHECK("bad value", setxattr("f", "user.y", BAD_POINTER, 4, 0));
    CHECK("O_PATH", fgetxattr(NEED(open("f", O_PATH)), "user.color", text, sizeof text));
}

/* Where a directory says what its new files may, the umask does not count (umask(2), acl(5)). */
CASE(default_list) {
    static const struct {
        uint16_t tag, permissions;
        uint32_t id;
    } entries[] = {{1, 7, -1}, {2, 7, 12345}, {4, 5, -1}, {16, 7, -1}, {32, 1, -1}};
    char list[4 + sizeof entries] = {2};
    memcpy(list + 4, entries, sizeof entries);
    NEED(mkdir("d", 0755));
    CHECK("set", setxattr("d", "system.posix_acl_default", list, sizeof list, 0));
    static const mode_t umasks[] = {0, 022, 077, 0777};
    for (size_t i = 0; i < LENGTH(umasks); i++) {
        umask(umasks[i]);
        close(NEED(open("d/f", O_WRONLY | O_CREAT, 0666)));
        close(NEED(open("d/x", O_WRONLY | O_CREAT | O_EXCL, 0711)));
        NEED(mkdir("d/d", 0777));
        NEED(mknod("d/n", 0664, 0));
        NEED(mkfifo("d/p", 0666));
        NEED(symlink("f", "d/s"));
        struct sockaddr_un address = {AF_UNIX, "d/u"};
        int fd = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
        NEED(bind(fd, (void *)&address, sizeof address));
        close(fd);
        close(NEED(open("without", O_WRONLY | O_CREAT, 0666)));
        for (const char *const *path = (const char *const[]){"d/f", "d/x", "d/d", "d/n", "d/p", "d/s", "d/u", "without", NULL}; *path; path++) {
            mode_of(*path, *path);
            if (remove(*path)) say("%s stays", *path);
        }
        umask(022);
    }
}

CASE(attributes) {
    char text[256];
    put_text("f", "x");
    NEED(symlink("f", "s"));
    CHECK("set", setxattr("f", "user.color", "green", 5, 0));
    CHECK("get", getxattr("f", "user.color", text, sizeof text));
    say("%.5s", text);
    CHECK("size", getxattr("f", "user.color", NULL, 0));
    CHECK("short", getxattr("f", "user.color", text, 3));
    CHECK("create exists", setxattr("f", "user.color", "red", 3, XATTR_CREATE));
    CHECK("replace", setxattr("f", "user.color", "red", 3, XATTR_REPLACE));
    CHECK("replace missing", setxattr("f", "user.none", "red", 3, XATTR_REPLACE));
    CHECK("both flags", setxattr("f", "user.color", "x", 1, XATTR_CREATE | XATTR_REPLACE));
    CHECK("missing", getxattr("f", "user.none", text, sizeof text));
    CHECK("no file", getxattr("none", "user.none", text, sizeof text));
    CHECK("just the prefix", setxattr("f", "user.", "x", 1, 0));
    memset(text, 'n', sizeof text);
    memcpy(text, "user.", 5);
    text[255] = 0;
    CHECK("longest name", setxattr("f", text, "x", 1, 0));
    CHECK("remove it", removexattr("f", text));
    CHECK("empty value", setxattr("f", "user.empty", "", 0, 0));
    CHECK("get empty", getxattr("f", "user.empty", text, sizeof text));
    CHECK("list size", listxattr("f", NULL, 0));
    CHECK("list", listxattr("f", text, sizeof text));
    CHECK("list short", listxattr("f", text, 2));
    CHECK("remove", removexattr("f", "user.empty"));
    CHECK("remove again", removexattr("f", "user.empty"));
    int fd = NEED(open("f", O_RDONLY));
    CHECK("fset", fsetxattr(fd, "user.by-fd", "1", 1, 0));
    CHECK("fget", fgetxattr(fd, "user.by-fd", text, sizeof text));
    CHECK("flist", flistxattr(fd, NULL, 0));
    CHECK("fremove", fremovexattr(fd, "user.by-fd"));
    CHECK("on a link", lsetxattr("s", "user.x", "1", 1, 0));
    CHECK("of a link", lgetxattr("s", "user.color", text, sizeof text));
    CHECK("through a link", getxattr("s", "user.color", text, sizeof text));
    CHECK("llist", llistxattr("s", text, sizeof text));
    CHECK("bad buffer", getxattr("f", "user.color", BAD_POINTER, 100));
    CHECK("directory", setxattr(".", "user.dir", "d", 1, 0));
    CHECK("capability missing", getxattr("f", "security.capability", text, sizeof text));
    CHECK("acl missing", getxattr("f", "system.posix_acl_access", text, sizeof text));
}
