/* Mappings and page faults. */
#define _GNU_SOURCE
#include "micro.h"

#include <sys/mman.h>

enum { FAULTS_AT_A_TIME = 512 };

static volatile char *area;

static char *map(long pages)
{
    char *start = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(start != MAP_FAILED, "mmap");
    return start;
}

static void loop_mmap_touch(long count)
{
    while (count--) {
        char *page = map(1);
        *(volatile char *)page = 1;
        must(munmap(page, PAGE) == 0, "munmap");
    }
}

/* One operation is the first store to a page; small pages, so that each of them faults. */
static void loop_page_fault(long count)
{
    while (count > 0) {
        long pages = count < FAULTS_AT_A_TIME ? count : FAULTS_AT_A_TIME;
        char *start = map(pages);
        madvise(start, pages * PAGE, MADV_NOHUGEPAGE);
        for (long i = 0; i < pages; i++) {
            volatile char *page = start + i * PAGE;
            must(*page == 0, "a new page is not zero");
            *page = 1;
        }
        must(munmap(start, pages * PAGE) == 0, "munmap");
        count -= pages;
    }
}

static void map_area(void) { area = map(1); }
static void unmap_area(void) { munmap((char *)area, PAGE); }

/* One operation is a store and both changes: to read-only and back. */
static void loop_mprotect(long count)
{
    while (count--) {
        *area = 1;
        must(mprotect((char *)area, PAGE, PROT_READ) == 0, "mprotect");
        must(mprotect((char *)area, PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
    }
}

const struct row memory_rows[] = {
    {"mmap_touch", 0, loop_mmap_touch, 0},
    {"page_fault", 0, loop_page_fault, 0},
    {"mprotect", map_area, loop_mprotect, unmap_area},
    {0},
};
