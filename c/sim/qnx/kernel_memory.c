/* The memory map as the process's calls change it, and what of it counts: a page does from the
 * moment it may be touched, and if its mapping is lazy, from the moment it was. */
#include "../common/host.h"

#include "../common/census.h"
#include "kernel_memory.h"
#include "kernel_partition.h"
#include "kernel_place.h"
#include "kernel_runs.h"
#include "kernel_spawn.h"
#include "kernel_switch.h"

struct limit {
    uint64_t soft, hard;
};

static struct limit limits[QK_LIMIT_COUNT] = {
    {QK_UNLIMITED, QK_UNLIMITED}, {QK_UNLIMITED, QK_UNLIMITED}, {QK_UNLIMITED, QK_UNLIMITED}};
static qk_memory_usage usage;

static bool is_aligned(const void *address)
{
    return ((uintptr_t)address & (QK_PAGE - 1)) == 0;
}

/* What counts. */

/* Counts lazy pages that were touched since the last look. Those that the partition has no room for
 * are owed: nothing more is to be had until they are paid. */
static void settle_run(struct qk_run *run)
{
    unsigned char touched[256];

    for (size_t at = 0; at < run->size; at += sizeof touched * QK_PAGE) {
        size_t size = run->size - at;
        if (size > sizeof touched * QK_PAGE) size = sizeof touched * QK_PAGE;
        if (mincore(run->backing->host + run->offset + at, size, touched) != 0) return;
        for (size_t i = 0; i < size / QK_PAGE; i++) {
            struct qk_run page = *run;
            page.offset += at + i * QK_PAGE;
            page.size = QK_PAGE;
            if ((touched[i] & 1) == 0 || qk_page_paid(run->backing, page.offset / QK_PAGE))
                continue;
            if (qk_process_charge(QK_PAGE) != QK_OK) {
                usage.owed += QK_PAGE;
                continue;
            }
            qk_run_set_paid(&page, true);
            usage.paid += QK_PAGE;
        }
    }
}

static void settle(void)
{
    usage.owed = 0;
    for (size_t i = 0; i < qk_run_count; i++) {
        if ((qk_runs[i].flags & QK_MAP_LAZY) != 0 && qk_runs[i].protection != 0)
            settle_run(&qk_runs[i]);
    }
}

static bool exceeds(enum qk_limit limit, uint64_t bytes)
{
    return !qk_switched(QK_BREAK_LIMITS) && bytes > limits[limit].soft;
}

/* Pays for `bytes` more memory. */
static qk_error pay(uint64_t bytes)
{
    if (bytes == 0) return QK_OK;
    settle();
    if (usage.owed > 0) return QK_ENOMEM;
    const uint64_t least = limits[QK_LIMIT_FREE_MEMORY].soft;
    if (least != QK_UNLIMITED && !qk_switched(QK_BREAK_LIMITS)) {
        const uint64_t kept = qk_partition_total() / 1000 * least;
        const uint64_t left = qk_partition_free();
        if (left < bytes || left - bytes < kept) return QK_ENOMEM;
    }
    const qk_error error = qk_process_charge(bytes);
    if (error == QK_OK) usage.paid += bytes;
    return error;
}

static void give_back(uint64_t bytes)
{
    if (bytes == 0) return;
    qk_process_release(bytes);
    usage.paid -= bytes;
}

static bool commits(uint32_t protection, uint32_t flags)
{
    const bool lazy = (flags & QK_MAP_LAZY) != 0 && !qk_switched(QK_BREAK_LAZY);

    return protection != 0 && !lazy;
}

/* Mapping. */

/* Takes the runs of the range out of the table, and their bytes off the account. */
static void forget_range(uint8_t *address, size_t size)
{
    qk_run_split(address);
    qk_run_split(address + size);
    const size_t index = qk_run_find(address);
    while (index < qk_run_count && qk_runs[index].base < address + size) {
        struct qk_run *run = &qk_runs[index];
        if (!qk_switched(QK_BREAK_UNMAP)) give_back(qk_run_paid(run));
        qk_run_set_paid(run, false);
        usage.mapped -= run->size;
        if (qk_map_is_private(run->flags)) usage.data -= run->size;
        madvise(run->backing->host + run->offset, run->size, MADV_REMOVE);
        qk_run_drop(index);
    }
}

