/* Internal: what the files of io_uring share. Requests lie in slots, a table of them that is mapped
 * with the ring; each is free, under way or finished. What is under way is known to the backend,
 * what is finished waits in a list to be taken. io_uring_setup.c and io_uring_kernel.c are the one
 * backend, io_uring_threads.c and io_uring_transfer.c the other; the rest stands above both. */
#ifndef WRT_LINUX_IO_URING_IMPL_H
#define WRT_LINUX_IO_URING_IMPL_H

#include "sys_io_uring.h"
#include "wrt_platform/linux/io_uring.h"

#include "../core/atomic.h"

#define WRT__NO_REQUEST     UINT32_MAX
#define WRT__REQUEST_PARKED INT32_MIN /* as a result: it has to wait */

enum wrt__io_slot_state {
    WRT__SLOT_FREE,
    WRT__SLOT_QUEUED, /* THREADS: for the next thread that is free */
    WRT__SLOT_PARKED, /* THREADS: until its descriptor is ready */
    WRT__SLOT_AT_WORK,
    WRT__SLOT_FINISHED
};

/* What has become of a request that is not done at once. */
typedef struct wrt__io_progress {
    uint64_t done;         /* bytes, by earlier parts of it */
    uint32_t tries;        /* that were for nothing, one after the other */
    uint32_t is_cancelled; /* atomic */
    uint32_t has_timed_out;
} wrt__io_progress;

/* Requests that are done at once, which most are, come and go in its first line of cache. */
typedef struct wrt__io_slot {
    _Alignas(64) wrt_io_uring_request request;
    int32_t result;
    uint16_t part_count;  /* KERNEL: completions of it that are to come */
    uint8_t state;        /* one of wrt__io_slot_state */
    uint8_t has_progress; /* 0: `progress` is zero */

    wrt__io_progress progress; /* changed by way of wrt__io_progress_of() */
    uint32_t next;             /* in the list that it is in */
    uint64_t deadline_ns;      /* THREADS */
    wrt__io_uring_time limit;  /* KERNEL: the kernel reads it here */
} wrt__io_slot;

typedef struct wrt__io_list {
    uint32_t first, last; /* WRT__NO_REQUEST: it is empty */
} wrt__io_list;

/* The ring as the kernel maps it. */
typedef struct wrt__io_ring {
    int descriptor;
    uint32_t has_sq_thread;
    void *rings;
    size_t rings_bytes;
    wrt__io_uring_sqe *sqes;
    size_t sqes_bytes;
    uint32_t *sq_head, *sq_tail, *sq_flags; /* atomic */
    uint32_t *cq_head, *cq_tail;            /* atomic */
    const wrt__io_uring_cqe *cqes;
    uint32_t sq_mask, sq_entries, cq_mask;
    uint32_t part_count; /* completions that are to come */
    uint32_t tail;       /* of the SQ, as far as it is filled */
} wrt__io_ring;

/* The threads, and what they share. */
typedef struct wrt__io_threads {
    pthread_mutex_t lock; /* over slots at work, and all below */
    wrt__io_list queued, parked;
    uint32_t work_word; /* futex: changes with each request */
    uint32_t is_over;
    uint32_t is_waited_for;
    uint32_t thread_count; /* not joined yet */
    int event;             /* an eventfd: something finished, or was parked */
    uint32_t has_lock;
    struct pollfd *polled; /* room for all slots, and the event */
    pthread_t threads[WRT_IO_URING_THREADS_MAX];
} wrt__io_threads;

typedef struct wrt__io_backend wrt__io_backend;

typedef struct wrt__io_state {
    _Alignas(wrt__io_slot) const wrt__io_backend *backend;
    wrt__io_slot *slots;
    wrt_io_uring_buffer *buffers;
    uint32_t entries;
    uint32_t slot_count;
    uint32_t free_count;
    uint32_t *free_slots; /* their indices; the last is taken next */
    uint32_t under_way;   /* accepted, and not taken: the caller's count */
    uint32_t buffer_count;
    uint32_t operations;
    wrt__io_list finished;
    wrt__io_ring ring;
    wrt__io_threads threads;
} wrt__io_state;

