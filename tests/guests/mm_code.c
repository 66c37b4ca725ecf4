/* Code that is written at run time: the engine must never run what was there before. */
#include "memory.h"

typedef int (*function)(void);

/* A function that returns `value`, 0 to 65535. */
static void emit(char *at, int value) {
#ifdef __x86_64__
    unsigned char code[6] = {0xb8, value, value >> 8, 0, 0, 0xc3};  /* mov $value, %eax; ret */
#else
    uint32_t code[2] = {0x52800000 | (uint32_t)value << 5, 0xd65f03c0};  /* mov w0, #value; ret */
#endif
    memcpy(at, code, sizeof code);
    __builtin___clear_cache(at, at + sizeof code);
}

static int call(char *at) { return ((function)at)(); }

CASE(write_then_execute) {
    char *code = pages(1, READ_WRITE);
    emit(code, 41);
    FAULT("not yet", code, call(code));
    CHECK("mprotect", mprotect(code, PAGE, PROT_READ | PROT_EXEC));
    say("%d", call(code));
    FAULT("write", code, poke(code, 1));
    CHECK("mprotect", mprotect(code, PAGE, READ_WRITE));
    FAULT("no longer", code, call(code));
}

CASE(flip) {
    char *code = pages(1, READ_WRITE);
    long sum = 0;
    for (int i = 0; i < 100; i++) {
        NEED(mprotect(code, PAGE, READ_WRITE));
        emit(code + i % 7 * 16, i);
        NEED(mprotect(code, PAGE, PROT_READ | PROT_EXEC));
        sum += call(code + i % 7 * 16);
    }
    say("%ld", sum);
}

CASE(write_and_execute) {
    char *code = pages(1, READ_WRITE | PROT_EXEC);
    long sum = 0;
    for (int i = 0; i < 1000; i++) {
        emit(code, i);
        sum += call(code);
    }
    say("%ld", sum);
    emit(code + 256, 1);
    emit(code + 512, 2);
    say("%d %d", call(code + 256), call(code + 512));
}

CASE(two_views) {
    int fd = NEED(memfd_create("code", 0));
    NEED(ftruncate(fd, PAGE));
    char *write = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, fd, 0);
    char *execute = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    long sum = 0;
    for (int i = 0; i < 50; i++) {
        emit(write, i);
        __builtin___clear_cache(execute, execute + 16);
        sum += call(execute);
    }
    say("%ld", sum);
}

CASE(mapped_again) {
    char *code = free_range(1);
    long sum = 0;
    for (int i = 0; i < 20; i++) {
        NEED((long)mmap(code, PAGE, READ_WRITE | PROT_EXEC, ANONYMOUS | MAP_FIXED, -1, 0));
        emit(code, 100 + i);
        sum += call(code);
        if (i % 2) NEED(munmap(code, PAGE));
    }
    say("%ld", sum);
    FAULT("unmapped", code, call(code));
}

CASE(moved) {
    char *code = pages(1, READ_WRITE | PROT_EXEC), *target = pages(1, READ_WRITE | PROT_EXEC);
    emit(code, 7);
    emit(target, 8);
    say("%d %d", call(code), call(target));
    NEED((long)mremap(code, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target));
    say("%d", call(target));
    FAULT("old place", code, call(code));
}

CASE(dropped) {
    char *code = pages(2, READ_WRITE | PROT_EXEC);
    emit(code, 9);
    emit(code + PAGE, 10);
    say("%d %d", call(code), call(code + PAGE));
    NEED(madvise(code, PAGE, MADV_DONTNEED));
    say("%d", code[0]);
    emit(code, 11);
    say("%d", call(code));
}

CASE(file) {
    char page[PAGE] = {0};
    emit(page, 12);
    put_file("code", page, PAGE, 0755);
    int fd = NEED(open("code", O_RDWR));
    char *code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    say("%d", call(code));
    emit(page, 13);
    NEED(pwrite(fd, page, 16, 0));
    __builtin___clear_cache(code, code + 16);
    say("%d", call(code));
    NEED(read(fd, page, 1));
    char *private = mmap(NULL, PAGE, READ_WRITE | PROT_EXEC, MAP_PRIVATE, fd, 0);
    say("%d", call(private));
    emit(private, 14);
    say("%d %d", call(private), call(code));
    NEED(unlink("code"));  /* its content depends on the processor */
}

CASE(read_by_a_call) {
    char *code = pages(1, READ_WRITE | PROT_EXEC), bytes[64] = {0};
    int ends[2];
    NEED(pipe(ends));
    long sum = 0;
    emit(code, 1);
    for (int i = 0; i < 20; i++) {
        emit(bytes, 50 + i);
        NEED(write(ends[1], bytes, sizeof bytes));
        NEED(read(ends[0], code, sizeof bytes));  /* the kernel writes the code */
        __builtin___clear_cache(code, code + 64);
        sum += call(code);
    }
    say("%ld", sum);
}

CASE(after_fork) {
    char *code = pages(1, READ_WRITE | PROT_EXEC);
    emit(code, 20);
    say("%d", call(code));
    IN_CHILD("child") {
        say("child %d", call(code));
        emit(code, 21);
        say("child %d", call(code));
    }
    say("parent %d", call(code));
}

CASE(over_a_page_boundary) {
    char *code = pages(2, READ_WRITE | PROT_EXEC);
    char *at = code + PAGE - 3;
#ifndef __x86_64__
    at = code + PAGE - 4;
#endif
    emit(at, 30);
    say("%d", call(at));
    NEED(mprotect(code + PAGE, PAGE, READ_WRITE));
    FAULT("second page not executable", code, call(at));
    NEED(mprotect(code + PAGE, PAGE, READ_WRITE | PROT_EXEC));
    emit(at, 31);
    say("%d", call(at));
}

CASE(own_code) {
    const unsigned char *text = (const unsigned char *)(uintptr_t)call;
    long sum = 0;
    for (int i = 0; i < 16; i++) sum += text[i];
    BOOL("readable", sum > 0);
    FAULT("write", text, poke((char *)text, 0));
    char *page = (char *)((uintptr_t)text & -PAGE);
    CHECK("writable copy", mprotect(page, PAGE, READ_WRITE | PROT_EXEC));
    poke((char *)text, *text);
    CHECK("back", mprotect(page, PAGE, PROT_READ | PROT_EXEC));
    char *copy = pages(1, READ_WRITE | PROT_EXEC);
    emit(copy, 40);
    say("%d", call(copy));
}

#ifdef __x86_64__
CASE(x86_patches_itself) {
    /* The loop writes the immediate operand of an instruction that it then runs. */
    static const unsigned char source[] = {
        0x31, 0xc9,                          /* xor %ecx, %ecx */
        0x31, 0xc0,                          /* xor %eax, %eax */
        0xff, 0xc1,                          /* 4: inc %ecx */
        0x89, 0x0d, 0x01, 0x00, 0x00, 0x00,  /* mov %ecx, 1(%rip) */
        0x05, 0x00, 0x00, 0x00, 0x00,        /* 12: add $0, %eax */
        0x83, 0xf9, 0x0a,                    /* cmp $10, %ecx */
        0x75, 0xee,                          /* jne 4 */
        0xc3,
    };
    char *code = pages(1, READ_WRITE | PROT_EXEC);
    memcpy(code, source, sizeof source);
    say("%d", call(code));
}
#endif
