"""termbits.h: terminal modes. noah.abi.structs has the structures, noah.abi.ioctl the calls."""

from __future__ import annotations

from typing import Final

# Indexes of c_cc
VINTR: Final = 0
VQUIT: Final = 1
VERASE: Final = 2
VKILL: Final = 3
VEOF: Final = 4
VTIME: Final = 5
VMIN: Final = 6
VSWTC: Final = 7
VSTART: Final = 8
VSTOP: Final = 9
VSUSP: Final = 10
VEOL: Final = 11
VREPRINT: Final = 12
VDISCARD: Final = 13
VWERASE: Final = 14
VLNEXT: Final = 15
VEOL2: Final = 16

# Length of c_cc in the kernel; the C library's own struct has 32
NCCS: Final = 19

# c_iflag
IGNBRK: Final = 1
BRKINT: Final = 2
IGNPAR: Final = 4
PARMRK: Final = 0o10
INPCK: Final = 0o20
ISTRIP: Final = 0o40
INLCR: Final = 0o100
IGNCR: Final = 0o200
ICRNL: Final = 0o400
IUCLC: Final = 0o1000
IXON: Final = 0o2000
IXANY: Final = 0o4000
IXOFF: Final = 0o10000
IMAXBEL: Final = 0o20000
IUTF8: Final = 0o40000

# c_oflag
OPOST: Final = 1
OLCUC: Final = 2
ONLCR: Final = 4
OCRNL: Final = 0o10
ONOCR: Final = 0o20
ONLRET: Final = 0o40
OFILL: Final = 0o100
OFDEL: Final = 0o200
NLDLY: Final = 0o400
NL0: Final = 0
NL1: Final = 0o400
CRDLY: Final = 0o3000
CR0: Final = 0
CR1: Final = 0o1000
CR2: Final = 0o2000
CR3: Final = 0o3000
TABDLY: Final = 0o14000
TAB0: Final = 0
TAB1: Final = 0o4000
TAB2: Final = 0o10000
TAB3: Final = 0o14000
XTABS: Final = 0o14000
BSDLY: Final = 0o20000
BS0: Final = 0
BS1: Final = 0o20000
VTDLY: Final = 0o40000
VT0: Final = 0
VT1: Final = 0o40000
FFDLY: Final = 0o100000
FF0: Final = 0
FF1: Final = 0o100000

# c_cflag
CSIZE: Final = 0o60
CS5: Final = 0
CS6: Final = 0o20
CS7: Final = 0o40
CS8: Final = 0o60
CSTOPB: Final = 0o100
CREAD: Final = 0o200
PARENB: Final = 0o400
PARODD: Final = 0o1000
HUPCL: Final = 0o2000
CLOCAL: Final = 0o4000
CMSPAR: Final = 0o10000000000
CRTSCTS: Final = 0o20000000000

# c_cflag: speeds
CBAUD: Final = 0o10017
CBAUDEX: Final = 0o10000
CIBAUD: Final = 0o2003600000
B0: Final = 0
B50: Final = 1
B75: Final = 2
B110: Final = 3
B134: Final = 4
B150: Final = 5
B200: Final = 6
B300: Final = 7
B600: Final = 0o10
B1200: Final = 0o11
B1800: Final = 0o12
B2400: Final = 0o13
B4800: Final = 0o14
B9600: Final = 0o15
B19200: Final = 0o16
B38400: Final = 0o17
BOTHER: Final = 0o10000
B57600: Final = 0o10001
B115200: Final = 0o10002
B230400: Final = 0o10003
B460800: Final = 0o10004
B500000: Final = 0o10005
B576000: Final = 0o10006
B921600: Final = 0o10007
B1000000: Final = 0o10010
B1152000: Final = 0o10011
B1500000: Final = 0o10012
B2000000: Final = 0o10013
B2500000: Final = 0o10014
B3000000: Final = 0o10015
B3500000: Final = 0o10016
B4000000: Final = 0o10017

# CIBAUD is CBAUD shifted
IBSHIFT: Final = 16

# c_lflag
ISIG: Final = 1
ICANON: Final = 2
XCASE: Final = 4
ECHO: Final = 0o10
ECHOE: Final = 0o20
ECHOK: Final = 0o40
ECHONL: Final = 0o100
NOFLSH: Final = 0o200
TOSTOP: Final = 0o400
ECHOCTL: Final = 0o1000
ECHOPRT: Final = 0o2000
ECHOKE: Final = 0o4000
FLUSHO: Final = 0o10000
PENDIN: Final = 0o40000
IEXTEN: Final = 0o100000
EXTPROC: Final = 0o200000

# c_line: line disciplines
N_TTY: Final = 0

# TIOCMGET
TIOCM_LE: Final = 1
TIOCM_DTR: Final = 2
TIOCM_RTS: Final = 4
TIOCM_CTS: Final = 0x20
TIOCM_CAR: Final = 0x40
TIOCM_RNG: Final = 0x80
TIOCM_DSR: Final = 0x100
