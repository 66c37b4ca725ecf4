"""Machine code of the engine tests, one object an architecture, written by hand: no compiler is needed.

Both sets use the same roles: `pointer` is a register with an address, `value` one with data.
"""

from __future__ import annotations

from typing import Final

from noah.vm.arch import aarch64, x86_64


def _words(*instructions: int) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in instructions)


class X86:
    """x86-64: pointer is rdi, value is rax."""

    name: Final = "x86_64"
    pc: Final = x86_64.RIP
    sp: Final = x86_64.RSP
    pointer: Final = x86_64.RDI
    value: Final = x86_64.RAX
    number: Final = x86_64.SYSCALL_NUMBER
    result: Final = x86_64.SYSCALL_RESULT
    args: Final = x86_64.SYSCALL_ARGS
    copy_of_result: Final = x86_64.RBX
    count: Final = x86_64.COUNT
    undefined_vector: Final = x86_64.INVALID_OPCODE
    breakpoint_vector: Final = x86_64.BREAKPOINT
    breakpoint_size: Final = 1  # the program counter is behind it

    syscall: Final = b"\x0f\x05"
    copy_result: Final = b"\x48\x89\xc3"  # mov rbx, rax
    load: Final = b"\x48\x8b\x07"  # mov rax, [rdi]
    store: Final = b"\x48\x89\x07"  # mov [rdi], rax
    jump: Final = b"\xff\xe7"  # jmp rdi
    spin: Final = b"\xeb\xfe"  # jmp .
    undefined: Final = b"\x0f\x0b"  # ud2
    breakpoint: Final = b"\xcc"  # int3
    count_up: Final = b"\x48\xff\xc3\x0f\x05\xeb\xf9"  # 1: inc rbx; syscall; jmp 1b
    counter: Final = x86_64.RBX
    count_for_ever: Final = b"\x48\xff\xc3\xeb\xfb"  # 1: inc rbx; jmp 1b
    load_tls: Final = b"\x64\x48\x8b\x04\x25\0\0\0\0"  # mov rax, fs:[0]
    tls_is_address: Final = False
    # movq xmm1, rdi; addsd xmm1, xmm1; movq rax, xmm1
    double: Final = b"\x66\x48\x0f\x6e\xcf\xf2\x0f\x58\xc9\x66\x48\x0f\x7e\xc8"
    vector_to_memory: Final = b"\xf3\x0f\x7f\x17"  # movdqu [rdi], xmm2
    memory_to_vector: Final = b"\xf3\x0f\x6f\x17"  # movdqu xmm2, [rdi]
    vector_offset: Final = 160 + 16 * 2  # of xmm2 in get_fp()
    traps_division: Final = True
    divide_by_zero: Final = b"\x31\xd2\x31\xc9\xf7\xf1"  # xor edx, edx; xor ecx, ecx; div ecx
    push: Final = b"\x50"  # push rax
    # Instructions of 8 bytes, to be written as data: mov eax, imm32; syscall; nop
    made_code: Final = tuple(b"\xb8" + bytes((n, 0, 0, 0)) + b"\x0f\x05\x90" for n in (0x11, 0x22))
    # call rdi; syscall
    call_then_syscall: Final = b"\xff\xd7\x0f\x05"
    # mov eax, imm32; ret; nop; nop
    made_function: Final = tuple(b"\xb8" + bytes((n, 0, 0, 0)) + b"\xc3\x90\x90" for n in (0x11, 0x22))
    clock: Final = b"\x0f\x31"  # rdtsc

    privileged: Final = {
        "cli": b"\xfa",
        "sti": b"\xfb",
        "hlt": b"\xf4",
        "in al, dx": b"\xec",
        "out dx, al": b"\xee",
        "out 0x80, al": b"\xe6\x80",
        "wrmsr": b"\x0f\x30",
        "rdmsr": b"\x0f\x32",
        "mov cr3, rax": b"\x0f\x22\xd8",
        "mov rax, cr0": b"\x0f\x20\xc0",
        "mov dr7, rax": b"\x0f\x23\xf8",
        "lgdt [rdi]": b"\x0f\x01\x17",
        "lidt [rdi]": b"\x0f\x01\x1f",
        "lldt ax": b"\x0f\x00\xd0",
        "ltr ax": b"\x0f\x00\xd8",
        "lmsw ax": b"\x0f\x01\xf0",
        "invlpg [rdi]": b"\x0f\x01\x3f",
        "invd": b"\x0f\x08",
        "wbinvd": b"\x0f\x09",
        "clts": b"\x0f\x06",
        "swapgs": b"\x0f\x01\xf8",
        "xsetbv": b"\x0f\x01\xd1",
        "rsm": b"\x0f\xaa",
        "sysretq": b"\x48\x0f\x07",
        "sysexit": b"\x0f\x35",
        "vmrun": b"\x0f\x01\xd8",
        "vmload": b"\x0f\x01\xda",
        "stgi": b"\x0f\x01\xdc",
    }
    odd: Final = {
        **privileged,
        "int 0x80": b"\xcd\x80",
        "int 14": b"\xcd\x0e",
        "int 8": b"\xcd\x08",
        "int 1": b"\xcd\x01",
        "int1": b"\xf1",
        "sysenter": b"\x0f\x34",
        "vmcall": b"\x0f\x01\xc1",
        "monitor; mwait": b"\x0f\x01\xc8\x0f\x01\xc9",
        "rdpmc": b"\x0f\x33",
        "wrfsbase rax; mov rax, fs:[0]": b"\xf3\x48\x0f\xae\xd0" + load_tls,
        "iretq": b"\x48\xcf",
        "iretd": b"\xcf",
        "retfq": b"\x48\xcb",
        "jmp fword [rdi]": b"\xff\x2f",
        "popfq": b"\x9d",
        "mov ds, eax": b"\x8e\xd8",
        "mov ss, eax": b"\x8e\xd0",
        "xabort; xbegin": b"\xc6\xf8\x00\xc7\xf8\0\0\0\0",
        "pause": b"\xf3\x90",
        "lock nop": b"\xf0\x90",
        "fifteen prefixes": b"\x66" * 15 + b"\x90",
    }
    # mov rsp, rax, then an exception: pushing its frame must not need the guest's stack
    wreck_stack: Final = b"\x48\x89\xc4"
    bad_addresses: Final = (0x0000_8000_0000_0000, 0xFFFF_7FFF_FFFF_FFFF, 0xFFFF_FFFF_FF60_0000, 0xFFFF_FFFF_FFFF_FFFF)


