/* A pool of kept slots, as core/reservation.c takes a backend: mapping is taking a free slot,
 * unmapping is cleaning it and putting it back.
 *
 *     | table | guard | slot 0 | guard | slot 1 | guard | ...
 *
 * A guard stands behind one slot and before the next. A slot stays open as far as its last tenant
 * could reach, so that the next one of the same size needs no system call. */
#include "slot_pool.h"

#include "../core/fail.h"
#include "fork.h"

wrt_status wrt__slot_pool_check(const char *operation, const wrt_linux_slot_pool *pool)
{
    if (pool == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "pool is NULL");
    return wrt__reserve_check(operation, &pool->reserve, pool, pool->self,
                              pool->fork_generation == wrt__fork_generation());
}

/* ---- Slots ---- */

static wrt__slot *slot_at(const wrt_linux_slot_pool *pool, uint32_t index)
{
    return (wrt__slot *)pool->slots + index;
}

static uint8_t *base_at(const wrt_linux_slot_pool *pool, uint32_t index)
{
    return pool->first + index * pool->stride + pool->reserve.guard_bytes;
}

/* The slot that pages lie in; NO_SLOT if they are none of those that are out. */
static uint32_t index_of(const wrt_linux_slot_pool *pool, const wrt_pages *pages)
{
    const uintptr_t offset = (uintptr_t)pages->reservation - (uintptr_t)pool->first;
    const uintptr_t index = offset / pool->stride;

    if (index >= pool->slot_count || offset % pool->stride != 0) return WRT__NO_SLOT;
    return slot_at(pool, (uint32_t)index)->is_out ? (uint32_t)index : WRT__NO_SLOT;
}

static wrt_status fail_for_memory(const char *operation, const char *reason, uint64_t bytes)
{
    const int code = errno;

    return wrt_fail_system(code == ENOMEM ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM, operation, reason,
                           code, bytes, 0);
}

/* ---- Taking ---- */

static wrt_status map_image(const char *operation, const wrt_linux_slot_pool *pool, wrt__slot *slot,
                            uint8_t *base)
{
    if (pool->image == NULL || slot->has_image) return WRT_OK;
    if (wrt__sys_mmap_at(base, pool->image_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_NORESERVE, pool->image_descriptor) == MAP_FAILED) {
        return fail_for_memory(operation, "mmap of the image, {0} bytes, failed",
                               pool->image_bytes);
    }
    slot->has_image = true;
    slot->open_bytes = pool->image_bytes;
    return WRT_OK;
}

/* Takes back what the last tenant could reach and the next one can't. */
static wrt_status close_rest(const char *operation, const wrt_linux_slot_pool *pool,
                             wrt__slot *slot, uint8_t *base)
{
    const size_t wanted = (size_t)pool->initial_pages * WRT_PAGE_SIZE;

    if (slot->open_bytes <= wanted) return WRT_OK;
    if (wrt__sys_mprotect(base + wanted, slot->open_bytes - wanted, PROT_NONE) != 0) {
        return fail_for_memory(operation, "mprotect failed, which closes {0} bytes",
                               slot->open_bytes - wanted);
    }
    slot->open_bytes = wanted;
    return WRT_OK;
}

static wrt_status take(const char *operation, void *context, size_t size, void **start_out)
{
    wrt_linux_slot_pool *pool = context;
    const uint32_t index = pool->free_slot;

    (void)size; /* fits: the config's maximum_pages has been checked */
    if (index == WRT__NO_SLOT) {
        return wrt_fail_detail(WRT_ERR_BUSY, operation,
                               "all {0} slots are out; wait for one to come back, or give the pool "
                               "more",
                               pool->slot_count, 0);
    }
    wrt__slot *slot = slot_at(pool, index);
    wrt_status status = map_image(operation, pool, slot, base_at(pool, index));
    if (status == WRT_OK) status = close_rest(operation, pool, slot, base_at(pool, index));
    if (status != WRT_OK) return status;
    pool->free_slot = slot->next;
    slot->is_out = true;
    *start_out = pool->first + index * pool->stride;
    return WRT_OK;
}

static wrt_status give_access(const char *operation, void *context, const wrt_pages *pages,
                              size_t size)
{
    const wrt_linux_slot_pool *pool = context;
    wrt__slot *slot = slot_at(pool, index_of(pool, pages));
    const size_t wanted = (size_t)pages->page_count * WRT_PAGE_SIZE + size;

    if (wanted <= slot->open_bytes) return WRT_OK;
    if (wrt__sys_mprotect(pages->base + slot->open_bytes, wanted - slot->open_bytes,
                          PROT_READ | PROT_WRITE) != 0) {
        return fail_for_memory(operation,
                               "mprotect of {0} bytes failed: the system commits no more memory, "
                               "or has no more mappings (vm.max_map_count)",
                               wanted - slot->open_bytes);
    }
    slot->open_bytes = wanted;
    return WRT_OK;
}

/* ---- Protection ---- */

static int system_protection(uint32_t protection)
{
    if ((protection & WRT_PROTECTION_WRITE) != 0) return PROT_READ | PROT_WRITE;
    return (protection & WRT_PROTECTION_READ) != 0 ? PROT_READ : PROT_NONE;
}

