/* Internal: what the parts of confined processes share. The new process runs on the memory of this
 * one until it executes its program, while the thread that started it stands still: so it uses the
 * same calls, its failures are this thread's, and what it finds is read by the parent. */
#ifndef WRT_LINUX_CONFINED_H
#define WRT_LINUX_CONFINED_H

#include "sys_confined.h"

#include "wrt_platform/linux/confined_process.h"
#include "wrt_platform/linux/namespaces.h"

/* On functions that a child is in when it executes its program, or ends: it never returns from
 * them, and the address sanitizer would keep what it noted about their frames, in memory of the
 * parent. */
#define WRT__LEAVES __attribute__((no_sanitize("address")))

#define WRT__CONFINED_START "wrt_confined_process_start"

enum { WRT__CONFINED_PROGRAM_MAX = 512 }; /* instructions of the profile */

/* One start. */
typedef struct wrt__confined_start {
    wrt_confined_process_config config; /* defaults filled in */
    wrt_confined_report report;
    uint32_t namespaces; /* those of this try; 0: none */
    uint32_t user;       /* outside, to be mapped */
    uint32_t group;
    bool has_selinux;          /* asked beforehand: it may load a library */
    bool failed_in_namespaces; /* the steps that a try without them leaves out */
    wrt_status status;         /* of the new process; its error is this thread's */
    int32_t standard[3];       /* descriptors, moved out of the way */
    wrt_seccomp_instruction program[WRT__CONFINED_PROGRAM_MAX];
} wrt__confined_start;

/* Fills in defaults and refuses what is broken. */
wrt_status wrt__confined_check(wrt__confined_start *start);

/* The walls, in their order; returns only if one of them, or the program, can't be had. */
void wrt__confined_enter(wrt__confined_start *start);

wrt_enforcement wrt__confined_holds(const char *reason);
wrt_enforcement wrt__confined_lacks(const char *reason);

#endif
