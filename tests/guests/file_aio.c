/* Asynchronous I/O: io_setup(2), io_submit(2), io_getevents(2), io_cancel(2), io_destroy(2). */
#include "guest.h"
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

static long setup(unsigned count, aio_context_t *context) { return syscall(SYS_io_setup, count, context); }
static long submit(aio_context_t context, long count, struct iocb **requests) {
    return syscall(SYS_io_submit, context, count, requests);
}
static long fetch(aio_context_t context, long least, long most, struct io_event *events, long ms) {
    struct timespec limit = {ms / 1000, ms % 1000 * 1000000};
    return syscall(SYS_io_getevents, context, least, most, events, ms < 0 ? NULL : &limit);
}
static long submit_one(aio_context_t context, struct iocb *request) { return submit(context, 1, &request); }

static struct iocb request(int opcode, int fd, void *buffer, size_t size, long offset) {
    return (struct iocb){.aio_lio_opcode = opcode, .aio_fildes = fd, .aio_buf = (uintptr_t)buffer, .aio_nbytes = size,
                         .aio_offset = offset, .aio_data = 1000 + opcode};
}

CASE(contexts) {
    aio_context_t context = 0, other = 0;
    CHECK("none", setup(0, &context));
    CHECK("bad pointer", setup(1, BAD_POINTER));
    CHECK("too many", setup(0x20000000, &context));
    CHECK("setup", setup(4, &context));
    CHECK("used", setup(4, &context));
    CHECK("another", setup(4, &other));
    BOOL("differs", context != other && context && other);
    IN_CHILD("child") {
        CHECK("not inherited", fetch(context, 0, 0, NULL, 0));
        CHECK("destroy", syscall(SYS_io_destroy, context));
    }
    CHECK("nothing yet", fetch(context, 0, 4, BAD_POINTER, 0));
    CHECK("least above most", fetch(context, 2, 1, BAD_POINTER, 0));
    CHECK("negative", fetch(context, -1, 1, BAD_POINTER, 0));
    int64_t start = now_ns(CLOCK_MONOTONIC);
    CHECK("waits", fetch(context, 1, 4, BAD_POINTER, 30));
    BOOL("not early", now_ns(CLOCK_MONOTONIC) - start >= 30000000);
    CHECK("destroy", syscall(SYS_io_destroy, context));
    CHECK("destroy twice", syscall(SYS_io_destroy, context));
    CHECK("submit to nothing", submit(context, 0, NULL));
    CHECK("destroy", syscall(SYS_io_destroy, other));
}

CASE(files) {
    aio_context_t context = 0;
    NEED(setup(8, &context));
    int fd = NEED(open("file", O_RDWR | O_CREAT, 0600));
    char text[32] = "0123456789abcdef", back[32] = "", part[4];
    struct iovec pieces[] = {{part, 4}, {back + 16, 6}};
    struct iocb write = request(IOCB_CMD_PWRITE, fd, text, 16, 4), read = request(IOCB_CMD_PREAD, fd, back, 32, 6),
                vector = request(IOCB_CMD_PREADV, fd, pieces, 2, 4), sync = request(IOCB_CMD_FSYNC, fd, NULL, 0, 0);
    struct iocb *all[] = {&write, &read, &vector, &sync};
    CHECK("submit", submit(context, 4, all));
    struct io_event events[8];
    CHECK("fetch", fetch(context, 4, 8, events, -1));
    int seen = 0;
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 4; k++) {
            if (events[i].obj != (uintptr_t)all[k]) continue;
            seen |= 1 << k;
            say("request %d: data %llu, result %lld", k, events[i].data, events[i].res);
        }
    }
    say("seen %x, %.14s, %.4s%.6s", seen, back, part, back + 16);
    struct iocb bad = request(IOCB_CMD_PREAD, 99, back, 1, 0);
    CHECK("no such file", submit_one(context, &bad));
    bad = request(77, fd, back, 1, 0);
    CHECK("no such request", submit_one(context, &bad));
    bad = request(IOCB_CMD_PREAD, fd, BAD_POINTER, 10, 4);
    if (submit_one(context, &bad) == 1) CHECK("fetch", fetch(context, 1, 1, events, -1));
    int reader = NEED(open("file", O_RDONLY));
    bad = request(IOCB_CMD_PWRITE, reader, text, 1, 0);
    CHECK("read-only", submit_one(context, &bad));
    bad = request(IOCB_CMD_PREAD, fd, back, 1, 0);
    bad.aio_reserved2 = 1;
    CHECK("reserved", submit_one(context, &bad));
    CHECK("bad pointers", submit(context, 1, BAD_POINTER));
    CHECK("negative", submit(context, -1, all));
    bad = request(IOCB_CMD_PREAD, 99, back, 1, 0);
    struct iocb *half[] = {&read, &bad};
    CHECK("one of two", submit(context, 2, half));
    CHECK("fetch", fetch(context, 1, 2, events, -1));
    struct iocb twelve[12], *pointers[12];
    for (int i = 0; i < 12; i++) twelve[i] = request(IOCB_CMD_PREAD, fd, back, 1, i), pointers[i] = &twelve[i];
    long submitted = submit(context, 8, pointers);
    long fetched = 0;
    while (fetched < submitted) fetched += NEED(fetch(context, 1, 8, events, -1));
    say("%ld submitted, %ld fetched", submitted, fetched);
    NEED(syscall(SYS_io_destroy, context));
}

