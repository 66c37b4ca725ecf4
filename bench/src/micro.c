/*
 * micro ROW MILLISECONDS [DIRECTORY]
 *
 * Does one kind of operation for about that long and prints "row ns_per_op iterations". Without arguments it lists
 * the rows. Every operation checks its result.
 */
#define _GNU_SOURCE
#include "micro.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

char scratch[PAGE];

static const struct row *const files[] = {file_rows, memory_rows, process_rows, thread_rows, cpu_rows};

void must(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "micro: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Batches grow until one takes a third of the budget; the figure is the mean of all from the first such one on. */
static void measure(const struct row *row, int64_t budget)
{
    int64_t spent = 0, done = 0, begun = now();

    row->loop(1);
    for (long batch = 1; done == 0 || now() - begun < budget;) {
        int64_t start = now();
        row->loop(batch);
        int64_t took = now() - start;

        if (done || took * 3 >= budget) {
            spent += took;
            done += batch;
        } else {
            batch *= took * 12 >= budget ? 3 : 8;
        }
    }
    printf("%s %.2f %lld\n", row->name, (double)spent / done, (long long)done);
}

static const struct row *find(const char *name)
{
    for (size_t f = 0; f < sizeof files / sizeof *files; f++)
        for (const struct row *row = files[f]; row->name; row++)
            if (!strcmp(name, row->name))
                return row;
    return NULL;
}

static void make_scratch(const char *directory)
{
    static char zeros[SCRATCH_SIZE];
    must(snprintf(scratch, sizeof scratch, "%s/micro-XXXXXX", directory) < (int)sizeof scratch, "directory");
    int fd = mkstemp(scratch);
    must(fd >= 0, scratch);
    must(write(fd, zeros, sizeof zeros) == sizeof zeros, "write");
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        for (size_t f = 0; f < sizeof files / sizeof *files; f++)
            for (const struct row *row = files[f]; row->name; row++)
                puts(row->name);
        return 0;
    }
    const struct row *row = argc == 3 || argc == 4 ? find(argv[1]) : NULL;
    if (!row) {
        fprintf(stderr, "usage: micro ROW MILLISECONDS [DIRECTORY]; micro alone lists the rows\n");
        return 2;
    }
    make_scratch(argc == 4 ? argv[3] : "/tmp");
    if (row->begin)
        row->begin();
    measure(row, atoll(argv[2]) * 1000000);
    if (row->end)
        row->end();
    unlink(scratch);
    return 0;
}
