/* mremap(2): growing, moving, shrinking, with each kind of backing. */
#include "memory.h"

static char *remap(char *old, size_t from, size_t to, int flags, char *target) {
    return (char *)syscall(SYS_mremap, old, from * PAGE, to * PAGE, flags, target);
}

CASE(grow_in_place) {
    char *base = free_range(8);
    NEED((long)mmap(base, 2 * PAGE, READ_WRITE, ANONYMOUS | MAP_FIXED, -1, 0));
    base[0] = 'a';
    base[2 * PAGE - 1] = 'b';
    say_place("grow", remap(base, 2, 4, 0, NULL), base);
    say("%c%c %d", base[0], base[2 * PAGE - 1], base[3 * PAGE]);
    FAULT("past the end", base, poke(base + 4 * PAGE, 1));
    NEED((long)mmap(base + 5 * PAGE, PAGE, READ_WRITE, ANONYMOUS | MAP_FIXED, -1, 0));
    say_place("exactly to the neighbour", remap(base, 4, 5, 0, NULL), base);
    say_place("into the neighbour", remap(base, 5, 6, 0, NULL), base);
    say_place("same size", remap(base, 5, 5, 0, NULL), base);
}

CASE(grow_and_move) {
    char *base = pages(5, READ_WRITE);
    memset(base, 'm', 2 * PAGE);
    base[4 * PAGE] = 'k';
    NEED(munmap(base + 2 * PAGE, 2 * PAGE));
    char *moved = remap(base, 2, 64, MREMAP_MAYMOVE, NULL);
    BOOL("moved", moved != MAP_FAILED && moved != base);
    say("%c%c %d", moved[0], moved[2 * PAGE - 1], moved[2 * PAGE]);
    FAULT("old place", base, peek(base));
    say("neighbour %c", base[4 * PAGE]);
    moved[64 * PAGE - 1] = 1;
}

CASE(shrink) {
    char *base = pages(6, READ_WRITE);
    memset(base, 's', 6 * PAGE);
    say_place("shrink", remap(base, 6, 2, 0, NULL), base);
    FAULT("kept", base, peek(base + 2 * PAGE - 1));
    FAULT("gone", base, peek(base + 2 * PAGE));
    say_place("shrink of the middle", remap(base, 1, 1, 0, NULL), base);
    say_maps("maps", base, 6 * PAGE);
}

CASE(fixed) {
    char *base = pages(2, READ_WRITE), *target = pages(4, READ_WRITE);
    memset(base, 'f', 2 * PAGE);
    memset(target, 't', 4 * PAGE);
    say_place("to the target", remap(base, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, target + PAGE), target);
    say("%c%c%c%c", target[0], target[PAGE], target[3 * PAGE - 1], target[3 * PAGE]);
    FAULT("source", base, peek(base));
    say_place("shrinking", remap(target, 4, 1, MREMAP_MAYMOVE | MREMAP_FIXED, base), base);
    say("%c", base[0]);
    say_maps("target", target, 4 * PAGE);
    say_place("overlapping", remap(base, 1, 2, MREMAP_MAYMOVE | MREMAP_FIXED, base), base);
    say_place("fixed without maymove", remap(base, 1, 1, MREMAP_FIXED, target), target);
    say_place("unaligned target", remap(base, 1, 1, MREMAP_MAYMOVE | MREMAP_FIXED, target + 1), target);
    say_place("kernel target", remap(base, 1, 1, MREMAP_MAYMOVE | MREMAP_FIXED, KERNEL_POINTER), target);
}

