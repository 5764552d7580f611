/* QNX: limits of a process. RLIMIT_FREEMEM and RLIMIT_NTHR are not in the crate libc; their values
 * here are free ones, so sources use the names alone. */
#ifndef QNX_SYS_RESOURCE_H
#define QNX_SYS_RESOURCE_H

#include <sys/platform.h>
#include <sys/types.h>

typedef uint64_t rlim_t;

struct rlimit {
    rlim_t rlim_cur;
    rlim_t rlim_max;
};

#define RLIMIT_CPU     0
#define RLIMIT_FSIZE   1
#define RLIMIT_DATA    2
#define RLIMIT_STACK   3
#define RLIMIT_CORE    4
#define RLIMIT_NOFILE  5
#define RLIMIT_AS      6
#define RLIMIT_VMEM    RLIMIT_AS
#define RLIMIT_RSS     RLIMIT_AS
#define RLIMIT_MEMLOCK 7
#define RLIMIT_NPROC   8
#define RLIMIT_NTHR    9
#define RLIMIT_FREEMEM 13
#define RLIM_NLIMITS   __QNX_7_OR_8(14, 19)

#define RLIM_INFINITY 0xfffffffffffffffdULL

int getrlimit(int resource, struct rlimit *rlimit) __QNX_SYMBOL(getrlimit);
int setrlimit(int resource, const struct rlimit *rlimit) __QNX_SYMBOL(setrlimit);

#endif
