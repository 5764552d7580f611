/* The executor of a managed pool: the caller's own, between whose instances and the worker's memory
 * the account of the module is put.
 *
 *     instance -> the thread's view, charges the module -> the worker's view -> page allocator
 *
 * A thread that waits for its turn may go on on another worker than it began on, so the view's
 * inner allocator is the thread itself, which passes on to the worker that runs it now. */
#include "safe_threading.h"

static wrt_managed_thread *thread_of(wrt_turn *turn)
{
    return (wrt_managed_thread *)(void *)((uint8_t *)turn -
                                          offsetof(wrt_managed_thread, task.turn));
}

static wrt_status allocate(void *self, uint32_t initial_pages, uint32_t maximum_pages,
                           wrt_pages *pages_out)
{
    const wrt_page_allocator *inner = &((wrt_managed_thread *)self)->worker_pages;

    return inner->ops->allocate(inner->self, initial_pages, maximum_pages, pages_out);
}

static wrt_status grow(void *self, wrt_pages *pages, uint32_t additional_pages)
{
    const wrt_page_allocator *inner = &((wrt_managed_thread *)self)->worker_pages;

    return inner->ops->grow(inner->self, pages, additional_pages);
}

static wrt_status protect(void *self, wrt_pages *pages, size_t offset, size_t size,
                          uint32_t protection)
{
    const wrt_page_allocator *inner = &((wrt_managed_thread *)self)->worker_pages;

    return inner->ops->protect(inner->self, pages, offset, size, protection);
}

static wrt_status deallocate(void *self, wrt_pages *pages)
{
    const wrt_page_allocator *inner = &((wrt_managed_thread *)self)->worker_pages;

    return inner->ops->deallocate(inner->self, pages);
}

static const wrt_page_allocator_ops worker_pages_ops = {allocate, grow, protect, deallocate};

wrt_status wrt__managed_pages_init(wrt_managed_thread *thread, wrt__module_record *module)
{
    const wrt_counted_allocator_config config = {
        .struct_size = sizeof config,
        .inner = {&worker_pages_ops, thread},
        .account = &module->account,
    };

    return wrt_counted_allocator_init(&thread->pages, &config);
}

static wrt_status check(void *self, uint32_t function_id, wrt_function_type *type_out)
{
    const wrt_executor *inner = &((wrt_thread_manager *)self)->executor;

    return inner->ops->check(inner->self, function_id, type_out);
}

static wrt_status acquire(void *self, wrt_turn *turn, wrt_turn **next_out)
{
    const wrt_executor *inner = &((wrt_thread_manager *)self)->executor;
    wrt_managed_thread *const thread = thread_of(turn);

    if (turn->pages.ops != NULL) {
        thread->worker_pages = turn->pages;
        turn->pages = wrt_counted_allocator_interface(&thread->pages);
    }
    return inner->ops->acquire(inner->self, turn, next_out);
}

static void release(void *self, wrt_turn *turn, wrt_turn **next_out)
{
    const wrt_executor *inner = &((wrt_thread_manager *)self)->executor;

    inner->ops->release(inner->self, turn, next_out);
}

static wrt_status withdraw(void *self, wrt_turn *turn)
{
    const wrt_executor *inner = &((wrt_thread_manager *)self)->executor;

    return inner->ops->withdraw(inner->self, turn);
}

static void abandon(void *self, wrt_turn *turn, wrt_turn **waiting_out)
{
    const wrt_executor *inner = &((wrt_thread_manager *)self)->executor;

    inner->ops->abandon(inner->self, turn, waiting_out);
}

static const wrt_executor_ops executor_ops = {check, acquire, release, withdraw, abandon};

wrt_executor wrt__managed_executor(wrt_thread_manager *manager)
{
    return (wrt_executor){&executor_ops, manager};
}
