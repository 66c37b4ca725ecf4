/*
 * Random system calls with random and hostile arguments: `fuzz SEED CALLS CANARY`, where CANARY is a path that a link in
 * each scratch folder names.
 *
 * Calls run in batches, each in a forked worker in a session and a folder of its own, so that what one breaks is gone
 * with it. Everything a worker does follows from the seed and the number of its batch; with that number as a fourth
 * argument, one batch is repeated. A worker may die of what it does to itself; that it can always be killed is part of
 * the test. The parent ends with "done CALLS" and status 0.
 *
 * The program shall harm nobody even where a kernel grants everything: tame() takes the targets out of calls that reach
 * other processes, the network or the whole machine.
 */
#include <ftw.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>

#define main unused_main /* guest.h brings the tools; this program has no cases */
#include "guest.h"
#undef main

#define LAST_CALL 470
#define BATCH 200
#define STUCK_MS 3000
#define NOBODY_PID 0x3fffffe

/* ---- random numbers ------------------------------------------------------------------------------------------------ */

static uint64_t state;

static uint64_t next_random(void) { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static unsigned below(unsigned limit) { return next_random() % limit; }

/* ---- arguments ----------------------------------------------------------------------------------------------------- */

static const char *const paths[] = {
    "", ".", "..", "/", "file", "folder", "folder/inner", "missing", "link", "fifo", "new", "./new/../file", "file/x",
    "../../../../../../canary/file", "/../canary/file", "outside", "outside/file", "absolute", "folder/up/../..",
    "/proc/self/root/../canary/file", "/proc/self/cwd/../../../canary", "/proc/self/fd/3", "/proc/self/maps",
    "/proc/self/exe", "/proc/self/mem", "/proc/self/environ", "/proc", "/dev/null", "/dev/zero", "/dev/full",
    "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/fd/4", "/tmp", "/sys", "/etc/passwd", "user.name", "trusted.x",
    "memory", "a/b/c/d/e/f/g/h", "name\xff\xfe", "folder/", "folder//inner/.", "sh", "tmpfs",
};

static char *arena;     /* 16 pages for reading and writing; the page after them is not mapped */
static char *read_only; /* one page, again with a hole behind it */
static char *no_access;
static char *strings;   /* `paths`, each in its own 64 bytes */
static long own_pid;

static long pointer(void) {
    switch (below(16)) {
    case 0: return 0;
    case 1: return 8;
    case 2: return (long)0xffff800000000000;
    case 3: return (long)0x8000000000000000;
    case 4: return (long)(no_access + below(PAGE));
    case 5: return (long)(read_only + below(PAGE));
    case 6: return (long)(arena + 16 * PAGE - below(64)); /* runs over the edge */
    case 7: return (long)(arena + 16 * PAGE - 8 * below(16));
    case 8:
    case 9: return (long)(arena + below(15 * PAGE));
    case 10:
    case 11:
    case 12: return (long)(strings + 64 * below(LENGTH(paths)));
    default: return (long)(arena + 16 * below(64)); /* where refresh() puts values that look like structures */
    }
}

static long number(void) {
    static const long odd[] = {-1, -2, -100 /* AT_FDCWD */, -4096, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
                               1L << 40, 1L << 47, 1L << 62, LONG_MAX, LONG_MIN, 4095, 4096, 4097, 65536, 1 << 20, 1 << 30,
                               1000000000, 999999999};
    switch (below(8)) {
    case 0: return odd[below(LENGTH(odd))];
    case 1: return 1L << below(64);
    case 2: return 1L << below(20) | 1L << below(20) | 1L << below(12);
    case 3: return below(4096);
    case 4: return (long)next_random();
    default: return below(16);
    }
}

static long argument(void) {
    switch (below(8)) {
    case 0:
    case 1:
    case 2: return pointer();
    case 3:
    case 4: return below(24); /* most of these are open descriptors */
    default: return number();
    }
}

static void refresh(void) {
    long *words = (long *)arena;
    for (int i = 0; i < 128; i++) words[i] = argument();
}

/* ---- what no kernel shall be asked to do ---------------------------------------------------------------------------- */

static long own_or_nobody(void) { return below(2) ? own_pid : NOBODY_PID; }

/* Makes a call harmless to everybody else; false when it is not to be made. */
static bool tame(long call, long *a) {
    static const long bad = 8;
    switch (call) {
    case SYS_exit: case SYS_exit_group: case SYS_sync:
    case SYS_rt_sigsuspend:
#ifdef SYS_pause
    case SYS_pause:
#endif
        return false;
    /* sure to end the worker: rarely */
    case SYS_rt_sigreturn:
#ifdef __x86_64__
    case 335: case 336: /* uretprobe, uprobe: SIGILL */
#endif
        return below(16) == 0;
    /* other processes */
    case SYS_kill: case SYS_tkill: case SYS_rt_sigqueueinfo: case SYS_setpgid: case SYS_prlimit64: case SYS_pidfd_open:
    case SYS_sched_setaffinity: case SYS_sched_setparam: case SYS_migrate_pages: case SYS_move_pages:
    case SYS_process_vm_readv: case SYS_process_vm_writev:
        a[0] = own_or_nobody();
        break;
    case SYS_tgkill: case SYS_rt_tgsigqueueinfo: case SYS_kcmp:
        a[0] = own_or_nobody();
        a[1] = own_or_nobody();
        break;
    case SYS_ptrace:
        a[1] = NOBODY_PID;
        break;
    case SYS_sched_setscheduler:
        a[0] = own_or_nobody();
        a[1] = below(2) ? 0 : 77;
        break;
    case SYS_sched_setattr:
        a[1] = bad;
        break;
    case SYS_setpriority: case SYS_ioprio_set:
        a[0] = below(2) ? a[0] | 4 : call == SYS_ioprio_set; /* an unknown kind, or one process */
        a[1] = own_or_nobody();
        break;
    case SYS_fcntl:
        if ((int)a[1] == F_SETOWN || (int)a[1] == 15 /* F_SETOWN_EX */) return false;
        break;
    case SYS_ioctl:
        if (below(2)) a[1] = 0x5400 + below(96);
        if ((int)a[1] == 0x8901 || (int)a[1] == 0x8902 || (int)a[1] == 0x5410 || (int)a[1] == 0x5412) return false;
        break;
    /* the network: local sockets only */
    case SYS_socket: case SYS_socketpair:
        a[0] = below(4) ? AF_UNIX : 1000 + below(100);
        break;
    /* devices other than /dev/null */
#ifdef SYS_mknod
    case SYS_mknod:
        a[2] = 0x103;
        break;
#endif
    case SYS_mknodat:
        a[3] = 0x103;
        break;
    /* the whole machine */
    case SYS_reboot: case SYS_settimeofday: case SYS_sethostname: case SYS_setdomainname: case SYS_adjtimex:
    case SYS_swapon: case SYS_swapoff: case SYS_acct: case SYS_init_module: case SYS_delete_module: case SYS_umount2:
    case SYS_pivot_root: case SYS_unshare: case SYS_vhangup: case SYS_syslog: case SYS_mount: case SYS_bpf:
        a[0] = call == SYS_unshare || call == SYS_syslog || call == SYS_bpf ? 12345 : bad;
        a[1] = bad;
        if (call == SYS_vhangup) return false;
        break;
    case SYS_clock_settime: case SYS_clock_adjtime: case SYS_finit_module: case SYS_setns: case SYS_quotactl:
        a[0] = call == SYS_setns || call == SYS_finit_module ? -1 : a[0];
        a[1] = bad;
        break;
    case SYS_kexec_load: case SYS_kexec_file_load:
        return false;
#ifdef SYS_iopl
    case SYS_iopl: case SYS_ioperm:
        return false;
#endif
    }
    return true;
}

/* ---- the calls ------------------------------------------------------------------------------------------------------ */

/* A process or thread that such a call makes ends at once: it touches no memory, whatever its stack may be. */
static inline long raw_call(long call, const long *a) {
#ifdef __x86_64__
    long result;
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];
    __asm__ volatile(
        "mov %%rbx, %%rax; syscall\n"
        "test %%rax, %%rax; jnz 1f\n"
        "cmp $56, %%rbx; je 2f; cmp $57, %%rbx; je 2f; cmp $58, %%rbx; je 2f; cmp $435, %%rbx; jne 1f\n"
        "2: xor %%edi, %%edi; mov $60, %%eax; syscall; jmp 2b\n"
        "1:"
        : "=&a"(result)
        : "b"(call), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
        : "rcx", "r11", "memory");
    return result;
#else
    register long x0 __asm__("x0") = a[0];
    register long x1 __asm__("x1") = a[1];
    register long x2 __asm__("x2") = a[2];
    register long x3 __asm__("x3") = a[3];
    register long x4 __asm__("x4") = a[4];
    register long x5 __asm__("x5") = a[5];
    register long x8 __asm__("x8") = call;
    __asm__ volatile(
        "svc #0\n"
        "cbnz x0, 1f; cmp x8, #220; b.eq 2f; cmp x8, #435; b.ne 1f\n"
        "2: mov x0, #0; mov x8, #93; svc #0; b 2b\n"
        "1:"
        : "+r"(x0), "+r"(x8)
        : "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
        : "memory", "cc");
    return x0;
#endif
}

