/* Threads of one process: making them, and waiting for a word. */
#define _GNU_SOURCE
#include "micro.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic unsigned there, back;
static atomic_bool over;
static pthread_t partner;

static long futex(_Atomic unsigned *word, int op, unsigned value)
{
    return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void *nothing(void *argument)
{
    return argument;
}

static void loop_create(long count)
{
    for (; count; count--) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, nothing, NULL) == 0, "pthread_create");
        must(pthread_join(thread, NULL) == 0, "pthread_join");
    }
}

static void loop_wake(long count)
{
    for (; count; count--)
        must(futex(&there, FUTEX_WAKE, 1) == 0, "futex");
}

static void set(_Atomic unsigned *word, unsigned value)
{
    *word = value;
    must(futex(word, FUTEX_WAKE, 1) >= 0, "futex");
}

static void await(_Atomic unsigned *word, unsigned value)
{
    for (unsigned seen; (seen = *word) != value;)
        must(futex(word, FUTEX_WAIT, seen) == 0 || errno == EAGAIN || errno == EINTR, "futex");
}

static void *answer(void *unused)
{
    for (;;) {
        await(&there, 1);
        if (over)
            return unused;
        there = 0;
        set(&back, 1);
    }
}

static void begin_pingpong(void)
{
    must(pthread_create(&partner, NULL, answer, NULL) == 0, "pthread_create");
}

static void loop_pingpong(long count)
{
    for (; count; count--) {
        set(&there, 1);
        await(&back, 1);
        back = 0;
    }
}

static void end_pingpong(void)
{
    over = true;
    set(&there, 1);
    must(pthread_join(partner, NULL) == 0, "pthread_join");
}

const struct row thread_rows[] = {
    {"thread_create", NULL, loop_create, NULL},
    {"futex_wake", NULL, loop_wake, NULL},
    {"futex_pingpong", begin_pingpong, loop_pingpong, end_pingpong},
    {NULL, NULL, NULL, NULL},
};
