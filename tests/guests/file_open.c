/* open(2), openat(2), openat2(2), creat(2): flags, modes, errors. */
#include "hostile.h"
#include <linux/openat2.h>

static void say_mode(const char *name, const char *path) {
    struct stat st;
    if (lstat(path, &st)) say("%s: %s", name, strerrorname_np(errno));
    else say("%s: %06o size %ld", name, st.st_mode, (long)st.st_size);
}

/* Opens, prints the result without the number, and closes. */
static int opens(const char *name, const char *path, int flags, mode_t mode) {
    int fd = open(path, flags, mode);
    if (fd < 0) say("%s: %s", name, strerrorname_np(errno));
    else say("%s: opened, flags %#o", name, flags_of(fd));
    if (fd >= 0) close(fd);
    return fd;
}

CASE(create_modes) {
    opens("create", "a", O_CREAT | O_WRONLY, 0666);
    say_mode("umask applied", "a");
    umask(077);
    opens("create", "b", O_CREAT | O_WRONLY, 0777);
    say_mode("strict umask", "b");
    umask(0);
    opens("create setuid", "c", O_CREAT | O_WRONLY, 07777);
    say_mode("all bits", "c");
    umask(022);
    opens("existing keeps mode", "b", O_CREAT | O_RDWR, 0644);
    say_mode("still", "b");
    opens("read only file, write fd", "d", O_CREAT | O_EXCL | O_RDWR, 0);
    say_mode("no bits", "d");
    CHECK("creat", creat("e", 0600) >= 0);
    say_mode("creat made", "e");
}

CASE(exclusive_and_truncate) {
    put_text("file", "content");
    CHECK_OK("symlink", symlink("nowhere", "dangling"));
    CHECK_OK("symlink", symlink("file", "link"));
    opens("excl on file", "file", O_CREAT | O_EXCL | O_RDWR, 0644);
    opens("excl on dangling link", "dangling", O_CREAT | O_EXCL | O_RDWR, 0644);
    opens("excl on directory", ".", O_CREAT | O_EXCL | O_RDONLY, 0644);
    opens("create through dangling link", "dangling", O_CREAT | O_RDWR, 0644);
    say_mode("target made", "nowhere");
    opens("excl alone", "file", O_EXCL, 0);
    opens("truncate", "link", O_TRUNC | O_WRONLY, 0);
    say_mode("truncated", "file");
    put_text("file", "content");
    opens("truncate read-only", "file", O_TRUNC | O_RDONLY, 0);
    say_mode("truncated too", "file");
    opens("truncate directory", ".", O_TRUNC | O_RDONLY, 0);
}

CASE(append) {
    put_text("file", "12345");
    int fd = NEED(open("file", O_WRONLY | O_APPEND));
    CHECK("position", lseek(fd, 0, SEEK_CUR));
    CHECK("write", write(fd, "67", 2));
    CHECK("position", lseek(fd, 0, SEEK_CUR));
    CHECK("seek", lseek(fd, 0, SEEK_SET));
    CHECK("write", write(fd, "89", 2));
    CHECK("pwrite appends too", pwrite(fd, "AB", 2, 0));
    CHECK("position", lseek(fd, 0, SEEK_CUR));
    CHECK("F_SETFL clears", fcntl(fd, F_SETFL, 0));
    CHECK("pwrite in place", pwrite(fd, "x", 1, 0));
    close(fd);
    int other = NEED(open("file", O_RDONLY));
    char text[32] = "";
    CHECK("read", read(other, text, sizeof text));
    say("%s", text);
}