qk_error qk_memory_map(void *hint, size_t size, uint32_t protection, uint32_t flags,
                       void **address_out)
{
    const bool fixed = (flags & QK_MAP_FIXED) != 0;
    size_t replaced = 0, replaced_private = 0;

    if (size == 0 || size > SIZE_MAX - QK_PAGE || (fixed && !is_aligned(hint))) return QK_EINVAL;
    size = qk_whole_pages(size);
    if (fixed) {
        if (hint == NULL || (uintptr_t)hint > UINTPTR_MAX - size) return QK_ENOMEM;
        replaced = qk_run_mapped(hint, size, &replaced_private);
    }
    if (exceeds(QK_LIMIT_ADDRESS_SPACE, usage.mapped - replaced + size)) return QK_ENOMEM;
    if (qk_map_is_private(flags) && exceeds(QK_LIMIT_DATA, usage.data - replaced_private + size)) {
        return QK_ENOMEM;
    }
    struct qk_backing *backing = qk_run_room(3) ? qk_backing_new(size) : NULL;
    if (backing == NULL) return QK_ENOMEM;
    const uint64_t price = commits(protection, flags) ? size : 0;
    const qk_error error = pay(price);
    if (error != QK_OK) {
        qk_backing_drop(backing);
        return error;
    }
    void *place = fixed ? hint : qk_place_find(size);
    const bool claimed = !fixed || qk_place_claim(hint, size);
    if (!claimed || !qk_place_map(backing, place, protection, place != NULL, address_out)) {
        if (claimed && fixed) qk_place_unclaim(hint, (uint8_t *)hint + size);
        give_back(price);
        qk_backing_drop(backing);
        return QK_ENOMEM;
    }
    if (fixed) forget_range(hint, size);
    const size_t index = qk_run_find(*address_out);
    qk_run_insert(index, (struct qk_run){*address_out, size, backing, 0, protection,
                                         flags & (uint32_t)~QK_MAP_FIXED});
    if (price > 0) qk_run_set_paid(&qk_runs[index], true);
    backing->of_heap = (flags & QK_MAP_HEAP) != 0;
    if (!backing->of_heap) sim_census_count("mapping", 1);
    usage.mapped += size;
    if (qk_map_is_private(flags)) usage.data += size;
    return QK_OK;
}

qk_error qk_memory_find(const void *address, size_t size)
{
    size_t unused;

    if (size > SIZE_MAX - QK_PAGE || (uintptr_t)address > UINTPTR_MAX - size) return QK_ENOMEM;
    return qk_run_mapped(address, size, &unused) == size ? QK_OK : QK_ENOMEM;
}

/* What the range would cost under `protection`, over what is paid already. */
static uint64_t price_of(uint8_t *address, size_t size, uint32_t protection)
{
    uint64_t price = 0;

    for (size_t i = qk_run_find(address); i < qk_run_count && qk_runs[i].base < address + size;
         i++) {
        struct qk_run part = qk_runs[i];
        if (!commits(protection, part.flags)) continue;
        if (part.base < address) {
            const size_t before = (size_t)(address - part.base);
            part.offset += before;
            part.size -= before;
            part.base = address;
        }
        if (part.base + part.size > address + size)
            part.size = (size_t)(address + size - part.base);
        price += part.size - qk_run_paid(&part);
    }
    return price;
}

static void protect_runs(uint8_t *address, size_t size, uint32_t protection)
{
    qk_run_split(address);
    qk_run_split(address + size);
    const size_t first = qk_run_find(address);
    size_t index = first;
    for (; index < qk_run_count && qk_runs[index].base < address + size; index++) {
        qk_runs[index].protection = protection;
        if (commits(protection, qk_runs[index].flags)) qk_run_set_paid(&qk_runs[index], true);
    }
    qk_run_join(first, index);
}

qk_error qk_memory_protect(void *address, size_t size, uint32_t protection)
{
    if (!is_aligned(address)) return QK_EINVAL;
    size = qk_whole_pages(size);
    if (size == 0) return QK_OK;
    if (!qk_switched(QK_BREAK_WHOLE_RANGE) && qk_memory_find(address, size) != QK_OK) {
        return QK_ENOMEM;
    }
    if (!qk_run_room(2)) return QK_ENOMEM;
    const uint64_t price = price_of(address, size, protection);
    const qk_error error = pay(price);
    if (error != QK_OK) return error;
    if (!qk_switched(QK_BREAK_PROTECTION) &&
        mprotect(address, size, qk_host_protection(protection)) != 0) {
        give_back(price);
        return QK_ENOMEM;
    }
    protect_runs(address, size, protection);
    return QK_OK;
}

