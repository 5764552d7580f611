/** Atomic memory: records in anybody's memory that are changed as a whole or not at all.
 *
 *     wrt_atomic_memory_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.memory = pages.base; // of any allocator, static, shared with another process, ...
 *     config.memory_size = (size_t)pages.page_count * WRT_PAGE_SIZE;
 *     wrt_atomic_memory memory;
 *     wrt_status status = wrt_atomic_memory_init(&memory, &config);
 *     status = wrt_atomic_memory_write(&memory, 0, "\1\2\3\4", 4);
 *
 * A record lies at an offset that the caller chooses, and has one size for its life. It takes
 * more bytes than its data, wrt_atomic_memory_layout() says how many, so the next record begins
 * that much later at the earliest; that records don't overlap is the caller's to see to:
 *
 *     | size | sequence, data, checksum | sequence, data, checksum |
 *
 * Of the two copies a write replaces the older: data first, checksum last. Wherever the writer is
 * stopped for good, a reader finds the new record or the one before; the same holds if, of the
 * words of 32 bits that a write stores, any have reached a memory that lasts, and the others not.
 *
 * The checksum is a CRC-32C. It finds every change of up to three bits in one copy, and misses one
 * in 2^32 of larger ones; a damaged copy is never read, and the other one is, if it is whole. A CRC
 * is no protection against an adversary, who can compute it as well. With a key the checksum is
 * SipHash-2-4: without the key nobody can make a record, nor move one to another offset. What an
 * adversary still can do is to destroy records, and to put back what once was there.
 *
 * Words have the processor's byte order. What memory holds before the first write does not matter,
 * unless it is a record.
 *
 * Heap: none.  OS calls: none after init.  Fork: each process goes on with its own copy of private
 * memory; shared memory is fine, too.
 * Threads: any number of readers, also in other processes, beside one writer a record: they never
 * wait for it. Writers of one record, and wrt_atomic_memory_query(), take turns.  ISR: yes, by the
 * same rule: an interrupt may read what it has interrupted the writing of.
 */
#ifndef WRT_PLATFORM_ATOMIC_MEMORY_H
#define WRT_PLATFORM_ATOMIC_MEMORY_H

#include "wrt_platform/layout.h"
#include "wrt_platform/status.h"
#include <stdbool.h>

WRT_BEGIN_DECLS

/** Sizes. A record takes the overhead and twice its size, rounded up to whole words. */
enum wrt_atomic_limit {
    WRT_ATOMIC_ALIGNMENT = 4,        /* bytes; of the memory and of offsets */
    WRT_ATOMIC_SIZE_MAX = 134217728, /* bytes of a record: what CRC-32C guarantees ends at twice
                                        that */
    WRT_ATOMIC_OVERHEAD = 20,        /* bytes that a record takes beside its two copies */
    WRT_ATOMIC_KEYED_OVERHEAD = 28,  /* the same, with a key */
    WRT_ATOMIC_KEY_SIZE = 16         /* bytes */
};

/** What records are made of. */
typedef struct wrt_atomic_memory_config {
    uint32_t struct_size; /* sizeof(wrt_atomic_memory_config); 0 is refused */
    uint8_t reserved[4];  /* zero */
    void *memory;         /* borrowed until wrt_atomic_memory_deinit; 4-byte aligned */
    size_t memory_size;   /* bytes */
    const uint8_t *key;   /* of SipHash, from a good source of randomness, and secret; copied;
                             NULL: none, the checksum is a CRC */
    size_t key_size;      /* bytes: WRT_ATOMIC_KEY_SIZE, or 0 without a key */
} wrt_atomic_memory_config;

/** What is known of a record. */
typedef struct wrt_atomic_record {
    uint32_t size;        /* bytes of its data */
    uint32_t sequence;    /* of the copy that is read; each write adds 2, and it wraps to 0 */
    uint32_t whole_count; /* copies that are whole: 1 or 2; 1 after the first write, after one that
                             was stopped, and if a copy was damaged */
} wrt_atomic_record;

