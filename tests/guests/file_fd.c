/* dup, dup2, dup3, fcntl, close, close_range, ioctl on files, memfd. */
#include "hostile.h"
#include <linux/close_range.h>
#include <sys/ioctl.h>

static bool is_open(int fd) { return fcntl(fd, F_GETFD) != -1; }

CASE(duplicates) {
    put_text("f", "0123456789");
    int fd = NEED(open("f", O_RDWR | O_CLOEXEC));
    int copy = NEED(dup(fd));
    CHECK("dup drops cloexec", fcntl(copy, F_GETFD));
    CHECK("dup2", dup2(fd, 50));
    CHECK("no cloexec", fcntl(50, F_GETFD));
    CHECK("dup2 onto itself", dup2(50, 50));
    CHECK("dup2 closed onto itself", dup2(51, 51));
    CHECK("dup2 bad", dup2(99, 50));
    BOOL("50 stays", is_open(50));
    CHECK("dup2 negative", dup2(fd, -1));
    CHECK("dup2 too high", dup2(fd, 1 << 30));
    CHECK("dup3 cloexec", dup3(fd, 52, O_CLOEXEC));
    CHECK("cloexec", fcntl(52, F_GETFD));
    CHECK("dup3 same", dup3(fd, fd, 0));
    CHECK("dup3 bad flag", dup3(fd, 53, O_NONBLOCK));
    CHECK("F_DUPFD", fcntl(fd, F_DUPFD, 60));
    CHECK("F_DUPFD next", fcntl(fd, F_DUPFD, 60));
    CHECK("F_DUPFD_CLOEXEC", fcntl(fd, F_DUPFD_CLOEXEC, 60));
    CHECK("cloexec", fcntl(62, F_GETFD));
    CHECK("F_DUPFD negative", fcntl(fd, F_DUPFD, -1));
    CHECK("F_DUPFD too high", fcntl(fd, F_DUPFD, 1 << 30));
    CHECK("dup bad", dup(99));
    lseek(60, 4, SEEK_SET);
    CHECK("one position", lseek(50, 0, SEEK_CUR));
    CHECK("one set of flags", fcntl(fd, F_SETFL, O_APPEND));
    say("%#o", flags_of(50) & ~0100000);
    CHECK("dup2 replaces", dup2(NEED(open("/dev/null", O_RDWR)), 50));
    CHECK("null", write(50, "x", 1));
    close(fd);
    CHECK("others stay", write(60, "x", 1));
}

CASE(flags) {
    int fd = NEED(open("f", O_RDWR | O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW, 0644));
    say("%#o", flags_of(fd));
    CHECK("set", fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
    say("%#o", flags_of(fd));
    CHECK("access mode stays", fcntl(fd, F_SETFL, O_RDONLY | O_TRUNC | O_CREAT));
    say("%#o", flags_of(fd));
    CHECK("noatime", fcntl(fd, F_SETFL, O_NOATIME));
    say("%#o", flags_of(fd));
    CHECK("SETFD 1", fcntl(fd, F_SETFD, FD_CLOEXEC));
    CHECK("GETFD", fcntl(fd, F_GETFD));
    CHECK("SETFD odd", fcntl(fd, F_SETFD, 2));
    CHECK("GETFD", fcntl(fd, F_GETFD));
    CHECK("unknown", fcntl(fd, 9999));
    CHECK("bad descriptor", fcntl(99, F_GETFL));
    CHECK("owner", fcntl(fd, F_GETOWN));
    CHECK("set owner", fcntl(fd, F_SETOWN, getpid()));
    BOOL("is set", fcntl(fd, F_GETOWN) == getpid());
    CHECK("signal", fcntl(fd, F_GETSIG));
    CHECK("lease", fcntl(fd, F_GETLEASE));
    static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_NONBLOCK, O_WRONLY | O_APPEND, O_RDWR | O_SYNC,
                                O_RDONLY | O_CLOEXEC, O_RDWR | O_DSYNC, O_RDONLY | O_NOATIME};
    for (size_t i = 0; i < LENGTH(modes); i++) say("%#o: %#o", modes[i], flags_of(NEED(open("f", modes[i]))));
    say("directory %#o", flags_of(NEED(open(".", O_RDONLY | O_DIRECTORY))));
}

static volatile sig_atomic_t came;

static void note_io(int signo) { came = signo; }

static void wait_for_io(const char *what) {
    for (int i = 0; i < 500 && !came; i++) sleep_ms(1);
    say("%s: %s", what, came == SIGIO ? "SIGIO" : "nothing");
    came = 0;
}

