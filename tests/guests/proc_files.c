/* /proc/PID: the form of its files, of this process and as others ask for them. */
#include "guest.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/prctl.h>

static char text[1 << 20];

static ssize_t content(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    ssize_t got = 0, part;
    while ((part = read(fd, text + got, sizeof text - 1 - got)) > 0) got += part;
    int error = errno;
    close(fd);
    text[got] = 0;
    errno = error;
    return part < 0 ? -1 : got;
}

static const char *of(pid_t pid, const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return path;
}

static void say_line(const char *start) {
    size_t length = strlen(start);
    for (char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (!strncmp(line, start, length)) {
            say("%.*s", (int)strcspn(line, "\n"), line);
            return;
        }
    say("no line %s", start);
}

static void say_mode(const char *path) {
    struct stat status;
    NEED(lstat(path, &status));
    /* the size of fd is the number of descriptors since Linux 6.2 */
    say("%s: %o, size %ld", strrchr(path, '/') + 1, status.st_mode, S_ISDIR(status.st_mode) ? 0 : (long)status.st_size);
}

static int fields(const char *line) {
    int count = 0;
    for (const char *at = line; *at && *at != '\n'; at++)
        if (*at != ' ' && (at == line || at[-1] == ' ')) count++;
    return count;
}

CASE(modes) {
    const char *files[] = {
        "auxv", "cgroup", "cmdline", "comm", "coredump_filter", "environ", "fd", "fdinfo", "gid_map", "io", "limits",
        "loginuid", "maps", "mem", "mountinfo", "mounts", "mountstats", "ns", "oom_adj", "oom_score", "oom_score_adj",
        "pagemap", "personality", "root", "sched", "schedstat", "setgroups", "smaps", "smaps_rollup", "stack", "stat",
        "statm", "status", "syscall", "task", "timers", "timerslack_ns", "uid_map", "wchan", "exe", "cwd", "fd/0",
    };
    for (size_t i = 0; i < LENGTH(files); i++) say_mode(of(getpid(), files[i]));
    say_mode("/proc/self");
    CHECK("no such", access("/proc/self/nothing", F_OK));
    CHECK("leading zero", access("/proc/self/fd/00", F_OK));
}

CASE(status_lines) {
    const char *names[] = {
        "Name", "Umask", "State", "Tgid", "Ngid", "Pid", "PPid", "TracerPid", "Uid", "Gid", "FDSize", "Groups", "NStgid",
        "NSpid", "NSpgid", "NSsid", "VmPeak", "VmSize", "VmLck", "VmPin", "VmHWM", "VmRSS", "RssAnon", "RssFile",
        "RssShmem", "VmData", "VmStk", "VmExe", "VmLib", "VmPTE", "VmSwap", "HugetlbPages", "CoreDumping", "THP_enabled",
        "Threads", "SigQ", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd",
        "CapAmb", "NoNewPrivs", "Seccomp", "Cpus_allowed_list", "Mems_allowed_list", "voluntary_ctxt_switches",
        "nonvoluntary_ctxt_switches",
    };
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    NEED(sigprocmask(SIG_BLOCK, &set, NULL));
    NEED(raise(SIGUSR1));
    NEED(signal(SIGUSR2, SIG_IGN) == SIG_ERR ? -1 : 0);
    NEED(content("/proc/self/status"));
    char *at = text;
    for (size_t i = 0; i < LENGTH(names); i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "%s:\t", names[i]);
        char *found = strstr(at, wanted);
        if (!found) say("%s is not behind the line before it", names[i]);
        else at = found;
    }
    const char *shown[] = {"Umask", "State", "TracerPid", "ShdPnd", "SigBlk", "SigIgn", "Threads"};
    for (size_t i = 0; i < LENGTH(shown); i++) say_line(shown[i]);
    NEED(content("/proc/self/stat"));
    say("stat: %d fields behind the name", fields(strrchr(text, ')') + 2));
    NEED(content("/proc/self/statm"));
    say("statm: %d fields", fields(text));
    long total, resident, shared;
    sscanf(text, "%ld %ld %ld", &total, &resident, &shared);
    BOOL("some is resident", resident > 10 && resident < total && shared <= resident);
}

CASE(resident_memory_grows) {
    long total, before, after, size = 8 << 20;
    NEED(content("/proc/self/statm"));
    sscanf(text, "%ld %ld", &total, &before);
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(content("/proc/self/statm"));
    sscanf(text, "%ld %ld", &total, &after);
    BOOL("not before it is touched", after - before < 100);
    memset(memory, 1, size);
    NEED(content("/proc/self/statm"));
    sscanf(text, "%ld %ld", &total, &after);
    BOOL("then by its size", after - before >= size / 4096 && after - before < size / 4096 + 100);
    NEED(madvise(memory, size, MADV_DONTNEED));
    NEED(content("/proc/self/statm"));
    sscanf(text, "%ld %ld", &total, &after);
    BOOL("until it is given back", after - before < 100);
}

