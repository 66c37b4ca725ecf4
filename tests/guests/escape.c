/*
 * Attempts to leave the root: `escape OUTSIDE VICTIM PTS`, for a guest of `noah run --root DIR`.
 *
 * OUTSIDE is the host's path of a folder beside DIR, VICTIM a process and PTS a terminal of the host. The guest's
 * descriptor 1 is a file open for writing only, a process behind /giver sends a folder and a file of OUTSIDE, /inside is bound to DIR/shared/inside, and /ro
 * read-only to another folder of the host. siege.py prepares all of it, and looks at what was changed.
 *
 * Each attempt says "NAME: kept" or "NAME: ESCAPED".
 */
#include <dirent.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>

#define main unused_main /* guest.h brings the tools; this program has no cases */
#include "guest.h"
#undef main

#define SECRET "secret of the host"
#define RACE_NS INT64_C(1500000000)

static const char *outside;
static pid_t victim;
static int terminal;

static void verdict(const char *name, bool escaped) { say("%s: %s", name, escaped ? "ESCAPED" : "kept"); }

static void attempt(long result UNUSED) {} /* whether it succeeds is seen elsewhere */

static bool has_secret(int fd) {
    char text[256] = "";
    if (fd < 0) return false;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    return n > 0 && strstr(text, SECRET);
}

/* Whether that name leads to the secret; the descriptor is closed. */
static bool leaks(int dirfd, const char *path) {
    int fd = openat(dirfd, path, O_RDONLY | O_NONBLOCK);
    bool found = has_secret(fd);
    if (fd >= 0) close(fd);
    return found;
}

static const char *format(const char *pattern, ...) {
    static char text[4][PATH_MAX];
    static int next;
    char *line = text[next++ % 4];
    va_list arguments;
    va_start(arguments, pattern);
    vsnprintf(line, PATH_MAX, pattern, arguments);
    va_end(arguments);
    return line;
}

/* Several ways to a folder `top` from which ../OUTSIDE might be reached. */
static bool leaks_from(int dirfd) {
    static const char *const ways[] = {
        "secret", "outside/secret", "../outside/secret", "../../outside/secret", "../../../outside/secret",
        "../../../../outside/secret", "../../../../../../../../../../../../outside/secret", "./.././../outside/secret",
    };
    for (size_t i = 0; i < LENGTH(ways); i++)
        if (leaks(dirfd, ways[i])) return true;
    if (leaks(dirfd, format("%s/secret", outside + 1))) return true;
    return leaks(dirfd, format("../../../../../../../..%s/secret", outside));
}

/* ---- paths and links ------------------------------------------------------------------------------------------------- */

static void links(void) {
    bool escaped = false;
    NEED(symlink(outside, "absolute"));
    NEED(symlink("../../../../../../../outside", "relative"));
    NEED(symlink("/proc/self/root/..", "magic"));
    NEED(symlink(format("%s/secret", outside), "file"));
    escaped |= leaks(AT_FDCWD, "absolute/secret") | leaks(AT_FDCWD, "relative/secret") | leaks(AT_FDCWD, "file");
    escaped |= leaks(AT_FDCWD, "magic/outside/secret") | leaks(AT_FDCWD, format("%s/secret", outside));
    escaped |= leaks_from(AT_FDCWD);
    verdict("symbolic links", escaped);
    escaped = false;
    escaped |= open("file", O_WRONLY | O_TRUNC) >= 0;
    escaped |= truncate("file", 0) == 0 || chmod("file", 0777) == 0 || chown("file", 1, 1) == 0;
    escaped |= setxattr("file", "user.x", "y", 1, 0) == 0;
    escaped |= linkat(AT_FDCWD, "file", AT_FDCWD, "hard2", AT_SYMLINK_FOLLOW) == 0;
    escaped |= mkdir("absolute/new", 0755) == 0 || rename("absolute/secret", "stolen") == 0;
    escaped |= unlink("relative/secret") == 0 || symlink("x", "absolute/link") == 0;
    verdict("changes through symbolic links", escaped);
    static const char *const ups[] = {"/..", "/../", "/../.", "/proc/../..", "/dev/../..", "/dev/pts/../../..", "/sys/../.."};
    struct stat root, up;
    NEED(stat("/", &root));
    escaped = false;
    for (size_t i = 0; i < LENGTH(ups); i++)
        escaped |= stat(ups[i], &up) == 0 && (up.st_ino != root.st_ino || up.st_dev != root.st_dev);
    escaped |= mkdir("/../made", 0755) == 0 && access("/made", F_OK) != 0;
    rmdir("/made");
    escaped |= rmdir("/..") == 0 || rename("/..", "/x") == 0 || rename("/x", "/..") == 0;
    verdict("above the root", escaped);
}

