/* fork(2), vfork(2), clone(2) and clone3(2) without threads. */
#include <sched.h>
#include <sys/prctl.h>

#include "guest.h"

#define STACK_SIZE 65536

CASE(isolation) {
    int local = 1;
    char *heap = malloc(100);
    static int data = 10;
    heap[5] = 'h';
    IN_CHILD("child") {
        local = 2;
        data = 20;
        heap[5] = 'c';
        say("child %d %d %c", local, data, heap[5]);
        _exit(7);
    }
    say("parent %d %d %c", local, data, heap[5]);
}

CASE(identity) {
    pid_t parent = getpid(), group = getpgrp(), session = getsid(0);
    IN_CHILD("child") {
        BOOL("own pid", getpid() != parent && getpid() > 1);
        BOOL("parent", getppid() == parent);
        BOOL("group kept", getpgrp() == group);
        BOOL("session kept", getsid(0) == session);
        BOOL("gettid is getpid", syscall(SYS_gettid) == getpid());
        BOOL("getpid by the kernel", syscall(SYS_getpid) == getpid());
    }
    BOOL("parent unchanged", getpid() == parent);
    BOOL("gettid is getpid", syscall(SYS_gettid) == getpid());
}

CASE(inherited) {
    umask(027);
    sigset_t set, now;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    alarm(100);
    int fd = NEED(open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    NEED(mkdir("folder", 0755));
    NEED(chdir("folder"));
    prctl(PR_SET_NAME, "parentname");
    IN_CHILD("child") {
        char name[16], cwd[PATH_MAX];
        prctl(PR_GET_NAME, name);
        say("umask %o, name %s, cwd %s", umask(0), name, strrchr(getcwd(cwd, sizeof cwd), '/'));
        sigprocmask(SIG_SETMASK, NULL, &now);
        BOOL("mask kept", sigismember(&now, SIGUSR1));
        sigpending(&now);
        BOOL("pending cleared", !sigismember(&now, SIGUSR1));
        say("alarm %u", alarm(0));
        CHECK("cloexec kept", fcntl(fd, F_GETFD));
        NEED(write(fd, "child", 5));
    }
    say("offset is shared: %ld", (long)lseek(fd, 0, SEEK_CUR));
    BOOL("alarm goes on", alarm(0) > 90);
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGUSR1, SIG_DFL);
    umask(022);
    prctl(PR_SET_NAME, "guest");
}

CASE(many_in_a_row) {
    long sum = 0;
    for (int i = 0; i < 200; i++) {
        pid_t child = NEED(fork());
        if (child == 0) _exit(i % 100);
        int status;
        NEED(waitpid(child, &status, 0));
        sum += WEXITSTATUS(status);
    }
    say("%ld", sum);
}

CASE(many_at_once) {
    int gate[2], status;
    char byte;
    long sum = 0;
    NEED(pipe(gate));
    for (int i = 0; i < 50; i++) {
        if (NEED(fork()) == 0) {
            close(gate[1]);
            _exit(read(gate[0], &byte, 1) == 0 ? i : 99);
        }
    }
    close(gate[1]);
    for (int i = 0; i < 50; i++) {
        NEED(wait(&status));
        sum += WEXITSTATUS(status);
    }
    say("%ld", sum);
    CHECK("no more", wait(&status));
    close(gate[0]);
}

CASE(generations) {
    IN_CHILD("1") IN_CHILD("2") IN_CHILD("3") IN_CHILD("4") {
        say("deep");
        _exit(44);
    }
}

CASE(pipeline) {
    int in = -1;
    for (int stage = 0; stage < 20; stage++) {
        int ends[2];
        NEED(pipe(ends));
        if (NEED(fork()) == 0) {
            close(ends[0]);
            char text[200] = "";
            if (in >= 0) NEED(read(in, text, sizeof text - 2));
            text[strlen(text)] = 'a' + stage;
            NEED(write(ends[1], text, strlen(text)));
            _exit(0);
        }
        close(ends[1]);
        if (in >= 0) close(in);
        in = ends[0];
    }
    char text[200] = "";
    NEED(read(in, text, sizeof text - 1));
    say("%s", text);
    close(in);
    while (wait(NULL) > 0) {}
}

CASE(exit_while_children_run) {
    int ends[2];
    char text[100] = "";
    NEED(pipe(ends));
    IN_CHILD("middle") {
        pid_t middle = getpid();
        if (NEED(fork()) == 0) {
            while (getppid() == middle) sleep_ms(1);
            dprintf(ends[1], "orphan: %s", getppid() != middle ? "other parent" : "same parent");
            _exit(0);
        }
        _exit(3);
    }
    close(ends[1]);
    ssize_t got, all = 0;
    while ((got = read(ends[0], text + all, sizeof text - 1 - all)) > 0) all += got;
    say("%s", text);
    close(ends[0]);
}

