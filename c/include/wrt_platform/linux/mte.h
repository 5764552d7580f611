/** Memory whose pointers carry a tag that the processor checks at each access: the Memory Tagging
 * Extension of 64-bit Arm, on Linux.
 *
 *     if (wrt_linux_mte_is_available() != WRT_OK) return; // the error says why
 *     wrt_linux_mte_allocator_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.maximum_pages = 1024;
 *     config.mte_mode = WRT_LINUX_MTE_SYNCHRONOUS;
 *     config.tag_check_on_free = true;
 *     wrt_linux_mte_allocator allocator;
 *     wrt_status status = wrt_linux_mte_allocator_init(&allocator, &config);
 *     void *pointer;
 *     size_t size;
 *     status = wrt_linux_mte_allocator_allocate_tagged(&allocator, 16, 0xA, &pointer, &size);
 *     *(char *)pointer = 42;
 *
 * A tag has four bits; one stands in bits 56 to 59 of a pointer, one with each 16 bytes of memory.
 * Where they differ, a load or store is SIGSEGV: SEGV_MTESERR with the address, at once
 * (synchronous), or SEGV_MTEAERR at the next entry into the kernel (asynchronous). The tag of a
 * block differs from those beside it and from the one that its bytes had before, as far as the mask
 * leaves a choice; when it is freed it changes, so what still points there faults.
 *
 * Checking is switched on for each thread. init() does so for the one that calls it, and threads
 * that this one makes from then on inherit it; one that was there before has to enter(), or its
 * accesses are not checked (and are none of tagged pointers in system calls).
 *
 * Elsewhere than on such a processor, all that is said below exists, and says UNSUPPORTED with the
 * reason; no tag instruction is ever executed there.
 *
 * Heap: none; the kernel lends a table.  Threads: one caller at a time per allocator, enter() any.
 * ISR: no.  Fork: the child has a copy of the memory with its tags, and is refused every call
 * (STATE).
 * Source: Linux, Documentation/arch/arm64/memory-tagging-extension.rst.
 */
#ifndef WRT_PLATFORM_LINUX_MTE_H
#define WRT_PLATFORM_LINUX_MTE_H

#include "wrt_platform/status.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

/** When a wrong tag is noticed. */
enum wrt_linux_mte_mode {
    WRT_LINUX_MTE_SYNCHRONOUS = 0,  /* at the access: precise, and the slowest */
    WRT_LINUX_MTE_ASYNCHRONOUS = 1, /* soon after it */
    WRT_LINUX_MTE_ASYMMETRIC = 2    /* loads at once, stores soon after; where the processor has
                                       FEAT_MTE3, and the system prefers it: asymm in
                                       /sys/devices/system/cpu/cpu<N>/mte_tcf_preferred */
};

/** Numbers. */
enum wrt_linux_mte_limit {
    WRT_LINUX_MTE_GRANULE = 16, /* bytes that have a tag of their own */
    WRT_LINUX_MTE_TAG_MAX = 15,
    WRT_LINUX_MTE_TAG_MASK_DEFAULT = 0xFFFE, /* all but 0, which pointers without a tag have */
    WRT_LINUX_MTE_PAGES_DEFAULT = 1024,      /* 64 MiB */
    WRT_LINUX_MTE_ORDERS = 29                /* sizes of blocks: 16 bytes to 4 GiB */
};

/** What an allocator of tagged memory is made of. */
typedef struct wrt_linux_mte_allocator_config {
    uint32_t struct_size;   /* sizeof(wrt_linux_mte_allocator_config); 0 is refused */
    uint32_t maximum_pages; /* of 64 KiB, that its blocks lie in, up to 65536; 0: 1024 */
    uint32_t mte_mode;      /* one of wrt_linux_mte_mode */
    uint32_t tag_mask;      /* bit i: tag i may be drawn. 16 tags, so 16 bits: 0xFF are tags 0 to 7,
                               not all of them; 0: 0xFFFE. Tag 0 is left out of that, since a
                               pointer that lost its tag, or never had one, would fit */
    bool tag_check_on_free; /* a pointer whose tag is not that of the memory is refused: it was
                               freed before, or is not the one that was given out */
    uint8_t reserved[7];    /* zero */
} wrt_linux_mte_allocator_config;

/** What is out, and what holds. */
typedef struct wrt_linux_mte_allocator_report {
    uint32_t allocation_count; /* out now */
    uint32_t mte_mode;         /* one of wrt_linux_mte_mode */
    uint32_t tag_mask;         /* never 0 */
    uint32_t thread_mode;      /* of the calling thread: bit i: wrt_linux_mte_mode i is on; 0: this
                                  thread is not checked, it has to enter() */
    uint64_t used_bytes;       /* in blocks that are out */
    uint64_t capacity_bytes;
} wrt_linux_mte_allocator_report;

