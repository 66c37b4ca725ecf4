/* Terminals: a pseudo-terminal made here, its line discipline, ioctls, sessions, job control signals. */
#include "hostile.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <termios.h>

static int master, slave;
static char name[64];

static void make_pty(void) {
    master = NEED(posix_openpt(O_RDWR | O_NOCTTY));
    NEED(grantpt(master) | unlockpt(master));
    NEED(ptsname_r(master, name, sizeof name));
    slave = NEED(open(name, O_RDWR | O_NOCTTY));
}

/* Waits for input, reads it and prints it with control characters escaped. */
static void shows(const char *what, int fd) {
    char raw[256], line[1024];
    struct pollfd one = {.fd = fd, .events = POLLIN};
    if (poll(&one, 1, 2000) == 0) {
        say("%s: nothing", what);
        return;
    }
    ssize_t n = read(fd, raw, sizeof raw);
    if (n < 0) {
        say("%s: %s", what, strerrorname_np(errno));
        return;
    }
    int at = 0;
    for (ssize_t i = 0; i < n; i++)
        at += sprintf(line + at, raw[i] >= ' ' && raw[i] < 127 ? "%c" : "\\%03o", (unsigned char)raw[i]);
    line[at] = 0;
    say("%s: %ld \"%s\"", what, (long)n, line);
}

static void quiet(const char *what, int fd) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    say("%s: %s", what, poll(&one, 1, 100) ? "something" : "nothing");
}

static void types(const char *keys) { NEED(write(master, keys, strlen(keys))); }

CASE(making) {
    int number;
    master = NEED(posix_openpt(O_RDWR | O_NOCTTY));
    NEED(ioctl(master, TIOCGPTN, &number));
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    CHECK("locked", open(name, O_RDWR | O_NOCTTY));
    CHECK("unlockpt", unlockpt(master));
    BOOL("ptsname", strcmp(ptsname(master), name) == 0);
    slave = open(name, O_RDWR | O_NOCTTY);
    CHECK("open", slave >= 0);
    struct stat st;
    NEED(fstat(slave, &st));
    say("%o major %u", st.st_mode & S_IFMT, (unsigned)(st.st_rdev >> 8));
    CHECK("isatty slave", isatty(slave));
    CHECK("isatty master", isatty(master));
    char found[64] = "";
    CHECK_ERROR("ttyname", ttyname_r(slave, found, sizeof found));
    BOOL("same name", strcmp(found, name) == 0);
    CHECK("isatty null", isatty(NEED(open("/dev/null", O_RDWR))));
    CHECK("second", ({ int other = NEED(posix_openpt(O_RDWR | O_NOCTTY)); int n; NEED(ioctl(other, TIOCGPTN, &n)); n != number; }));
    CHECK("TIOCGPTPEER", ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY) >= 0);
}

CASE(lock) {
    int locked = -1;
    master = NEED(posix_openpt(O_RDWR | O_NOCTTY));
    CHECK("TIOCGPTLCK", ioctl(master, TIOCGPTLCK, &locked));
    say("%d", locked);
    NEED(unlockpt(master));
    CHECK("TIOCGPTLCK", ioctl(master, TIOCGPTLCK, &locked));
    say("%d", locked);
}

CASE(locked_attributes) {
    make_pty();
    struct termios locked;
    memset(&locked, 1, sizeof locked);
    CHECK("TIOCGLCKTRMIOS", ioctl(slave, TIOCGLCKTRMIOS, &locked));
    say("i %o o %o c %o l %o", locked.c_iflag, locked.c_oflag, locked.c_cflag, locked.c_lflag);
    CHECK("TIOCGLCKTRMIOS nowhere", ioctl(slave, TIOCGLCKTRMIOS, (void *)8));
}