static void on_alarm(int number UNUSED) {}

static void open_descriptors(void) {
    int ends[2], null = open("/dev/null", O_RDWR);
    if (null < 0) null = NEED(open("file", O_RDWR));
    for (int fd = 0; fd < 3; fd++) NEED(dup2(null, fd));
    close(null);
    NEED(open("file", O_RDWR | O_CREAT, 0644));
    NEED(open(".", O_RDONLY | O_DIRECTORY));
    NEED(pipe(ends));
    NEED(pipe2(ends, O_NONBLOCK));
    NEED(open("folder", O_PATH));
    NEED(open("file", O_RDONLY));
    open("/proc/self", O_RDONLY | O_DIRECTORY);
    /* Kernels that lack one of these have one descriptor less. */
    eventfd(0, 0);
    epoll_create1(0);
    memfd_create("memory", MFD_ALLOW_SEALING);
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
}

static void make_tree(const char *canary) {
    put_text("file", "some text\n");
    NEED(truncate("file", 70000));
    NEED(mkdir("folder", 0755));
    put_text("folder/inner", "x");
    NEED(symlink("file", "link"));
    NEED(symlink("../../../../../../canary", "outside"));
    NEED(symlink(canary, "absolute"));
    NEED(symlink("..", "folder/up"));
    mkfifo("fifo", 0644);
}

