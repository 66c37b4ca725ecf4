/* Signals that the processor causes, and frames that a hostile handler hands to sigreturn. */
#include <ucontext.h>

#include "guest.h"

#ifdef __x86_64__
#define ILLEGAL() __asm__ volatile("ud2")
#else
#define ILLEGAL() __asm__ volatile(".inst 0")
#endif

CASE(unhandled_and_blocked) {
    /* A fault while its signal is blocked or ignored kills, whatever the handler. */
    IN_CHILD("ignored ILL") {
        signal(SIGILL, SIG_IGN);
        ILLEGAL();
    }
    IN_CHILD("blocked ILL") {
        sigset_t set;
        sigfillset(&set);
        sigprocmask(SIG_SETMASK, &set, NULL);
        ILLEGAL();
    }
    IN_CHILD("fault in the handler of the same fault") {
        void handler(int number UNUSED) { peek(NULL); }
        signal(SIGSEGV, handler);
        peek(NULL);
    }
}

#ifdef __x86_64__
static char code_of_fault[64];
static void tell(int number, siginfo_t *info, void *context) {
    ucontext_t *user = context;
    greg_t *registers = user->uc_mcontext.gregs;
    snprintf(code_of_fault, sizeof code_of_fault, "%s code %d trap %lld error %lld, si_addr is %s", signal_name(number),
             info->si_code, registers[REG_TRAPNO], registers[REG_ERR],
             (greg_t)(uintptr_t)info->si_addr == registers[REG_RIP] ? "rip" : info->si_addr ? "other" : "NULL");
    siglongjmp(guest_fault_return, 1);
}

#define TRAP(name, ...) \
    do { \
        struct sigaction action_ = {.sa_sigaction = tell, .sa_flags = SA_SIGINFO | SA_NODEFER}; \
        int numbers_[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}; \
        for (int i_ = 0; i_ < 5; i_++) NEED(sigaction(numbers_[i_], &action_, NULL)); \
        strcpy(code_of_fault, "no fault"); \
        if (sigsetjmp(guest_fault_return, 1) == 0) { __VA_ARGS__; } \
        say("%s: %s", name, code_of_fault); \
        for (int i_ = 0; i_ < 5; i_++) signal(numbers_[i_], SIG_DFL); \
    } while (0)

CASE(x86_divide) {
    TRAP("by 0", __asm__ volatile("xor %%ecx, %%ecx; xor %%edx, %%edx; mov $5, %%eax; div %%ecx" : : : "eax", "ecx", "edx"));
    TRAP("overflow", __asm__ volatile("mov $1, %%ecx; mov $5, %%edx; div %%ecx" : : : "eax", "ecx", "edx"));
    TRAP("LONG_MIN / -1", __asm__ volatile("mov $-1, %%rcx; mov $1, %%eax; shl $63, %%rax; cqo; idiv %%rcx" : : : "rax", "rcx", "rdx"));
}

CASE(x86_illegal) {
    TRAP("ud2", __asm__ volatile("ud2"));
    TRAP("ud1", __asm__ volatile(".byte 0x0f, 0xb9, 0xc0"));
    TRAP("removed in 64 bit", __asm__ volatile(".byte 0x06"));
    TRAP("lock of a register", __asm__ volatile(".byte 0xf0, 0x01, 0xc0"));
}

CASE(x86_breakpoint) {
    TRAP("int3", __asm__ volatile("int3"));
    TRAP("cd 03", __asm__ volatile(".byte 0xcd, 0x03"));
    IN_CHILD("unhandled") __asm__ volatile("int3");
}

