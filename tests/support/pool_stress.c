/* A pool used from many threads, for ThreadSanitizer. Each task writes a plain field that its
 * submitter reads after the join: so whatever order the pool does not give is a race.
 *
 *     pool_stress tasks ROUNDS          submits, batches, cancels, a full queue, resubmits
 *     pool_stress wasm ROUNDS MODULE    calls and endless loops that are cancelled, on two
 * instances pool_stress unjoined ROUNDS       reads without a join: a race that must be found
 */
#include "wrt_platform/linux/memory.h"
#include "wrt_platform/linux/threading.h"
#include "wrt_platform/threading.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUBMITTERS = 3, TASKS = 8, WORKERS = 3, INSTANCES = 2 };

typedef struct job {
    wrt_task task;
    unsigned value;
    unsigned result; /* plain on purpose */
} job;

typedef struct submitter {
    pthread_t thread;
    job jobs[TASKS];
    wrt_wasm_task tasks[TASKS];
    unsigned seed;
    unsigned long long ran, cancelled, refused;
} submitter;

static wrt_linux_thread_system threads;
static wrt_thread_pool pool;
static void *pool_buffer;
static int rounds;
static int joins = 1;
static wrt_instance instances[INSTANCES];
static wrt_module module;
static wrt_instance_executor executor;
static wrt_linux_allocator pages;

static void must(wrt_status status)
{
    char text[400];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), text, sizeof text);
    fprintf(stderr, "status %d: %s\n", status, text);
    exit(1);
}

static void expect(int is_so, const char *what)
{
    if (is_so) return;
    fprintf(stderr, "not so: %s\n", what);
    exit(1);
}

static void *room(wrt_layout layout)
{
    return calloc(layout.bytes / 8 + 1, 8);
}

static void make_pool(wrt_executor served, uint32_t capacity)
{
    wrt_linux_thread_system_config system = {.struct_size = sizeof system};
    wrt_thread_pool_config config = {.struct_size = sizeof config,
                                     .max_threads = WORKERS,
                                     .queue_capacity = capacity,
                                     .spin = 50,
                                     .spare_threads = 2,
                                     .executor = served};
    wrt_layout layout;

    if (threads.self == NULL) must(wrt_linux_thread_system_init(&threads, &system));
    config.system = wrt_linux_thread_system_interface(&threads);
    must(wrt_thread_pool_layout(&config, &layout));
    config.buffer = pool_buffer = room(layout);
    config.buffer_size = layout.bytes;
    must(wrt_thread_pool_init(&pool, &config));
}

static unsigned random_number(submitter *own)
{
    own->seed = own->seed * 1664525u + 1013904223u;
    return own->seed >> 16;
}

/* It may be done already. */
static void cancel(wrt_task *task)
{
    const wrt_status status = wrt_task_cancel(task);
    expect(status == WRT_OK || status == WRT_ERR_STATE, "a cancel comes in time or too late");
}

/* ---- Plain tasks ---- */

static wrt_status square(void *context)
{
    job *own = context;

    own->result = own->value * own->value;
    return (wrt_status)(own->value % 3);
}

static void collect(submitter *own, job *done)
{
    wrt_status outcome;

    if (joins == 0) {
        own->ran += done->result;
        return;
    }
    must(wrt_task_join(&done->task, UINT64_MAX, NULL, &outcome));
    if (outcome == WRT_ERR_INTERRUPTED && done->result == 0) {
        own->cancelled++;
        return;
    }
    expect(outcome == (wrt_status)(done->value % 3), "the outcome is what run returned");
    expect(done->result == done->value * done->value, "the result is there after the join");
    own->ran++;
}

static void submit_round(submitter *own)
{
    wrt_task *batch[TASKS];
    uint32_t submitted = 0;

    for (int i = 0; i < TASKS; i++) {
        own->jobs[i].value = random_number(own);
        own->jobs[i].result = 0;
        batch[i] = &own->jobs[i].task;
    }
    if (random_number(own) % 2 == 0) {
        const wrt_status status = wrt_thread_pool_submit_batch(&pool, batch, TASKS, &submitted);
        expect(status == WRT_OK || status == WRT_ERR_BUSY, "only a full queue refuses");
    }
    own->refused += submitted == 0 ? 0 : TASKS - submitted;
    for (; submitted < TASKS; submitted++) {
        wrt_status status;
        while ((status = wrt_thread_pool_submit(&pool, batch[submitted])) == WRT_ERR_BUSY) {
            own->refused++;
        }
        must(status);
    }
    if (random_number(own) % 4 == 0) cancel(&own->jobs[0].task);
    for (int i = 0; i < TASKS; i++) collect(own, &own->jobs[i]);
}

static void *submit_rounds(void *context)
{
    submitter *own = context;

    for (int i = 0; i < TASKS; i++) {
        const wrt_task_config config = {.struct_size = sizeof config,
                                        .priority = (uint32_t)(1 + i % 3),
                                        .run = square,
                                        .context = &own->jobs[i]};
        must(wrt_task_init(&own->jobs[i].task, &config));
    }
    for (int i = 0; i < rounds && (joins != 0 || i == 0); i++) submit_round(own);
    return NULL;
}

/* ---- Wasm tasks ---- */

static void make_instance(wrt_instance *instance)
{
    wrt_instance_config config = {.struct_size = sizeof config, .module = &module};
    wrt_layout layout;

    config.allocator = wrt_linux_allocator_interface(&pages);
    must(wrt_instance_layout(&config, &layout));
    config.buffer = room(layout);
    config.buffer_size = layout.bytes;
    must(wrt_instance_init(instance, &config));
    must(wrt_instance_start(instance, 0));
}

