/* Loaded in front of the C library: memory without access is memory like any other, and none is
 * kept from being run. What a broken kernel, or a library in between, would do to guards. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int weaker(int protection)
{
    const char *what = getenv("WEAK");

    if (what == NULL) return protection;
    if (strcmp(what, "guards") == 0 && protection == PROT_NONE) return PROT_READ | PROT_WRITE;
    if (strcmp(what, "writes") == 0 && protection == PROT_NONE) return PROT_READ;
    if (strcmp(what, "runs") == 0 && (protection & PROT_WRITE) != 0) return protection | PROT_EXEC;
    return protection;
}

void *mmap(void *start, size_t size, int protection, int flags, int descriptor, off_t offset)
{
    return (void *)syscall(SYS_mmap, start, size, weaker(protection), flags, descriptor, offset);
}

int mprotect(void *start, size_t size, int protection)
{
    return (int)syscall(SYS_mprotect, start, size, weaker(protection));
}