static void make_memory(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    arena = (char *)NEED((long)mmap(NULL, 24 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0));
    read_only = arena + 18 * PAGE;
    strings = arena + 20 * PAGE;
    for (size_t i = 0; i < LENGTH(paths); i++) strcpy(strings + 64 * i, paths[i]);
    NEED(mprotect(strings, PAGE, PROT_READ));
    memset(read_only, 'r', PAGE);
    NEED(mprotect(read_only, PAGE, PROT_READ));
    no_access = arena + 22 * PAGE;
    NEED(mprotect(no_access, PAGE, PROT_NONE));
    NEED(munmap(arena + 16 * PAGE, PAGE));
    NEED(munmap(arena + 19 * PAGE, PAGE));
    for (size_t i = 0; i < 15 * PAGE; i++) arena[i] = next_random();
}

static void lower(int resource, rlim_t value) {
    struct rlimit limit = {value, value};
    setrlimit(resource, &limit);
}

_Noreturn static void work(const char *canary, volatile uint64_t *progress, bool ordinary) {
    struct itimerval often = {{0, 30000}, {0, 30000}};
    struct sigaction action = {.sa_handler = on_alarm};
    setsid();
    own_pid = getpid();
    make_tree(canary);
    open_descriptors();
    make_memory();
    lower(RLIMIT_FSIZE, 4 << 20);
    lower(RLIMIT_NOFILE, 100);
    lower(RLIMIT_CORE, 0);
    lower(RLIMIT_CPU, 20);
    lower(RLIMIT_AS, 512 << 20);
    for (int number = 1; number < 64; number++) sigaction(number, &action, NULL);
    signal(SIGSEGV, SIG_DFL); /* what a worker did to its own memory shall end it, not repeat without end */
    signal(SIGBUS, SIG_DFL);
    signal(SIGILL, SIG_DFL);
    NEED(setitimer(ITIMER_REAL, &often, NULL));
    if (ordinary) {
        syscall(SYS_setresgid, 65534, 65534, 65534);
        syscall(SYS_setresuid, 65534, 65534, 65534);
    }
    for (int i = 0; i < BATCH; i++) {
        long call = below(LAST_CALL + 1), a[6];
        for (int k = 0; k < 6; k++) a[k] = argument();
        if (i % 4 == 0) refresh();
        if (tame(call, a)) raw_call(call, a);
        ++*progress;
    }
    long status[6] = {0};
    raw_call(SYS_exit_group, status);
    __builtin_unreachable();
}

