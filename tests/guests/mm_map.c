/* mmap(2) and munmap(2): placement, backing and errors. */
#include "memory.h"

CASE(anonymous) {
    char *page = pages(3, READ_WRITE);
    BOOL("aligned", (uintptr_t)page % PAGE == 0);
    long sum = 0;
    for (size_t i = 0; i < 3 * PAGE; i++) sum += page[i];
    say("sum %ld", sum);
    memset(page, 1, 3 * PAGE);
    CHECK("munmap", munmap(page, 3 * PAGE));
    FAULT("after munmap", page, peek(page + PAGE));
}

CASE(bad_arguments) {
    int fd = lettered_file("file", PAGE), closed = 999;
    char *page = pages(1, READ_WRITE);
    CHECK("length 0", mmap(NULL, 0, PROT_READ, ANONYMOUS, -1, 0));
    CHECK("neither shared nor private", mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
    CHECK("offset unaligned", syscall(SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100));
    CHECK("length of half the space", mmap(NULL, 1UL << 63, PROT_READ, ANONYMOUS, -1, 0));
    CHECK("length -1", mmap(NULL, -1UL, PROT_READ, ANONYMOUS, -1, 0));
    CHECK("length 256 TiB", mmap(NULL, 1UL << 48, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0));
    CHECK("closed file", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, closed, 0));
    CHECK("fd -1", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0));
    CHECK_OK("anonymous ignores the fd", mmap(NULL, PAGE, PROT_READ, ANONYMOUS, fd, 0));
    CHECK("fixed unaligned", mmap(page + 1, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0));
    CHECK("fixed kernel", mmap(KERNEL_POINTER, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0));
    CHECK_OK("hint in the kernel", mmap(KERNEL_POINTER, PAGE, PROT_READ, ANONYMOUS, -1, 0));
    CHECK("validate, unknown flag", mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | 1 << 24, fd, 0));
    CHECK_OK("validate", mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE, fd, 0));
    CHECK_OK("unknown protection bits", mmap(NULL, PAGE, PROT_READ | 0x800, ANONYMOUS, -1, 0));
    CHECK("offset overflow", syscall(SYS_mmap, NULL, PAGE * 2, PROT_READ, MAP_PRIVATE, fd, -PAGE));
    close(fd);
}

CASE(access_of_file) {
    lettered_file("file", PAGE);
    int reader = NEED(open("file", O_RDONLY)), writer = NEED(open("file", O_WRONLY));
    int path = NEED(open("file", O_PATH)), folder = NEED(open(".", O_RDONLY)), ends[2];
    NEED(pipe(ends));
    CHECK("shared write, O_RDONLY", mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, reader, 0));
    CHECK_OK("private write, O_RDONLY", mmap(NULL, PAGE, READ_WRITE, MAP_PRIVATE, reader, 0));
    CHECK("read, O_WRONLY", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, writer, 0));
    CHECK("write, O_WRONLY", mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, writer, 0));
    CHECK("O_PATH", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, path, 0));
    CHECK("directory", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, folder, 0));
    CHECK("pipe", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ends[0], 0));
    char *shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
    CHECK("mprotect write, O_RDONLY", mprotect(shared, PAGE, READ_WRITE));
    CHECK("mprotect exec, O_RDONLY", mprotect(shared, PAGE, PROT_READ | PROT_EXEC));
}

CASE(fixed) {
    char *base = pages(5, READ_WRITE);
    memset(base, 'x', 5 * PAGE);
    say_place("middle", mmap(base + 2 * PAGE, PAGE, READ_WRITE, ANONYMOUS | MAP_FIXED, -1, 0), base);
    for (int i = 0; i < 5; i++) say("page %d: %d %d", i, base[i * PAGE], base[i * PAGE + PAGE - 1]);
    int fd = lettered_file("file", 3 * PAGE);
    say_place("file", mmap(base + PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, PAGE), base);
    for (int i = 0; i < 5; i++) say("page %d: %d %d", i, base[i * PAGE], base[i * PAGE + PAGE - 1]);
    FAULT("write to the file", base, poke(base + PAGE, 1));
    say_place("length is rounded up", mmap(base + 3 * PAGE, 1, PROT_NONE, ANONYMOUS | MAP_FIXED, -1, 0), base);
    FAULT("end of that page", base, peek(base + 4 * PAGE - 1));
    FAULT("next page", base, peek(base + 4 * PAGE));
    say_maps("maps", base, 5 * PAGE);
}

