/* QNX: mappings and limits. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "entry_answer.h"
#include "kernel_memory.h"
#include "kernel_resources.h"

enum {
    ACCESS_BITS = PROT_READ | PROT_WRITE | PROT_EXEC,
    KNOWN_PROTECTION = ACCESS_BITS | PROT_NOCACHE
};

/* Not to be handed in: they say what a mapping is, and others are reserved. */
#define REFUSED_FLAGS (MAP_SYSRAM | 0xf0f00f00U)

static uint32_t access_of(int prot)
{
    return ((prot & PROT_READ) != 0 ? QK_READ : 0U) | ((prot & PROT_WRITE) != 0 ? QK_WRITE : 0U) |
           ((prot & PROT_EXEC) != 0 ? QK_EXECUTE : 0U);
}

static uint32_t map_flags_of(int flags)
{
    return ((flags & MAP_FIXED) != 0 ? QK_MAP_FIXED : 0U) |
           ((flags & MAP_LAZY) != 0 ? QK_MAP_LAZY : 0U) |
           ((flags & MAP_STACK) != 0 ? QK_MAP_STACK : 0U) |
           ((flags & MAP_TYPE) == MAP_SHARED ? QK_MAP_SHARED : 0U);
}

/* There are no files to be mapped and no physical memory, so it is anonymous or wrong. */
static qk_error check_map(int prot, int flags, int fd)
{
    if ((prot & ~KNOWN_PROTECTION) != 0) return QK_EINVAL;
    if (((unsigned)flags & REFUSED_FLAGS) != 0) return QK_EINVAL;
    if ((flags & MAP_TYPE) == 0 && (flags & MAP_ANON) == 0) return QK_EINVAL;
    if ((flags & MAP_PHYS) != 0) return (flags & MAP_LAZY) != 0 ? QK_EINVAL : QK_EPERM;
    if (fd == NOFD) return QK_OK;
    return (flags & MAP_ANON) != 0 ? QK_EINVAL : QK_EBADF;
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
    void *address = NULL;
    qk_error error = qk_enter("mmap");

    (void)off; /* a place in a file, or of a stack's guard, which the mapping needs not */
    if (error == QK_OK) error = check_map(prot, flags, fd);
    if (error == QK_OK) {
        error = qk_memory_map(addr, len, access_of(prot), map_flags_of(flags), &address);
    }
    return sim_answer(qk_leave(error)) == 0 ? address : MAP_FAILED;
}

int mprotect(void *addr, size_t len, int prot)
{
    qk_error error = qk_enter("mprotect");

    if (error == QK_OK && (prot & ~KNOWN_PROTECTION) != 0) error = QK_EINVAL;
    if (error == QK_OK) error = qk_memory_protect(addr, len, access_of(prot));
    return sim_answer(qk_leave(error));
}

int munmap(void *addr, size_t len)
{
    qk_error error = qk_enter("munmap");

    if (error == QK_OK) error = qk_memory_unmap(addr, len);
    return sim_answer(qk_leave(error));
}

/* Advice changes nothing that a program could see. */
int posix_madvise(void *addr, size_t len, int advice)
{
    qk_error error = qk_enter("posix_madvise");

    if (error == QK_OK && (advice < POSIX_MADV_NORMAL || advice > POSIX_MADV_DONTNEED)) {
        error = QK_EINVAL;
    }
    if (error == QK_OK) error = qk_memory_find(addr, len);
    return sim_number(qk_leave(error));
}

/* Limits. Those that the simulation does not watch can be set and read all the same. */

static struct rlimit others[RLIM_NLIMITS];
static bool others_set[RLIM_NLIMITS];
static uint32_t world; /* that they belong to */

static bool is_watched(int resource, enum qk_limit *limit_out)
{
    *limit_out = resource == RLIMIT_AS     ? QK_LIMIT_ADDRESS_SPACE
                 : resource == RLIMIT_DATA ? QK_LIMIT_DATA
                                           : QK_LIMIT_FREE_MEMORY;
    return resource == RLIMIT_AS || resource == RLIMIT_DATA || resource == RLIMIT_FREEMEM;
}

static qk_error check_limit(int resource, const struct rlimit *limit, bool writes)
{
    if (world != qk_world()) memset(others_set, 0, sizeof others_set);
    world = qk_world();
    if (resource < 0 || resource >= RLIM_NLIMITS) return QK_EINVAL;
    const bool allowed =
        writes ? qk_may_write(limit, sizeof *limit) : qk_may_read(limit, sizeof *limit);
    return allowed ? QK_OK : QK_EFAULT;
}

static rlim_t limit_of(uint64_t bytes)
{
    return bytes == QK_UNLIMITED ? RLIM_INFINITY : bytes;
}

int getrlimit(int resource, struct rlimit *limit)
{
    enum qk_limit watched;
    uint64_t soft = QK_UNLIMITED, hard = QK_UNLIMITED;
    qk_error error = qk_enter("getrlimit");

    if (error == QK_OK) error = check_limit(resource, limit, true);
    if (error == QK_OK) {
        if (is_watched(resource, &watched)) {
            error = qk_memory_limit(watched, &soft, &hard);
        } else if (others_set[resource]) {
            soft = others[resource].rlim_cur;
            hard = others[resource].rlim_max;
        }
        *limit = (struct rlimit){limit_of(soft), limit_of(hard)};
    }
    return sim_answer(qk_leave(error));
}

static uint64_t bytes_of(rlim_t limit)
{
    return limit >= RLIM_INFINITY ? QK_UNLIMITED : limit;
}

int setrlimit(int resource, const struct rlimit *limit)
{
    enum qk_limit watched;
    qk_error error = qk_enter("setrlimit");

    if (error == QK_OK) error = check_limit(resource, limit, false);
    if (error == QK_OK && is_watched(resource, &watched)) {
        error = qk_memory_set_limit(watched, bytes_of(limit->rlim_cur), bytes_of(limit->rlim_max));
    } else if (error == QK_OK) {
        error = limit->rlim_cur <= limit->rlim_max ? QK_OK : QK_EINVAL;
        if (error == QK_OK) {
            others[resource] = *limit;
            others_set[resource] = true;
        }
    }
    return sim_answer(qk_leave(error));
}
