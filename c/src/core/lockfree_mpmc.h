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
 * A row of cells is claimed at once if all of them are ready: only who moves the position on can
 * change the turn of a ready cell, so what was seen still holds when the exchange succeeds.
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

/* Moves one end on by at most `wanted` cells, all that are ready one behind the other, and returns
 * how many they are. 0: the first is not ready, so the queue is full, or empty, or another thread
 * is not through with that cell. end: one of the two positions. ahead: 0 to fill cells, 1 to empty
 * them. */
static inline uint32_t wrt__queue_claim(const wrt__queue *queue, uint32_t *end, uint32_t ahead,
                                        size_t cell_size, uint32_t wanted, uint32_t *position_out)
{
    uint32_t position = wrt__load(end);

    for (;;) {
        const uint32_t turn = wrt__load_acquire(wrt__queue_turn(queue, position, cell_size));
        const int32_t early = (int32_t)(turn - (position + ahead));
        if (early < 0) return 0;
        if (early > 0) {
            position = wrt__load(end); /* another thread has had this cell */
            continue;
        }
        uint32_t ready = 1;
        while (ready < wanted &&
               wrt__load_acquire(wrt__queue_turn(queue, position + ready, cell_size)) ==
                   position + ready + ahead) {
            ready++;
        }
        *position_out = position;
        if (wrt__compare_exchange(end, &position, position + ready)) return ready;
    }
}

/* Hands the cell of `position` over to the other side, who looks for this turn. */
static inline void wrt__queue_filled(const wrt__queue *queue, uint32_t position, size_t cell_size)
{
    wrt__store_release(wrt__queue_turn(queue, position, cell_size), position + 1);
}

static inline void wrt__queue_emptied(const wrt__queue *queue, uint32_t position, size_t cell_size)
{
    wrt__store_release(wrt__queue_turn(queue, position, cell_size), position + 1 + queue->mask);
}

static inline wrt__queue_cell *wrt__queue_pointer_cell(const wrt__queue *queue, uint32_t position)
{
    return (wrt__queue_cell *)(void *)wrt__queue_turn(queue, position, sizeof(wrt__queue_cell));
}

/* False: the queue is full. */
static inline bool wrt__queue_put(wrt__queue *queue, void *element)
{
    const size_t cell_size = sizeof(wrt__queue_cell);
    uint32_t position;

    if (wrt__queue_claim(queue, queue->put_position, 0, cell_size, 1, &position) == 0) return false;
    wrt__queue_pointer_cell(queue, position)->element = element;
    wrt__queue_filled(queue, position, cell_size);
    return true;
}

/* False: the queue is empty. *position_out: where the element was. */
static inline bool wrt__queue_get(wrt__queue *queue, void **element_out, uint32_t *position_out)
{
    const size_t cell_size = sizeof(wrt__queue_cell);

    if (wrt__queue_claim(queue, queue->get_position, 1, cell_size, 1, position_out) == 0) {
        return false;
    }
    *element_out = wrt__queue_pointer_cell(queue, *position_out)->element;
    wrt__queue_emptied(queue, *position_out, cell_size);
    return true;
}

/* Puts as many of `count` pointers as there is room for, in a row; returns how many. */
static inline uint32_t wrt__queue_put_many(wrt__queue *queue, void *const *elements, uint32_t count)
{
    const size_t cell_size = sizeof(wrt__queue_cell);
    uint32_t position;

    if (count == 0) return 0;
    const uint32_t claimed =
        wrt__queue_claim(queue, queue->put_position, 0, cell_size, count, &position);
    for (uint32_t i = 0; i < claimed; i++) {
        wrt__queue_pointer_cell(queue, position + i)->element = elements[i];
        wrt__queue_filled(queue, position + i, cell_size);
    }
    return claimed;
}

#endif
