/* A pool that runs plain tasks and calls of a guest, over and over, and prints how many heap calls
 * that took, in its workers as well. It has to be started with the spy in LD_PRELOAD.
 *
 *     pool_heap MODULE         submits, batches, a full queue, cancels, joins, calls
 *     pool_heap MODULE heap    the same with a task that takes memory: this must be seen
 */
#include "wrt_platform/linux/memory.h"
#include "wrt_platform/linux/threading.h"
#include "wrt_platform/threading.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 200, TASKS = 8, WORKERS = 2 };

extern unsigned long heap_spy_calls(void);

static uint64_t module_room[4096], instance_room[16384], executor_room[512], pool_room[65536];
static wrt_module module;
static wrt_linux_allocator pages;
static wrt_instance instance;
static wrt_linux_thread_system threads;
static wrt_instance_executor executor;
static wrt_thread_pool pool;
static wrt_task tasks[TASKS];
static int takes_heap;

static void must(int is_true, const char *what)
{
    if (is_true) return;
    fprintf(stderr, "%s: %s\n", what, wrt_error_last()->reason);
    exit(2);
}

static wrt_status work(void *context)
{
    if (takes_heap && context == &tasks[0]) free(malloc(100));
    return WRT_OK;
}

/* ---- Making it ---- */

static void load(const char *path)
{
    static uint8_t bytes[65536];
    FILE *file = fopen(path, "rb");
    wrt_module_config config = {.struct_size = sizeof config,
                                .bytes = bytes,
                                .buffer = module_room,
                                .buffer_size = sizeof module_room};

    must(file != NULL, "open");
    config.bytes_size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    must(wrt_module_init(&module, &config) == WRT_OK, "module");
}

static void make_instance(void)
{
    wrt_linux_allocator_config memory = {.struct_size = sizeof memory};
    wrt_instance_config config = {.struct_size = sizeof config,
                                  .module = &module,
                                  .buffer = instance_room,
                                  .buffer_size = sizeof instance_room};

    must(wrt_linux_allocator_init(&pages, &memory) == WRT_OK, "allocator");
    config.allocator = wrt_linux_allocator_interface(&pages);
    must(wrt_instance_init(&instance, &config) == WRT_OK, "instance");
    must(wrt_instance_start(&instance, 0) == WRT_OK, "start");
}

static void make_executor(wrt_thread_system system)
{
    wrt_extern found;
    wrt_executor_function function = {.function_id = 1, .instance = &instance};
    wrt_instance_executor_config config = {.struct_size = sizeof config,
                                           .function_count = 1,
                                           .functions = &function,
                                           .system = system,
                                           .buffer = executor_room,
                                           .buffer_size = sizeof executor_room};

    must(wrt_instance_export(&instance, "add", 3, &found) == WRT_OK, "export");
    function.function = found.of.function;
    must(wrt_instance_executor_init(&executor, &config) == WRT_OK, "executor");
}

static void make_pool(wrt_thread_system system)
{
    wrt_thread_pool_config config = {.struct_size = sizeof config,
                                     .max_threads = WORKERS,
                                     .queue_capacity = 4,
                                     .system = system,
                                     .executor = wrt_instance_executor_interface(&executor),
                                     .buffer = pool_room,
                                     .buffer_size = sizeof pool_room};

    must(wrt_thread_pool_init(&pool, &config) == WRT_OK, "pool");
    for (int i = 0; i < TASKS; i++) {
        const wrt_task_config task = {
            .struct_size = sizeof task, .run = work, .context = &tasks[i]};
        must(wrt_task_init(&tasks[i], &task) == WRT_OK, "task");
    }
}

/* ---- Using it ---- */

/* All at once: the queue has room for four, so that some are refused and go one by one. */
static void run_tasks(void)
{
    wrt_task *batch[TASKS];
    uint32_t count;

    for (int i = 0; i < TASKS; i++) batch[i] = &tasks[i];
    (void)!wrt_thread_pool_submit_batch(&pool, batch, TASKS, &count);
    for (; count < TASKS; count++) {
        while (wrt_thread_pool_submit(&pool, &tasks[count]) == WRT_ERR_BUSY) {
        }
    }
    (void)!wrt_task_cancel(&tasks[TASKS - 1]);
    for (int i = 0; i < TASKS; i++) {
        must(wrt_task_join(&tasks[i], UINT64_MAX, NULL, NULL) == WRT_OK, "join");
    }
}

static void call_guest(void)
{
    wrt_value args[2] = {{.i32 = 40}, {.i32 = 2}};
    wrt_value result;
    wrt_wasm_task task = {0};
    wrt_wasm_outcome outcome;
    const wrt_wasm_task_config config = {.struct_size = sizeof config,
                                         .function_id = 1,
                                         .args = args,
                                         .args_count = 2,
                                         .results = &result,
                                         .results_count = 1};

    must(wrt_thread_pool_spawn_wasm_thread(&pool, &config, &task) == WRT_OK, "spawn");
    must(wrt_wasm_task_join(&task, UINT64_MAX, NULL, &outcome) == WRT_OK, "join of a call");
    must(outcome.status == WRT_OK && result.i32 == 42, "sum");
}

/* Waits in a worker until the other one has come as well. */
static wrt_status meet(void *context)
{
    int *const present = context;

    __atomic_add_fetch(present, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(present, __ATOMIC_SEQ_CST) < WORKERS) {
    }
    return WRT_OK;
}

/* On a busy machine a worker may still be on its way, and what starts a thread takes memory. */
static void wait_for_all_workers(void)
{
    static wrt_task meeting[WORKERS];
    static int present;

    for (int i = 0; i < WORKERS; i++) {
        const wrt_task_config task = {.struct_size = sizeof task, .run = meet, .context = &present};
        must(wrt_task_init(&meeting[i], &task) == WRT_OK, "task");
        must(wrt_thread_pool_submit(&pool, &meeting[i]) == WRT_OK, "submit");
    }
    for (int i = 0; i < WORKERS; i++) {
        must(wrt_task_join(&meeting[i], UINT64_MAX, NULL, NULL) == WRT_OK, "join");
    }
}

static void use_everything(void)
{
    run_tasks();
    call_guest();
}

int main(int count, char **words)
{
    const wrt_linux_thread_system_config config = {.struct_size = sizeof config};

    must(count > 1, "pool_heap MODULE");
    load(words[1]);
    make_instance();
    must(wrt_linux_thread_system_init(&threads, &config) == WRT_OK, "threads");
    make_executor(wrt_linux_thread_system_interface(&threads));
    make_pool(wrt_linux_thread_system_interface(&threads));
    wait_for_all_workers();
    use_everything(); /* the first round may register with the system's libraries */
    takes_heap = count > 2 && strcmp(words[2], "heap") == 0;
    const unsigned long before = heap_spy_calls();
    for (int round = 0; round < ROUNDS; round++) use_everything();
    printf("%lu\n", heap_spy_calls() - before);
    must(wrt_thread_pool_shutdown(&pool, WRT_SHUTDOWN_DRAIN, UINT64_MAX, NULL) == WRT_OK, "end");
    must(wrt_thread_pool_deinit(&pool) == WRT_OK, "deinit");
    return 0;
}
