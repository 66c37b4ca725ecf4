/* Executables made byte by byte: broken headers, odd segments, and the state of a process at its first instruction. */
#include <elf.h>

#include "guest.h"

#define BASE 0x400000UL
#define CODE_OFFSET 0x1000UL

/* An executable of one or more loadable segments; cases change what they need before they write it. */
struct image {
    Elf64_Ehdr header;
    Elf64_Phdr segments[4];
    char interpreter[64];
    unsigned char code[256];
    size_t size;
};

static struct image image_of(const void *code, size_t length) {
    struct image image = {
        .header = {
            .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
            .e_type = ET_EXEC,
#ifdef __x86_64__
            .e_machine = EM_X86_64,
#else
            .e_machine = EM_AARCH64,
#endif
            .e_version = EV_CURRENT, .e_entry = BASE + CODE_OFFSET, .e_phoff = sizeof(Elf64_Ehdr),
            .e_ehsize = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
        },
        .segments = {
            {PT_LOAD, PF_R, 0, BASE, BASE, 0x1000, 0x1000, PAGE},
            {PT_LOAD, PF_R | PF_X, CODE_OFFSET, BASE + CODE_OFFSET, BASE + CODE_OFFSET, 256, 256, PAGE},
        },
        .size = CODE_OFFSET + 256,
    };
    memcpy(image.code, code, length);
    return image;
}

static void run(const char *name, struct image *image) {
    char *argv[] = {"image", NULL}, *envp[] = {NULL}, file[CODE_OFFSET + 256] = {0};
    memcpy(file, &image->header, sizeof image->header);
    memcpy(file + sizeof image->header, image->segments, sizeof image->segments);
    memcpy(file + 0x800, image->interpreter, sizeof image->interpreter);
    memcpy(file + CODE_OFFSET, image->code, sizeof image->code);
    put_file("image", file, image->size < sizeof file ? image->size : sizeof file, 0755);
    NEED(truncate("image", image->size));
    IN_CHILD(name) {
        CHECK("execve", execve("./image", argv, envp));
        _exit(50);
    }
    unlink("image");
}

#ifdef __x86_64__
/* mov $7, %edi; mov $231, %eax; syscall */
static const unsigned char exit_7[] = {0xbf, 7, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05};
#else
/* mov x0, #7; mov x8, #94; svc #0 */
static const uint32_t exit_7[] = {0xd28000e0, 0xd2800bc8, 0xd4000001};
#endif

CASE(good) {
    struct image image = image_of(exit_7, sizeof exit_7);
    run("two segments", &image);
    image.header.e_phnum = 1;
    image.segments[0] = (Elf64_Phdr){PT_LOAD, PF_R | PF_X, 0, BASE, BASE, 0x1100, 0x1100, PAGE};
    run("one segment", &image);
    image.segments[0].p_flags = PF_R | PF_W | PF_X;
    image.segments[0].p_memsz = 0x100000;
    run("with bss", &image);
    image.segments[0].p_align = 0x200000;
    run("2 MiB alignment", &image);
    image.header.e_shoff = 0x123456;
    image.header.e_shnum = 99;
    run("section headers are not read", &image);
}

CASE(position_independent) {
    struct image image = image_of(exit_7, sizeof exit_7);
    image.header.e_type = ET_DYN;
    for (int i = 0; i < 2; i++) image.segments[i].p_vaddr -= BASE;
    image.header.e_entry -= BASE;
    run("static-pie", &image);
}

CASE(broken_header) {
    struct image good = image_of(exit_7, sizeof exit_7), image;
#define BROKEN(name, change) do { image = good; change; run(name, &image); } while (0)
    BROKEN("bad magic", image.header.e_ident[1] = 'X');
    BROKEN("relocatable", image.header.e_type = ET_REL);
    BROKEN("core", image.header.e_type = ET_CORE);
    BROKEN("other machine", image.header.e_machine = EM_SPARCV9);
    BROKEN("no segments", image.header.e_phnum = 0);
    BROKEN("segment size", image.header.e_phentsize = 55);
    BROKEN("too many segments", image.header.e_phnum = 60000);
    BROKEN("segments past the end", image.header.e_phoff = 0x100000);
    BROKEN("segments at a huge offset", image.header.e_phoff = 1UL << 62);
    BROKEN("only the magic", image.size = 4);
    BROKEN("half a header", image.size = 40);
    BROKEN("only the header", image.size = sizeof(Elf64_Ehdr));
    BROKEN("entry in no segment", image.header.e_entry = 0x10);
    BROKEN("class is not read", image.header.e_ident[EI_CLASS] = ELFCLASS32);
#undef BROKEN
}

CASE(broken_segments) {
    struct image good = image_of(exit_7, sizeof exit_7), image;
#define BROKEN(name, change) do { image = good; change; run(name, &image); } while (0)
    BROKEN("file part larger than memory", image.segments[1].p_memsz = 10);
    BROKEN("address not congruent", image.segments[1].p_vaddr += 0x10);
    BROKEN("in the kernel", image.segments[1].p_vaddr = 0xffff800000000000);
    BROKEN("huge", image.segments[1].p_memsz = 1UL << 60);
    BROKEN("not executable", image.segments[1].p_flags = PF_R);
    BROKEN("code is past the end of the file", (image.size = CODE_OFFSET));
    BROKEN("no loadable segment", (image.segments[0].p_type = PT_NOTE, image.segments[1].p_type = PT_NOTE));
#undef BROKEN
}

