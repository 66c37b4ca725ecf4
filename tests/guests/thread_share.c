/* What threads share, and what unshare(2), clone(2) and close_range(2) let them have of their own. */
#include "guest.h"
#include <pthread.h>
#include <sched.h>
#include <sys/sem.h>

static int there[2], back[2];

static void meet(const int *ends) {
    char byte = 0;
    NEED(write(ends[1], &byte, 1));
}

static void await(const int *ends) {
    char byte;
    NEED(read(ends[0], &byte, 1));
}

static const char *place(void) {
    static __thread char cwd[PATH_MAX];
    return strrchr(getcwd(cwd, sizeof cwd), '/');
}

static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static void start(pthread_t *thread, void *(*body)(void *)) {
    NEED(pipe(there) | pipe(back));
    NEED(-pthread_create(thread, NULL, body, NULL));
}

static void end(pthread_t thread) {
    pthread_join(thread, NULL);
    close(there[0]), close(there[1]), close(back[0]), close(back[1]);
}

static void *elsewhere(void *unused) {
    CHECK("unshare", unshare(CLONE_FS));
    CHECK("chdir", chdir("below"));
    say("umask %o", umask(077));
    meet(back);
    await(there);
    say("its place %s, umask %o", place(), umask(077));
    close(NEED(open("made", O_CREAT | O_RDWR, 0666)));
    IN_CHILD("its child") say("%s, umask %o", place(), umask(0));
    return unused;
}

CASE(directories) {
    pthread_t thread;
    struct stat status;
    NEED(mkdir("below", 0755));
    start(&thread, elsewhere);
    await(back);
    say("my place %s, umask %o", place(), umask(022));
    NEED(mkdir("other", 0755) | chdir("other"));
    meet(there);
    end(thread);
    say("my place %s, umask %o", place(), umask(022));
    NEED(chdir(".."));
    NEED(stat("below/made", &status));
    say("mode %o", status.st_mode);
}

static int shared_fd;

static void *own_files(void *unused) {
    CHECK("unshare", unshare(CLONE_FILES));
    CHECK("close", close(shared_fd));
    int own = NEED(open("/dev/zero", O_RDONLY));
    BOOL("the same number", own == shared_fd);
    meet(back);
    await(there);
    char byte = 1;
    CHECK("read", read(own, &byte, 1));
    say("%d", byte);
    IN_CHILD("its child") {
        CHECK("read", read(own, &byte, 1));
        say("%d", byte);
    }
    return unused;
}

CASE(descriptors) {
    pthread_t thread;
    char byte;
    shared_fd = NEED(open("/dev/null", O_RDONLY));
    start(&thread, own_files);
    await(back);
    CHECK("mine is still open", read(shared_fd, &byte, 1));
    int later = NEED(dup(shared_fd));
    meet(there);
    end(thread);
    BOOL("mine", is_open(shared_fd) && is_open(later));
    close(shared_fd), close(later);
}

static void *closes_a_range(void *unused) {
    CHECK("close_range", syscall(SYS_close_range, shared_fd, shared_fd, 2 /* CLOSE_RANGE_UNSHARE */));
    BOOL("open", is_open(shared_fd));
    return unused;
}

CASE(unshared_range) {
    pthread_t thread;
    shared_fd = NEED(open("/dev/null", O_RDONLY));
    start(&thread, closes_a_range);
    end(thread);
    BOOL("mine is open", is_open(shared_fd));
    close(shared_fd);
}

static void *keeps_a_pipe(void *ends) {
    CHECK("unshare", unshare(CLONE_FILES));
    meet(back);
    await(there);
    return ends;
}

CASE(what_a_thread_has_alone_is_closed_with_it) {
    pthread_t thread;
    int ends[2];
    char byte;
    NEED(pipe(ends));
    start(&thread, keeps_a_pipe);
    await(back);
    close(ends[1]);
    NEED(fcntl(ends[0], F_SETFL, O_NONBLOCK));
    CHECK("while it lives", read(ends[0], &byte, 1));
    IN_CHILD("a child has it not") {
        close(there[1]);
        CHECK("still the thread's", read(ends[0], &byte, 1));
    }
    meet(there);
    end(thread);
    for (int i = 0; i < 200 && read(ends[0], &byte, 1) == -1; i++) sleep_ms(5);
    CHECK("afterwards", read(ends[0], &byte, 1));
    close(ends[0]);
}

static int by_clone(void *unused UNUSED) {
    close(shared_fd);
    chdir("below");
    meet(back);
    return 0;
}

CASE(clones) {
    int base = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    NEED(mkdir("below", 0755));
    NEED(pipe(back));
    static const int extra[] = {0, CLONE_FS, CLONE_FILES, CLONE_FS | CLONE_FILES};
    for (size_t i = 0; i < LENGTH(extra); i++) {
        IN_CHILD("process") {
            char *stack = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            shared_fd = NEED(open("/dev/null", O_RDONLY));
            BOOL("clone", clone(by_clone, stack + (1 << 16), base | extra[i], NULL) > 0);
            await(back);
            sleep_ms(10);
            say("%#x: descriptor %d place %s", extra[i], is_open(shared_fd), place());
        }
    }
}

CASE(of_one_thread) {
    IN_CHILD("alone") {
        CHECK("all", unshare(CLONE_FS | CLONE_FILES | CLONE_SYSVSEM));
        BOOL("open", is_open(1));
    }
}

CASE(semaphores_to_undo) {
    int set = NEED(semget(IPC_PRIVATE, 1, 0600));
    IN_CHILD("child") {
        struct sembuf up = {0, 3, SEM_UNDO};
        NEED(semop(set, &up, 1));
        CHECK("value", semctl(set, 0, GETVAL));
        CHECK("unshare", unshare(CLONE_SYSVSEM));
        CHECK("undone", semctl(set, 0, GETVAL));
    }
    CHECK("remove", semctl(set, 0, IPC_RMID));
}

struct clone3_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

CASE(control_groups) {
    struct clone3_arguments arguments = {.flags = 0x200000000, .exit_signal = SIGCHLD, .cgroup = 99};
    CHECK("no descriptor", syscall(SYS_clone3, &arguments, 88));
    arguments.cgroup = NEED(open(".", O_RDONLY));
    CHECK("no group", syscall(SYS_clone3, &arguments, 88));
    CHECK("without room", syscall(SYS_clone3, &arguments, 80));
    arguments.cgroup = 1ULL << 40;
    CHECK("no int", syscall(SYS_clone3, &arguments, 88));
}
