/* flock, POSIX record locks and open file description locks, between processes. */
#include "hostile.h"
#include <sys/file.h>

static int lock(int fd, int command, short kind, off_t start, off_t length) {
    struct flock region = {.l_type = kind, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &region);
}

static void holder(const char *name, int fd, int command, short kind, off_t start, off_t length, pid_t expected) {
    struct flock region = {.l_type = kind, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    if (fcntl(fd, command, &region)) say("%s: %s", name, strerrorname_np(errno));
    else if (region.l_type == F_UNLCK) say("%s: free", name);
    else
        say("%s: %s %ld+%ld whence %d by %s", name, region.l_type == F_RDLCK ? "read" : "write", (long)region.l_start,
            (long)region.l_len, region.l_whence,
            region.l_pid == expected ? "expected" : region.l_pid == -1 ? "-1" : "somebody");
}

CASE(flock_exclusion) {
    put_text("f", "x");
    int fd = NEED(open("f", O_RDWR)), other = NEED(open("f", O_RDWR)), copy = dup(fd);
    CHECK("shared", flock(fd, LOCK_SH));
    CHECK("shared twice", flock(other, LOCK_SH | LOCK_NB));
    CHECK("upgrade refused", flock(fd, LOCK_EX | LOCK_NB));
    CHECK("unlock", flock(other, LOCK_UN));
    CHECK("upgrade", flock(fd, LOCK_EX | LOCK_NB));
    CHECK("second", flock(other, LOCK_EX | LOCK_NB));
    CHECK("the dup is the same", flock(copy, LOCK_EX | LOCK_NB));
    IN_CHILD("inherited") {
        CHECK("same description", flock(fd, LOCK_EX | LOCK_NB));
        CHECK("another", flock(other, LOCK_SH | LOCK_NB));
        CHECK("unlocks for all", flock(copy, LOCK_UN));
    }
    CHECK("now free", flock(other, LOCK_EX | LOCK_NB));
    CHECK("close frees", close(other));
    CHECK("again", flock(fd, LOCK_EX | LOCK_NB));
    CHECK("close one of two", close(fd));
    int third = NEED(open("f", O_RDONLY));
    CHECK("still held by the dup", flock(third, LOCK_SH | LOCK_NB));
    close(copy);
    CHECK("read-only descriptor, exclusive", flock(third, LOCK_EX | LOCK_NB));
    CHECK("bad operation", flock(third, 16));
    CHECK("none", flock(third, 0));
    CHECK("bad descriptor", flock(99, LOCK_SH));
    CHECK("directory", flock(NEED(open(".", O_RDONLY)), LOCK_EX));
}

CASE(flock_waits) {
    put_text("f", "x");
    int fd = NEED(open("f", O_RDWR)), ready[2];
    char byte;
    NEED(pipe(ready));
    NEED(flock(fd, LOCK_EX));
    pid_t child;
    START_CHILD(child) {
        int own = NEED(open("f", O_RDWR));
        NEED(write(ready[1], "r", 1));
        CHECK("child got it", flock(own, LOCK_EX));
    }
    NEED(read(ready[0], &byte, 1));
    sleep_ms(200);
    say("parent unlocks");
    NEED(flock(fd, LOCK_UN));
    reap("child", child);
    CHECK("freed by exit", flock(fd, LOCK_EX | LOCK_NB));
}

CASE(posix_locks) {
    put_text("f", "0123456789");
    int fd = NEED(open("f", O_RDWR));
    pid_t me = getpid();
    CHECK("write 2+3", lock(fd, F_SETLK, F_WRLCK, 2, 3));
    CHECK("own again", lock(fd, F_SETLK, F_RDLCK, 3, 4));
    holder("own locks are invisible", fd, F_GETLK, F_WRLCK, 0, 0, me);
    IN_CHILD("other process") {
        int own = NEED(open("f", O_RDWR));
        holder("0+2", own, F_GETLK, F_WRLCK, 0, 2, me);
        holder("2+1", own, F_GETLK, F_RDLCK, 2, 1, me);
        holder("3+1 read", own, F_GETLK, F_RDLCK, 3, 1, me);
        holder("all", own, F_GETLK, F_WRLCK, 0, 0, me);
        CHECK("write 0+2", lock(own, F_SETLK, F_WRLCK, 0, 2));
        CHECK("write 1+2", lock(own, F_SETLK, F_WRLCK, 1, 2));
        CHECK("read 4+1", lock(own, F_SETLK, F_RDLCK, 4, 1));
        CHECK("write 4+1", lock(own, F_SETLK, F_WRLCK, 4, 1));
        CHECK("write to the end", lock(own, F_SETLK, F_WRLCK, 100, 0));
    }
    CHECK("unlock the middle", lock(fd, F_SETLK, F_UNLCK, 3, 1));
    IN_CHILD("other process") {
        int own = NEED(open("f", O_RDWR));
        holder("all", own, F_GETLK, F_WRLCK, 0, 0, me);
        holder("3+1", own, F_GETLK, F_WRLCK, 3, 1, me);
        holder("4+1", own, F_GETLK, F_WRLCK, 4, 1, me);
    }
    int other = NEED(open("f", O_RDONLY));
    CHECK("close of any descriptor frees", close(other));
    IN_CHILD("after close") holder("all", NEED(open("f", O_RDWR)), F_GETLK, F_WRLCK, 0, 0, me);
    int reader = NEED(open("f", O_RDONLY)), writer = NEED(open("f", O_WRONLY));
    CHECK("write lock on reader", lock(reader, F_SETLK, F_WRLCK, 0, 1));
    CHECK("read lock on writer", lock(writer, F_SETLK, F_RDLCK, 0, 1));
    CHECK("bad type", lock(fd, F_SETLK, 9, 0, 1));
    CHECK("negative start", lock(fd, F_SETLK, F_WRLCK, -1, 1));
    CHECK("negative length", lock(fd, F_SETLK, F_WRLCK, 5, -3));
    CHECK("overflow", lock(fd, F_SETLK, F_WRLCK, INT64_MAX, 10));
    CHECK("bad pointer", fcntl(fd, F_SETLK, BAD_POINTER));
    CHECK("bad descriptor", lock(99, F_SETLK, F_WRLCK, 0, 0));
    struct flock relative = {.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -4, .l_len = 2};
    CHECK("from the end", fcntl(fd, F_SETLK, &relative));
    IN_CHILD("from the end") holder("all", NEED(open("f", O_RDWR)), F_GETLK, F_WRLCK, 0, 0, me);
    relative.l_whence = 7;
    CHECK("bad whence", fcntl(fd, F_SETLK, &relative));
}

CASE(posix_waits_and_deadlock) {
    put_text("f", "0123456789");
    int fd = NEED(open("f", O_RDWR)), ready[2];
    char byte;
    NEED(pipe(ready));
    NEED(lock(fd, F_SETLK, F_WRLCK, 0, 1));
    pid_t child;
    START_CHILD(child) {
        NEED(lock(fd, F_SETLK, F_WRLCK, 1, 1));
        NEED(write(ready[1], "r", 1));
        CHECK("child waits for 0", lock(fd, F_SETLKW, F_WRLCK, 0, 1));
    }
    NEED(read(ready[0], &byte, 1));
    sleep_ms(200);
    CHECK("parent waits for 1", lock(fd, F_SETLKW, F_WRLCK, 1, 1));
    NEED(lock(fd, F_SETLK, F_UNLCK, 0, 0));
    reap("child", child);
    CHECK("freed by exit", lock(fd, F_SETLK, F_WRLCK, 0, 0));
}

static void on_alarm(int number UNUSED) {}

CASE(waiting_is_interrupted) {
    put_text("f", "0");
    int fd = NEED(open("f", O_RDWR)), ready[2];
    char byte;
    NEED(pipe(ready));
    pid_t child;
    START_CHILD(child) {
        NEED(lock(fd, F_SETLK, F_WRLCK, 0, 1));
        NEED(flock(NEED(open("f", O_RDWR)), LOCK_EX));
        NEED(write(ready[1], "r", 1));
        pause();
    }
    NEED(read(ready[0], &byte, 1));
    struct sigaction action = {.sa_handler = on_alarm};
    NEED(sigaction(SIGALRM, &action, NULL));
    alarm(1);
    CHECK("F_SETLKW", lock(fd, F_SETLKW, F_WRLCK, 0, 1));
    alarm(1);
    CHECK("flock", flock(fd, LOCK_EX));
    NEED(kill(child, SIGKILL));
    reap("holder", child);
    CHECK("freed by its death", lock(fd, F_SETLK, F_WRLCK, 0, 1));
}

CASE(description_locks) {
    put_text("f", "0123456789");
    int fd = NEED(open("f", O_RDWR)), other = NEED(open("f", O_RDWR));
    CHECK("first", lock(fd, F_OFD_SETLK, F_WRLCK, 0, 5));
    CHECK("same process, other description", lock(other, F_OFD_SETLK, F_WRLCK, 0, 5));
    holder("seen", other, F_OFD_GETLK, F_WRLCK, 0, 0, getpid());
    holder("not from itself", fd, F_OFD_GETLK, F_WRLCK, 0, 0, getpid());
    holder("seen by POSIX", other, F_GETLK, F_WRLCK, 0, 0, getpid());
    CHECK("conflicts with POSIX", lock(other, F_SETLK, F_WRLCK, 0, 1));
    IN_CHILD("child shares") {
        CHECK("relock", lock(fd, F_OFD_SETLK, F_WRLCK, 0, 9));
        CHECK("other", lock(other, F_OFD_SETLK, F_RDLCK, 8, 1));
    }
    CHECK("close of another keeps it", close(NEED(open("f", O_RDONLY))));
    holder("still", other, F_OFD_GETLK, F_WRLCK, 0, 0, getpid());
    CHECK("close frees", close(fd));
    CHECK("now", lock(other, F_OFD_SETLKW, F_WRLCK, 0, 0));
    struct flock with_pid = {.l_type = F_RDLCK, .l_pid = 5};
    CHECK("pid must be zero", fcntl(other, F_OFD_SETLK, &with_pid));
}