/** Caller-provided storage, not to be moved from init to deinit. Fields are private. */
typedef struct wrt_linux_mte_allocator {
    struct wrt_linux_mte_allocator *self;
    uint8_t *memory;
    void *table;
    uint64_t memory_bytes;
    uint64_t table_bytes;
    uint64_t used_bytes;
    uint64_t random;
    uint32_t free_blocks[29]; /* WRT_LINUX_MTE_ORDERS; the first of each size */
    uint32_t allocation_count;
    uint32_t mte_mode;
    uint32_t tag_mask;
    uint32_t fork_generation;
    uint32_t checks_on_free;
    uint64_t spare[4];
} wrt_linux_mte_allocator;

/** Whether this processor and this kernel have tagged memory.
 * Errors: UNSUPPORTED (another processor, or one without; the reason says which). Threads: any.
 * Cost: constant. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mte_is_available(void);

/** Prepares `allocator`, and enters the calling thread. On error it is left as it was.
 * Errors: INVALID_ARGUMENT (a rule of the config is broken), UNSUPPORTED (reserved bytes, as
 * is_available(), or a mode that this system has not), NO_MEMORY, SYSTEM (os_code).
 * Cost: a few system calls. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mte_allocator_init(
    wrt_linux_mte_allocator *allocator, const wrt_linux_mte_allocator_config *config);

/** Switches checking on for the calling thread, in the allocator's mode and with its mask for tags
 * that the thread draws itself; what the thread had before is replaced. Threads that it makes from
 * now on inherit it. It stays on after deinit. Threads: any.
 * Errors: STATE (not initialised, moved, or after fork), UNSUPPORTED (the mode), SYSTEM. */
WRT_API WRT_NODISCARD wrt_status
wrt_linux_mte_allocator_enter(const wrt_linux_mte_allocator *allocator);

/** Gives out a block of `size` bytes, zero, with a tag that is drawn at random from the mask.
 * *size_out: `size` rounded up to 16; the byte behind has another tag, if the mask has two.
 * Errors: INVALID_ARGUMENT (size is 0), NO_MEMORY (no free part is large enough), STATE (as
 * enter()). Cost: linear in `size`, and a search through 29 sizes. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mte_allocator_allocate(
    wrt_linux_mte_allocator *allocator, size_t size, void **pointer_out, size_t *size_out);

/** The same with a tag of the caller's choice, 0 to 15, whatever the mask.
 * Errors: as allocate(); INVALID_ARGUMENT (the tag is above 15). */
WRT_API WRT_NODISCARD wrt_status
wrt_linux_mte_allocator_allocate_tagged(wrt_linux_mte_allocator *allocator, size_t size,
                                        uint32_t tag, void **pointer_out, size_t *size_out);

/** Takes a block back, and gives its memory another tag. pointer: as it was given out.
 * Errors: INVALID_ARGUMENT (no block of this allocator begins there), STATE (with
 * tag_check_on_free: its tag is wrong; or it is free; or as enter()). Nothing has changed then. */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mte_allocator_free(wrt_linux_mte_allocator *allocator,
                                                              void *pointer);

/** The tag that the memory has, that `pointer` points to, whatever the pointer's own is.
 * Errors: INVALID_ARGUMENT (outside of the allocator's memory), STATE (as enter()). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mte_allocator_tag_at(
    const wrt_linux_mte_allocator *allocator, const void *pointer, uint32_t *tag_out);

/** The tag that a pointer carries, 0 to 15. It cannot fail. Threads: any.  ISR: yes. */
WRT_API uint32_t wrt_linux_mte_tag_of(const void *pointer);

/** The pointer with another tag, of which the lowest four bits count; on 32-bit systems, the
 * pointer as it is. It cannot fail. Threads: any.  ISR: yes. */
WRT_API void *wrt_linux_mte_with_tag(void *pointer, uint32_t tag);

/** Reports; asks the kernel for the calling thread's mode.
 * Errors: INVALID_ARGUMENT (NULL), STATE (as enter()). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mte_allocator_query(
    const wrt_linux_mte_allocator *allocator, wrt_linux_mte_allocator_report *report_out);

/** Ends the allocator. A zeroed one is accepted, so twice is harmless.
 * Errors: STATE (blocks are out, or as enter()), SYSTEM (munmap; nothing changed). */
WRT_API WRT_NODISCARD wrt_status wrt_linux_mte_allocator_deinit(wrt_linux_mte_allocator *allocator);

WRT_END_DECLS
#endif