CASE(subreaper) {
    NEED(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    int flag = 0;
    CHECK("get", prctl(PR_GET_CHILD_SUBREAPER, &flag, 0, 0, 0));
    say("%d", flag);
    pid_t self = getpid();
    IN_CHILD("middle") {
        if (NEED(fork()) == 0) {
            while (getppid() != self) sleep_ms(1);
            _exit(21);
        }
        prctl(PR_GET_CHILD_SUBREAPER, &flag, 0, 0, 0);
        say("not inherited: %d", flag);
    }
    int status;
    NEED(wait(&status));
    say_status("adopted", status);
    CHECK("unset", prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0));
}

CASE(parent_death_signal) {
    int ends[2];
    char byte;
    NEED(pipe(ends));
    IN_CHILD("middle") {
        int ready[2];
        NEED(pipe(ready));
        if (NEED(fork()) == 0) {
            int number = -1;
            NEED(prctl(PR_SET_PDEATHSIG, SIGKILL));
            NEED(prctl(PR_GET_PDEATHSIG, &number));
            say("signal %d", number);
            CHECK("bad number", prctl(PR_SET_PDEATHSIG, 65));
            NEED(write(ready[1], "x", 1));
            sleep_ms(30000);
            NEED(write(ends[1], "alive", 5));
            _exit(0);
        }
        close(ready[1]);
        NEED(read(ready[0], &byte, 1));
    }
    close(ends[1]);
    say("end of the orphan: read gives %ld", (long)read(ends[0], &byte, 1));
    close(ends[0]);
}

static volatile int vfork_shared;

CASE(vfork_shares_memory) {
    volatile int order = 0;
    vfork_shared = 0;
    pid_t child = vfork();
    if (child == 0) {
        vfork_shared = 5;
        order = 1;
        sleep_ms(50);
        order = 2;
        _exit(9);
    }
    say("parent sees %d, went on after %d", vfork_shared, order);
    reap("child", child);
}

CASE(vfork_failed_exec) {
    char *missing[] = {"/nonexistent", NULL};
    vfork_shared = 0;
    pid_t child = vfork();
    if (child == 0) {
        execve(missing[0], missing, NULL);
        vfork_shared = errno;
        _exit(127);
    }
    say("errno through memory: %s", strerrorname_np(vfork_shared));
    reap("child", child);
}

CASE_WITH_PROGRAMS(vfork_exec) {
    char *command[] = {"sh", "-c", "exit 12", NULL};
    for (int i = 0; i < 3; i++) {
        pid_t child = vfork();
        if (child == 0) {
            vfork_shared = 100 + i;
            execve("/bin/sh", command, NULL);
            _exit(127);
        }
        say("%d", vfork_shared);
        reap("child", child);
    }
}

CASE(vfork_large_writes) {
    size_t size = 4 << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int *file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, NEED(open("/dev/zero", O_RDWR)), 0);
    pid_t child = vfork();
    if (child == 0) {
        memset(memory, 3, size);
        file[0] = 77;
        _exit(0);
    }
    long sum = 0;
    for (size_t i = 0; i < size; i += 64) sum += memory[i];
    say("%ld %d", sum, file[0]);
    reap("child", child);
}

CASE(vfork_killed) {
    pid_t child = vfork();
    if (child == 0) {
        vfork_shared = 66;
        kill(getpid(), SIGKILL);
        _exit(0);
    }
    say("%d", vfork_shared);
    reap("child", child);
}

CASE(vfork_own_files) {
    int fd = NEED(open("file", O_RDWR | O_CREAT, 0644));
    NEED(mkdir("sub", 0755));
    pid_t child = vfork();
    if (child == 0) {
        close(fd);
        syscall(SYS_chdir, "sub");
        syscall(SYS_umask, 0);
        _exit(0);
    }
    CHECK("fd still open", fcntl(fd, F_GETFD));
    char cwd[PATH_MAX];
    say("%s %o", strrchr(getcwd(cwd, sizeof cwd), '/'), umask(022));
    reap("child", child);
}

static int clone_child(void *argument) {
    *(volatile int *)argument += 1;
    return 33;
}

CASE(clone_library) {
    char *stack = malloc(STACK_SIZE);
    volatile int value = 1;
    pid_t child = clone(clone_child, stack + STACK_SIZE, SIGCHLD, (void *)&value);
    reap("plain", child);
    say("not shared %d", value);
    child = clone(clone_child, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)&value);
    reap("CLONE_VM|CLONE_VFORK", child);
    say("shared %d", value);
    CHECK("no stack", clone(clone_child, NULL, SIGCHLD, NULL));
    free(stack);
}

/* The kernel's own order of arguments differs per architecture. */
static pid_t raw_clone(unsigned long flags, int *parent_tid, int *child_tid) {
#ifdef __x86_64__
    return syscall(SYS_clone, flags, NULL, parent_tid, child_tid, NULL);
#else
    return syscall(SYS_clone, flags, NULL, parent_tid, NULL, child_tid);
#endif
}

