/* Lazily loaded memory as core/reservation.c takes a backend, and the calls on what is out. The
 * image's pages are registered with the kernel before anyone can touch them. */
#include "lazy_memory.h"

#include "../core/fail.h"
#include "fork.h"
#include "times.h"

static wrt__lazy_engine *engine_of(const wrt_linux_lazy_memory *lazy)
{
    return lazy->engine;
}

wrt_status wrt__lazy_check(const char *operation, const wrt_linux_lazy_memory *lazy)
{
    if (lazy == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "lazy is NULL");
    return wrt__reserve_check(operation, &lazy->reserve, lazy, lazy->self,
                              lazy->fork_generation == wrt__fork_generation());
}

static wrt_status fail_for_memory(const char *operation, const char *reason, uint64_t bytes)
{
    const int code = errno;

    return wrt_fail_system(code == ENOMEM ? WRT_ERR_NO_MEMORY : WRT_ERR_SYSTEM, operation, reason,
                           code, bytes, 0);
}

/* ---- A new memory ---- */

/* A child that is forked has none of it: there it would be zero where it has not been loaded. */
static wrt_status map(const char *operation, void *context, size_t size, void **start_out)
{
    (void)context;
    void *start = wrt__sys_mmap(size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (start == MAP_FAILED) {
        return fail_for_memory(operation,
                               "there are no addresses for {0} bytes: raise RLIMIT_AS (ulimit -v), "
                               "or give fewer maximum_pages",
                               size);
    }
    if (wrt__sys_madvise(start, size, MADV_DONTFORK) != 0) {
        const wrt_status status =
            fail_for_memory(operation, "madvise(MADV_DONTFORK) of {0} bytes failed", size);
        (void)munmap(start, size);
        return status;
    }
    *start_out = start;
    return WRT_OK;
}

static wrt_status unmap(const char *operation, void *context, const wrt_pages *pages)
{
    wrt__lazy_engine *engine = engine_of(context);

    (void)pthread_mutex_lock(&engine->guard);
    const int result = wrt__sys_munmap(pages->reservation, pages->reserved_size);
    if (result == 0) engine->base = NULL;
    (void)pthread_mutex_unlock(&engine->guard);
    if (result == 0) return WRT_OK;
    return fail_for_memory(operation, "munmap of {0} bytes failed", pages->reserved_size);
}

static wrt_status open_edge(const char *operation, void *context, uint8_t *start, size_t size)
{
    (void)context;
    (void)start;
    return fail_for_memory(operation, "there are guards in place of canaries, {0} bytes", size);
}

static wrt_status give_access(const char *operation, void *context, const wrt_pages *pages,
                              size_t size)
{
    uint8_t *start = pages->base + (size_t)pages->page_count * WRT_PAGE_SIZE;

    (void)context;
    if (wrt__sys_mprotect(start, size, PROT_READ | PROT_WRITE) == 0) return WRT_OK;
    return fail_for_memory(operation,
                           "mprotect of {0} bytes failed: the system commits no more memory, or "
                           "has no more mappings (vm.max_map_count)",
                           size);
}

static int system_protection(uint32_t protection)
{
    if ((protection & WRT_PROTECTION_WRITE) != 0) return PROT_READ | PROT_WRITE;
    return (protection & WRT_PROTECTION_READ) != 0 ? PROT_READ : PROT_NONE;
}

static wrt_status set_protection(const char *operation, void *context, const wrt_pages *pages,
                                 size_t offset, size_t size, uint32_t protection)
{
    (void)context;
    if (wrt__sys_mprotect(pages->base + offset, size, system_protection(protection)) == 0) {
        return WRT_OK;
    }
    return fail_for_memory(operation,
                           "mprotect of {0} bytes failed: the system has no more mappings "
                           "(vm.max_map_count)",
                           size);
}

/* ---- The image ---- */

static void begin(wrt__lazy_engine *engine)
{
    memset(engine->states, WRT__CHUNK_ABSENT, (size_t)engine->chunk_count);
    engine->failed_chunks = 0;
    engine->loaded_bytes = 0;
    engine->touch_count = 0;
    engine->failure = (wrt_error){.operation = "", .reason = ""};
    engine->tracks_writes = false;
    engine->queue_count = 0;
}

/* From here on the kernel asks for what is touched. */
static wrt_status wait_for_touches(const char *operation, wrt__lazy_engine *engine, uint8_t *base)
{
    const uint64_t page = engine->system_page;
    struct uffdio_register range = {
        .range = {.start = (uintptr_t)base, .len = (engine->image_size + page - 1) / page * page},
        .mode = UFFDIO_REGISTER_MODE_MISSING};

    (void)pthread_mutex_lock(&engine->guard);
    begin(engine);
    const int result = wrt__sys_userfault_control(engine->userfault, UFFDIO_REGISTER, &range);
    if (result == 0) engine->base = base;
    (void)pthread_mutex_unlock(&engine->guard);
    if (result == 0) return WRT_OK;
    return fail_for_memory(operation, "ioctl(UFFDIO_REGISTER) of {0} bytes failed",
                           range.range.len);
}

/* All at once, into place. */
static wrt_status load_all(const char *operation, wrt__lazy_engine *engine, uint8_t *base)
{
    begin(engine);
    for (uint64_t chunk = 0; chunk < engine->chunk_count; chunk++) {
        const uint64_t offset = chunk * engine->chunk_bytes;
        const uint64_t size = wrt__chunk_size(engine, chunk);
        const wrt_status status =
            wrt__lazy_read(operation, engine, offset, base + offset, (size_t)size);
        if (status != WRT_OK) {
            engine->failed_chunks = 1;
            engine->failure = *wrt_error_last();
            return status;
        }
        engine->states[chunk] = WRT__CHUNK_LOADED;
        engine->loaded_bytes += size;
    }
    engine->base = base;
    return WRT_OK;
}

/* ---- The calls of wrt_page_allocator ---- */

static wrt_status check(const char *operation, const void *context)
{
    return wrt__lazy_check(operation, context);
}

static wrt__reservation reservation_of(void *context)
{
    static const wrt__reservation_ops ops = {check,     map,         unmap,
                                             open_edge, give_access, set_protection};
    wrt_linux_lazy_memory *lazy = context;

    if (lazy == NULL) return (wrt__reservation){.ops = &ops};
    return (wrt__reservation){&ops, lazy, &lazy->reserve, 0, 0};
}

static wrt_status check_new(const char *operation, const wrt_linux_lazy_memory *lazy,
                            uint32_t initial_pages)
{
    const wrt_status status = wrt__lazy_check(operation, lazy);

    if (status != WRT_OK) return status;
    if (lazy->reserve.allocation_count != 0) {
        return wrt_fail(WRT_ERR_BUSY, operation,
                        "the memory is out; it is one at a time, make another for each instance");
    }
    if (engine_of(lazy)->is_ending) {
        return wrt_fail(WRT_ERR_STATE, operation, "the memory is being ended: deinit() said BUSY");
    }
    if ((uint64_t)initial_pages * WRT_PAGE_SIZE < engine_of(lazy)->image_size) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "initial_pages is {0}, which has no room for the image of {1} bytes",
                               initial_pages, engine_of(lazy)->image_size);
    }
    return WRT_OK;
}

