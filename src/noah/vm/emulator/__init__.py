"""The emulator engine: guests of any architecture on any host, through Unicorn (QEMU's translator as a library).

Unicorn is used as a whole computer and not as an address space with hooks: its physical memory is the arena, mapped
once; the guest runs in user mode (CPL 3, EL0) under page tables that Noah writes into the arena, the same as for KVM.
Mapping, protecting and unmapping are edits of these tables and a TLB flush before the next run. Two guest pages with
the same backing are one physical page, so code that is changed through another address is translated anew.

    library.py   the C functions, called directly (the Python package of Unicorn takes 0.1 s to import)
    machine.py   EmulatorMachine: memory
    vcpu.py      the run loop and kicks, for every architecture
    x86_64.py, aarch64.py   registers, set-up, exceptions
    watcher.py   ends a run when a host signal is pending

Gaps of the translator (QEMU 5, as Unicorn has it):

- no alignment checks of PC and SP on aarch64, no #AC and no SIMD exceptions on x86-64;
- code that changes is noticed where it is executed, when it becomes executable, and when new memory takes its place.
  For what is written at another address, or by Noah, somebody must see to it (Machine.coherent): noah.mm does within a
  process, but code in a file that another process, or write(2), changes meanwhile may be what it was;
- some encodings that no CPU has (`lock` with a register operand, unallocated half-precision vector operations) make it
  call abort(3): the guest's process then dies of SIGABRT where a CPU raises SIGILL;
- a page of a host file that another process truncates while it is mapped ends the process with SIGBUS: there is no
  way to return EXIT_HOST_FAULT from within translated code.
"""

from noah.vm.emulator.machine import EmulatorMachine

__all__ = ["EmulatorMachine"]
