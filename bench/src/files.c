/* Entry, clock, files and pipes: system calls that need no other process. */
#define _GNU_SOURCE
#include "micro.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int file = -1, ends[2];
static char buffer[PAGE];

static void open_scratch(void) { must((file = open(scratch, O_RDWR)) >= 0, "open"); }
static void close_scratch(void) { close(file); }

static void loop_getppid(long count)
{
    long parent = getppid();
    while (count--)
        must(syscall(SYS_getppid) == parent, "getppid");
}

/* One that Noah never answers from beside the guest (noah.syscalls.beside). */
static void loop_null_by_exit(long count)
{
    long highest = sched_get_priority_max(SCHED_OTHER);
    while (count--)
        must(syscall(SYS_sched_get_priority_max, SCHED_OTHER) == highest, "sched_get_priority_max");
}

static void loop_clock(long count)
{
    struct timespec t;
    while (count--)
        must(clock_gettime(CLOCK_MONOTONIC, &t) == 0, "clock_gettime");
}

static void loop_pread_1(long count)
{
    while (count--)
        must(pread(file, buffer, 1, PAGE) == 1, "pread");
}

static void loop_pread_4k(long count)
{
    while (count--)
        must(pread(file, buffer, PAGE, PAGE) == PAGE, "pread");
}

static void loop_pwrite_4k(long count)
{
    while (count--)
        must(pwrite(file, buffer, PAGE, PAGE) == PAGE, "pwrite");
}

static void loop_open_close(long count)
{
    while (count--) {
        int fd = open(scratch, O_RDONLY | O_CLOEXEC);
        must(fd >= 0 && close(fd) == 0, "open and close");
    }
}

static void loop_stat(long count)
{
    struct stat status;
    while (count--)
        must(stat(scratch, &status) == 0 && status.st_size == SCRATCH_SIZE, "stat");
}

static void loop_create_unlink(long count)
{
    char path[PAGE + 8];
    snprintf(path, sizeof path, "%s-new", scratch);
    while (count--) {
        int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
        must(fd >= 0 && close(fd) == 0 && unlink(path) == 0, "create and unlink");
    }
}

static void open_pipe(void) { must(pipe(ends) == 0, "pipe"); }

static void close_pipe(void)
{
    close(ends[0]);
    close(ends[1]);
}

static void loop_pipe_self(long count)
{
    while (count--)
        must(write(ends[1], "x", 1) == 1 && read(ends[0], buffer, 1) == 1, "pipe");
}

static volatile sig_atomic_t arrived;

static void on_signal(int number)
{
    (void)number;
    arrived++;
}

static void catch_signal(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    must(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
}

static void loop_signal_self(long count)
{
    pid_t self = getpid();
    long expected = arrived + count;
    while (count--)
        must(kill(self, SIGUSR1) == 0, "kill");
    must(arrived == (sig_atomic_t)expected, "a signal was lost");
}

const struct row file_rows[] = {
    {"getppid", NULL, loop_getppid, NULL},
    {"null_by_exit", NULL, loop_null_by_exit, NULL},
    {"clock_gettime", NULL, loop_clock, NULL},
    {"pread_1", open_scratch, loop_pread_1, close_scratch},
    {"pread_4k", open_scratch, loop_pread_4k, close_scratch},
    {"pwrite_4k", open_scratch, loop_pwrite_4k, close_scratch},
    {"open_close", NULL, loop_open_close, NULL},
    {"stat", NULL, loop_stat, NULL},
    {"create_unlink", NULL, loop_create_unlink, NULL},
    {"signal_self", catch_signal, loop_signal_self, NULL},
    {"pipe_self", open_pipe, loop_pipe_self, close_pipe},
    {0},
};
