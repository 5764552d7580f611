/** Structures that threads and interrupts share without a lock.
 *
 *     wrt_ring           one producer, one consumer, in order
 *     wrt_queue          many producers, many consumers, in order
 *     wrt_index_stack    numbers below a capacity, last in, first out: a free list
 *     wrt_seqlock        one writer, many readers, the latest value
 *     wrt_triple_buffer  one writer, one reader, the latest value, in place
 *
 *     wrt_ring_config config = {0};
 *     config.struct_size = sizeof config;
 *     config.capacity = 64;
 *     config.element_size = sizeof(sample);
 *     config.buffer = buffer; // as wrt_ring_layout() asks
 *     config.buffer_size = sizeof buffer;
 *     wrt_ring ring;
 *     wrt_status status = wrt_ring_init(&ring, &config);
 *
 * All state lies in the buffer, each side's on cache lines of its own; hence the alignment that
 * the layout calls ask for. The object is a handle: it may be moved between two calls.
 * Elements are copied in and out and may lie anywhere, at any alignment.
 *
 * Full and empty are answers, not failures: the status is BUSY ("somebody else must move first"),
 * and nothing is recorded for wrt_error_last(), so an answer costs nothing and hides no failure.
 *
 * What a call promises while other threads are stopped anywhere, inside these calls too:
 *
 *     wait-free  the call ends after a bounded number of steps
 *     lock-free  of all calls that are under way, one ends after a bounded number of steps
 *     blocking   a thread that is stopped inside a call can hold others up until it goes on
 *
 * Positions, sequences and tags are 32 bits or less and wrap, since small processors have no
 * larger atomics: each structure says what that bounds.
 *
 * init, layout and deinit are for one caller, while nobody uses the object; to hand the object to
 * another thread is the caller's affair (starting a thread does it).
 *
 * Heap: none.  OS calls: none.  Fork: each process goes on with its own copy, if the buffer is
 * private memory; a thread that was inside a call is missing in the child.
 */
#ifndef WRT_PLATFORM_LOCKFREE_H
#define WRT_PLATFORM_LOCKFREE_H

#include "wrt_platform/layout.h"
#include "wrt_platform/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

WRT_BEGIN_DECLS

/** What these structures can be. */
enum wrt_lockfree_limit {
    WRT_LOCKFREE_ELEMENT_SIZE_MAX = 65536, /* bytes, of an element or a value; at least 1 */
    WRT_LOCKFREE_CAPACITY_MAX = 16777216,  /* elements in a ring or a queue */
    WRT_QUEUE_CAPACITY_MIN = 2,            /* with one cell, full would look like empty */
    WRT_INDEX_STACK_CAPACITY_MAX = 65535,  /* indexes */
    WRT_SEQLOCK_ATTEMPTS_DEFAULT = 1000,   /* reads before one gives up */
    WRT_LOCKFREE_ALIGNMENT_MAX = 128       /* bytes; no layout asks for more */
};

/* A ring: one producer, one consumer. */

/** What a ring is made of. */
typedef struct wrt_ring_config {
    uint32_t struct_size;  /* sizeof(wrt_ring_config); 0 is refused */
    uint32_t capacity;     /* elements, a power of two, 1 to WRT_LOCKFREE_CAPACITY_MAX */
    uint32_t element_size; /* bytes, 1 to WRT_LOCKFREE_ELEMENT_SIZE_MAX; 8 is the fastest */
    uint8_t reserved[4];   /* zero */
    void *buffer;          /* borrowed until wrt_ring_deinit */
    size_t buffer_size;    /* bytes, at least what wrt_ring_layout() asks */
} wrt_ring_config;

/** Caller-provided storage. Fields are private. */
typedef struct wrt_ring {
    void *producer; /* in the buffer; NULL before init and after deinit */
    void *consumer; /* in the buffer */
} wrt_ring;

/** Says what buffer `config` needs; its own buffer fields are not looked at.
 * Errors: INVALID_ARGUMENT (a rule above is broken; all zero in *layout_out), UNSUPPORTED (the
 * config sets something that this library does not know), NO_MEMORY (more than this system has
 * addresses). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_ring_layout(const wrt_ring_config *config,
                                                 wrt_layout *layout_out);

/** Prepares an empty ring; on error it is left as it was.
 * Errors: as wrt_ring_layout; INVALID_ARGUMENT (buffer NULL or misaligned), NO_MEMORY (buffer too
 * small). Cost: constant; elements are not cleared.
 */