/* ---- the parent ----------------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status UNUSED, int kind, struct FTW *place UNUSED) {
    if (kind == FTW_DNR) chmod(path, 0700);
    remove(path);
    return 0;
}

static unsigned long ended, signalled, stuck;

static void finish(pid_t worker, volatile uint64_t *progress) {
    uint64_t last = *progress;
    int status, idle = 0;
    while (waitpid(worker, &status, WNOHANG) == 0) {
        sleep_ms(5);
        idle = *progress == last ? idle + 5 : 0;
        last = *progress;
        if (idle < STUCK_MS) continue;
        stuck++;
        NEED(kill(worker, SIGKILL));
        for (int waited = 0; waitpid(worker, &status, WNOHANG) == 0; waited += 10) {
            if (waited > 30000) {
                say("a worker cannot be killed");
                _exit(1);
            }
            sleep_ms(10);
        }
        break;
    }
    if (WIFSIGNALED(status) && idle < STUCK_MS) signalled++;
    else if (WIFEXITED(status)) ended++;
    if (WIFEXITED(status) && WEXITSTATUS(status) >= 95) {
        say("a worker ended with status %d: it could not be prepared, or Noah gave up", WEXITSTATUS(status));
        _exit(1);
    }
    kill(-worker, SIGKILL);
}

int main(int argc, char **argv) {
    (void)unused_main;
    if (argc < 4) {
        say("usage: fuzz SEED CALLS CANARY [BATCH]");
        return 2;
    }
    uint64_t seed = strtoull(argv[1], NULL, 0), calls = strtoull(argv[2], NULL, 0), made = 0, idle = 0;
    uint64_t *progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t first = argc > 4 ? strtoull(argv[4], NULL, 0) : 0;
    for (int fd = 3; fd < 1024; fd++) close(fd);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    for (uint64_t batch = first; made < calls; batch++) {
        state = seed;
        state = next_random() + batch * 0x632be59bd9b4e019;
        pid_t worker;
        char folder[32];
        snprintf(folder, sizeof folder, "work%lu", batch);
        NEED(mkdir(folder, 0777));
        NEED(chmod(folder, 0777));
        START_CHILD(worker) {
            NEED(chdir(folder));
            work(argv[3], progress, batch % 4 == 3);
        }
        finish(worker, progress);
        while (waitpid(-1, NULL, WNOHANG) > 0) {}
        nftw(folder, remove_one, 20, FTW_DEPTH | FTW_PHYS);
        idle = made == *progress ? idle + 1 : 0;
        if (idle == 20) {
            say("20 workers in a row ended before their first call");
            return 1;
        }
        made = *progress;
        if (argc > 4) break;
        if (batch % 20 == 19) say("calls %lu: ended %lu, signalled %lu, stuck %lu", made, ended, signalled, stuck);
    }
    say("done %lu", made);
    return 0;
}
