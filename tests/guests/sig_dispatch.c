/* System calls as signals: prctl(2) with PR_SET_SYSCALL_USER_DISPATCH. */
#include "guest.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <ucontext.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

#ifdef __x86_64__
static volatile char selector;
static volatile int seen, number, code, arch, errno_of;
static void *volatile call_address;
static volatile long rax;
static greg_t instruction;

static long raw(long nr) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr) : "rcx", "r11", "memory");
    return result;
}

static void on_call(int signo UNUSED, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    selector = 0;
    seen++;
    number = info->si_syscall;
    code = info->si_code;
    arch = info->si_arch;
    errno_of = info->si_errno;
    call_address = info->si_call_addr;
    rax = registers[REG_RAX];
    instruction = registers[REG_RIP];
    registers[REG_RAX] = 4711;
}

static long ask(unsigned long mode, unsigned long offset, unsigned long length, const volatile char *byte) {
    return prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, offset, length, byte);
}

static void handle(void) {
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO};
    NEED(sigaction(SIGSYS, &action, NULL));
}

CASE(x86_blocked) {
    handle();
    CHECK("on", ask(1, 0, 0, &selector));
    CHECK("allowed", raw(SYS_getppid) > 0);
    selector = 1;
    long result = raw(SYS_getppid);
    say("result %ld after %d: call %d code %d arch %x errno %d", result, seen, number == SYS_getppid, code, arch, errno_of);
    BOOL("registers", rax == SYS_getppid && (void *)instruction == call_address);
    selector = 1;
    result = raw(98765);
    say("result %ld after %d: call %d", result, seen, number);
    IN_CHILD("a child is free") {
        selector = 1;
        CHECK("call", raw(SYS_getppid) > 0);
    }
    CHECK("off", ask(0, 0, 0, NULL));
    selector = 1;
    CHECK("free", raw(SYS_getppid) > 0);
    selector = 0;
}

CASE(x86_ranges) {
    handle();
    seen = 0;
    unsigned long page = (unsigned long)raw & -PAGE;
    CHECK("outside of all but this page", ask(1, page, PAGE + PAGE, &selector));
    selector = 1;
    long result = raw(SYS_getppid);
    selector = 0;
    say("in it %d, seen %d", result > 0, seen);
    selector = 1;
    getppid();
    say("elsewhere: seen %d", seen);
    CHECK("off", ask(0, 0, 0, NULL));
}

CASE(x86_wrong) {
    CHECK("mode", ask(99, 0, 0, &selector));
    CHECK("off with a range", ask(0, 1, 1, NULL));
    CHECK("no length", ask(1, 5, 0, &selector));
    CHECK("around", ask(1, -1UL, 5, &selector));
    CHECK("bad address", ask(1, 0, 0, KERNEL_POINTER));
    IN_CHILD("unmapped") {
        CHECK_OK("on", ask(1, 0, 0, BAD_POINTER));
        getppid();
    }
    IN_CHILD("neither") {
        selector = 7;
        ask(1, 0, 0, &selector);
        raw(SYS_getppid);
    }
    IN_CHILD("unhandled") {
        signal(SIGSYS, SIG_DFL);
        ask(1, 0, 0, &selector);
        selector = 1;
        raw(SYS_getppid);
    }
}

static void *free_thread(void *unused) {
    selector = 1;
    long result = raw(SYS_getppid);
    selector = 0;
    CHECK("thread", result > 0);
    return unused;
}

CASE(x86_threads) {
    pthread_t thread;
    handle();
    CHECK("on", ask(1, 0, 0, &selector));
    NEED(-pthread_create(&thread, NULL, free_thread, NULL));
    pthread_join(thread, NULL);
    CHECK("off", ask(0, 0, 0, NULL));
}
#endif

CASE(availability) {
    /* Of the architectures of these tests x86-64 has it alone. */
    int result = prctl(PR_SET_SYSCALL_USER_DISPATCH, 99, 0, 0, 0);
    CHECK("no such mode", result);
}
