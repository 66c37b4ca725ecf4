/* What a handler sees and may change of the interrupted program: registers, mask, floating point, red zone. */
#include <ucontext.h>

#include "guest.h"

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    NEED(sigaction(number, &action, NULL));
}

static void tell_context(int number UNUSED, siginfo_t *info UNUSED, void *context) {
    ucontext_t *user = context;
    say("flags %#lx, link %s", user->uc_flags & ~7UL, user->uc_link ? "set" : "NULL");
    say("mask HUP %d USR1 %d", sigismember(&user->uc_sigmask, SIGHUP), sigismember(&user->uc_sigmask, SIGUSR1));
    say("stack flags %#x", user->uc_stack.ss_flags);
    BOOL("context aligned to 8", (uintptr_t)context % 8 == 0);
}

CASE(context) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    handle(SIGUSR1, tell_context, 0);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGUSR1, SIG_DFL);
}

static void block_more(int number UNUSED, siginfo_t *info UNUSED, void *context) {
    ucontext_t *user = context;
    sigaddset(&user->uc_sigmask, SIGUSR2);
    sigaddset(&user->uc_sigmask, SIGKILL);
}

CASE(mask_from_context) {
    sigset_t now;
    handle(SIGUSR1, block_more, 0);
    raise(SIGUSR1);
    sigprocmask(SIG_SETMASK, NULL, &now);
    say("USR2 %d KILL %d USR1 %d", sigismember(&now, SIGUSR2), sigismember(&now, SIGKILL), sigismember(&now, SIGUSR1));
    sigdelset(&now, SIGUSR2);
    sigprocmask(SIG_SETMASK, &now, NULL);
    signal(SIGUSR1, SIG_DFL);
}

static void own_registers(int number UNUSED, siginfo_t *info UNUSED, void *context UNUSED) {
    volatile double work = 1.5;
    for (int i = 0; i < 100; i++) work = work * 1.01 + i;
}

CASE(floating_point_kept) {
    handle(SIGUSR1, own_registers, 0);
    double sum = 0;
    for (int i = 0; i < 50; i++) {
        sum += i * 0.5;
        raise(SIGUSR1);
    }
    say("%.2f", sum);
    signal(SIGUSR1, SIG_DFL);
}

#ifdef __x86_64__
#define FEW(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7)
#define UPPER(op) op(16) op(17) op(18) op(19) op(28) op(29) op(30) op(31)
#define FILL_XMM(n) "movdqu (%2), %%xmm" #n "\n"
#define FILL_YMM(n) "vmovdqu (%2), %%ymm" #n "\n"
#define FILL_ZMM(n) "vmovdqu64 (%2), %%zmm" #n "\n"
#define FILL_K(n) "kmovw (%2), %%k" #n "\n"
#define SAVE_XMM(n) "movdqu %%xmm" #n ", (%1)\nadd $64, %1\n"
#define SAVE_YMM(n) "vmovdqu %%ymm" #n ", (%1)\nadd $64, %1\n"
#define SAVE_ZMM(n) "vmovdqu64 %%zmm" #n ", (%1)\nadd $64, %1\n"
#define SAVE_K(n) "kmovw %%k" #n ", (%1)\nadd $64, %1\n"
#define CLEAR_XMM(n) "pxor %%xmm" #n ", %%xmm" #n "\n"
#define CLEAR_ZMM(n) "vpxorq %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n"
#define CLEAR_K(n) "kxorw %%k" #n ", %%k" #n ", %%k" #n "\n"
/* Nothing but the system call between filling and saving. */
#define WITH_SIGNAL(fill, save)                                                                       \
    do {                                                                                              \
        unsigned char *to = found;                                                                    \
        long number = SYS_kill;                                                                       \
        __asm__ volatile(fill "syscall\n" save                                                        \
                         : "+a"(number), "+r"(to)                                                     \
                         : "r"(pattern), "D"((long)pid), "S"((long)SIGUSR1)                           \
                         : "rcx", "r11", "memory");                                                   \
    } while (0)

static bool all_are(const unsigned char *found, int count, const unsigned char *pattern, size_t size) {
    for (int i = 0; i < count; i++) {
        if (memcmp(found + i * 64, pattern, size) != 0) return false;
    }
    return true;
}