CASE(counters) {
    aio_context_t context = 0;
    NEED(setup(8, &context));
    int fd = NEED(open("file", O_RDWR | O_CREAT, 0600)), counter = NEED(eventfd(0, EFD_NONBLOCK));
    struct iocb write = request(IOCB_CMD_PWRITE, fd, "abc", 3, 0);
    write.aio_flags = IOCB_FLAG_RESFD;
    write.aio_resfd = counter;
    CHECK("submit", submit_one(context, &write));
    CHECK("submit", submit_one(context, &write));
    uint64_t count = 0;
    struct io_event events[2];
    CHECK("fetch", fetch(context, 2, 2, events, -1));
    CHECK("read", read(counter, &count, 8));
    say("%lu", (unsigned long)count);
    write.aio_resfd = fd;
    CHECK("no counter", submit_one(context, &write));
    write.aio_resfd = 99;
    CHECK("no descriptor", submit_one(context, &write));
    NEED(syscall(SYS_io_destroy, context));
}

static aio_context_t shared_context;

static void *fetch_one(void *result) {
    struct io_event event;
    *(long *)result = fetch(shared_context, 1, 1, &event, -1) < 0 ? -errno : 1;
    return NULL;
}

static void join(const char *what, pthread_t thread, long *result) {
    NEED(pthread_join(thread, NULL));
    errno = *result < 0 ? -*result : 0;
    CHECK(what, *result < 0 ? -1 : *result);
}

CASE(waiting_threads) {
    pthread_t thread;
    long result;
    int fd = NEED(open("file", O_RDWR | O_CREAT, 0600));
    char text[4] = "abc";
    struct iocb write = request(IOCB_CMD_PWRITE, fd, text, 3, 0);
    NEED(setup(4, &shared_context));
    NEED(pthread_create(&thread, NULL, fetch_one, &result));
    usleep(30000);
    CHECK("submit", submit_one(shared_context, &write));
    join("has waited for it", thread, &result);
    NEED(pthread_create(&thread, NULL, fetch_one, &result));
    usleep(30000);
    CHECK("destroy", syscall(SYS_io_destroy, shared_context));
    join("has waited for what goes", thread, &result);
}

CASE(polling) {
    aio_context_t context = 0;
    NEED(setup(8, &context));
    int ends[2];
    NEED(pipe(ends));
    struct iocb ready = request(IOCB_CMD_POLL, ends[0], (void *)POLLIN, 0, 0);
    struct io_event event, unused;
    CHECK("submit", submit_one(context, &ready));
    CHECK("not yet", fetch(context, 0, 1, &event, 0));
    pid_t child;
    START_CHILD(child) {
        sleep_ms(20);
        NEED(write(ends[1], "x", 1));
    }
    CHECK("fetch", fetch(context, 1, 1, &event, -1));
    say("data %llu result %#llx", event.data, event.res & POLLIN);
    reap("child", child);
    char byte;
    NEED(read(ends[0], &byte, 1));
    CHECK("submit", submit_one(context, &ready));
    CHECK("cancel", syscall(SYS_io_cancel, context, &ready, &unused));
    CHECK("fetch", fetch(context, 1, 1, &event, 1000));
    say("result %lld", event.res);
    CHECK("cancel twice", syscall(SYS_io_cancel, context, &ready, &unused));
    int fd = NEED(open("file", O_RDWR | O_CREAT, 0600));
    ready = request(IOCB_CMD_POLL, fd, (void *)POLLIN, 0, 0);
    CHECK("a file", submit_one(context, &ready));
    NEED(syscall(SYS_io_destroy, context));
}
