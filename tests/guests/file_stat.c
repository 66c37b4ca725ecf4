/* stat, lstat, fstat, newfstatat, statx, statfs, times. */
#include "hostile.h"
#include <linux/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

static void show(const char *name, const struct stat *st) {
    say("%s: mode %06o links %ld uid %d gid %d size %ld rdev %x mtime %ld.%09ld", name, st->st_mode, (long)st->st_nlink,
        (int)st->st_uid == (int)getuid() ? 0 : 1, (int)st->st_gid == (int)getgid() ? 0 : 1,
        S_ISDIR(st->st_mode) ? 0 : (long)st->st_size, (unsigned)st->st_rdev, (long)st->st_mtim.tv_sec,
        st->st_mtim.tv_nsec);
}

static void fix_time(const char *path) {
    struct timespec times[2] = {{1000000000, 5}, {1234567890, 123456789}};
    NEED(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
}

CASE(kinds) {
    struct stat st;
    put_text("file", "content");
    NEED(mkdir("dir", 0750));
    NEED(symlink("file", "link"));
    NEED(symlink("none", "dangling"));
    NEED(mkfifo("fifo", 0600));
    NEED(mknod("socket", S_IFSOCK | 0700, 0));
    NEED(link("file", "hard"));
    static const char *names[] = {"file", "dir", "link", "dangling", "fifo", "socket", "hard"};
    for (size_t i = 0; i < LENGTH(names); i++) fix_time(names[i]);
    for (size_t i = 0; i < LENGTH(names); i++) {
        CHECK(names[i], lstat(names[i], &st));
        show(names[i], &st);
    }
    CHECK("stat link", stat("link", &st));
    show("link", &st);
    CHECK("stat dangling", stat("dangling", &st));
    CHECK("stat missing", stat("none", &st));
    CHECK("bad result", stat("file", BAD_POINTER));
    CHECK("bad path", stat(BAD_POINTER, &st));
    CHECK("null", stat("/dev/null", &st));
    say("%o %d:%d", st.st_mode, major(st.st_rdev), minor(st.st_rdev));
    CHECK("pipe", ({ int ends[2]; NEED(pipe(ends)); fstat(ends[0], &st); }));
    say("%o size %ld links %ld", st.st_mode, (long)st.st_size, (long)st.st_nlink);
    CHECK("fstat bad", fstat(99, &st));
}

CASE(identity) {
    struct stat a, b, c;
    put_text("a", "a");
    put_text("b", "b");
    NEED(link("a", "c"));
    NEED(stat("a", &a) | stat("b", &b) | stat("c", &c));
    BOOL("same inode", a.st_ino == c.st_ino && a.st_dev == c.st_dev);
    BOOL("other inode", a.st_ino != b.st_ino);
    int fd = NEED(open("a", O_RDONLY));
    NEED(fstat(fd, &c));
    BOOL("fstat agrees", a.st_ino == c.st_ino);
    NEED(rename("a", "d"));
    NEED(stat("d", &c));
    BOOL("rename keeps it", a.st_ino == c.st_ino);
    NEED(unlink("d") | unlink("c"));
    NEED(fstat(fd, &c));
    say("links of the unlinked: %ld", (long)c.st_nlink);
    say("blksize %ld blocks %ld", (long)c.st_blksize, (long)c.st_blocks);
}

CASE(newfstatat) {
    struct stat st;
    NEED(mkdir("d", 0755));
    put_text("d/f", "12345");
    NEED(symlink("f", "d/l"));
    fix_time("d/f");
    fix_time("d/l");
    int dir = NEED(open("d", O_RDONLY)), file = NEED(open("d/f", O_RDONLY));
    CHECK("relative", fstatat(dir, "f", &st, 0));
    show("f", &st);
    CHECK("nofollow", fstatat(dir, "l", &st, AT_SYMLINK_NOFOLLOW));
    show("l", &st);
    CHECK("empty path", fstatat(file, "", &st, AT_EMPTY_PATH));
    show("empty", &st);
    CHECK("empty without flag", fstatat(file, "", &st, 0));
    CHECK("file as directory", fstatat(file, "x", &st, 0));
    CHECK("bad flag", fstatat(dir, "f", &st, 0x10));
    CHECK("bad descriptor", fstatat(77, "f", &st, 0));
    CHECK("cwd, empty", fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH));
    BOOL("a directory", S_ISDIR(st.st_mode));
    CHECK("no automount", fstatat(dir, "f", &st, AT_NO_AUTOMOUNT));
}

CASE(statx) {
    struct statx x;
    put_text("f", "12345");
    NEED(symlink("f", "l"));
    NEED(chmod("f", 0640));
    fix_time("f");
    memset(&x, 0xff, sizeof x);
    CHECK("basic", statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &x));
    say("mask %x mode %o size %ld links %u mtime %ld.%u", x.stx_mask & STATX_BASIC_STATS, x.stx_mode, (long)x.stx_size,
        x.stx_nlink, (long)x.stx_mtime.tv_sec, x.stx_mtime.tv_nsec);
    CHECK("birth", statx(AT_FDCWD, "f", 0, STATX_BTIME, &x));
    CHECK("no mask", statx(AT_FDCWD, "f", 0, 0, &x));
    CHECK("nofollow", statx(AT_FDCWD, "l", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &x));
    BOOL("a link", S_ISLNK(x.stx_mode));
    int fd = NEED(open("f", O_RDONLY));
    CHECK("empty path", statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x));
    say("size %ld", (long)x.stx_size);
    CHECK("force sync", statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &x));
    CHECK("both syncs", statx(fd, "", AT_EMPTY_PATH | AT_STATX_SYNC_TYPE, STATX_SIZE, &x));
    CHECK("bad flag", statx(AT_FDCWD, "f", 0x10, STATX_SIZE, &x));
    CHECK("reserved mask", statx(fd, "", AT_EMPTY_PATH, 0x80000000U, &x));
    CHECK("missing", statx(AT_FDCWD, "none", 0, STATX_SIZE, &x));
    CHECK("bad result", statx(AT_FDCWD, "f", 0, STATX_SIZE, BAD_POINTER));
    CHECK("null", statx(AT_FDCWD, "/dev/zero", 0, STATX_BASIC_STATS, &x));
    say("%u:%u", x.stx_rdev_major, x.stx_rdev_minor);
}