static wrt_status set_protection(const char *operation, void *context, const wrt_pages *pages,
                                 size_t offset, size_t size, uint32_t protection)
{
    const wrt_linux_slot_pool *pool = context;

    if (wrt__sys_mprotect(pages->base + offset, size, system_protection(protection)) != 0) {
        return fail_for_memory(operation,
                               "mprotect of {0} bytes failed: the system has no more mappings "
                               "(vm.max_map_count)",
                               size);
    }
    slot_at(pool, index_of(pool, pages))->is_protected = true;
    return WRT_OK;
}

/* ---- Putting back ---- */

static wrt_status put_back(const char *operation, void *context, const wrt_pages *pages)
{
    wrt_linux_slot_pool *pool = context;
    const uint32_t index = index_of(pool, pages);
    const size_t size = (size_t)pages->page_count * WRT_PAGE_SIZE;

    wrt__slot *slot = slot_at(pool, index);
    if (slot->is_protected && size != 0 &&
        wrt__sys_mprotect(pages->base, size, PROT_READ | PROT_WRITE) != 0) {
        return fail_for_memory(operation,
                               "mprotect of {0} bytes failed, which opens them for cleaning; the "
                               "slot stays out",
                               size);
    }
    slot->is_protected = false;
    const wrt_status status = wrt__slot_clean(operation, pool, pages->base, size);
    if (status != WRT_OK) return status;
    slot->is_out = false;
    slot->next = pool->free_slot;
    pool->free_slot = index;
    return WRT_OK;
}

/* Takes memory that is handed to open an edge; guards stand there, so none ever is. */
static wrt_status open_edge(const char *operation, void *context, uint8_t *start, size_t size)
{
    (void)context;
    (void)start;
    return wrt_fail_detail(WRT_ERR_STATE, operation, "a slot has no edge of {0} bytes", size, 0);
}

/* ---- The calls of wrt_page_allocator ---- */

static wrt_status check(const char *operation, const void *context)
{
    return wrt__slot_pool_check(operation, context);
}

static wrt__reservation reservation_of(void *context)
{
    static const wrt__reservation_ops ops = {check,     take,        put_back,
                                             open_edge, give_access, set_protection};
    wrt_linux_slot_pool *pool = context;

    return (wrt__reservation){&ops, pool, pool != NULL ? &pool->reserve : NULL, 0, 0};
}

/* Verification may be off; but slots lie side by side, so what no slot holds is refused always. */
static wrt_status check_slot(const char *operation, void *context, const wrt_pages *pages)
{
    const wrt_linux_slot_pool *pool = context;
    const wrt_status status = check(operation, pool);

    if (status != WRT_OK || index_of(pool, pages) != WRT__NO_SLOT) return status;
    return wrt_fail(WRT_ERR_STATE, operation, "the pages are in no slot of this pool that is out");
}

static wrt_status allocate(void *context, uint32_t initial_pages, uint32_t maximum_pages,
                           wrt_pages *pages_out)
{
    static const char operation[] = "wrt_page_allocator_allocate";
    wrt_linux_slot_pool *pool = context;
    const wrt__reservation of = reservation_of(context);

    wrt_status status = check(operation, pool);
    if (status != WRT_OK) return status;
    if ((uint64_t)initial_pages * WRT_PAGE_SIZE < pool->image_bytes) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "initial_pages is {0}, the pool's image has {1} bytes",
                               initial_pages, pool->image_bytes);
    }
    pool->initial_pages = initial_pages;
    status = wrt__reservation_allocate(operation, &of, initial_pages, maximum_pages, pages_out);
    if (status == WRT_OK) pool->self = pool;
    return status;
}

static wrt_status grow(void *context, wrt_pages *pages, uint32_t additional_pages)
{
    static const char operation[] = "wrt_page_allocator_grow";
    const wrt__reservation of = reservation_of(context);
    const wrt_status status = check_slot(operation, context, pages);

    return status != WRT_OK ? status
                            : wrt__reservation_grow(operation, &of, pages, additional_pages);
}

static wrt_status protect(void *context, wrt_pages *pages, size_t offset, size_t size,
                          uint32_t protection)
{
    static const char operation[] = "wrt_page_allocator_protect";
    const wrt__reservation of = reservation_of(context);
    const wrt_status status = check_slot(operation, context, pages);

    if (status != WRT_OK) return status;
    return wrt__reservation_protect(operation, &of, pages, offset, size, protection);
}

static wrt_status deallocate(void *context, wrt_pages *pages)
{
    static const char operation[] = "wrt_page_allocator_deallocate";
    const wrt__reservation of = reservation_of(context);
    const wrt_status status = check_slot(operation, context, pages);

    return status != WRT_OK ? status : wrt__reservation_deallocate(operation, &of, pages);
}

wrt_page_allocator wrt_linux_slot_pool_interface(wrt_linux_slot_pool *pool)
{
    static const wrt_page_allocator_ops ops = {allocate, grow, protect, deallocate};

    return (wrt_page_allocator){&ops, pool};
}