CASE(x86_privileged) {
    TRAP("hlt", __asm__ volatile("hlt"));
    TRAP("cli", __asm__ volatile("cli"));
    TRAP("in", __asm__ volatile("in $0x60, %%al" : : : "al"));
    TRAP("out", __asm__ volatile("mov $0x80, %%edx; out %%al, %%dx" : : : "edx"));
    TRAP("out of 32 bits", __asm__ volatile("mov $0xb000, %%edx; out %%eax, %%dx" : : : "edx"));
    TRAP("wrmsr", __asm__ volatile("wrmsr"));
    TRAP("rdmsr", __asm__ volatile("mov $0xc0000080, %%ecx; rdmsr" : : : "ecx", "eax", "edx"));
    TRAP("mov cr3", __asm__ volatile("mov %%cr3, %%rax" : : : "rax"));
    TRAP("lgdt", __asm__ volatile("lgdt (%%rsp)" : : : "memory"));
    TRAP("invlpg", __asm__ volatile("invlpg (%%rsp)" : : : "memory"));
    TRAP("int 0x20", __asm__ volatile("int $0x20"));
    TRAP("int 0xe", __asm__ volatile("int $0xe"));
    TRAP("sysretq", __asm__ volatile("sysretq"));
    TRAP("iretq to the kernel", __asm__ volatile("sub $40, %%rsp; movq $0x10, 8(%%rsp); iretq" : : : "memory"));
    TRAP("kernel data selector", __asm__ volatile("mov $0x18, %%eax; mov %%eax, %%ss" : : : "eax"));
}

CASE(x86_not_canonical) {
    TRAP("read", __asm__ volatile("mov $0x8000000000000000, %%rax; mov (%%rax), %%al" : : : "rax"));
    TRAP("jump", __asm__ volatile("mov $0x8000000000000000, %%rax; jmp *%%rax" : : : "rax"));
}

CASE(x86_unaligned) {
    static char data[64] __attribute__((aligned(16)));
    TRAP("movaps", __asm__ volatile("movaps 1(%0), %%xmm0" : : "r"(data) : "xmm0"));
    TRAP("movups", __asm__ volatile("movups 1(%0), %%xmm0" : : "r"(data) : "xmm0"));
}

static void set_mxcsr(uint32_t value) { __asm__ volatile("ldmxcsr %0" : : "m"(value)); }

CASE(x86_float_exceptions) {
    volatile double zero = 0, one = 1, result;
    TRAP("SSE, divide", set_mxcsr(0x1d80); result = one / zero);
    TRAP("SSE, invalid", set_mxcsr(0x1f00); result = zero / zero);
    set_mxcsr(0x1f80);
    TRAP("x87, divide", {
        uint16_t control = 0x37b;
        __asm__ volatile("fldcw %0; fld1; fldz; fdivrp; fwait" : : "m"(control));
    });
    __asm__ volatile("fninit");
    result = one / zero;
    BOOL("masked again", result > 1e300);
}

/* ---- frames -------------------------------------------------------------------------------------------------------- */

static void (*spoil)(ucontext_t *);
static void hostile(int number UNUSED, siginfo_t *info UNUSED, void *context) { spoil(context); }

static void spoiled(const char *name, void (*how)(ucontext_t *)) {
    IN_CHILD(name) {
        struct sigaction action = {.sa_sigaction = hostile, .sa_flags = SA_SIGINFO};
        NEED(sigaction(SIGUSR1, &action, NULL));
        spoil = how;
        syscall(SYS_kill, getpid(), SIGUSR1);
        _exit(33);
    }
}

#define SPOIL(name, field, value) \
    static void name(ucontext_t *user) { user->uc_mcontext.field = (greg_t)(value); }
