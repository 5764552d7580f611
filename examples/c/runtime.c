// Threads of a module within limits, with a watchdog, on Linux and on QNX (simulated here).
//
//     runtime [linux|qnx]
//
// The systems differ in three objects: threads, page allocator, and who pays for the memory. All
// the rest is the same for both. examples/python/runtime.py says the same.
#include "wrt_platform/runtime.h"
#include "wrt_platform/linux/memory.h"
#include "wrt_platform/linux/threading.h"
#include "wrt_platform/qnx/memory.h"
#include "wrt_platform/qnx/partition.h"
#include "wrt_platform/qnx/threading.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SUM = 1, GROW, SPIN, FUNCTION_COUNT = SPIN }; // the numbers by which tasks name functions
enum { MODULE_ID = 1, MAXIMUM = 4 << 20, THREADS = 2 };

#define SECONDS      UINT64_C(1000000000)
#define MILLISECONDS UINT64_C(1000000)

// (module
//   (memory 1 1000)
//   (func (export "sum") (param $to i32) (result i32) (local $sum i32)
//     (loop $again
//       (local.set $sum (i32.add (local.get $sum) (local.get $to)))
//       (br_if $again (local.tee $to (i32.sub (local.get $to) (i32.const 1)))))
//     (local.get $sum))
//   (func (export "grow") (param $pages i32) (result i32)
//     (memory.grow (local.get $pages)))
//   (func (export "spin")
//     (loop $again (br $again))))
static const uint8_t guest[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x09, 0x02, 0x60, 0x01, 0x7f, 0x01,
    0x7f, 0x60, 0x00, 0x00, 0x03, 0x04, 0x03, 0x00, 0x00, 0x01, 0x05, 0x05, 0x01, 0x01, 0x01,
    0xe8, 0x07, 0x07, 0x15, 0x03, 0x03, 0x73, 0x75, 0x6d, 0x00, 0x00, 0x04, 0x67, 0x72, 0x6f,
    0x77, 0x00, 0x01, 0x04, 0x73, 0x70, 0x69, 0x6e, 0x00, 0x02, 0x0a, 0x2a, 0x03, 0x19, 0x01,
    0x01, 0x7f, 0x03, 0x40, 0x20, 0x01, 0x20, 0x00, 0x6a, 0x21, 0x01, 0x20, 0x00, 0x41, 0x01,
    0x6b, 0x22, 0x00, 0x0d, 0x00, 0x0b, 0x20, 0x01, 0x0b, 0x06, 0x00, 0x20, 0x00, 0x40, 0x00,
    0x0b, 0x07, 0x00, 0x03, 0x40, 0x0c, 0x00, 0x0b, 0x0b, 0x00, 0x31, 0x04, 0x6e, 0x61, 0x6d,
    0x65, 0x02, 0x15, 0x02, 0x00, 0x02, 0x00, 0x02, 0x74, 0x6f, 0x01, 0x03, 0x73, 0x75, 0x6d,
    0x01, 0x01, 0x00, 0x05, 0x70, 0x61, 0x67, 0x65, 0x73, 0x03, 0x13, 0x02, 0x00, 0x01, 0x00,
    0x05, 0x61, 0x67, 0x61, 0x69, 0x6e, 0x02, 0x01, 0x00, 0x05, 0x61, 0x67, 0x61, 0x69, 0x6e,
};

// What a runtime stands on.
typedef struct ground {
    const char *name;
    wrt_thread_system system;
    wrt_page_allocator allocator;
    wrt_memory_account *account; // NULL: the partition pays
    wrt_enforcement isolation;
    wrt_enforcement memory_limit;
} ground;

typedef struct linux_ground {
    wrt_linux_thread_system threads;
    wrt_linux_allocator allocator;
    wrt_memory_account account;
} linux_ground;

typedef struct qnx_ground {
    wrt_qnx_thread_system threads;
    wrt_qnx_partition partition;
    wrt_qnx_allocator allocator;
} qnx_ground;

// The library has no heap: this is all the memory there is, beside the guests' own.
static uint64_t module_buffer[1024];
static uint64_t executor_buffer[65536];
static uint64_t manager_buffer[65536];

