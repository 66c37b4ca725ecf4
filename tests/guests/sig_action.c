/* sigaction(2), masks, nesting, alternate stacks and default actions. */
#include <pthread.h>

#include "guest.h"

static volatile int depth, calls;

static void set_action(int number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    NEED(sigaction(number, &action, NULL));
}

static bool blocked(int number) {
    sigset_t set;
    sigprocmask(SIG_SETMASK, NULL, &set);
    return sigismember(&set, number);
}

static void block(int how, int number) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    NEED(sigprocmask(how, &set, NULL));
}

static void tell(int number) { say("handler %s", signal_name(number)); }

CASE(get_and_set) {
    struct sigaction action, old;
    CHECK("initial", sigaction(SIGUSR1, NULL, &old));
    BOOL("default", old.sa_handler == SIG_DFL);
    action = (struct sigaction){.sa_handler = tell, .sa_flags = SA_RESTART | SA_NODEFER};
    sigaddset(&action.sa_mask, SIGHUP);
    sigaddset(&action.sa_mask, SIGKILL);
    CHECK("set", sigaction(SIGUSR1, &action, &old));
    CHECK("get", sigaction(SIGUSR1, NULL, &old));
    BOOL("handler", old.sa_handler == tell);
    say("flags %#x", old.sa_flags & ~0x04000000);
    say("mask HUP %d KILL %d", sigismember(&old.sa_mask, SIGHUP), sigismember(&old.sa_mask, SIGKILL));
    CHECK("KILL", sigaction(SIGKILL, &action, NULL));
    CHECK("get KILL", sigaction(SIGKILL, NULL, &old));
    CHECK("STOP", sigaction(SIGSTOP, &action, NULL));
    CHECK("0", sigaction(0, NULL, &old));
    CHECK("65", sigaction(65, NULL, &old));
    CHECK("-1", sigaction(-1, NULL, &old));
    CHECK("bad size", syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
    CHECK("bad pointer", syscall(SYS_rt_sigaction, SIGUSR1, BAD_POINTER, NULL, 8));
    CHECK("bad old pointer", syscall(SYS_rt_sigaction, SIGUSR1, NULL, BAD_POINTER, 8));
    signal(SIGUSR1, SIG_DFL);
}

static void look_at_all(const char *when) {
    struct { unsigned long handler, flags, restorer, mask; } old;
    for (int number = 1; number <= 64; number++) {
        old.handler = 99;
        if (syscall(SYS_rt_sigaction, number, NULL, &old, 8) < 0)
            say("%s: %d: errno %d", when, number, errno);
        else if (old.handler || old.mask)
            say("%s: %d: %s flags %#lx mask %#lx", when, number,
                old.handler == 1 ? "ignored" : old.handler == (unsigned long)tell ? "tell" : "default",
                old.flags & ~0x04000000UL, old.mask);
    }
}

static void *look_from_thread(void *unused) {
    (void)unused;
    set_action(SIGUSR2, SIG_IGN, 0);
    look_at_all("thread");
    return NULL;
}

CASE(look_at_one_after_the_other) {
    struct { void (*handler)(int); unsigned long flags; void *restorer; unsigned long mask; } once = {
        tell, SA_RESETHAND | 0x04000000, NULL, 1UL << 9 | 2};
    look_at_all("at first");
    set_action(SIGHUP, tell, SA_RESTART | SA_NODEFER);
    set_action(64, SIG_IGN, 0);
    look_at_all("set");
    set_action(SIGHUP, SIG_DFL, 0);
    struct sigaction action = {.sa_handler = tell, .sa_flags = SA_RESETHAND};
    sigaddset(&action.sa_mask, SIGINT);
    NEED(sigaction(SIGUSR1, &action, NULL));
    look_at_all("once");
    raise(SIGUSR1);
    look_at_all("over");
    CHECK("nowhere", syscall(SYS_rt_sigaction, 1, NULL, NULL, 8));
    CHECK("nowhere", syscall(SYS_rt_sigaction, 2, NULL, BAD_POINTER, 8));
    CHECK("before the first", syscall(SYS_rt_sigaction, 0, NULL, &once, 8));
    CHECK("behind the last", syscall(SYS_rt_sigaction, 65, NULL, &once, 8));
    CHECK("bad size", syscall(SYS_rt_sigaction, 3, NULL, &once, 16));

    pid_t child = fork();
    if (!child) {
        set_action(SIGHUP, tell, 0);
        look_at_all("child");
        fflush(NULL);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    look_at_all("parent");
    child = vfork();
    if (!child) {
        look_at_all("vfork");
        set_action(SIGHUP, SIG_IGN, 0);
        look_at_all("changed");
        char *nothing[] = {NULL};
        execve("/nowhere", nothing, nothing);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    look_at_all("after vfork");
    pthread_t thread;
    pthread_create(&thread, NULL, look_from_thread, NULL);
    pthread_join(thread, NULL);
    look_at_all("after the thread");
}

struct kernel_action {
    unsigned long handler, flags, restorer, mask;
};

static void set_raw(const char *when, unsigned long handler, unsigned long flags, unsigned long restorer,
                    unsigned long mask) {
    int set = 0;
    for (int number = 1; number <= 64; number++) {
        struct kernel_action old, action = {handler, flags, restorer + number, mask};
        syscall(SYS_rt_sigaction, number, NULL, &old, 8);
        if (syscall(SYS_rt_sigaction, number, &action, NULL, 8) < 0)
            say("%s: %d: errno %d", when, number, errno);
        else
            set++;
    }
    say("%s: %d set", when, set);
}

static void show_raw(const char *when) {
    unsigned long handlers = 0, flags = 0, restorers = 0, masks = 0;
    for (int number = 1; number <= 64; number++) {
        struct kernel_action old = {1, 2, 3, 4};
        syscall(SYS_rt_sigaction, number, NULL, &old, 8);
        handlers += old.handler, flags += old.flags, masks += old.mask;
        restorers = restorers * 31 + old.restorer;
    }
    say("%s: handlers %lu flags %#lx restorers %#lx masks %#lx", when, handlers, flags, restorers, masks);
}

CASE(back_to_the_default_one_after_the_other) {
    enum { RESTORER = 0x04000000 };
    struct kernel_action action = {0, RESTORER, 1, 0}, old;
    set_raw("default", 0, RESTORER, 0x1000, 0);
    show_raw("default");
    action.restorer = 77;
    CHECK("set and get", syscall(SYS_rt_sigaction, SIGHUP, &action, &old, 8));
    say("was %lu %#lx %#lx %#lx", old.handler, old.flags, old.restorer, old.mask);
    set_raw("mask", 0, RESTORER, 0x2000, 1UL << 8 | 1UL << 11);
    show_raw("mask");
    set_raw("default again", 0, RESTORER, 0x3000, 0);
    set_raw("ignored", 1, RESTORER, 0x4000, 0);
    show_raw("ignored");
    set_raw("no restorer", 0, 0, 0, 0);
    show_raw("no restorer");
    set_raw("default", 0, RESTORER, 0x5000, 0);
    pid_t child = fork();
    if (!child) {
        show_raw("child");
        set_raw("child", 0, RESTORER, 0x6000, 0);
        show_raw("child");
        fflush(NULL);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    child = vfork();
    if (!child) {
        set_raw("vfork", 0, RESTORER, 0x7000, 0);
        show_raw("vfork");
        _exit(0);
    }
    waitpid(child, NULL, 0);
    show_raw("parent");
    CHECK("nowhere", syscall(SYS_rt_sigaction, SIGHUP, BAD_POINTER, NULL, 8));
    CHECK("bad size", syscall(SYS_rt_sigaction, SIGHUP, &action, NULL, 16));
    block(SIG_BLOCK, SIGURG);
    block(SIG_BLOCK, SIGUSR1);
    raise(SIGURG);
    raise(SIGUSR1);
    set_raw("pending", 0, RESTORER, 0x8000, 0);
    sigset_t pending;
    sigpending(&pending);
    say("URG %d USR1 %d", sigismember(&pending, SIGURG), sigismember(&pending, SIGUSR1));
    signal(SIGUSR1, SIG_IGN);
}

CASE(unknown_flags) {
    struct { void (*handler)(int); unsigned long flags; void *restorer; unsigned long mask; } action = {SIG_IGN, 0, NULL, 0}, old;
    action.flags = 0x400 | 0x800 | 0x2000;
    CHECK("set", syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8));
    CHECK("get", syscall(SYS_rt_sigaction, SIGUSR1, NULL, &old, 8));
    say("flags %#lx", old.flags);
    signal(SIGUSR1, SIG_DFL);
}

CASE(mask_during_handler) {
    struct sigaction action;
    void handler(int number) {
        say("%s: own blocked %d, HUP blocked %d, TERM blocked %d", signal_name(number), blocked(number),
            blocked(SIGHUP), blocked(SIGTERM));
    }
    action = (struct sigaction){.sa_handler = handler};
    sigaddset(&action.sa_mask, SIGHUP);
    NEED(sigaction(SIGUSR1, &action, NULL));
    raise(SIGUSR1);
    action.sa_flags = SA_NODEFER;
    NEED(sigaction(SIGUSR1, &action, NULL));
    raise(SIGUSR1);
    say("after: %d %d", blocked(SIGUSR1), blocked(SIGHUP));
    signal(SIGUSR1, SIG_DFL);
}

static void nest(int number) {
    say("in %s", signal_name(number));
    if (number == SIGUSR1) raise(SIGUSR2);
    if (number == SIGUSR2) raise(SIGUSR1);
    say("out of %s", signal_name(number));
    if (number == SIGUSR1) set_action(SIGUSR1, SIG_IGN, 0);
}

CASE(nested) {
    set_action(SIGUSR1, nest, 0);
    set_action(SIGUSR2, nest, 0);
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
}

static void recurse(int number) {
    if (++depth < 5) raise(number);
    say("depth %d", depth--);
}

CASE(nodefer) {
    depth = 0;
    set_action(SIGUSR1, recurse, SA_NODEFER);
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_DFL);
}

static void once(int number) {
    struct sigaction now;
    sigaction(number, NULL, &now);
    say("in the handler: %s, blocked %d", now.sa_handler == SIG_DFL ? "default" : "set", blocked(number));
}

CASE(resethand) {
    set_action(SIGUSR1, once, SA_RESETHAND);
    raise(SIGUSR1);
    IN_CHILD("second time") raise(SIGUSR1);
    set_action(SIGUSR1, once, SA_RESETHAND | SA_NODEFER);
    raise(SIGUSR1);
}

CASE(order_of_delivery) {
    static const int numbers[] = {SIGTERM, SIGUSR2, SIGHUP, SIGUSR1, 40, 36};
    sigset_t set, old;
    sigemptyset(&set);
    for (size_t i = 0; i < LENGTH(numbers); i++) {
        set_action(numbers[i], tell, 0);
        sigaddset(&set, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &set, &old);
    for (size_t i = 0; i < LENGTH(numbers); i++) kill(getpid(), numbers[i]);
    raise(36);
    raise(36);
    raise(SIGUSR1);
    sigprocmask(SIG_SETMASK, &old, NULL);
    for (size_t i = 0; i < LENGTH(numbers); i++) signal(numbers[i], SIG_DFL);
}

CASE(ignored_while_blocked) {
    sigset_t pending;
    block(SIG_BLOCK, SIGUSR1);
    raise(SIGUSR1);
    sigpending(&pending);
    say("pending %d", sigismember(&pending, SIGUSR1));
    signal(SIGUSR1, SIG_IGN);
    sigpending(&pending);
    say("ignoring discards it: %d", sigismember(&pending, SIGUSR1));
    raise(SIGUSR1);
    sigpending(&pending);
    say("ignored and blocked stays: %d", sigismember(&pending, SIGUSR1));
    block(SIG_UNBLOCK, SIGUSR1);
    signal(SIGUSR1, SIG_DFL);
    block(SIG_BLOCK, SIGCHLD);
    raise(SIGCHLD);
    sigpending(&pending);
    say("ignored by default: %d", sigismember(&pending, SIGCHLD));
    signal(SIGCHLD, SIG_DFL);
    sigpending(&pending);
    say("after SIG_DFL: %d", sigismember(&pending, SIGCHLD));
    block(SIG_UNBLOCK, SIGCHLD);
}

CASE(sigprocmask) {
    sigset_t set, old;
    sigfillset(&set);
    CHECK("block all", sigprocmask(SIG_BLOCK, &set, &old));
    unsigned long raw = 0;
    CHECK("raw", syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &raw, 8));
    say("KILL %d STOP %d", (int)(raw >> 8 & 1), (int)(raw >> 18 & 1));
    CHECK("back", sigprocmask(SIG_SETMASK, &old, NULL));
    CHECK("bad how", sigprocmask(9, &set, NULL));
    CHECK("bad how without a set", syscall(SYS_rt_sigprocmask, 9, NULL, &raw, 8));
    CHECK("bad size", syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &raw, 16));
    CHECK("bad pointer", syscall(SYS_rt_sigprocmask, SIG_BLOCK, BAD_POINTER, NULL, 8));
    CHECK("bad old pointer", syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, BAD_POINTER, 8));
    CHECK("pending bad size", syscall(SYS_rt_sigpending, &raw, 9));
    CHECK("pending bad pointer", syscall(SYS_rt_sigpending, BAD_POINTER, 8));
    CHECK("suspend bad size", syscall(SYS_rt_sigsuspend, &raw, 4));
    CHECK("suspend bad pointer", syscall(SYS_rt_sigsuspend, BAD_POINTER, 8));
}

