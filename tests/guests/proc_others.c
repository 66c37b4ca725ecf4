/* /proc/PID of another process: what ps, pgrep and lsof read of it. */
#include "guest.h"
#include <dirent.h>
#include <sys/prctl.h>

static char guest_path[512];

static const char *of(pid_t pid, const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return path;
}

static ssize_t content(pid_t pid, const char *name, char *buffer, size_t size) {
    int fd = open(of(pid, name), O_RDONLY);
    if (fd < 0) return -1;
    ssize_t got = read(fd, buffer, size - 1);
    close(fd);
    buffer[got > 0 ? got : 0] = 0;
    return got;
}

static void say_content(pid_t pid, const char *name) {
    char text[2048];
    ssize_t got = content(pid, name, text, sizeof text);
    for (ssize_t i = 0; i < got; i++)
        if (!text[i]) text[i] = '|';
    say("%s: %zd %s", name, got, got < 0 ? strerror(errno) : text);
}

static void say_link(pid_t pid, const char *name) {
    char target[512];
    ssize_t got = readlink(of(pid, name), target, sizeof target - 1);
    if (got < 0) {
        say("%s: %s", name, strerror(errno));
        return;
    }
    target[got] = 0;
    char *last = strrchr(target, '/');
    say("%s: %s", name, !strncmp(target, "pipe:", 5) ? "a pipe" : last ? last : target);
}

/* The values of a line of /proc/PID/status. */
static void say_status_line(pid_t pid, const char *name) {
    char text[4096], *at, wanted[32];
    if (content(pid, "status", text, sizeof text) < 0) return;
    snprintf(wanted, sizeof wanted, "%s:\t", name);
    at = strncmp(text, wanted, strlen(wanted)) ? strstr(text, wanted) : text;
    if (at) say("%.*s", (int)strcspn(at, "\n"), at);
}

static void await_state(pid_t pid, char state) {
    char text[1024];
    for (int i = 0; i < 500; i++) {
        if (content(pid, "stat", text, sizeof text) > 0 && strrchr(text, ')')[2] == state) break;
        sleep_ms(10);
    }
    char *rest = strrchr(text, ')');
    int parent, group, session;
    sscanf(rest + 3, "%d %d %d", &parent, &group, &session);
    *rest = 0;
    say("stat: %s %c, parent %s, group %s, session %s", strchr(text, '(') + 1, rest[2],
        parent == getpid() ? "is this" : "is another", group == getpgrp() ? "the same" : "another",
        session == getsid(0) ? "the same" : "another");
}

CASE(of_a_forked_child) {
    int ends[2];
    pid_t child;
    NEED(pipe(ends));
    NEED(mkdir("down", 0755));
    START_CHILD(child) {
        char byte;
        prctl(PR_SET_NAME, "renamed (it)");
        NEED(chdir("down"));
        umask(027);
        close(ends[1]);
        NEED(dup2(ends[0], 20));
        NEED(open("/dev/zero", O_RDONLY));
        close(ends[0]);
        if (read(20, &byte, 1)) _exit(1);
    }
    sleep_ms(300);
    await_state(child, 'S');
    say_content(child, "comm");
    say_link(child, "cwd");
    say_link(child, "root");
    say_link(child, "fd/20");
    say_link(child, "fd/90");
    const char *lines[] = {"Umask", "State", "Uid", "Gid", "Threads", "NoNewPrivs", "Name"};
    for (size_t i = 0; i < LENGTH(lines); i++)
        if (strcmp(lines[i], "NoNewPrivs")) say_status_line(child, lines[i]);
    BOOL("has memory", content(child, "statm", (char[64]){0}, 64) > 4);
    close(ends[0]), close(ends[1]);
    reap("child", child);
    CHECK("gone", open(of(child, "stat"), O_RDONLY));
    CHECK("gone", readlink(of(child, "cwd"), guest_path, sizeof guest_path));
}