typedef struct parts {
    wrt_module module;
    wrt_module_executor executor;
    wrt_instance_config instance; // how instances are made; the executor borrows it
    wrt_runtime runtime;
} parts;

static wrt_status report_failure(wrt_status status)
{
    char sentence[300];
    if (status == WRT_OK) return status;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "runtime: %s\n", sentence);
    return status;
}

// Setting up

static wrt_status load_module(wrt_module *module)
{
    wrt_module_config config = {0};
    config.struct_size = sizeof config;
    config.bytes = guest;
    config.bytes_size = sizeof guest;
    config.buffer = module_buffer;
    config.buffer_size = sizeof module_buffer;
    return wrt_module_init(module, &config);
}

// Each task gets an instance of its own.
static wrt_status make_executor(parts *self, wrt_thread_system system)
{
    static const char *const names[FUNCTION_COUNT] = {"sum", "grow", "spin"};
    wrt_executor_export exports[FUNCTION_COUNT] = {{0}};
    for (uint32_t i = 0; i < FUNCTION_COUNT; i++) {
        exports[i].function_id = i + 1;
        exports[i].name = names[i];
        exports[i].name_size = (uint32_t)strlen(names[i]);
        exports[i].instance = &self->instance;
    }
    self->instance.struct_size = sizeof self->instance;
    self->instance.module = &self->module;
    wrt_module_executor_config config = {0};
    config.struct_size = sizeof config;
    config.exports = exports;
    config.export_count = FUNCTION_COUNT;
    config.slots = THREADS;
    config.system = system;
    config.buffer = executor_buffer;
    config.buffer_size = sizeof executor_buffer;
    return wrt_module_executor_init(&self->executor, &config);
}

static wrt_thread_pool_config pool_of(parts *self, const ground *on)
{
    wrt_thread_pool_config config = {0};
    config.struct_size = sizeof config;
    config.max_threads = THREADS;
    config.name_prefix = "wasm-worker";
    config.system = on->system;
    config.page_allocator = on->allocator;
    config.executor = wrt_module_executor_interface(&self->executor);
    return config;
}

static wrt_thread_manager_config manager_of(const wrt_thread_pool_config *pool)
{
    wrt_thread_manager_config config = {0};
    config.struct_size = sizeof config;
    config.threads = pool;
    config.limits.struct_size = sizeof config.limits;
    config.limits.max_total_threads = 8;
    config.limits.cpu_quota_per_thread_ns = 100 * MILLISECONDS;
    config.check_interval_ns = 20 * MILLISECONDS;
    config.module_capacity = 1;
    config.buffer = manager_buffer;
    config.buffer_size = sizeof manager_buffer;
    return config;
}

static wrt_status start_runtime(parts *self, const ground *on)
{
    wrt_thread_pool_config pool = pool_of(self, on);
    wrt_thread_manager_config manager = manager_of(&pool);
    wrt_watchdog_config watchdog = {0};
    watchdog.struct_size = sizeof watchdog;
    watchdog.default_timeout_ns = 5 * SECONDS;
    watchdog.auto_kill = true;
    wrt_runtime_config config = {0};
    config.struct_size = sizeof config;
    config.threads = &manager;
    config.watchdog = &watchdog;
    config.account = on->account;
    config.isolation = on->isolation;
    config.memory_limit = on->memory_limit;
    return wrt_runtime_init(&self->runtime, &config);
}

static wrt_status register_module(parts *self)
{
    wrt_wasm_module_info info = {0};
    info.struct_size = sizeof info;
    info.id = MODULE_ID;
    info.name = "critical_module";
    return wrt_thread_manager_register_module(&self->runtime.thread_manager, &info);
}

static wrt_status set_up(parts *self, const ground *on)
{
    wrt_status status = load_module(&self->module);
    if (status == WRT_OK) status = make_executor(self, on->system);
    if (status == WRT_OK) status = start_runtime(self, on);
    if (status == WRT_OK) status = register_module(self);
    return status;
}

// Zeroed objects are accepted by every deinit, so this also cleans up after half a set-up.
static wrt_status take_down(parts *self)
{
    wrt_status status = WRT_OK;
    if (self->runtime.magic != 0)
        status = wrt_runtime_shutdown(&self->runtime, WRT_SHUTDOWN_DRAIN, 10 * SECONDS);
    if (status == WRT_OK) status = wrt_runtime_deinit(&self->runtime);
    if (status == WRT_OK) status = wrt_module_executor_deinit(&self->executor);
    if (status == WRT_OK) status = wrt_module_deinit(&self->module);
    return status;
}