CASE(sigsuspend) {
    sigset_t none;
    set_action(SIGUSR1, tell, 0);
    block(SIG_BLOCK, SIGUSR1);
    raise(SIGUSR1);
    say("blocked until here");
    sigemptyset(&none);
    CHECK("sigsuspend", sigsuspend(&none));
    say("blocked again %d", blocked(SIGUSR1));
    pid_t self = getpid(), child;
    START_CHILD(child) {
        sleep_ms(30);
        kill(self, SIGUSR1);
    }
    CHECK("sigsuspend", sigsuspend(&none));
    reap("child", child);
    block(SIG_UNBLOCK, SIGUSR1);
    signal(SIGUSR1, SIG_DFL);
}

CASE(blocked_over_fork) {
    block(SIG_BLOCK, SIGTERM);
    IN_CHILD("forked") {
        kill(getpid(), SIGTERM);
        _exit(3);
    }
    IN_CHILD("unblocked") {
        kill(getpid(), SIGTERM);
        block(SIG_UNBLOCK, SIGTERM);
        _exit(5);
    }
    block(SIG_UNBLOCK, SIGTERM);
}

CASE_WITH_PROGRAMS(blocked_over_exec) {
    block(SIG_BLOCK, SIGTERM);
    IN_CHILD("executed") execl("/bin/sh", "sh", "-c", "kill -TERM $$; exit 4", NULL);
    block(SIG_UNBLOCK, SIGTERM);
}