CASE(attributes) {
    make_pty();
    struct termios t, back;
    CHECK("tcgetattr", tcgetattr(slave, &t));
    say("i %o o %o c %o l %o", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
    for (int i = 0; i < 17; i++) if (t.c_cc[i]) say("cc %d: %d", i, t.c_cc[i]);
    say("speed %o %o", cfgetispeed(&t), cfgetospeed(&t));
    cfmakeraw(&t);
    t.c_cc[VMIN] = 3;
    t.c_cc[VTIME] = 5;
    CHECK("TCSANOW", tcsetattr(slave, TCSANOW, &t));
    NEED(tcgetattr(master, &back));
    say("i %o o %o c %o l %o min %d time %d", back.c_iflag, back.c_oflag, back.c_cflag, back.c_lflag, back.c_cc[VMIN], back.c_cc[VTIME]);
    cfsetspeed(&t, B9600);
    CHECK("TCSADRAIN", tcsetattr(slave, TCSADRAIN, &t));
    CHECK("TCSAFLUSH", tcsetattr(slave, TCSAFLUSH, &t));
    NEED(tcgetattr(slave, &back));
    say("speed %o", cfgetospeed(&back));
    CHECK("bad action", tcsetattr(slave, 99, &t));
    CHECK("on a file", tcgetattr(NEED(open("f", O_CREAT | O_RDWR, 0600)), &t));
    CHECK("bad pointer", ioctl(slave, TCGETS, BAD_POINTER));
    CHECK("bad pointer to set", ioctl(slave, TCSETS, BAD_POINTER));
}

CASE(cooked_input) {
    make_pty();
    types("half");
    quiet("no line yet", slave);
    shows("echo", master);
    types(" line\r");
    shows("line", slave);
    shows("echo", master);
    types("wrong\177\177\177ite\n");
    shows("erase", slave);
    shows("echo", master);
    types("killed\025kept\n");
    shows("kill", slave);
    shows("echo", master);
    types("two words\027gone\n");
    shows("word erase", slave);
    shows("echo", master);
    types("literal \026\003\n");
    shows("literal next", slave);
    shows("echo", master);
    types("no newline\004");
    shows("end of file flushes", slave);
    types("\004");
    shows("end of file", slave);
    shows("echo", master);
    types("one\ntwo\n");
    shows("a line at a time", slave);
    shows("and the next", slave);
    char byte;
    types("abc\n");
    NEED(read(slave, &byte, 1));
    shows("rest of the line", slave);
    int waiting;
    types("xyz\n");
    NEED(poll(&(struct pollfd){slave, POLLIN, 0}, 1, 2000));
    CHECK("FIONREAD", ioctl(slave, FIONREAD, &waiting));
    say("%d", waiting);
    CHECK("TCIFLUSH", tcflush(slave, TCIFLUSH));
    quiet("flushed", slave);
}

CASE(output) {
    make_pty();
    struct termios t;
    NEED(write(slave, "a\nb\tc\r\n", 7));
    shows("newlines", master);
    NEED(tcgetattr(slave, &t));
    t.c_oflag &= ~OPOST;
    NEED(tcsetattr(slave, TCSANOW, &t));
    NEED(write(slave, "a\nb", 3));
    shows("raw", master);
    CHECK("tcdrain", tcdrain(slave));
    CHECK("TIOCOUTQ", ({ int n; ioctl(slave, TIOCOUTQ, &n) ? -1 : n; }));
    CHECK("tcflow off", tcflow(slave, TCOOFF));
    CHECK("tcflow on", tcflow(slave, TCOON));
    CHECK("tcsendbreak", tcsendbreak(slave, 0));
    NEED(write(slave, "\033[1m", 4));
    shows("escape", master);
}

CASE(raw_input) {
    make_pty();
    struct termios t;
    NEED(tcgetattr(slave, &t));
    cfmakeraw(&t);
    NEED(tcsetattr(slave, TCSANOW, &t));
    types("\003\r\032x");
    shows("every byte", slave);
    quiet("no echo", master);
    t.c_cc[VMIN] = 0;
    t.c_cc[VTIME] = 1;
    NEED(tcsetattr(slave, TCSANOW, &t));
    char byte;
    CHECK("time out", read(slave, &byte, 1));
    t.c_cc[VTIME] = 0;
    NEED(tcsetattr(slave, TCSANOW, &t));
    CHECK("at once", read(slave, &byte, 1));
    NEED(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK));
    t.c_cc[VMIN] = 1;
    NEED(tcsetattr(slave, TCSANOW, &t));
    CHECK("nonblocking", read(slave, &byte, 1));
}

