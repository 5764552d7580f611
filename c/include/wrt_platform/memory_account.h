/** Memory accounts: a tree of budgets, each with bytes that are kept for it and a limit.
 *
 *     wrt_memory_account_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.parent = &machine;
 *     config.minimum = 1 << 20; // kept for this account, whatever the others do
 *     config.maximum = 8 << 20;
 *     wrt_status status = wrt_memory_account_init(&tenant, &config);
 *     status = wrt_memory_account_charge(&tenant, 65536);
 *     status = wrt_memory_account_refund(&tenant, 65536);
 *
 * `minimum` is taken from all accounts above when the account is made, so that it is there later. A
 * charge takes what is left of the account's own minimum first; only the rest is charged to its
 * parent, and so on upwards. A refund goes the other way: it fills up the minimum first of the
 * account it was charged to, and what is beyond goes back to the parent. A charge that one account
 * on the way refuses changes nothing anywhere.
 *
 * So `used` of an account is what was charged to it, what is kept for its children, and what they
 * use beyond that.
 *
 * An account counts: it holds no memory, and knows of no more than it is told. A
 * wrt_counted_allocator tells it of the pages of any page allocator.
 *
 * Source: the semantics of QNX 6.4 memory partitions, with hierarchical accounting.
 *
 * Heap: none.  Threads: any, if the root's config has a system; else one caller at a time per tree.
 * ISR: no; without a system yes, by the same rule.
 */
#ifndef WRT_PLATFORM_MEMORY_ACCOUNT_H
#define WRT_PLATFORM_MEMORY_ACCOUNT_H

#include "wrt_platform/page_allocator.h"
#include "wrt_platform/thread_system.h"

WRT_BEGIN_DECLS

typedef struct wrt_memory_account wrt_memory_account;
typedef struct wrt_counted_allocator wrt_counted_allocator;

/** Sizes. */
enum wrt_memory_account_limit {
    WRT_MEMORY_ACCOUNT_NAME_SIZE = 32, /* bytes of a name, the closing NUL included */
    WRT_MEMORY_ACCOUNT_DEPTH_MAX = 16  /* accounts from the root to a leaf, both included */
};

/** What an account is made of. */
typedef struct wrt_memory_account_config {
    uint32_t struct_size;       /* sizeof(wrt_memory_account_config); 0 is refused */
    uint8_t reserved[4];        /* zero */
    uint64_t minimum;           /* bytes kept for it, at most `maximum` */
    uint64_t maximum;           /* bytes; 0: no limit of its own */
    wrt_memory_account *parent; /* borrowed until deinit; NULL: a root */
    const char *name;           /* copied; at most 31 bytes, a longer one is cut; NULL: none */
    wrt_thread_system system;   /* for the lock; of a root alone: the others use their root's. All
                                   zero: none */
} wrt_memory_account_config;

/** How an account has been used. */
typedef struct wrt_memory_account_usage {
    uint64_t used;      /* bytes: charged, kept for its children, and used by them beyond that */
    uint64_t charged;   /* bytes of `used` that were charged to this very account */
    uint64_t peak;      /* bytes: the most that `used` ever was, since init or reset */
    uint64_t minimum;   /* as in its config */
    uint64_t maximum;   /* as in its config; 0: none */
    uint64_t available; /* bytes that a charge could have now; UINT64_MAX: nothing limits it */
    uint32_t refusals;  /* charges to this very account that were refused; it wraps */
    uint32_t children;  /* accounts just below it */
    uint32_t views;     /* wrt_counted_allocators that charge it */
    uint8_t reserved[4];
    char name[32]; /* WRT_MEMORY_ACCOUNT_NAME_SIZE */
} wrt_memory_account_usage;

/** Caller's storage, not to be moved between init and deinit. Fields are private. */
struct wrt_memory_account {
    wrt_memory_account *self;
    wrt_memory_account *parent;
    wrt_memory_account *root;
    uint64_t used;
    uint64_t charged;
    uint64_t peak;
    uint64_t minimum;
    uint64_t maximum;         /* UINT64_MAX: none */
    wrt_thread_system system; /* of a root */
    wrt_system_lock lock;     /* of a root */
    uint32_t refusals;
    uint32_t children;
    uint32_t views;
    uint32_t depth; /* 1: a root */
    char name[32];  /* WRT_MEMORY_ACCOUNT_NAME_SIZE */
};