static char *stack_base;
static size_t stack_size = 65536;
static bool on_alternate_stack(void) {
    char *here = __builtin_frame_address(0);
    return here >= stack_base && here < stack_base + stack_size;
}

static void tell_stack(int number UNUSED) {
    stack_t now;
    NEED(sigaltstack(NULL, &now));
    say("on the alternate stack %d, flags %#x", on_alternate_stack(), now.ss_flags);
    if (now.ss_flags & SS_ONSTACK) CHECK("change it", sigaltstack(&now, NULL));
    if (++calls < 3) raise(SIGUSR1);
}

CASE(alternate_stack) {
    stack_base = malloc(stack_size);
    stack_t stack = {.ss_sp = stack_base, .ss_size = stack_size}, old;
    CHECK("get", sigaltstack(NULL, &old));
    say("flags %#x", old.ss_flags);
    CHECK("set", sigaltstack(&stack, &old));
    CHECK("get", sigaltstack(NULL, &old));
    BOOL("the same", old.ss_sp == stack_base && old.ss_size == stack_size);
    calls = 3;
    set_action(SIGUSR1, tell_stack, 0);
    raise(SIGUSR1);
    set_action(SIGUSR1, tell_stack, SA_ONSTACK);
    raise(SIGUSR1);
    calls = 0;
    set_action(SIGUSR1, tell_stack, SA_ONSTACK | SA_NODEFER);
    raise(SIGUSR1);
    IN_CHILD("inherited by fork") {
        calls = 3;
        raise(SIGUSR1);
    }
    stack.ss_flags = SS_DISABLE;
    CHECK("disable", sigaltstack(&stack, NULL));
    CHECK("get", sigaltstack(NULL, &old));
    say("flags %#x size %ld", old.ss_flags, (long)old.ss_size);
    calls = 3;
    raise(SIGUSR1);
    stack = (stack_t){.ss_sp = stack_base, .ss_size = 1000};
    CHECK("too small", sigaltstack(&stack, NULL));
    stack = (stack_t){.ss_sp = stack_base, .ss_size = stack_size, .ss_flags = 64};
    CHECK("bad flags", sigaltstack(&stack, NULL));
    CHECK("bad pointer", syscall(SYS_sigaltstack, BAD_POINTER, NULL));
    CHECK("bad old pointer", syscall(SYS_sigaltstack, NULL, BAD_POINTER));
    stack = (stack_t){.ss_sp = stack_base, .ss_size = stack_size, .ss_flags = SS_ONSTACK};
    CHECK("SS_ONSTACK is accepted", sigaltstack(&stack, NULL));
    stack.ss_flags = SS_DISABLE;
    NEED(sigaltstack(&stack, NULL));
    signal(SIGUSR1, SIG_DFL);
    free(stack_base);
}