static void clear_vectors(int number UNUSED, siginfo_t *info UNUSED, void *context UNUSED) {
    __asm__ volatile(FEW(CLEAR_XMM)::: "memory");
    if (__builtin_cpu_supports("avx")) __asm__ volatile("vzeroall" ::: "memory");
    if (__builtin_cpu_supports("avx512f")) __asm__ volatile(UPPER(CLEAR_ZMM) FEW(CLEAR_K)::: "memory");
}

CASE(x86_vector_registers_kept) {
    static unsigned char pattern[64], found[16 * 64];
    pid_t pid = getpid();
    for (int i = 0; i < 64; i++) pattern[i] = i + 1;
    handle(SIGUSR1, clear_vectors, 0);
    WITH_SIGNAL(FEW(FILL_XMM), FEW(SAVE_XMM));
    bool kept = all_are(found, 8, pattern, 16);
    if (__builtin_cpu_supports("avx")) {
        WITH_SIGNAL(FEW(FILL_YMM), FEW(SAVE_YMM));
        kept = kept && all_are(found, 8, pattern, 32);
    }
    if (__builtin_cpu_supports("avx512f")) {
        WITH_SIGNAL(FEW(FILL_ZMM) UPPER(FILL_ZMM), FEW(SAVE_ZMM) UPPER(SAVE_ZMM));
        kept = kept && all_are(found, 16, pattern, 64);
        WITH_SIGNAL(FEW(FILL_K), FEW(SAVE_K));
        kept = kept && all_are(found, 8, pattern, 2);
    }
    BOOL("kept", kept);
    signal(SIGUSR1, SIG_DFL);
}
#endif

static volatile long switched;
static ucontext_t main_context, other_context;
static void other(void) {
    switched += 1;
    swapcontext(&other_context, &main_context);
    switched += 10;
}

CASE(swapcontext) {
    static char stack[65536];
    NEED(getcontext(&other_context));
    other_context.uc_stack = (stack_t){.ss_sp = stack, .ss_size = sizeof stack};
    other_context.uc_link = &main_context;
    makecontext(&other_context, other, 0);
    NEED(swapcontext(&main_context, &other_context));
    say("%ld", switched);
    NEED(swapcontext(&main_context, &other_context));
    say("%ld", switched);
}

static volatile long interrupted;
static void tick(int number UNUSED, siginfo_t *info UNUSED, void *context UNUSED) {
    volatile double work = 2;
    for (int i = 0; i < 50; i++) work *= 1.1;
    interrupted++;
}

CASE(computation_interrupted) {
    /* The result of pure computation is the same however often handlers run in the middle of it. */
    struct { struct timeval interval, value; } often = {{0, 1000}, {0, 1000}};
    handle(SIGALRM, tick, SA_RESTART);
    NEED(syscall(SYS_setitimer, 0, &often, NULL));
    double sum = 0;
    uint64_t hash = 1469598103934665603u;
    for (long i = 0; i < 3000000; i++) {
        sum += 1.0 / (double)(i + 1);
        hash = (hash ^ (uint64_t)i) * 1099511628211u;
    }
    often.interval.tv_usec = often.value.tv_usec = 0;
    NEED(syscall(SYS_setitimer, 0, &often, NULL));
    while (!interrupted) raise(SIGALRM);
    say("%.9f %llx", sum, (unsigned long long)hash);
    signal(SIGALRM, SIG_DFL);
}

#ifdef __x86_64__
#include <immintrin.h>