static void proc_links(void) {
    static const char *const who[] = {"self", "thread-self", "1", "victim", "parent"};
    static const char *const what[] = {"root", "cwd", "exe", "fd/0", "fd/1", "fd/2", "fd/3", "fd/4", "fd/5", "fd/6", "fd/7"};
    bool escaped = false;
    for (size_t i = 0; i < LENGTH(who); i++) {
        const char *name = i == 3 ? format("%d", victim) : i == 4 ? format("%d", getppid()) : who[i];
        for (size_t k = 0; k < LENGTH(what); k++) {
            int fd = open(format("/proc/%s/%s", name, what[k]), O_PATH | O_DIRECTORY);
            if (fd >= 0) {
                if (leaks_from(fd)) say("%s/%s leads outside", name, what[k]), escaped = true;
                close(fd);
            }
            escaped |= leaks(AT_FDCWD, format("/proc/%s/%s/../outside/secret", name, what[k]));
        }
    }
    verdict("links in /proc", escaped);
    static const char *const files[] = {"mem", "environ", "maps", "auxv", "cmdline", "pagemap", "syscall", "stack"};
    escaped = false;
    for (size_t i = 0; i < LENGTH(files); i++)
        escaped |= open(format("/proc/%d/%s", victim, files[i]), O_RDONLY) >= 0;
    escaped |= access(format("/proc/%d", victim), F_OK) == 0 || access("/proc/kcore", F_OK) == 0;
    escaped |= open("/proc/sysrq-trigger", O_WRONLY) >= 0 || access("/proc/kmsg", R_OK) == 0;
    verdict("processes of the host in /proc", escaped);
    int fd = open("/proc/sys/kernel/core_pattern", O_WRONLY);
    verdict("writing to /proc/sys", fd >= 0 && write(fd, "|/tmp/x", 7) == 7);
    fd = open("/sys/kernel/uevent_helper", O_WRONLY);
    verdict("writing to /sys", fd >= 0 && write(fd, "/tmp/x", 6) == 6);
}

static void start_elsewhere(void) {
    bool escaped = false;
    int top = NEED(open("/", O_RDONLY | O_DIRECTORY)), here = NEED(open(".", O_PATH | O_DIRECTORY));
    escaped |= leaks_from(top) | leaks_from(here);
    NEED(fchdir(here));
    escaped |= leaks_from(AT_FDCWD);
    if (getuid() == 0) {
        IN_CHILD("chroot") {
            NEED(mkdir("jail", 0755));
            NEED(chroot("jail"));
            bool out = leaks_from(top) | leaks_from(here) | leaks_from(AT_FDCWD);
            for (int i = 0; i < 40; i++) attempt(chdir(".."));
            out |= leaks_from(AT_FDCWD);
            NEED(fchdir(top));
            for (int i = 0; i < 40; i++) attempt(chdir(".."));
            out |= leaks_from(AT_FDCWD);
            NEED(chroot("."));
            out |= leaks_from(AT_FDCWD) | leaks(AT_FDCWD, "/../outside/secret");
            _exit(out);
        }
    }
    verdict("directory descriptors and chroot", escaped);
}

/* A directory that another process moves out of the bound one while this one is in it. */
static void bound_directories(void) {
    bool escaped = false;
    NEED(mkdir("/shared/inside/deep", 0755)); /* /inside is /shared/inside */
    NEED(chdir("/inside/deep"));
    NEED(rename("/shared/inside/deep", "/shared/deep"));
    escaped |= leaks_from(AT_FDCWD);
    for (int i = 0; i < 10; i++) attempt(chdir(".."));
    escaped |= leaks_from(AT_FDCWD);
    NEED(chdir("/"));
    verdict("a directory moved out of a bind", escaped);
}

