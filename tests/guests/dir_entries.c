/* getdents64: contents, small buffers, seeking, changes while reading, errors. */
#include "hostile.h"
#include <dirent.h>

struct entry {
    uint64_t ino;
    int64_t off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Reads the rest of a directory with buffers of that size; prints the names sorted, with their types. */
static int list(const char *name, int fd, size_t size) {
    static char *found[20000];
    char buffer[65536], line[300];
    int count = 0;
    for (;;) {
        long n = syscall(SYS_getdents64, fd, buffer, size);
        if (n < 0) {
            say("%s: %s", name, strerrorname_np(errno));
            return -1;
        }
        if (n == 0) break;
        for (long at = 0; at < n;) {
            struct entry *one = (struct entry *)(buffer + at);
            if (one->reclen % 8 || !one->ino) say("odd record");
            snprintf(line, sizeof line, "%s(%d)", one->name, one->type);
            found[count++] = strdup(line);
            at += one->reclen;
        }
    }
    qsort(found, count, sizeof *found, compare);
    char all[4000] = "";
    for (int i = 0; i < count; i++) {
        if (count < 30) strcat(strcat(all, " "), found[i]);
        if (i && strcmp(found[i], found[i - 1]) == 0) say("twice: %s", found[i]);
    }
    say("%s: %d%s", name, count, all);
    return count;
}

static void fill(void) {
    put_text("file", "x");
    NEED(mkdir("dir", 0755));
    NEED(symlink("file", "link"));
    NEED(mkfifo("fifo", 0600));
    NEED(mknod("socket", S_IFSOCK | 0600, 0));
    put_text(".hidden", "x");
    put_text("a name with spaces", "x");
}

CASE(contents) {
    fill();
    int fd = NEED(open(".", O_RDONLY));
    list("all", fd, 65536);
    list("at the end", fd, 65536);
    CHECK("rewind", lseek(fd, 0, SEEK_SET));
    list("again", fd, 65536);
    lseek(fd, 0, SEEK_SET);
    list("small", fd, 64);
    lseek(fd, 0, SEEK_SET);
    list("too small", fd, 16);
    list("zero", fd, 0);
    list("then big", fd, 65536);
    list("empty directory", NEED(open("dir", O_RDONLY)), 65536);
}

CASE(errors) {
    char buffer[1000];
    put_text("file", "x");
    CHECK("on a file", syscall(SYS_getdents64, NEED(open("file", O_RDONLY)), buffer, sizeof buffer));
    CHECK("bad descriptor", syscall(SYS_getdents64, 99, buffer, sizeof buffer));
    int fd = NEED(open(".", O_RDONLY));
    CHECK("bad pointer", syscall(SYS_getdents64, fd, BAD_POINTER, 1000));
    CHECK("kernel pointer", syscall(SYS_getdents64, fd, KERNEL_POINTER, 1000));
    NEED(mkdir("gone", 0755));
    int gone = NEED(open("gone", O_RDONLY));
    NEED(rmdir("gone"));
    list("removed directory", gone, 1000);
    CHECK("write", write(fd, "x", 1));
    CHECK("pipe", ({ int ends[2]; NEED(pipe(ends)); syscall(SYS_getdents64, ends[0], buffer, sizeof buffer); }));
}

CASE(seeking) {
    char name[16];
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "f%03d", i);
        put_text(name, "");
    }
    DIR *dir = opendir(".");
    long places[600];
    char names[600][16];
    int count = 0;
    for (struct dirent *one; places[count] = telldir(dir), (one = readdir(dir)); count++) strcpy(names[count], one->d_name);
    say("%d entries", count);
    for (int at = 0; at < count; at += 97) {
        seekdir(dir, places[at]);
        struct dirent *one = readdir(dir);
        BOOL("same entry", one && strcmp(one->d_name, names[at]) == 0);
    }
    rewinddir(dir);
    int again = 0;
    while (readdir(dir)) again++;
    say("%d again", again);
    seekdir(dir, places[count]);
    BOOL("end", readdir(dir) == NULL);
    closedir(dir);
    int fd = NEED(open(".", O_RDONLY)), copy = dup(fd);
    char buffer[200];
    CHECK("part", syscall(SYS_getdents64, fd, buffer, 100) > 0);
    BOOL("dup shares the position", lseek(copy, 0, SEEK_CUR) == lseek(fd, 0, SEEK_CUR) && lseek(fd, 0, SEEK_CUR) != 0);
    int rest = 0;
    for (long n; (n = syscall(SYS_getdents64, copy, buffer, sizeof buffer)) > 0;)
        for (long i = 0; i < n; i += ((struct entry *)(buffer + i))->reclen) rest++;
    BOOL("rest", rest < 502 && rest > 480);
    CHECK("bad whence", lseek(fd, 0, 9));
    CHECK("negative", lseek(fd, -1, SEEK_SET));
}