CASE(smaps_form) {
    NEED(content("/proc/self/smaps"));
    *strstr(text, "VmFlags") = 0;
    for (char *line = text; *line; line = strchr(line, '\n') + 1) {
        const char *names[] = {
            "Size", "KernelPageSize", "MMUPageSize", "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty",
            "Private_Clean", "Private_Dirty", "Referenced", "Anonymous", "LazyFree", "AnonHugePages", "ShmemPmdMapped",
            "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss", "Locked",
        };
        for (size_t i = 0; i < LENGTH(names); i++) {
            size_t length = strlen(names[i]);
            if (strncmp(line, names[i], length) || line[length] != ':') continue;
            say("%s in %zu columns, unit%s", names[i], strcspn(line, "\n"), strstr(line, " kB\n") ? " kB" : "?");
        }
    }
    NEED(content("/proc/self/smaps_rollup"));
    BOOL("rollup", strstr(text, "[rollup]\nRss:  ") && strstr(text, "Pss_Anon: ") && strstr(text, "Locked: "));
}

CASE(own_memory) {
    static volatile int value = 4711;
    int fd = NEED(open("/proc/self/mem", O_RDWR)), got = 0;
    CHECK("read", pread(fd, &got, sizeof got, (off_t)(uintptr_t)&value));
    say("%d", got);
    got = 42;
    CHECK("write", pwrite(fd, &got, sizeof got, (off_t)(uintptr_t)&value));
    say("%d", value);
    CHECK("nothing is there", pread(fd, &got, sizeof got, 4096));
    NEED(lseek(fd, (off_t)(uintptr_t)&value, SEEK_SET));
    CHECK("at the position", read(fd, &got, sizeof got));
    close(fd);
    char *pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pages[PAGE] = 1;
    fd = NEED(open("/proc/self/pagemap", O_RDONLY));
    uint64_t entries[3];
    CHECK("pagemap", pread(fd, entries, sizeof entries, (off_t)((uintptr_t)pages / PAGE * 8)));
    for (int i = 0; i < 3; i++) say("present %d, of a file %d", (int)(entries[i] >> 63), (int)(entries[i] >> 61 & 1));
    CHECK("odd offset", pread(fd, entries, 8, 4));
    CHECK("odd size", pread(fd, entries, 4, 8));
    close(fd);
}

CASE(inode_numbers) {
    const char *folders[] = {"/proc/self", "/proc/self/task", "/proc/self/fd", "/proc/sys/kernel", "/proc"};
    for (size_t i = 0; i < LENGTH(folders); i++) {
        DIR *folder = opendir(folders[i]);
        int same = 0, other = 0;
        for (struct dirent *entry; (entry = readdir(folder));) {
            struct stat status;
            if (!strcmp(entry->d_name, "..")) continue;
            if (fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW)) continue;
            if (status.st_ino == entry->d_ino) same++;
            else other++;
            if (entry->d_type != DT_UNKNOWN && entry->d_type != status.st_mode >> 12) say("type of %s", entry->d_name);
        }
        closedir(folder);
        BOOL(folders[i], same && !other);
    }
}

CASE(oom_and_comm) {
    int fd = NEED(open("/proc/self/oom_score_adj", O_RDWR));
    CHECK("set", write(fd, "300", 3));
    CHECK("too large", write(fd, "1001", 4));
    CHECK("no number", write(fd, "many", 4));
    close(fd);
    NEED(content("/proc/self/oom_score_adj"));
    say("%s", text);
    IN_CHILD("inherits it") {
        NEED(content("/proc/self/oom_score_adj"));
        say("%s", text);
    }
    fd = NEED(open("/proc/self/comm", O_RDWR));
    CHECK("comm", write(fd, "a name that is too long\n", 24));
    close(fd);
    char name[16];
    NEED(prctl(PR_GET_NAME, name));
    say("%s", name);
    fd = NEED(open("/proc/self/timerslack_ns", O_RDWR));
    CHECK("slack", write(fd, "70000", 5));
    close(fd);
    say("%d", prctl(PR_GET_TIMERSLACK));
    CHECK("stat", open("/proc/self/stat", O_WRONLY | O_CREAT | O_EXCL, 0600));
}

