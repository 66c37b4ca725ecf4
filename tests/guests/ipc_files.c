/* What /proc tells of System V IPC (sysvipc(7)), and the programs that read it. */
#include "guest.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

/* Prints a file's header and the line of one object, with its id as N, ids of processes as P and times as T. */
static void show(const char *path, int id, const char *kinds) {
    FILE *file = fopen(path, "re");
    char line[400];
    if (!file) {
        say("%s: %s", path, strerrorname_np(errno));
        return;
    }
    if (fgets(line, sizeof line, file)) say("%s: %.*s", path, (int)strlen(line) - 1, line);
    while (fgets(line, sizeof line, file)) {
        char *end = line + 10;
        if (strtol(end, &end, 10) != id) continue;
        say("length %zu, key and id %td", strlen(line), end - line);
        for (int column = 0; kinds[column]; column++) {
            char *start = end;
            long value = strtol(start, &end, 10);
            if (kinds[column] == '.') say("%.*s", (int)(end - start), start);
            else if (kinds[column] == 'P') say("pid %s in %td", value == getpid() ? "mine" : value ? "other" : "0", end - start);
            else say("time %s in %td", value ? "set" : "0", end - start);
        }
    }
    fclose(file);
}

CASE(shared_memory) {
    int id = NEED(shmget(IPC_PRIVATE, 5 * PAGE + 7, 0640));
    show("/proc/sysvipc/shm", id, "..PP.....TTT..");
    char *memory = (char *)NEED(shmat(id, NULL, 0));
    memory[0] = memory[3 * PAGE] = 1;
    show("/proc/sysvipc/shm", id, "..PP.....TTT..");
    struct shm_info info;
    NEED(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
    BOOL("some pages are there", info.shm_rss >= 2 && info.shm_rss <= info.shm_tot);
    NEED(shmctl(id, IPC_RMID, NULL));
    show("/proc/sysvipc/shm", id, "..PP.....TTT..");
    shmdt(memory);
    show("/proc/sysvipc/shm", id, "..PP.....TTT..");
}

CASE(semaphores) {
    int id = NEED(semget(IPC_PRIVATE, 3, 0604));
    show("/proc/sysvipc/sem", id, "......TT");
    struct sembuf up = {1, 2, 0};
    NEED(semop(id, &up, 1));
    show("/proc/sysvipc/sem", id, "......TT");
    NEED(semctl(id, 0, IPC_RMID));
}

CASE(messages) {
    int id = NEED(msgget(IPC_PRIVATE, 0666));
    show("/proc/sysvipc/msg", id, "...PP....TTT");
    struct {
        long type;
        char text[20];
    } message = {3, "something"};
    NEED(msgsnd(id, &message, 9, 0));
    NEED(msgsnd(id, &message, 20, 0));
    NEED(msgrcv(id, &message, 20, 0, 0));
    show("/proc/sysvipc/msg", id, "...PP....TTT");
    NEED(msgctl(id, IPC_RMID, NULL));
}

CASE_WITH_PROGRAMS(tools) {
    int set = NEED(semget(0x5e3a0001, 4, IPC_CREAT | 0600));
    char command[1000];
    snprintf(command, sizeof command,
             "ipcs -s -i %d | sed 's/semid=.*/semid=N/' | grep -v time; ipcs -l | grep -c .;"
             "ipcs -s | grep -c 0x5e3a0001; ipcrm -s %d; ipcs -s | grep -c 0x5e3a0001; ipcrm -S 0x5e3a0001;"
             "id=$(ipcmk -M 10000 -p 0640 | tr -cd 0-9); ipcs -m -i $id | grep mode; ipcrm -m $id;"
             "id=$(ipcmk -Q | tr -cd 0-9); lsipc -q -i $id | grep -e Messages -e Owner; ipcrm -q $id",
             set, set);
    CHECK("status", system(command));
}