CASE(clone_tids) {
    int in_parent = 0, in_child = 0;
    pid_t child = raw_clone(CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, &in_parent, &in_child);
    if (child == 0) _exit(in_child == syscall(SYS_getpid) ? 1 : 2);
    BOOL("parent's copy set", in_parent == child);
    BOOL("parent's other not", in_child == 0);
    reap("child", child);
    child = raw_clone(CLONE_PARENT_SETTID | SIGCHLD, BAD_POINTER, NULL);
    if (child == 0) _exit(0);
    BOOL("bad parent pointer is ignored", child > 0);
    reap("child", child);
    child = raw_clone(CLONE_CHILD_SETTID | SIGCHLD, NULL, BAD_POINTER);
    if (child == 0) _exit(4);
    reap("bad child pointer", child);
}

CASE(clone_exit_signal) {
    int status;
    pid_t child = raw_clone(0, NULL, NULL);
    if (child == 0) _exit(5);
    CHECK("plain wait", waitpid(child, &status, 0));
    CHECK_OK("__WALL", waitpid(child, &status, __WALL));
    say_status("child", status);
    signal(SIGUSR2, SIG_IGN);
    child = raw_clone(SIGUSR2, NULL, NULL);
    if (child == 0) _exit(6);
    CHECK_OK("__WCLONE", waitpid(child, &status, __WCLONE));
    say_status("child", status);
    signal(SIGUSR2, SIG_DFL);
}

CASE(clone_errors) {
    CHECK("THREAD without SIGHAND", raw_clone(CLONE_THREAD | CLONE_VM, NULL, NULL));
    CHECK("SIGHAND without VM", raw_clone(CLONE_SIGHAND | SIGCHLD, NULL, NULL));
    CHECK("NEWNS with FS", raw_clone(CLONE_NEWNS | CLONE_FS | SIGCHLD, NULL, NULL));
    CHECK("PIDFD with PARENT_SETTID", raw_clone(CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, &(int){0}, NULL));
}

CASE(clone_parent) {
    /* With CLONE_PARENT the new process is the caller's sibling. */
    int status;
    IN_CHILD("first") {
        pid_t sibling = raw_clone(CLONE_PARENT | SIGCHLD, NULL, NULL);
        if (sibling == 0) {
            sleep_ms(20);
            _exit(17);
        }
        CHECK("not my child", waitpid(sibling, &status, 0));
    }
    NEED(wait(&status));
    say_status("sibling", status);
}

struct clone3_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

CASE(clone3) {
    int parent_tid = 0;
    struct clone3_arguments arguments = {
        .flags = CLONE_PARENT_SETTID, .parent_tid = (uintptr_t)&parent_tid, .exit_signal = SIGCHLD};
    pid_t child = syscall(SYS_clone3, &arguments, 64);
    if (child == 0) _exit(23);
    BOOL("set", parent_tid == child);
    reap("child", child);
    int pidfd = -1;
    arguments = (struct clone3_arguments){.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD};
    child = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0) _exit(24);
    BOOL("pidfd", pidfd > 2);
    CHECK("pidfd flags", fcntl(pidfd, F_GETFD));
    siginfo_t info;
    CHECK("waitid by pidfd", waitid(3 /* P_PIDFD */, pidfd, &info, WEXITED));
    say("status %d", info.si_status);
    close(pidfd);
    CHECK("size too small", syscall(SYS_clone3, &arguments, 63));
    CHECK("size too big", syscall(SYS_clone3, &arguments, 8192));
    CHECK("bad pointer", syscall(SYS_clone3, BAD_POINTER, 64));
    arguments = (struct clone3_arguments){.exit_signal = 65};
    CHECK("bad signal", syscall(SYS_clone3, &arguments, 64));
    arguments = (struct clone3_arguments){.flags = 1ULL << 60, .exit_signal = SIGCHLD};
    CHECK("unknown flag", syscall(SYS_clone3, &arguments, 64));
    arguments = (struct clone3_arguments){.flags = CLONE_DETACHED, .exit_signal = SIGCHLD};
    CHECK("CLONE_DETACHED", syscall(SYS_clone3, &arguments, 64));
    arguments = (struct clone3_arguments){.stack = (uintptr_t)&arguments, .exit_signal = SIGCHLD};
    CHECK("stack without size", syscall(SYS_clone3, &arguments, 64));
    arguments = (struct clone3_arguments){.flags = CLONE_THREAD, .exit_signal = SIGCHLD};
    CHECK("thread with signal", syscall(SYS_clone3, &arguments, 64));
    char longer[128] = {0};
    arguments = (struct clone3_arguments){.exit_signal = SIGCHLD};
    memcpy(longer, &arguments, sizeof arguments);
    longer[127] = 1;
    CHECK("unknown tail", syscall(SYS_clone3, longer, sizeof longer));
}