CASE(directory_notification) {
    NEED(mkdir("watched", 0755));
    int folder = NEED(open("watched", O_RDONLY | O_DIRECTORY)), file = NEED(open("watched/f", O_CREAT | O_RDWR, 0644));
    signal(SIGIO, note_io);
    CHECK("not a directory", fcntl(file, F_NOTIFY, DN_CREATE));
    CHECK("forget nothing", fcntl(file, F_NOTIFY, 0));
    CHECK("a path", fcntl(NEED(open("watched", O_PATH)), F_NOTIFY, DN_CREATE));
    CHECK("once", fcntl(folder, F_NOTIFY, DN_CREATE));
    NEED(mkdir("watched/a", 0755));
    wait_for_io("a directory is made");
    NEED(mkdir("watched/b", 0755));
    sleep_ms(20);
    say("once only: %d", came);
    CHECK("always", fcntl(folder, F_NOTIFY, DN_MODIFY | DN_DELETE | DN_MULTISHOT));
    NEED(write(file, "x", 1));
    wait_for_io("a file is written to");
    NEED(rmdir("watched/a"));
    wait_for_io("a directory is removed");
    CHECK("forget", fcntl(folder, F_NOTIFY, 0));
    NEED(rmdir("watched/b"));
    sleep_ms(20);
    say("forgotten: %d", came);
}

CASE(signal_driven) {
    int ends[2];
    NEED(pipe(ends));
    struct sigaction action = {.sa_handler = note_io};
    sigaction(SIGIO, &action, NULL);
    struct f_owner_ex owner = {F_OWNER_PID, 0}, wrong = {7, 1};
    CHECK("nobody", fcntl(ends[0], F_GETOWN_EX, &owner));
    CHECK("set", fcntl(ends[0], F_SETOWN, getpid()));
    CHECK("get", fcntl(ends[0], F_GETOWN_EX, &owner));
    BOOL("me", owner.type == F_OWNER_PID && owner.pid == getpid());
    CHECK("async", fcntl(ends[0], F_SETFL, O_ASYNC));
    BOOL("is async", fcntl(ends[0], F_GETFL) & O_ASYNC);
    NEED(write(ends[1], "x", 1));
    for (int i = 0; i < 500 && !came; i++) sleep_ms(1);
    BOOL("SIGIO", came == SIGIO);
    came = 0;
    CHECK("group", fcntl(ends[0], F_SETOWN, -getpgrp()));
    BOOL("is a group", fcntl(ends[0], F_GETOWN) == -getpgrp());
    CHECK("nobody any more", fcntl(ends[0], F_SETOWN, 0));
    CHECK("no such process", fcntl(ends[0], F_SETOWN, 0x3ffffff));
    CHECK("no such kind", fcntl(ends[0], F_SETOWN_EX, &wrong));
    CHECK("bad pointer", fcntl(ends[0], F_SETOWN_EX, BAD_POINTER));
    CHECK("bad signal", fcntl(ends[0], F_SETSIG, 65));
    CHECK("smallest", fcntl(ends[0], F_SETOWN, INT_MIN));
}

static volatile int told_fd, told_code;
static volatile long told_band;

static void note_descriptor(int signo, siginfo_t *info, void *context UNUSED) {
    came = signo;
    told_fd = info->si_fd;
    told_code = info->si_code;
    told_band = info->si_band;
}

CASE(driven_by_another_signal) {
    int ends[2];
    NEED(pipe(ends));
    struct sigaction action = {.sa_sigaction = note_descriptor, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN + 3, &action, NULL);
    NEED(fcntl(ends[0], F_SETOWN, getpid()));
    NEED(fcntl(ends[0], F_SETFL, O_ASYNC));
    CHECK("other signal", fcntl(ends[0], F_SETSIG, SIGRTMIN + 3));
    BOOL("its number", fcntl(ends[0], F_GETSIG) == SIGRTMIN + 3);
    signal(SIGIO, SIG_IGN);
    NEED(write(ends[1], "x", 1));
    for (int i = 0; i < 500 && !came; i++) sleep_ms(1);
    BOOL("came", came == SIGRTMIN + 3);
    BOOL("tells the descriptor", told_fd == ends[0]);
    say("code %d, band %#lx", told_code, told_band);
    came = 0;
}