static void races(void) {
    bool escaped = false;
    pid_t mover;
    NEED(mkdir("x", 0755));
    NEED(mkdir("x/a", 0755));
    NEED(mkdir("x/a/b", 0755));
    NEED(mkdir("x/a/b/c", 0755));
    put_text("x/plain", "plain");
    NEED(symlink(format("%s/secret", outside), "x/trap"));
    NEED(symlink(outside, "x/trapdir"));
    NEED(mkdir("x/real", 0755));
    put_text("x/real/secret", "harmless");
    NEED(chmod("x/real", 0777));
    START_CHILD(mover) {
        for (;;) {
            rename("x/a/b/c", "x/c"), rename("x/c", "x/a/b/c");
            syscall(SYS_renameat2, AT_FDCWD, "x/plain", AT_FDCWD, "x/trap", RENAME_EXCHANGE);
            syscall(SYS_renameat2, AT_FDCWD, "x/real", AT_FDCWD, "x/trapdir", RENAME_EXCHANGE);
        }
    }
    for (int64_t end = now_ns(CLOCK_MONOTONIC) + RACE_NS; now_ns(CLOCK_MONOTONIC) < end;) {
        escaped |= leaks(AT_FDCWD, "x/a/b/c/../../../../../../outside/secret");
        escaped |= leaks(AT_FDCWD, "x/a/b/c/../../../../../../../outside/secret");
        escaped |= leaks(AT_FDCWD, "x/real/secret") | leaks(AT_FDCWD, "x/plain");
        escaped |= leaks(AT_FDCWD, "x/trapdir/secret");
        int fd = open("x/plain", O_WRONLY | O_TRUNC | O_NOFOLLOW);
        if (fd >= 0) close(fd);
        chmod("x/plain", 0640), attempt(chown("x/plain", getuid(), getgid()));
        attempt(truncate("x/plain", 3));
        setxattr("x/plain", "user.x", "y", 1, 0);
        utimensat(AT_FDCWD, "x/plain", NULL, 0);
        fchmodat(AT_FDCWD, "x/real/secret", 0600, 0);
        unlink("x/real/made"), mknod("x/real/made", S_IFREG | 0600, 0);
        attempt(link("x/plain", "x/real/hard")), unlink("x/real/hard");
    }
    NEED(kill(mover, SIGKILL));
    waitpid(mover, NULL, 0);
    verdict("races", escaped);
}

/* ---- descriptors ------------------------------------------------------------------------------------------------------ */

static void descriptors(void) {
    bool escaped = false;
    for (int fd = 3; fd < 1024; fd++) escaped |= fcntl(fd, F_GETFD) != -1;
    DIR *list = opendir("/proc/self/fd");
    if (!list) _exit(96);
    for (struct dirent *entry; (entry = readdir(list));)
        escaped |= entry->d_name[0] != '.' && atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(list);
    closedir(list);
    verdict("descriptors of Noah", escaped);
    escaped = false;
    for (int fd = 0; fd < 1024; fd++) escaped |= ioctl(fd, 0xae00 /* KVM_GET_API_VERSION */, 0) == 12;
    verdict("the engine's descriptors", escaped);
    syscall(SYS_close_range, 3, ~0U, 0);
    for (int fd = 3; fd < 1000; fd++) dup2(0, fd);
    syscall(SYS_close_range, 3, ~0U, 0);
    verdict("closing what Noah needs", access("/", F_OK) != 0);
}

static int received(int from) {
    int got = -1;
    char byte, control[CMSG_SPACE(sizeof(int))] = "";
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (NEED(recvmsg(from, &message, 0)) != 1 || !CMSG_FIRSTHDR(&message)) _exit(95);
    memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
    return got;
}

static int sent_to_self(int fd) {
    int ends[2];
    char byte = 'x', control[CMSG_SPACE(sizeof(int))] = "";
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    NEED(sendmsg(ends[0], &message, 0));
    int got = received(ends[1]);
    close(ends[0]), close(ends[1]);
    return got;
}

