/* execve(2) and execveat(2): what the new program gets, and every way to fail. */
#define GUEST_ROLES
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "guest.h"

extern char **environ;
extern void _start(void);

/* ---- what the executed program tells ------------------------------------------------------------------------------ */

static void show_arguments(int argc, char **argv, char **envp) {
    for (int i = 0; i < argc; i++) say("argv[%d] %.60s%s", i, argv[i], strlen(argv[i]) > 60 ? "..." : "");
    BOOL("NULL after", argv[argc] == NULL);
    int count = 0;
    for (; envp[count]; count++) if (count < 8) say("envp[%d] %.60s", count, envp[count]);
    say("%d in the environment", count);
}

static void show_state(void) {
    struct sigaction action;
    sigset_t set;
    stack_t stack;
    for (int number = 1; number <= 64; number++) {
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            say("%s %s", signal_name(number), action.sa_handler == SIG_IGN ? "ignored" : "handled");
    }
    sigprocmask(SIG_SETMASK, NULL, &set);
    for (int number = 1; number <= 64; number++) if (sigismember(&set, number) == 1) say("%s blocked", signal_name(number));
    sigpending(&set);
    for (int number = 1; number <= 64; number++) if (sigismember(&set, number) == 1) say("%s pending", signal_name(number));
    sigaltstack(NULL, &stack);
    say("alternate stack %s", stack.ss_flags & SS_DISABLE ? "off" : "on");
    for (int fd = 0; fd < 64; fd++) if (fcntl(fd, F_GETFD) >= 0) say("fd %d open", fd);
    char name[17] = "", cwd[PATH_MAX];
    prctl(PR_GET_NAME, name);
    say("name %s, umask %o, cwd %s", name, umask(0), strrchr(getcwd(cwd, sizeof cwd), '/'));
    BOOL("alarm goes on", alarm(0) > 0);
    say("no new privileges %d, dumpable %d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_DUMPABLE));
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    say("files %ld", (long)limit.rlim_cur);
}

#ifdef __x86_64__
static void show_float_control(void) {
    uint32_t mxcsr;
    uint16_t control;
    __asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(control));
    say("mxcsr %#x, control word %#x", mxcsr, control);
}
#endif

static void show_auxv(void) {
    static const struct { const char *name; unsigned long key; bool value; } keys[] = {
        {"PAGESZ", AT_PAGESZ, true}, {"PHENT", AT_PHENT, true}, {"FLAGS", AT_FLAGS, true}, {"UID", AT_UID, true},
        {"EUID", AT_EUID, true}, {"GID", AT_GID, true}, {"EGID", AT_EGID, true}, {"SECURE", AT_SECURE, true},
        {"CLKTCK", AT_CLKTCK, true}, {"PHDR", AT_PHDR, false}, {"PHNUM", AT_PHNUM, false}, {"BASE", AT_BASE, false},
        {"ENTRY", AT_ENTRY, false}, {"RANDOM", AT_RANDOM, false}, {"HWCAP", AT_HWCAP, false},
        {"HWCAP2", AT_HWCAP2, false}, {"PLATFORM", AT_PLATFORM, false}, {"EXECFN", AT_EXECFN, false},
        {"SYSINFO_EHDR", AT_SYSINFO_EHDR, false}, {"MINSIGSTKSZ", 51, false},
    };
    for (size_t i = 0; i < LENGTH(keys); i++) {
        bool found = false;
        char **end = environ;
        while (*end) end++;
        for (ElfW(auxv_t) *entry = (ElfW(auxv_t) *)(end + 1); entry->a_type != AT_NULL; entry++) {
            if (entry->a_type != keys[i].key) continue;
            found = true;
            if (keys[i].value) say("%s %lu", keys[i].name, (unsigned long)entry->a_un.a_val);
        }
        if (!found || !keys[i].value) say("%s %s", keys[i].name, found ? "given" : "not given");
    }
    BOOL("ENTRY is _start", getauxval(AT_ENTRY) == (unsigned long)(uintptr_t)_start);
    const ElfW(Phdr) *header = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    say("first program header %s", header->p_type == PT_PHDR || header->p_type == PT_LOAD ? "good" : "bad");
    const unsigned char *vdso = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
    BOOL("the vDSO is an ELF image", vdso && memcmp(vdso, ELFMAG, SELFMAG) == 0);
    say("EXECFN %s", (char *)getauxval(AT_EXECFN));
    struct utsname machine;
    uname(&machine);
    BOOL("PLATFORM is the machine", strcmp((char *)getauxval(AT_PLATFORM), machine.machine) == 0);
    BOOL("AT_MINSIGSTKSZ sane", getauxval(51) >= 1000 && getauxval(51) < 100000);
    unsigned long *entry_stack = (unsigned long *)environ;
    BOOL("random bytes lie above the vectors", getauxval(AT_RANDOM) > (unsigned long)entry_stack);
}

