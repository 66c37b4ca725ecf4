/* mprotect(2), brk(2), mlock(2), mincore(2), and system calls that meet memory they may not touch. */
#include <sys/resource.h>
#include <sys/uio.h>

#include "memory.h"

CASE(mprotect_splits) {
    char *base = pages(6, READ_WRITE);
    memset(base, 'm', 6 * PAGE);
    CHECK("read only middle", mprotect(base + 2 * PAGE, 2 * PAGE, PROT_READ));
    CHECK("none in it", mprotect(base + 3 * PAGE, PAGE, PROT_NONE));
    FAULT("write 1", base, poke(base + 2 * PAGE - 1, 1));
    FAULT("write 2", base, poke(base + 2 * PAGE, 1));
    FAULT("read 2", base, peek(base + 3 * PAGE - 1));
    FAULT("read 3", base, peek(base + 3 * PAGE));
    FAULT("write 4", base, poke(base + 4 * PAGE, 1));
    say_maps("maps", base, 6 * PAGE);
    CHECK("all back", mprotect(base, 6 * PAGE, READ_WRITE));
    FAULT("write 3", base, poke(base + 3 * PAGE, 1));
    say("content %c%c", base[2 * PAGE], base[4 * PAGE - 1]);
    say_maps("maps again", base, 6 * PAGE);
    CHECK("length is rounded up", mprotect(base, PAGE + 1, PROT_READ));
    FAULT("write 1 again", base, poke(base + 2 * PAGE - 1, 1));
    FAULT("write 2 again", base, poke(base + 2 * PAGE, 1));
}

CASE(mprotect_errors) {
    char *base = pages(4, READ_WRITE);
    CHECK("munmap", munmap(base + 2 * PAGE, PAGE));
    CHECK("unaligned", mprotect(base + 1, PAGE, PROT_READ));
    CHECK("length 0", mprotect(base, 0, PROT_READ));
    CHECK("length -1", mprotect(base, -1UL, PROT_READ));
    CHECK("unknown bits", mprotect(base, PAGE, 0x800));
    CHECK("kernel", mprotect(KERNEL_POINTER, PAGE, PROT_READ));
    CHECK("unmapped", mprotect(base + 2 * PAGE, PAGE, PROT_READ));
    CHECK("growsdown on no stack", mprotect(base, PAGE, PROT_READ | PROT_GROWSDOWN));
    CHECK("growsup", mprotect(base, PAGE, PROT_READ | PROT_GROWSUP));
    CHECK("both", mprotect(base, PAGE, PROT_READ | PROT_GROWSUP | PROT_GROWSDOWN));
    CHECK("over a hole", mprotect(base, 4 * PAGE, PROT_READ));
    FAULT("before the hole was changed", base, poke(base + PAGE, 1));
    FAULT("after the hole was not", base, poke(base + 3 * PAGE, 1));
}

CASE(mprotect_often) {
    char *base = pages(1, READ_WRITE);
    long faults = 0;
    for (int i = 0; i < 200; i++) {
        NEED(mprotect(base, PAGE, i % 2 ? PROT_READ : READ_WRITE));
        guest_catch_faults(true);
        if (sigsetjmp(guest_fault_return, 1) == 0) poke(base, i);
        else faults++;
        guest_catch_faults(false);
    }
    say("faults %ld, last %d", faults, base[0] & 255);
}

CASE(mprotect_after_fork) {
    char *base = pages(2, READ_WRITE);
    base[0] = 'a';
    IN_CHILD("child") {
        NEED(mprotect(base, PAGE, PROT_READ));
        FAULT("child writes", base, poke(base, 'b'));
        NEED(munmap(base + PAGE, PAGE));
    }
    FAULT("parent writes", base, poke(base, 'c'));
    FAULT("parent's second page", base, poke(base + PAGE, 'd'));
}

CASE(file_protection) {
    int fd = lettered_file("file", 2 * PAGE);
    char *map = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK("private to write", mprotect(map, PAGE, READ_WRITE));
    map[0] = 'w';
    CHECK("and back", mprotect(map, PAGE, PROT_READ));
    FAULT("write", map, poke(map, 1));
    say("%c %c", map[0], map[PAGE]);
    char *shared = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    say("the file has %c", shared[0]);
    CHECK("shared to read", mprotect(shared, PAGE, PROT_READ));
    FAULT("write shared", shared, poke(shared, 1));
    CHECK("shared to write", mprotect(shared, PAGE, READ_WRITE));
    FAULT("write shared again", shared, poke(shared, 'S'));
    say("private keeps %c", map[0]);
}