/* Sends itself a signal with known values in all registers and tells which of them came back wrong. */
long probe_registers(long pid, long number);
__asm__(
    "probe_registers:\n"
    "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "  mov $0x1111111111, %rbx; mov $0x2222222222, %rbp; mov $0x3333333333, %rdx\n"
    "  mov $0x4444444444, %r8; mov $0x5555555555, %r9; mov $0x6666666666, %r10\n"
    "  mov $0x7777777777, %r12; mov $0x8888888888, %r13; mov $0x9999999999, %r14; mov $0xaaaaaaaaaa, %r15\n"
    "  std\n"
    "  mov $62, %eax; syscall\n"
    "  pushfq\n"
    "  cld\n"
    "  or %rax, %rdi; xor %esi, %esi\n"              /* rax is 0; rdi is not looked at */
    "  mov $0x1111111111, %rcx; cmp %rcx, %rbx; setne %al; or %al, %sil\n"
    "  mov $0x2222222222, %rcx; cmp %rcx, %rbp; setne %al; or %al, %sil\n"
    "  mov $0x3333333333, %rcx; cmp %rcx, %rdx; setne %al; or %al, %sil\n"
    "  mov $0x4444444444, %rcx; cmp %rcx, %r8; setne %al; or %al, %sil\n"
    "  mov $0x5555555555, %rcx; cmp %rcx, %r9; setne %al; or %al, %sil\n"
    "  mov $0x6666666666, %rcx; cmp %rcx, %r10; setne %al; or %al, %sil\n"
    "  mov $0x7777777777, %rcx; cmp %rcx, %r12; setne %al; or %al, %sil\n"
    "  mov $0x8888888888, %rcx; cmp %rcx, %r13; setne %al; or %al, %sil\n"
    "  mov $0x9999999999, %rcx; cmp %rcx, %r14; setne %al; or %al, %sil\n"
    "  mov $0xaaaaaaaaaa, %rcx; cmp %rcx, %r15; setne %al; or %al, %sil\n"
    "  pop %rcx; test $0x400, %ecx; setz %al; or %al, %sil\n"  /* the direction flag is still set */
    "  movzbl %sil, %eax\n"
    "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "  ret\n");

static void tell_registers(int number, siginfo_t *info UNUSED, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint64_t flags;
    __asm__ volatile("pushfq; pop %0" : "=r"(flags));
    say("rax %lld rsi %lld rbx %llx r15 %llx", registers[REG_RAX], registers[REG_RSI], registers[REG_RBX], registers[REG_R15]);
    say("direction in the context %d, in the handler %d", (int)(registers[REG_EFL] >> 10 & 1), (int)(flags >> 10 & 1));
    say("selectors %#llx, trap %lld error %lld, old mask %lld, number %d", registers[REG_CSGSFS] & 0xffff, registers[REG_TRAPNO],
        registers[REG_ERR], registers[REG_OLDMASK], number);
    say("stack in the handler: %d modulo 16", (int)((uintptr_t)__builtin_frame_address(0) % 16));
}

CASE(x86_registers_kept) {
    handle(SIGUSR1, tell_registers, 0);
    say("wrong %ld", probe_registers(getpid(), SIGUSR1));
    signal(SIGUSR1, SIG_DFL);
}

static void change_result(int number UNUSED, siginfo_t *info UNUSED, void *context) {
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 4242;
}

CASE(x86_result_changed) {
    handle(SIGUSR1, change_result, 0);
    say("%ld", syscall(SYS_kill, getpid(), SIGUSR1));
    signal(SIGUSR1, SIG_DFL);
}

static void skip_three(int number UNUSED, siginfo_t *info UNUSED, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    say("trap %lld error %lld, cr2 %llx", registers[REG_TRAPNO], registers[REG_ERR], registers[REG_CR2]);
    registers[REG_RIP] += 3;
    registers[REG_RCX] = 77;
}

CASE(x86_fault_skipped) {
    long value = 1;
    handle(SIGSEGV, skip_three, 0);
    __asm__ volatile("mov $0x123000, %%edx; mov (%%rdx), %%rcx; mov %%rcx, %0" : "=r"(value) : : "rcx", "rdx");
    say("%ld", value);
    __asm__ volatile("mov $0x123008, %%edx; mov %%rcx, (%%rdx); mov %%rcx, %0" : "=r"(value) : : "rcx", "rdx", "memory");
    say("%ld", value);
    signal(SIGSEGV, SIG_DFL);
}

static void call_elsewhere(int number UNUSED, siginfo_t *info UNUSED, void *context) {
    static char stack[65536] __attribute__((aligned(16)));
    void elsewhere(void) {
        char here;
        say("elsewhere, on the new stack %d", &here > stack && &here < stack + sizeof stack);
        _exit(21);
    }
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    registers[REG_RIP] = (greg_t)(uintptr_t)elsewhere;
    registers[REG_RSP] = (greg_t)(uintptr_t)(stack + sizeof stack - 8);
}

CASE(x86_stack_and_place_changed) {
    IN_CHILD("child") {
        handle(SIGUSR1, call_elsewhere, 0);
        raise(SIGUSR1);
    }
}

/* Fills the 128 bytes below the stack pointer, sends the signal, and counts the words that changed. */
long probe_red_zone(long pid, long number);
__asm__(
    "probe_red_zone:\n"
    "  mov $16, %ecx\n"
    "1: mov %rcx, %rdx; neg %rdx; mov %rcx, (%rsp,%rdx,8); dec %ecx; jnz 1b\n"
    "  mov $62, %eax; syscall\n"
    "  mov $16, %ecx; xor %eax, %eax\n"
    "2: mov %rcx, %rdx; neg %rdx; cmp %rcx, (%rsp,%rdx,8); je 3f; inc %eax\n"
    "3: dec %ecx; jnz 2b\n"
    "  ret\n");

CASE(x86_red_zone) {
    handle(SIGUSR1, own_registers, 0);
    say("changed %ld", probe_red_zone(getpid(), SIGUSR1));
    signal(SIGUSR1, SIG_DFL);
}

static void clobber_vectors(int number UNUSED, siginfo_t *info UNUSED, void *context) {
    struct _libc_fpstate *state = ((ucontext_t *)context)->uc_mcontext.fpregs;
    __asm__ volatile("pcmpeqd %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm5; movdqa %%xmm0, %%xmm15; fninit; fldpi" : : : "memory");
    state->_xmm[3].element[0] = 333;
    say("xmm5 in the context %u, mxcsr %#x, control word %#x", state->_xmm[5].element[0], state->mxcsr, state->cwd);
    BOOL("aligned to 64", (uintptr_t)state % 64 == 0);
}

CASE(x86_vectors) {
    uint32_t five = 0, three = 0, fifteen = 0, in[4] = {55, 56, 57, 58};
    double top = 0, one = 1.25;
    handle(SIGUSR1, clobber_vectors, 0);
    __asm__ volatile(
        "fldl %4; movdqu %3, %%xmm5; movdqu %3, %%xmm3; movdqu %3, %%xmm15\n"
        "mov $62, %%eax; syscall\n"
        "movd %%xmm5, %0; movd %%xmm3, %1; movd %%xmm15, %2; fstpl %5"
        : "=m"(five), "=m"(three), "=m"(fifteen)
        : "m"(in), "m"(one), "m"(top), "D"((long)getpid()), "S"((long)SIGUSR1)
        : "rax", "rcx", "r11", "xmm0", "xmm3", "xmm5", "xmm15", "memory");
    say("xmm5 %u xmm15 %u, changed xmm3 %u, st0 %.2f", five, fifteen, three, top);
    signal(SIGUSR1, SIG_DFL);
}

static void own_control(int number UNUSED, siginfo_t *info UNUSED, void *context) {
    uint32_t mxcsr, other = 0x5f80;
    uint16_t control;
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(control));
    say("in the handler %#x %#x", mxcsr, control);
    __asm__ volatile("ldmxcsr %0" : : "m"(other));
    ((ucontext_t *)context)->uc_mcontext.fpregs->cwd = 0x27f;
}