/* What a backend does. The requests have been checked. */
struct wrt__io_backend {
    uint32_t number;
    wrt_status (*submit)(const char *operation, wrt__io_state *state,
                         const wrt_io_uring_request *requests, uint32_t count,
                         uint32_t *accepted_out);
    /* Adds to what has been taken; waits until *count_out is at least `minimum`. */
    wrt_status (*wait)(const char *operation, wrt__io_state *state,
                       wrt_io_uring_completion *completions_out, uint32_t capacity,
                       uint32_t minimum, uint64_t timeout_ns, uint32_t *count_out);
    wrt_status (*cancel)(const char *operation, wrt__io_state *state, uint64_t user_data,
                         bool is_all, uint32_t *found_out);
    wrt_status (*register_buffers)(const char *operation, wrt__io_state *state,
                                   const wrt_io_uring_buffer *buffers, uint32_t count);
    /* Nothing is under way. Again after an error. */
    wrt_status (*close)(const char *operation, wrt__io_state *state);
};

extern const wrt__io_backend wrt__io_kernel;
extern const wrt__io_backend wrt__io_pool;

/* STATE, as of all calls. */
wrt_status wrt__io_check(const char *operation, const wrt_io_uring *ring);

/* ---- io_uring_slots.c ---- */

void wrt__io_push(wrt__io_state *state, wrt__io_list *list, uint32_t index);
uint32_t wrt__io_pop(wrt__io_state *state, wrt__io_list *list);
/* Takes one out of the middle; it must be in it. */
void wrt__io_remove(wrt__io_state *state, wrt__io_list *list, uint32_t index);

/* What came of a part of a request: true, it has to go on, from where it is; false, it has ended,
 * and slot->result is what it came to. */
bool wrt__io_goes_on(wrt__io_slot *slot, int32_t result);
/* Ends it with what it has done, or with an error if that is nothing. */
void wrt__io_end(wrt__io_slot *slot, int32_t error);

/* Puts the slot into the list of those that are finished. */
void wrt__io_finish(wrt__io_state *state, uint32_t index);
/* Takes finished ones from the list. Returns how many. */
uint32_t wrt__io_take_finished(wrt__io_state *state, wrt_io_uring_completion *completions_out,
                               uint32_t capacity);

/* The monotonic clock. */
wrt_status wrt__io_now(const char *operation, uint64_t *now_out);

/* ---- The backends ---- */

/* Makes the kernel's ring. A refusal, which is what AUTO goes on from, leaves through the error as
 * all others; *is_refused tells it from them. Half of it is undone on error. */
wrt_status wrt__io_kernel_open(const char *operation, wrt__io_state *state,
                               const wrt_io_uring_config *config, bool *is_refused);
wrt_status wrt__io_threads_open(const char *operation, wrt__io_state *state,
                                const wrt_io_uring_config *config);
void wrt__io_kernel_close(wrt__io_ring *ring);

/* Reads or writes a part, as a thread does: bytes, a negated error number, or PARKED. */
int32_t wrt__io_transfer(const wrt__io_slot *slot);
/* Whether the descriptor is a regular file or a block device: it never has to be waited for. */
bool wrt__io_is_file(int descriptor);

/* ---- Inline: each request goes this way ---- */

/* To change it. With THREADS, the first call comes before a thread has the request. */
static inline wrt__io_progress *wrt__io_progress_of(wrt__io_slot *slot)
{
    if (slot->has_progress == 0) slot->has_progress = 1;
    return &slot->progress;
}

/* A slot for the request; WRT__NO_REQUEST: there is none left. */
static inline uint32_t wrt__io_slot_take(wrt__io_state *state, const wrt_io_uring_request *request)
{
    if (state->free_count == 0) return WRT__NO_REQUEST;
    const uint32_t index = state->free_slots[--state->free_count];
    wrt__io_slot *const slot = &state->slots[index];
    slot->request = *request;
    slot->result = 0;
    slot->part_count = 0;
    if (slot->has_progress != 0) {
        slot->progress = (wrt__io_progress){0};
        slot->has_progress = 0;
    }
    state->under_way++;
    return index;
}

static inline void wrt__io_slot_free(wrt__io_state *state, uint32_t index)
{
    state->slots[index].state = WRT__SLOT_FREE;
    state->free_slots[state->free_count++] = index;
    state->under_way--;
}

/* Makes a completion of a slot whose request has ended, and frees it. */
static inline void wrt__io_give(wrt__io_state *state, uint32_t index,
                                wrt_io_uring_completion *completion_out)
{
    const wrt__io_slot *const slot = &state->slots[index];

    completion_out->user_data = slot->request.user_data;
    completion_out->result = slot->result;
    completion_out->operation = slot->request.operation;
    wrt__io_slot_free(state, index);
}

#endif