static int guest_role(const char *role, int argc, char **argv, char **envp) {
    if (strncmp(role, "show", 4) == 0) show_arguments(argc, argv, envp);
    else if (strcmp(role, "state") == 0) show_state();
    else if (strcmp(role, "auxv") == 0) show_auxv();
    else if (strcmp(role, "random") == 0) write(1, (void *)getauxval(AT_RANDOM), 16);
#ifdef __x86_64__
    else if (strcmp(role, "float") == 0) show_float_control();
#endif
    else if (strcmp(role, "wait") == 0) return write(3, "x", 1) == 1 && read(0, &(char){0}, 1) == 0 ? 30 : 31;
    else if (strcmp(role, "exit") == 0) return 40;
    return 0;
}

/* ---- helpers ------------------------------------------------------------------------------------------------------ */

static char *const no_environment[] = {NULL};

/* ./prog is this program, so that no absolute path appears in the output. */
static void link_self(void) { NEED(symlink(guest_self, "prog")); }

static void show_of(const char *name, const char *path) {
    char *argv[] = {"zero", "@show", NULL};
    IN_CHILD(name) {
        CHECK("execve", execve(path, argv, no_environment));
        _exit(50);
    }
}

static void put_script(const char *path, const char *text) {
    put_text(path, text);
    NEED(chmod(path, 0755));
}

/* ---- cases -------------------------------------------------------------------------------------------------------- */

CASE(arguments) {
    char *argv[] = {"name", "@show", "", "with space", "\xff\x01\n'\"$", "x=y", NULL};
    char *envp[] = {"A=1", "B=", "=C", "no equals", "A=2", "", NULL};
    link_self();
    IN_CHILD("child") execve("./prog", argv, envp);
    char *empty[] = {"", "@show", NULL};
    IN_CHILD("empty argv[0]") execve("./prog", empty, no_environment);
}

CASE(long_arguments) {
    char *large = malloc(131072);
    memset(large, 'x', 131072);
    large[131071] = 0;
    char *argv[] = {"name", "@show", large, NULL};
    link_self();
    IN_CHILD("131,071 bytes") CHECK("execve", execve("./prog", argv, no_environment));
    char *larger = malloc(131073);
    memset(larger, 'x', 131073);
    larger[131072] = 0;
    argv[2] = larger;
    IN_CHILD("131,072 bytes") CHECK("execve", execve("./prog", argv, no_environment));
    char *envp[] = {larger, NULL};
    argv[2] = NULL;
    IN_CHILD("in the environment") CHECK("execve", execve("./prog", argv, envp));
    char *many[1003] = {"name", "@exit"};
    for (int i = 2; i < 1002; i++) many[i] = large;
    IN_CHILD("125 MiB") CHECK("execve", execve("./prog", many, no_environment));
    many[14] = NULL;
    IN_CHILD("1.5 MiB") CHECK("execve", execve("./prog", many, no_environment));
    char **short_ones = calloc(400002, sizeof *short_ones);
    short_ones[0] = "name";
    short_ones[1] = "@exit";
    for (int i = 2; i < 400001; i++) short_ones[i] = "s";
    IN_CHILD("400,000 arguments") CHECK("execve", execve("./prog", short_ones, no_environment));
    short_ones[50000] = NULL;
    IN_CHILD("50,000 arguments") CHECK("execve", execve("./prog", short_ones, no_environment));
}

CASE(bad_pointers) {
    char *argv[] = {"name", "@show", BAD_POINTER, NULL}, *good[] = {"name", "@show", NULL};
    link_self();
    CHECK("string", execve("./prog", argv, no_environment));
    CHECK("argv", syscall(SYS_execve, "./prog", BAD_POINTER, no_environment));
    CHECK("envp", syscall(SYS_execve, "./prog", good, BAD_POINTER));
    CHECK("path", syscall(SYS_execve, BAD_POINTER, good, no_environment));
    CHECK("path NULL", syscall(SYS_execve, NULL, good, no_environment));
    IN_CHILD("envp NULL") syscall(SYS_execve, "./prog", good, NULL);
}

