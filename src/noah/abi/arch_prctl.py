"""asm/prctl.h: arch_prctl(2), x86-64 only."""

from __future__ import annotations

from typing import Final

ARCH_SET_GS: Final = 0x1001
ARCH_SET_FS: Final = 0x1002
ARCH_GET_FS: Final = 0x1003
ARCH_GET_GS: Final = 0x1004
ARCH_GET_CPUID: Final = 0x1011
ARCH_SET_CPUID: Final = 0x1012
ARCH_GET_XCOMP_SUPP: Final = 0x1021
ARCH_GET_XCOMP_PERM: Final = 0x1022
ARCH_REQ_XCOMP_PERM: Final = 0x1023
ARCH_GET_XCOMP_GUEST_PERM: Final = 0x1024
ARCH_REQ_XCOMP_GUEST_PERM: Final = 0x1025
ARCH_MAP_VDSO_X32: Final = 0x2001
ARCH_MAP_VDSO_32: Final = 0x2002
ARCH_MAP_VDSO_64: Final = 0x2003
ARCH_CET_STATUS: Final = 0x3001  # what C libraries built for CET ask first
