#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>

extern int helper(int);

static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

int main(int argc, char **argv) {
    int numbers[] = {5, 3, 9, 1};
    qsort(numbers, 4, sizeof *numbers, compare);
    printf("%d args, first %s, sorted %d..%d, helper %d, sqrt %.6f\n", argc, argc > 1 ? argv[1] : "-", numbers[0],
           numbers[3], helper(20), sqrt(2));
    fflush(stdout);
    if (fork() == 0) _exit(17);
    int status;
    wait(&status);
    printf("child %d, %s\n", WEXITSTATUS(status), strerror(ENOENT));
    return argc;
}
