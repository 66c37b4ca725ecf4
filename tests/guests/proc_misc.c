/* prctl(2), personality(2), names and numbers of the system, unknown calls. */
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#ifdef __x86_64__
#include <asm/prctl.h>
#endif

#include "guest.h"

CASE(name) {
    char name[17] = "";
    CHECK("set", prctl(PR_SET_NAME, "a-name-longer-than-15-bytes"));
    CHECK("get", prctl(PR_GET_NAME, name));
    say("%s", name);
    char comm[64] = "";
    int fd = NEED(open("/proc/self/comm", O_RDONLY));
    NEED(read(fd, comm, sizeof comm - 1));
    say("%s", comm);
    IN_CHILD("child") {
        prctl(PR_GET_NAME, name);
        say("%s", name);
    }
    CHECK("set bad", prctl(PR_SET_NAME, BAD_POINTER));
    CHECK("get bad", prctl(PR_GET_NAME, BAD_POINTER));
    CHECK("empty", prctl(PR_SET_NAME, ""));
    prctl(PR_GET_NAME, name);
    say("'%s'", name);
    prctl(PR_SET_NAME, "guest");
}

CASE(process_control) {
    int number = -1;
    IN_CHILD("child") {
        CHECK("dumpable", prctl(PR_GET_DUMPABLE));
        CHECK("set 0", prctl(PR_SET_DUMPABLE, 0));
        CHECK("dumpable", prctl(PR_GET_DUMPABLE));
        CHECK("set 2", prctl(PR_SET_DUMPABLE, 2));
        CHECK("set 1", prctl(PR_SET_DUMPABLE, 1));
        CHECK("get no new privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
        CHECK("with an argument", prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
        CHECK("set to 0", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
        CHECK("set", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        CHECK("get", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
        IN_CHILD("inherited") CHECK("get", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
        CHECK("death signal", prctl(PR_GET_PDEATHSIG, &number));
        say("%d", number);
        CHECK("bad pointer", prctl(PR_GET_PDEATHSIG, BAD_POINTER));
        CHECK("timer slack", prctl(PR_SET_TIMERSLACK, 70000));
        CHECK("get", prctl(PR_GET_TIMERSLACK));
    }
    CHECK("unknown", prctl(99999, 0, 0, 0, 0));
    CHECK("negative", prctl(-1, 0, 0, 0, 0));
    CHECK("get seccomp", prctl(PR_GET_SECCOMP));
    CHECK("thp", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    CHECK("subreaper bad pointer", prctl(PR_GET_CHILD_SUBREAPER, BAD_POINTER));
}

CASE(death_signal) {
    int number = -1;
    IN_CHILD("child") {
        CHECK("set", prctl(PR_SET_PDEATHSIG, SIGUSR1));
        CHECK("get", prctl(PR_GET_PDEATHSIG, &number));
        say("%d", number);
        IN_CHILD("not inherited") {
            prctl(PR_GET_PDEATHSIG, &number);
            say("%d", number);
        }
    }
}

CASE(personality) {
    IN_CHILD("child") {
        CHECK("get", personality(0xffffffff));
        CHECK("set", personality(ADDR_NO_RANDOMIZE));
        CHECK("get", personality(0xffffffff));
        IN_CHILD("inherited") CHECK("get", personality(0xffffffff));
        CHECK("back", personality(0));
    }
}

#ifdef __x86_64__
CASE(x86_personality_of_32_bits) {
    IN_CHILD("child") {
        struct utsname names;
        CHECK("set", personality(PER_LINUX32));
        uname(&names);
        say("%s", names.machine);
    }
}
#endif

CASE(uname) {
    struct utsname names;
    CHECK("uname", uname(&names));
    say("%s", names.sysname);
    BOOL("node", strlen(names.nodename) > 0);
    BOOL("release", names.release[0] >= '4' && names.release[0] <= '9' && strchr(names.release, '.'));
    BOOL("version", names.version[0] == '#');
#ifdef __x86_64__
    BOOL("machine", strcmp(names.machine, "x86_64") == 0);
#else
    BOOL("machine", strcmp(names.machine, "aarch64") == 0);
#endif
    CHECK("bad pointer", syscall(SYS_uname, BAD_POINTER));
    char name[100] = "";
    CHECK("gethostname", gethostname(name, sizeof name));
    BOOL("the same", strcmp(name, names.nodename) == 0);
}

CASE(sysinfo) {
    struct sysinfo info;
    CHECK("sysinfo", sysinfo(&info));
    BOOL("uptime", info.uptime > 0);
    BOOL("memory", info.totalram > 1000 && info.freeram <= info.totalram);
    BOOL("processes", info.procs > 0);
    say("unit %u", info.mem_unit);
    CHECK("bad pointer", syscall(SYS_sysinfo, BAD_POINTER));
    BOOL("pages", sysconf(_SC_PHYS_PAGES) > 1000);
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    BOOL("uptime is the boot clock", labs(info.uptime - now.tv_sec) <= 2);
}

CASE(umask) {
    mode_t old = umask(0123456);
    say("%o", old);
    say("%o", umask(077));
    int fd = NEED(open("file", O_WRONLY | O_CREAT, 0777));
    struct stat status;
    NEED(fstat(fd, &status));
    say("%o", status.st_mode);
    NEED(mkdir("folder", 0777));
    NEED(stat("folder", &status));
    say("%o", status.st_mode);
    umask(old);
}

CASE(random) {
    unsigned char first[64] = {0}, second[64] = {0};
    CHECK("getrandom", getrandom(first, sizeof first, 0));
    CHECK("nonblock", getrandom(second, sizeof second, GRND_NONBLOCK));
    BOOL("differ", memcmp(first, second, sizeof first) != 0);
    CHECK("0 bytes", getrandom(first, 0, 0));
    CHECK("random source", getrandom(first, 8, GRND_RANDOM));
    CHECK("unknown flag", getrandom(first, 8, 0x100));
    CHECK("two sources", getrandom(first, 8, GRND_RANDOM | 4));
    CHECK("bad pointer", syscall(SYS_getrandom, BAD_POINTER, 8, 0));
    size_t size = 1 << 20;
    char *large = calloc(1, size);
    CHECK("1 MiB", getrandom(large, size, 0));
    long zeros = 0;
    for (size_t i = 0; i < size; i++) zeros += large[i] == 0;
    BOOL("all filled", zeros < 10000);
    free(large);
}

CASE(unknown_calls) {
    static const long numbers[] = {500, 600, 999, 1000, 4095, 65535, 0x7fffffff, -1, LONG_MAX};
    for (size_t i = 0; i < LENGTH(numbers); i++) {
        char name[32];
        snprintf(name, sizeof name, "%#lx", numbers[i]);
        CHECK(name, syscall(numbers[i], 1, 2, 3, 4, 5, 6));
    }
}

#ifdef __x86_64__
CASE(x86_unknown_calls) {
    CHECK("gone: uselib", syscall(134, "x"));
    CHECK("gone: create_module", syscall(174, 0));
    CHECK("gone: tuxcall", syscall(184, 0));
    CHECK("gone: vserver", syscall(236, 0));
    CHECK("gone: epoll_ctl_old", syscall(214, 0));
    /* The number is 32 bits wide: what is above is not looked at. */
    BOOL("upper half", syscall(SYS_getpid | 1L << 32) == getpid());
}
#endif

CASE(thread_identity) {
    static int place = 5;
    BOOL("set_tid_address", syscall(SYS_set_tid_address, &place) == getpid());
    BOOL("gettid", gettid() == getpid());
    CHECK("robust list", syscall(SYS_set_robust_list, &place, 24));
    CHECK("bad size", syscall(SYS_set_robust_list, &place, 23));
    void *head;
    size_t length;
    CHECK("get", syscall(SYS_get_robust_list, 0, &head, &length));
    BOOL("the same", head == &place && length == 24);
    syscall(SYS_set_robust_list, NULL, 24);
}

CASE(membarrier) {
    BOOL("query", syscall(SYS_membarrier, 0, 0, 0) > 0);
    CHECK("unknown", syscall(SYS_membarrier, 1 << 30, 0, 0));
    CHECK("flags", syscall(SYS_membarrier, 0, 1, 0));
}

#ifdef __x86_64__
CASE(x86_arch_prctl) {
    unsigned long fs = 0, gs = 1, value = 0x1122334455667788;
    CHECK("get fs", syscall(SYS_arch_prctl, ARCH_GET_FS, &fs));
    BOOL("some", fs != 0);
    CHECK("get gs", syscall(SYS_arch_prctl, ARCH_GET_GS, &gs));
    say("gs %ld", gs);
    CHECK("set gs", syscall(SYS_arch_prctl, ARCH_SET_GS, &value));
    unsigned long read = 0;
    __asm__ volatile("mov %%gs:0, %0" : "=r"(read));
    BOOL("through gs", read == value);
    IN_CHILD("inherited") {
        __asm__ volatile("mov %%gs:0, %0" : "=r"(read));
        BOOL("child", read == value);
    }
    CHECK("set gs not canonical", syscall(SYS_arch_prctl, ARCH_SET_GS, 0x1234567800000000));
    CHECK("set gs kernel", syscall(SYS_arch_prctl, ARCH_SET_GS, KERNEL_POINTER));
    CHECK("bad pointer", syscall(SYS_arch_prctl, ARCH_GET_FS, BAD_POINTER));
    CHECK("unknown", syscall(SYS_arch_prctl, 0x9999, 0));
    CHECK("cpuid faulting", syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0));
    CHECK("set gs 0", syscall(SYS_arch_prctl, ARCH_SET_GS, 0));
}

CASE(x86_old_time_calls) {
    BOOL("time", labs(syscall(SYS_time, NULL) - time(NULL)) <= 1);
    CHECK("time bad", syscall(SYS_time, BAD_POINTER));
    CHECK("alarm", syscall(SYS_alarm, 0));
}
#endif
