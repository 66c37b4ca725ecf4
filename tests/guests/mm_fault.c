/* Faults: which signal, code and address the kernel reports; stacks that grow. */
#include <sys/resource.h>
#include <ucontext.h>

#include "memory.h"

#ifdef __x86_64__
#define STACK_POINTER(context) ((uintptr_t)((ucontext_t *)(context))->uc_mcontext.gregs[REG_RSP])
#else
#define STACK_POINTER(context) ((uintptr_t)((ucontext_t *)(context))->uc_mcontext.sp)
#endif

CASE(segv_codes) {
    char *none = pages(1, PROT_NONE), *readonly = pages(1, PROT_READ), *hole = free_range(1);
    FAULT("read NULL", 0, peek(NULL));
    FAULT("write NULL", 0, poke(NULL, 1));
    FAULT("read 0x123", 0, peek((void *)0x123));
    FAULT("read hole", hole, peek(hole + 77));
    FAULT("write hole", hole, poke(hole + 77, 1));
    FAULT("read none", none, peek(none + 5));
    FAULT("write none", none, poke(none + 5, 1));
    FAULT("write read only", readonly, poke(readonly + 4095, 1));
    FAULT("read read only", readonly, peek(readonly + 4095));
}

CASE(nothing_at_low_addresses) {
    /* Below the program there is nothing, also where its pages share a level of the page tables with these. */
    volatile long readable = 0, writable = 0;
    guest_catch_faults(true);
    for (volatile uintptr_t at = 0; at < 0x200000; at += PAGE) {
        if (sigsetjmp(guest_fault_return, 1) == 0) peek((void *)at), readable++;
        if (sigsetjmp(guest_fault_return, 1) == 0) poke((void *)at, 0), writable++;
    }
    guest_catch_faults(false);
    say("readable %ld, writable %ld", readable, writable);
}

CASE(segv_wide) {
    char *base = pages(2, READ_WRITE);
    munmap(base + PAGE, PAGE);
    FAULT("read 8 bytes over the edge", base, (void)*(volatile uint64_t *)(base + PAGE - 3));
    FAULT("write 8 bytes over the edge", base, *(volatile uint64_t *)(base + PAGE - 3) = 1);
    FAULT("last 8 bytes", base, *(volatile uint64_t *)(base + PAGE - 8) = 1);
    say("%d", base[PAGE - 3]);
}

CASE(segv_exec) {
    char *data = pages(1, READ_WRITE), *none = pages(1, PROT_NONE), *hole = free_range(1);
    memset(data, 0, PAGE);
    FAULT("data page", data, ((void (*)(void))(data + 16))());
    FAULT("no access", none, ((void (*)(void))(none + 16))());
    FAULT("hole", hole, ((void (*)(void))(hole + 16))());
    FAULT("NULL", 0, ((void (*)(void))NULL)());
    char stack[64] = {0};
    FAULT("stack", stack, ((void (*)(void))stack)());
    char *heap = malloc(64);
    FAULT("heap", heap, ((void (*)(void))heap)());
    free(heap);
}

#ifdef __x86_64__
CASE(x86_segv_kernel) {
    FAULT("read kernel", KERNEL_POINTER, peek(KERNEL_POINTER));
    FAULT("write kernel", KERNEL_POINTER, poke(KERNEL_POINTER, 1));
    FAULT("jump to kernel", KERNEL_POINTER, ((void (*)(void))KERNEL_POINTER)());
    FAULT("read last byte", (void *)-1UL, peek((void *)-1UL));
    FAULT("not canonical", 0, peek((void *)0x1234567800000000));
    FAULT("write not canonical", 0, poke((void *)0x1234567800000000, 1));
    FAULT("end of user space", (void *)0x7ffffffff000, peek((void *)0x7ffffffff000));
}
#endif

CASE(bus_past_the_end) {
    int fd = lettered_file("file", PAGE + 10);
    char *shared = mmap(NULL, 4 * PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, 4 * PAGE, READ_WRITE, MAP_PRIVATE, fd, 0);
    FAULT("shared last page", shared, peek(shared + 2 * PAGE - 1));
    FAULT("shared read", shared, peek(shared + 2 * PAGE + 3));
    FAULT("shared write", shared, poke(shared + 3 * PAGE + 3, 1));
    FAULT("private read", private, peek(private + 2 * PAGE + 3));
    FAULT("private write", private, poke(private + 3 * PAGE + 3, 1));
    CHECK("read into it", syscall(SYS_pread64, fd, shared + 2 * PAGE, 10, 0));
    CHECK("write from it", syscall(SYS_write, fd, private + 2 * PAGE, 10));
    NEED(ftruncate(fd, 0));
    FAULT("truncated", shared, peek(shared));
    FAULT("private truncated", private, peek(private));
    NEED(ftruncate(fd, PAGE));
    FAULT("grown again", shared, peek(shared));
    char *beyond = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 16 * PAGE);
    FAULT("mapped beyond the end", beyond, peek(beyond));
}

