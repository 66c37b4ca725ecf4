/* Two processes: round trips between them, and what it costs to make one. */
#define _GNU_SOURCE
#include "micro.h"

#include <errno.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char *const true_argv[] = {"/bin/true", NULL};

static int to_partner, from_partner;
static pid_t partner;

static void expect_success(pid_t child)
{
    int status = -1;
    must(child > 0, "no child");
    while (waitpid(child, &status, 0) < 0)
        must(errno == EINTR, "waitpid");
    must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child failed");
}

/* A child that sends back each byte that it gets, until there are no more. */
static void start_partner(int its_input, int its_output, int my_output, int my_input)
{
    partner = fork();
    must(partner >= 0, "fork");
    if (partner == 0) {
        char byte;
        close(my_output);
        close(my_input);
        while (read(its_input, &byte, 1) == 1)
            if (write(its_output, &byte, 1) != 1)
                _exit(1);
        _exit(0);
    }
    close(its_input);
    if (its_output != its_input)
        close(its_output);
    to_partner = my_output;
    from_partner = my_input;
}

static void begin_pipes(void)
{
    int there[2], back[2];
    must(pipe(there) == 0 && pipe(back) == 0, "pipe");
    start_partner(there[0], back[1], there[1], back[0]);
}

static void begin_socket(void)
{
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    start_partner(pair[1], pair[1], pair[0], pair[0]);
}

static void end_partner(void)
{
    close(to_partner);
    if (from_partner != to_partner)
        close(from_partner);
    expect_success(partner);
}

static void loop_round_trip(long count)
{
    while (count--) {
        char sent = (char)count, got = ~sent;
        must(write(to_partner, &sent, 1) == 1, "write");
        must(read(from_partner, &got, 1) == 1 && got == sent, "read");
    }
}

static void loop_fork_wait(long count)
{
    while (count--) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        expect_success(child);
    }
}

static void loop_fork_exec(long count)
{
    while (count--) {
        pid_t child = fork();
        if (child == 0) {
            execve(true_argv[0], true_argv, environ);
            _exit(127);
        }
        expect_success(child);
    }
}

static void loop_posix_spawn(long count)
{
    while (count--) {
        pid_t child;
        must(posix_spawn(&child, true_argv[0], NULL, NULL, true_argv, environ) == 0, "posix_spawn");
        expect_success(child);
    }
}

const struct row process_rows[] = {
    {"pipe_pingpong", begin_pipes, loop_round_trip, end_partner},
    {"unix_pingpong", begin_socket, loop_round_trip, end_partner},
    {"fork_wait", NULL, loop_fork_wait, NULL},
    {"fork_exec", NULL, loop_fork_exec, NULL},
    {"posix_spawn", NULL, loop_posix_spawn, NULL},
    {0},
};
