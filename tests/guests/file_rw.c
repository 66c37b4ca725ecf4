/* read, write, pread, pwrite, readv, writev, preadv2, lseek, truncate, fallocate: counts, positions, bad pointers. */
#include "hostile.h"
#include <sys/uio.h>

static char text[8192];

static void show(const char *name, int fd) {
    char buffer[128] = "";
    ssize_t n = pread(fd, buffer, sizeof buffer - 1, 0);
    for (ssize_t i = 0; i < n; i++) if (!buffer[i]) buffer[i] = '.';
    say("%s: %ld \"%s\"", name, (long)n, buffer);
}

CASE(read_and_write) {
    int fd = NEED(open("f", O_RDWR | O_CREAT, 0644));
    CHECK("write", write(fd, "hello world", 11));
    CHECK("at the end", read(fd, text, 10));
    CHECK("rewind", lseek(fd, 0, SEEK_SET));
    CHECK("short", read(fd, text, 5));
    CHECK("more than there is", read(fd, text, 100));
    CHECK("end", read(fd, text, 100));
    CHECK("end, bad pointer", read(fd, BAD_POINTER, 100));
    CHECK("end, kernel pointer", read(fd, KERNEL_POINTER, 100));
    CHECK("zero bytes", read(fd, text, 0));
    CHECK("zero bytes, bad pointer", read(fd, BAD_POINTER, 0));
    CHECK("write zero", write(fd, text, 0));
    lseek(fd, 0, SEEK_SET);
    CHECK("read to bad pointer", read(fd, BAD_POINTER, 5));
    CHECK("position kept", lseek(fd, 0, SEEK_CUR));
    CHECK("read to kernel pointer", read(fd, KERNEL_POINTER, 5));
    CHECK("write from bad pointer", write(fd, BAD_POINTER, 5));
    CHECK("size beyond SSIZE_MAX", read(fd, text, (size_t)-1));
    CHECK("write size beyond", write(fd, text, (size_t)-1));
    CHECK("bad descriptor", read(99, text, 1));
    CHECK("negative descriptor", write(-1, text, 1));
    int reader = NEED(open("f", O_RDONLY)), writer = NEED(open("f", O_WRONLY));
    CHECK("write to a reader", write(reader, "x", 1));
    CHECK("read from a writer", read(writer, text, 1));
    CHECK("directory", read(NEED(open(".", O_RDONLY)), text, 1));
    show("content", fd);
}

CASE(partly_bad_buffer) {
    char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(munmap(pages + PAGE, PAGE));
    int fd = NEED(open("f", O_RDWR | O_CREAT, 0644));
    memset(pages, 'a', PAGE);
    CHECK("write across the end", write(fd, pages + PAGE - 10, 20) > 0);
    CHECK("pwrite 100", pwrite(fd, text, 100, 0));
    CHECK("pread across the end", pread(fd, pages + PAGE - 10, 20, 0) > 0);
    NEED(mprotect(pages, PAGE, PROT_READ));
    CHECK("read to read-only memory", pread(fd, pages, 10, 0));
    CHECK("write from read-only memory", pwrite(fd, pages, 10, 0));
    NEED(mprotect(pages, PAGE, PROT_NONE));
    CHECK("write from PROT_NONE", pwrite(fd, pages, 10, 0));
}

CASE(positioned) {
    int fd = NEED(open("f", O_RDWR | O_CREAT, 0644));
    CHECK("pwrite", pwrite(fd, "abcdef", 6, 10));
    CHECK("position", lseek(fd, 0, SEEK_CUR));
    CHECK("pread", pread(fd, text, 4, 12));
    CHECK("pread hole", pread(fd, text, 4, 0));
    BOOL("zeros", memcmp(text, "\0\0\0\0", 4) == 0);
    CHECK("pread beyond", pread(fd, text, 4, 100));
    CHECK("pread beyond, bad pointer", pread(fd, BAD_POINTER, 4, 100));
    CHECK("pread negative", pread(fd, text, 4, -1));
    CHECK("pwrite negative", pwrite(fd, text, 4, -1));
    CHECK("pwrite huge", pwrite(fd, text, 4, INT64_MAX));
    int ends[2];
    NEED(pipe(ends));
    CHECK("pread on a pipe", pread(ends[0], text, 1, 0));
    CHECK("pwrite on a pipe", pwrite(ends[1], text, 1, 0));
    CHECK("lseek on a pipe", lseek(ends[0], 0, SEEK_CUR));
    CHECK("pread on a directory", pread(NEED(open(".", O_RDONLY)), text, 1, 0));
}