/** Caller-provided storage. Fields are private. It may be moved between two calls. */
typedef struct wrt_atomic_memory {
    uint8_t *memory;
    size_t memory_size;
    uint64_t key[2];
    uint32_t checksum; /* how a CRC is computed here; 0 before init and after deinit */
    bool has_key;
    uint8_t reserved[11];
} wrt_atomic_memory;

/** Says how many bytes a record of `size` bytes takes, and what its offset is a multiple of. Of
 * the config, only the key is looked at, and only whether there is one.
 * size: bytes, 1 to WRT_ATOMIC_SIZE_MAX.
 * Errors: INVALID_ARGUMENT (a rule above is broken; all zero in *layout_out), UNSUPPORTED (the
 * config sets something that this library does not know). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_atomic_memory_layout(const wrt_atomic_memory_config *config,
                                                          size_t size, wrt_layout *layout_out);

/** Prepares `memory`; what lies in the config's memory is left as it is. On error `memory` is left
 * as it was, too.
 * Errors: INVALID_ARGUMENT (memory NULL, empty or misaligned; key_size neither 0 nor
 * WRT_ATOMIC_KEY_SIZE, or a key without size, or the other way round), UNSUPPORTED (reserved
 * bytes).
 * Cost: constant; the processor is asked for its instructions.
 */
WRT_API WRT_NODISCARD wrt_status wrt_atomic_memory_init(wrt_atomic_memory *memory,
                                                        const wrt_atomic_memory_config *config);

/** Makes `data` the record at `offset`: the first one there, or in place of one of the same size.
 * offset: bytes, a multiple of WRT_ATOMIC_ALIGNMENT.  size: bytes, 1 to WRT_ATOMIC_SIZE_MAX.
 * data: borrowed for the call; no byte of it lies in the record itself.
 * Errors: INVALID_ARGUMENT (a rule above, or the record would reach beyond the memory), STATE (not
 * initialised, or a record of another size begins here: clear its bytes first). Nothing is changed
 * then.
 * Cost: twice the checksum of the data (once of what is there, once of what is new) and its copy.
 */
WRT_API WRT_NODISCARD wrt_status wrt_atomic_memory_write(const wrt_atomic_memory *memory,
                                                         size_t offset, const void *data,
                                                         size_t size);

/** Copies the record at `offset` to data_out, as it was after the last write that was finished.
 * offset, size: as it was written.  data_out: `size` bytes; all zero if there is nothing to read,
 * untouched after INVALID_ARGUMENT.
 * Errors: INVALID_ARGUMENT (as write), STATE (not initialised; or neither copy is whole: both are
 * damaged, by another key perhaps, or the record's first write was stopped), NOT_FOUND (no record
 * of this size is here).
 * Cost: a copy and its checksum; twice, if the newer copy is not whole; and again for each time
 * that the writer finishes two writes meanwhile.
 */
WRT_API WRT_NODISCARD wrt_status wrt_atomic_memory_read(const wrt_atomic_memory *memory,
                                                        size_t offset, void *data_out, size_t size);

/** Checks both copies of the record at `offset`, whatever its size. All zero in *record_out on
 * error. A caller that finds one copy damaged repairs it by writing twice what it has read.
 * offset: as wrt_atomic_memory_write().
 * Errors: INVALID_ARGUMENT (offset misaligned, or beyond the memory), STATE (not initialised; or
 * neither copy is whole, or what is there for their size is not), NOT_FOUND (nothing here could be
 * the size of a record).
 * Cost: the checksums of two copies.
 */
WRT_API WRT_NODISCARD wrt_status wrt_atomic_memory_query(const wrt_atomic_memory *memory,
                                                         size_t offset,
                                                         wrt_atomic_record *record_out);

/** Returns the memory to the caller, with its records, and wipes the copy of the key. A zeroed
 * object is accepted, so twice is harmless.
 * Errors: INVALID_ARGUMENT (NULL). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_atomic_memory_deinit(wrt_atomic_memory *memory);

WRT_END_DECLS
#endif
