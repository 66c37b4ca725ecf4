/* madvise(2), msync(2), and memfd_create(2) with its seals. */
#include "memory.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

CASE(dontneed) {
    char *base = pages(3, READ_WRITE);
    memset(base, 'd', 3 * PAGE);
    CHECK("anonymous", madvise(base + PAGE, PAGE, MADV_DONTNEED));
    say("%d %d %d", base[0], base[PAGE], base[2 * PAGE]);
    base[PAGE] = 5;
    say("writable %d", base[PAGE]);
    int fd = lettered_file("file", 2 * PAGE);
    char *private = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_PRIVATE, fd, 0);
    private[0] = private[PAGE] = 'W';
    CHECK("private file", madvise(private, PAGE, MADV_DONTNEED));
    say("%c%c", private[0], private[PAGE]);
    char *shared = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    shared[1] = 'S';
    CHECK("shared file", madvise(shared, PAGE, MADV_DONTNEED));
    say("%c", shared[1]);
    char *memory = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memory[1] = 'M';
    CHECK("shared anonymous", madvise(memory, PAGE, MADV_DONTNEED));
    say("%c", memory[1]);
    CHECK("read only", mprotect(base, PAGE, PROT_READ));
    CHECK("on read only", madvise(base, PAGE, MADV_DONTNEED));
    say("%d", base[0]);
    FAULT("write", base, poke(base, 1));
}

CASE(dontneed_of_large) {
    size_t size = 8 << 20;
    char *base = mmap(NULL, size, READ_WRITE, ANONYMOUS, -1, 0);
    long sum = 0;
    for (int round = 0; round < 3; round++) {
        memset(base, 1, size);
        NEED(madvise(base + PAGE, size - 2 * PAGE, MADV_DONTNEED));
        for (size_t at = 0; at < size; at += PAGE) sum += base[at];
    }
    say("%ld", sum);
}

CASE(dontneed_after_fork) {
    char *base = pages(1, READ_WRITE);
    base[0] = 'p';
    IN_CHILD("child") {
        NEED(madvise(base, PAGE, MADV_DONTNEED));
        say("child %d", base[0]);
    }
    say("parent %c", base[0]);
}

CASE(errors) {
    char *base = pages(4, READ_WRITE);
    CHECK("unknown", madvise(base, PAGE, 999));
    CHECK("unknown, length 0", madvise(base, 0, 999));
    CHECK("-1", madvise(base, PAGE, -1));
    CHECK("unaligned", madvise(base + 1, PAGE, MADV_DONTNEED));
    CHECK("length 0", madvise(base, 0, MADV_DONTNEED));
    CHECK("overflow", madvise(base, -1UL, MADV_DONTNEED));
    CHECK("kernel", madvise(KERNEL_POINTER, PAGE, MADV_DONTNEED));
    memset(base, 1, 4 * PAGE);
    munmap(base + PAGE, PAGE);
    CHECK("hole", madvise(base, 4 * PAGE, MADV_DONTNEED));
    say("both sides done: %d %d", base[0], base[3 * PAGE]);
    CHECK("mlock", mlock(base, PAGE));
    CHECK("locked", madvise(base, PAGE, MADV_DONTNEED));
    CHECK("munlock", munlock(base, PAGE));
}

CASE(hints) {
    static const struct { const char *name; int advice; } hints[] = {
        {"NORMAL", MADV_NORMAL}, {"RANDOM", MADV_RANDOM}, {"SEQUENTIAL", MADV_SEQUENTIAL},
        {"WILLNEED", MADV_WILLNEED}, {"DONTDUMP", MADV_DONTDUMP}, {"DODUMP", MADV_DODUMP},
        {"DONTFORK", MADV_DONTFORK}, {"DOFORK", MADV_DOFORK}, {"COLD", 20}, {"PAGEOUT", 21},
        {"POPULATE_READ", MADV_POPULATE_READ}, {"POPULATE_WRITE", MADV_POPULATE_WRITE}, {"FREE", MADV_FREE},
    };
    int fd = lettered_file("file", PAGE);
    char *anonymous = pages(1, READ_WRITE), *file = mmap(NULL, PAGE, READ_WRITE, MAP_PRIVATE, fd, 0);
    char *shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    for (size_t i = 0; i < LENGTH(hints); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s anonymous", hints[i].name);
        CHECK(name, madvise(anonymous, PAGE, hints[i].advice));
        snprintf(name, sizeof name, "%s private file", hints[i].name);
        CHECK(name, madvise(file, PAGE, hints[i].advice));
        snprintf(name, sizeof name, "%s shared read only", hints[i].name);
        CHECK(name, madvise(shared, PAGE, hints[i].advice));
    }
    FAULT("still there", anonymous, poke(anonymous, 1));
}

CASE(dontfork) {
    char *base = pages(2, READ_WRITE);
    base[0] = base[PAGE] = 'f';
    CHECK("dontfork", madvise(base, PAGE, MADV_DONTFORK));
    IN_CHILD("child") {
        FAULT("first", base, peek(base));
        FAULT("second", base, peek(base + PAGE));
    }
    CHECK("dofork", madvise(base, PAGE, MADV_DOFORK));
    IN_CHILD("child") FAULT("first", base, peek(base));
}