CASE(errors) {
    char *argv[] = {"x", NULL};
    char name[300];
    memset(name, 'n', sizeof name);
    name[299] = 0;
    put_text("plain", "text\n");
    NEED(mkdir("folder", 0755));
    NEED(symlink("loop", "loop"));
    put_script("empty", "");
    put_script("text", "echo no magic\n");
    put_script("nul", "\0\0\0\0");
    CHECK("missing", execve("./missing", argv, no_environment));
    CHECK("empty path", execve("", argv, no_environment));
    CHECK("not executable", execve("./plain", argv, no_environment));
    CHECK("folder", execve("./folder", argv, no_environment));
    CHECK("below a file", execve("./plain/x", argv, no_environment));
    CHECK("loop", execve("./loop", argv, no_environment));
    CHECK("long name", execve(name, argv, no_environment));
    CHECK("empty file", execve("./empty", argv, no_environment));
    CHECK("text", execve("./text", argv, no_environment));
    CHECK("NUL bytes", execve("./nul", argv, no_environment));
    CHECK("device", execve("/dev/null", argv, no_environment));
    CHECK("trailing slash", execve("/bin/true/", argv, no_environment));
}

static void copy_self(const char *path) {
    int in = NEED(open(guest_self, O_RDONLY)), out = NEED(open(path, O_WRONLY | O_CREAT, 0755));
    char block[65536];
    for (ssize_t got; (got = NEED(read(in, block, sizeof block))) > 0;) NEED(write(out, block, got));
    close(in);
    close(out);
}

CASE(text_busy) {
    char *busy[] = {"prog", "@exit", NULL};
    copy_self("copy");
    int out = NEED(open("copy", O_RDWR));
    IN_CHILD("open for writing") CHECK("execve", execve("./copy", busy, no_environment));
    close(out);
    IN_CHILD("closed") execve("./copy", busy, no_environment);
    put_script("script", "#!/bin/sh\nexit 3\n");
    out = NEED(open("script", O_WRONLY | O_APPEND));
    IN_CHILD("script open for writing") CHECK("execve", execve("./script", busy, no_environment));
    close(out);
    unlink("copy");
}

CASE(running_program) {
    int gate[2], ready[2];
    char byte;
    pid_t child;
    NEED(pipe(gate));
    NEED(pipe(ready));
    copy_self("copy");
    START_CHILD(child) {
        dup2(gate[0], 0);
        dup2(ready[1], 3);
        close(gate[1]);
        execl("./copy", "copy", "@wait", NULL);
    }
    close(gate[0]);
    NEED(read(ready[0], &byte, 1));
    CHECK("write to it", open("copy", O_WRONLY));
    CHECK("write to itself", open("/proc/self/exe", O_WRONLY));
    CHECK("truncate it", truncate("copy", 100));
    CHECK("read it", open("copy", O_RDONLY) < 0);
    CHECK("rename it", rename("copy", "renamed"));
    CHECK("remove it", unlink("renamed"));
    close(gate[1]);
    reap("child", child);
}

CASE(scripts) {
    link_self();
    put_script("no_argument", "#!./prog\nrest\n");
    put_script("one_argument", "#!./prog @show\n");
    put_script("many_words", "#! \t ./prog   @show two  words \t \nmore\n");
    put_script("no_newline", "#!./prog @show");
    put_script("missing", "#!/nonexistent\n");
    put_script("nothing", "#!\n");
    put_script("spaces", "#!   \n");
    put_script("folder", "#!/tmp\n");
    put_script("plain_interpreter", "#!./text\n");
    put_text("text", "x\n");
    show_of("one argument", "./one_argument");
    show_of("many words", "./many_words");
    show_of("no newline", "./no_newline");
    show_of("missing", "./missing");
    show_of("nothing", "./nothing");
    show_of("spaces", "./spaces");
    show_of("folder", "./folder");
    show_of("not executable", "./plain_interpreter");
    char *argv[] = {"zero", "first", "second", NULL};
    IN_CHILD("with arguments") execve("./one_argument", argv, no_environment);
    char *none[] = {NULL};
    IN_CHILD("empty argv") execve("./one_argument", none, no_environment);
}

CASE_WITH_PROGRAMS(shell_scripts) {
    char *argv[] = {"zero", "first", "second", NULL};
    put_script("shell", "#!/bin/sh\necho \"$0\" \"$@\" $#\nexit 9\n");
    IN_CHILD("shell") execve("./shell", argv, no_environment);
    put_script("text", "echo no magic\n");
    IN_CHILD("the shell tries text itself") execlp("./text", "text", NULL);
}

