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

What the translator does not do: no alignment checks of PC and SP on aarch64, no #AC, SIMD exceptions and SS limit
faults on x86-64. A page of a host file that another process cut off ends the host process with SIGBUS.
"""

from noah.vm.emulator.machine import EmulatorMachine

__all__ = ["EmulatorMachine"]