CASE(x86_float_control) {
    uint32_t mxcsr = 0x3f80;
    uint16_t control = 0x37f;
    handle(SIGUSR1, own_control, 0);
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    syscall(SYS_kill, getpid(), SIGUSR1);
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(control));
    say("after %#x, changed %#x", mxcsr, control);
    mxcsr = 0x1f80;
    __asm__ volatile("ldmxcsr %0; fninit" : : "m"(mxcsr));
    signal(SIGUSR1, SIG_DFL);
}

__attribute__((target("avx"))) static void clobber_wide(int number UNUSED, siginfo_t *info UNUSED, void *context UNUSED) {
    __asm__ volatile("vpcmpeqd %%xmm1, %%xmm1, %%xmm1; vinsertf128 $1, %%xmm1, %%ymm1, %%ymm1; vmovaps %%ymm1, %%ymm9" : : : "memory");
}

__attribute__((target("avx"))) static bool wide_kept(void) {
    uint32_t in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, first[8], ninth[8];
    handle(SIGUSR1, clobber_wide, 0);
    __asm__ volatile(
        "vmovdqu %2, %%ymm1; vmovdqu %2, %%ymm9\n"
        "mov $62, %%eax; syscall\n"
        "vmovdqu %%ymm1, %0; vmovdqu %%ymm9, %1; vzeroupper"
        : "=m"(first), "=m"(ninth)
        : "m"(in), "D"((long)getpid()), "S"((long)SIGUSR1)
        : "rax", "rcx", "r11", "xmm1", "xmm9", "memory");
    signal(SIGUSR1, SIG_DFL);
    return memcmp(in, first, sizeof in) == 0 && memcmp(in, ninth, sizeof in) == 0;
}

CASE(x86_wide_vectors) {
    BOOL("kept where there are any", !__builtin_cpu_supports("avx") || wide_kept());
    IN_CHILD("child") BOOL("after fork", !__builtin_cpu_supports("avx") || wide_kept());
}
#endif