CASE(window_size) {
    make_pty();
    struct winsize size = {1, 1, 1, 1};
    CHECK("TIOCGWINSZ", ioctl(slave, TIOCGWINSZ, &size));
    say("%d %d %d %d", size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel);
    size = (struct winsize){30, 100, 640, 480};
    CHECK("TIOCSWINSZ", ioctl(master, TIOCSWINSZ, &size));
    size = (struct winsize){0};
    NEED(ioctl(slave, TIOCGWINSZ, &size));
    say("%d %d %d %d", size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel);
    CHECK("bad pointer", ioctl(slave, TIOCSWINSZ, BAD_POINTER));
    CHECK("on a pipe", ({ int ends[2]; NEED(pipe(ends)); ioctl(ends[0], TIOCGWINSZ, &size); }));
}

static volatile sig_atomic_t got;
static void on_signal(int number) { got = number; }

static void become_session(void) {
    NEED(setsid());
    NEED(ioctl(slave, TIOCSCTTY, 0));
}

static void waits_for_signal(const char *what) {
    for (int i = 0; i < 200 && !got; i++) sleep_ms(10);
    say("%s: %s", what, got ? signal_name(got) : "none");
    got = 0;
}

CASE(controlling_terminal) {
    make_pty();
    IN_CHILD("leader") {
        CHECK("not leader yet", ioctl(slave, TIOCSCTTY, 0));
        NEED(setsid());
        CHECK("/dev/tty before", open("/dev/tty", O_RDWR));
        CHECK("TIOCSCTTY", ioctl(slave, TIOCSCTTY, 0));
        int tty = open("/dev/tty", O_RDWR);
        CHECK("/dev/tty", tty >= 0);
        BOOL("foreground", tcgetpgrp(tty) == getpid());
        BOOL("session", tcgetsid(slave) == getpid());
        NEED(write(tty, "via tty", 7));
        CHECK("to another's group", tcsetpgrp(slave, 1));
        CHECK("to no group", tcsetpgrp(slave, 999999));
        CHECK("negative", tcsetpgrp(slave, -1));
        CHECK("TIOCNOTTY ", (signal(SIGHUP, SIG_IGN), ioctl(tty, TIOCNOTTY)));
        CHECK("/dev/tty after", open("/dev/tty", O_RDWR));
    }
    shows("master", master);
    CHECK("not my terminal", tcgetpgrp(slave));
    CHECK("tcsetpgrp", tcsetpgrp(slave, getpgrp()));
}

CASE(master_is_never_in_the_background) {
    make_pty();
    int ready[2];
    NEED(pipe(ready));
    pid_t child;
    START_CHILD(child) {
        become_session();
        NEED(write(slave, "first", 5));
        NEED(write(ready[1], "r", 1));
        char byte;
        NEED(read(slave, &byte, 1));
        say("slave read %c", byte);
        signal(SIGHUP, SIG_IGN);
    }
    char byte, text[16] = "";
    NEED(read(ready[0], &byte, 1));
    struct iovec part = {text, 3};
    CHECK("readv", readv(master, &part, 1));
    CHECK("read", read(master, text, 10));
    BOOL("foreground group is the child's", tcgetpgrp(master) == child);
    CHECK("TIOCGSID", ({ int session = 0; ioctl(master, TIOCGSID, &session) ? -1 : session == child; }));
    types("x\n");
    reap("child", child);
}

CASE(open_makes_it_controlling) {
    make_pty();
    IN_CHILD("leader") {
        NEED(setsid());
        int fd = NEED(open(name, O_RDWR));
        BOOL("now", tcgetsid(fd) == getpid());
        CHECK("/dev/tty", open("/dev/tty", O_RDWR) >= 0);
        signal(SIGHUP, SIG_IGN);
    }
}

CASE(keys_send_signals) {
    make_pty();
    int ready[2];
    NEED(pipe(ready));
    pid_t child;
    START_CHILD(child) {
        become_session();
        static const int numbers[] = {SIGINT, SIGQUIT, SIGTSTP, SIGWINCH, SIGHUP};
        for (size_t i = 0; i < LENGTH(numbers); i++) signal(numbers[i], on_signal);
        for (int i = 0; i < 5; i++) {
            NEED(write(ready[1], "r", 1));
            waits_for_signal("child");
        }
    }
    char byte;
    static const char *const keys[] = {"\003", "\034", "\032"};
    for (int i = 0; i < 3; i++) {
        NEED(read(ready[0], &byte, 1));
        types(keys[i]);
    }
    NEED(read(ready[0], &byte, 1));
    NEED(ioctl(master, TIOCSWINSZ, &(struct winsize){20, 70, 0, 0}));
    NEED(read(ready[0], &byte, 1));
    close(slave);
    NEED(close(master));
    reap("child", child);
}

