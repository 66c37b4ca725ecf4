/* System V shared memory: shmget(2), shmop(2), shmctl(2). */
#include "memory.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static long count(int id) {
    struct shmid_ds status;
    return shmctl(id, IPC_STAT, &status) ? -errno : (long)status.shm_nattch;
}

static void remove_segment(int id) { CHECK("remove", shmctl(id, IPC_RMID, NULL)); }

CASE(keys) {
    key_t key = 0x73686d01 ^ getpid();
    CHECK("nothing there", shmget(key, 100, 0600));
    int id = NEED(shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600));
    CHECK("again, exclusively", shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600));
    BOOL("the same", shmget(key, 0, 0) == id);
    BOOL("smaller", shmget(key, 50, IPC_CREAT) == id);
    CHECK("larger", shmget(key, 101, 0));
    CHECK("no size", shmget(IPC_PRIVATE, 0, 0600));
    CHECK("huge", shmget(IPC_PRIVATE, -1, 0600));
    remove_segment(id);
    CHECK("remove twice", shmctl(id, IPC_RMID, NULL));
    CHECK("gone", shmget(key, 0, 0));
    CHECK("attach what is gone", (long)shmat(id, NULL, 0));
    CHECK("negative", (long)shmat(-1, NULL, 0));
}

CASE(status) {
    struct shmid_ds status;
    time_t before = time(NULL);
    int id = NEED(shmget(IPC_PRIVATE, 5000, 0640));
    CHECK("IPC_STAT", shmctl(id, IPC_STAT, &status));
    say("mode %o, %ld bytes, %ld attached", status.shm_perm.mode, (long)status.shm_segsz, (long)status.shm_nattch);
    BOOL("never used", !status.shm_atime && !status.shm_dtime && !status.shm_lpid);
    BOOL("made by this", status.shm_cpid == getpid() && status.shm_ctime >= before);
    char *at = shmat(id, NULL, 0);
    CHECK("IPC_STAT", shmctl(id, IPC_STAT, &status));
    BOOL("attached", status.shm_atime >= before && !status.shm_dtime && status.shm_lpid == getpid());
    say("%ld attached", (long)status.shm_nattch);
    CHECK("detach", shmdt(at));
    CHECK("IPC_STAT", shmctl(id, IPC_STAT, &status));
    BOOL("detached", status.shm_dtime >= before && !status.shm_nattch);
    status.shm_perm.mode = 0666;
    CHECK("IPC_SET", shmctl(id, IPC_SET, &status));
    CHECK("SHM_LOCK", shmctl(id, SHM_LOCK, NULL));
    CHECK("IPC_STAT", shmctl(id, IPC_STAT, &status));
    say("mode %o", status.shm_perm.mode);
    CHECK("SHM_UNLOCK", shmctl(id, SHM_UNLOCK, NULL));
    CHECK("IPC_STAT", shmctl(id, IPC_STAT, &status));
    say("mode %o", status.shm_perm.mode);
    CHECK("bad buffer", shmctl(id, IPC_STAT, BAD_POINTER));
    CHECK("unknown command", shmctl(id, 99, &status));
    struct shminfo info;
    CHECK_OK("IPC_INFO", shmctl(0, IPC_INFO, (struct shmid_ds *)&info));
    say("shmmax %lx shmmni %lu", info.shmmax, info.shmmni);
    remove_segment(id);
}

CASE(memory) {
    int id = NEED(shmget(IPC_PRIVATE, 3 * PAGE, 0600));
    char *at = shmat(id, NULL, 0), *again = shmat(id, NULL, SHM_RDONLY);
    CHECK("zeros", at[0] | at[3 * PAGE - 1]);
    strcpy(at + PAGE, "written");
    say("read: %s", again + PAGE);
    FAULT("write to a read-only one", again, poke(again, 1));
    FAULT("beyond", at, peek(at + 3 * PAGE));
    CHECK("attached", count(id));
    IN_CHILD("child") {
        CHECK("attached", count(id));
        strcpy(at, "from the child");
        CHECK("detach", shmdt(again));
        CHECK("attached", count(id));
    }
    say("read: %s", again);
    CHECK("attached", count(id));
    CHECK("detach", shmdt(at));
    CHECK("detach twice", shmdt(at));
    CHECK("not the beginning", shmdt(again + PAGE));
    CHECK("not a page", shmdt(again + 1));
    FAULT("what was there", at, peek(at));
    CHECK("attached", count(id));
    CHECK("detach", shmdt(again));
    remove_segment(id);
}

CASE(maps) {
    int id = NEED(shmget(0x73686d02 ^ getpid(), 4 * PAGE, IPC_CREAT | 0600));
    char *base = free_range(8);
    BOOL("there", shmat(id, base, 0) == base);
    CHECK("taken", (long)shmat(id, base + 2 * PAGE, 0));
    CHECK("not a page", (long)shmat(id, base + 4 * PAGE + 7, 0));
    BOOL("rounded", shmat(id, base + 4 * PAGE + 7, SHM_RND) == base + 4 * PAGE);
    CHECK("attached", count(id));
    CHECK("detach", shmdt(base + 4 * PAGE));
    BOOL("replaced", shmat(id, base + 2 * PAGE, SHM_REMAP | SHM_RDONLY) == base + 2 * PAGE);
    CHECK("anywhere", (long)shmat(id, NULL, SHM_REMAP));
    CHECK("attached", count(id));
    CHECK("unmap a part", munmap(base + PAGE, PAGE));
    CHECK("attached", count(id));
    CHECK("unmap the rest", munmap(base, PAGE));
    CHECK("attached", count(id));
    CHECK("protect a part", mprotect(base + 3 * PAGE, PAGE, PROT_NONE));
    CHECK("detach all of it", shmdt(base + 2 * PAGE));
    CHECK("attached", count(id));
    char *moved = shmat(id, NULL, 0);
    strcpy(moved, "moved");
    moved = mremap(moved, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, base);
    say("%s", moved);
    CHECK("attached", count(id));
    CHECK("detach", shmdt(base));
    CHECK("attached", count(id));
    remove_segment(id);
}

