/*
 * The frame of a differential test program: it prints what Linux does, never what it should do.
 *
 * The same binary runs on the native kernel and in Noah; output, exit status and the files it leaves must be equal.
 * So nothing that varies between two native runs may be printed: addresses only relative to something, never pids,
 * times or inode numbers.
 *
 *     #include "guest.h"
 *     CASE(close_twice) {
 *         int fd = open("/dev/null", O_RDONLY);
 *         CHECK("first", close(fd));
 *         CHECK("second", close(fd));
 *     }
 *
 * `prog` runs all cases in order, `prog NAME...` those named, `prog --list` lists them. Each case starts in a new empty
 * directory of its own name, with a umask of 022. A case that needs one architecture is called x86_* or arm_*; one that
 * starts the root's own programs is a CASE_WITH_PROGRAMS.
 */
#ifndef GUEST_H
#define GUEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define PAGE 4096UL
#define BAD_POINTER ((void *)8)                      /* never mapped: below vm.mmap_min_addr */
#define KERNEL_POINTER ((void *)0xffff800000000000)  /* outside of every user address space */

/* ---- output: one write(2) a line, so that a fork never repeats a buffer ---------------------------------------- */

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    char line[4096];
    va_list arguments;
    int saved = errno;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length > (int)sizeof line - 2) length = sizeof line - 2;
    line[length++] = '\n';
    if (write(STDOUT_FILENO, line, length) != length) _exit(99);
    errno = saved;
}

static void guest_result(const char *name, long result, int error) {
    if (result == -1) say("%s: -1 %s", name, error ? strerrorname_np(error) : "(no errno)");
    else say("%s: %ld", name, result);
}

/* The result, or -1 and the name of errno. */
#define CHECK(name, expression) \
    do { errno = 0; long result_ = (long)(expression); guest_result(name, result_, errno); } while (0)

/* For results that vary (a pid, an address): "ok", or -1 and the name of errno. */
#define CHECK_OK(name, expression) \
    do { \
        errno = 0; \
        long result_ = (long)(expression); \
        if (result_ == -1) guest_result(name, -1, errno); else say("%s: ok", name); \
    } while (0)

/* For calls that return an error number (posix_spawn, pthread_*). */
#define CHECK_ERROR(name, expression) \
    do { int error_ = (expression); say("%s: %s", name, error_ ? strerrorname_np(error_) : "0"); } while (0)

#define BOOL(name, condition) say("%s: %s", name, (condition) ? "yes" : "no")

/* Ends the case loudly where its own preparation fails: `int fd = NEED(open(...))`. */
static UNUSED long guest_need(long result, const char *what, int line) {
    if (result == -1) {
        say("line %d: %s failed: %s", line, what, strerrorname_np(errno));
        _exit(98);
    }
    return result;
}
#define NEED(expression) guest_need((long)(expression), #expression, __LINE__)

/* ---- small tools -------------------------------------------------------------------------------------------------- */

static UNUSED void sleep_ms(long ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {}
}