CASE(background_processes) {
    make_pty();
    IN_CHILD("leader") {
        become_session();
        int status;
        pid_t background = NEED(fork());
        if (background == 0) {
            NEED(setpgid(0, 0));
            char byte;
            raise(SIGSTOP);
            read(slave, &byte, 1);
            _exit(read(slave, &byte, 1) == 1 ? byte : 0);
        }
        setpgid(background, background);
        NEED(waitpid(background, &status, WUNTRACED));
        say_status("ready", status);
        NEED(kill(background, SIGCONT));
        NEED(waitpid(background, &status, WUNTRACED));
        say_status("reads in the background", status);
        CHECK("tcsetpgrp", tcsetpgrp(slave, background));
        NEED(kill(background, SIGCONT));
        types("ab\n");
        NEED(waitpid(background, &status, WUNTRACED));
        say_status("in the foreground", status);
        /* Now this process is in the background: taking the terminal back stops it unless SIGTTOU is blocked. */
        signal(SIGTTOU, SIG_IGN);
        CHECK("take it back", tcsetpgrp(slave, getpgrp()));
        signal(SIGTTOU, SIG_DFL);
        struct termios t;
        NEED(tcgetattr(slave, &t));
        t.c_lflag |= TOSTOP;
        NEED(tcsetattr(slave, TCSANOW, &t));
        background = NEED(fork());
        if (background == 0) {
            NEED(setpgid(0, 0));
            write(slave, "x", 1);
            _exit(0);
        }
        setpgid(background, background);
        NEED(waitpid(background, &status, WUNTRACED));
        say_status("writes with tostop", status);
        NEED(kill(background, SIGKILL));
        NEED(waitpid(background, &status, 0));
        say_status("killed", status);
        signal(SIGHUP, SIG_IGN);
    }
}

CASE(orphaned_group_reads) {
    make_pty();
    IN_CHILD("leader") {
        become_session();
        IN_CHILD("background with ignored SIGTTIN") {
            NEED(setpgid(0, 0));
            signal(SIGTTIN, SIG_IGN);
            char byte;
            CHECK("read", read(slave, &byte, 1));
        }
        signal(SIGHUP, SIG_IGN);
    }
}

CASE(hang_up) {
    make_pty();
    NEED(write(slave, "last", 4));
    close(slave);
    shows("data first", master);
    shows("then", master);
    struct pollfd one = {.fd = master, .events = POLLIN | POLLOUT};
    CHECK("poll", poll(&one, 1, 0));
    BOOL("POLLHUP", one.revents & POLLHUP);
    slave = NEED(open(name, O_RDWR | O_NOCTTY));
    types("again\n");
    shows("opened again", slave);
    close(master);
    shows("no master", slave);
    CHECK("write", write(slave, "x", 1));
    CHECK("ioctl", ioctl(slave, TIOCGWINSZ, &(struct winsize){0}));
    CHECK("gone", open(name, O_RDWR | O_NOCTTY));
}

CASE(packet_and_exclusive_modes) {
    make_pty();
    int on = 1;
    CHECK("TIOCPKT", ioctl(master, TIOCPKT, &on));
    NEED(write(slave, "data", 4));
    shows("with a prefix", master);
    CHECK("flush", tcflush(slave, TCIOFLUSH));
    shows("control", master);
    on = 0;
    CHECK("off", ioctl(master, TIOCPKT, &on));
    CHECK("TIOCSTI", ioctl(slave, TIOCSTI, "x") >= -1);
    CHECK("TIOCEXCL", ioctl(slave, TIOCEXCL));
    CHECK("TIOCNXCL", ioctl(slave, TIOCNXCL));
    CHECK("unknown", ioctl(slave, 0x54ff, 0));
}