class Aarch64:
    """aarch64: pointer is x0, value is x1."""

    name: Final = "aarch64"
    pc: Final = aarch64.PC
    sp: Final = aarch64.SP
    pointer: Final = aarch64.X0
    value: Final = 1
    number: Final = aarch64.SYSCALL_NUMBER
    result: Final = aarch64.SYSCALL_RESULT
    args: Final = aarch64.SYSCALL_ARGS
    copy_of_result: Final = 19
    count: Final = aarch64.COUNT
    undefined_vector: Final = aarch64.UNKNOWN
    breakpoint_vector: Final = aarch64.BREAKPOINT
    breakpoint_size: Final = 0  # the program counter stays

    syscall: Final = _words(0xD4000001)  # svc #0
    copy_result: Final = _words(0xAA0003F3)  # mov x19, x0
    load: Final = _words(0xF9400001)  # ldr x1, [x0]
    store: Final = _words(0xF9000001)  # str x1, [x0]
    jump: Final = _words(0xD61F0000)  # br x0
    spin: Final = _words(0x14000000)  # b .
    undefined: Final = _words(0x00000000)  # udf #0
    breakpoint: Final = _words(0xD4200000)  # brk #0
    count_up: Final = _words(0x91000673, 0xD4000001, 0x17FFFFFE)  # 1: add x19, x19, #1; svc #0; b 1b
    counter: Final = 19
    count_for_ever: Final = _words(0x91000673, 0x17FFFFFF)  # 1: add x19, x19, #1; b 1b
    load_tls: Final = _words(0xD53BD041)  # mrs x1, tpidr_el0
    tls_is_address: Final = True
    double: Final = _words(0x9E670001, 0x1E612821, 0x9E660021)  # fmov d1, x0; fadd d1, d1, d1; fmov x1, d1
    vector_to_memory: Final = _words(0x3D800002)  # str q2, [x0]
    memory_to_vector: Final = _words(0x3DC00002)  # ldr q2, [x0]
    vector_offset: Final = 16 * 2
    push: Final = _words(0xF81F0FE1)  # str x1, [sp, #-16]!
    made_code: Final = tuple(_words(0xD2800001 | n << 5, 0xD4000001) for n in (0x11, 0x22))  # mov x1, #n; svc #0
    call_then_syscall: Final = _words(0xD63F0000, 0xD4000001)  # blr x0; svc #0
    made_function: Final = tuple(_words(0xD2800001 | n << 5, 0xD65F03C0) for n in (0x11, 0x22))  # mov x1, #n; ret
    traps_division: Final = False
    divide_by_zero: Final = _words(0x9ADF0821)  # udiv x1, x1, xzr
    clock: Final = _words(0xD53BE041)  # mrs x1, cntvct_el0

    privileged: Final = {
        "msr sctlr_el1, x0": _words(0xD5181000),
        "msr ttbr0_el1, x0": _words(0xD5182000),
        "msr elr_el1, x0": _words(0xD5184020),
        "msr spsel, #1": _words(0xD50041BF),
        "mrs x0, sctlr_el1": _words(0xD5381000),
        "mrs x0, midr_el1": _words(0xD5380000),
        "eret": _words(0xD69F03E0),
        "hvc #0": _words(0xD4000002),
        "smc #0": _words(0xD4000003),
        "tlbi vmalle1": _words(0xD508871F),
        "at s1e1r, x0": _words(0xD5087800),
        "dc isw, x0": _words(0xD5087640),
        "ic iallu": _words(0xD508751F),
        "drps": _words(0xD6BF03E0),
        "cntb x0 (SVE is off)": _words(0x0420E3E0),
    }
    odd: Final = {
        **privileged,
        "msr daifset, #15": _words(0xD5034FDF),
        "hlt #0": _words(0xD4400000),
        "dcps1": _words(0xD4A00001),
        "wfi": _words(0xD503207F),
        "wfe": _words(0xD503205F),
        "paciasp": _words(0xD503233F),
        "isb": _words(0xD5033FDF),
        "mov sp, x0; ldr x1, [sp]": _words(0x9100001F, 0xF94003E1),
        "dc zva, x0": _words(0xD50B7420),
        "dc cvau, x0": _words(0xD50B7B20),
        "ic ivau, x0": _words(0xD50B7520),
    }
    wreck_stack: Final = _words(0x9100003F)  # mov sp, x1
    bad_addresses: Final = (0x0001_0000_0000_0000, 0x00FF_FFFF_FFFF_FFFC, 0xFFFF_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFC)

    counters: Final = _words(0xD53BE041, 0xD53BE002, 0xD53B0023, 0xD53B00E4)  # mrs cntvct, cntfrq, ctr, dczid
    exclusive: Final = _words(0xC85FFC02, 0xC803FC01)  # ldaxr x2, [x0]; stlxr w3, x1, [x0]
    atomic_add: Final = _words(0xF8210002)  # ldadd x1, x2, [x0]


Snippets = type[X86] | type[Aarch64]