CASE(directories_and_links) {
    NEED(mkdir("d", 0755));
    put_text("file", "x");
    NEED(symlink("d", "to-d"));
    NEED(symlink("file", "to-file"));
    opens("O_DIRECTORY on file", "file", O_DIRECTORY, 0);
    opens("O_DIRECTORY on directory", "d", O_DIRECTORY, 0);
    opens("O_DIRECTORY on link", "to-d", O_DIRECTORY, 0);
    opens("O_DIRECTORY|O_NOFOLLOW on link", "to-d", O_DIRECTORY | O_NOFOLLOW, 0);
    opens("O_NOFOLLOW on link", "to-file", O_NOFOLLOW, 0);
    opens("O_NOFOLLOW on file", "file", O_NOFOLLOW, 0);
    opens("O_NOFOLLOW in the middle", "to-d/../file", O_NOFOLLOW, 0);
    opens("directory for writing", "d", O_WRONLY, 0);
    opens("directory read-write", "d", O_RDWR, 0);
    opens("directory O_CREAT", "d", O_CREAT, 0644);
    opens("O_CREAT|O_DIRECTORY", "new", O_CREAT | O_DIRECTORY, 0644);
    opens("trailing slash on file", "file/", O_RDONLY, 0);
    opens("trailing slash, create", "new2/", O_CREAT | O_WRONLY, 0644);
    opens("trailing slash on directory", "d/", O_RDONLY, 0);
    opens("through a file", "file/x", O_RDONLY, 0);
    opens("create in missing", "none/x", O_CREAT | O_WRONLY, 0644);
    opens("missing", "none", O_RDONLY, 0);
    opens("empty", "", O_RDONLY, 0);
    opens("access mode 3", "file", 3, 0);
    opens("unknown flag bits", "file", 0x10000000, 0);
    CHECK("bad pointer", open(BAD_POINTER, O_RDONLY));
    CHECK("kernel pointer", open(KERNEL_POINTER, O_RDONLY));
}

CASE(o_path) {
    put_text("file", "content");
    NEED(symlink("file", "link"));
    NEED(mkdir("d", 0755));
    put_text("d/inside", "inside");
    char text[32] = "";
    struct stat st;
    int fd = NEED(open("file", O_PATH));
    CHECK("flags", fcntl(fd, F_GETFL));
    CHECK("read", read(fd, text, 1));
    CHECK("write", write(fd, text, 1));
    CHECK("lseek", lseek(fd, 0, SEEK_SET));
    CHECK("fstat", fstat(fd, &st));
    CHECK("fchmod", fchmod(fd, 0600));
    CHECK("ftruncate", ftruncate(fd, 0));
    CHECK("mmap", (long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) == -1);
    CHECK("fsync", fsync(fd));
    CHECK("dup", close(dup(fd)));
    CHECK("F_SETFL", fcntl(fd, F_SETFL, O_NONBLOCK));
    close(fd);
    fd = NEED(open("link", O_PATH | O_NOFOLLOW));
    CHECK("fstat link", fstat(fd, &st));
    BOOL("is a link", S_ISLNK(st.st_mode));
    CHECK("readlinkat empty", readlinkat(fd, "", text, sizeof text));
    CHECK("openat under a link", openat(fd, "x", O_RDONLY));
    close(fd);
    NEED(mkfifo("fifo", 0600));
    fd = NEED(open("fifo", O_PATH));
    CHECK("fstat FIFO", fstat(fd, &st));
    BOOL("is a FIFO", S_ISFIFO(st.st_mode));
    CHECK("nobody reads it", open("fifo", O_WRONLY | O_NONBLOCK));
    close(fd);
    fd = NEED(open("d", O_PATH | O_DIRECTORY));
    int inside = NEED(openat(fd, "inside", O_RDONLY));
    CHECK("read below", read(inside, text, 6));
    CHECK("getdents", syscall(SYS_getdents64, fd, text, sizeof text));
    CHECK("fchdir", fchdir(fd));
    CHECK("back", chdir(".."));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", inside);
    int again = open(path, O_RDONLY);
    CHECK("reopened", again >= 0);
    CHECK("own position", read(again, text, 3));
    CHECK("O_PATH on missing", open("none", O_PATH));
    CHECK("O_PATH|O_CREAT on missing", open("none", O_PATH | O_CREAT, 0644));
}

