/* One row of the benchmark: what begin() prepared, loop() does `count` times, end() tidies up. */
#ifndef MICRO_H
#define MICRO_H

#include <stdint.h>

struct row {
    const char *name;
    void (*begin)(void); /* may be null */
    void (*loop)(long count);
    void (*end)(void); /* may be null */
};

/* Each file's rows, ended by a null name. */
extern const struct row file_rows[], memory_rows[], process_rows[], thread_rows[], cpu_rows[];

/* A regular file of SCRATCH_SIZE bytes in the working directory. */
enum { PAGE = 4096, SCRATCH_SIZE = 16 * PAGE };
extern char scratch[];

/* Ends the program with a message and status 1 unless `condition` holds: a row that went wrong has no figure. */
void must(int condition, const char *what);

#endif
