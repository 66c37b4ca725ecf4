/* Credentials: user and group ids, supplementary groups, capabilities, and what they permit. */
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/xattr.h>

#include "guest.h"

#define NOBODY 65534

static void say_users(const char *name) {
    uid_t real, effective, saved;
    NEED(getresuid(&real, &effective, &saved));
    say("%s: real %d effective %d saved %d fs %d", name, (int)real, (int)effective, (int)saved, setfsuid(-1));
}

static void say_groups(const char *name) {
    gid_t real, effective, saved;
    NEED(getresgid(&real, &effective, &saved));
    say("%s: real %d effective %d saved %d fs %d", name, (int)real, (int)effective, (int)saved, setfsgid(-1));
}

static void say_capabilities(const char *name) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    NEED(syscall(SYS_capget, &header, data));
    say("%s: effective %s permitted %s inheritable %s", name, data[0].effective ? "some" : "none",
        data[0].permitted ? "some" : "none", data[0].inheritable ? "some" : "none");
}

CASE(first) {
    say_users("users");
    say_groups("groups");
    say("%d %d %d %d", getuid(), geteuid(), getgid(), getegid());
    say_capabilities("capabilities");
}

CASE(setuid) {
    IN_CHILD("child") {
        CHECK("setuid", setuid(1234));
        say_users("now");
        say_capabilities("now");
        CHECK("back to 0", setuid(0));
        CHECK("same", setuid(1234));
        CHECK("other", setuid(5));
        CHECK("-1", setuid(-1));
        CHECK("setgid", setgid(7));
        CHECK("setgroups", setgroups(0, NULL));
    }
    say_users("parent");
}

CASE(seteuid) {
    IN_CHILD("child") {
        CHECK("seteuid", seteuid(1000));
        say_users("now");
        say_capabilities("now");
        CHECK("setuid of an ordinary user", setuid(1001));
        CHECK("back", seteuid(0));
        say_users("now");
        say_capabilities("now");
        CHECK("setuid", setuid(1000));
        CHECK("back", seteuid(0));
    }
}

CASE(setreuid) {
    IN_CHILD("child") {
        CHECK("1, 2", setreuid(1, 2));
        say_users("saved follows the effective");
        CHECK("swap", setreuid(2, 1));
        say_users("now");
        CHECK("keep", setreuid(-1, -1));
        CHECK("3", setreuid(3, -1));
        CHECK("effective 3", setreuid(-1, 3));
    }
    IN_CHILD("child") {
        CHECK("only the effective", setreuid(-1, 50));
        say_users("now");
        CHECK("back", setreuid(-1, 0));
    }
}

CASE(setresuid) {
    IN_CHILD("child") {
        CHECK("all", setresuid(10, 20, 30));
        say_users("now");
        CHECK("rotate", setresuid(20, 30, 10));
        say_users("now");
        CHECK("keep all", setresuid(-1, -1, -1));
        CHECK("foreign", setresuid(11, -1, -1));
        CHECK("foreign saved", setresuid(-1, -1, 11));
        CHECK("one for all", setresuid(10, 10, 10));
        say_users("now");
        CHECK("one way", setresuid(20, -1, -1));
        CHECK("bad pointer", syscall(SYS_getresuid, BAD_POINTER, NULL, NULL));
    }
}

CASE(groups_of_one) {
    IN_CHILD("child") {
        CHECK("setresgid", setresgid(10, 20, 30));
        say_groups("now");
        CHECK("setresuid", setresuid(1, 1, 1));
        CHECK("rotate", setresgid(20, 30, 10));
        say_groups("now");
        CHECK("foreign", setgid(5));
        CHECK("setgid", setgid(10));
        say_groups("now");
        CHECK("setregid", setregid(30, 20));
        say_groups("now");
    }
    IN_CHILD("root") {
        CHECK("setgid sets all", setgid(99));
        say_groups("now");
        CHECK("setegid", setegid(98));
        say_groups("now");
        CHECK("setregid", setregid(97, 96));
        say_groups("now");
    }
}

CASE(supplementary_groups) {
    IN_CHILD("child") {
        gid_t groups[4] = {5, 3, 100000, 5}, got[8] = {0};
        CHECK("setgroups", setgroups(4, groups));
        CHECK("count", getgroups(0, NULL));
        CHECK("get", getgroups(8, got));
        say("%d %d %d %d", got[0], got[1], got[2], got[3]);
        CHECK("too few", getgroups(3, got));
        CHECK("negative", syscall(SYS_getgroups, -1, got));
        CHECK("bad pointer", syscall(SYS_getgroups, 8, BAD_POINTER));
        CHECK("set bad pointer", syscall(SYS_setgroups, 2, BAD_POINTER));
        CHECK("set too many", setgroups(65537, groups));
        CHECK("none", setgroups(0, NULL));
        CHECK("count", getgroups(0, NULL));
        IN_CHILD("inherited") CHECK("count", getgroups(0, NULL));
        NEED(setuid(NOBODY));
        CHECK("ordinary user", setgroups(1, groups));
    }
}

