"""ipc.h, sem.h, msg.h, shm.h, mqueue.h: System V IPC (sysvipc(7)) and POSIX message queues (mq_overview(7))."""

from __future__ import annotations

from typing import Final

IPC_PRIVATE: Final = 0
IPC_CREAT: Final = 0o1000
IPC_EXCL: Final = 0o2000
IPC_NOWAIT: Final = 0o4000
IPC_RMID: Final = 0
IPC_SET: Final = 1
IPC_STAT: Final = 2
IPC_INFO: Final = 3
IPC_64: Final = 0x100
"""64-bit architectures ignore it in a command."""
IPCMNI_SHIFT: Final = 15
"""An id is its index in the table, and above these bits how often the table has been gone through."""

# semctl(2), semop(2)
GETPID: Final = 11
GETVAL: Final = 12
GETALL: Final = 13
GETNCNT: Final = 14
GETZCNT: Final = 15
SETVAL: Final = 16
SETALL: Final = 17
SEM_STAT: Final = 18
SEM_INFO: Final = 19
SEM_STAT_ANY: Final = 20
SEM_UNDO: Final = 0x1000
SEMMNI: Final = 32000
SEMMSL: Final = 32000
SEMMNS: Final = SEMMNI * SEMMSL
SEMOPM: Final = 500
SEMVMX: Final = 32767
SEMAEM: Final = SEMVMX
SEMMNU: Final = SEMMNS
SEMUME: Final = SEMOPM
SEMUSZ: Final = 20

# msgctl(2), msgrcv(2)
MSG_STAT: Final = 11
MSG_INFO: Final = 12
MSG_STAT_ANY: Final = 13
MSG_NOERROR: Final = 0o10000
MSG_EXCEPT: Final = 0o20000
MSG_COPY: Final = 0o40000
MSGMNI: Final = 32000
MSGMAX: Final = 8192
MSGMNB: Final = 16384
MSGPOOL: Final = MSGMNI * MSGMNB // 1024
MSGTQL: Final = MSGMNB
MSGMAP: Final = MSGMNB
MSGSSZ: Final = 16
MSGSEG: Final = 0xFFFF

# shmat(2), shmctl(2)
SHM_RDONLY: Final = 0o10000
SHM_RND: Final = 0o20000
SHM_REMAP: Final = 0o40000
SHM_EXEC: Final = 0o100000
SHM_HUGETLB: Final = 0o4000
SHM_NORESERVE: Final = 0o10000
SHM_DEST: Final = 0o1000
SHM_LOCKED: Final = 0o2000
SHM_LOCK: Final = 11
SHM_UNLOCK: Final = 12
SHM_STAT: Final = 13
SHM_INFO: Final = 14
SHM_STAT_ANY: Final = 15
SHMMIN: Final = 1
SHMMNI: Final = 4096
SHMMAX: Final = (1 << 64) - 1 - (1 << 24)
SHMALL: Final = SHMMAX
SHMSEG: Final = SHMMNI

# mq_open(3): fs.mqueue.* of proc(5), and what no privilege exceeds (ipc_namespace.h)
MQ_PRIO_MAX: Final = 32768
MQ_QUEUES_MAX: Final = 256
MQ_MSG_DEFAULT: Final = 10
MQ_MSG_MAX: Final = 10
MQ_MSGSIZE_DEFAULT: Final = 8192
MQ_MSGSIZE_MAX: Final = 8192
MQ_HARD_MSGMAX: Final = 65536
MQ_HARD_MSGSIZEMAX: Final = 16 << 20
NOTIFY_COOKIE_LEN: Final = 32