static UNUSED int64_t now_ns(clockid_t clock) {
    struct timespec now;
    NEED(clock_gettime(clock, &now));
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* A file with this content, replaced when it exists. */
static UNUSED void put_file(const char *path, const void *content, size_t size, mode_t mode) {
    int fd = NEED(open(path, O_WRONLY | O_CREAT | O_TRUNC, mode));
    if (write(fd, content, size) != (ssize_t)size) _exit(97);
    NEED(fchmod(fd, mode));
    close(fd);
}

static UNUSED void put_text(const char *path, const char *text) { put_file(path, text, strlen(text), 0644); }

static UNUSED const char *signal_name(int number) {
    static char text[16];
    if (number >= SIGRTMIN && number <= SIGRTMAX) snprintf(text, sizeof text, "SIGRTMIN+%d", number - SIGRTMIN);
    else snprintf(text, sizeof text, "SIG%s", number ? sigabbrev_np(number) ?: "?" : "0");
    return text;
}

/* ---- children ----------------------------------------------------------------------------------------------------- */

/* Prints a wait(2) status; whether a core was dumped depends on limits and is not printed. */
static UNUSED void say_status(const char *name, int status) {
    if (WIFEXITED(status)) say("%s: exited %d", name, WEXITSTATUS(status));
    else if (WIFSIGNALED(status)) say("%s: killed by %s", name, signal_name(WTERMSIG(status)));
    else if (WIFSTOPPED(status)) say("%s: stopped by %s", name, signal_name(WSTOPSIG(status)));
    else if (WIFCONTINUED(status)) say("%s: continued", name);
    else say("%s: status %#x", name, status);
}

/* Waits for that child and prints how it ended. */
static UNUSED void reap(const char *name, pid_t child) {
    int status;
    pid_t got;
    do got = waitpid(child, &status, 0); while (got == -1 && errno == EINTR);
    if (got == -1) guest_result(name, -1, errno);
    else say_status(name, status);
}

static UNUSED pid_t guest_child_end(const char *name, pid_t child) {
    if (child == 0) _exit(0);
    reap(name, child);
    return -1;
}

/* IN_CHILD("child") { ... } runs the block in a forked child, waits, and prints how the child ended. */
#define IN_CHILD(name) \
    for (pid_t child_ = NEED(fork()); child_ != -1; child_ = guest_child_end(name, child_)) if (child_ == 0)

/* START_CHILD(pid) { ... } runs the block in a forked child beside the parent, which goes on with `pid` set. */
#define START_CHILD(pid) \
    for (bool started_ = false; !started_; started_ = true) \
        for (pid_t child_ = (pid) = NEED(fork()); child_ == 0; _exit(0))

/* ---- faults ------------------------------------------------------------------------------------------------------- */

static UNUSED sigjmp_buf guest_fault_return;
static UNUSED siginfo_t guest_fault_info;

static UNUSED void guest_fault_handler(int number UNUSED, siginfo_t *info, void *context UNUSED) {
    guest_fault_info = *info;
    siglongjmp(guest_fault_return, 1);
}

static UNUSED const char *fault_code(int number, int code) {
    static char text[24];
    if (code == SI_KERNEL) return "SI_KERNEL";
    if (number == SIGSEGV && code == SEGV_MAPERR) return "SEGV_MAPERR";
    if (number == SIGSEGV && code == SEGV_ACCERR) return "SEGV_ACCERR";
    if (number == SIGBUS && code == BUS_ADRERR) return "BUS_ADRERR";
    if (number == SIGBUS && code == BUS_ADRALN) return "BUS_ADRALN";
    snprintf(text, sizeof text, "code %d", code);
    return text;
}

static UNUSED void guest_catch_faults(bool on) {
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction action = {.sa_sigaction = guest_fault_handler, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (!on) action = (struct sigaction){.sa_handler = SIG_DFL};
    for (size_t i = 0; i < LENGTH(numbers); i++) NEED(sigaction(numbers[i], &action, NULL));
}

/* Evaluates the statement; prints "no fault" or the signal, its code and si_addr as an offset from base. */
#define FAULT(name, base, statement) \
    do { \
        guest_catch_faults(true); \
        if (sigsetjmp(guest_fault_return, 1) == 0) { \
            statement; \
            say("%s: no fault", name); \
        } else { \
            say("%s: %s %s at base%+ld", name, signal_name(guest_fault_info.si_signo), \
                fault_code(guest_fault_info.si_signo, guest_fault_info.si_code), \
                (long)((uintptr_t)guest_fault_info.si_addr - (uintptr_t)(base))); \
        } \
        guest_catch_faults(false); \
    } while (0)

static UNUSED char peek(const void *address) { return *(const volatile char *)address; }
static UNUSED void poke(void *address, char value) { *(volatile char *)address = value; }

/* F_GETFL with the four bits that arm64 numbers in its own way as x86-64 has them: the native run is one of that. */
UNUSED static int flags_of(int fd) {
    int flags = fcntl(fd, F_GETFL);
#ifdef __aarch64__
    static const int bits[][2] = {{040000, 0200000}, {0100000, 0400000}, {0200000, 040000}, {0400000, 0100000}};
    if (flags >= 0) {
        int own = flags;
        flags &= ~0740000;
        for (size_t i = 0; i < LENGTH(bits); i++) flags |= own & bits[i][0] ? bits[i][1] : 0;
    }
#endif
    return flags;
}

/* ---- cases -------------------------------------------------------------------------------------------------------- */

struct guest_case {
    const char *name;
    void (*run)(void);
};
static struct guest_case guest_cases[256];
static size_t guest_case_count;
static char guest_self[PATH_MAX];  /* this program's own path, for cases that execute themselves */

#define CASE(name) \
    static void case_##name(void); \
    __attribute__((constructor)) static void guest_register_##name(void) { \
        guest_cases[guest_case_count++] = (struct guest_case){#name, case_##name}; \
    } \
    static void case_##name(void)

/* A case that starts programs of the root it runs in, which may be of another architecture than the guest. */
#define CASE_WITH_PROGRAMS(name) CASE(name)

/* A program whose cases execute it again defines GUEST_ROLES and answers `prog @role ...` here. */
#ifdef GUEST_ROLES
static int guest_role(const char *role, int argc, char **argv, char **envp);
#endif

static void guest_run(const struct guest_case *one) {
    int top = NEED(open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    say("== %s", one->name);
    NEED(mkdir(one->name, 0755));
    NEED(chdir(one->name));
    one->run();
    NEED(fchdir(top));
    close(top);
}

int main(int argc, char **argv, char **envp UNUSED) {
#ifdef GUEST_ROLES
    if (argc > 1 && argv[1][0] == '@') return guest_role(argv[1] + 1, argc, argv, envp);
#endif
    if (argv[0][0] != '/' || strlen(argv[0]) >= sizeof guest_self) {
        say("start it with its absolute path");
        return 2;
    }
    strcpy(guest_self, argv[0]);
    umask(022);
    for (size_t i = 0; i < guest_case_count; i++) {
        bool wanted = argc == 1;
        if (argc == 2 && strcmp(argv[1], "--list") == 0) {
            say("%s", guest_cases[i].name);
            continue;
        }
        for (int k = 1; k < argc; k++) wanted |= strcmp(argv[k], guest_cases[i].name) == 0;
        if (wanted) guest_run(&guest_cases[i]);
    }
    return 0;
}

#endif
