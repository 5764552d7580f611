// Runs a WASI program inside limits, through the C library alone.
//
//     run [--fuel N] [--timeout-ms N] [--memory-pages N] [--dir HOST::GUEST] MODULE [ARGUMENT...]
//
// The program's output goes where this process's goes. The last line on the standard error is what
// it used, as JSON. The exit code is the program's own, or that of the limit that stopped it.
#include "wrt_platform/instance.h"
#include "wrt_platform/linux/memory.h"
#include "wrt_platform/wasi.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PREOPEN_MAX = 8, GUEST_STACK_SIZE = 1048576 };

enum exit_code {
    EXIT_REFUSED = 2,
    EXIT_TIMED_OUT = 124,
    EXIT_OUT_OF_FUEL = 125,
    EXIT_MEMORY_LIMIT = 126,
    EXIT_TRAPPED = 134,
};

typedef struct options {
    uint64_t fuel;       // 0: no limit
    uint64_t timeout_ns; // 0: no limit
    uint32_t memory_pages;
    wrt_wasi_preopen preopens[PREOPEN_MAX];
    uint32_t preopen_count;
    const char *const *arguments; // of the guest; the module's path comes first
    uint32_t argument_count;
} options;

// All that a running program is made of. The library has no heap: this is all the memory there is,
// beside the linear memory, which the allocator gives.
typedef struct program {
    uint8_t *bytes;
    size_t bytes_size;
    wrt_module module;
    void *module_buffer;
    wrt_linux_allocator allocator;
    wrt_wasi wasi;
    void *wasi_buffer;
    wrt_instance instance;
    void *instance_buffer;
} program;

// Options

static void usage(const char *complaint)
{
    fprintf(stderr,
            "run: %s\nrun [--fuel N] [--timeout-ms N] [--memory-pages N] [--dir HOST::GUEST] "
            "MODULE [ARGUMENT...]\n",
            complaint);
    exit(EXIT_REFUSED);
}

static uint64_t parse_number(const char *text, uint64_t maximum)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != 0) usage("a limit is not a number");
    if (number == 0 || number > maximum) usage("a limit is 0 or too large");
    return number;
}

static void add_preopen(options *self, char *text)
{
    if (self->preopen_count == PREOPEN_MAX) usage("more than 8 folders");
    wrt_wasi_preopen *folder = &self->preopens[self->preopen_count++];
    char *separator = strstr(text, "::");
    folder->host_path = text;
    folder->guest_path = separator != NULL ? separator + 2 : text;
    if (separator != NULL) *separator = 0;
}

static void set_option(options *self, const char *name, char *value)
{
    if (strcmp(name, "--fuel") == 0)
        self->fuel = parse_number(value, INT64_MAX / 2);
    else if (strcmp(name, "--timeout-ms") == 0)
        self->timeout_ns = parse_number(value, UINT64_MAX / 1000000) * 1000000;
    else if (strcmp(name, "--memory-pages") == 0)
        self->memory_pages = (uint32_t)parse_number(value, WRT_PAGE_COUNT_MAX);
    else if (strcmp(name, "--dir") == 0)
        add_preopen(self, value);
    else
        usage("unknown option");
}

static options parse_options(int argument_count, char **arguments)
{
    options parsed = {0};
    int i = 1;
    for (; i < argument_count && strncmp(arguments[i], "--", 2) == 0; i += 2) {
        if (i + 1 == argument_count) usage("an option has no value");
        set_option(&parsed, arguments[i], arguments[i + 1]);
    }
    if (i >= argument_count) usage("no module is given");
    parsed.arguments = (const char *const *)(arguments + i);
    parsed.argument_count = (uint32_t)(argument_count - i);
    return parsed;
}

// Memory and files

static void *allocate(size_t size)
{
    void *memory = malloc(size > 0 ? size : 1);
    if (memory != NULL) return memory;
    fprintf(stderr, "run: no memory for %zu bytes\n", size);
    exit(EXIT_REFUSED);
}

static bool read_file(const char *path, program *into)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "run: %s: %s\n", path, strerror(errno));
        return false;
    }
    size_t room = 65536;
    into->bytes = allocate(room);
    for (size_t got = 1; got > 0; into->bytes_size += got) {
        if (into->bytes_size == room) {
            into->bytes = realloc(into->bytes, room *= 2);
            if (into->bytes == NULL) usage("the module is larger than the memory");
        }
        got = fread(into->bytes + into->bytes_size, 1, room - into->bytes_size, file);
    }
    bool whole = ferror(file) == 0;
    if (!whole) fprintf(stderr, "run: %s: %s\n", path, strerror(errno));
    fclose(file);
    return whole;
}

