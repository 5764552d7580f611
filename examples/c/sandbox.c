// Runs a WASI program in a process that has sealed itself, and says what stands round it:
//
//     sandbox PROGRAM.wasm [ARGUMENT...]
//
// The program's bytes are looked at in that process alone. It ends within five seconds.
#include "wrt_platform/linux/sandbox.h"
#include "wrt_platform/wasi.h"
#include <stdio.h>
#include <stdlib.h>

enum { ROOM = 16 << 20, REFUSED = 2, TIMED_OUT = 124, CRASHED = 139 };

static uint8_t module_bytes[ROOM];

// For what has no business failing here.
static void must(wrt_status status)
{
    char sentence[300];

    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "sandbox: %s\n", sentence);
    exit(REFUSED);
}

static size_t read_module(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(REFUSED);
    }
    const size_t size = fread(module_bytes, 1, sizeof module_bytes, file);
    fclose(file);
    return size;
}

// This terminal as its input and output, and no folder.
static void *open_system(wrt_wasi *wasi, int argument_count, char **arguments)
{
    wrt_wasi_config config = {0};
    wrt_layout layout;

    config.struct_size = sizeof config;
    config.arguments = (const char *const *)arguments;
    config.argument_count = (uint32_t)argument_count;
    config.has_standard_input = config.has_standard_output = config.has_standard_error = true;
    config.standard_output = 1;
    config.standard_error = 2;
    must(wrt_wasi_layout(&config, &layout));
    config.buffer = malloc(layout.bytes);
    config.buffer_size = layout.bytes;
    must(wrt_wasi_init(wasi, &config));
    return config.buffer;
}

static void print_wall(const char *name, const wrt_enforcement *wall)
{
    static const char *const states[] = {"not asked", "enforced", "partial", "absent"};

    fprintf(stderr, "%-18s %-9s %s\n", name, states[wall->state], wall->reason);
}

static void print_walls(wrt_sandbox *sandbox)
{
    wrt_sandbox_report report;

    must(wrt_sandbox_query(sandbox, &report));
    print_wall("system calls", &report.system_calls);
    print_wall("no new privileges", &report.no_new_privileges);
    print_wall("unobservable", &report.unobservable);
    print_wall("resource limits", &report.resource_limits);
    print_wall("life line", &report.life_line);
    print_wall("Landlock", &report.landlock);
}

static int run(wrt_sandbox *sandbox, wrt_wasi *wasi)
{
    wrt_sandbox_call call = {0};
    uint32_t code = 0;

    call.struct_size = sizeof call;
    call.name = "_start";
    call.name_size = 6;
    call.timeout_ns = 5000000000;
    const wrt_status status = wrt_sandbox_run(sandbox, &call);
    if (status == WRT_ERR_EXIT) {
        must(wrt_wasi_exit_code(wasi, &code));
        return (int)(code & 0xFF);
    }
    if (status == WRT_ERR_TIMED_OUT) return TIMED_OUT;
    if (status == WRT_ERR_CRASHED) return CRASHED;
    must(status);
    return 0;
}

int main(int argument_count, char **arguments)
{
    wrt_sandbox_config config = {0};
    wrt_sandbox_guest guest = {0};
    wrt_sandbox sandbox = {0};
    wrt_wasi wasi = {0};

    if (argument_count < 2) {
        fprintf(stderr, "usage: sandbox PROGRAM.wasm [ARGUMENT...]\n");
        return REFUSED;
    }
    config.struct_size = sizeof config;
    config.maximum_pages = 1024;               // 64 MiB
    must(wrt_sandbox_init(&sandbox, &config)); // it is sealed, and nothing has reached it
    print_walls(&sandbox);

    void *buffer = open_system(&wasi, argument_count - 1, arguments + 1);
    guest.struct_size = sizeof guest;
    guest.bytes_size = read_module(arguments[1]);
    guest.bytes = module_bytes;
    guest.stack_size = 1 << 20;
    must(wrt_wasi_imports(&wasi, &guest.imports, &guest.import_count));
    must(wrt_sandbox_load(&sandbox, &guest, 0));
    const int code = run(&sandbox, &wasi);
    must(wrt_sandbox_deinit(&sandbox));
    must(wrt_wasi_deinit(&wasi));
    free(buffer);
    return code;
}