/** Makes an account; its minimum is taken from all accounts above. On error nothing has changed.
 * Errors: INVALID_ARGUMENT (minimum above maximum; a system beside a parent), UNSUPPORTED (reserved
 * bytes), LIMIT (deeper than WRT_MEMORY_ACCOUNT_DEPTH_MAX), NO_MEMORY (an account above has not
 * that much left; the numbers are in the error), STATE (the parent is not initialised, or moved),
 * SYSTEM (the lock). Cost: linear in the depth.
 */
WRT_API WRT_NODISCARD wrt_status wrt_memory_account_init(wrt_memory_account *account,
                                                         const wrt_memory_account_config *config);

/** Takes `bytes` from the account: from its minimum first, the rest from its parent too. 0 is
 * accepted and changes nothing.
 * Errors: NO_MEMORY (this account or one above has not that much left: the numbers are in the
 * error; counted, and nothing else changed), STATE. Cost: linear in the depth.
 */
WRT_API WRT_NODISCARD wrt_status wrt_memory_account_charge(wrt_memory_account *account,
                                                           uint64_t bytes);

/** Gives `bytes` back that were charged to this very account.
 * Errors: STATE (more than is charged to it; nothing changed; or not initialised, or moved).
 * Cost: linear in the depth.
 */
WRT_API WRT_NODISCARD wrt_status wrt_memory_account_refund(wrt_memory_account *account,
                                                           uint64_t bytes);

/** Reports how an account has been used, all numbers of one moment. Errors: STATE.
 * Cost: linear in the depth. */
WRT_API WRT_NODISCARD wrt_status wrt_memory_account_query(wrt_memory_account *account,
                                                          wrt_memory_account_usage *usage_out);

/** Lets `peak` begin again, at what is used now. Errors: STATE. Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_memory_account_reset_peak(wrt_memory_account *account);

/** Ends an account; its minimum goes back to the accounts above. A zeroed one is accepted, so twice
 * is harmless.
 * Errors: BUSY (something is charged to it, or it has children or views), STATE (moved).
 * Cost: linear in the depth.
 */
WRT_API WRT_NODISCARD wrt_status wrt_memory_account_deinit(wrt_memory_account *account);

/** What a counted allocator is made of. */
typedef struct wrt_counted_allocator_config {
    uint32_t struct_size;        /* sizeof(wrt_counted_allocator_config); 0 is refused */
    uint8_t reserved[4];         /* zero */
    wrt_page_allocator inner;    /* where the pages come from; must outlive the view */
    wrt_memory_account *account; /* what they are charged to; borrowed until deinit */
} wrt_counted_allocator_config;

/** What a counted allocator has out. */
typedef struct wrt_counted_allocator_report {
    uint32_t allocation_count; /* out now */
    uint32_t refused;          /* allocations and growths that the account refused; it wraps */
    uint64_t page_count;       /* accessible now, all allocations together */
} wrt_counted_allocator_report;

/** A view of a page allocator that charges an account for each accessible page; caller's storage,
 * not to be moved between init and deinit. Fields are private. */
struct wrt_counted_allocator {
    wrt_counted_allocator *self;
    wrt_page_allocator inner;
    wrt_memory_account *account;
    wrt_counted_allocator_report report;
};

/** Prepares a view. Several views may charge one account, and a view may be the inner allocator of
 * another. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (inner all zero, account NULL), UNSUPPORTED (reserved bytes), STATE (the
 * account is not initialised, or moved). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_counted_allocator_init(
    wrt_counted_allocator *allocator, const wrt_counted_allocator_config *config);

/** The view as wrt_page_allocator_allocate() and the others take it. Pages that came through it are
 * grown, protected and given back through it alone; elsewhere they are STATE, as far as the inner
 * allocator verifies. A growth that the account refuses is NO_MEMORY and changes nothing.
 * Errors: none, it cannot fail; of a view that is not initialised, the calls say STATE.
 * Cost: constant; the calls: those of the inner allocator, and of a charge or refund.
 * Threads: one caller at a time per view; the account is safe by its own rule.
 */
WRT_API WRT_NODISCARD wrt_page_allocator
wrt_counted_allocator_interface(wrt_counted_allocator *allocator);

/** Reports what is out. Errors: STATE (not initialised, or moved). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_counted_allocator_query(
    const wrt_counted_allocator *allocator, wrt_counted_allocator_report *report_out);

/** Lets go of the account. A zeroed view is accepted, so twice is harmless.
 * Errors: STATE (an allocation is out, or moved). Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_counted_allocator_deinit(wrt_counted_allocator *allocator);

WRT_END_DECLS
#endif
