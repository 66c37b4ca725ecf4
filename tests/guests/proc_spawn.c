/* posix_spawn(3), system(3) and popen(3): what C libraries build on CLONE_VM | CLONE_VFORK. */
#include <spawn.h>

#include "guest.h"

static char *const environment[] = {"PATH=/usr/bin:/bin", "WORD=from-environment", NULL};

static void spawn(const char *name, const char *command, posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes) {
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    pid_t child = -1;
    int error = posix_spawn(&child, "/bin/sh", actions, attributes, argv, environment);
    if (error) say("%s: %s", name, strerrorname_np(error));
    else reap(name, child);
}

CASE_WITH_PROGRAMS(plain) {
    spawn("exit", "exit 14", NULL, NULL);
    spawn("environment", "echo $WORD", NULL, NULL);
    spawn("killed", "kill -TERM $$", NULL, NULL);
}

CASE_WITH_PROGRAMS(errors) {
    char *argv[] = {"x", NULL};
    pid_t child = 77;
    put_text("plain", "x");
    CHECK_ERROR("missing", posix_spawn(&child, "./missing", NULL, NULL, argv, environment));
    CHECK_ERROR("not executable", posix_spawn(&child, "./plain", NULL, NULL, argv, environment));
    CHECK_ERROR("folder", posix_spawn(&child, "/tmp", NULL, NULL, argv, environment));
    CHECK_ERROR("path search", posix_spawnp(&child, "no-such-program-here", NULL, NULL, argv, environment));
    CHECK("no child is left", waitpid(-1, NULL, 0));
    char *good[] = {"true", NULL};
    CHECK_ERROR("found in the path", posix_spawnp(&child, "true", NULL, NULL, good, environment));
    reap("true", child);
}

CASE_WITH_PROGRAMS(file_actions) {
    posix_spawn_file_actions_t actions;
    int out = NEED(open("out", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    char text[300] = "";
    NEED(mkdir("sub", 0755));
    put_text("sub/in", "from the file\n");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, "sub");
    posix_spawn_file_actions_addopen(&actions, 0, "in", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_addopen(&actions, 9, "new", O_WRONLY | O_CREAT, 0600);
    spawn("actions", "cat; echo new >&9; pwd | sed 's,.*/,,'; ls", &actions, NULL);
    NEED(pread(out, text, sizeof text - 1, 0));
    say("%s", text);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "missing", O_RDONLY, 0);
    spawn("open fails", "echo no", &actions, NULL);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, 555, 1);
    spawn("dup2 fails", "echo no", &actions, NULL);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, 1);
    spawn("close", "test ! -e /proc/self/fd/1 && exit 3", &actions, NULL);
    posix_spawn_file_actions_destroy(&actions);
}

CASE_WITH_PROGRAMS(attributes) {
    posix_spawnattr_t attributes;
    sigset_t set;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&attributes, 0);
    spawn("own group", "set -- $(cut -d' ' -f1,5 /proc/$$/stat); test $1 = $2 && exit 3", NULL, &attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    spawn("own session", "set -- $(cut -d' ' -f1,6 /proc/$$/stat); test $1 = $2 && exit 4", NULL, &attributes);
    posix_spawnattr_setpgroup(&attributes, 1);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    spawn("group of others", "echo no", NULL, &attributes);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    posix_spawnattr_setsigmask(&attributes, &set);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    spawn("mask", "kill -TERM $$; exit 5", NULL, &attributes);
    signal(SIGTERM, SIG_IGN);
    posix_spawnattr_setflags(&attributes, 0);
    spawn("ignored", "kill -TERM $$; exit 6", NULL, &attributes);
    posix_spawnattr_setsigdefault(&attributes, &set);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    spawn("default", "kill -TERM $$; exit 7", NULL, &attributes);
    signal(SIGTERM, SIG_DFL);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_RESETIDS);
    spawn("reset ids", "exit 8", NULL, &attributes);
    posix_spawnattr_destroy(&attributes);
    sigprocmask(SIG_SETMASK, NULL, &set);
    BOOL("parent's mask unchanged", sigisemptyset(&set));
}

CASE_WITH_PROGRAMS(many) {
    char *argv[] = {"true", NULL};
    long good = 0;
    for (int i = 0; i < 20; i++) {
        pid_t child;
        int status = -1;
        if (posix_spawn(&child, "/bin/true", NULL, NULL, argv, environment) == 0) waitpid(child, &status, 0);
        good += status == 0;
    }
    say("%ld", good);
}

CASE_WITH_PROGRAMS(system_and_popen) {
    say("%d", system("exit 3"));
    say("%d", system("kill -USR1 $$"));
    say("%d", system(NULL) != 0);
    FILE *reader = popen("echo one; echo two; exit 4", "r");
    char line[100];
    while (fgets(line, sizeof line, reader)) say("read %.3s", line);
    say("%d", pclose(reader));
    FILE *writer = popen("wc -c > count", "w");
    fputs("12345", writer);
    say("%d", pclose(writer));
    sigset_t set;
    sigprocmask(SIG_SETMASK, NULL, &set);
    BOOL("mask is empty again", sigisemptyset(&set));
}

CASE_WITH_PROGRAMS(large_parent) {
    size_t size = 64 << 20;
    char *memory = malloc(size), *argv[] = {"true", NULL};
    memset(memory, 1, size);
    pid_t child;
    CHECK_ERROR("spawn", posix_spawn(&child, "/bin/true", NULL, NULL, argv, environment));
    reap("child", child);
    CHECK_ERROR("missing", posix_spawn(&child, "/nonexistent", NULL, NULL, argv, environment));
    long sum = 0;
    for (size_t i = 0; i < size; i += PAGE) sum += memory[i];
    say("%ld", sum);
    free(memory);
}