/* The first failure is what counts. */
static void take_back(const wrt__reservation *of, wrt_pages *pages)
{
    const wrt_error error = *wrt_error_last();

    if (wrt__reservation_deallocate("wrt_page_allocator_deallocate", of, pages) != WRT_OK) {
        (void)munmap(pages->reservation, pages->reserved_size);
        of->reserve->allocation_count = 0;
        of->reserve->page_count = 0;
        of->reserve->reserved_bytes = 0;
        *pages = (wrt_pages){0};
    }
    (void)wrt_fail_again(&error);
}

static wrt_status allocate(void *context, uint32_t initial_pages, uint32_t maximum_pages,
                           wrt_pages *pages_out)
{
    static const char operation[] = "wrt_page_allocator_allocate";
    wrt_linux_lazy_memory *lazy = context;
    const wrt__reservation of = reservation_of(context);
    wrt_status status = check_new(operation, lazy, initial_pages);

    if (status != WRT_OK) return status;
    lazy->self = lazy;
    status = wrt__reservation_allocate(operation, &of, initial_pages, maximum_pages, pages_out);
    if (status != WRT_OK) return status;
    wrt__lazy_engine *engine = engine_of(lazy);
    status = engine->refusal == 0 ? wait_for_touches(operation, engine, pages_out->base)
                                  : load_all(operation, engine, pages_out->base);
    if (status != WRT_OK) take_back(&of, pages_out);
    return status;
}

static wrt_status grow(void *context, wrt_pages *pages, uint32_t additional_pages)
{
    const wrt__reservation of = reservation_of(context);

    return wrt__reservation_grow("wrt_page_allocator_grow", &of, pages, additional_pages);
}

static wrt_status protect(void *context, wrt_pages *pages, size_t offset, size_t size,
                          uint32_t protection)
{
    const wrt__reservation of = reservation_of(context);

    return wrt__reservation_protect("wrt_page_allocator_protect", &of, pages, offset, size,
                                    protection);
}

static wrt_status deallocate(void *context, wrt_pages *pages)
{
    const wrt__reservation of = reservation_of(context);

    return wrt__reservation_deallocate("wrt_page_allocator_deallocate", &of, pages);
}

wrt_page_allocator wrt_linux_lazy_memory_interface(wrt_linux_lazy_memory *lazy)
{
    static const wrt_page_allocator_ops ops = {allocate, grow, protect, deallocate};

    return (wrt_page_allocator){&ops, lazy};
}

/* ---- On the caller's turn ---- */

bool wrt__lazy_is_complete(const wrt_linux_lazy_memory *lazy)
{
    wrt__lazy_engine *engine = engine_of(lazy);

    (void)pthread_mutex_lock(&engine->guard);
    const bool is_complete = engine->loaded_bytes == engine->image_size;
    (void)pthread_mutex_unlock(&engine->guard);
    return is_complete;
}

