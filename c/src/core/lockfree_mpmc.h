/* Internal: the bounded queue of many producers and many consumers, after Dmitry Vyukov. The
 * public wrt_queue is made of it, and so is any part of the library that hands pointers on.
 *
 *     buffer   | put | get | turn element | turn element | ...
 *                ^     ^     ^ cells, a power of two of them
 *                positions, each on a cache line of its own
 *
 * Positions count for ever and wrap at 2^32. The cell of position p may be filled while its turn
 * is p, and emptied while it is p + 1; emptying makes it p + the number of cells, the next
 * position that falls on it. Who moves the position on owns the cell until he writes its turn, and
 * the turn carries the element over: its store releases what the next load acquires.
 *
 * So a thread that is stopped between the two holds up whoever needs this very cell: the queue is
 * not formally lock-free. And one that is stopped inside wrt__queue_claim() for exactly 2^32
 * calls at its end takes an old position for the present one. */
#ifndef WRT_CORE_LOCKFREE_MPMC_H
#define WRT_CORE_LOCKFREE_MPMC_H

#include "atomic.h"
#include "cache_line.h"
#include <stddef.h>

typedef struct wrt__queue {
    uint32_t *put_position;
    uint32_t *get_position;
    uint8_t *cells;
    uint32_t mask; /* number of cells - 1 */
} wrt__queue;

/* A cell whose element is a pointer. */
typedef struct wrt__queue_cell {
    uint32_t turn;
    void *element;
} wrt__queue_cell;

/* What the calls below know of a cell: it begins with its turn. */
static inline uint32_t *wrt__queue_turn(const wrt__queue *queue, uint32_t position,
                                        size_t cell_size)
{
    return (uint32_t *)(void *)(queue->cells + (position & queue->mask) * cell_size);
}

/* Bytes of the buffer for `capacity` cells; it is aligned to WRT__CACHE_LINE. */
static inline size_t wrt__queue_bytes(uint32_t capacity, size_t cell_size)
{
    return 2 * (size_t)WRT__CACHE_LINE + capacity * cell_size;
}

/* capacity: a power of two, 2 to 2^30. With one cell alone, full and empty would look the same. */
static inline void wrt__queue_init(wrt__queue *queue, void *buffer, uint32_t capacity,
                                   size_t cell_size)
{
    uint8_t *bytes = buffer;

    queue->put_position = (uint32_t *)buffer;
    queue->get_position = (uint32_t *)(void *)(bytes + WRT__CACHE_LINE);
    queue->cells = bytes + 2 * (size_t)WRT__CACHE_LINE;
    queue->mask = capacity - 1;
    wrt__store(queue->put_position, 0);
    wrt__store(queue->get_position, 0);
    for (uint32_t i = 0; i < capacity; i++) wrt__store(wrt__queue_turn(queue, i, cell_size), i);
}

/* Moves one end on by a cell and returns the cell's turn, with its position; NULL if that cell is
 * not ready: the queue is full, or empty, or another thread is not through with it.
 * end: one of the two positions. ahead: 0 to fill the cell, 1 to empty it. */
static inline uint32_t *wrt__queue_claim(const wrt__queue *queue, uint32_t *end, uint32_t ahead,
                                         size_t cell_size, uint32_t *position_out)
{
    uint32_t position = wrt__load(end);

    for (;;) {
        uint32_t *turn = wrt__queue_turn(queue, position, cell_size);
        const int32_t early = (int32_t)(wrt__load_acquire(turn) - (position + ahead));
        if (early < 0) return NULL;
        if (early > 0) {
            position = wrt__load(end); /* another thread has had this cell */
        } else if (wrt__compare_exchange(end, &position, position + 1)) {
            *position_out = position;
            return turn;
        }
    }
}

/* False: the queue is full. */
static inline bool wrt__queue_put(wrt__queue *queue, void *element)
{
    uint32_t position;
    uint32_t *turn =
        wrt__queue_claim(queue, queue->put_position, 0, sizeof(wrt__queue_cell), &position);

    if (turn == NULL) return false;
    ((wrt__queue_cell *)(void *)turn)->element = element;
    wrt__store_release(turn, position + 1);
    return true;
}

/* False: the queue is empty. */
static inline bool wrt__queue_get(wrt__queue *queue, void **element_out)
{
    uint32_t position;
    uint32_t *turn =
        wrt__queue_claim(queue, queue->get_position, 1, sizeof(wrt__queue_cell), &position);

    if (turn == NULL) return false;
    *element_out = ((wrt__queue_cell *)(void *)turn)->element;
    wrt__store_release(turn, position + 1 + queue->mask);
    return true;
}

#endif
