/* Internal: what the parts of the filter compiler share. None of them needs the system's headers,
 * so that a program without a C library can compile its own filter. */
#ifndef WRT_LINUX_SECCOMP_H
#define WRT_LINUX_SECCOMP_H

#include "wrt_platform/linux/seccomp.h"

/* Each call by its name: WRT__CALL_read. */
#define CALL(name, x86_64, aarch64) WRT__CALL_##name,
enum wrt__call {
#include "seccomp_calls.inc"
    WRT__CALL_COUNT
};
#undef CALL

enum {
    WRT__CALL_NONE = 0x7fffffff, /* an architecture does not have it */
    WRT__X32_BIT = 0x40000000,   /* numbers from here on belong to the x32 interface of x86-64 */
    WRT__ERROR_PERMISSION = 1,   /* EPERM */
    WRT__ERROR_NO_CALL = 38      /* ENOSYS */
};

/* What a compiler works on: a rule whose arguments lie elsewhere. */
typedef struct wrt__seccomp_item {
    uint32_t number;
    uint16_t action;
    uint16_t error;
    const wrt_seccomp_argument *arguments;
    uint32_t argument_count;
    uint32_t rank; /* place among all items, as they were given */
} wrt__seccomp_item;

enum { WRT__SECCOMP_ITEM_MAX = WRT_SECCOMP_RULE_MAX + 128 };

/* The rules of a profile. */
typedef struct wrt__seccomp_profile {
    const struct wrt__seccomp_entry *entries;
    uint32_t entry_count;
    uint16_t default_action;
    uint16_t unknown_action;
} wrt__seccomp_profile;

typedef struct wrt__seccomp_entry {
    uint16_t call; /* one of wrt__call */
    uint8_t action;
    uint8_t error;
    uint8_t first_argument; /* in wrt__seccomp_arguments */
    uint8_t argument_count;
} wrt__seccomp_entry;

/* The number of a call, or WRT__CALL_NONE. architecture: not WRT_SECCOMP_HOST. */
uint32_t wrt__call_number(uint32_t architecture, uint32_t call);
/* HOST becomes what it is; 0 if there is no such architecture. */
uint32_t wrt__call_architecture(uint32_t architecture);
/* AUDIT_ARCH_... */
uint32_t wrt__call_audit(uint32_t architecture);
/* The first number without a name. */
uint32_t wrt__call_end(uint32_t architecture);

/* NULL if there is no such profile. */
const wrt__seccomp_profile *wrt__seccomp_profile_of(uint32_t profile);
const wrt_seccomp_argument *wrt__seccomp_profile_arguments(const wrt__seccomp_entry *entry);

/* The code of a checked list of items; returns how many instructions it has, and writes them as
 * far as `capacity` goes. `items` are put in order. */
typedef struct wrt__seccomp_plan {
    wrt__seccomp_item *items;
    uint32_t item_count;
    uint32_t architecture;
    uint32_t form;
    uint32_t otherwise; /* the answers, as the kernel takes them */
    uint32_t unknown;
    uint32_t foreign;
    uint32_t call_count; /* out: calls with rules of their own */
} wrt__seccomp_plan;

uint32_t wrt__seccomp_generate(wrt__seccomp_plan *plan, wrt_seccomp_instruction *program,
                               uint32_t capacity);

/* Sets PR_SET_NO_NEW_PRIVS and loads, whatever other threads there are. */
wrt_status wrt__seccomp_enter(const wrt_seccomp_instruction *program, uint32_t count,
                              uint32_t options);

/* The answer to the kernel that stands for an action. */
uint32_t wrt__seccomp_answer(uint32_t action, uint32_t error);

#endif
