/* Internal: the runs of the memory map. Under the kernel's lock. */
#ifndef SIM_QNX_KERNEL_RUNS_H
#define SIM_QNX_KERNEL_RUNS_H

#include "kernel_memory.h"

/* The bytes of one call of mmap(). Runs that it was split into share it. */
struct qk_backing {
    uint8_t *host;
    size_t size;
    uint64_t *paid; /* a bit a page */
    size_t runs;
    bool of_heap; /* libc's, so nothing that a program has to give back */
};

struct qk_run {
    uint8_t *base;
    size_t size;
    struct qk_backing *backing;
    size_t offset; /* in the backing, bytes */
    uint32_t protection;
    uint32_t flags;
};

/* In the order of their addresses; without overlaps. */
extern struct qk_run *qk_runs;
extern size_t qk_run_count;

size_t qk_whole_pages(size_t size);

/* NULL if this machine has no memory. */
struct qk_backing *qk_backing_new(size_t size);
void qk_backing_drop(struct qk_backing *backing);

bool qk_page_paid(const struct qk_backing *backing, size_t page);
size_t qk_run_paid(const struct qk_run *run);
void qk_run_set_paid(struct qk_run *run, bool paid);

/* The first run that ends behind `address`; qk_run_count if there is none. */
size_t qk_run_find(const void *address);

/* How many bytes of the range are mapped, and how many of those count as data. */
size_t qk_run_mapped(const uint8_t *address, size_t size, size_t *private_out);
bool qk_map_is_private(uint32_t flags);

/* Makes room for more runs, which the calls below then have. */
bool qk_run_room(size_t more);
void qk_run_insert(size_t index, struct qk_run run);

/* Makes `address` the start of a run, if it lies inside of one. */
void qk_run_split(const uint8_t *address);

/* Puts runs together again that differ in nothing, from the one before `first` up to `end`. */
void qk_run_join(size_t first, size_t end);

/* The last run of a backing takes it along. */
void qk_run_drop(size_t index);
void qk_run_clear(void);

#endif