WRT_API WRT_NODISCARD wrt_status wrt_ring_init(wrt_ring *ring, const wrt_ring_config *config);

/** Copies an element in, behind all others.
 * element: element_size bytes, borrowed for the call.
 * Errors: BUSY (full; not recorded), STATE (not initialised).
 * Threads and ISR: one producer at a time, beside the consumer. Wait-free.
 * Cost: one copy; the other side's cache line is read once a round of the ring, or when it is full.
 */
WRT_API WRT_NODISCARD wrt_status wrt_ring_put(wrt_ring *ring, const void *element);

/** Copies the oldest element out.
 * Errors: BUSY (empty; not recorded, *element_out is left alone), STATE (not initialised).
 * Threads and ISR: one consumer at a time, beside the producer. Wait-free. Cost: as put.
 */
WRT_API WRT_NODISCARD wrt_status wrt_ring_get(wrt_ring *ring, void *element_out);

/** Copies in as many elements as there is room for; they become visible together.
 * elements: `count` in a row, borrowed for the call. *count_out: how many went in, from the first.
 * Errors: BUSY (none went in, though count is not 0; not recorded), STATE (not initialised).
 * Threads and ISR: as put. Wait-free. Cost: one copy in at most two pieces.
 */
WRT_API WRT_NODISCARD wrt_status wrt_ring_put_many(wrt_ring *ring, const void *elements,
                                                   uint32_t count, uint32_t *count_out);

/** Copies out as many elements as are there, at most `count`, the oldest first.
 * elements_out: room for `count` of them. *count_out: how many came out.
 * Errors: BUSY (none came out, though count is not 0; not recorded), STATE (not initialised).
 * Threads and ISR: as get. Wait-free. Cost: as put_many.
 */
WRT_API WRT_NODISCARD wrt_status wrt_ring_get_many(wrt_ring *ring, void *elements_out,
                                                   uint32_t count, uint32_t *count_out);

/** Says how many elements are in the ring: for the producer at most that many, for the consumer at
 * least, and for others a number that was true a moment ago.
 * Errors: STATE (not initialised). Threads: any.  ISR: yes. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_ring_count(const wrt_ring *ring, uint32_t *count_out);

/** Returns the buffer to the caller, with whatever is still in it. A zeroed ring is accepted, so
 * twice is harmless. Errors: none but NULL. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_ring_deinit(wrt_ring *ring);

/* A queue: many producers, many consumers. */

/** What a queue is made of. */
typedef struct wrt_queue_config {
    uint32_t struct_size;  /* sizeof(wrt_queue_config); 0 is refused */
    uint32_t capacity;     /* elements, a power of two, 2 to WRT_LOCKFREE_CAPACITY_MAX */
    uint32_t element_size; /* bytes, 1 to WRT_LOCKFREE_ELEMENT_SIZE_MAX; 8 is the fastest */
    uint8_t reserved[4];   /* zero */
    void *buffer;          /* borrowed until wrt_queue_deinit */
    size_t buffer_size;    /* bytes, at least what wrt_queue_layout() asks */
} wrt_queue_config;

/** Caller-provided storage. Fields are private. */
typedef struct wrt_queue {
    uint32_t *put_position; /* in the buffer; NULL before init and after deinit */
    uint32_t *get_position;
    uint8_t *cells;
    uint32_t mask;         /* capacity - 1 */
    uint32_t element_size; /* bytes */
} wrt_queue;

/** Says what buffer `config` needs; its own buffer fields are not looked at.
 * Errors: INVALID_ARGUMENT (a rule above is broken; all zero in *layout_out), UNSUPPORTED (the
 * config sets something that this library does not know), NO_MEMORY (more than this system has
 * addresses). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_queue_layout(const wrt_queue_config *config,
                                                  wrt_layout *layout_out);

/** Prepares an empty queue; on error it is left as it was.
 * Errors: as wrt_queue_layout; INVALID_ARGUMENT (buffer NULL or misaligned), NO_MEMORY (buffer too
 * small). Cost: one word a cell.
 */
WRT_API WRT_NODISCARD wrt_status wrt_queue_init(wrt_queue *queue, const wrt_queue_config *config);