CASE_WITH_PROGRAMS(of_another_program) {
    pid_t child;
    char *argv[] = {"named", "-c", "read line; :", "an argument", "", "last", NULL};
    int ends[2];
    NEED(pipe2(ends, O_CLOEXEC));
    START_CHILD(child) {
        NEED(dup2(ends[0], 0));
        NEED(execve("/bin/sh", argv, (char *[]){"A=b", NULL}));
    }
    sleep_ms(500);
    await_state(child, 'S');
    say_content(child, "cmdline");
    say_link(child, "fd/0");
    char own[512] = {0}, its[512] = {0};
    NEED(readlink("/proc/self/cwd", own, sizeof own - 1));
    NEED(readlink(of(child, "cwd"), its, sizeof its - 1));
    BOOL("in the same directory", !strcmp(own, its));
    NEED(readlink(of(child, "exe"), its, sizeof its - 1));
    NEED(realpath("/bin/sh", own));
    BOOL("runs sh", !strcmp(own, its));
    struct stat by_link, by_path;
    NEED(stat(of(child, "exe"), &by_link));
    NEED(stat("/bin/sh", &by_path));
    BOOL("the same file", by_link.st_ino == by_path.st_ino && by_link.st_dev == by_path.st_dev);
    NEED(kill(child, SIGSTOP));
    await_state(child, 'T');
    say_status_line(child, "State");
    NEED(kill(child, SIGKILL));
    await_state(child, 'Z');
    say_content(child, "cmdline");
    say_link(child, "exe");
    say_status_line(child, "State");
    reap("child", child);
}

CASE(at_once) {
    int seen = 0;
    for (int round = 0; round < 10; round++) {
        pid_t child;
        char text[64];
        START_CHILD(child) pause();
        if (content(child, "stat", text, sizeof text) > 0) seen++;
        NEED(kill(child, SIGKILL));
        NEED(waitpid(child, NULL, 0));
    }
    say("seen as soon as they are: %d", seen);
}

/* Whoever takes over the orphans of a namespace: the process that is shown as everybody's ancestor. */
CASE(orphans) {
    int ends[2];
    pid_t child, parent = -1;
    char text[64];
    NEED(pipe(ends));
    START_CHILD(child) {
        pid_t middle = getpid();
        if (NEED(fork()) == 0) {
            while (getppid() == middle) sleep_ms(1);
            parent = getppid();
            NEED(write(ends[1], &parent, sizeof parent));
        }
    }
    reap("middle", child);
    NEED(read(ends[0], &parent, sizeof parent));
    BOOL("is somebody", parent > 0);
    BOOL("has a status", content(parent, "status", text, sizeof text) > 0);
    BOOL("and a name", content(parent, "comm", text, sizeof text) > 1);
    BOOL("1 is there", content(1, "stat", text, sizeof text) > 4 && !strncmp(text, "1 (", 3));
    CHECK("may be looked for", kill(1, 0));
    IN_CHILD("a stranger") {
        NEED(setresuid(999, 999, 999));
        CHECK("not by everybody", kill(1, 0));
        CHECK("environ", open("/proc/1/environ", O_RDONLY));
        CHECK("root", readlink("/proc/1/root", text, sizeof text));
    }
}

CASE(is_listed) {
    pid_t child;
    START_CHILD(child) pause();
    DIR *proc = opendir("/proc");
    int seen = 0;
    for (struct dirent *entry; (entry = readdir(proc));)
        if (atoi(entry->d_name) == child || atoi(entry->d_name) == getpid()) seen++;
    closedir(proc);
    say("seen: %d", seen);
    CHECK("write", open(of(child, "stat"), O_WRONLY));
    CHECK("as a directory", open(of(child, "stat"), O_RDONLY | O_DIRECTORY));
    CHECK("task", access(of(child, "task"), R_OK | X_OK));
    struct stat status;
    NEED(stat(of(child, ""), &status));
    say("%o, owner %d %d", status.st_mode, status.st_uid == geteuid(), status.st_gid == getegid());
    NEED(kill(child, SIGKILL));
    reap("child", child);
}

CASE(of_another_user) {
    if (geteuid()) {
        say("takes root");
        return;
    }
    pid_t child;
    START_CHILD(child) {
        NEED(setresgid(1234, 1234, 1234));
        NEED(setresuid(4321, 4321, 4321));
        pause();
    }
    sleep_ms(300);
    say_status_line(child, "Uid");
    say_status_line(child, "Gid");
    say_link(child, "root");
    IN_CHILD("a stranger") {
        NEED(setresuid(999, 999, 999));
        say_link(child, "exe");
        say_link(child, "cwd");
        CHECK("fd", open(of(child, "fd"), O_RDONLY | O_DIRECTORY));
        CHECK("environ", open(of(child, "environ"), O_RDONLY));
        say_content(child, "comm");
        say_status_line(child, "Uid");
    }
    NEED(kill(child, SIGKILL));
    reap("child", child);
}

