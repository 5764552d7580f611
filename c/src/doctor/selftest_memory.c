/* Walls round memory of this process, as its allocators give it. Each is touched at the first and
 * last byte of every page of the system, read first: only where reading is refused a write is
 * tried, so that a wall that is not there costs nobody his data. */
#include "selftest.h"
#include "touch.h"

#include "../core/fail.h"
#include "wrt_platform/linux/memory.h"
#include "wrt_platform/linux/slot_pool.h"

#if defined(__aarch64__)
static const uint8_t return_code[] = {0xC0, 0x03, 0x5F, 0xD6};
#else
static const uint8_t return_code[] = {0xC3};
#endif

static const char *const kinds[] = {"reading", "writing", "running"};

/* Whether the wall held; a row that failed says where it did not. */
static wrt_status lean(wrt__selftest *test, const uint8_t *address, uint32_t kind, bool *held_out)
{
    wrt__touch touch = {.address = address, .kind = kind};

    const wrt_status status = wrt__touch_in_child(&touch);
    if (status != WRT_OK) return status;
    test->row->attempts++;
    *held_out = wrt__touch_is_refused(&touch);
    if (*held_out) return WRT_OK;
    return wrt__failed(test,
                       "{w} a byte of it after {0} others ended in signal {1}, not in SIGSEGV for "
                       "want of a right at that address",
                       kinds[kind], test->row->attempts - 1, (uint64_t)touch.signal_number);
}

static wrt_status lean_both(wrt__selftest *test, const uint8_t *address, bool *held_out)
{
    const wrt_status status = lean(test, address, WRT__TOUCH_READ, held_out);

    if (status != WRT_OK || !*held_out) return status;
    return lean(test, address, WRT__TOUCH_WRITE, held_out);
}

static wrt_status lean_along(wrt__selftest *test, const uint8_t *start, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    wrt_status status = WRT_OK;
    bool held = true;

    for (size_t offset = 0; offset < size && status == WRT_OK && held; offset += page) {
        status = lean_both(test, start + offset, &held);
        if (status == WRT_OK && held) status = lean_both(test, start + offset + page - 1, &held);
    }
    if (status != WRT_OK || !held) return status;
    return wrt__passed(test, "{0} touches, each SIGSEGV (SEGV_ACCERR) at its address");
}

/* ---- The allocator's memory ---- */

typedef wrt_status (*lean_fn)(wrt__selftest *test, const wrt_pages *pages);

/* One page of a guest, one that is reserved behind it, and a guard at either end. */
static wrt_status with_memory(wrt__selftest *test, lean_fn lean_on)
{
    const wrt_linux_allocator_config config = {.struct_size = sizeof config, .guard_pages = true};
    wrt_linux_allocator allocator;
    wrt_pages pages;

    wrt_status status = wrt_linux_allocator_init(&allocator, &config);
    if (status != WRT_OK) return status;
    const wrt_page_allocator interface = wrt_linux_allocator_interface(&allocator);
    status = wrt_page_allocator_allocate(&interface, 1, 2, &pages);
    if (status != WRT_OK) return status;
    status = lean_on(test, &pages);
    const wrt_error first = *wrt_error_last();
    wrt_status ended = wrt_page_allocator_deallocate(&interface, &pages);
    if (ended != WRT_OK) ended = wrt_page_allocator_deallocate(&interface, &pages);
    return status == WRT_OK ? ended : wrt_fail_again(&first);
}

static wrt_status lean_before(wrt__selftest *test, const wrt_pages *pages)
{
    const uint8_t *const start = pages->reservation;

    return lean_along(test, start, (size_t)(pages->base - start));
}

static wrt_status lean_on_reserved(wrt__selftest *test, const wrt_pages *pages)
{
    return lean_along(test, pages->base + WRT_PAGE_SIZE, WRT_PAGE_SIZE);
}

static wrt_status lean_behind(wrt__selftest *test, const wrt_pages *pages)
{
    const uint8_t *const start = pages->base + 2 * (size_t)WRT_PAGE_SIZE;
    const uint8_t *const end = (const uint8_t *)pages->reservation + pages->reserved_size;

    return lean_along(test, start, (size_t)(end - start));
}

/* If it could be run, it would return: a wall that is not there is a row, not a crash. */
static void write_return(uint8_t *place)
{
    memcpy(place, return_code, sizeof return_code);
    __builtin___clear_cache((char *)place, (char *)place + sizeof return_code);
}

static wrt_status run_in(wrt__selftest *test, const wrt_pages *pages)
{
    const size_t places[] = {0, 4096, WRT_PAGE_SIZE - 4096};
    wrt_status status = WRT_OK;
    bool held = true;

    for (uint32_t i = 0; i < sizeof places / sizeof *places && status == WRT_OK && held; i++) {
        write_return(pages->base + places[i]);
        status = lean(test, pages->base + places[i], WRT__TOUCH_RUN, &held);
    }
    if (status != WRT_OK || !held) return status;
    return wrt__passed(test, "{0} jumps into it, each SIGSEGV (SEGV_ACCERR) at its address");
}

wrt_status wrt__test_guard_before(wrt__selftest *test)
{
    return with_memory(test, lean_before);
}

wrt_status wrt__test_reserved(wrt__selftest *test)
{
    return with_memory(test, lean_on_reserved);
}

wrt_status wrt__test_guard_behind(wrt__selftest *test)
{
    return with_memory(test, lean_behind);
}

wrt_status wrt__test_running_memory(wrt__selftest *test)
{
    return with_memory(test, run_in);
}

/* ---- Kept slots ---- */

static wrt_status lean_round_slot(wrt__selftest *test, wrt_linux_slot_pool *pool)
{
    const wrt_page_allocator interface = wrt_linux_slot_pool_interface(pool);
    wrt_pages pages;

    wrt_status status = wrt_page_allocator_allocate(&interface, 1, 1, &pages);
    if (status != WRT_OK) return status;
    status =
        lean_along(test, pages.base - WRT_LINUX_GUARD_BYTES_DEFAULT, WRT_LINUX_GUARD_BYTES_DEFAULT);
    if (status == WRT_OK && test->row->state == WRT_SELFTEST_PASSED) {
        status = lean_along(test, pages.base + WRT_PAGE_SIZE, WRT_LINUX_GUARD_BYTES_DEFAULT);
    }
    wrt_status ended = wrt_page_allocator_deallocate(&interface, &pages);
    if (ended != WRT_OK) ended = wrt_page_allocator_deallocate(&interface, &pages);
    return status == WRT_OK ? ended : status;
}

wrt_status wrt__test_slots(wrt__selftest *test)
{
    const wrt_linux_slot_pool_config config = {
        .struct_size = sizeof config, .slot_count = 2, .maximum_pages = 1};
    wrt_linux_slot_pool pool = {0};

    wrt_status status = wrt_linux_slot_pool_init(&pool, &config);
    if (status != WRT_OK) return status;
    status = lean_round_slot(test, &pool);
    const wrt_error first = *wrt_error_last();
    wrt_status ended = wrt_linux_slot_pool_deinit(&pool);
    if (ended != WRT_OK) ended = wrt_linux_slot_pool_deinit(&pool);
    return status == WRT_OK ? ended : wrt_fail_again(&first);
}
