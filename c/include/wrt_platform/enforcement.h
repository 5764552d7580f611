/** What was asked for, and what this system really does about it. */
#ifndef WRT_PLATFORM_ENFORCEMENT_H
#define WRT_PLATFORM_ENFORCEMENT_H

#include "wrt_platform/status.h"

WRT_BEGIN_DECLS

/** How far a protection holds. */
enum wrt_enforcement_state {
    WRT_ENFORCEMENT_NOT_ASKED = 0, /* the config leaves it off */
    WRT_ENFORCEMENT_ENFORCED = 1,  /* asked, and it holds */
    WRT_ENFORCEMENT_PARTIAL = 2,   /* asked, and it holds with the exception that `reason` names */
    WRT_ENFORCEMENT_ABSENT = 3     /* asked, and this system has nothing of it, see `reason` */
};

/** One protection, as a query call reports it. */
typedef struct wrt_enforcement {
    const char *reason; /* static text, never NULL; by what it holds, or why it does not */
    uint32_t state;     /* one of wrt_enforcement_state */
    uint32_t reserved;
} wrt_enforcement;

WRT_END_DECLS
#endif