CASE(alternate_stack_autodisarm) {
    stack_base = malloc(stack_size);
    stack_t stack = {.ss_sp = stack_base, .ss_size = stack_size, .ss_flags = 1U << 31}, old;
    CHECK("set", sigaltstack(&stack, NULL));
    calls = 0;
    set_action(SIGUSR1, tell_stack, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK("get", sigaltstack(NULL, &old));
    say("after: flags %#x, the same %d", old.ss_flags, old.ss_sp == stack_base);
    stack.ss_flags = SS_DISABLE;
    NEED(sigaltstack(&stack, NULL));
    signal(SIGUSR1, SIG_DFL);
}

CASE(alternate_stack_unusable) {
    IN_CHILD("not mapped") {
        stack_t stack = {.ss_sp = (void *)0x10000, .ss_size = stack_size};
        NEED(sigaltstack(&stack, NULL));
        set_action(SIGUSR1, tell, SA_ONSTACK);
        raise(SIGUSR1);
    }
    IN_CHILD("read only") {
        stack_t stack = {.ss_sp = mmap(NULL, stack_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), .ss_size = stack_size};
        NEED(sigaltstack(&stack, NULL));
        set_action(SIGUSR1, tell, SA_ONSTACK);
        raise(SIGUSR1);
    }
}

static sigjmp_buf jump;
static void leave(int number) { siglongjmp(jump, number); }

CASE(siglongjmp) {
    volatile int rounds = 0;
    set_action(SIGUSR1, leave, 0);
    int number = sigsetjmp(jump, 1);
    if (number) say("came from %s, blocked %d", signal_name(number), blocked(SIGUSR1));
    if (rounds++ < 3) raise(SIGUSR1);
    rounds = 0;
    number = sigsetjmp(jump, 0);
    if (number) {
        say("without the mask: blocked %d", blocked(SIGUSR1));
        block(SIG_UNBLOCK, SIGUSR1);
    }
    if (rounds++ < 2) raise(SIGUSR1);
    signal(SIGUSR1, SIG_DFL);
}

static void count(int number UNUSED) { calls++; }

CASE(many_signals) {
    calls = 0;
    set_action(SIGUSR1, count, 0);
    for (int i = 0; i < 1000; i++) raise(SIGUSR1);
    say("%d", calls);
    calls = 0;
    pid_t self = getpid();
    for (int i = 0; i < 200; i++) kill(self, SIGUSR1);
    say("%d", calls);
    signal(SIGUSR1, SIG_DFL);
}

CASE(delivered_before_kill_returns) {
    calls = 0;
    set_action(SIGUSR1, count, 0);
    kill(getpid(), SIGUSR1);
    say("%d", calls);
    kill(0x7fffffff & getpid(), 0);
    say("%d", calls);
    signal(SIGUSR1, SIG_DFL);
}

CASE(handler_that_exits) {
    IN_CHILD("child") {
        void handler(int number) { _exit(number); }
        set_action(SIGUSR2, handler, 0);
        raise(SIGUSR2);
    }
}

CASE(handler_that_forks) {
    void handler(int number UNUSED) {
        IN_CHILD("in the handler") _exit(11);
    }
    set_action(SIGUSR1, handler, 0);
    raise(SIGUSR1);
    IN_CHILD("handler kept by fork") {
        raise(SIGUSR1);
        _exit(12);
    }
    signal(SIGUSR1, SIG_DFL);
}

CASE(bad_handler_address) {
    IN_CHILD("child") {
        struct sigaction action = {.sa_handler = (void (*)(int))0x1000};
        NEED(sigaction(SIGUSR1, &action, NULL));
        raise(SIGUSR1);
    }
    IN_CHILD("SEGV itself") {
        struct sigaction action = {.sa_handler = (void (*)(int))0x1000};
        NEED(sigaction(SIGSEGV, &action, NULL));
        raise(SIGSEGV);
    }
}