// What the module may do, and what it may not

// Runs a function on a thread of the module, and says how it ended. *result is what it returned.
static wrt_status call(parts *self, uint32_t function, const int32_t *argument, int32_t *result,
                       uint32_t *killed_for)
{
    static wrt_managed_thread thread; // not to be moved
    wrt_value given = {0};
    wrt_value returned = {0};
    wrt_wasm_outcome outcome;
    wrt_wasm_task_config task = {0};
    task.struct_size = sizeof task;
    task.function_id = function;
    task.args = &given;
    task.results = &returned;
    task.args_count = task.results_count = argument != NULL;
    if (argument != NULL) given.i32 = (uint32_t)*argument;
    memset(&thread, 0, sizeof thread);
    wrt_status status =
        wrt_thread_manager_spawn(&self->runtime.thread_manager, MODULE_ID, &task, &thread);
    if (status == WRT_OK)
        status = wrt_managed_thread_join(&thread, 10 * SECONDS, NULL, &outcome, killed_for);
    if (status == WRT_OK) *result = (int32_t)returned.i32;
    return report_failure(status);
}

static int32_t result_of(parts *self, uint32_t function, int32_t argument)
{
    int32_t result = 0;
    uint32_t killed_for;
    return call(self, function, &argument, &result, &killed_for) == WRT_OK ? result : INT32_MIN;
}

static const char *reason_of(parts *self, uint32_t function)
{
    int32_t nothing;
    uint32_t killed_for = WRT_THREAD_HEALTHY;
    if (call(self, function, NULL, &nothing, &killed_for) != WRT_OK) return "nobody";
    return killed_for == WRT_THREAD_CPU_QUOTA_EXCEEDED ? "its CPU time" : "nothing";
}

static void show(parts *self, const char *name)
{
    printf("%s: the sum of 1 to 1000 is %" PRId32 "\n", name, result_of(self, SUM, 1000));
    bool granted = result_of(self, GROW, 15) == 1;
    bool refused = result_of(self, GROW, 500) == -1;
    printf("%s: 15 pages more: %s, 500: %s\n", name, granted ? "granted" : "no",
           refused ? "refused" : "no");
    printf("%s: a loop without end is stopped for %s\n", name, reason_of(self, SPIN));
    printf("%s: the sum of 1 to 1000 is %" PRId32 "\n", name, result_of(self, SUM, 1000));
}

static wrt_status run_on(const ground *on, wrt_enforcement *isolation_out)
{
    static parts made;
    wrt_runtime_report report;
    memset(&made, 0, sizeof made);
    wrt_status status = set_up(&made, on);
    if (status == WRT_OK) {
        show(&made, on->name);
        status = wrt_runtime_query(&made.runtime, &report);
        *isolation_out = report.isolation;
    }
    report_failure(status);
    wrt_status ended = report_failure(take_down(&made));
    return status == WRT_OK ? ended : status;
}

static void print_use(const char *name, uint64_t peak, wrt_enforcement isolation)
{
    static const char *const states[] = {"not asked", "enforced", "partial", "absent"};
    printf("%s: %" PRIu64 " bytes of %d were used; isolation: %s\n", name, peak, MAXIMUM,
           states[isolation.state]);
}

// Linux: an account pays

static wrt_status prepare_linux(linux_ground *self)
{
    wrt_linux_thread_system_config threads = {0};
    threads.struct_size = sizeof threads;
    wrt_status status = wrt_linux_thread_system_init(&self->threads, &threads);
    if (status != WRT_OK) return status;
    wrt_memory_account_config account = {0};
    account.struct_size = sizeof account;
    account.maximum = MAXIMUM;
    account.system = wrt_linux_thread_system_interface(&self->threads);
    status = wrt_memory_account_init(&self->account, &account);
    if (status != WRT_OK) return status;
    wrt_linux_allocator_config allocator = {0};
    allocator.struct_size = sizeof allocator;
    allocator.guard_pages = true;
    return wrt_linux_allocator_init(&self->allocator, &allocator);
}