CASE(interpreter) {
    struct image image = image_of(exit_7, sizeof exit_7);
    image.header.e_phnum = 3;
    image.segments[2] = image.segments[1];
    image.segments[1] = image.segments[0];
    image.segments[0] = (Elf64_Phdr){PT_INTERP, PF_R, 0x800, BASE + 0x800, BASE + 0x800, 32, 32, 1};
    strcpy(image.interpreter, "/nonexistent/loader");
    image.segments[0].p_filesz = strlen(image.interpreter) + 1;
    run("missing", &image);
    image.segments[0].p_filesz = 10;
    run("not terminated", &image);
    image.segments[0].p_filesz = 1;
    run("one byte", &image);
    image.segments[0].p_filesz = 5000;
    run("too long", &image);
    put_text("text", "this is no program at all, and that long, longer than a header of 64 bytes\n");
    NEED(chmod("text", 0755));
    strcpy(image.interpreter, "text");
    image.segments[0].p_filesz = 5;
    run("not a program", &image);
    put_text("short", "x");
    NEED(chmod("short", 0755));
    strcpy(image.interpreter, "short");
    image.segments[0].p_filesz = 6;
    run("too short", &image);
    NEED(chmod("short", 0644));
    run("not executable", &image);
    strcpy(image.interpreter, ".");
    image.segments[0].p_filesz = 2;
    run("folder", &image);
}

#ifdef __x86_64__
CASE(x86_registers_at_entry) {
    static const unsigned char code[] = {
        0x48, 0x09, 0xd8, 0x48, 0x09, 0xc8, 0x48, 0x09, 0xd0, 0x48, 0x09, 0xf0, 0x48, 0x09, 0xf8, 0x48, 0x09, 0xe8,
        0x4c, 0x09, 0xc0, 0x4c, 0x09, 0xc8, 0x4c, 0x09, 0xd0, 0x4c, 0x09, 0xd8, 0x4c, 0x09, 0xe0, 0x4c, 0x09, 0xe8,
        0x4c, 0x09, 0xf0, 0x4c, 0x09, 0xf8,        /* or every register but rsp into rax */
        0x31, 0xff, 0x48, 0x85, 0xc0,              /* xor %edi, %edi; test %rax, %rax */
        0x40, 0x0f, 0x95, 0xc7,                    /* setne %dil */
        0xb8, 231, 0, 0, 0, 0x0f, 0x05,            /* exit_group */
    };
    struct image image = image_of(code, sizeof code);
    run("registers are 0", &image);
    static const unsigned char stack[] = {
        0x89, 0xe7, 0x83, 0xe7, 0x0f,              /* mov %esp, %edi; and $15, %edi */
        0x8b, 0x04, 0x24, 0x01, 0xc7,              /* mov (%rsp), %eax; add %eax, %edi: argc */
        0xb8, 231, 0, 0, 0, 0x0f, 0x05,
    };
    image = image_of(stack, sizeof stack);
    run("stack is aligned, argc 1", &image);
    static const unsigned char flags[] = {
        0x9c, 0x5f, 0x81, 0xe7, 0xd5, 0x0c, 0x00, 0x00,  /* pushfq; pop %rdi; and $0xcd5, %edi */
        0xb8, 231, 0, 0, 0, 0x0f, 0x05,
    };
    image = image_of(flags, sizeof flags);
    run("flags are 0", &image);
    static const unsigned char segments[] = {
        0x8c, 0xd8, 0x8c, 0xc3, 0x09, 0xd8,        /* mov %ds, %eax; mov %es, %ebx; or %ebx, %eax */
        0x8c, 0xe3, 0x09, 0xd8, 0x8c, 0xeb, 0x09, 0xd8,  /* or %fs and %gs into it */
        0x89, 0xc7, 0xb8, 231, 0, 0, 0, 0x0f, 0x05,
    };
    image = image_of(segments, sizeof segments);
    run("data selectors are 0", &image);
    static const unsigned char selectors[] = {
        0x8c, 0xc8, 0x8c, 0xd7, 0x01, 0xc7,        /* mov %cs, %eax; mov %ss, %edi; add %eax, %edi */
        0xb8, 231, 0, 0, 0, 0x0f, 0x05,
    };
    image = image_of(selectors, sizeof selectors);
    run("cs + ss", &image);
}

CASE(x86_system_call_registers) {
    /* getppid keeps everything but rax, rcx (the return address) and r11 (the flags). */
    static const unsigned char code[] = {
        0xbb, 1, 0, 0, 0, 0xba, 2, 0, 0, 0, 0xbe, 3, 0, 0, 0, 0xbf, 4, 0, 0, 0, 0xbd, 5, 0, 0, 0,
        0x41, 0xb8, 6, 0, 0, 0, 0x41, 0xb9, 7, 0, 0, 0, 0x41, 0xba, 8, 0, 0, 0, 0x41, 0xbc, 9, 0, 0, 0,
        0xb8, 110, 0, 0, 0, 0x0f, 0x05,            /* ebx 1, edx 2, esi 3, edi 4, ebp 5, r8 to r10 6 to 8, r12 9; getppid */
        0x48, 0x8d, 0x05, 0xf9, 0xff, 0xff, 0xff,  /* lea -7(%rip), %rax: the address after syscall */
        0x48, 0x29, 0xc1,                          /* sub %rax, %rcx */
        0x01, 0xd9, 0x01, 0xd1, 0x01, 0xf1, 0x01, 0xf9, 0x01, 0xe9,
        0x44, 0x01, 0xc1, 0x44, 0x01, 0xc9, 0x44, 0x01, 0xd1, 0x44, 0x01, 0xe1,
        0x89, 0xcf, 0xb8, 231, 0, 0, 0, 0x0f, 0x05,  /* exit with the sum: 45 */
    };
    struct image image = image_of(code, sizeof code);
    run("kept", &image);
}
#endif
