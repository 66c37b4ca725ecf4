"""time.h, timex.h, timerfd.h: clocks and timers."""

from __future__ import annotations

from typing import Final

# clock_gettime(2)
CLOCK_REALTIME: Final = 0
CLOCK_MONOTONIC: Final = 1
CLOCK_PROCESS_CPUTIME_ID: Final = 2
CLOCK_THREAD_CPUTIME_ID: Final = 3
CLOCK_MONOTONIC_RAW: Final = 4
CLOCK_REALTIME_COARSE: Final = 5
CLOCK_MONOTONIC_COARSE: Final = 6
CLOCK_BOOTTIME: Final = 7
CLOCK_REALTIME_ALARM: Final = 8
CLOCK_BOOTTIME_ALARM: Final = 9
CLOCK_TAI: Final = 11

# Clocks of a process, thread or device: negative ids, ~pid << 3 | kind (include/linux/posix-timers_types.h)
CPUCLOCK_PROF: Final = 0
CPUCLOCK_VIRT: Final = 1
CPUCLOCK_SCHED: Final = 2
CLOCKFD: Final = 3
CPUCLOCK_PERTHREAD_MASK: Final = 4

# clock_nanosleep(2), timer_settime(2)
TIMER_ABSTIME: Final = 1

# setitimer(2)
ITIMER_REAL: Final = 0
ITIMER_VIRTUAL: Final = 1
ITIMER_PROF: Final = 2

# timerfd_create(2), timerfd_settime(2)
TFD_CLOEXEC: Final = 0o2000000
TFD_NONBLOCK: Final = 0o4000
TFD_TIMER_ABSTIME: Final = 1
TFD_TIMER_CANCEL_ON_SET: Final = 2

# adjtimex(2) modes and states
ADJ_OFFSET: Final = 1
ADJ_FREQUENCY: Final = 2
ADJ_MAXERROR: Final = 4
ADJ_ESTERROR: Final = 8
ADJ_STATUS: Final = 0x10
ADJ_TIMECONST: Final = 0x20
ADJ_TAI: Final = 0x80
ADJ_SETOFFSET: Final = 0x100
ADJ_MICRO: Final = 0x1000
ADJ_NANO: Final = 0x2000
ADJ_TICK: Final = 0x4000
ADJ_OFFSET_SINGLESHOT: Final = 0x8001
ADJ_OFFSET_SS_READ: Final = 0xA001
STA_UNSYNC: Final = 0x40
STA_NANO: Final = 0x2000
TIME_OK: Final = 0
TIME_ERROR: Final = 5

NSEC_PER_SEC: Final = 1_000_000_000
NSEC_PER_USEC: Final = 1_000
USEC_PER_SEC: Final = 1_000_000
USER_HZ: Final = 100  # ticks a second of times(2) and /proc; AT_CLKTCK