static void load(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(65536);
    wrt_module_config config = {.struct_size = sizeof config, .bytes = bytes};
    wrt_linux_allocator_config linux_config = {.struct_size = sizeof linux_config};
    wrt_layout layout;

    expect(file != NULL, "the module can be read");
    config.bytes_size = fread(bytes, 1, 65536, file);
    fclose(file);
    must(wrt_module_layout(&config, &layout));
    config.buffer = room(layout);
    config.buffer_size = layout.bytes;
    must(wrt_module_init(&module, &config));
    must(wrt_linux_allocator_init(&pages, &linux_config));
    for (int i = 0; i < INSTANCES; i++) make_instance(&instances[i]);
}

static wrt_function *find(wrt_instance *instance, const char *name)
{
    wrt_extern found;

    must(wrt_instance_export(instance, name, strlen(name), &found));
    return found.of.function;
}

static void make_executor(void)
{
    static wrt_executor_function functions[INSTANCES * 2];
    wrt_instance_executor_config config = {
        .struct_size = sizeof config, .function_count = INSTANCES * 2, .functions = functions};
    wrt_linux_thread_system_config system = {.struct_size = sizeof system};
    wrt_layout layout;

    for (uint32_t i = 0; i < INSTANCES; i++) {
        functions[2 * i] =
            (wrt_executor_function){2 * i, 0, &instances[i], find(&instances[i], "add")};
        functions[2 * i + 1] =
            (wrt_executor_function){2 * i + 1, 0, &instances[i], find(&instances[i], "spin")};
    }
    must(wrt_linux_thread_system_init(&threads, &system));
    config.system = wrt_linux_thread_system_interface(&threads);
    must(wrt_instance_executor_layout(&config, &layout));
    config.buffer = room(layout);
    config.buffer_size = layout.bytes;
    must(wrt_instance_executor_init(&executor, &config));
}

/* A worker that is stopped while it takes a task can make the queue look full for others. */
static void spawn(const wrt_wasm_task_config *config, wrt_wasm_task *task)
{
    wrt_status status;

    while ((status = wrt_thread_pool_spawn_wasm_thread(&pool, config, task)) == WRT_ERR_BUSY) {
        sched_yield();
    }
    must(status);
}

/* Adding tasks must return their sum whatever is cancelled around them. */
static void call_round(submitter *own)
{
    wrt_value args[TASKS][2] = {{{0}}};
    wrt_value results[TASKS] = {{0}};

    for (uint32_t i = 0; i < TASKS; i++) {
        const int spins = random_number(own) % 4 == 0;
        args[i][0].i32 = random_number(own);
        args[i][1].i32 = random_number(own);
        wrt_wasm_task_config config = {.struct_size = sizeof config,
                                       .function_id = 2 * (i % INSTANCES) + (uint32_t)spins,
                                       .id = spins                         ? 1
                                             : random_number(own) % 3 == 0 ? 2
                                                                           : 0,
                                       .args = args[i],
                                       .args_count = spins ? 0 : 2,
                                       .results = &results[i],
                                       .results_count = spins ? 0 : 1};
        spawn(&config, &own->tasks[i]);
        if (config.id != 0) cancel(&own->tasks[i].task);
    }
    for (uint32_t i = 0; i < TASKS; i++) {
        wrt_wasm_outcome outcome;
        must(wrt_wasm_task_join(&own->tasks[i], UINT64_MAX, NULL, &outcome));
        if (outcome.id == 1) {
            expect(outcome.status == WRT_ERR_INTERRUPTED, "an endless loop was cancelled");
            own->cancelled++;
        } else if (outcome.id == 2 && outcome.status == WRT_ERR_INTERRUPTED) {
            own->cancelled++;
        } else {
            expect(outcome.status == WRT_OK, "nobody else's cancel hits an addition");
            expect(results[i].i32 == args[i][0].i32 + args[i][1].i32, "the sum is right");
            own->ran++;
        }
    }
}

static void *call_rounds(void *context)
{
    for (int i = 0; i < rounds; i++) call_round(context);
    return NULL;
}

/* ---- All of it ---- */

static void run_submitters(void *(*work)(void *))
{
    static submitter all[SUBMITTERS];
    unsigned long long ran = 0, cancelled = 0;
    wrt_thread_pool_report report;
    uint32_t left;

    for (unsigned i = 0; i < SUBMITTERS; i++) {
        all[i].seed = i + 1;
        pthread_create(&all[i].thread, NULL, work, &all[i]);
    }
    for (int i = 0; i < SUBMITTERS; i++) {
        pthread_join(all[i].thread, NULL);
        ran += all[i].ran;
        cancelled += all[i].cancelled;
    }
    must(wrt_thread_pool_shutdown(&pool, WRT_SHUTDOWN_DRAIN, UINT64_MAX, &left));
    must(wrt_thread_pool_query(&pool, &report));
    expect(report.finished == report.submitted, "what was submitted has finished");
    expect(left == 0 && report.threads == 0, "no worker is left");
    must(wrt_thread_pool_deinit(&pool));
    must(wrt_linux_thread_system_deinit(&threads));
    printf("ran %llu cancelled %llu\n", ran, cancelled);
}

int main(int count, char **words)
{
    const char *mode = count > 1 ? words[1] : "tasks";

    rounds = count > 2 ? atoi(words[2]) : 100;
    if (strcmp(mode, "wasm") == 0) {
        load(words[3]);
        make_executor();
        make_pool(wrt_instance_executor_interface(&executor), 64);
        run_submitters(call_rounds);
        return 0;
    }
    joins = strcmp(mode, "unjoined") != 0;
    make_pool((wrt_executor){0}, 16);
    run_submitters(submit_rounds);
    return 0;
}