/* The file next to the secret may be read, and the folder listed: they were given. Nothing else follows from that. */
static void received_descriptors(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/giver"};
    int giver = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
    NEED(connect(giver, (void *)&address, sizeof address));
    int folder = received(giver), file = received(giver);
    bool escaped = leaks_from(folder) | leaks_from(sent_to_self(folder));
    if (fchdir(folder) == 0) {
        escaped |= leaks_from(AT_FDCWD);
        for (int i = 0; i < 5; i++) attempt(chdir(".."));
        escaped |= leaks_from(AT_FDCWD);
    }
    escaped |= leaks(AT_FDCWD, format("/proc/self/fd/%d/../secret", folder));
    escaped |= leaks(AT_FDCWD, format("/dev/fd/%d/../secret", folder));
    verdict("above a directory that was received", escaped);
    escaped = open(format("/proc/self/fd/%d", file), O_RDWR) >= 0;
    escaped |= open(format("/proc/self/fd/%d", file), O_RDONLY | O_TRUNC) >= 0;
    escaped |= truncate(format("/proc/self/fd/%d", file), 0) == 0 || ftruncate(file, 0) == 0;
    escaped |= mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) != MAP_FAILED;
    verdict("writing to a file received for reading", escaped);
    escaped = leaks_from(sent_to_self(NEED(open("/", O_RDONLY | O_DIRECTORY))));
    verdict("above the root, sent over a socket", escaped);
}

static void read_only(void) {
    bool escaped = false;
    int fd = NEED(open("/ro/file", O_RDONLY)), sent = sent_to_self(fd), flags = FS_NODUMP_FL;
    escaped |= open("/ro/file", O_RDWR) >= 0 || open("/ro/new", O_CREAT | O_WRONLY, 0644) >= 0;
    escaped |= open(format("/proc/self/fd/%d", fd), O_RDWR) >= 0;
    escaped |= open(format("/proc/self/fd/%d", sent), O_RDWR) >= 0;
    escaped |= open(format("/proc/self/fd/%d", sent), O_RDONLY | O_TRUNC) >= 0;
    escaped |= truncate(format("/proc/self/fd/%d", sent), 0) == 0 || truncate("/ro/file", 0) == 0;
    escaped |= fchmod(fd, 0777) == 0 || fchmod(sent, 0777) == 0 || fchown(sent, 1, 1) == 0;
    escaped |= futimens(fd, NULL) == 0 || futimens(sent, NULL) == 0 || fsetxattr(sent, "user.x", "y", 1, 0) == 0;
    escaped |= ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0 || ioctl(sent, FS_IOC_SETFLAGS, &flags) == 0;
    escaped |= mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED;
    char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, sent, 0);
    escaped |= map != MAP_FAILED && mprotect(map, 4096, PROT_READ | PROT_WRITE) == 0;
    escaped |= linkat(AT_FDCWD, "/ro/file", AT_FDCWD, "/tmp/linked", 0) == 0 || rename("/ro/file", "/tmp/moved") == 0;
    escaped |= linkat(sent, "", AT_FDCWD, "/tmp/linked", AT_EMPTY_PATH) == 0;
    escaped |= mount("/ro", "/ro", "", MS_REMOUNT | MS_BIND, NULL) == 0;
    int folder = NEED(open("/ro", O_RDONLY | O_DIRECTORY));
    escaped |= openat(sent_to_self(folder), "new", O_CREAT | O_WRONLY, 0644) >= 0;
    verdict("read-only binds", escaped);
    int log = open("/proc/self/fd/1", O_RDONLY);
    escaped = has_secret(log);
    verdict("reading a file handed in for writing", escaped);
}

/* ---- devices ---------------------------------------------------------------------------------------------------------- */