CASE(removal) {
    struct shmid_ds status;
    key_t key = 0x73686d03 ^ getpid();
    int id = NEED(shmget(key, PAGE, IPC_CREAT | 0600));
    char *at = shmat(id, NULL, 0);
    strcpy(at, "still here");
    remove_segment(id);
    CHECK("by its key", shmget(key, 0, 0));
    CHECK("IPC_STAT", shmctl(id, IPC_STAT, &status));
    say("mode %o key %d", status.shm_perm.mode, status.shm_perm.__key);
    char *again = shmat(id, NULL, 0);
    say("%s", again);
    CHECK("detach", shmdt(at));
    say("%s", again);
    int other = NEED(shmget(key, PAGE, IPC_CREAT | 0600));
    BOOL("another one", other != id);
    CHECK("detach the last", shmdt(again));
    CHECK("IPC_STAT", shmctl(id, IPC_STAT, &status));
    at = shmat(other, NULL, 0);
    BOOL("empty", at[0] == 0);
    CHECK("detach", shmdt(at));
    remove_segment(other);
}

/* A child has the segment from its first moment on, whatever its parent does in that. */
CASE(inherited_and_removed_at_once) {
    long wrong = 0;
    for (int turn = 0; turn < 20; turn++) {
        int removed[2], status;
        char byte;
        NEED(pipe(removed));
        int id = NEED(shmget(IPC_PRIVATE, 4096, 0600));
        int *at = shmat(id, NULL, 0);
        *at = turn;
        pid_t child = NEED(fork());
        if (!child) {
            NEED(read(removed[0], &byte, 1));
            _exit(count(id) != 1 || *at != turn || shmdt(at) || count(id) != -EINVAL);
        }
        wrong += shmdt(at) || shmctl(id, IPC_RMID, NULL);
        NEED(write(removed[1], "x", 1));
        NEED(waitpid(child, &status, 0));
        wrong += status != 0;
        close(removed[0]);
        close(removed[1]);
    }
    say("wrong: %ld", wrong);
}

CASE(the_dead) {
    int id = NEED(shmget(IPC_PRIVATE, PAGE, 0600)), ready[2];
    char byte;
    pid_t child;
    NEED(pipe(ready));
    START_CHILD(child) {
        char *at = shmat(id, NULL, 0);
        strcpy(at, "last words");
        NEED(write(ready[1], "x", 1));
        pause();
    }
    NEED(read(ready[0], &byte, 1));
    CHECK("attached", count(id));
    NEED(kill(child, SIGKILL));
    reap("killed", child);
    CHECK("attached", count(id));
    char *at = shmat(id, NULL, 0);
    say("%s", at);
    IN_CHILD("exits with it attached") { shmat(id, NULL, 0); }
    CHECK("attached", count(id));
    START_CHILD(child) {
        NEED(write(ready[1], "x", 1));
        pause();
    }
    NEED(read(ready[0], &byte, 1));
    CHECK("inherited", count(id));
    remove_segment(id);
    CHECK("detach", shmdt(at));
    CHECK("attached", count(id));
    NEED(kill(child, SIGKILL));
    reap("killed", child);
    CHECK("destroyed with the last", count(id));
}

CASE_WITH_PROGRAMS(programs) {
    int id = NEED(shmget(IPC_PRIVATE, PAGE, 0600));
    NEED(shmat(id, NULL, 0));
    IN_CHILD("child") {
        CHECK("attached", count(id));
        execl("/bin/true", "true", NULL);
    }
    CHECK("attached", count(id));
    remove_segment(id);
}

CASE(permissions) {
    if (geteuid() != 0) {
        say("needs root");
        return;
    }
    int id = NEED(shmget(IPC_PRIVATE, PAGE, 0604));
    IN_CHILD("somebody") {
        NEED(setuid(12345));
        CHECK("write", (long)shmat(id, NULL, 0));
        CHECK("execute", (long)shmat(id, NULL, SHM_RDONLY | SHM_EXEC));
        CHECK_OK("read", (long)shmat(id, NULL, SHM_RDONLY));
        CHECK("IPC_RMID", shmctl(id, IPC_RMID, NULL));
        CHECK("SHM_LOCK", shmctl(id, SHM_LOCK, NULL));
    }
    remove_segment(id);
}

CASE(large) {
    int id = NEED(shmget(IPC_PRIVATE, 300 << 20, 0600));
    char *at = shmat(id, NULL, 0);
    at[0] = 'a', at[299 << 20] = 'z';
    IN_CHILD("child") { say("%c%c", at[0], at[299 << 20]); }
    remove_segment(id);
    CHECK("detach", shmdt(at));
    id = NEED(shmget(IPC_PRIVATE, 300 << 20, 0600));
    at = shmat(id, NULL, 0);
    CHECK("zeros", at[0] | at[299 << 20]);
    remove_segment(id);
}