CASE(errors) {
    char *base = pages(3, READ_WRITE), *readonly = mmap(NULL, PAGE, PROT_READ, ANONYMOUS, -1, 0);
    NEED(mprotect(base + PAGE, PAGE, PROT_READ));
    say_place("unaligned", (char *)syscall(SYS_mremap, base + 1, PAGE, PAGE, 0, NULL), base);
    say_place("new size 0", remap(base, 1, 0, 0, NULL), base);
    say_place("unknown flag", remap(base, 1, 1, 16, NULL), base);
    say_place("hole", remap(free_range(2), 1, 2, MREMAP_MAYMOVE, NULL), base);
    say_place("across two areas", remap(base, 2, 4, MREMAP_MAYMOVE, NULL), base);
    say_place("huge", (char *)syscall(SYS_mremap, base, PAGE, 1UL << 62, MREMAP_MAYMOVE, NULL), base);
    say_place("old size 0, private", remap(base, 0, 1, MREMAP_MAYMOVE, NULL), base);
    char *moved = remap(readonly, 1, 3, MREMAP_MAYMOVE, NULL);
    FAULT("stays read only", moved, poke(moved + 2 * PAGE, 1));
}

CASE(shared) {
    char *base = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    base[0] = 'a';
    char *alias = remap(base, 0, 2, MREMAP_MAYMOVE, NULL);
    BOOL("a second view", alias != MAP_FAILED && alias != base);
    alias[PAGE] = 'z';
    say("%c%c", alias[0], base[PAGE]);
    char *target = pages(2, PROT_NONE);
    say_place("moved", remap(base, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, target), target);
    target[1] = 'y';
    say("%c%c", target[0], alias[1]);
    IN_CHILD("child") target[2] = 'x';
    say("%c", alias[2]);
}

CASE(file) {
    int fd = lettered_file("file", 6 * PAGE);
    char *base = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_PRIVATE, fd, PAGE);
    base[0] = 'P';
    char *moved = remap(base, 2, 4, MREMAP_MAYMOVE, NULL);
    say("private %c%c%c%c", moved[0], moved[PAGE], moved[2 * PAGE], moved[3 * PAGE]);
    char *shared = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, fd, 0), byte;
    shared = remap(shared, 1, 3, MREMAP_MAYMOVE, NULL);
    say("shared %c%c%c", shared[0], shared[PAGE], shared[2 * PAGE]);
    shared[2 * PAGE] = 'S';
    NEED(pread(fd, &byte, 1, 2 * PAGE));
    say("file %c", byte);
    shared = remap(shared, 3, 8, MREMAP_MAYMOVE, NULL);
    FAULT("past the end of the file", shared, peek(shared + 6 * PAGE));
}

CASE(keep_the_source) {
    char *base = pages(2, READ_WRITE);
    memset(base, 'd', 2 * PAGE);
    char *moved = remap(base, 2, 2, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    BOOL("moved", moved != MAP_FAILED && moved != base);
    say("new %c, old %d", moved[0], base[0]);
    base[0] = 'o';
    say("new %c, old %c", moved[0], base[0]);
    say_place("with another size", remap(base, 2, 3, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL), base);
    say_place("without maymove", remap(base, 2, 2, MREMAP_DONTUNMAP, NULL), base);
}

CASE(split_area) {
    char *base = pages(6, READ_WRITE), *target = pages(2, PROT_NONE);
    for (int i = 0; i < 6; i++) base[i * PAGE] = 'a' + i;
    say_place("middle", remap(base + 2 * PAGE, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, target), target);
    say("%c%c %c%c%c%c", target[0], target[PAGE], base[0], base[PAGE], base[4 * PAGE], base[5 * PAGE]);
    say_maps("source", base, 6 * PAGE);
}

CASE(after_fork) {
    char *base = pages(2, READ_WRITE);
    base[0] = 'p';
    IN_CHILD("child") {
        char *moved = remap(base, 2, 100, MREMAP_MAYMOVE, NULL);
        say("child %c", moved[0]);
        moved[0] = 'c';
    }
    say("parent %c", base[0]);
}

CASE(realloc_of_large) {
    size_t size = 1 << 20;
    unsigned char *block = malloc(size);
    memset(block, 7, size);
    for (int i = 0; i < 6; i++) {
        block = realloc(block, size * 2);
        memset(block + size, 7, size);
        size *= 2;
    }
    long sum = 0;
    for (size_t i = 0; i < size; i += 512) sum += block[i];
    say("%ld", sum);
    free(block);
}
