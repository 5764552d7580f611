/* Internal: what the parts of lazily loaded memory share. The engine lies in a mapping of its own:
 * it stays where it is while its thread runs, wherever the caller's object goes. */
#ifndef WRT_LINUX_LAZY_MEMORY_H
#define WRT_LINUX_LAZY_MEMORY_H

#include "sys_userfault.h"

#include "../core/reservation.h"
#include "wrt_platform/linux/lazy_memory.h"

/* Of a chunk. */
enum wrt__chunk_state {
    WRT__CHUNK_ABSENT,
    WRT__CHUNK_WANTED,  /* a touch waits in the queue */
    WRT__CHUNK_LOADING, /* somebody has the turn for it */
    WRT__CHUNK_LOADED,
    WRT__CHUNK_FAILED /* out of reach */
};

enum { WRT__LAZY_QUEUE = 64 };
enum { WRT__NO_DESCRIPTOR = -1 };

typedef struct wrt__wanted {
    uint64_t chunk;
    uint64_t deadline;
} wrt__wanted;

typedef struct wrt__lazy_engine {
    wrt_linux_lazy_load_fn load; /* NULL: of the file */
    void *context;
    uint64_t file_offset, image_size, chunk_bytes, chunk_count, system_page, timeout_ns;
    int file, userfault, wake, nothing; /* nothing: an empty file, whose pages are SIGBUS */
    bool kernel_waits;                  /* system calls do, for pages that are missing */
    bool tracks_writes;                 /* what is loaded counts as not written */
    bool can_track;                     /* the kernel resolves writes to protected pages itself */
    int refusal;                        /* error number: why this can't be lazy */
    uint8_t *staging;                   /* one chunk; who has the turn writes it */
    uint8_t *states;                    /* of the chunks */

    pthread_mutex_t guard; /* of all below, and of the states */
    pthread_cond_t moved;  /* something below has changed */
    pthread_t thread;
    bool is_ending, is_stopped;
    bool turn_is_taken;
    uint32_t turn_thread; /* who has it */
    wrt__wanted turn;     /* what for; deadline 0: nobody waits for it */
    uint32_t callers;     /* inside of load() and serve() */
    uint32_t queue_start, queue_count;
    wrt__wanted queue[WRT__LAZY_QUEUE];
    uint8_t *base; /* of the memory that is out, where it comes on demand; else NULL */
    uint32_t failed_chunks;
    uint64_t loaded_bytes, touch_count;
    wrt_error failure;
} wrt__lazy_engine;

/* Errors: INVALID_ARGUMENT (NULL), STATE (as wrt__reserve_check). */
wrt_status wrt__lazy_check(const char *operation, const wrt_linux_lazy_memory *lazy);

/* Bytes that a chunk has of the image, and of memory: whole pages. */
uint64_t wrt__chunk_size(const wrt__lazy_engine *engine, uint64_t chunk);
uint64_t wrt__chunk_span(const wrt__lazy_engine *engine, uint64_t chunk);

/* Reads a piece of the image. Errors: HOST, SYSTEM. */
wrt_status wrt__lazy_read(const char *operation, const wrt__lazy_engine *engine, uint64_t offset,
                          uint8_t *bytes_out, size_t size);

/* With the guard: takes a turn for a chunk, waiting for others to leave theirs. */
void wrt__lazy_take_turn(wrt__lazy_engine *engine, uint64_t chunk, uint64_t deadline);
/* With the guard and the turn: loads the turn's chunk, and ends the turn. Lets the guard go
 * meanwhile. Errors: as wrt_linux_lazy_memory_load(). */
wrt_status wrt__lazy_use_turn(const char *operation, wrt__lazy_engine *engine);

/* With the guard: nobody gets at a chunk any more. `failure` is the reason. */
void wrt__lazy_give_up(wrt__lazy_engine *engine, uint64_t chunk, const wrt_error *failure);
/* The same for all that waits. */
void wrt__lazy_give_up_queue(wrt__lazy_engine *engine, const wrt_error *failure);

/* Whether all of the image is there. */
bool wrt__lazy_is_complete(const wrt_linux_lazy_memory *lazy);

/* The thread that serves. */
void *wrt__lazy_run(void *engine);

/* Now, in the time that deadlines are told in. */
uint64_t wrt__lazy_now(void);

#endif
