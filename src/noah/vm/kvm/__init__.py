"""The KVM engine: guest user code at native speed, in pure Python.

A guest has no kernel. SYSCALL enters a two-byte trap page (`out`), every exception a stub that does the same; both end
KVM_RUN. Two kinds of KVM are told apart by the privilege level found in the first trap:

- *hardware* (VMX, SVM): SYSCALL switches to CPL 0; the way back is `sysretq`, or `iretq` when more than the result
  changed (signals, exceptions).
- *user-level* (a software KVM that emulates ring 0): SYSCALL reaches the trap page without leaving CPL 3. The trap page
  is therefore accessible to user code and the TSS allows its one port; the way back is set from here.

Everything else of the engine in the guest (noah.vm.arch.x86_system) is out of user code's reach on both.

Removing a permission: shadow page tables and TLBs see an edit only once the host invalidates the backing page, which
Arena.invalidate() and Arena.free() do for all vCPUs at once (see docs/decisions/0002-invalidation.md).

    device.py    /dev/kvm
    machine.py   KvmMachine: memory
    vcpu.py      KvmVcpu: runs, registers, kicks
    setup.py     what a vCPU is given before its first run
    exitless.py  calls that another thread answers while the vCPU stays in the guest
    words.py     calls about words of memory that the guest answers itself
"""

from noah.vm.kvm.machine import KvmMachine
from noah.vm.kvm.vcpu import KvmVcpu

__all__ = ["KvmMachine", "KvmVcpu"]
