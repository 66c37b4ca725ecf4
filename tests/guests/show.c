/* Shows files of a root of its own: `show PATH` its content, `show PATH/` its names, `show ">PATH"` what opening it to
 * write gives, `show +NAME` makes a message queue, `show -PATH` what removing a file gives. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *path = argv[i];
        char data[1 << 16];
        printf("== %s\n", path);
        if (*path == '>') {
            puts(open(path + 1, O_WRONLY) < 0 ? strerror(errno) : "ok");
        } else if (*path == '+') {
            puts(mq_open(path + 1, O_RDWR | O_CREAT, 0640, NULL) < 0 ? strerror(errno) : "ok");
        } else if (*path == '-') {
            puts(unlink(path + 1) < 0 ? strerror(errno) : "ok");
        } else if (path[strlen(path) - 1] == '/') {
            DIR *folder = opendir(path);
            if (!folder) puts(strerror(errno));
            for (struct dirent *entry; folder && (entry = readdir(folder));)
                if (*entry->d_name != '.') puts(entry->d_name);
        } else {
            int fd = open(path, O_RDONLY);
            ssize_t got = fd < 0 ? -1 : read(fd, data, sizeof data);
            if (got < 0) puts(strerror(errno));
            else fwrite(data, 1, got, stdout);
        }
        fflush(stdout);
    }
    return 0;
}