CASE(tmpfile) {
    int fd = open(".", O_TMPFILE | O_RDWR, 0640);
    CHECK("opened", fd >= 0);
    struct stat st;
    CHECK("write", write(fd, "nameless", 8));
    CHECK("fstat", fstat(fd, &st));
    say("mode %o links %ld size %ld", st.st_mode, (long)st.st_nlink, (long)st.st_size);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK("linkat", linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    say_mode("named", "named");
    int exclusive = open(".", O_TMPFILE | O_WRONLY | O_EXCL, 0600);
    snprintf(path, sizeof path, "/proc/self/fd/%d", exclusive);
    CHECK("linkat O_EXCL", linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
}

CASE(tmpfile_refused) {
    put_text("file", "x");
    CHECK("read only", open(".", O_TMPFILE | O_RDONLY, 0600));
    CHECK("on a file", open("file", O_TMPFILE | O_RDWR, 0600));
    CHECK("missing", open("none", O_TMPFILE | O_RDWR, 0600));
}

CASE(at_functions) {
    NEED(mkdir("d", 0755));
    put_text("d/f", "f");
    int dir = NEED(open("d", O_RDONLY | O_DIRECTORY));
    int file = NEED(openat(dir, "f", O_RDONLY));
    CHECK("relative", file >= 0);
    CHECK("on a file descriptor", openat(file, "f", O_RDONLY));
    CHECK("bad descriptor", openat(99, "f", O_RDONLY));
    CHECK("bad descriptor, absolute", openat(99, "/dev/null", O_RDONLY) >= 0);
    CHECK("dot", openat(dir, ".", O_RDONLY) >= 0);
    CHECK("parent", openat(dir, "../d/f", O_RDONLY) >= 0);
    CHECK("empty", openat(dir, "", O_RDONLY));
    CHECK("mkdirat", mkdirat(dir, "sub", 0700));
    CHECK("unlinkat dir without flag", unlinkat(dir, "sub", 0));
    CHECK("unlinkat AT_REMOVEDIR", unlinkat(dir, "sub", AT_REMOVEDIR));
    CHECK("unlinkat bad flag", unlinkat(dir, "f", 0x8000));
    CHECK("renameat", renameat(dir, "f", AT_FDCWD, "moved"));
    CHECK("symlinkat", symlinkat("../moved", dir, "s"));
    CHECK("openat link", openat(dir, "s", O_RDONLY) >= 0);
    CHECK("AT_FDCWD", openat(AT_FDCWD, "moved", O_RDONLY) >= 0);
    CHECK("removed directory", (unlinkat(dir, "s", 0), rmdir("d")));
    CHECK("create in removed", openat(dir, "x", O_CREAT | O_WRONLY, 0644));
    CHECK("dot of removed", openat(dir, ".", O_RDONLY) >= 0);
}

static long how(const char *name, int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct open_how arguments = {.flags = flags, .mode = mode, .resolve = resolve};
    errno = 0;
    long fd = syscall(SYS_openat2, dir, path, &arguments, sizeof arguments);
    say("%s: %s", name, fd < 0 ? strerrorname_np(errno) : "opened");
    if (fd >= 0) close(fd);
    return fd;
}

CASE(openat2_resolve) {
    NEED(mkdir("top", 0755));
    NEED(mkdir("top/d", 0755));
    put_text("top/d/f", "f");
    put_text("outside", "o");
    NEED(symlink("d", "top/in"));
    NEED(symlink("../outside", "top/out"));
    NEED(symlink("/outside", "top/absolute"));
    NEED(symlink("/d/f", "top/rooted"));
    int top = NEED(open("top", O_PATH));
    how("plain", top, "d/f", O_RDONLY, 0, 0);
    how("out", top, "out", O_RDONLY, 0, 0);
    how("beneath: inside", top, "in/f", O_RDONLY, 0, RESOLVE_BENEATH);
    how("beneath: inside with ..", top, "d/../d/f", O_RDONLY, 0, RESOLVE_BENEATH);
    how("beneath: link out", top, "out", O_RDONLY, 0, RESOLVE_BENEATH);
    how("beneath: ..", top, "..", O_RDONLY, 0, RESOLVE_BENEATH);
    how("beneath: absolute", top, "/etc", O_RDONLY, 0, RESOLVE_BENEATH);
    how("in root: link out", top, "out", O_RDONLY, 0, RESOLVE_IN_ROOT);
    how("in root: ..", top, "../../d/f", O_RDONLY, 0, RESOLVE_IN_ROOT);
    how("in root: absolute", top, "/d/f", O_RDONLY, 0, RESOLVE_IN_ROOT);
    how("in root: rooted link", top, "rooted", O_RDONLY, 0, RESOLVE_IN_ROOT);
    how("in root: absolute link", top, "absolute", O_RDONLY, 0, RESOLVE_IN_ROOT);
    how("no symlinks: last", top, "in", O_RDONLY, 0, RESOLVE_NO_SYMLINKS);
    how("no symlinks: middle", top, "in/f", O_RDONLY, 0, RESOLVE_NO_SYMLINKS);
    how("no symlinks: none", top, "d/f", O_RDONLY, 0, RESOLVE_NO_SYMLINKS);
    how("no magic links", AT_FDCWD, "/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS);
    how("beneath and in root", top, "d", O_RDONLY, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT);
    how("unknown resolve", top, "d", O_RDONLY, 0, 1 << 20);
    how("unknown flag", top, "d", 1ULL << 40, 0, 0);
    how("mode without O_CREAT", top, "d", O_RDONLY, 0644, 0);
    how("mode too big", top, "n", O_CREAT, 0200000, 0);
    how("create", top, "d/new", O_CREAT | O_EXCL | O_WRONLY, 0600, RESOLVE_BENEATH);
    struct { struct open_how how; uint64_t more; } big = {.how = {.flags = O_RDONLY}, .more = 0};
    CHECK("too small", syscall(SYS_openat2, top, "d", &big, 8));
    CHECK("bigger, zero", syscall(SYS_openat2, top, "d", &big, sizeof big) >= 0);
    big.more = 1;
    CHECK("bigger, not zero", syscall(SYS_openat2, top, "d", &big, sizeof big));
    CHECK("bad pointer", syscall(SYS_openat2, top, "d", BAD_POINTER, sizeof big.how));
}

CASE(permissions) {
    put_text("none", "x");
    NEED(chmod("none", 0));
    NEED(mkdir("closed", 0700));
    put_text("closed/f", "x");
    NEED(chmod("closed", 0));
    IN_CHILD("as nobody") {
        if (getuid() == 0) NEED(setresgid(65534, 65534, 65534));
        if (getuid() == 0) NEED(setresuid(65534, 65534, 65534));
        opens("mode 0", "none", O_RDONLY, 0);
        opens("through a closed directory", "closed/f", O_RDONLY, 0);
        opens("closed directory", "closed", O_RDONLY, 0);
        CHECK("stat in closed", access("closed/f", F_OK));
        CHECK("mkdir in closed", mkdir("closed/d", 0755));
    }
    NEED(chmod("closed", 0755));
}

CASE(lowest_descriptor) {
    int first = NEED(open("/dev/null", O_RDONLY));
    int second = NEED(open("/dev/null", O_RDONLY));
    int third = NEED(open("/dev/null", O_RDONLY));
    BOOL("in order", second == first + 1 && third == first + 2);
    close(first);
    BOOL("lowest first", open("/dev/null", O_RDONLY) == first);
    close(second);
    BOOL("dup too", dup(third) == second);
    CHECK("cloexec", fcntl(open("/dev/null", O_RDONLY | O_CLOEXEC), F_GETFD));
    CHECK("no cloexec", fcntl(first, F_GETFD));
}