// Preparing. Each step asks the library how much memory it wants, and hands it in.

static wrt_status load_module(program *self)
{
    wrt_module_config config = {0};
    config.struct_size = sizeof config;
    config.bytes = self->bytes;
    config.bytes_size = self->bytes_size;
    wrt_layout layout;
    wrt_status status = wrt_module_layout(&config, &layout);
    if (status != WRT_OK) return status;
    self->module_buffer = config.buffer = allocate(layout.bytes);
    config.buffer_size = layout.bytes;
    return wrt_module_init(&self->module, &config);
}

static wrt_status prepare_wasi(program *self, const options *asked)
{
    wrt_wasi_config config = {0};
    config.struct_size = sizeof config;
    config.arguments = asked->arguments;
    config.argument_count = asked->argument_count;
    config.preopens = asked->preopens;
    config.preopen_count = asked->preopen_count;
    config.standard_input = 0;
    config.standard_output = 1;
    config.standard_error = 2;
    config.has_standard_input = config.has_standard_output = config.has_standard_error = true;
    wrt_layout layout;
    wrt_status status = wrt_wasi_layout(&config, &layout);
    if (status != WRT_OK) return status;
    self->wasi_buffer = config.buffer = allocate(layout.bytes);
    config.buffer_size = layout.bytes;
    return wrt_wasi_init(&self->wasi, &config);
}

static wrt_status prepare_allocator(program *self)
{
    wrt_linux_allocator_config config = {0};
    config.struct_size = sizeof config;
    config.guard_pages = true;
    return wrt_linux_allocator_init(&self->allocator, &config);
}

static void print_missing_imports(const wrt_instance_config *config)
{
    uint32_t index;
    wrt_name from;
    wrt_name name;
    wrt_extern_type type;
    for (uint32_t next = 0;; next = index + 1) {
        if (wrt_instance_missing_import(config, next, &index) != WRT_OK) return;
        if (wrt_module_import(config->module, index, &from, &name, &type) != WRT_OK) return;
        fprintf(stderr, "run: nothing to import as %.*s.%.*s\n", (int)from.size, from.text,
                (int)name.size, name.text);
    }
}

static wrt_status instantiate(program *self, const options *limits)
{
    wrt_instance_config config = {0};
    config.struct_size = sizeof config;
    config.module = &self->module;
    config.allocator = wrt_linux_allocator_interface(&self->allocator);
    config.maximum_pages = limits->memory_pages;
    config.stack_size = GUEST_STACK_SIZE;
    config.has_fuel = limits->fuel > 0;
    config.fuel = limits->fuel;
    wrt_status status = wrt_wasi_imports(&self->wasi, &config.imports, &config.import_count);
    if (status != WRT_OK) return status;
    wrt_layout layout;
    status = wrt_instance_layout(&config, &layout);
    if (status != WRT_OK) return status;
    self->instance_buffer = config.buffer = allocate(layout.bytes);
    config.buffer_size = layout.bytes;
    status = wrt_instance_init(&self->instance, &config);
    if (status == WRT_ERR_LINK) print_missing_imports(&config);
    return status;
}

static wrt_status prepare(program *self, const options *asked)
{
    wrt_status status = load_module(self);
    if (status == WRT_OK) status = prepare_wasi(self, asked);
    if (status == WRT_OK) status = prepare_allocator(self);
    if (status == WRT_OK) status = instantiate(self, asked);
    return status;
}

// Running

static wrt_status refuse(const char *reason)
{
    fprintf(stderr, "run: %s\n", reason);
    return WRT_ERR_NOT_FOUND;
}

static wrt_status run(program *self, const options *limits)
{
    wrt_status status = wrt_instance_start(&self->instance, limits->timeout_ns);
    if (status != WRT_OK) return status;
    wrt_extern start;
    status = wrt_instance_export(&self->instance, "_start", strlen("_start"), &start);
    if (status != WRT_OK) return status;
    if (start.kind != WRT_EXTERN_FUNCTION) return refuse("_start is not a function");
    wrt_call call = {0};
    call.struct_size = sizeof call;
    call.function = start.of.function;
    call.timeout_ns = limits->timeout_ns;
    return wrt_instance_call(&self->instance, &call);
}