CASE(vectors) {
    int fd = NEED(open("f", O_RDWR | O_CREAT, 0644));
    struct iovec parts[] = {{"one ", 4}, {"", 0}, {"two ", 4}, {"three", 5}};
    CHECK("writev", writev(fd, parts, 4));
    show("written", fd);
    char a[3] = "", b[4] = "", c[20] = "";
    struct iovec into[] = {{a, 2}, {b, 3}, {c, 19}};
    lseek(fd, 0, SEEK_SET);
    CHECK("readv", readv(fd, into, 3));
    say("%s|%s|%s", a, b, c);
    CHECK("none", readv(fd, into, 0));
    CHECK("too many", writev(fd, parts, 1025));
    CHECK("negative count", writev(fd, parts, -1));
    CHECK("bad vector", writev(fd, BAD_POINTER, 1));
    struct iovec bad[] = {{"good", 4}, {BAD_POINTER, 4}};
    CHECK("second part bad", writev(fd, bad, 2));
    struct iovec negative[] = {{"good", 4}, {"x", (size_t)-1}};
    CHECK("negative length", writev(fd, negative, 2));
    CHECK("preadv", preadv(fd, into, 3, 4));
    say("%s|%s|%s", a, b, c);
    CHECK("pwritev", pwritev(fd, parts, 1, 4));
    CHECK("preadv negative", preadv(fd, into, 3, -5));
    CHECK("preadv2 -1 uses the position", preadv2(fd, into, 3, -1, 0));
    CHECK("preadv2 unknown flag", preadv2(fd, into, 3, 0, 0x4000));
    CHECK("preadv2 nowait", preadv2(fd, into, 1, 0, RWF_NOWAIT) >= -1);
    CHECK("pwritev2 dsync", pwritev2(fd, parts, 1, 0, RWF_DSYNC));
    show("at last", fd);
}

CASE(appending_vectors) {
    int fd = NEED(open("f", O_RDWR | O_CREAT, 0644));
    struct iovec part = {"one ", 4};
    NEED(pwrite(fd, "0123456789", 10, 0));
    CHECK("pwritev2", pwritev2(fd, &part, 1, 0, RWF_APPEND));
    CHECK("position", lseek(fd, 0, SEEK_CUR));
    show("all", fd);
}

CASE(seeking) {
    int fd = NEED(open("f", O_RDWR | O_CREAT, 0644));
    NEED(write(fd, "0123456789", 10));
    CHECK("set", lseek(fd, 3, SEEK_SET));
    CHECK("cur", lseek(fd, 2, SEEK_CUR));
    CHECK("cur back", lseek(fd, -4, SEEK_CUR));
    CHECK("end", lseek(fd, -2, SEEK_END));
    CHECK("before the start", lseek(fd, -11, SEEK_END));
    CHECK("unchanged", lseek(fd, 0, SEEK_CUR));
    CHECK("beyond", lseek(fd, 1000, SEEK_SET));
    CHECK("read there", read(fd, text, 1));
    CHECK("bad whence", lseek(fd, 0, 9));
    CHECK("overflow", lseek(fd, INT64_MAX, SEEK_END));
    CHECK("negative", lseek(fd, -1, SEEK_SET));
    CHECK("bad descriptor", lseek(99, 0, SEEK_SET));
    int copy = dup(fd);
    lseek(copy, 5, SEEK_SET);
    CHECK("dup shares", lseek(fd, 0, SEEK_CUR));
    IN_CHILD("child") lseek(fd, 7, SEEK_SET);
    CHECK("fork shares", lseek(fd, 0, SEEK_CUR));
    int other = NEED(open("f", O_RDONLY));
    CHECK("open does not", lseek(other, 0, SEEK_CUR));
    int null = NEED(open("/dev/null", O_RDWR)), zero = NEED(open("/dev/zero", O_RDWR));
    CHECK("null", lseek(null, 100, SEEK_SET));
    CHECK("zero", lseek(zero, 100, SEEK_SET));
}

CASE(data_and_holes) {
    int fd = NEED(open("f", O_RDWR | O_CREAT, 0644));
    CHECK("empty data", lseek(fd, 0, SEEK_DATA));
    CHECK("empty hole", lseek(fd, 0, SEEK_HOLE));
    NEED(ftruncate(fd, 1 << 20));
    CHECK("all hole", lseek(fd, 0, SEEK_HOLE));
    CHECK("no data", lseek(fd, 0, SEEK_DATA));
    NEED(pwrite(fd, text, 4096, 512 << 10));
    NEED(fsync(fd));
    CHECK("data", lseek(fd, 0, SEEK_DATA));
    CHECK("hole in data", lseek(fd, 512 << 10, SEEK_HOLE));
    CHECK("data beyond", lseek(fd, 600 << 10, SEEK_DATA));
    CHECK("at the end", lseek(fd, 1 << 20, SEEK_DATA));
    CHECK("hole at the end", lseek(fd, 1 << 20, SEEK_HOLE));
    CHECK("negative", lseek(fd, -1, SEEK_DATA));
}