CASE(script_line_length) {
    char text[600] = "#!./prog @show ";
    link_self();
    memset(text + strlen(text), 'a', 255 - strlen(text));
    text[255] = '\n';
    put_script("fits", text);
    show_of("line of 255 bytes", "./fits");
    memset(text + 15, 'b', 400);
    text[415] = '\n';
    put_script("long", text);
    show_of("line of 415 bytes", "./long");
    memset(text + 2, 'c', 500);
    put_script("long_name", text);
    show_of("long interpreter name", "./long_name");
}

CASE(nested_scripts) {
    link_self();
    put_script("s1", "#!./prog @show\n");
    for (int i = 2; i <= 7; i++) {
        char name[8], text[32];
        snprintf(name, sizeof name, "s%d", i);
        snprintf(text, sizeof text, "#!./s%d level%d\n", i - 1, i);
        put_script(name, text);
    }
    show_of("2", "./s2");
    show_of("4", "./s4");
    show_of("5", "./s5");
    show_of("6", "./s6");
    show_of("7", "./s7");
}

static void on_signal(int number UNUSED) {}

CASE(state) {
    link_self();
    char *argv[] = {"name-that-is-not-used", "@state", NULL};
    IN_CHILD("child") {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        sigaddset(&set, SIGRTMIN + 3);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGUSR1, on_signal);
        signal(SIGUSR2, on_signal);
        signal(SIGHUP, SIG_IGN);
        signal(SIGCHLD, SIG_IGN);
        raise(SIGUSR2);
        stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
        NEED(sigaltstack(&stack, NULL));
        for (int fd = 3; fd < 64; fd++) close(fd);
        NEED(open("/dev/null", O_RDONLY));
        NEED(open("/dev/null", O_RDONLY | O_CLOEXEC));
        NEED(dup3(0, 20, 0));
        NEED(dup3(0, 21, O_CLOEXEC));
        NEED(fcntl(20, F_DUPFD_CLOEXEC, 30));
        umask(031);
        alarm(50);
        prctl(PR_SET_NAME, "other");
        prctl(PR_SET_DUMPABLE, 0);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        struct rlimit limit = {40, 50};
        setrlimit(RLIMIT_NOFILE, &limit);
        NEED(mkdir("below", 0755));
        NEED(symlink("../prog", "below/a-name-of-more-than-15"));
        NEED(chdir("below"));
        execve("./a-name-of-more-than-15", argv, no_environment);
    }
}

#ifdef __x86_64__
CASE(x86_float_control) {
    char *argv[] = {"name", "@float", NULL};
    IN_CHILD("child") {
        uint32_t mxcsr = 0x5f80;
        uint16_t control = 0x27f;
        __asm__ volatile("ldmxcsr %0; fldcw %1" : : "m"(mxcsr), "m"(control));
        IN_CHILD("fork keeps") show_float_control();
        execve(guest_self, argv, no_environment);
    }
}
#endif

CASE(auxv) {
    link_self();
    char *argv[] = {"other", "@auxv", NULL};
    IN_CHILD("child") execve("./prog", argv, no_environment);
    put_script("script", "#!./prog @auxv\n");
    IN_CHILD("script") execve("./script", argv, no_environment);
}

CASE(random_bytes) {
    char first[16], second[16], *argv[] = {"r", "@random", NULL};
    int ends[2];
    NEED(pipe(ends));
    for (int i = 0; i < 2; i++) IN_CHILD("child") {
        dup2(ends[1], 1);
        execve(guest_self, argv, no_environment);
    }
    NEED(read(ends[0], first, 16));
    NEED(read(ends[0], second, 16));
    BOOL("differ", memcmp(first, second, 16) != 0);
}

CASE(many) {
    char *argv[] = {"x", "@exit", NULL};
    long sum = 0;
    for (int i = 0; i < 20; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            execve(guest_self, argv, no_environment);
            _exit(1);
        }
        NEED(waitpid(child, &status, 0));
        sum += WEXITSTATUS(status);
    }
    say("%ld", sum);
}

CASE_WITH_PROGRAMS(pid_is_kept) {
    char pid[32], text[128];
    IN_CHILD("child") {
        snprintf(text, sizeof text, "test $$ = \"$0\" && exit 5");
        snprintf(pid, sizeof pid, "%d", getpid());
        execl("/bin/sh", pid, "-c", text, pid, NULL);
    }
}

CASE(own_executable) {
    char target[PATH_MAX] = "";
    NEED(readlink("/proc/self/exe", target, sizeof target - 1));
    BOOL("/proc/self/exe", strcmp(target, guest_self) == 0);
    char *argv[] = {"again", "@exit", NULL};
    IN_CHILD("execute it") execve("/proc/self/exe", argv, no_environment);
}