/* What others see of a process that sleeps, or runs. */
static void look(pid_t child) {
    NEED(content(of(child, "environ")));
    BOOL("its environment", !strcmp(text, "PATH=/usr/local/bin:/usr/bin:/bin") || strchr(text, '='));
    BOOL("maps", content(of(child, "maps")) > 300 && strstr(text, "[stack]") && strstr(text, "[heap]"));
    ssize_t size = content(of(child, "maps"));
    BOOL("as often as one likes", content(of(child, "maps")) == size);
    BOOL("smaps", content(of(child, "smaps")) > 3000 && strstr(text, "VmFlags: rd"));
    NEED(content(of(child, "status")));
    const char *lines[] = {"Name", "SigBlk", "SigIgn", "SigCgt", "Threads", "NoNewPrivs", "Groups"};
    for (size_t i = 1; i < LENGTH(lines) - 1; i++) say_line(lines[i]);
    BOOL("auxv", content(of(child, "auxv")) > 100);
    BOOL("limits", content(of(child, "limits")) > 500);
    say_line("Max open files");
    NEED(content(of(child, "fdinfo/9")));
    say_line("pos:");
    say_line("flags:");
    NEED(content(of(child, "personality")));
    say("%.8s", text);
}

static void prepare(void) {
    struct rlimit { unsigned long soft, hard; } limits = {77, 77};
    NEED(syscall(SYS_prlimit64, 0, 7, &limits, NULL));
    int fd = NEED(open("/dev/zero", O_RDWR | O_APPEND));
    NEED(dup2(fd, 9));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    NEED(sigprocmask(SIG_BLOCK, &set, NULL));
    NEED(signal(SIGUSR2, SIG_IGN) == SIG_ERR ? -1 : 0);
    free(malloc(1));
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void write_login(const char *value) {
    int fd = open("/proc/self/loginuid", O_WRONLY);
    CHECK(value, write(fd, value, strlen(value)));
    close(fd);
    NEED(content("/proc/self/loginuid"));
    say("%s", text);
}

CASE(login) {
    NEED(content("/proc/self/loginuid"));
    if (strcmp(text, "4294967295")) return; /* who started the tests has logged in */
    static const char *const refused[] = {"", "x", "5x", " 5", "-1", "4294967296", "0x5"};
    for (size_t i = 0; i < LENGTH(refused); i++) write_login(refused[i]);
    pid_t child = NEED(fork());
    if (!child) {
        write_login("5\n");
        pid_t inner = NEED(fork());
        if (!inner) {
            NEED(content("/proc/self/loginuid"));
            say("inherited %s", text);
            NEED(content("/proc/self/sessionid"));
            BOOL("a session", strcmp(text, "4294967295"));
            _exit(0);
        }
        NEED(waitpid(inner, NULL, 0));
        NEED(content(of(getppid(), "loginuid")));
        say("parent %s", text);
        _exit(0);
    }
    NEED(waitpid(child, NULL, 0));
}

CASE(of_a_sleeping_child) {
    pid_t child;
    START_CHILD(child) {
        prepare();
        for (;;) pause();
    }
    sleep_ms(300);
    look(child);
    NEED(content(of(child, "syscall")));
    long number = -1;
    sscanf(text, "%ld", &number);
    BOOL("in pause(2)", number == 34 || number == 73);
    NEED(kill(child, SIGKILL));
    reap("child", child);
    CHECK("gone", open(of(child, "maps"), O_RDONLY));
}

CASE(of_a_running_child) {
    pid_t child;
    START_CHILD(child) {
        prepare();
        for (volatile long count = 0;; count++) {}
    }
    sleep_ms(300);
    look(child);
    NEED(content(of(child, "syscall")));
    say("%.7s", text);
    NEED(kill(child, SIGKILL));
    reap("child", child);
}

CASE(each_other) {
    int ends[2][2];
    pid_t children[2];
    NEED(pipe(ends[0]));
    NEED(pipe(ends[1]));
    for (int i = 0; i < 2; i++)
        START_CHILD(children[i]) {
            pid_t other;
            if (read(ends[i][0], &other, sizeof other) != sizeof other) _exit(1);
            for (int round = 0; round < 20; round++)
                if (content(of(other, "maps")) < 300) _exit(2);
            write(ends[1 - i][1], &other, sizeof other);
            read(ends[i][0], &other, sizeof other);
        }
    for (int i = 0; i < 2; i++) NEED(write(ends[i][1], &children[1 - i], sizeof(pid_t)));
    for (int i = 0; i < 2; i++) reap("child", children[i]);
}

static void *named(void *name) {
    prctl(PR_SET_NAME, name);
    for (;;) pause();
    return NULL;
}

static void look_at_threads(pid_t process) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task", process);
    DIR *folder = opendir(path);
    int count = 0, named_so = 0, own = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        int tid = atoi(entry->d_name), shown = 0, group = 0;
        if (!tid) continue;
        count++;
        snprintf(path, sizeof path, "/proc/%d/task/%d/comm", process, tid);
        NEED(content(path));
        if (!strncmp(text, "worker ", 7)) named_so++;
        snprintf(path, sizeof path, "/proc/%d/task/%d/status", process, tid);
        NEED(content(path));
        sscanf(strstr(text, "\nPid:"), "\nPid: %d", &shown);
        sscanf(strstr(text, "\nTgid:"), "\nTgid: %d", &group);
        snprintf(path, sizeof path, "/proc/%d/task/%d/stat", process, tid);
        NEED(content(path));
        if (shown == tid && group == process && atoi(text) == tid) own++;
    }
    closedir(folder);
    say("threads %d, with a name of their own %d, with their own number %d", count, named_so, own);
    NEED(content(of(process, "status")));
    say_line("Threads");
    CHECK("no thread", access(of(process, "task/1"), F_OK));
}