CASE(truncating) {
    put_text("f", "0123456789");
    int fd = NEED(open("f", O_RDWR)), reader = NEED(open("f", O_RDONLY));
    struct stat st;
    CHECK("shorter", ftruncate(fd, 4));
    CHECK("longer", ftruncate(fd, 8));
    show("zeros", fd);
    CHECK("negative", ftruncate(fd, -1));
    CHECK("reader", ftruncate(reader, 0));
    CHECK("by path", truncate("f", 2));
    CHECK("by path, missing", truncate("none", 2));
    CHECK("directory", truncate(".", 2));
    CHECK("by path negative", truncate("f", -2));
    CHECK("bad pointer", truncate(BAD_POINTER, 2));
    CHECK("bad descriptor", ftruncate(99, 0));
    int ends[2];
    NEED(pipe(ends));
    CHECK("pipe", ftruncate(ends[1], 0));
    CHECK("large", ftruncate(fd, 1L << 40));
    CHECK("fstat", fstat(fd, &st));
    say("size %ld blocks %s", (long)st.st_size, st.st_blocks < 100 ? "few" : "many");
    CHECK("too large", ftruncate(fd, INT64_MAX));
    CHECK("small again", ftruncate(fd, 1));
    lseek(fd, 100, SEEK_SET);
    CHECK("write beyond", write(fd, "x", 1));
    CHECK("size", lseek(fd, 0, SEEK_END));
}

CASE(allocating) {
    int fd = NEED(open("f", O_RDWR | O_CREAT, 0644));
    struct stat st;
    CHECK("allocate", fallocate(fd, 0, 0, 65536));
    CHECK("size", lseek(fd, 0, SEEK_END));
    CHECK("keep size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 65536, 65536));
    CHECK("size", lseek(fd, 0, SEEK_END));
    fstat(fd, &st);
    BOOL("has blocks", st.st_blocks >= 256);
    memset(text, 'x', sizeof text);
    NEED(pwrite(fd, text, 8192, 0));
    CHECK("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
    NEED(pread(fd, text, 8192, 0));
    say("%d %d", text[0], text[4096]);
    CHECK("punch without keep", fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
    CHECK("zero range", fallocate(fd, FALLOC_FL_ZERO_RANGE, 4096, 10));
    NEED(pread(fd, text, 8192, 0));
    say("%d %d", text[4096], text[4106]);
}

CASE(allocating_refused) {
    int fd = NEED(open("f", O_RDWR | O_CREAT, 0644));
    CHECK("no length", fallocate(fd, 0, 0, 0));
    CHECK("negative", fallocate(fd, 0, -1, 10));
    CHECK("unknown mode", fallocate(fd, 0x4000, 0, 10));
    CHECK("bad descriptor", fallocate(99, 0, 0, 10));
    CHECK("reader", fallocate(NEED(open("f", O_RDONLY)), 0, 0, 10));
    int ends[2];
    NEED(pipe(ends));
    CHECK("pipe", fallocate(ends[1], 0, 0, 10));
    CHECK("directory", fallocate(NEED(open(".", O_RDONLY)), 0, 0, 10));
}

CASE(allocating_in_any_way) {
    int fd = NEED(open("f", O_RDWR | O_CREAT, 0644));
    CHECK_ERROR("posix_fallocate", posix_fallocate(fd, 0, 200000));
    CHECK("size", lseek(fd, 0, SEEK_END));
    CHECK_ERROR("posix_fadvise", posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    CHECK_ERROR("posix_fadvise bad", posix_fadvise(fd, 0, 0, 77));
    CHECK("readahead", readahead(fd, 0, 4096));
}

CASE(syncing) {
    int fd = NEED(open("f", O_RDWR | O_CREAT, 0644)), ends[2];
    NEED(pipe(ends));
    NEED(write(fd, "x", 1));
    CHECK("fsync", fsync(fd));
    CHECK("fdatasync", fdatasync(fd));
    CHECK("sync_file_range", sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    CHECK("sync_file_range flags", sync_file_range(fd, 0, 0, 0x100));
    CHECK("syncfs", syncfs(fd));
    CHECK("fsync pipe", fsync(ends[0]));
    CHECK("fdatasync bad", fdatasync(99));
    CHECK("syncfs bad", syncfs(99));
    CHECK("fsync directory", fsync(NEED(open(".", O_RDONLY))));
    CHECK("fsync null", fsync(NEED(open("/dev/null", O_RDONLY))));
    sync();
}