qk_error qk_memory_unmap(void *address, size_t size)
{
    if (size == 0 || size > SIZE_MAX - QK_PAGE || !is_aligned(address)) return QK_EINVAL;
    size = qk_whole_pages(size);
    if ((uintptr_t)address > UINTPTR_MAX - size) return QK_EINVAL;
    if (!qk_run_room(2)) return QK_ENOMEM;
    uint8_t *const start = address, *const end = start + size;
    for (size_t i = qk_run_find(start); i < qk_run_count && qk_runs[i].base < end; i++) {
        uint8_t *base = qk_runs[i].base > start ? qk_runs[i].base : start;
        uint8_t *run_end = qk_runs[i].base + qk_runs[i].size;
        qk_place_vacate(base, (size_t)((run_end < end ? run_end : end) - base));
    }
    forget_range(start, size);
    return QK_OK;
}

/* Questions. */

/* Whether this machine has something mapped at all pages of the range. */
static bool host_has(uintptr_t start, uintptr_t end)
{
    unsigned char resident[64];

    start &= ~(uintptr_t)(QK_PAGE - 1);
    while (start < end) {
        size_t size = qk_whole_pages(end - start);
        if (size > sizeof resident * QK_PAGE) size = sizeof resident * QK_PAGE;
        if (mincore((void *)start, size, resident) != 0) return false;
        start += size;
    }
    return true;
}

bool qk_memory_may(const void *address, size_t size, uint32_t access)
{
    uintptr_t at = (uintptr_t)address;
    const uintptr_t end = at + size;

    if (at < QK_PAGE || end < at) return false;
    for (size_t i = qk_run_find(address); at < end; i++) {
        const uintptr_t base = i < qk_run_count ? (uintptr_t)qk_runs[i].base : end;
        if (at < base) {
            if (qk_place_is_kept((void *)at) || !host_has(at, base < end ? base : end))
                return false;
            at = base;
        }
        if (at >= end) return true;
        if ((qk_runs[i].protection & access) != access) return false;
        at = base + qk_runs[i].size;
    }
    return true;
}

void *qk_memory_host(const void *address, size_t size)
{
    const size_t index = qk_run_find(address);

    if (index == qk_run_count || (uintptr_t)qk_runs[index].base > (uintptr_t)address) return NULL;
    const struct qk_run *run = &qk_runs[index];
    const size_t offset = run->offset + (size_t)((uintptr_t)address - (uintptr_t)run->base);
    if (size > run->backing->size - offset || qk_memory_find(address, size) != QK_OK) return NULL;
    size_t end_index = index; /* the range may span runs, but they have to be of one mapping */
    while (end_index < qk_run_count &&
           (uintptr_t)qk_runs[end_index].base < (uintptr_t)address + size) {
        if (qk_runs[end_index++].backing != run->backing) return NULL;
    }
    return run->backing->host + offset;
}

qk_error qk_memory_limit(enum qk_limit limit, uint64_t *soft_out, uint64_t *hard_out)
{
    *soft_out = limits[limit].soft;
    *hard_out = limits[limit].hard;
    return QK_OK;
}

qk_error qk_memory_set_limit(enum qk_limit limit, uint64_t soft, uint64_t hard)
{
    if (soft > hard) return QK_EINVAL;
    if (hard > limits[limit].hard) return QK_EPERM;
    limits[limit] = (struct limit){soft, hard};
    return QK_OK;
}

qk_memory_usage qk_memory_usage_now(void)
{
    settle();
    usage.mappings = (uint32_t)qk_run_count;
    return usage;
}

bool qk_memory_mapping(uint32_t index, qk_mapping *mapping_out)
{
    if (index >= qk_run_count) return false;
    const struct qk_run *run = &qk_runs[index];
    *mapping_out = (qk_mapping){.address = run->base,
                                .host = run->backing->host + run->offset,
                                .size = run->size,
                                .paid = qk_run_paid(run),
                                .protection = run->protection,
                                .flags = run->flags};
    return true;
}

void qk_memory_reset(void)
{
    for (size_t i = 0; i < qk_run_count; i++) qk_place_vacate(qk_runs[i].base, qk_runs[i].size);
    qk_run_clear();
    usage = (qk_memory_usage){0};
    for (size_t i = 0; i < QK_LIMIT_COUNT; i++) {
        limits[i] = (struct limit){QK_UNLIMITED, QK_UNLIMITED};
    }
}