CASE(fixed_noreplace) {
    char *base = free_range(3);
    int flags = ANONYMOUS | MAP_FIXED_NOREPLACE;
    say_place("free", mmap(base + PAGE, PAGE, READ_WRITE, flags, -1, 0), base);
    base[PAGE] = 'k';
    say_place("taken", mmap(base + PAGE, PAGE, READ_WRITE, flags, -1, 0), base);
    say_place("overlapping", mmap(base, 3 * PAGE, READ_WRITE, flags, -1, 0), base);
    say_place("before", mmap(base, PAGE, READ_WRITE, flags, -1, 0), base);
    say_place("after", mmap(base + 2 * PAGE, PAGE, READ_WRITE, flags, -1, 0), base);
    say_place("unaligned", mmap(base + 1, PAGE, READ_WRITE, flags, -1, 0), base);
    say("kept %c", base[PAGE]);
}

CASE(hint) {
    char *base = free_range(4);
    say_place("free", mmap(base, PAGE, READ_WRITE, ANONYMOUS, -1, 0), base);
    BOOL("taken goes elsewhere", mmap(base, PAGE, READ_WRITE, ANONYMOUS, -1, 0) != base);
    say_place("unaligned is rounded", mmap(base + 2 * PAGE + 5, PAGE, READ_WRITE, ANONYMOUS, -1, 0), base);
    void *low = mmap((void *)0x10000000, PAGE, READ_WRITE, ANONYMOUS, -1, 0);
    say_place("low", low, (void *)0x10000000);
    munmap(low, PAGE);
}

#ifdef __x86_64__
CASE(x86_end_of_user_space) {
    CHECK("fixed over the end", mmap((void *)0x7ffffffff000, 2 * PAGE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0));
    CHECK("128 TiB", mmap(NULL, 1UL << 47, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0));
}

CASE(x86_low_2g) {
    char *low = mmap(NULL, PAGE, READ_WRITE, ANONYMOUS | MAP_32BIT, -1, 0);
    BOOL("below 2 GiB", (uintptr_t)low + PAGE <= 1UL << 31);
    BOOL("above 1 GiB", (uintptr_t)low >= 1UL << 30);
    CHECK("3 GiB", mmap(NULL, 3UL << 30, PROT_NONE, ANONYMOUS | MAP_32BIT | MAP_NORESERVE, -1, 0));
}
#endif

CASE(private_file) {
    int fd = lettered_file("file", 2 * PAGE + 100);
    char *map = mmap(NULL, 3 * PAGE, READ_WRITE, MAP_PRIVATE, fd, 0), byte;
    say("%c %c %c %d", map[0], map[PAGE], map[2 * PAGE + 99], map[2 * PAGE + 100]);
    map[PAGE] = 'X';
    map[2 * PAGE + 100] = 'Y';
    NEED(pread(fd, &byte, 1, PAGE));
    say("file keeps %c", byte);
    CHECK("close", close(fd));
    CHECK("unlink", unlink("file"));
    say("still mapped %c %c", map[PAGE], map[2 * PAGE - 1]);
    IN_CHILD("child") {
        say("child sees %c", map[PAGE]);
        map[PAGE] = 'Z';
    }
    say("parent sees %c", map[PAGE]);
    CHECK("munmap", munmap(map, 3 * PAGE));
}

CASE(shared_file) {
    int fd = lettered_file("file", 2 * PAGE), second = NEED(open("file", O_RDWR));
    char *map = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_SHARED, fd, 0), byte;
    char *other = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, second, PAGE);
    map[PAGE + 1] = 'M';
    NEED(pread(second, &byte, 1, PAGE + 1));
    say("pread %c, other mapping %c", byte, other[1]);
    NEED(pwrite(second, "W", 1, 5));
    say("pwrite seen %c", map[5]);
    IN_CHILD("child") {
        map[7] = 'C';
        NEED(pwrite(fd, "D", 1, 8));
        other[9] = 'E';
        say("child sees %c", map[5]);
    }
    NEED(pread(fd, &byte, 1, 7));
    say("parent sees %c%c %c, file %c", map[7], map[8], map[PAGE + 9], byte);
    char *private = mmap(NULL, PAGE, READ_WRITE, MAP_PRIVATE, fd, 0);
    say("private view %c", private[7]);
    private[7] = 'P';
    say("shared view keeps %c", map[7]);
    CHECK("msync", msync(map, 2 * PAGE, MS_SYNC));
    say_maps("maps", map, 2 * PAGE);
}