static void devices(void) {
    static const struct { const char *name; mode_t kind; int major, minor; } nodes[] = {
        {"mem", S_IFCHR, 1, 1}, {"kmem", S_IFCHR, 1, 2}, {"port", S_IFCHR, 1, 4}, {"kmsg", S_IFCHR, 1, 11},
        {"kvm", S_IFCHR, 10, 232}, {"fuse", S_IFCHR, 10, 229}, {"tun", S_IFCHR, 10, 200}, {"loop", S_IFCHR, 10, 237},
        {"console", S_IFCHR, 5, 1}, {"vc", S_IFCHR, 4, 0}, {"pts0", S_IFCHR, 136, 0}, {"vda", S_IFBLK, 254, 0},
        {"vdb", S_IFBLK, 253, 0}, {"sda", S_IFBLK, 8, 0}, {"loop0", S_IFBLK, 7, 0}, {"nvme", S_IFBLK, 259, 0},
    };
    bool escaped = false;
    for (size_t i = 0; i < LENGTH(nodes); i++) {
        if (mknod(nodes[i].name, nodes[i].kind | 0666, makedev(nodes[i].major, nodes[i].minor)) == 0)
            escaped |= open(nodes[i].name, O_RDWR | O_NONBLOCK) >= 0 || open(nodes[i].name, O_RDONLY | O_NONBLOCK) >= 0;
        int fd = open(format("/dev/%s", nodes[i].name), O_RDONLY | O_NONBLOCK);
        if (fd >= 0) escaped = true, say("/dev/%s can be opened", nodes[i].name);
    }
    /* nodes that the root has from somewhere else */
    escaped |= open("/planted-kvm", O_RDWR) >= 0 || open("/planted-mem", O_RDONLY) >= 0;
    verdict("device nodes", escaped);
    escaped = chmod("/dev/null", 0600) == 0 || chown("/dev/null", 1, 1) == 0 || unlink("/dev/null") == 0;
    escaped |= rename("/dev/null", "/dev/x") == 0 || mknod("/dev/y", S_IFCHR, makedev(1, 3)) == 0;
    escaped |= chmod("/dev/pts", 0700) == 0 || chmod("/dev/pts/ptmx", 0) == 0 || chown("/dev/pts", 1, 1) == 0;
    escaped |= fchmod(0, 0600) == 0 || fchown(0, 1, 1) == 0 || chmod("/proc/self/fd/0", 0) == 0; /* the host's /dev/null */
    escaped |= futimens(0, NULL) == 0 || utimensat(AT_FDCWD, "/dev/pts", NULL, 0) == 0;
    verdict("changing /dev", escaped);
    verdict("files of the host in /dev/shm", leaks(AT_FDCWD, "/dev/shm/noah-test-secret"));
    int fd = open(format("/dev/pts/%d", terminal), O_RDWR | O_NOCTTY | O_NONBLOCK);
    verdict("a terminal of the host", fd >= 0);
    int master = NEED(posix_openpt(O_RDWR | O_NOCTTY));
    NEED(unlockpt(master));
    int slave = NEED(open(ptsname(master), O_RDWR | O_NOCTTY)); /* the guest's own are to work */
    char key = 'x', shift[2] = {3, 0};
    escaped = fchmod(slave, 0600) || close(NEED(open(ptsname(master), O_RDWR | O_NOCTTY)));
    verdict("a terminal of its own after it was changed", escaped);
    escaped = ioctl(slave, TIOCSTI, &key) == 0 || ioctl(slave, TIOCLINUX, shift) == 0 || ioctl(slave, TIOCCONS, 0) == 0;
    verdict("typing into a terminal", escaped);
    escaped = false;
    for (unsigned long request = 0; request < 0x10000; request += 1 + request % 7) {
        char argument[64] = "";
        int device = request & 1 ? slave : 0;
        unsigned type = request >> 8;
        if (type == 0x54 || type == 0x89) continue; /* terminals and sockets have theirs tested elsewhere */
        if (ioctl(device, request, argument) == 0 && type != 0x12 && type != 'f' && type != 'X' && type != 'v') {
            say("ioctl %#lx succeeds", request);
            escaped = true;
        }
    }
    verdict("unknown ioctls", escaped);
}

/* ---- other processes, the system -------------------------------------------------------------------------------------- */

#define REFUSED(what, expression) \
    do { if ((long)(expression) != -1) say("%s is not refused", what), escaped = true; } while (0)