CASE(kills) {
    IN_CHILD("read NULL") peek(NULL);
    IN_CHILD("blocked") {
        sigset_t set;
        sigfillset(&set);
        sigprocmask(SIG_BLOCK, &set, NULL);
        peek(NULL);
    }
    IN_CHILD("ignored") {
        signal(SIGSEGV, SIG_IGN);
        peek(NULL);
    }
    IN_CHILD("bus") {
        int fd = lettered_file("empty", 0);
        peek(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
    }
    IN_CHILD("jump to NULL") ((void (*)(void))NULL)();
}

static int repaired;
static char *repaired_page;
static void repair(int number UNUSED, siginfo_t *info, void *context UNUSED) {
    repaired++;
    if (info->si_addr != repaired_page + 12) _exit(3);
    if (mprotect(repaired_page, PAGE, READ_WRITE)) _exit(4);
}

CASE(handler_repairs_and_returns) {
    struct sigaction action = {.sa_sigaction = repair, .sa_flags = SA_SIGINFO};
    NEED(sigaction(SIGSEGV, &action, NULL));
    repaired_page = pages(1, PROT_NONE);
    for (int i = 0; i < 20; i++) {
        repaired_page[12] = i;
        NEED(mprotect(repaired_page, PAGE, i % 2 ? PROT_NONE : PROT_READ));
    }
    NEED(mprotect(repaired_page, PAGE, PROT_READ));
    say("repaired %d, last %d", repaired, repaired_page[12]);
    signal(SIGSEGV, SIG_DFL);
}

__attribute__((noinline)) static long recurse(long bytes) {
    volatile char frame[1000];
    frame[0] = 1;
    frame[999] = bytes & 1;
    long rest = bytes > 1000 ? recurse(bytes - 1000) : 0;
    return rest + frame[0];
}

CASE(stack_growth) {
    say("4 MiB deep: %ld frames", recurse(4 << 20));
    IN_CHILD("child, 6 MiB") say("%ld frames", recurse(6 << 20));
    char *far = (char *)__builtin_frame_address(0) - (2 << 20);
    FAULT("2 MiB below without steps", far, poke(far, 1));
}

static void *overflow_base;
static void overflowed(int number UNUSED, siginfo_t *info, void *context) {
    long below = (long)((uintptr_t)info->si_addr - STACK_POINTER(context));
    say("%s, address near the stack pointer: %s", fault_code(SIGSEGV, info->si_code),
        below > -2048 && below < 2048 ? "yes" : "no");
    long deep = (long)((uintptr_t)overflow_base - (uintptr_t)info->si_addr);
    say("depth in MiB: %ld", (deep + (1 << 19)) >> 20);
    _exit(5);
}

static void overflow(void) {
    stack_t stack = {.ss_sp = pages(16, READ_WRITE), .ss_size = 16 * PAGE};
    struct sigaction action = {.sa_sigaction = overflowed, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    NEED(sigaltstack(&stack, NULL));
    NEED(sigaction(SIGSEGV, &action, NULL));
    overflow_base = __builtin_frame_address(0);
    say("%ld", recurse(LONG_MAX));
}

CASE(stack_overflow) {
    IN_CHILD("with alternate stack") overflow();
    IN_CHILD("without") say("%ld", recurse(LONG_MAX));
    IN_CHILD("lowered limit") {
        struct rlimit limit = {2 << 20, RLIM_INFINITY};
        getrlimit(RLIMIT_STACK, &limit);
        limit.rlim_cur = 2 << 20;
        NEED(setrlimit(RLIMIT_STACK, &limit));
        overflow();
    }
}

CASE(grows_down) {
    char *base = free_range(1024);
    char *low = mmap(base + 1000 * PAGE, 2 * PAGE, READ_WRITE, ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
    say_place("mapped", low, base);
    FAULT("one below", low, poke(low - 1, 1));
    FAULT("ten below", low, poke(low - 10 * PAGE, 1));
    say("%d %d", low[-1], low[-5 * (long)PAGE]);
    CHECK("mprotect with growsdown", mprotect(low, PAGE, PROT_READ | PROT_GROWSDOWN));
    FAULT("grown part read only", low, poke(low - 10 * PAGE, 1));
    FAULT("last page", low, poke(low + PAGE, 1));
}

CASE(fault_in_child_only) {
    char *base = pages(1, READ_WRITE);
    IN_CHILD("child unmaps") {
        munmap(base, PAGE);
        FAULT("child", base, peek(base));
    }
    FAULT("parent", base, peek(base));
}

CASE(many_faults) {
    char *none = pages(1, PROT_NONE);
    volatile long count = 0;
    guest_catch_faults(true);
    for (volatile int i = 0; i < 500; i++) {
        if (sigsetjmp(guest_fault_return, 1) == 0) peek(none + i);
        else count += guest_fault_info.si_addr == none + i;
    }
    guest_catch_faults(false);
    say("right addresses: %ld", count);
}