CASE(shared_file_of_other_process) {
    int fd = lettered_file("file", PAGE), go[2], done[2];
    char byte = 0;
    pid_t child;
    NEED(pipe(go));
    NEED(pipe(done));
    START_CHILD(child) {
        int own = NEED(open("file", O_RDWR));
        volatile char *map = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, own, 0);
        NEED(read(go[0], &byte, 1));
        say("child sees %c", map[1]);
        map[2] = 'c';
        NEED(write(done[1], "x", 1));
    }
    volatile char *map = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    map[1] = 'p';
    NEED(write(go[1], "x", 1));
    NEED(read(done[0], &byte, 1));
    say("parent sees %c", map[2]);
    reap("child", child);
}

CASE(file_that_changes_size) {
    int fd = lettered_file("file", PAGE / 2);
    char *map = mmap(NULL, 4 * PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    map[PAGE / 2 + 10] = 'q';
    say("past the end, same page: %c", map[PAGE / 2 + 10]);
    NEED(ftruncate(fd, 3 * PAGE));
    say("grown: %d %d", map[2 * PAGE], map[PAGE]);
    map[2 * PAGE] = 'g';
    NEED(ftruncate(fd, PAGE));
    NEED(ftruncate(fd, 3 * PAGE));
    say("shrunk and grown: %d", map[2 * PAGE]);
    FAULT("past the end", map, peek(map + 3 * PAGE));
}

CASE(shared_anonymous) {
    char *map = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    map[0] = 'a';
    IN_CHILD("child") {
        say("child sees %c", map[0]);
        map[PAGE] = 'b';
        IN_CHILD("grandchild") map[PAGE + 1] = 'c';
    }
    say("parent sees %c%c", map[PAGE], map[PAGE + 1]);
}

CASE(dev_zero) {
    int fd = NEED(open("/dev/zero", O_RDWR));
    char *private = mmap(NULL, PAGE, READ_WRITE, MAP_PRIVATE, fd, 0);
    char *shared = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    say("zero %d %d", private[5], shared[5]);
    IN_CHILD("child") {
        private[5] = 1;
        shared[5] = 2;
    }
    say("after the child %d %d", private[5], shared[5]);
    char *again = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    say("another mapping %d", again[5]);
}

CASE(reservation) {
    size_t size = 64UL << 30;
    char *base = mmap(NULL, size, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
    BOOL("reserved", base != MAP_FAILED);
    FAULT("untouched", base, peek(base + (5UL << 30)));
    CHECK("mprotect start", mprotect(base, 2 * PAGE, READ_WRITE));
    CHECK("mprotect middle", mprotect(base + (32UL << 30), 1 << 20, READ_WRITE));
    CHECK("mprotect end", mprotect(base + size - PAGE, PAGE, READ_WRITE));
    base[0] = base[32UL << 30] = base[size - 1] = 'r';
    say("%c%c%c", base[0], base[32UL << 30], base[size - 1]);
    FAULT("after the piece", base, poke(base + (32UL << 30) + (1 << 20), 1));
    IN_CHILD("child") say("child sees %c", base[size - 1]);
    char *second = mmap(NULL, size * 16, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
    BOOL("1 TiB", second != MAP_FAILED);
    say_maps("maps", base, size);
    CHECK("munmap", munmap(base, size));
    CHECK("munmap 1 TiB", munmap(second, size * 16));
    FAULT("gone", base, peek(base));
}

CASE(flags) {
    int fd = lettered_file("file", PAGE);
    char *populated = mmap(NULL, 4 * PAGE, READ_WRITE, ANONYMOUS | MAP_POPULATE, -1, 0);
    unsigned char resident[4] = {0};
    CHECK("mincore", mincore(populated, 4 * PAGE, resident));
    say("populated %d%d%d%d", resident[0] & 1, resident[1] & 1, resident[2] & 1, resident[3] & 1);
    CHECK_OK("populate file", mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0));
    CHECK_OK("populate, no access", mmap(NULL, PAGE, PROT_NONE, ANONYMOUS | MAP_POPULATE, -1, 0));
    CHECK_OK("stack", mmap(NULL, PAGE, READ_WRITE, ANONYMOUS | MAP_STACK, -1, 0));
    CHECK_OK("locked", mmap(NULL, PAGE, READ_WRITE, ANONYMOUS | MAP_LOCKED, -1, 0));
    CHECK_OK("nonblock", mmap(NULL, PAGE, READ_WRITE, ANONYMOUS | MAP_NONBLOCK, -1, 0));
    CHECK_OK("denywrite, executable", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_DENYWRITE | MAP_EXECUTABLE, fd, 0));
    char *write_only = mmap(NULL, PAGE, PROT_WRITE, ANONYMOUS, -1, 0);
    FAULT("write", write_only, poke(write_only, 1));
}

CASE(unmap) {
    char *base = pages(8, READ_WRITE);
    memset(base, 'u', 8 * PAGE);
    CHECK("unaligned", munmap(base + 1, PAGE));
    CHECK("length 0", munmap(base, 0));
    CHECK("kernel", munmap(KERNEL_POINTER, PAGE));
    CHECK("overflow", munmap(base, -PAGE));
    CHECK("middle", munmap(base + 3 * PAGE, 2 * PAGE));
    FAULT("before the hole", base, peek(base + 3 * PAGE - 1));
    FAULT("hole", base, peek(base + 3 * PAGE));
    FAULT("end of the hole", base, poke(base + 5 * PAGE - 1, 1));
    FAULT("after the hole", base, peek(base + 5 * PAGE));
    CHECK("the hole again", munmap(base + 3 * PAGE, 2 * PAGE));
    CHECK("length is rounded up", munmap(base, 1));
    FAULT("end of the first page", base, peek(base + PAGE - 1));
    say_maps("maps", base, 8 * PAGE);
    CHECK("all with holes", munmap(base, 8 * PAGE));
    say_maps("nothing left", base, 8 * PAGE);
    char *again = mmap(base, 8 * PAGE, READ_WRITE, ANONYMOUS, -1, 0);
    say_place("mapped again", again, base);
    say("zero again %d %d", again[0], again[7 * PAGE]);
}

CASE(many_mappings) {
    char *base = free_range(2000);
    for (int i = 0; i < 2000; i += 2)
        NEED((long)mmap(base + i * PAGE, PAGE, i % 4 ? PROT_READ : READ_WRITE, ANONYMOUS | MAP_FIXED, -1, 0));
    long good = 0;
    for (int i = 0; i < 2000; i += 4) {
        base[i * PAGE] = 1;
        good += base[i * PAGE] + base[(i + 2) * PAGE];
    }
    say("good %ld", good);
    FAULT("between", base, peek(base + 1001 * PAGE));
    FAULT("read only", base, poke(base + 1002 * PAGE, 1));
    CHECK("munmap", munmap(base, 2000 * PAGE));
}

CASE(address_space_limit) {
    IN_CHILD("child") {
        struct rlimit { unsigned long soft, hard; } limit = {1UL << 30, 1UL << 30};
        NEED(syscall(SYS_prlimit64, 0, 9 /* RLIMIT_AS */, &limit, NULL));
        CHECK("2 GiB", mmap(NULL, 2UL << 30, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0));
        CHECK_OK("1 MiB", mmap(NULL, 1 << 20, READ_WRITE, ANONYMOUS, -1, 0));
        BOOL("brk refused", (char *)syscall(SYS_brk, (char *)sbrk(0) + (2UL << 30)) == (char *)sbrk(0));
    }
}

/* Areas of all sizes come, are cut and go: each shows what was written there and nothing of those that were before. */
CASE(areas_come_and_go) {
    enum { AREAS = 12, STEPS = 250 };
    struct { char *start; size_t pages; unsigned long mark; } areas[AREAS] = {0};
    unsigned seed = 2;
    long wrong = 0;
#define DRAW(below) ((seed = seed * 1103515245 + 12345) >> 8) % (below)
#define EACH_PAGE(area) for (size_t i = 0; i < (area).pages; i++)
#define WORD(area, i) *(volatile unsigned long *)((area).start + (i) * PAGE)
#define LOOK(area) EACH_PAGE(area) wrong += WORD(area, i) != (area).mark + ((area).mark ? i : 0)
    for (int step = 1; step <= STEPS; step++) {
        int which = DRAW(AREAS);
        LOOK(areas[which]);
        if (areas[which].pages > 2000 && DRAW(3) == 0) {
            size_t rest = 1 + DRAW(areas[which].pages - 1);
            NEED(munmap(areas[which].start + rest * PAGE, (areas[which].pages - rest) * PAGE));
            areas[which].pages = rest;
            continue;
        }
        if (areas[which].pages) NEED(munmap(areas[which].start, areas[which].pages * PAGE));
        areas[which].pages = DRAW(2) ? 1 + DRAW(4000) : 1 + DRAW(40);
        areas[which].start = pages(areas[which].pages, READ_WRITE);
        areas[which].mark = 0;
        LOOK(areas[which]);
        areas[which].mark = (unsigned long)step << 20;
        EACH_PAGE(areas[which]) WORD(areas[which], i) = areas[which].mark + i;
    }
    say("wrong %ld", wrong);
}
