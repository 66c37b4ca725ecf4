"""What processes of a box share by key or name: System V IPC (sysvipc(7)), POSIX message queues (mq_overview(7))."""
