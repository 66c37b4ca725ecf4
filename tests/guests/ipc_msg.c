/* System V message queues: msgget(2), msgop(2), msgctl(2). */
#include "guest.h"
#include <sys/ipc.h>
#include <sys/msg.h>

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

struct message {
    long type;
    char text[9000];
};

static int send_text(int queue, long type, const char *text, int flags) {
    struct message message = {.type = type};
    strcpy(message.text, text);
    return msgsnd(queue, &message, strlen(text), flags);
}

static void receive(const char *name, int queue, size_t size, long type, int flags) {
    struct message message = {0};
    errno = 0;
    ssize_t length = msgrcv(queue, &message, size, type, flags);
    if (length == -1) guest_result(name, -1, errno);
    else say("%s: %zd, type %ld, %.20s", name, length, message.type, message.text);
}

static void remove_queue(int queue) { CHECK("remove", msgctl(queue, IPC_RMID, NULL)); }

CASE(keys) {
    key_t key = 0x6d736701 ^ getpid();
    CHECK("nothing there", msgget(key, 0600));
    int queue = NEED(msgget(key, IPC_CREAT | IPC_EXCL | 0620));
    CHECK("again, exclusively", msgget(key, IPC_CREAT | IPC_EXCL | 0600));
    BOOL("the same", msgget(key, 0) == queue);
    BOOL("the same", msgget(key, IPC_CREAT) == queue);
    remove_queue(queue);
    CHECK("remove twice", msgctl(queue, IPC_RMID, NULL));
    CHECK("gone", msgget(key, 0));
    CHECK("send to what is gone", send_text(queue, 1, "x", 0));
    CHECK("negative", send_text(-1, 1, "x", 0));
}

CASE(negative_key) {
    key_t key = (key_t)0x8d736701 ^ getpid();
    struct msqid_ds status;
    int queue = NEED(msgget(key, IPC_CREAT | IPC_EXCL | 0600));
    BOOL("the same", msgget(key, 0) == queue);
    CHECK("IPC_STAT", msgctl(queue, IPC_STAT, &status));
    BOOL("its key", status.msg_perm.__key == key);
    remove_queue(queue);
}

CASE(status) {
    struct msqid_ds status;
    time_t before = time(NULL);
    int queue = NEED(msgget(IPC_PRIVATE, 0620));
    CHECK("IPC_STAT", msgctl(queue, IPC_STAT, &status));
    say("mode %o, %ld messages, %ld bytes of %ld", status.msg_perm.mode, (long)status.msg_qnum,
        (long)status.msg_cbytes, (long)status.msg_qbytes);
    BOOL("never used", !status.msg_stime && !status.msg_rtime && !status.msg_lspid && !status.msg_lrpid);
    BOOL("made now", status.msg_ctime >= before && status.msg_ctime <= time(NULL));
    CHECK("send", send_text(queue, 3, "hello", 0));
    CHECK("IPC_STAT", msgctl(queue, IPC_STAT, &status));
    say("%ld messages, %ld bytes", (long)status.msg_qnum, (long)status.msg_cbytes);
    BOOL("sent now", status.msg_stime >= before && status.msg_lspid == getpid() && !status.msg_rtime);
    receive("receive", queue, 100, 0, 0);
    CHECK("IPC_STAT", msgctl(queue, IPC_STAT, &status));
    BOOL("received now", status.msg_rtime >= before && status.msg_lrpid == getpid());
    status.msg_perm.mode = 0777;
    status.msg_qbytes = 10;
    CHECK("IPC_SET", msgctl(queue, IPC_SET, &status));
    CHECK("fits", send_text(queue, 1, "0123456789", IPC_NOWAIT));
    CHECK("does not fit", send_text(queue, 1, "", IPC_NOWAIT));
    receive("receive", queue, 100, 0, 0);
    CHECK("never fits", send_text(queue, 1, "0123456789a", IPC_NOWAIT));
    CHECK("bad buffer", msgctl(queue, IPC_STAT, BAD_POINTER));
    CHECK("unknown command", msgctl(queue, 99, &status));
    struct msginfo info;
    CHECK_OK("IPC_INFO", msgctl(0, IPC_INFO, (struct msqid_ds *)&info));
    say("msgmax %d msgmnb %d msgmni %d", info.msgmax, info.msgmnb, info.msgmni);
    remove_queue(queue);
}

CASE(types) {
    int queue = NEED(msgget(IPC_PRIVATE, 0600));
    static const long types[] = {5, 3, 9, 3, 7};
    for (size_t i = 0; i < LENGTH(types); i++) {
        char text[] = {'a' + i, 0};
        NEED(send_text(queue, types[i], text, 0));
    }
    receive("copy of the third", queue, 10, 2, MSG_COPY | IPC_NOWAIT);
    receive("copy that may wait", queue, 10, 2, MSG_COPY);
    receive("copy of what is not there", queue, 10, 5, MSG_COPY | IPC_NOWAIT);
    receive("type 3", queue, 10, 3, 0);
    receive("not type 5", queue, 10, 5, MSG_EXCEPT);
    receive("at most 6", queue, 10, -6, 0);
    receive("at most 2", queue, 10, -2, IPC_NOWAIT);
    receive("type 8", queue, 10, 8, IPC_NOWAIT);
    receive("at most LONG_MAX", queue, 10, LONG_MIN, 0);
    receive("any", queue, 10, 0, 0);
    receive("nothing left", queue, 10, 0, IPC_NOWAIT);
    remove_queue(queue);
}

