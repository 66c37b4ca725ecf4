"""What CPUID shows to guests: the host's CPU, less what needs state that Noah does not save (SDM vol. 2, CPUID).

A program may use what CPUID offers if XCR0 enables its state. Signal frames and forks carry x87, SSE, AVX and AVX-512;
so no protection keys, no AMX, no shadow stacks, and nothing that is for kernels and hypervisors. A software KVM may let
programs see the host's own CPUID and XCR0: what most of them use has to be carried.
"""

from __future__ import annotations

import struct
from typing import Final

_ENTRY: Final = struct.Struct("<3I4I12x")  # struct kvm_cpuid_entry2: function, index, flags, eax, ebx, ecx, edx

XFEATURES: Final = 0xE7
"""State components that guests may have: x87, SSE, AVX, and the three of AVX-512 (SDM vol. 1, 13.1)."""
_AVX512: Final = 0xE0
_XSAVE_SIZE: Final = 576  # bytes of an area for x87 and SSE with its header; other components follow


def _bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


_AVX512_7_EBX: Final = _bits(16, 17, 21, 26, 27, 28, 30, 31)  # F DQ IFMA PF ER CD BW VL
_AVX512_7_ECX: Final = _bits(1, 6, 11, 12, 14)  # VBMI VBMI2 VNNI BITALG VPOPCNTDQ
_AVX512_7_EDX: Final = _bits(2, 3, 8, 23)  # 4VNNIW 4FMAPS VP2INTERSECT FP16

# (function, index) -> bits to hide of eax, ebx, ecx, edx
_HIDDEN: Final = {
    (1, 0): (0, 0, _bits(5), 0),  # VMX
    (7, 0): (
        0,
        _bits(2, 14, 25),  # SGX MPX PT
        _bits(3, 4, 7, 16, 23, 29, 31),  # PKU OSPKE SHSTK LA57 KL ENQCMD PKS
        _bits(5, 18, 19, 20, 22, 24, 25),  # UINTR PCONFIG ARCH_LBR IBT AMX_BF16 AMX_TILE AMX_INT8
    ),
    (7, 1): (_bits(17, 18, 21, 26), 0, 0, _bits(8, 15, 18, 19, 21)),  # FRED LKGS AMX LAM; AMX AVX10 APX
    (0xD, 1): (_bits(3, 4), 0, (1 << 32) - 1, (1 << 32) - 1),  # XSAVES XFD, and the components of XSS
    (0x8000_0001, 0): (0, 0, _bits(2, 12, 15), 0),  # SVM SKINIT LWP
}
_HIDDEN_WITHOUT_AVX512: Final = {
    (7, 0): (0, _AVX512_7_EBX, _AVX512_7_ECX, _AVX512_7_EDX),
    (7, 1): (_bits(5), 0, 0, 0),  # AVX512_BF16
}
_NOTHING: Final = (0, 0, 0, 0)
# SGX, processor trace, key locker, last branch records, AMX tiles, performance counters, AVX10, SVM, SEV
_ABSENT: Final = frozenset((0xA, 0x12, 0x14, 0x19, 0x1C, 0x1D, 0x1E, 0x23, 0x24, 0x8000_000A, 0x8000_001F, 0x8000_0022))


def guest_table(supported: bytes | bytearray) -> tuple[bytearray, int, int]:
    """KVM_SET_CPUID2's argument made of KVM_GET_SUPPORTED_CPUID's answer, the value for XCR0, an XSAVE area's size."""
    (count,) = struct.unpack_from("<I", supported)
    entries = [_ENTRY.unpack_from(supported, 8 + _ENTRY.size * number) for number in range(count)]
    xfeatures = next((entry[3] for entry in entries if entry[:2] == (0xD, 0)), 3) & XFEATURES
    without = {} if xfeatures & _AVX512 == _AVX512 else _HIDDEN_WITHOUT_AVX512
    if without:
        xfeatures &= ~_AVX512
    parts = [entry for entry in entries if entry[0] == 0xD and entry[1] > 1 and xfeatures >> entry[1] & 1]
    xsave_size = max([_XSAVE_SIZE, *(size + offset for _, _, _, size, offset, *_ in parts)])
    shown = []
    for function, index, flags, *values in entries:
        if function in _ABSENT or (function == 0xD and index > 1 and not xfeatures >> index & 1):
            continue
        always, now = _HIDDEN.get((function, index), _NOTHING), without.get((function, index), _NOTHING)
        eax, ebx, ecx, edx = (v & ~(h | w) for v, h, w in zip(values, always, now, strict=True))
        if function == 0xD and index == 0:
            eax, ebx, ecx, edx = xfeatures, xsave_size, xsave_size, 0
        shown.append(_ENTRY.pack(function, index, flags, eax, ebx, ecx, edx))
    return bytearray(struct.pack("<II", len(shown), 0) + b"".join(shown)), xfeatures, xsave_size
