/* FIFOs: what opening waits for, both ends, non-blocking, removal while open. */
#include "hostile.h"

static char text[100];

CASE(open_waits_for_the_other_end) {
    NEED(mkfifo("p", 0600));
    pid_t child;
    START_CHILD(child) {
        sleep_ms(200);
        say("writer opens");
        int fd = NEED(open("p", O_WRONLY));
        NEED(write(fd, "through", 7));
    }
    int fd = NEED(open("p", O_RDONLY));
    say("reader is open");
    CHECK("read", read(fd, text, sizeof text));
    CHECK("end", read(fd, text, sizeof text));
    reap("writer", child);
    START_CHILD(child) {
        sleep_ms(200);
        say("reader opens");
        int reader = NEED(open("p", O_RDONLY));
        CHECK("child reads", read(reader, text, sizeof text));
    }
    close(fd);
    fd = NEED(open("p", O_WRONLY));
    say("writer is open");
    NEED(write(fd, "back", 4));
    reap("reader", child);
}

CASE(nonblocking) {
    NEED(mkfifo("p", 0600));
    CHECK("writer without reader", open("p", O_WRONLY | O_NONBLOCK));
    int reader = open("p", O_RDONLY | O_NONBLOCK);
    CHECK("reader without writer", reader >= 0);
    CHECK("no writer: end", read(reader, text, 10));
    int writer = NEED(open("p", O_WRONLY | O_NONBLOCK));
    CHECK("no data", read(reader, text, 10));
    CHECK("write", write(writer, "x", 1));
    CHECK("read", read(reader, text, 10));
    close(writer);
    CHECK("end", read(reader, text, 10));
    writer = NEED(open("p", O_WRONLY));
    CHECK("open again", read(reader, text, 10));
    close(reader);
    signal(SIGPIPE, SIG_IGN);
    CHECK("no reader", write(writer, "x", 1));
    signal(SIGPIPE, SIG_DFL);
    int both = NEED(open("p", O_RDWR));
    CHECK("both ends", write(both, "self", 4));
    CHECK("read own", read(both, text, 10));
}

CASE(kept_while_open) {
    NEED(mkfifo("p", 0600));
    int both = NEED(open("p", O_RDWR | O_NONBLOCK));
    NEED(write(both, "kept", 4));
    NEED(unlink("p"));
    CHECK("read", read(both, text, 10));
    NEED(mkfifo("p", 0600));
    int other = NEED(open("p", O_RDWR | O_NONBLOCK));
    NEED(write(other, "new", 3));
    CHECK("another pipe", read(both, text, 10));
    struct stat st;
    NEED(fstat(other, &st));
    say("%o size %ld", st.st_mode, (long)st.st_size);
    CHECK("truncate flag", open("p", O_RDWR | O_TRUNC | O_NONBLOCK) >= 0);
    CHECK("data survives", read(other, text, 10));
    CHECK("O_PATH", open("p", O_PATH) >= 0);
    CHECK("directory", open("p", O_RDONLY | O_DIRECTORY | O_NONBLOCK));
    CHECK("exclusive", open("p", O_RDWR | O_CREAT | O_EXCL, 0600));
}

static void on_alarm(int number UNUSED) { say("alarm"); }

CASE(open_is_interrupted) {
    NEED(mkfifo("p", 0600));
    struct sigaction action = {.sa_handler = on_alarm};
    NEED(sigaction(SIGALRM, &action, NULL));
    alarm(1);
    CHECK("reader", open("p", O_RDONLY));
    alarm(1);
    CHECK("writer", open("p", O_WRONLY));
    IN_CHILD("killed while it waits") {
        NEED(sigaction(SIGALRM, &(struct sigaction){.sa_handler = SIG_DFL}, NULL));
        alarm(1);
        open("p", O_RDONLY);
    }
}
