/* Internal: QNX, as this library sees it. The only file here that includes the system's headers.
 * On QNX they are those of its SDK, on Linux those of the simulated kernel. */
#ifndef WRT_QNX_SYS_H
#define WRT_QNX_SYS_H

#include <devctl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/neutrino.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Memory partitions: an optional module of 6.4, and no header of theirs since. */
#if __has_include(<kernel/mempart.h>)
#include <kernel/mempart.h>
#include <sys/part.h>
#define WRT__QNX_PARTITION_HEADERS 1
#else
#define WRT__QNX_PARTITION_HEADERS 0
#endif

#endif
