"""Noah runs unmodified Linux programs in a user-mode virtual machine, each system call answered in Python."""

__version__ = "0.1.0"