CASE(fs_ids) {
    IN_CHILD("child") {
        say("%d", setfsuid(44));
        say("%d", setfsuid(-1));
        say_users("now");
        CHECK("seteuid resets it", seteuid(0));
        say_users("now");
        say("%d", setfsgid(45));
        say("%d", setfsgid(-1));
        NEED(setresuid(7, 8, 9));
        say("%d", setfsuid(9));
        say("%d", setfsuid(5));
        say("%d", setfsuid(7));
    }
}

CASE(what_they_permit) {
    put_text("private", "x");
    NEED(chmod("private", 0600));
    put_text("group", "x");
    NEED(chmod("group", 0640));
    NEED(chown("group", 0, 4321));
    NEED(mkdir("closed", 0700));
    put_text("closed/file", "x");
    NEED(mkdir("open", 0777));
    NEED(chmod("open", 0777));
    NEED(mkdir("sticky", 0777));
    NEED(chmod("sticky", 01777));
    put_text("sticky/file", "x");
    IN_CHILD("ordinary user") {
        gid_t extra[1] = {4321};
        NEED(setgroups(1, extra));
        NEED(setresgid(NOBODY, NOBODY, NOBODY));
        NEED(setresuid(NOBODY, NOBODY, NOBODY));
        CHECK("read private", open("private", O_RDONLY));
        CHECK_OK("read by group", open("group", O_RDONLY));
        CHECK("write by group", open("group", O_WRONLY));
        CHECK("search", open("closed/file", O_RDONLY));
        CHECK("stat in closed", access("closed/file", F_OK));
        CHECK("create", open("new", O_WRONLY | O_CREAT, 0644));
        CHECK("unlink", unlink("private"));
        CHECK("sticky", unlink("sticky/file"));
        CHECK("chmod", chmod("private", 0666));
        CHECK("chown", chown("private", NOBODY, NOBODY));
        CHECK("mknod", mknod("open/device", S_IFCHR | 0600, 0x103));
        CHECK("chroot", chroot("."));
        CHECK("mount", syscall(SYS_mount, "none", "open", "tmpfs", 0, NULL));
        CHECK("sethostname", syscall(SYS_sethostname, BAD_POINTER, 1));
        CHECK("nice up", setpriority(PRIO_PROCESS, 0, -5));
        int fd = open("open/own", O_RDWR | O_CREAT, 0666);
        struct stat status;
        NEED(fstat(fd, &status));
        say("own file: %d:%d %o", status.st_uid, status.st_gid, status.st_mode);
        CHECK("chown own to the group", fchown(fd, -1, 4321));
        CHECK("chown own to another", fchown(fd, 5, -1));
        CHECK("chmod own", fchmod(fd, 02755));
        NEED(fstat(fd, &status));
        say("own file: %d:%d %o", status.st_uid, status.st_gid, status.st_mode);
        NEED(write(fd, "x", 1));
        NEED(fstat(fd, &status));
        say("after a write: %o", status.st_mode);
    }
    struct stat status;
    NEED(stat("open/own", &status));
    say("seen by root: %d:%d %o", status.st_uid, status.st_gid, status.st_mode);
}

CASE(access_uses_the_real_ids) {
    put_text("private", "x");
    NEED(chmod("private", 0600));
    IN_CHILD("child") {
        NEED(setresuid(NOBODY, 0, 0));
        CHECK_OK("open", open("private", O_RDONLY));
        CHECK("access", access("private", R_OK));
        CHECK("faccessat AT_EACCESS", syscall(439, AT_FDCWD, "private", R_OK, AT_EACCESS));
    }
}

CASE(signal_permission) {
    pid_t child;
    int gate[2], ready[2];
    char byte;
    NEED(pipe(gate));
    NEED(pipe(ready));
    START_CHILD(child) {
        close(gate[1]);
        NEED(write(ready[1], "x", 1));
        _exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
    }
    NEED(read(ready[0], &byte, 1));
    IN_CHILD("other user") {
        NEED(setresuid(NOBODY, NOBODY, NOBODY));
        CHECK("0", kill(child, 0));
        CHECK("TERM", kill(child, SIGTERM));
        CHECK("CONT in the same session", kill(child, SIGCONT));
        CHECK("self", kill(getpid(), 0));
    }
    close(gate[1]);
    reap("child", child);
}

static int set_capabilities(uint32_t effective, uint32_t permitted) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{effective, permitted, 0}, {0, 0, 0}};
    return syscall(SYS_capset, &header, data);
}

