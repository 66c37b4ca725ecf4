/* /dev/null, zero, full, random, urandom, tty; getrandom; /proc/self. */
#include "hostile.h"
#include <sys/random.h>
#include <sys/sysmacros.h>

static char text[8192];

CASE(devices) {
    static const char *names[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};
    for (size_t i = 0; i < LENGTH(names); i++) {
        struct stat st;
        say("%s", names[i]);
        int fd = NEED(open(names[i], O_RDWR));
        NEED(fstat(fd, &st));
        say("%o %d:%d size %ld", st.st_mode & S_IFMT, major(st.st_rdev), minor(st.st_rdev), (long)st.st_size);
        memset(text, 'x', 100);
        CHECK("read", read(fd, text, 100));
        say("zeros: %d", text[0] == 0 && memcmp(text, text + 1, 99) == 0);
        CHECK("write", write(fd, "data", 4));
        CHECK("read to bad pointer", read(fd, BAD_POINTER, 10));
        CHECK("read to the kernel's memory", read(fd, KERNEL_POINTER, 10));
        CHECK("seek", lseek(fd, 100, SEEK_SET));
        CHECK("pread", pread(fd, text, 10, 1000));
        CHECK("fsync", fsync(fd));
        CHECK("ftruncate", ftruncate(fd, 0));
        CHECK("isatty", isatty(fd));
        close(fd);
    }
    CHECK("truncate null", close(NEED(open("/dev/null", O_WRONLY | O_TRUNC | O_CREAT, 0644))));
    CHECK("directory", open("/dev/null/x", O_RDONLY));
    char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, NEED(open("/dev/zero", O_RDWR)), 0);
    BOOL("zero maps", map != MAP_FAILED && map[0] == 0);
}

CASE(no_controlling_terminal) {
    IN_CHILD("new session") {
        CHECK("setsid", setsid() > 0);
        CHECK("/dev/tty", open("/dev/tty", O_RDWR));
    }
}

CASE(random_numbers) {
    char more[64] = "";
    CHECK("getrandom", getrandom(text, 64, 0));
    CHECK("again", getrandom(more, 64, GRND_NONBLOCK));
    BOOL("differ", memcmp(text, more, 64) != 0);
    CHECK("random", getrandom(text, 64, GRND_RANDOM));
    CHECK("large", getrandom(text, sizeof text, 0));
    CHECK("zero", getrandom(text, 0, 0));
    CHECK("bad flag", getrandom(text, 10, 0x100));
    CHECK("insecure and random", getrandom(text, 10, GRND_RANDOM | GRND_INSECURE));
    CHECK("bad pointer", getrandom(BAD_POINTER, 10, 0));
    CHECK("getentropy", getentropy(text, 256));
    CHECK("getentropy too much", getentropy(text, 257));
    IN_CHILD("child") NEED(getrandom(text, 64, 0));
}

static long slurp(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    long total = 0, n;
    while ((n = read(fd, text + total, sizeof text - 1 - total)) > 0) total += n;
    text[total] = 0;
    close(fd);
    return total;
}

static void field(const char *name) {
    char *line = strstr(text, name);
    if (line) say("%.*s", (int)strcspn(line, "\n"), line);
    else say("no %s", name);
}

CASE(proc_self) {
    char path[PATH_MAX], expected[PATH_MAX];
    struct stat st;
    memset(path, 0, sizeof path);
    CHECK("exe", readlink("/proc/self/exe", path, sizeof path) == (long)strlen(guest_self));
    BOOL("is this program", strcmp(path, guest_self) == 0);
    CHECK("exe opens", open("/proc/self/exe", O_RDONLY) >= 0);
    memset(path, 0, sizeof path);
    NEED(readlink("/proc/self/cwd", path, sizeof path));
    BOOL("cwd", strcmp(path, getcwd(expected, sizeof expected)) == 0);
    memset(path, 0, sizeof path);
    CHECK("root", readlink("/proc/self/root", path, sizeof path));
    say("%s", path);
    put_text("file", "content");
    int fd = NEED(open("file", O_RDWR));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK("lstat fd", lstat(path, &st));
    say("%o", st.st_mode & S_IFMT);
    CHECK("stat fd", stat(path, &st));
    say("%o size %ld", st.st_mode & S_IFMT, (long)st.st_size);
    ssize_t n = readlink(path, text, sizeof text);
    BOOL("points to the file", n > 5 && memcmp(text + n - 5, "/file", 5) == 0);
    NEED(unlink("file"));
    n = readlink(path, text, sizeof text);
    BOOL("deleted", n > 10 && memcmp(text + n - 10, " (deleted)", 10) == 0);
    CHECK("reopen deleted", open(path, O_RDONLY) >= 0);
    int ends[2];
    NEED(pipe(ends));
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    n = readlink(path, text, sizeof text);
    say("%.6s", text);
    CHECK("fd missing", readlink("/proc/self/fd/99", text, sizeof text));
    snprintf(path, sizeof path, "/proc/%d/comm", getpid());
    CHECK("comm", slurp(path));
    say("%s", text);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[1]);
    CHECK("/dev/fd", close(NEED(open(path, O_WRONLY))));
    CHECK("/dev/stdin", stat("/dev/stdin", &st));
}

