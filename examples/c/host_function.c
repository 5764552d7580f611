// A module that calls a function of this program, and a trap that is caught.
//
// The module is small enough to stand here as bytes. As text it would be:
//
//     (import "host" "measure" (func $measure (param i32) (result i32)))
//     (func (export "average") (param $count i32) (result i32)
//         ... adds up $measure(0) to $measure($count - 1)
//         (i32.div_u (local.get $sum) (local.get $count)))
//
// It needs no linear memory, hence no allocator: all it has is a few hundred bytes of ours.
#include "wrt_platform/instance.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

// clang-format off
static const uint8_t module_bytes[] = {
    // "\0asm", version 1
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
    // types: 0 is (i32) -> i32
    0x01, 0x06, 0x01, 0x60, 0x01, 0x7f, 0x01, 0x7f,
    // imports: host.measure, of type 0
    0x02, 0x10, 0x01, 0x04, 0x68, 0x6f, 0x73, 0x74, 0x07, 0x6d, 0x65, 0x61, 0x73, 0x75, 0x72,
    0x65, 0x00, 0x00,
    // functions: one, of type 0
    0x03, 0x02, 0x01, 0x00,
    // exports: average
    0x07, 0x0b, 0x01, 0x07, 0x61, 0x76, 0x65, 0x72, 0x61, 0x67, 0x65, 0x00, 0x01,
    // code
    0x0a, 0x2a, 0x01, 0x28, 0x01, 0x02, 0x7f, 0x02, 0x40, 0x03, 0x40, 0x20, 0x01, 0x20, 0x00,
    0x46, 0x0d, 0x01, 0x20, 0x02, 0x20, 0x01, 0x10, 0x00, 0x6a, 0x21, 0x02, 0x20, 0x01, 0x41,
    0x01, 0x6a, 0x21, 0x01, 0x0c, 0x00, 0x0b, 0x0b, 0x20, 0x02, 0x20, 0x00, 0x6e, 0x0b,
};
// clang-format on

static uint64_t module_buffer[128];
static uint64_t instance_buffer[512];

enum { GUEST_STACK_SIZE = 1024 };

// The host's side: the guest's argument comes in values[0], the answer goes there.
static wrt_status measure(void *context, wrt_instance *caller, wrt_value *values)
{
    const uint32_t *samples = context;
    (void)caller;
    if (values[0].i32 >= 4) return WRT_ERR_HOST; // ends the guest's call with just this
    values[0].i32 = samples[values[0].i32];
    return WRT_OK;
}

// For what has no business failing here.
static void must(wrt_status status)
{
    char sentence[300];
    if (status == WRT_OK) return;
    wrt_error_format(wrt_error_last(), sentence, sizeof sentence);
    fprintf(stderr, "host_function: %s\n", sentence);
    exit(1);
}

static void load(wrt_module *module)
{
    wrt_module_config config = {0};
    config.struct_size = sizeof config;
    config.bytes = module_bytes;
    config.bytes_size = sizeof module_bytes;
    config.buffer = module_buffer;
    config.buffer_size = sizeof module_buffer;
    must(wrt_module_init(module, &config));
}

static void define(wrt_host_function *function, uint32_t *samples)
{
    static const uint8_t number[] = {WRT_I32};
    wrt_host_function_config config = {0};
    config.struct_size = sizeof config;
    config.parameters = number;
    config.parameter_count = 1;
    config.results = number;
    config.result_count = 1;
    config.call = measure;
    config.context = samples;
    config.name = "measure";
    must(wrt_host_function_init(function, &config));
}

static void instantiate(wrt_instance *instance, const wrt_module *module,
                        wrt_host_function *function)
{
    wrt_import import = {0};
    import.module = "host";
    import.name = "measure";
    import.value.kind = WRT_EXTERN_FUNCTION;
    import.value.of.function = &function->function;
    wrt_instance_config config = {0};
    config.struct_size = sizeof config;
    config.module = module;
    config.imports = &import;
    config.import_count = 1;
    config.stack_size = GUEST_STACK_SIZE;
    config.buffer = instance_buffer;
    config.buffer_size = sizeof instance_buffer;
    must(wrt_instance_init(instance, &config));
    must(wrt_instance_start(instance, 0));
}

static wrt_status average(wrt_instance *instance, uint32_t count, uint32_t *average_out)
{
    wrt_extern found;
    must(wrt_instance_export(instance, "average", 7, &found));
    wrt_value argument = {0};
    wrt_value result = {0};
    argument.i32 = count;
    wrt_call call = {0};
    call.struct_size = sizeof call;
    call.function = found.of.function;
    call.arguments = &argument;
    call.argument_count = 1;
    call.results = &result;
    call.result_count = 1;
    wrt_status status = wrt_instance_call(instance, &call);
    *average_out = result.i32;
    return status;
}

static void print_trap(const wrt_instance *instance)
{
    wrt_trap trap;
    wrt_name name;
    must(wrt_instance_trap(instance, &trap));
    must(wrt_module_function_name(trap.module, trap.function, &name));
    printf("of none: %s, in %.*s, at byte %" PRIu32 "\n", wrt_trap_text(trap.code), (int)name.size,
           name.text, trap.offset);
}

int main(void)
{
    static uint32_t samples[] = {18, 21, 24, 21};
    static wrt_instance instance; // must not be moved
    static wrt_host_function function;
    wrt_module module;
    uint32_t mean;
    load(&module);
    define(&function, samples);
    instantiate(&instance, &module, &function);
    must(average(&instance, 4, &mean));
    printf("of four: %" PRIu32 "\n", mean);
    if (average(&instance, 0, &mean) != WRT_ERR_TRAP) return 1;
    print_trap(&instance); // the instance is as good as before
    if (average(&instance, 5, &mean) != WRT_ERR_HOST) return 1;
    printf("of five: the host has no fifth sample\n");
    must(average(&instance, 3, &mean));
    printf("of three: %" PRIu32 "\n", mean);
    must(wrt_instance_deinit(&instance));
    must(wrt_module_deinit(&module));
    return 0;
}