CASE(threads) {
    pid_t child;
    START_CHILD(child) {
        pthread_t thread;
        NEED(-pthread_create(&thread, NULL, named, "worker 1"));
        NEED(-pthread_create(&thread, NULL, named, "worker 2"));
        sleep_ms(300);
        look_at_threads(getpid());
        for (;;) pause();
    }
    sleep_ms(1200);
    look_at_threads(child);
    NEED(kill(child, SIGKILL));
    reap("child", child);
}

CASE(descriptors_of_others) {
    pid_t child;
    int ends[2];
    NEED(pipe(ends));
    put_text("file", "content");
    START_CHILD(child) {
        int fd = NEED(open("file", O_RDONLY));
        NEED(dup2(fd, 20));
        NEED(dup2(ends[1], 21));
        NEED(unlink("file"));
        for (;;) pause();
    }
    sleep_ms(300);
    int fd = NEED(open(of(child, "fd/20"), O_RDONLY));
    char buffer[8] = {0};
    CHECK("an unlinked file", read(fd, buffer, 7));
    say("%s", buffer);
    fd = NEED(open(of(child, "fd/21"), O_WRONLY));
    CHECK("into its pipe", write(fd, "word", 4));
    CHECK("out of it", read(ends[0], buffer, 4));
    struct stat status;
    NEED(stat(of(child, "fd/21"), &status));
    say("%o", status.st_mode & S_IFMT);
    say_mode(of(child, "fd/21"));
    CHECK("none", open(of(child, "fd/22"), O_RDONLY));
    NEED(kill(child, SIGKILL));
    reap("child", child);
}

CASE(namespaces) {
    const char *names[] = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"};
    for (size_t i = 0; i < LENGTH(names); i++) {
        char path[64], target[64] = {0}, wanted[64];
        struct stat status;
        snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
        NEED(readlink(path, target, sizeof target - 1));
        NEED(stat(path, &status));
        snprintf(wanted, sizeof wanted, "%s:[%lu]", names[i], (unsigned long)status.st_ino);
        BOOL(names[i], !strcmp(target, wanted));
    }
}

CASE(timers) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 0x55};
    NEED(timer_create(CLOCK_MONOTONIC, &event, &timer));
    NEED(content("/proc/self/timers"));
    char *pid = strstr(text, "/pid.");
    say("%.*s", (int)(pid - text), text);
    say_line("ClockID");
}

/* A long read takes whole records, and no more than a page. */
static void reads_of(const char *path, int size) {
    static char data[1 << 16];
    int fd = NEED(open(path, O_RDONLY)), count, full = 0, broken = 0, longest = 0, records = 0;
    while ((count = NEED(read(fd, data, size))) > 0) {
        full += count == size;
        broken += data[count - 1] != '\n';
        if (count > longest) longest = count;
        records++;
    }
    close(fd);
    say("%s by %d:%s%s%s%s", path, size, full ? " full" : "", broken ? " broken" : "", longest > 4096 ? " long" : "",
        records > 1 ? " several" : "");
}

CASE(reads_take_whole_records) {
    for (int i = 0; i < 100; i++)
        NEED(mmap(NULL, PAGE, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    reads_of("/proc/self/maps", 4096);
    reads_of("/proc/self/maps", 30000);
    reads_of("/proc/self/maps", 100);
    reads_of("/proc/self/smaps", 4096);
    reads_of("/proc/self/smaps", 5000);
    reads_of("/proc/self/smaps", 64000);
}