/** Copies an element in, behind all others.
 *
 * The queue is not formally lock-free: it is blocking in one corner. A producer owns a cell from
 * the moment when it moves the position on until its copy is complete. If it is stopped in between,
 * the elements behind it stay invisible, to all consumers, until it goes on; a consumer that is
 * stopped holds back its cell in the same way. Nobody waits inside a call for that: the call
 * answers BUSY. So an interrupt may use the queue, and may find it BUSY although it is neither
 * full nor empty.
 *
 * Bound: a thread that is stopped in the middle of a call while exactly a multiple of 2^32 other
 * calls succeed at the same end takes an old position for the present one.
 *
 * element: element_size bytes, borrowed for the call.
 * Errors: BUSY (full, or a consumer is not through with the oldest cell; not recorded), STATE (not
 * initialised).
 * Threads: any.  ISR: yes.
 * Cost: one copy and one atomic exchange; again for each producer that was faster.
 */
WRT_API WRT_NODISCARD wrt_status wrt_queue_put(wrt_queue *queue, const void *element);

/** Copies the oldest element out.
 * Errors: BUSY (empty, or a producer is not through with the oldest element; not recorded,
 * *element_out is left alone), STATE (not initialised).
 * Threads: any.  ISR: yes. Not formally lock-free, and bounded, as put. Cost: as put.
 */
WRT_API WRT_NODISCARD wrt_status wrt_queue_get(wrt_queue *queue, void *element_out);

/** Copies in as many elements as there is room for; no other producer's come between them.
 * elements: `count` in a row, borrowed for the call. *count_out: how many went in, from the first.
 * Errors: BUSY (none went in, though count is not 0; not recorded), STATE (not initialised).
 * Threads: any.  ISR: yes. Not formally lock-free, and bounded, as put.
 * Cost: a copy for each element, and one atomic exchange for all.
 */
WRT_API WRT_NODISCARD wrt_status wrt_queue_put_many(wrt_queue *queue, const void *elements,
                                                    uint32_t count, uint32_t *count_out);

/** Copies out as many elements as are ready, at most `count`: neighbours, the oldest first.
 * elements_out: room for `count` of them. *count_out: how many came out.
 * Errors: BUSY (none came out, though count is not 0; not recorded), STATE (not initialised).
 * Threads: any.  ISR: yes. Not formally lock-free, and bounded, as put. Cost: as put_many.
 */
WRT_API WRT_NODISCARD wrt_status wrt_queue_get_many(wrt_queue *queue, void *elements_out,
                                                    uint32_t count, uint32_t *count_out);

/** Says how many elements were in the queue a moment ago, those that are just being copied among
 * them.
 * Errors: STATE (not initialised). Threads: any.  ISR: yes. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_queue_count(const wrt_queue *queue, uint32_t *count_out);

/** Returns the buffer to the caller, with whatever is still in it. A zeroed queue is accepted, so
 * twice is harmless. Errors: none but NULL. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_queue_deinit(wrt_queue *queue);

/* A stack of indexes. */

/** What an index stack is made of. */
typedef struct wrt_index_stack_config {
    uint32_t struct_size; /* sizeof(wrt_index_stack_config); 0 is refused */
    uint32_t capacity;    /* indexes: 0 to capacity - 1; 1 to WRT_INDEX_STACK_CAPACITY_MAX */
    bool filled;          /* all indexes are on the stack at first, 0 on top */
    uint8_t reserved[7];  /* zero */
    void *buffer;         /* borrowed until wrt_index_stack_deinit */
    size_t buffer_size;   /* bytes, at least what wrt_index_stack_layout() asks */
} wrt_index_stack_config;

/** Caller-provided storage. Fields are private. */
typedef struct wrt_index_stack {
    uint32_t *top; /* in the buffer; NULL before init and after deinit */
    uint32_t *below;
    uint32_t capacity;
    uint8_t reserved[4];
} wrt_index_stack;

/** Says what buffer `config` needs; its own buffer fields are not looked at.
 * Errors: INVALID_ARGUMENT (a rule above is broken; all zero in *layout_out), UNSUPPORTED (the
 * config sets something that this library does not know). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_index_stack_layout(const wrt_index_stack_config *config,
                                                        wrt_layout *layout_out);

/** Prepares a stack; on error it is left as it was.
 * Errors: as wrt_index_stack_layout; INVALID_ARGUMENT (buffer NULL or misaligned), NO_MEMORY
 * (buffer too small). Cost: one word an index.
 */
