/* Internal: QNX, as this library sees it. The only file here that includes the system's headers.
 * On QNX they are those of its SDK, on Linux those of the simulated kernel. */
#ifndef WRT_QNX_SYS_H
#define WRT_QNX_SYS_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/neutrino.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#endif