CASE(proc_self_files) {
    CHECK("cmdline", slurp("/proc/self/cmdline") > 0);
    BOOL("starts with argv[0]", strcmp(text, guest_self) == 0);
    CHECK("environ", slurp("/proc/self/environ") > 0);
    CHECK("stat", slurp("/proc/self/stat") > 0);
    int pid, parent, group, session;
    char state;
    BOOL("fields", sscanf(strrchr(text, ')') + 1, " %c %d %d %d", &state, &parent, &group, &session) == 4 &&
                       sscanf(text, "%d", &pid) == 1);
    say("state %c pid %d ppid %d pgrp %d session %d", state, pid == getpid(), parent == getppid(), group == getpgrp(),
        session == getsid(0));
    int fields = 0;
    for (char *p = strtok(strrchr(text, ')') + 1, " "); p; p = strtok(NULL, " ")) fields++;
    CHECK("count", fields + 2);
    CHECK("status", slurp("/proc/self/status") > 0);
    field("Name:");
    field("State:");
    field("Threads:");
    field("Umask:");
    field("SigBlk:");
    CHECK("maps", slurp("/proc/self/maps") > 0);
    BOOL("stack", strstr(text, "[stack]") != NULL);
    BOOL("program", strstr(text, guest_self) != NULL);
    CHECK("statm", slurp("/proc/self/statm") > 0);
    CHECK("limits", slurp("/proc/self/limits") > 0);
    BOOL("open files", strstr(text, "Max open files") != NULL);
    CHECK("mounts", slurp("/proc/self/mounts") > 0);
    CHECK("mountinfo", slurp("/proc/self/mountinfo") > 0);
    CHECK("auxv", slurp("/proc/self/auxv") >= 300);
    CHECK("missing", slurp("/proc/self/none"));
    CHECK("missing process", slurp("/proc/999999999/stat"));
    CHECK("write to stat", open("/proc/self/stat", O_WRONLY) >= 0);
    CHECK("meminfo", slurp("/proc/meminfo") > 0);
    CHECK("cpuinfo", slurp("/proc/cpuinfo") > 0);
    CHECK("uptime", slurp("/proc/uptime") > 0);
    CHECK("loadavg", slurp("/proc/loadavg") > 0);
    CHECK("version", slurp("/proc/version") > 0);
    say("%.14s", text);
    CHECK("filesystems", slurp("/proc/filesystems") > 0);
    CHECK("pid_max", slurp("/proc/sys/kernel/pid_max") > 0);
    CHECK("overcommit", slurp("/proc/sys/vm/overcommit_memory") > 0);
    CHECK("boot_id", slurp("/proc/sys/kernel/random/boot_id"));
}

CASE(proc_of_a_child) {
    pid_t child;
    char path[64];
    START_CHILD(child) pause();
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    CHECK("stat", slurp(path) > 0);
    int pid = 0, parent = 0;
    sscanf(text, "%d", &pid);
    sscanf(strrchr(text, ')') + 1, " %*c %d", &parent);
    BOOL("pid", pid == child);
    BOOL("parent", parent == getpid());
    NEED(kill(child, SIGSTOP));
    int status;
    NEED(waitpid(child, &status, WUNTRACED));
    slurp(path);
    say("stopped: %c", strrchr(text, ')')[2]);
    NEED(kill(child, SIGKILL));
    siginfo_t info;
    NEED(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    slurp(path);
    say("zombie: %c", strrchr(text, ')')[2]);
    reap("child", child);
    CHECK("gone", slurp(path));
}