WRT_API WRT_NODISCARD wrt_status wrt_index_stack_init(wrt_index_stack *stack,
                                                      const wrt_index_stack_config *config);

/** Puts an index on top. There is room for each, so the stack is never full.
 * Errors: INVALID_ARGUMENT (index is not below the capacity), STATE (it is on the stack already;
 * not initialised).
 * Threads: any.  ISR: yes. Lock-free. Cost: two atomic exchanges; the second again for each other
 * call that was faster.
 */
WRT_API WRT_NODISCARD wrt_status wrt_index_stack_push(wrt_index_stack *stack, uint32_t index);

/** Takes the index on top; it belongs to the caller until it is pushed again.
 *
 * Bound: the top is an index of 16 bits beside a tag of 16 bits that every push counts up. A pop
 * that is stopped in the middle of the call, while others pop its index, push exactly a multiple
 * of 65,536 times, and leave the same index on top, takes the old neighbour for the present one
 * (known as ABA), and the stack is then damaged. Use it where a call is not stopped for that long:
 * between interrupts, threads of a fixed priority, or as a free list that is pushed to seldom.
 *
 * Errors: BUSY (empty; not recorded, *index_out is left alone), STATE (not initialised).
 * Threads: any.  ISR: yes. Lock-free. Cost: one atomic exchange; again for each other call that was
 * faster.
 */
WRT_API WRT_NODISCARD wrt_status wrt_index_stack_pop(wrt_index_stack *stack, uint32_t *index_out);

/** Returns the buffer to the caller. A zeroed stack is accepted, so twice is harmless.
 * Errors: none but NULL. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_index_stack_deinit(wrt_index_stack *stack);

/* A sequence lock: one writer, many readers, the latest value. */

/** What a sequence lock is made of. */
typedef struct wrt_seqlock_config {
    uint32_t struct_size; /* sizeof(wrt_seqlock_config); 0 is refused */
    uint32_t value_size;  /* bytes, 1 to WRT_LOCKFREE_ELEMENT_SIZE_MAX */
    uint32_t attempts;    /* reads that a write may spoil before one gives up;
                             0: WRT_SEQLOCK_ATTEMPTS_DEFAULT */
    uint8_t reserved[4];  /* zero */
    void *buffer;         /* borrowed until wrt_seqlock_deinit */
    size_t buffer_size;   /* bytes, at least what wrt_seqlock_layout() asks */
} wrt_seqlock_config;

/** Caller-provided storage. Fields are private. */
typedef struct wrt_seqlock {
    uint32_t *sequence; /* in the buffer; NULL before init and after deinit */
    uint32_t value_size;
    uint32_t attempts;
} wrt_seqlock;

/** Says what buffer `config` needs; its own buffer fields are not looked at.
 * Errors: INVALID_ARGUMENT (a rule above is broken; all zero in *layout_out), UNSUPPORTED (the
 * config sets something that this library does not know). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_seqlock_layout(const wrt_seqlock_config *config,
                                                    wrt_layout *layout_out);

/** Prepares a sequence lock; its value is all zero. On error it is left as it was.
 * Errors: as wrt_seqlock_layout; INVALID_ARGUMENT (buffer NULL or misaligned), NO_MEMORY (buffer
 * too small). Cost: linear in value_size.
 */
WRT_API WRT_NODISCARD wrt_status wrt_seqlock_init(wrt_seqlock *lock,
                                                  const wrt_seqlock_config *config);

/** Replaces the value.
 * value: value_size bytes, borrowed for the call.
 * Errors: BUSY (another write is under way: there must be one writer alone; not recorded), STATE
 * (not initialised).
 * Threads and ISR: one writer at a time, beside any number of readers. Wait-free.
 * Cost: linear in value_size, in words of 32 bits; readers never delay it.
 */
WRT_API WRT_NODISCARD wrt_status wrt_seqlock_write(wrt_seqlock *lock, const void *value);

/** Copies the latest whole value out, never half of one and half of another.
 *
 * Bound: a reader that is stopped in the middle of the call while exactly a multiple of 2^31
 * writes happen could take two halves for one value.
 *
 * value_out: room for value_size bytes. After an error it holds nothing of use.
 * Errors: BUSY (a write was under way each time, `attempts` times in a row; not recorded; an
 * interrupt that has stopped the writer always gets this), STATE (not initialised).
 * Threads: any.  ISR: yes. Lock-free: the writer always gets through.
 * Cost: linear in value_size, times the attempts.
 */