CASE(wipeonfork) {
    char *base = pages(2, READ_WRITE);
    base[0] = base[PAGE] = 'w';
    CHECK("wipe", madvise(base, PAGE, MADV_WIPEONFORK));
    IN_CHILD("child") {
        say("%d %d", base[0], base[PAGE]);
        base[0] = 'c';
        IN_CHILD("grandchild") say("%d", base[0]);
    }
    say("parent %d", base[0]);
    CHECK("keep", madvise(base, PAGE, MADV_KEEPONFORK));
    IN_CHILD("child") say("%d", base[0]);
    char *shared = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK("shared", madvise(shared, PAGE, MADV_WIPEONFORK));
}

CASE(remove) {
    char *shared = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *private = pages(1, READ_WRITE);
    memset(shared, 'r', 2 * PAGE);
    CHECK("shared", madvise(shared, PAGE, MADV_REMOVE));
    say("%d %d", shared[0], shared[PAGE]);
    CHECK("private", madvise(private, PAGE, MADV_REMOVE));
}

CASE(populate) {
    char *base = pages(2, READ_WRITE), *none = pages(1, PROT_NONE), *readonly = pages(1, PROT_READ);
    CHECK("write", madvise(base, 2 * PAGE, MADV_POPULATE_WRITE));
    CHECK("none", madvise(none, PAGE, MADV_POPULATE_READ));
    CHECK("write to read only", madvise(readonly, PAGE, MADV_POPULATE_WRITE));
    munmap(base + PAGE, PAGE);
    CHECK("hole", madvise(base, 2 * PAGE, MADV_POPULATE_READ));
    int fd = lettered_file("empty", 0);
    char *file = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK("past the end of a file", madvise(file, PAGE, MADV_POPULATE_READ));
}

CASE(msync) {
    int fd = lettered_file("file", 2 * PAGE);
    char *shared = mmap(NULL, 3 * PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    shared[0] = 'S';
    CHECK("sync", msync(shared, PAGE, MS_SYNC));
    CHECK("async", msync(shared, PAGE, MS_ASYNC));
    CHECK("invalidate", msync(shared, PAGE, MS_INVALIDATE));
    CHECK("none", msync(shared, PAGE, 0));
    CHECK("both", msync(shared, PAGE, MS_SYNC | MS_ASYNC));
    CHECK("unknown", msync(shared, PAGE, 0x100));
    CHECK("unaligned", msync(shared + 1, PAGE, MS_SYNC));
    CHECK("length 0", msync(shared, 0, MS_SYNC));
    CHECK("overflow", msync(shared, -1UL, MS_SYNC));
    munmap(shared + PAGE, PAGE);
    CHECK("hole", msync(shared, 3 * PAGE, MS_SYNC));
    CHECK("anonymous", msync(pages(1, READ_WRITE), PAGE, MS_SYNC));
    CHECK("kernel", msync(KERNEL_POINTER, PAGE, MS_SYNC));
}

CASE(memfd) {
    int fd = memfd_create("name", MFD_CLOEXEC);
    BOOL("made", fd >= 0);
    struct stat status;
    NEED(fstat(fd, &status));
    say("mode %o size %ld links %ld", status.st_mode, (long)status.st_size, (long)status.st_nlink);
    CHECK("truncate", ftruncate(fd, 2 * PAGE));
    char *map = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_SHARED, fd, 0), byte;
    map[PAGE] = 'm';
    NEED(pread(fd, &byte, 1, PAGE));
    say("%c", byte);
    IN_CHILD("child") map[PAGE + 1] = 'c';
    NEED(pread(fd, &byte, 1, PAGE + 1));
    say("%c", byte);
    CHECK("cloexec", fcntl(fd, F_GETFD));
    char link[64] = "", path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    NEED(readlink(path, link, sizeof link - 1));
    say("%s", link);
    char name[300];
    memset(name, 'n', sizeof name);
    name[249] = 0;
    CHECK_OK("name of 249", memfd_create(name, 0));
    name[249] = 'n';
    name[250] = 0;
    CHECK("name of 250", memfd_create(name, 0));
    CHECK("unknown flag", memfd_create("x", 0x1000));
    CHECK("bad name", syscall(SYS_memfd_create, BAD_POINTER, 0));
}

CASE(seals) {
    int fd = NEED(memfd_create("name", MFD_CLOEXEC));
    CHECK("seals", fcntl(fd, F_GET_SEALS));
    CHECK("add without allow", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    fd = NEED(memfd_create("sealed", MFD_ALLOW_SEALING));
    NEED(ftruncate(fd, 2 * PAGE));
    CHECK("none", fcntl(fd, F_GET_SEALS));
    CHECK("shrink", fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    CHECK("shrinking", ftruncate(fd, PAGE));
    CHECK("growing", ftruncate(fd, 3 * PAGE));
    CHECK("grow", fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    CHECK("growing", ftruncate(fd, 4 * PAGE));
    CHECK("write past the end", pwrite(fd, "x", 1, 3 * PAGE));
    CHECK("write", pwrite(fd, "x", 1, 0));
    char *map = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    CHECK("seal of a writable mapping", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    munmap(map, PAGE);
    CHECK("write seal", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    CHECK("writing", pwrite(fd, "x", 1, 0));
    CHECK("shared writable", mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, fd, 0));
    CHECK_OK("shared read only", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
    CHECK_OK("private writable", mmap(NULL, PAGE, READ_WRITE, MAP_PRIVATE, fd, 0));
    CHECK("unknown", fcntl(fd, F_ADD_SEALS, 0x1000));
    CHECK("seal", fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
    CHECK("more", fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    CHECK("all", fcntl(fd, F_GET_SEALS));
    int file = lettered_file("file", PAGE);
    CHECK("of a file", fcntl(file, F_GET_SEALS));
}