CASE(closing) {
    int fd = NEED(open("/dev/null", O_RDONLY));
    CHECK("close", close(fd));
    CHECK("twice", close(fd));
    CHECK("negative", close(-1));
    CHECK("high", close(1 << 30));
    for (int i = 40; i < 50; i++) NEED(dup2(1, i));
    CHECK("range", close_range(42, 44, 0));
    for (int i = 40; i < 50; i++) if (!is_open(i)) say("%d closed", i);
    CHECK("cloexec", close_range(45, 46, CLOSE_RANGE_CLOEXEC));
    for (int i = 45; i < 48; i++) say("%d: %d", i, fcntl(i, F_GETFD));
    CHECK("backwards", close_range(49, 48, 0));
    CHECK("bad flag", close_range(48, 49, 0x100));
    CHECK("all above", close_range(40, ~0U, 0));
    for (int i = 40; i < 50; i++) if (is_open(i)) say("%d open", i);
    IN_CHILD("unshare") {
        CHECK("unshare", close_range(30, ~0U, CLOSE_RANGE_UNSHARE));
        CHECK("stdout stays", is_open(1));
    }
}

CASE(after_fork) {
    put_text("f", "0123456789");
    int fd = NEED(open("f", O_RDONLY));
    char byte;
    IN_CHILD("child") {
        NEED(read(fd, &byte, 1));
        CHECK("closes", close(fd));
        NEED(dup2(1, 70));
    }
    CHECK("parent's is open", read(fd, &byte, 1));
    say("%c", byte);
    BOOL("child's is not here", !is_open(70));
}

CASE(file_ioctls) {
    put_text("f", "0123456789");
    int fd = NEED(open("f", O_RDONLY)), number = -1;
    NEED(lseek(fd, 4, SEEK_SET));
    CHECK("FIONREAD", ioctl(fd, FIONREAD, &number));
    say("%d", number);
    CHECK("FIONREAD bad pointer", ioctl(fd, FIONREAD, BAD_POINTER));
    CHECK("FIOCLEX", ioctl(fd, FIOCLEX));
    CHECK("F_GETFD", fcntl(fd, F_GETFD));
    CHECK("FIONCLEX", ioctl(fd, FIONCLEX));
    CHECK("F_GETFD", fcntl(fd, F_GETFD));
    number = 1;
    CHECK("FIONBIO", ioctl(fd, FIONBIO, &number));
    say("%#o", flags_of(fd));
    CHECK("TCGETS", ioctl(fd, 0x5401, &(char[64]){0}));
    CHECK("isatty", isatty(fd));
    CHECK("unknown", ioctl(fd, 0x12345678, 0));
    CHECK("bad descriptor", ioctl(99, FIONREAD, &number));
    CHECK("directory TCGETS", ioctl(NEED(open(".", O_RDONLY)), 0x5401, &(char[64]){0}));
}

CASE(seals) {
    int fd = NEED(memfd_create("name", MFD_CLOEXEC));
    CHECK("seals refused", fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    int sealed = NEED(memfd_create("sealed", MFD_ALLOW_SEALING));
    CHECK("no seals", fcntl(sealed, F_GET_SEALS));
    NEED(ftruncate(sealed, 100));
    CHECK("seal", fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
    CHECK("grow", ftruncate(sealed, 200));
    CHECK("shrink", ftruncate(sealed, 50));
    CHECK("write beyond", pwrite(sealed, "x", 1, 100));
    CHECK("write inside", pwrite(sealed, "x", 1, 10));
    CHECK("seal write", fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
    CHECK("write", pwrite(sealed, "x", 1, 10));
    CHECK("no more", fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE));
    CHECK("seals", fcntl(sealed, F_GET_SEALS));
}

CASE(memfd) {
    int fd = memfd_create("name", MFD_CLOEXEC);
    CHECK("created", fd >= 0);
    CHECK("cloexec", fcntl(fd, F_GETFD));
    CHECK("write", write(fd, "memory", 6));
    char text[64] = "";
    CHECK("pread", pread(fd, text, 6, 0));
    say("%s", text);
    struct stat st;
    NEED(fstat(fd, &st));
    say("%o links %ld size %ld", st.st_mode, (long)st.st_nlink, (long)st.st_size);
    CHECK("truncate", ftruncate(fd, 8192));
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    map[4096] = 'm';
    CHECK("pread mapped", pread(fd, text, 1, 4096));
    say("%c", text[0]);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK("readlink", readlink(path, text, sizeof text));
    say("%.13s", text);
    CHECK("bad flag", memfd_create("x", 0x100));
    CHECK("bad name", syscall(SYS_memfd_create, BAD_POINTER, 0));
    memset(path, 'x', sizeof path);
    char longer[300];
    memset(longer, 'x', sizeof longer);
    longer[250] = 0;
    CHECK("long name", memfd_create(longer, 0));
    longer[249] = 0;
    CHECK("longest name", memfd_create(longer, 0) >= 0);
    CHECK("seals of a file", fcntl(NEED(open("f", O_CREAT | O_RDWR, 0600)), F_GET_SEALS));
}
