/* On which file system each PATH is, as all tell it that can: `devices PATH...`. Directories are looked at as they are;
 * in those that end with a slash a file is made, for what stat(2) of a path does not show. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static char name[256];

static void tell(const char *how, dev_t device) {
    printf("%s %s %u:%u\n", name, how, major(device), minor(device));
}

static void tell_statx(int fd, const char *path, int flags) {
    struct statx found;
    if (statx(fd, path, flags, STATX_BASIC_STATS, &found) == 0)
        tell("statx", makedev(found.stx_dev_major, found.stx_dev_minor));
}

/* The last mount at a place covers those before. */
static void tell_mount(const char *place) {
    char line[4096], number[64], seen[256], last[64] = "";
    FILE *lines = fopen("/proc/self/mountinfo", "r");
    while (lines && fgets(line, sizeof line, lines))
        if (sscanf(line, "%*s %*s %63s %*s %255s", number, seen) == 2 && strcmp(seen, place) == 0)
            strcpy(last, number);
    if (lines) fclose(lines);
    if (*last) printf("%s mountinfo %s\n", name, last);
}

static void tell_file(void) {
    char path[512];
    struct stat found;
    struct statfs system;
    unsigned high, low;
    char number[64];
    snprintf(path, sizeof path, "%sdevices.%d", name, (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || ftruncate(fd, 4096) < 0) exit((perror(path), 1));
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    fstat(fd, &found), tell("fstat", found.st_dev);
    stat(path, &found), tell("stat", found.st_dev);
    lstat(path, &found), tell("lstat", found.st_dev);
    tell_statx(fd, "", AT_EMPTY_PATH);
    tell_statx(AT_FDCWD, path, 0);
    fstatfs(fd, &system);
    printf("%s type %lx\n", name, (long)system.f_type);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    while (maps && fgets(line, sizeof line, maps))
        if (strtoul(line, NULL, 16) == (unsigned long)map && sscanf(line, "%*s %*s %*s %63s", number) == 1
            && sscanf(number, "%x:%x", &high, &low) == 2)
            tell("maps", makedev(high, low));
    snprintf(line, sizeof line, "/proc/self/fd/%d", fd);
    stat(line, &found), tell("fd", found.st_dev);
    fflush(stdout);
    unlink(path);
    fstat(fd, &found), tell("unlinked", found.st_dev);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        fstat(fd, &found), tell("child", found.st_dev);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct stat found;
        size_t length = strlen(argv[i]);
        snprintf(name, sizeof name, "%s", argv[i]);
        if (stat(name, &found) < 0) {
            printf("%s %s -\n", name, strerror(errno));
            continue;
        }
        tell("stat", found.st_dev);
        tell_statx(AT_FDCWD, name, 0);
        char place[256];
        snprintf(place, sizeof place, "%.*s", length > 1 && name[length - 1] == '/' ? (int)length - 1 : (int)length, name);
        tell_mount(place);
        if (length > 1 && name[length - 1] == '/') tell_file();
        fflush(stdout);
    }
    return 0;
}
