"""The functions of Unicorn's C library that the engine calls, and nothing of its Python package.

Numbers are those of <unicorn/unicorn.h>, x86.h and arm64.h; they are part of the library's ABI.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os.path
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Final

from noah.vm.api import EngineError

ARCH_ARM64: Final = 2
ARCH_X86: Final = 4
MODE_ARM: Final = 0
MODE_64: Final = 8
ERR_INSN_INVALID: Final = 10

_INSTRUCTION_IN: Final = 218
_INSTRUCTION_OUT: Final = 500
_INSTRUCTION_SYSCALL: Final = 699
_PROT_ALL: Final = 7
_HOOK_INTR: Final = 1
_HOOK_INSN: Final = 2
_CTL_WRITE: Final = 1 << 30
_CTL_USE_EXITS: Final = _CTL_WRITE | 1 << 26 | 4
_CTL_CPU_MODEL: Final = _CTL_WRITE | 1 << 26 | 7
_CTL_TB_REMOVE_CACHE: Final = _CTL_WRITE | 2 << 26 | 9
_CTL_TB_FLUSH: Final = _CTL_WRITE | 10
_CTL_TLB_FLUSH: Final = _CTL_WRITE | 11
_CTL_TCG_BUFFER_SIZE: Final = _CTL_WRITE | 1 << 26 | 13
_CTL_CONTEXT_MODE: Final = _CTL_WRITE | 1 << 26 | 14
_CONTEXT_CPU: Final = 1
_CONTEXT_ALL: Final = 3

_STRUCT_SIZE: Final = 12 << 10  # less than struct uc_struct has: its jmp_bufs alone are larger

_NAMES: Final = ("libunicorn.so.2", "libunicorn.2.dylib", "libunicorn.dylib", "unicorn.dll")
_CODE_BUFFER: Final = 256 << 20  # translated code; touched as it fills

_InterruptHook = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
_SyscallHook = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_InHook = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p)
_OutHook = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)


def _library_path() -> str:
    spec = importlib.util.find_spec("unicorn")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for name in _NAMES:
            path = os.path.join(place, "lib", name)
            if os.path.exists(path):
                return path
    from ctypes.util import find_library  # slow to load

    found = find_library("unicorn")
    if found is None:
        raise EngineError("the emulator needs Unicorn: pip install unicorn")
    return found


class _Library:
    """libunicorn. What takes long lets go of the GIL, what is over before another thread could run keeps it."""

    def __init__(self) -> None:
        path = _library_path()
        try:
            slow, quick = ctypes.CDLL(path), ctypes.PyDLL(path)
        except OSError as error:
            raise EngineError(f"cannot load Unicorn: {error}; reinstall it with pip install unicorn") from None
        major, minor = ctypes.c_uint(), ctypes.c_uint()
        quick.uc_version(ctypes.byref(major), ctypes.byref(minor))
        if (major.value, minor.value) < (2, 1):
            raise EngineError(f"Unicorn {major.value}.{minor.value} is too old: pip install 'unicorn>=2.1'")
        pointer, u64 = ctypes.c_void_p, ctypes.c_uint64
        self.open = quick.uc_open
        self.close = quick.uc_close
        self.control = quick.uc_ctl
        self.control.argtypes = [pointer, ctypes.c_int]
        self.map = quick.uc_mem_map_ptr
        self.map.argtypes = [pointer, u64, u64, ctypes.c_uint32, pointer]
        self.hook = quick.uc_hook_add
        self.hook.argtypes = [pointer, pointer, ctypes.c_int, pointer, pointer, u64, u64]
        self.read = quick.uc_reg_read
        self.write = quick.uc_reg_write
        self.read_batch = quick.uc_reg_read_batch
        self.write_batch = quick.uc_reg_write_batch
        self.context_alloc = quick.uc_context_alloc
        self.context_size = quick.uc_context_size
        self.context_size.restype = ctypes.c_size_t
        self.context_save = quick.uc_context_save
        self.context_restore = quick.uc_context_restore
        self.context_free = quick.uc_context_free
        self.start = slow.uc_emu_start
        self.start.argtypes = [pointer, u64, u64, u64, ctypes.c_size_t]
        self.stop = quick.uc_emu_stop
        self.strerror = quick.uc_strerror
        self.strerror.restype = ctypes.c_char_p


@cache
def _library() -> _Library:
    return _Library()


class RegisterSet:
    """Registers that are copied together, each to and from its own place in memory; the C arrays are made once."""

    __slots__ = ("read", "write")

    def __init__(self, handle: ctypes.c_void_p, places: Sequence[tuple[int, int]]) -> None:
        """`places`: the register's number and the address of its value, in the order of copying."""
        library = _library()
        count = ctypes.c_int(len(places))
        numbers = (ctypes.c_int * len(places))(*[number for number, _ in places])
        pointers = (ctypes.c_void_p * len(places))(*[address for _, address in places])
        self.read: Callable[[], int] = partial(library.read_batch, handle, numbers, pointers, count)
        self.write: Callable[[], int] = partial(library.write_batch, handle, numbers, pointers, count)


