/* Threads that charge one tree of accounts, directly and through page allocators, for
 * ThreadSanitizer. With "unlocked" the root has no thread system: then a race is to be found. */
#include "wrt_platform/memory_account.h"
#include "wrt_platform/static_memory.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, ROUNDS = 2000, LIMIT = 20 * 65536 };

static wrt_memory_account root, leaves[THREADS];

static void must(wrt_status status)
{
    if (status != WRT_OK) {
        fprintf(stderr, "status %d: %s\n", status, wrt_error_last()->reason);
        exit(1);
    }
}

static wrt_status lock_init(void *self, wrt_system_lock *lock)
{
    (void)self;
    return pthread_mutex_init((pthread_mutex_t *)lock, NULL) == 0 ? WRT_OK : WRT_ERR_SYSTEM;
}

static wrt_status lock(void *self, wrt_system_lock *lock)
{
    (void)self;
    return pthread_mutex_lock((pthread_mutex_t *)lock) == 0 ? WRT_OK : WRT_ERR_SYSTEM;
}

static wrt_status unlock(void *self, wrt_system_lock *lock)
{
    (void)self;
    return pthread_mutex_unlock((pthread_mutex_t *)lock) == 0 ? WRT_OK : WRT_ERR_SYSTEM;
}

static wrt_status lock_deinit(void *self, wrt_system_lock *lock)
{
    (void)self;
    return pthread_mutex_destroy((pthread_mutex_t *)lock) == 0 ? WRT_OK : WRT_ERR_SYSTEM;
}

static const wrt_thread_system_ops locks = {
    .lock_init = lock_init, .lock = lock, .unlock = unlock, .lock_deinit = lock_deinit};

static void allocate_pages(wrt_counted_allocator *view)
{
    const wrt_page_allocator allocator = wrt_counted_allocator_interface(view);
    wrt_pages pages;

    if (wrt_page_allocator_allocate(&allocator, 1, 4, &pages) != WRT_OK) return;
    const wrt_status grown = wrt_page_allocator_grow(&allocator, &pages, 3);
    (void)grown;
    must(wrt_page_allocator_deallocate(&allocator, &pages));
}

static void *work(void *context)
{
    const size_t number = (size_t)context;
    unsigned chance = (unsigned)number + 1;
    void *buffer = malloc(5 * 65536);
    wrt_static_allocator pages;
    wrt_counted_allocator view;

    must(wrt_static_allocator_init(
        &pages, &(wrt_static_allocator_config){.struct_size = sizeof(wrt_static_allocator_config),
                                               .buffer = buffer,
                                               .buffer_size = 5 * 65536}));
    must(wrt_counted_allocator_init(
        &view, &(wrt_counted_allocator_config){.struct_size = sizeof(wrt_counted_allocator_config),
                                               .inner = wrt_static_allocator_interface(&pages),
                                               .account = &leaves[number]}));
    for (int round = 0; round < ROUNDS; round++) {
        wrt_memory_account *leaf = &leaves[rand_r(&chance) % THREADS];
        const uint64_t size = (uint64_t)rand_r(&chance) % (LIMIT / 2);
        if (wrt_memory_account_charge(leaf, size) == WRT_OK) {
            must(wrt_memory_account_refund(leaf, size));
        }
        if (round % 50 == 0) allocate_pages(&view);
    }
    must(wrt_counted_allocator_deinit(&view));
    must(wrt_static_allocator_deinit(&pages));
    free(buffer);
    return NULL;
}

int main(int count, char **words)
{
    const int locked = count == 2 && strcmp(words[1], "locked") == 0;
    wrt_memory_account_config config = {.struct_size = sizeof config, .maximum = LIMIT};
    wrt_memory_account_usage usage;
    pthread_t threads[THREADS];

    if (locked) config.system.ops = &locks;
    must(wrt_memory_account_init(&root, &config));
    for (size_t i = 0; i < THREADS; i++) {
        must(wrt_memory_account_init(
            &leaves[i],
            &(wrt_memory_account_config){.struct_size = sizeof config, .parent = &root}));
    }
    for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < THREADS; i++) must(wrt_memory_account_deinit(&leaves[i]));
    must(wrt_memory_account_query(&root, &usage));
    printf("used %llu charged %llu peak %s\n", (unsigned long long)usage.used,
           (unsigned long long)usage.charged, usage.peak <= LIMIT ? "within" : "beyond");
    must(wrt_memory_account_deinit(&root));
    return 0;
}