CASE(sizes) {
    int queue = NEED(msgget(IPC_PRIVATE, 0600));
    struct message message = {.type = 1};
    CHECK("empty", msgsnd(queue, &message, 0, 0));
    CHECK("8192", msgsnd(queue, &message, 8192, 0));
    CHECK("8193", msgsnd(queue, &message, 8193, 0));
    CHECK("negative", msgsnd(queue, &message, -1, 0));
    message.type = 0;
    CHECK("type 0", msgsnd(queue, &message, 1, 0));
    message.type = -1;
    CHECK("type -1", msgsnd(queue, &message, 1, 0));
    CHECK("bad pointer", msgsnd(queue, BAD_POINTER, 1, 0));
    receive("empty", queue, 0, 0, 0);
    receive("too large", queue, 100, 0, 0);
    receive("negative size", queue, -1, 0, 0);
    receive("cut", queue, 100, 0, MSG_NOERROR);
    CHECK("send", send_text(queue, 1, "abc", 0));
    CHECK("receive to nowhere", msgrcv(queue, BAD_POINTER, 3, 0, 0));
    receive("it is lost", queue, 100, 0, IPC_NOWAIT);
    remove_queue(queue);
}

static void nothing(int number UNUSED) {}

CASE(waiting) {
    int queue = NEED(msgget(IPC_PRIVATE, 0600));
    struct message message = {.type = 1};
    pid_t child;
    START_CHILD(child) { receive("child", queue, 10, 4, 0); }
    sleep_ms(20);
    CHECK_OK("another type", send_text(queue, 2, "no", 0));
    sleep_ms(20);
    NEED(send_text(queue, 4, "yes", 0));
    reap("child", child);
    receive("rest", queue, 10, 0, 0);
    NEED(msgsnd(queue, &message, 8192, 0));
    NEED(msgsnd(queue, &message, 8192, 0));
    CHECK("full", send_text(queue, 1, "x", IPC_NOWAIT));
    START_CHILD(child) { _exit(send_text(queue, 7, "waited", 0) ? errno : 0); }
    sleep_ms(20);
    receive("room", queue, 10, 0, MSG_NOERROR);
    reap("child", child);
    receive("sent late", queue, 10, 7, 0);
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    NEED(sigaction(SIGALRM, &action, NULL));
    ualarm(30000, 0);
    receive("a signal, never restarted", queue, 10, 99, 0);
    START_CHILD(child) { _exit(msgrcv(queue, &message, 10, 99, 0) == -1 ? errno : 0); }
    sleep_ms(30);
    remove_queue(queue);
    reap("removed", child);
}

CASE(permissions) {
    if (geteuid() != 0) {
        say("needs root");
        return;
    }
    int queue = NEED(msgget(IPC_PRIVATE, 0602));
    IN_CHILD("somebody") {
        NEED(setuid(12345));
        struct msqid_ds status;
        CHECK("send", send_text(queue, 1, "x", 0));
        receive("receive", queue, 10, 0, IPC_NOWAIT);
        CHECK("IPC_STAT", msgctl(queue, IPC_STAT, &status));
        CHECK("IPC_RMID", msgctl(queue, IPC_RMID, NULL));
    }
    struct msqid_ds status;
    NEED(msgctl(queue, IPC_STAT, &status));
    status.msg_perm.uid = 12345;
    NEED(msgctl(queue, IPC_SET, &status));
    IN_CHILD("its owner") {
        NEED(setuid(12345));
        receive("receive", queue, 10, 0, IPC_NOWAIT);
        NEED(msgctl(queue, IPC_STAT, &status));
        status.msg_qbytes = 20000;
        CHECK("more than may be", msgctl(queue, IPC_SET, &status));
        status.msg_qbytes = 2000;
        CHECK("less", msgctl(queue, IPC_SET, &status));
        CHECK("IPC_RMID", msgctl(queue, IPC_RMID, NULL));
    }
}

CASE(many_messages) {
    enum { SENDERS = 4, EACH = 150 };
    int queue = NEED(msgget(IPC_PRIVATE, 0600));
    pid_t senders[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        START_CHILD(senders[i]) {
            struct message message = {.type = i + 1};
            for (int k = 0; k < EACH; k++) {
                memset(message.text, k, 1000);
                NEED(msgsnd(queue, &message, 1000, 0));
            }
        }
    }
    int next[SENDERS] = {0}, wrong = 0;
    struct message message;
    for (int k = 0; k < SENDERS * EACH; k++) {
        if (NEED(msgrcv(queue, &message, 1000, 0, 0)) != 1000) wrong++;
        if (message.text[999] != (char)next[message.type - 1]++) wrong++;
    }
    for (int i = 0; i < SENDERS; i++) reap("sender", senders[i]);
    say("%d wrong", wrong);
    receive("nothing left", queue, 10, 0, IPC_NOWAIT);
    remove_queue(queue);
}
