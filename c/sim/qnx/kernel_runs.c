/* The runs of the memory map, in the order of their addresses, and what is kept of the bytes behind
 * them: a bit a page says whether there is memory behind it that counts. */
#include "../common/host.h"

#include "../common/census.h"
#include "kernel_runs.h"

struct qk_run *qk_runs;
size_t qk_run_count;
static size_t run_room;

/* Pages and bits. */

size_t qk_whole_pages(size_t size)
{
    return (size + (QK_PAGE - 1)) & ~(size_t)(QK_PAGE - 1);
}

bool qk_page_paid(const struct qk_backing *backing, size_t page)
{
    return (backing->paid[page / 64] >> page % 64 & 1) != 0;
}

size_t qk_run_paid(const struct qk_run *run)
{
    size_t pages = 0;

    for (size_t at = 0; at < run->size; at += QK_PAGE) {
        pages += qk_page_paid(run->backing, (run->offset + at) / QK_PAGE);
    }
    return pages * QK_PAGE;
}

void qk_run_set_paid(struct qk_run *run, bool paid)
{
    for (size_t at = 0; at < run->size; at += QK_PAGE) {
        const size_t page = (run->offset + at) / QK_PAGE;
        const uint64_t bit = UINT64_C(1) << page % 64;
        if (paid) {
            run->backing->paid[page / 64] |= bit;
        } else {
            run->backing->paid[page / 64] &= ~bit;
        }
    }
}

/* Backings. */

struct qk_backing *qk_backing_new(size_t size)
{
    struct qk_backing *backing = calloc(1, sizeof *backing);

    if (backing == NULL) return NULL;
    backing->size = size;
    backing->paid = calloc(size / QK_PAGE / 64 + 1, sizeof *backing->paid);
    if (backing->paid != NULL) return backing;
    free(backing);
    return NULL;
}

void qk_backing_drop(struct qk_backing *backing)
{
    free(backing->paid);
    free(backing);
}

/* The array of runs. */

/* The first run that ends behind `address`. */
size_t qk_run_find(const void *address)
{
    size_t low = 0, high = qk_run_count;

    while (low < high) {
        const size_t middle = (low + high) / 2;
        if ((uintptr_t)qk_runs[middle].base + qk_runs[middle].size <= (uintptr_t)address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool qk_run_room(size_t more)
{
    if (qk_run_count + more <= run_room) return true;
    const size_t room = (qk_run_count + more) * 2;
    struct qk_run *moved = realloc(qk_runs, room * sizeof *qk_runs);
    if (moved == NULL) return false;
    qk_runs = moved;
    run_room = room;
    return true;
}

void qk_run_insert(size_t index, struct qk_run run)
{
    memmove(qk_runs + index + 1, qk_runs + index, (qk_run_count - index) * sizeof *qk_runs);
    qk_runs[index] = run;
    run.backing->runs++;
    qk_run_count++;
}

void qk_run_drop(size_t index)
{
    struct qk_backing *backing = qk_runs[index].backing;

    memmove(qk_runs + index, qk_runs + index + 1, (qk_run_count - index - 1) * sizeof *qk_runs);
    qk_run_count--;
    if (--backing->runs > 0) return;
    if (!backing->of_heap) sim_census_count("mapping", -1);
    munmap(backing->host, backing->size);
    free(backing->paid);
    free(backing);
}

/* Makes `address` the start of a run, if it lies inside of one. There is room for one more. */
void qk_run_split(const uint8_t *address)
{
    const size_t index = qk_run_find(address);

    if (index == qk_run_count || (uintptr_t)qk_runs[index].base >= (uintptr_t)address) return;
    struct qk_run behind = qk_runs[index];
    const size_t before = (size_t)((uintptr_t)address - (uintptr_t)behind.base);
    qk_runs[index].size = before;
    behind.base += before;
    behind.offset += before;
    behind.size -= before;
    qk_run_insert(index + 1, behind);
}

static bool continues(const struct qk_run *run, const struct qk_run *next)
{
    return run->base + run->size == next->base && run->backing == next->backing &&
           run->offset + run->size == next->offset && run->protection == next->protection &&
           run->flags == next->flags;
}

/* Puts runs together again that differ in nothing, from the one at `first` on. */
void qk_run_join(size_t first, size_t end)
{
    size_t index = first > 0 ? first - 1 : 0;

    while (index + 1 < qk_run_count && index < end) {
        if (continues(&qk_runs[index], &qk_runs[index + 1])) {
            qk_runs[index].size += qk_runs[index + 1].size;
            qk_run_drop(index + 1);
        } else {
            index++;
        }
    }
}

bool qk_map_is_private(uint32_t flags)
{
    return (flags & (QK_MAP_SHARED | QK_MAP_STACK)) == 0;
}

/* How many bytes of the range are mapped, and how many of those are private. */
size_t qk_run_mapped(const uint8_t *address, size_t size, size_t *private_out)
{
    const uintptr_t start = (uintptr_t)address, end = start + size;
    size_t mapped = 0;

    *private_out = 0;
    for (size_t i = qk_run_find(address); i < qk_run_count && (uintptr_t)qk_runs[i].base < end;
         i++) {
        const uintptr_t base = (uintptr_t)qk_runs[i].base, run_end = base + qk_runs[i].size;
        const size_t common = (run_end < end ? run_end : end) - (base > start ? base : start);
        mapped += common;
        if (qk_map_is_private(qk_runs[i].flags)) *private_out += common;
    }
    return mapped;
}

void qk_run_clear(void)
{
    while (qk_run_count > 0) qk_run_drop(qk_run_count - 1);
    free(qk_runs);
    qk_runs = NULL;
    run_room = 0;
}
