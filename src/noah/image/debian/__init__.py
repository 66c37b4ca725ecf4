"""A Debian system out of its archive, without any of Debian's programs on the host.

sources    which mirror: the command line's, the host's own apt configuration, a public one
release    InRelease: signature, dates, digests of the indices
control    the format of indices and control files;  version: which of two is newer
resolve    which packages belong to a system
package    a .deb file;  dpkg: the database that dpkg keeps of what is unpacked
bootstrap  all of it in order; in the end the packages' own scripts run inside Noah
"""