static void processes(void) {
    bool escaped = false;
    char buffer[64];
    struct iovec local = {buffer, sizeof buffer}, remote = {(void *)0x400000, sizeof buffer};
    struct rlimit limit = {0, 0};
    siginfo_t info = {.si_code = SI_QUEUE};
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    REFUSED("kill", kill(victim, SIGKILL));
    REFUSED("kill 0", kill(victim, 0));
    REFUSED("tkill", syscall(SYS_tkill, victim, SIGKILL));
    REFUSED("tgkill", syscall(SYS_tgkill, victim, victim, SIGKILL));
    REFUSED("rt_sigqueueinfo", syscall(SYS_rt_sigqueueinfo, victim, SIGKILL, &info));
    REFUSED("kill the group", kill(-victim, SIGKILL));
    kill(1, SIGTERM); /* not refused: process 1 is Noah's. contain.py tells whether it has reached the host's */
    REFUSED("pidfd_open", syscall(SYS_pidfd_open, victim, 0));
    REFUSED("pidfd_open init", syscall(SYS_pidfd_open, 1, 0));
    REFUSED("ptrace attach", ptrace(PTRACE_ATTACH, victim, NULL, NULL));
    REFUSED("ptrace seize", ptrace(PTRACE_SEIZE, victim, NULL, NULL));
    REFUSED("process_vm_readv", process_vm_readv(victim, &local, 1, &remote, 1, 0));
    REFUSED("process_vm_writev", process_vm_writev(victim, &local, 1, &remote, 1, 0));
    REFUSED("prlimit", prlimit(victim, RLIMIT_NOFILE, &limit, NULL));
    REFUSED("setpriority", setpriority(PRIO_PROCESS, victim, 19));
    REFUSED("sched_setaffinity", sched_setaffinity(victim, sizeof cpus, &cpus));
    REFUSED("sched_getaffinity", sched_getaffinity(victim, sizeof cpus, &cpus));
    REFUSED("setpgid", setpgid(victim, 0));
    REFUSED("getpgid", getpgid(victim));
    REFUSED("getsid", getsid(victim));
    REFUSED("kcmp", syscall(SYS_kcmp, getpid(), victim, 0, 0, 0));
    REFUSED("migrate_pages", syscall(SYS_migrate_pages, victim, 0, NULL, NULL));
    REFUSED("move_pages", syscall(SYS_move_pages, victim, 0UL, NULL, NULL, NULL, 0));
    REFUSED("get_robust_list", syscall(SYS_get_robust_list, victim, buffer, buffer + 8));
    REFUSED("F_SETOWN", fcntl(1, F_SETOWN, victim));
    kill(-1, SIGCONT); /* everybody: of the box only */
    kill(0, SIGURG);
    verdict("processes of the host", escaped);
}