WRT_API WRT_NODISCARD wrt_status wrt_seqlock_read(const wrt_seqlock *lock, void *value_out);

/** Returns the buffer to the caller. A zeroed lock is accepted, so twice is harmless.
 * Errors: none but NULL. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_seqlock_deinit(wrt_seqlock *lock);

/* A triple buffer: one writer, one reader, the latest value, in place. */

/** What a triple buffer is made of. */
typedef struct wrt_triple_buffer_config {
    uint32_t struct_size; /* sizeof(wrt_triple_buffer_config); 0 is refused */
    uint32_t value_size;  /* bytes, 1 to WRT_LOCKFREE_ELEMENT_SIZE_MAX */
    void *buffer;         /* borrowed until wrt_triple_buffer_deinit */
    size_t buffer_size;   /* bytes, at least what wrt_triple_buffer_layout() asks */
} wrt_triple_buffer_config;

/** Caller-provided storage. Fields are private. */
typedef struct wrt_triple_buffer {
    void *ends; /* in the buffer; NULL before init and after deinit */
    uint8_t *values;
    uint32_t value_size;
    uint32_t stride; /* bytes from one of the three values to the next */
} wrt_triple_buffer;

/** Says what buffer `config` needs; its own buffer fields are not looked at.
 * Errors: INVALID_ARGUMENT (a rule above is broken; all zero in *layout_out), UNSUPPORTED (the
 * config sets something that this library does not know). Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_triple_buffer_layout(const wrt_triple_buffer_config *config,
                                                          wrt_layout *layout_out);

/** Prepares a triple buffer of zeros, none of them put. On error it is left as it was.
 * Errors: as wrt_triple_buffer_layout; INVALID_ARGUMENT (buffer NULL or misaligned), NO_MEMORY
 * (buffer too small). Cost: linear in value_size.
 */
WRT_API WRT_NODISCARD wrt_status wrt_triple_buffer_init(wrt_triple_buffer *buffer,
                                                        const wrt_triple_buffer_config *config);

/** Lends the writer the place where the next value is made: value_size bytes, aligned as the
 * buffer, with whatever an earlier value left there. It is the writer's until
 * wrt_triple_buffer_publish().
 * Errors: STATE (not initialised). Threads and ISR: the writer. Wait-free. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_triple_buffer_back(wrt_triple_buffer *buffer,
                                                        void **value_out);

/** Makes the value at wrt_triple_buffer_back() the latest; one that nobody has read is dropped.
 * Errors: STATE (not initialised). Threads and ISR: one writer at a time, beside the reader.
 * Wait-free. Cost: one atomic exchange.
 */
WRT_API WRT_NODISCARD wrt_status wrt_triple_buffer_publish(wrt_triple_buffer *buffer);

/** Lends the reader the latest value, value_size bytes; it does not change before the next call of
 * this function. *is_new_out: it is another one than last time.
 * Errors: BUSY (nothing was put yet; not recorded), STATE (not initialised).
 * Threads and ISR: one reader at a time, beside the writer. Wait-free. Cost: one atomic exchange if
 * it is new.
 */
WRT_API WRT_NODISCARD wrt_status wrt_triple_buffer_front(wrt_triple_buffer *buffer,
                                                         const void **value_out, bool *is_new_out);

/** Copies a value in and publishes it: back, copy, publish.
 * value: value_size bytes, borrowed for the call.
 * Errors: STATE (not initialised). Threads and ISR: as publish. Wait-free. Cost: one copy more.
 */
WRT_API WRT_NODISCARD wrt_status wrt_triple_buffer_put(wrt_triple_buffer *buffer,
                                                       const void *value);

/** Copies the latest value out: front, copy.
 * Errors: BUSY (nothing was put yet; not recorded, *value_out is left alone), STATE (not
 * initialised). Threads and ISR: as front. Wait-free. Cost: one copy more.
 */
WRT_API WRT_NODISCARD wrt_status wrt_triple_buffer_get(wrt_triple_buffer *buffer, void *value_out,
                                                       bool *is_new_out);

/** Returns the buffer to the caller. A zeroed one is accepted, so twice is harmless.
 * Errors: none but NULL. Cost: constant.
 */
WRT_API WRT_NODISCARD wrt_status wrt_triple_buffer_deinit(wrt_triple_buffer *buffer);

WRT_END_DECLS
#endif