CASE(execveat) {
    char *argv[] = {"name", "@show", NULL};
    link_self();
    int folder = NEED(open(".", O_RDONLY | O_DIRECTORY)), file = NEED(open("prog", O_RDONLY | O_CLOEXEC));
    int path = NEED(open("prog", O_PATH));
    IN_CHILD("relative to a folder") CHECK("execveat", syscall(SYS_execveat, folder, "prog", argv, no_environment, 0));
    IN_CHILD("AT_FDCWD") CHECK("execveat", syscall(SYS_execveat, AT_FDCWD, "prog", argv, no_environment, 0));
    IN_CHILD("empty path") CHECK("execveat", syscall(SYS_execveat, file, "", argv, no_environment, AT_EMPTY_PATH));
    IN_CHILD("O_PATH") CHECK("execveat", syscall(SYS_execveat, path, "", argv, no_environment, AT_EMPTY_PATH));
    CHECK("without AT_EMPTY_PATH", syscall(SYS_execveat, file, "", argv, no_environment, 0));
    CHECK("unknown flag", syscall(SYS_execveat, folder, "prog", argv, no_environment, 1));
    CHECK("nofollow", syscall(SYS_execveat, folder, "prog", argv, no_environment, AT_SYMLINK_NOFOLLOW));
    CHECK("bad fd", syscall(SYS_execveat, 999, "prog", argv, no_environment, 0));
    CHECK("bad fd, empty", syscall(SYS_execveat, 999, "", argv, no_environment, AT_EMPTY_PATH));
    CHECK("not a folder", syscall(SYS_execveat, file, "prog", argv, no_environment, 0));
    CHECK("a folder", syscall(SYS_execveat, folder, "", argv, no_environment, AT_EMPTY_PATH));
}

CASE(in_a_removed_directory) {
    char *argv[] = {"name", "@exit", NULL}, path[PATH_MAX];
    NEED(mkdir("gone", 0755));
    NEED(chdir("gone"));
    NEED(rmdir("../gone"));
    CHECK("getcwd", syscall(SYS_getcwd, path, sizeof path));
    memset(path, 0, sizeof path);
    NEED(readlink("/proc/self/cwd", path, sizeof path - 1));
    say("cwd %s", strrchr(path, '/'));
    IN_CHILD("child") {
        CHECK("execve", execve(guest_self, argv, no_environment));
    }
}

CASE(execute_memory) {
    char *argv[] = {"name", "@exit", NULL}, block[65536];
    int in = NEED(open(guest_self, O_RDONLY)), out = NEED(memfd_create("program", MFD_CLOEXEC));
    for (ssize_t got; (got = NEED(read(in, block, sizeof block))) > 0;) NEED(write(out, block, got));
    IN_CHILD("open for writing") CHECK("fexecve", fexecve(out, argv, no_environment));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", out);
    int again = NEED(open(path, O_RDONLY | O_CLOEXEC));
    close(out);
    IN_CHILD("memfd") CHECK("fexecve", fexecve(again, argv, no_environment));
}

CASE(script_by_descriptor) {
    link_self();
    put_script("script", "#!./prog @show\n");
    char *argv[] = {"name", NULL};
    close(10);
    int fd = NEED(open("script", O_RDONLY)), closing = NEED(open("script", O_RDONLY | O_CLOEXEC));
    NEED(dup2(fd, 10));
    IN_CHILD("kept open") CHECK("execveat", syscall(SYS_execveat, 10, "", argv, no_environment, AT_EMPTY_PATH));
    CHECK("closed on exec", syscall(SYS_execveat, closing, "", argv, no_environment, AT_EMPTY_PATH));
    close(10);
}

CASE_WITH_PROGRAMS(posix_timers_are_deleted) {
    char *argv[] = {"sh", "-c", "sleep 0.1; exit 6", NULL};
    IN_CHILD("child") {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
        struct itimerspec when = {.it_value = {0, 20000000}};
        timer_t timer;
        NEED(timer_create(CLOCK_MONOTONIC, &event, &timer));
        NEED(timer_settime(timer, 0, &when, NULL));
        execve("/bin/sh", argv, no_environment);
    }
    IN_CHILD("alarm is kept") {
        struct { struct timeval interval, value; } soon = {{0, 0}, {0, 20000}};
        NEED(syscall(SYS_setitimer, 0, &soon, NULL));
        execve("/bin/sh", argv, no_environment);
    }
}