static wrt_status check_range(const char *operation, const wrt_linux_lazy_memory *lazy,
                              uint64_t offset, uint64_t size)
{
    const uint64_t bytes = (uint64_t)lazy->reserve.page_count * WRT_PAGE_SIZE;

    if (lazy->reserve.allocation_count == 0) {
        return wrt_fail(WRT_ERR_STATE, operation, "nothing is out of this memory");
    }
    if (offset <= bytes && size <= bytes - offset) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                           "offset {0} and size reach beyond the accessible pages, {1} bytes",
                           offset, bytes);
}

/* Loads the chunks of a range that are not there. */
static wrt_status load_chunks(const char *operation, wrt__lazy_engine *engine, uint64_t first,
                              uint64_t end)
{
    for (uint64_t chunk = first; chunk < end; chunk++) {
        if (engine->states[chunk] == WRT__CHUNK_LOADED) continue;
        wrt__lazy_take_turn(engine, chunk, 0);
        const wrt_status status = wrt__lazy_use_turn(operation, engine);
        if (status != WRT_OK) return status;
    }
    return WRT_OK;
}

wrt_status wrt_linux_lazy_memory_load(wrt_linux_lazy_memory *lazy, uint64_t offset, uint64_t size)
{
    wrt_status status = wrt__lazy_check(__func__, lazy);
    if (status == WRT_OK) status = check_range(__func__, lazy, offset, size);
    if (status != WRT_OK) return status;

    wrt__lazy_engine *engine = engine_of(lazy);
    const uint64_t end = offset + size < engine->image_size ? offset + size : engine->image_size;
    if (engine->refusal != 0 || offset >= end) return WRT_OK;
    (void)pthread_mutex_lock(&engine->guard);
    if (engine->turn_is_taken && engine->turn_thread == wrt__thread_number()) {
        status = wrt_fail(WRT_ERR_STATE, __func__, "called from the function that loads");
    } else {
        engine->callers++;
        status = load_chunks(__func__, engine, offset / engine->chunk_bytes,
                             (end + engine->chunk_bytes - 1) / engine->chunk_bytes);
        engine->callers--;
    }
    (void)pthread_mutex_unlock(&engine->guard);
    return status;
}

/* With the guard: waits for something to do. Errors: TIMED_OUT, INTERRUPTED. */
static wrt_status wait_for_work(const char *operation, wrt__lazy_engine *engine, uint64_t deadline)
{
    const struct timespec until = wrt__timespec(deadline);

    while (!engine->is_stopped && (engine->queue_count == 0 || engine->turn_is_taken)) {
        const int code = pthread_cond_timedwait(&engine->moved, &engine->guard, &until);
        if (code == ETIMEDOUT) {
            return wrt_fail(WRT_ERR_TIMED_OUT, operation, "no touch wanted anything");
        }
    }
    if (!engine->is_stopped) return WRT_OK;
    return wrt_fail(WRT_ERR_INTERRUPTED, operation, "wrt_linux_lazy_memory_stop() was called");
}

static wrt__wanted take_wanted(wrt__lazy_engine *engine)
{
    const wrt__wanted wanted = engine->queue[engine->queue_start];
    const uint64_t one = 1;

    if (engine->queue_count == WRT__LAZY_QUEUE) (void)!write(engine->wake, &one, sizeof one);
    engine->queue_start = (engine->queue_start + 1) % WRT__LAZY_QUEUE;
    engine->queue_count--;
    return wanted;
}

wrt_status wrt_linux_lazy_memory_serve(wrt_linux_lazy_memory *lazy, uint64_t timeout_ns)
{
    wrt_status status = wrt__lazy_check(__func__, lazy);
    if (status != WRT_OK) return status;
    wrt__lazy_engine *engine = engine_of(lazy);
    if (engine->load == NULL || engine->refusal != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "there is nothing to serve: a file is read by the library's thread, and "
                        "what can't come on demand has been loaded by allocate()");
    }
    (void)pthread_mutex_lock(&engine->guard);
    engine->callers++;
    status = wait_for_work(__func__, engine, wrt__time_after(wrt__lazy_now(), timeout_ns));
    if (status == WRT_OK) {
        const wrt__wanted wanted = take_wanted(engine);
        wrt__lazy_take_turn(engine, wanted.chunk, wanted.deadline);
        status = wrt__lazy_use_turn(__func__, engine);
    }
    engine->callers--;
    (void)pthread_mutex_unlock(&engine->guard);
    return status;
}

wrt_status wrt_linux_lazy_memory_stop(wrt_linux_lazy_memory *lazy)
{
    static const char reason[] = "nobody loads any more, since stop() was called; offset {0}";
    const wrt_status status = wrt__lazy_check(__func__, lazy);
    if (status != WRT_OK) return status;
    wrt__lazy_engine *engine = engine_of(lazy);
    const wrt_error failure = {
        .status = WRT_ERR_INTERRUPTED, .operation = __func__, .reason = reason};

    (void)pthread_mutex_lock(&engine->guard);
    engine->is_stopped = true;
    wrt__lazy_give_up_queue(engine, &failure);
    (void)pthread_cond_broadcast(&engine->moved);
    (void)pthread_mutex_unlock(&engine->guard);
    return WRT_OK;
}
