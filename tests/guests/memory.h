/* What the mm_* programs share: mappings, files of known content, and their own /proc/self/maps. */
#ifndef MEMORY_H
#define MEMORY_H

#include "guest.h"

#define READ_WRITE (PROT_READ | PROT_WRITE)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

/* Private anonymous pages. */
static UNUSED char *pages(size_t count, int protection) {
    return (char *)NEED((long)mmap(NULL, count * PAGE, protection, ANONYMOUS, -1, 0));
}

/* An address range that is free, with a free page on both sides. */
static UNUSED char *free_range(size_t count) {
    char *base = pages(count + 2, PROT_NONE);
    NEED(munmap(base, (count + 2) * PAGE));
    return base + PAGE;
}

/* A new file whose page number i is filled with 'a' + i, open for reading and writing. */
static UNUSED int lettered_file(const char *path, size_t size) {
    int fd = NEED(open(path, O_RDWR | O_CREAT | O_TRUNC, 0644));
    char page[PAGE];
    for (size_t at = 0; at < size; at += PAGE) {
        size_t part = size - at < PAGE ? size - at : PAGE;
        memset(page, 'a' + at / PAGE, PAGE);
        if (pwrite(fd, page, part, at) != (ssize_t)part) _exit(97);
    }
    return fd;
}

/* The result of a mapping call: its place relative to base, or the errno. */
static UNUSED void say_place(const char *name, const void *got, const void *base) {
    if (got == MAP_FAILED) guest_result(name, -1, errno);
    else say("%s: base%+ld", name, (long)((uintptr_t)got - (uintptr_t)base));
}

/* What /proc/self/maps says of [base, base + length): pages, permissions, offset and last path part. Where Linux splits
 * and merges areas that are alike is its own affair, so neighbours that continue each other are printed as one. */
static UNUSED void say_maps(const char *name, const char *base, size_t length) {
    struct area { unsigned long start, end, offset; char permissions[8], path[PATH_MAX]; } now, last = {0};
    unsigned long first = (uintptr_t)base, limit = first + length;
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[PATH_MAX + 128];
    bool more = true;
    if (!maps) _exit(96);
    while (more) {
        now = (struct area){0};
        more = fgets(line, sizeof line, maps);
        if (more) {
            if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %s", &now.start, &now.end, now.permissions, &now.offset, now.path) < 4)
                _exit(95);
            if (now.start >= limit || now.end <= first) continue;
            if (now.start < first) {
                if (*now.path == '/') now.offset += first - now.start;
                now.start = first;
            }
            if (now.end > limit) now.end = limit;
            bool follows = *now.path != '/' || last.offset + (last.end - last.start) == now.offset;
            if (last.end == now.start && follows && strcmp(last.permissions, now.permissions) == 0 &&
                strcmp(last.path, now.path) == 0) {
                last.end = now.end;
                continue;
            }
        }
        if (last.end) {
            const char *slash = strrchr(last.path, '/');
            say("%s: page %ld to %ld %s offset %#lx %s", name, (long)(last.start - first) / (long)PAGE,
                (long)(last.end - first) / (long)PAGE, last.permissions, last.offset, slash ? slash + 1 : last.path);
        }
        last = now;
    }
    fclose(maps);
}

#endif