CASE(changes_while_reading) {
    char name[16];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "f%03d", i);
        put_text(name, "");
    }
    DIR *dir = opendir(".");
    int removed = 0;
    for (struct dirent *one; (one = readdir(dir));)
        if (one->d_name[0] == 'f') removed += unlink(one->d_name) == 0;
    say("removed %d", removed);
    closedir(dir);
    list("left", NEED(open(".", O_RDONLY)), 4096);
    put_text("new", "");
    int fd = NEED(open(".", O_RDONLY));
    list("new", fd, 4096);
    put_text("newer", "");
    lseek(fd, 0, SEEK_SET);
    list("rewound", fd, 4096);
}

CASE(special_directories) {
    int fd = NEED(open("/proc/self/fd", O_RDONLY));
    char buffer[4096];
    CHECK("fds", syscall(SYS_getdents64, fd, buffer, sizeof buffer) > 0);
    fd = NEED(open("/proc", O_RDONLY));
    bool self = false, own = false;
    char mine[16];
    snprintf(mine, sizeof mine, "%d", getpid());
    for (long n; (n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0;)
        for (long i = 0; i < n; i += ((struct entry *)(buffer + i))->reclen) {
            self |= strcmp(((struct entry *)(buffer + i))->name, "self") == 0;
            own |= strcmp(((struct entry *)(buffer + i))->name, mine) == 0;
        }
    BOOL("self", self);
    BOOL("own process", own);
    fd = NEED(open("/dev", O_RDONLY));
    bool null = false;
    for (long n; (n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0;)
        for (long i = 0; i < n; i += ((struct entry *)(buffer + i))->reclen)
            null |= strcmp(((struct entry *)(buffer + i))->name, "null") == 0 && ((struct entry *)(buffer + i))->type == DT_CHR;
    BOOL("null", null);
}

CASE(inode_numbers_agree) {
    fill();
    DIR *dir = opendir(".");
    int wrong = 0;
    for (struct dirent *one; (one = readdir(dir));) {
        struct stat st;
        NEED(lstat(one->d_name, &st));
        wrong += strcmp(one->d_name, "..") && st.st_ino != one->d_ino;
    }
    CHECK("wrong", wrong);
}

CASE(position_shared_with_a_child) {
    char name[16], buffer[200];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "f%02d", i);
        put_text(name, "");
    }
    int fd = NEED(open(".", O_RDONLY)), read_here = 0, total = 0;
    for (long n; (n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0 && read_here < 20;)
        for (long i = 0; i < n; i += ((struct entry *)(buffer + i))->reclen) read_here++;
    IN_CHILD("child") {
        int left = 0;
        for (long n; (n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0;)
            for (long i = 0; i < n; i += ((struct entry *)(buffer + i))->reclen) left++;
        BOOL("some in the child", left > 50 && left < 82);
    }
    CHECK("nothing is left", syscall(SYS_getdents64, fd, buffer, sizeof buffer));
    NEED(lseek(fd, 0, SEEK_SET));
    for (long n; (n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0;)
        for (long i = 0; i < n; i += ((struct entry *)(buffer + i))->reclen) total++;
    say("%d after a rewind", total);
}