SPOIL(rip_not_canonical, gregs[REG_RIP], 0x8000000000000000)
SPOIL(rip_kernel, gregs[REG_RIP], 0xffffffff81000000)
SPOIL(rip_null, gregs[REG_RIP], 0)
SPOIL(rsp_not_canonical, gregs[REG_RSP], 0x8000000000000000)
SPOIL(rsp_kernel, gregs[REG_RSP], 0xffff800000000000)
SPOIL(rsp_null, gregs[REG_RSP], 0)
SPOIL(flags_all, gregs[REG_EFL], 0x7ffcfeff)  /* all but the trap flag */
SPOIL(flags_none, gregs[REG_EFL], 0)
SPOIL(selectors_kernel, gregs[REG_CSGSFS], 0x0018000000000010)
SPOIL(selectors_null, gregs[REG_CSGSFS], 0)
SPOIL(selectors_garbage, gregs[REG_CSGSFS], -1)
static void float_pointer(ucontext_t *user) { user->uc_mcontext.fpregs = (void *)8; }
static void float_kernel(ucontext_t *user) { user->uc_mcontext.fpregs = KERNEL_POINTER; }
static void float_none(ucontext_t *user) { user->uc_mcontext.fpregs = NULL; }
static void float_unaligned(ucontext_t *user) {
    user->uc_mcontext.fpregs = (void *)((char *)user->uc_mcontext.fpregs + 8);
}
static void mxcsr_reserved(ucontext_t *user) { user->uc_mcontext.fpregs->mxcsr = 0xffffffff; }
static void frame_zero(ucontext_t *user) { memset(&user->uc_mcontext, 0, sizeof user->uc_mcontext); }
static void frame_ones(ucontext_t *user) { memset(&user->uc_mcontext, 0xff, 23 * 8); }
static void mask_all(ucontext_t *user) { memset(&user->uc_sigmask, 0xff, 8); }
static void xsave_header(ucontext_t *user) { memset((char *)user->uc_mcontext.fpregs + 512, 0xff, 64); }
static void xsave_words(ucontext_t *user) { memset((char *)user->uc_mcontext.fpregs + 464, 0xff, 48); }

CASE(x86_hostile_frames) {
    spoiled("rip not canonical", rip_not_canonical);
    spoiled("rip in the kernel", rip_kernel);
    spoiled("rip NULL", rip_null);
    spoiled("rsp in the kernel", rsp_kernel);
    spoiled("rsp NULL", rsp_null);
    spoiled("all flags", flags_all);
    spoiled("no flags", flags_none);
    spoiled("kernel selectors", selectors_kernel);
    spoiled("null selectors", selectors_null);
    spoiled("garbage selectors", selectors_garbage);
    spoiled("bad float pointer", float_pointer);
    spoiled("kernel float pointer", float_kernel);
    spoiled("no float state", float_none);
    spoiled("all zero", frame_zero);
    spoiled("all ones", frame_ones);
    spoiled("all signals blocked", mask_all);
}

CASE(x86_stack_not_canonical) {
    IN_CHILD("push") __asm__ volatile("mov $0x8000000000000000, %%rsp; push %%rax" : : : "memory");
    spoiled("in the frame", rsp_not_canonical);
}

CASE(x86_hostile_float_state) {
    spoiled("reserved mxcsr bits", mxcsr_reserved);
    spoiled("float state unaligned", float_unaligned);
    spoiled("garbage in the XSAVE header", xsave_header);
    spoiled("garbage in the software words", xsave_words);
}

CASE(x86_sigreturn_without_a_frame) {
    IN_CHILD("called as a function") {
        syscall(SYS_rt_sigreturn);
        _exit(1);
    }
    IN_CHILD("no stack") {
        __asm__ volatile("xor %%esp, %%esp; mov $15, %%eax; syscall" : : : "rax", "memory");
        _exit(1);
    }
    IN_CHILD("stack not canonical") {
        __asm__ volatile("mov $0x8000000000000000, %%rsp; mov $15, %%eax; syscall" : : : "rax", "memory");
        _exit(1);
    }
}

CASE(x86_signal_without_a_stack) {
    static void (*const handler)(int) = (void (*)(int))exit;
    IN_CHILD("USR1") {
        signal(SIGUSR1, handler);
        long pid = getpid();
        __asm__ volatile("xor %%esp, %%esp; mov $62, %%eax; syscall" : : "D"(pid), "S"((long)SIGUSR1) : "rax", "memory");
        _exit(1);
    }
    IN_CHILD("stack in a read only page") {
        signal(SIGUSR1, handler);
        long pid = getpid();
        char *page = mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        __asm__ volatile("mov %2, %%rsp; mov $62, %%eax; syscall" : : "D"(pid), "S"((long)SIGUSR1), "r"(page + 4 * PAGE) : "rax", "memory");
        _exit(1);
    }
}
#endif