CASE(brk) {
    char *start = sbrk(0), *page = (char *)(((uintptr_t)start + PAGE - 1) & -PAGE);
    CHECK("grow", brk(page + 3 * PAGE));
    say_place("now", sbrk(0), page);
    page[0] = page[3 * PAGE - 1] = 'b';
    FAULT("past the end", page, peek(page + 3 * PAGE));
    CHECK("not aligned", brk(page + 3 * PAGE + 5));
    FAULT("same page", page, poke(page + 4 * PAGE - 1, 1));
    CHECK("shrink", brk(page + PAGE));
    FAULT("shrunk", page, peek(page + PAGE));
    CHECK("grow again", brk(page + 3 * PAGE));
    say("kept %c, new %d", page[0], page[3 * PAGE - 1]);
    BOOL("0 tells the end", (char *)syscall(SYS_brk, 0) == page + 3 * PAGE);
    BOOL("below the start is refused", (char *)syscall(SYS_brk, 4096) == page + 3 * PAGE);
    BOOL("kernel is refused", (char *)syscall(SYS_brk, KERNEL_POINTER) == page + 3 * PAGE);
    char *wall = mmap(page + 8 * PAGE, PAGE, PROT_NONE, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    say_place("wall", wall, page);
    BOOL("into the wall is refused", (char *)syscall(SYS_brk, page + 9 * PAGE) == page + 3 * PAGE);
    munmap(wall, PAGE);
    CHECK("8 MiB", brk(page + (8 << 20)));
    memset(page, 1, 8 << 20);
    IN_CHILD("child") {
        BOOL("child has the same", sbrk(0) == page + (8 << 20));
        CHECK("child grows", brk(page + (9 << 20)));
        page[(9 << 20) - 1] = 1;
    }
    BOOL("parent keeps", sbrk(0) == page + (8 << 20));
    CHECK("back", brk(start));
}

CASE(brk_limit) {
    IN_CHILD("child") {
        struct rlimit limit = {1 << 20, 1 << 20};
        char *end = sbrk(0);
        NEED(setrlimit(RLIMIT_DATA, &limit));
        BOOL("16 MiB refused", (char *)syscall(SYS_brk, end + (16 << 20)) == end);
        CHECK("private writable 16 MiB", mmap(NULL, 16 << 20, READ_WRITE, ANONYMOUS, -1, 0));
        CHECK_OK("read only 16 MiB", mmap(NULL, 16 << 20, PROT_READ, ANONYMOUS, -1, 0));
        CHECK_OK("shared 16 MiB", mmap(NULL, 16 << 20, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    }
}

CASE(mincore) {
    char *base = pages(4, READ_WRITE);
    unsigned char resident[4] = {9, 9, 9, 9};
    memset(base, 1, 4 * PAGE);
    CHECK("touched", mincore(base, 4 * PAGE, resident));
    say("%d%d%d%d", resident[0] & 1, resident[1] & 1, resident[2] & 1, resident[3] & 1);
    CHECK("unaligned", mincore(base + 1, PAGE, resident));
    CHECK("bad vector", mincore(base, PAGE, BAD_POINTER));
    CHECK("length 0", mincore(base, 0, resident));
    CHECK("kernel", mincore(KERNEL_POINTER, PAGE, resident));
    munmap(base + 2 * PAGE, PAGE);
    CHECK("hole", mincore(base, 4 * PAGE, resident));
}

CASE(mlock) {
    char *base = pages(4, READ_WRITE);
    munmap(base + 2 * PAGE, PAGE);
    CHECK("mlock", mlock(base, 2 * PAGE));
    CHECK("mlock again", mlock(base, PAGE));
    CHECK("hole", mlock(base, 4 * PAGE));
    CHECK("munlock", munlock(base, 2 * PAGE));
    CHECK("munlock hole", munlock(base, 4 * PAGE));
    CHECK("unaligned is rounded", mlock(base + 100, 10));
    CHECK("nothing", mlock(base, 0));
    CHECK("mlock2 onfault", mlock2(base, PAGE, MLOCK_ONFAULT));
    CHECK("mlock2 unknown", mlock2(base, PAGE, 0x100));
    CHECK("overflow", mlock(base, -PAGE));
    CHECK("mlockall 0", mlockall(0));
    CHECK("mlockall unknown", mlockall(0x100));
    CHECK("mlockall onfault alone", mlockall(MCL_ONFAULT));
    CHECK("munlockall", munlockall());
    IN_CHILD("limited") {
        struct rlimit limit = {PAGE, PAGE};
        NEED(setrlimit(RLIMIT_MEMLOCK, &limit));
        NEED(setresuid(65534, 65534, 65534));
        CHECK("one page", mlock(base, PAGE));
        CHECK("two pages", mlock(base, 2 * PAGE));
        CHECK("all", mlockall(MCL_CURRENT));
        limit.rlim_cur = 0;
        NEED(setrlimit(RLIMIT_MEMLOCK, &limit));
        CHECK("limit 0", mlock(base, PAGE));
    }
}

CASE(calls_with_bad_memory) {
    int fd = lettered_file("file", 3 * PAGE), ends[2];
    char *none = pages(1, PROT_NONE), *readonly = pages(1, PROT_READ), *base = pages(2, READ_WRITE);
    munmap(base + PAGE, PAGE);
    NEED(pipe(ends));
    CHECK("read to NULL", syscall(SYS_read, fd, NULL, 10));
    CHECK("read to 8", syscall(SYS_read, fd, BAD_POINTER, 10));
    CHECK("read to kernel", syscall(SYS_read, fd, KERNEL_POINTER, 10));
    CHECK("read to none", syscall(SYS_read, fd, none, 10));
    CHECK("read to read only", syscall(SYS_read, fd, readonly, 10));
    CHECK("read of 0 to kernel", syscall(SYS_read, fd, KERNEL_POINTER, 0));
    CHECK("offset unchanged", lseek(fd, 0, SEEK_CUR));
    CHECK("read over the edge", syscall(SYS_pread64, fd, base, 2 * PAGE, 0));
    say("partial content %c%c", base[0], base[PAGE - 1]);
    CHECK("write NULL", syscall(SYS_write, fd, NULL, 10));
    CHECK("write none", syscall(SYS_write, fd, none, 10));
    CHECK("write read only", syscall(SYS_pwrite64, fd, readonly, 10, 0));
    CHECK("write of 0 from NULL", syscall(SYS_write, fd, NULL, 0));
    CHECK("pipe write none", syscall(SYS_write, ends[1], none, 10));
    CHECK("pipe write", write(ends[1], "12345", 5));
    CHECK("pipe read none", syscall(SYS_read, ends[0], none, 5));
    CHECK("open NULL", syscall(SYS_openat, AT_FDCWD, NULL, O_RDONLY));
    CHECK("open none", syscall(SYS_openat, AT_FDCWD, none, O_RDONLY));
    memset(base, 'n', PAGE);
    CHECK("path runs off the edge", syscall(SYS_openat, AT_FDCWD, base + PAGE - 5, O_RDONLY));
    memcpy(base + PAGE - 5, "file", 5);
    CHECK_OK("path ends at the edge", syscall(SYS_openat, AT_FDCWD, base + PAGE - 5, O_RDONLY));
    struct iovec bad[2] = {{base, 10}, {none, 10}};
    CHECK("writev second bad", syscall(SYS_writev, fd, bad, 2));
    CHECK("readv second bad", syscall(SYS_readv, fd, bad, 2));
    CHECK("readv vector bad", syscall(SYS_readv, fd, BAD_POINTER, 2));
    CHECK("readv 1025", syscall(SYS_readv, fd, bad, 1025));
    CHECK("readv -1", syscall(SYS_readv, fd, bad, -1));
    struct iovec negative[1] = {{base, -1UL}};
    CHECK("readv length -1", syscall(SYS_readv, fd, negative, 1));
    CHECK("fstat NULL", syscall(SYS_newfstatat, fd, "", NULL, AT_EMPTY_PATH));
    CHECK("getcwd none", syscall(SYS_getcwd, none, 100));
    CHECK("getcwd read only", syscall(SYS_getcwd, readonly, PAGE));
    CHECK("uname kernel", syscall(SYS_uname, KERNEL_POINTER));
}