static void system_calls(void) {
    bool escaped = false;
    struct { struct file_handle head; char bytes[128]; } handle = {.head.handle_bytes = 128};
    int mount_id, flags[] = {CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWUTS, CLONE_NEWIPC};
    struct timespec then = {1, 0};
    REFUSED("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
    REFUSED("mount proc", mount("proc", "/tmp", "proc", 0, NULL));
    REFUSED("bind", mount("/", "/tmp", NULL, MS_BIND, NULL));
    REFUSED("umount", umount2("/proc", MNT_DETACH));
    REFUSED("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
    REFUSED("open_tree", syscall(428, AT_FDCWD, "/", 1));
    REFUSED("move_mount", syscall(429, AT_FDCWD, "/", AT_FDCWD, "/tmp", 0));
    REFUSED("fsopen", syscall(430, "proc", 0));
    REFUSED("fspick", syscall(433, AT_FDCWD, "/", 0));
    for (size_t i = 0; i < LENGTH(flags); i++) REFUSED("unshare", unshare(flags[i]));
    for (int fd = 0; fd < 16; fd++) REFUSED("setns", setns(fd, 0));
    REFUSED("name_to_handle_at", name_to_handle_at(AT_FDCWD, "/", &handle.head, &mount_id, 0));
    handle.head = (struct file_handle){.handle_bytes = 8, .handle_type = 1};
    handle.bytes[0] = 2; /* the inode of the root of many file systems */
    REFUSED("open_by_handle_at", open_by_handle_at(AT_FDCWD, &handle.head, O_RDONLY));
    REFUSED("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
    REFUSED("clock_settime", clock_settime(CLOCK_REALTIME, &then));
    REFUSED("swapon", syscall(SYS_swapon, "/tmp/x", 0));
    REFUSED("acct", syscall(SYS_acct, "/tmp/x"));
    REFUSED("init_module", syscall(SYS_init_module, "x", 1, ""));
    REFUSED("finit_module", syscall(SYS_finit_module, 0, "", 0));
    REFUSED("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
    REFUSED("bpf", syscall(SYS_bpf, 5, NULL, 0));
    REFUSED("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    REFUSED("userfaultfd", syscall(SYS_userfaultfd, 0));
    REFUSED("io_uring_setup", syscall(425, 1, NULL));
    REFUSED("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
    REFUSED("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    REFUSED("quotactl", syscall(SYS_quotactl, 0, "/dev/vda", 0, NULL));
    REFUSED("fanotify_init", syscall(SYS_fanotify_init, 0, 0));
    REFUSED("syslog", syscall(SYS_syslog, 5, NULL, 0));
    verdict("the whole machine", escaped);
}

static void sockets(void) {
    bool escaped = false;
    const char *const ways[] = {format("%s/socket", outside), "../../../../../outside/socket", "socket-link",
                                "absolute/socket", "/proc/self/root/../outside/socket"};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    NEED(symlink(format("%s/socket", outside), "socket-link"));
    for (size_t i = 0; i < LENGTH(ways); i++) {
        int fd = NEED(socket(AF_UNIX, SOCK_STREAM, 0)), datagrams = NEED(socket(AF_UNIX, SOCK_DGRAM, 0));
        snprintf(address.sun_path, sizeof address.sun_path, "%.100s", ways[i]);
        escaped |= connect(fd, (void *)&address, sizeof address) == 0;
        escaped |= sendto(datagrams, "x", 1, 0, (void *)&address, sizeof address) == 1;
        snprintf(address.sun_path, sizeof address.sun_path, "%.100s2", ways[i]);
        if (i != 2) escaped |= bind(fd, (void *)&address, sizeof address) == 0;
        close(fd), close(datagrams);
    }
    verdict("sockets with paths", escaped);
    if (getuid()) {
        escaped = socket(AF_PACKET, SOCK_RAW, 0) >= 0 || socket(AF_INET, SOCK_RAW, 1) >= 0;
        verdict("raw sockets of an ordinary user", escaped);
    }
}

static void programs(void) {
    bool escaped = false;
    static char *const arguments[] = {"sh", "-c", "exit 77", NULL};
    NEED(symlink("/bin/sh", "shell")); /* the root has none */
    put_file("script", "#!/bin/sh\nexit 77\n", 18, 0755);
    put_file("script2", "#!../../../../../../bin/sh\nexit 77\n", 35, 0755);
    put_file("script3", "#!/proc/self/root/../../../../bin/sh\nexit 77\n", 45, 0755);
    static const char *const names[] = {"shell", "script", "script2", "script3", "/../../../bin/sh", "/proc/1/exe"};
    for (size_t i = 0; i < LENGTH(names); i++) {
        pid_t child = NEED(fork());
        if (child == 0) {
            execv(names[i], arguments);
            _exit(0);
        }
        int status;
        NEED(waitpid(child, &status, 0));
        if (!WIFEXITED(status) || WEXITSTATUS(status)) say("%s ran", names[i]), escaped = true;
    }
    verdict("programs of the host", escaped);
    escaped = false;
    for (char **entry = environ; *entry; entry++) escaped |= strstr(*entry, "SECRET") != NULL;
    verdict("the host's environment", escaped);
}

int main(int argc, char **argv) {
    (void)unused_main;
    if (argc != 4) return 2;
    outside = argv[1], victim = atoi(argv[2]), terminal = atoi(argv[3]);
    char name[32];
    snprintf(name, sizeof name, "/tmp/attempts%d", getpid());
    descriptors();
    NEED(mkdir(name, 0755));
    NEED(chdir(name));
    void (*const attempts[])(void) = {
        links, proc_links, start_elsewhere, races, received_descriptors, read_only, devices, processes, system_calls, sockets,
        programs, bound_directories,
    };
    for (size_t i = 0; i < LENGTH(attempts); i++) {
        NEED(chdir(name));
        attempts[i]();
    }
    say("done");
    return 0;
}
