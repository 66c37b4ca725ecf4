/* fork(2) and vfork(2): what the two sides see of each other. */
#include "guest.h"

CASE(fork_isolation) {
    int value = 1;
    IN_CHILD("child") {
        value = 2;
        say("child sees %d", value);
        _exit(7);
    }
    say("parent sees %d", value);
}