CASE(capabilities) {
    struct __user_cap_header_struct header = {0x12345, 0};
    struct __user_cap_data_struct data[2];
    CHECK("unknown version", syscall(SYS_capget, &header, data));
    say("told version %#x", header.version);
    header.version = _LINUX_CAPABILITY_VERSION_3;
    CHECK("NULL data", syscall(SYS_capget, &header, NULL));
    header.pid = -5;
    CHECK("negative pid", syscall(SYS_capget, &header, data));
    header.pid = 0x3ffffff;
    CHECK("no such process", syscall(SYS_capget, &header, data));
    IN_CHILD("child") {
        CHECK("drop", set_capabilities(1 << CAP_KILL, 1 << CAP_KILL | 1 << CAP_CHOWN));
        CHECK("setuid without the capability", setuid(5));
        CHECK("raise", set_capabilities(1 << CAP_KILL | 1 << CAP_SETUID, 1 << CAP_KILL | 1 << CAP_SETUID));
        CHECK("effective from permitted", set_capabilities(1 << CAP_CHOWN, 1 << CAP_CHOWN));
        CHECK("effective not permitted", set_capabilities(1 << CAP_KILL, 1 << CAP_CHOWN));
    }
    CHECK("in the bounding set", prctl(PR_CAPBSET_READ, CAP_KILL));
    CHECK("bounding set, bad", prctl(PR_CAPBSET_READ, 200));
    IN_CHILD("bounding") {
        CHECK("drop", prctl(PR_CAPBSET_DROP, CAP_SYS_TIME));
        CHECK("dropped", prctl(PR_CAPBSET_READ, CAP_SYS_TIME));
        CHECK("drop bad", prctl(PR_CAPBSET_DROP, 200));
        NEED(setuid(NOBODY));
        CHECK("ordinary user", prctl(PR_CAPBSET_DROP, CAP_KILL));
    }
    IN_CHILD("keep") {
        CHECK("keepcaps", prctl(PR_SET_KEEPCAPS, 1));
        CHECK("get", prctl(PR_GET_KEEPCAPS));
        NEED(setuid(NOBODY));
        say_capabilities("kept");
        CHECK("bad", prctl(PR_SET_KEEPCAPS, 2));
    }
    CHECK("securebits", prctl(PR_GET_SECUREBITS));
}

CASE_WITH_PROGRAMS(set_user_id_program) {
    char *argv[] = {"id", "-u", NULL}, block[65536];
    int in = NEED(open("/usr/bin/id", O_RDONLY)), out = NEED(open("id", O_WRONLY | O_CREAT, 0755));
    for (ssize_t got; (got = NEED(read(in, block, sizeof block))) > 0;) NEED(write(out, block, got));
    close(out);
    NEED(chown("id", 3333, 4444));
    NEED(chmod("id", 06755));
    NEED(chmod(".", 0755));
    IN_CHILD("-u") execv("./id", argv);
    argv[1] = "-g";
    IN_CHILD("-g") execv("./id", argv);
    argv[1] = "-ru";
    IN_CHILD("-ru") execv("./id", argv);
    IN_CHILD("no new privileges") {
        NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        argv[1] = "-u";
        execv("./id", argv);
    }
    NEED(chown("id", 0, 0));
    struct stat status;
    NEED(stat("id", &status));
    say("chown clears the bits: %o", status.st_mode);
    unlink("id");
}

static void set_file_capabilities(const char *path, unsigned permitted, int effective) {
    unsigned value[5] = {0x2000000 | effective, permitted, 0, 0, 0};
    CHECK("set", setxattr(path, "security.capability", value, sizeof value, 0));
}

CASE_WITH_PROGRAMS(file_capabilities) {
    char *argv[] = {"cat", "secret", NULL}, block[65536];
    int in = NEED(open("/bin/cat", O_RDONLY)), out = NEED(open("cat", O_WRONLY | O_CREAT, 0755));
    for (ssize_t got; (got = NEED(read(in, block, sizeof block))) > 0;) NEED(write(out, block, got));
    close(out);
    NEED(chmod(".", 0755));
    out = NEED(open("secret", O_WRONLY | O_CREAT, 0600));
    NEED(write(out, "told\n", 5));
    close(out);
    CHECK("too short", setxattr("cat", "security.capability", "1234", 4, 0));
    set_file_capabilities("cat", 1 << CAP_DAC_READ_SEARCH, 1);
    IN_CHILD("may read all") {
        NEED(setuid(NOBODY));
        execv("./cat", argv);
    }
    IN_CHILD("no new privileges") {
        NEED(setuid(NOBODY));
        NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        close(2);
        execv("./cat", argv);
    }
    IN_CHILD("not in the bounding set") {
        NEED(prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH));
        NEED(setuid(NOBODY));
        CHECK("execv", execv("./cat", argv));
    }
    set_file_capabilities("cat", 1 << CAP_DAC_READ_SEARCH, 0);
    IN_CHILD("not raised") {
        NEED(setuid(NOBODY));
        close(2);
        execv("./cat", argv);
    }
    IN_CHILD("of others") {
        NEED(setuid(NOBODY));
        set_file_capabilities("cat", 1 << CAP_DAC_READ_SEARCH, 1);
        CHECK("remove", removexattr("cat", "security.capability"));
    }
    NEED(chown("cat", 1, 1));
    CHECK("after chown", getxattr("cat", "security.capability", block, sizeof block));
    set_file_capabilities("cat", 1 << CAP_DAC_READ_SEARCH, 1);
    out = NEED(open("cat", O_WRONLY | O_APPEND));
    NEED(write(out, "x", 1));
    close(out);
    CHECK("after a write", getxattr("cat", "security.capability", block, sizeof block));
}