static wrt_status end_linux(linux_ground *self)
{
    wrt_status status = wrt_linux_allocator_deinit(&self->allocator);
    if (status == WRT_OK) status = wrt_memory_account_deinit(&self->account);
    if (status == WRT_OK) status = wrt_linux_thread_system_deinit(&self->threads);
    return status;
}

static wrt_status on_linux(void)
{
    static linux_ground below;
    wrt_memory_account_usage usage;
    ground on = {.name = "linux", .account = &below.account};
    wrt_status status = prepare_linux(&below);
    if (report_failure(status) == WRT_OK) {
        on.system = wrt_linux_thread_system_interface(&below.threads);
        on.allocator = wrt_linux_allocator_interface(&below.allocator);
        wrt_enforcement isolation;
        status = run_on(&on, &isolation);
        if (status == WRT_OK) status = wrt_memory_account_query(&below.account, &usage);
        if (status == WRT_OK) print_use(on.name, usage.peak, isolation);
    }
    wrt_status ended = report_failure(end_linux(&below));
    return status == WRT_OK ? ended : status;
}

// QNX: a partition pays

static wrt_status prepare_qnx(qnx_ground *self)
{
    wrt_qnx_thread_system_config threads = {0};
    threads.struct_size = sizeof threads;
    wrt_status status = wrt_qnx_thread_system_init(&self->threads, &threads);
    if (status != WRT_OK) return status;
    wrt_qnx_partition_config partition = {0};
    partition.struct_size = sizeof partition;
    partition.name = "wasm_runtime";
    partition.flags = WRT_QNX_PARTITION_MEMORY_ISOLATION;
    partition.isolation = WRT_QNX_ISOLATION_ADDRESS;
    partition.minimum_bytes = 1 << 20;
    partition.maximum_bytes = MAXIMUM;
    status = wrt_qnx_partition_init(&self->partition, &partition);
    if (status != WRT_OK) return status;
    wrt_qnx_allocator_config allocator = {0};
    allocator.struct_size = sizeof allocator;
    allocator.guard_pages = true;
    allocator.partition = &self->partition;
    return wrt_qnx_allocator_init(&self->allocator, &allocator);
}

static wrt_status end_qnx(qnx_ground *self)
{
    wrt_status status = wrt_qnx_allocator_deinit(&self->allocator);
    if (status == WRT_OK) status = wrt_qnx_partition_deinit(&self->partition);
    if (status == WRT_OK) status = wrt_qnx_thread_system_deinit(&self->threads);
    return status;
}

static wrt_status run_on_qnx(qnx_ground *below)
{
    wrt_qnx_partition_report report;
    wrt_status status = wrt_qnx_partition_query(&below->partition, &report);
    if (status != WRT_OK) return status;
    ground on = {.name = "qnx", .isolation = report.isolation, .memory_limit = report.maximum};
    on.system = wrt_qnx_thread_system_interface(&below->threads);
    on.allocator = wrt_qnx_allocator_interface(&below->allocator);
    wrt_enforcement isolation;
    status = run_on(&on, &isolation);
    if (status == WRT_OK) status = wrt_qnx_partition_query(&below->partition, &report);
    if (status == WRT_OK) print_use(on.name, report.peak_bytes, isolation);
    return status;
}

static wrt_status on_qnx(void)
{
    static qnx_ground below;
    wrt_status status = prepare_qnx(&below);
    if (report_failure(status) == WRT_OK) status = run_on_qnx(&below);
    wrt_status ended = report_failure(end_qnx(&below));
    return status == WRT_OK ? ended : status;
}

int main(int argument_count, char **arguments)
{
    const char *wanted = argument_count > 1 ? arguments[1] : "both";
    bool both = strcmp(wanted, "both") == 0;
    bool linux_wanted = both || strcmp(wanted, "linux") == 0;
    bool qnx_wanted = both || strcmp(wanted, "qnx") == 0;
    if (argument_count > 2 || (!linux_wanted && !qnx_wanted)) {
        fputs("runtime [linux|qnx]\n", stderr);
        return 2;
    }
    if (linux_wanted && on_linux() != WRT_OK) return 1;
    return qnx_wanted && on_qnx() != WRT_OK ? 1 : 0;
}