class Unicorn:
    """One emulated computer whose physical memory is [memory, +size) of this process.

    Raises EngineError when Unicorn cannot make it. To be used by one thread at a time, but for stop().
    """

    __slots__ = ("_callbacks", "_library", "context", "context_size", "handle", "restore", "save", "start", "stop")

    def __init__(self, arch: int, mode: int, model: int, memory: int, size: int) -> None:
        library = self._library = _library()
        handle = self.handle = ctypes.c_void_p()
        self._callbacks: list[Any] = []
        self._check(library.open(arch, mode, ctypes.byref(handle)))
        self._control(_CTL_CPU_MODEL, ctypes.c_int(model))
        self._control(_CTL_TCG_BUFFER_SIZE, ctypes.c_uint32(_CODE_BUFFER))
        # No address ends a run: with a list of exits, and an empty one, "until" has no meaning.
        self._control(_CTL_USE_EXITS, ctypes.c_int(1))
        self._check(library.map(handle, 0, size, _PROT_ALL, memory))
        self._make_stops_exact()
        self.context = ctypes.c_void_p()
        self._check(library.context_alloc(handle, ctypes.byref(self.context)))
        self.context_size = int(library.context_size(handle))
        self.save: Callable[[], int] = partial(library.context_save, handle, self.context)
        self.restore: Callable[[], int] = partial(library.context_restore, handle, self.context)
        self.start: Callable[..., int] = partial(library.start, handle)
        self.stop: Callable[[], int] = partial(library.stop, handle)

    def _check(self, error: int) -> None:
        if error:
            text = self._library.strerror(error).decode()
            raise EngineError(f"Unicorn failed: {text}; is there enough memory?")

    def _make_stops_exact(self) -> None:
        """Let stop() end a run between two instructions only.

        As it is, Unicorn looks for a stop behind every memory access as well, and then goes back to the start of the
        instruction: `lock inc` is done twice, `xchg` loses what it has read. That is for hooks of memory accesses, of
        which there are none here. The switch that leaves it out, uc_struct.no_exit_request (include/uc_priv.h), is
        found by a member that can be set from outside: uc_context_content context_content; int cpu_context_size;
        uint64_t next_pc; bool hook_insert, first_tb, no_exit_request, init_done.
        """
        base = self.handle.value or 0
        before = ctypes.string_at(base, _STRUCT_SIZE)
        self._control(_CTL_CONTEXT_MODE, ctypes.c_int(_CONTEXT_ALL))
        after = ctypes.string_at(base, _STRUCT_SIZE)
        self._control(_CTL_CONTEXT_MODE, ctypes.c_int(_CONTEXT_CPU))
        changed = int.from_bytes(before, "little") ^ int.from_bytes(after, "little")
        mode = changed.bit_length() // 8
        where = (mode + 8 + 7 & -8) + 8
        if changed != (_CONTEXT_ALL ^ _CONTEXT_CPU) << 8 * mode or before[where : where + 4] not in (
            b"\0\0\0\1",
            b"\0\1\0\1",
        ):
            raise EngineError("this version of Unicorn is unknown to Noah: pip install unicorn==2.1.4")
        ctypes.c_bool.from_address(base + where + 2).value = True

    def _control(self, request: int, *arguments: Any) -> None:
        self._check(self._library.control(self.handle, request, *arguments))

    def hook_interrupts(self, function: Callable[[int, int, int], None]) -> None:
        """Call function(handle, number, 0) at every exception, with Unicorn's own number for it."""
        self._hook(_InterruptHook(function), _HOOK_INTR)

    def hook_syscalls(self, function: Callable[[int, int], None]) -> None:
        """x86: call function(handle, 0) at every `syscall`."""
        self._hook(_SyscallHook(function), _HOOK_INSN, ctypes.c_int(_INSTRUCTION_SYSCALL))

    def hook_ports(self, function: Callable[[], int]) -> None:
        """x86: call function() before every `in`, which gets its result, and every `out`. They end no run."""
        in_hook = _InHook(lambda _handle, _port, _size, _data: function())
        out_hook = _OutHook(lambda _handle, _port, _size, _value, _data: function())
        self._hook(in_hook, _HOOK_INSN, ctypes.c_int(_INSTRUCTION_IN))
        self._hook(out_hook, _HOOK_INSN, ctypes.c_int(_INSTRUCTION_OUT))

    def _hook(self, callback: Any, kind: int, *arguments: Any) -> None:
        self._callbacks.append(callback)
        hook = ctypes.c_size_t()
        # begin > end: everywhere
        self._check(self._library.hook(self.handle, ctypes.byref(hook), kind, callback, None, 1, 0, *arguments))

    def read(self, register: int) -> int:
        """One register of at most 64 bits."""
        value = ctypes.c_uint64()
        self._check(self._library.read(self.handle, register, ctypes.byref(value)))
        return value.value

    def write(self, register: int, value: int | ctypes.Structure) -> None:
        """One register of at most 64 bits, or one that takes a structure."""
        what = ctypes.c_uint64(value) if isinstance(value, int) else value
        self._check(self._library.write(self.handle, register, ctypes.byref(what)))

    def load_state(self, state: bytes) -> None:
        """Go back to what state() gave."""
        ctypes.memmove(self.context, state, len(state))
        self._check(self.restore())

    def state(self) -> bytes:
        """The CPU's inner state, as Unicorn's contexts hold it."""
        self._check(self.save())
        return self.saved()

    def saved(self) -> bytes:
        """What save() has put into the context."""
        return ctypes.string_at(self.context.value or 0, self.context_size)

    def flush_tlb(self) -> None:
        """Forget what the page tables said."""
        self._control(_CTL_TLB_FLUSH)

    def flush_code(self) -> None:
        """Forget all translated code."""
        self._control(_CTL_TB_FLUSH)

    def forget_code(self, address: int, end: int) -> None:
        """Forget code translated from the physical pages behind executable addresses that are contiguous in both."""
        self._control(_CTL_TB_REMOVE_CACHE, ctypes.c_uint64(address), ctypes.c_uint64(end))

    def close(self) -> None:
        if self.handle:
            self._library.context_free(self.context)
            self._library.close(self.handle)
            self.handle.value = None