static int exit_code_of(const program *self, wrt_status status)
{
    uint32_t code = 0;
    switch (status) {
    case WRT_OK:
        return 0;
    case WRT_ERR_EXIT:
        return wrt_wasi_exit_code(&self->wasi, &code) == WRT_OK ? (int)code : 0;
    case WRT_ERR_TRAP:
        return EXIT_TRAPPED;
    case WRT_ERR_OUT_OF_FUEL:
        return EXIT_OUT_OF_FUEL;
    case WRT_ERR_TIMED_OUT:
        return EXIT_TIMED_OUT;
    case WRT_ERR_LIMIT:
        return EXIT_MEMORY_LIMIT;
    default:
        return EXIT_REFUSED;
    }
}

static const char *word_for(wrt_status status)
{
    switch (status) {
    case WRT_OK:
    case WRT_ERR_EXIT:
        return "exited";
    case WRT_ERR_TRAP:
        return "trapped";
    case WRT_ERR_OUT_OF_FUEL:
        return "out of fuel";
    case WRT_ERR_TIMED_OUT:
        return "timed out";
    case WRT_ERR_LIMIT:
        return "memory limit";
    default:
        return "refused";
    }
}

// Reporting

static void print_trap(const program *self)
{
    wrt_trap trap;
    wrt_name name = {0};
    if (wrt_instance_trap(&self->instance, &trap) != WRT_OK) return;
    fprintf(stderr, "run: the program trapped: %s", wrt_trap_text(trap.code));
    if (trap.module != NULL) {
        if (wrt_module_function_name(trap.module, trap.function, &name) == WRT_OK)
            fprintf(stderr, ", in %.*s", (int)name.size, name.text);
        fprintf(stderr, ", at byte %" PRIu32 " of the module", trap.offset);
    }
    fputc('\n', stderr);
}

static void print_failure(const program *self, wrt_status status)
{
    char sentence[300];
    if (status == WRT_OK || status == WRT_ERR_EXIT) return;
    if (status == WRT_ERR_TRAP) {
        print_trap(self);
        return;
    }
    if (wrt_error_last()->status != status) return; // it has been told already
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "run: %s\n", sentence);
}

static uint64_t now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void print_usage(const program *self, wrt_status status, uint64_t wall_ns, uint64_t cpu_ns)
{
    wrt_instance_usage used = {0};
    if (wrt_instance_query(&self->instance, &used) != WRT_OK) used.fuel_used = 0;
    fprintf(stderr,
            "{\"exit_code\":%d,\"fuel_used\":%" PRIu64 ",\"peak_pages\":%" PRIu32
            ",\"wall_ns\":%" PRIu64 ",\"cpu_ns\":%" PRIu64 ",\"status\":\"%s\"}\n",
            exit_code_of(self, status), used.fuel_used, used.memory_peak_pages, wall_ns, cpu_ns,
            word_for(status));
}

// Zeroed objects are accepted by every deinit, so this also cleans up after half a preparation.
static void clean_up(program *self)
{
    wrt_status refused = wrt_instance_deinit(&self->instance);
    refused |= wrt_wasi_deinit(&self->wasi);
    refused |= wrt_module_deinit(&self->module);
    refused |= wrt_linux_allocator_deinit(&self->allocator);
    if (refused != WRT_OK) fputs("run: something was not given back\n", stderr);
    free(self->instance_buffer);
    free(self->wasi_buffer);
    free(self->module_buffer);
    free(self->bytes);
}

int main(int argument_count, char **arguments)
{
    static program guest; // instances must not be moved
    options asked = parse_options(argument_count, arguments);
    uint64_t wall_start = now(CLOCK_MONOTONIC);
    uint64_t cpu_start = now(CLOCK_PROCESS_CPUTIME_ID);
    wrt_status status = WRT_ERR_NOT_FOUND;
    if (read_file(asked.arguments[0], &guest)) status = prepare(&guest, &asked);
    if (status == WRT_OK) status = run(&guest, &asked);
    print_failure(&guest, status);
    print_usage(&guest, status, now(CLOCK_MONOTONIC) - wall_start,
                now(CLOCK_PROCESS_CPUTIME_ID) - cpu_start);
    int code = exit_code_of(&guest, status);
    clean_up(&guest);
    return code;
}