static void times_of(const char *name) {
    struct stat st;
    NEED(lstat(name, &st));
    time_t now = time(NULL);
    bool anow = labs(st.st_atim.tv_sec - now) < 100, mnow = labs(st.st_mtim.tv_sec - now) < 100;
    say("%s: atime %ld.%09ld mtime %ld.%09ld", name, anow ? 0 : (long)st.st_atim.tv_sec, anow ? 0 : st.st_atim.tv_nsec,
        mnow ? 0 : (long)st.st_mtim.tv_sec, mnow ? 0 : st.st_mtim.tv_nsec);
}

CASE(setting_times) {
    put_text("f", "x");
    NEED(symlink("f", "l"));
    struct timespec both[] = {{1, 2}, {3, 4}}, omit[] = {{9, UTIME_OMIT}, {100, 7}}, now[] = {{9, UTIME_NOW}, {9, UTIME_OMIT}};
    struct timespec bad[] = {{0, 1000000000}, {0, 0}}, negative[] = {{-5, 0}, {-100000, 0}};
    CHECK("both", utimensat(AT_FDCWD, "f", both, 0));
    times_of("f");
    CHECK("omit", utimensat(AT_FDCWD, "f", omit, 0));
    times_of("f");
    CHECK("now", utimensat(AT_FDCWD, "f", now, 0));
    times_of("f");
    CHECK("null", utimensat(AT_FDCWD, "f", NULL, 0));
    times_of("f");
    CHECK("before 1970", utimensat(AT_FDCWD, "f", negative, 0));
    times_of("f");
    CHECK("bad nanoseconds", utimensat(AT_FDCWD, "f", bad, 0));
    CHECK("nofollow", utimensat(AT_FDCWD, "l", both, AT_SYMLINK_NOFOLLOW));
    times_of("l");
    times_of("f");
    int fd = NEED(open("f", O_RDONLY));
    CHECK("futimens", futimens(fd, both));
    times_of("f");
    CHECK("missing", utimensat(AT_FDCWD, "none", both, 0));
    CHECK("bad flag", utimensat(AT_FDCWD, "f", both, 0x40));
    CHECK("null path with a file", syscall(SYS_utimensat, fd, NULL, omit, 0));
    CHECK("null path without", syscall(SYS_utimensat, AT_FDCWD, NULL, both, 0));
    CHECK("bad times", utimensat(AT_FDCWD, "f", BAD_POINTER, 0));
    struct timespec both_omit[] = {{9, UTIME_OMIT}, {9, UTIME_OMIT}};
    CHECK("omit both, missing", utimensat(AT_FDCWD, "none", both_omit, 0));
    struct timeval old[] = {{11, 500000}, {12, 999999}};
#ifdef SYS_utimes
    CHECK("utimes", syscall(SYS_utimes, "f", old));
    times_of("f");
    CHECK("futimesat", syscall(SYS_futimesat, AT_FDCWD, "f", NULL));
    old[0].tv_usec = 1000000;
    CHECK("utimes bad", syscall(SYS_utimes, "f", old));
#else
    CHECK("utimes", utimes("f", old));
    times_of("f");
    CHECK("futimesat", utimes("f", NULL));
    old[0].tv_usec = 1000000;
    CHECK("utimes bad", utimes("f", old));
#endif
    IN_CHILD("as nobody") {
        if (getuid() == 0) NEED(setresuid(65534, 65534, 65534));
        else _exit(0);
        CHECK("other's file", utimensat(AT_FDCWD, "f", both, 0));
        CHECK("other's file, now", utimensat(AT_FDCWD, "f", NULL, 0));
    }
}

CASE(times_change) {
    put_text("f", "x");
    NEED(mkdir("d", 0755));
    fix_time("f");
    fix_time("d");
    int fd = NEED(open("f", O_RDWR));
    times_of("f");
    NEED(write(fd, "y", 1));
    times_of("f");
    put_text("d/new", "");
    times_of("d");
    fix_time("d");
    NEED(unlink("d/new"));
    times_of("d");
    fix_time("f");
    NEED(ftruncate(fd, 0));
    times_of("f");
    struct stat before, after;
    NEED(stat("f", &before));
    sleep_ms(20);
    NEED(chmod("f", 0600));
    NEED(stat("f", &after));
    BOOL("chmod changes ctime", after.st_ctim.tv_sec != before.st_ctim.tv_sec || after.st_ctim.tv_nsec != before.st_ctim.tv_nsec);
}

CASE(file_systems) {
    struct statfs fs;
    CHECK("statfs", statfs(".", &fs));
    say("namelen %ld bsize %ld", (long)fs.f_namelen, (long)fs.f_bsize);
    BOOL("has blocks", fs.f_blocks > 0);
    CHECK("fstatfs", fstatfs(NEED(open(".", O_RDONLY)), &fs));
    CHECK("missing", statfs("none", &fs));
    CHECK("bad descriptor", fstatfs(99, &fs));
    CHECK("bad result", statfs(".", BAD_POINTER));
    CHECK("proc", statfs("/proc", &fs));
    say("%lx", (long)fs.f_type);
}
