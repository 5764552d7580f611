/* QNX: Mappings, with the flag and protection values of QNX Neutrino 7.1. MAP_LAZY, MAP_NOINIT and
 * PROT_NOCACHE come from the sources of 6.4, the rest is checked against the crate libc. */
#ifndef QNX_SYS_MMAN_H
#define QNX_SYS_MMAN_H

#include <stddef.h>
#include <sys/platform.h>
#include <sys/types.h>

#define PROT_NONE    0x00000000
#define PROT_READ    0x00000100
#define PROT_WRITE   0x00000200
#define PROT_EXEC    0x00000400
#define PROT_NOCACHE 0x00000800

#define MAP_FILE       0x00000000
#define MAP_SHARED     0x00000001
#define MAP_PRIVATE    0x00000002
#define MAP_TYPE       0x00000003
#define MAP_FIXED      0x00000010
#define MAP_ELF        0x00000020
#define MAP_NOSYNCFILE 0x00000040
#define MAP_LAZY       0x00000080
#define MAP_STACK      0x00001000
#define MAP_BELOW      0x00002000
#define MAP_NOINIT     0x00004000
#define MAP_PHYS       0x00010000
#define MAP_NOX64K     0x00020000
#define MAP_BELOW16M   0x00040000
#define MAP_ANON       0x00080000
#define MAP_ANONYMOUS  MAP_ANON
#define MAP_SYSRAM     0x01000000

#define MAP_FAILED ((void *)-1)
#define NOFD       (-1)

#define POSIX_MADV_NORMAL     0
#define POSIX_MADV_SEQUENTIAL 1
#define POSIX_MADV_RANDOM     2
#define POSIX_MADV_WILLNEED   3
#define POSIX_MADV_DONTNEED   4

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off) __QNX_SYMBOL(mmap);
int mprotect(void *addr, size_t len, int prot) __QNX_SYMBOL(mprotect);
int munmap(void *addr, size_t len) __QNX_SYMBOL(munmap);
int posix_madvise(void *addr, size_t len, int advice) __QNX_SYMBOL(posix_madvise);

#endif
