/* Feeds a module to the engine, cut off after each byte and then damaged at random. Whatever is
 * accepted is linked and run for a while. Built with sanitizers, which end the program at the first
 * wrong access: the bytes, and every buffer, are heap blocks of just the size that was asked for.
 *
 *     hostile MODULE SEED MUTATIONS
 *
 * prints how many cases there were of each kind. */
#include "wrt_platform/instance.h"
#include "wrt_platform/linux/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IMPORTS_MAX = 64,
    PAGES_MAX = 16,
    ELEMENTS_MAX = 4096,
    STACK_BYTES = 16384,
    VALUES_MAX = WRT_MODULE_PARAMETER_MAX,
    FUEL = 3000,
    CHANGES_MAX = 4,
    CHUNK_MAX = 24
};

typedef struct tally {
    unsigned long malformed;
    unsigned long invalid;
    unsigned long unsupported;
    unsigned long valid;
    unsigned long linked;
    unsigned long calls;
} tally;

typedef struct import_slot {
    wrt_host_function function;
    wrt_table table;
    wrt_memory memory;
    wrt_global global;
    char *module_name;
    char *name;
    uint64_t *elements;
} import_slot;

static wrt_linux_allocator allocator;
static wrt_page_allocator pages;
static tally seen;
static import_slot slots[IMPORTS_MAX];
static wrt_import imports[IMPORTS_MAX];
static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % limit;
}

static void require(int condition, const char *what)
{
    char text[400];

    if (condition) return;
    wrt_error_format(wrt_error_last(), text, sizeof text);
    fprintf(stderr, "%s; the last failure was: %s\n", what, text);
    abort();
}

/* A block that ends where its contents do, so that a sanitizer sees the first byte beyond. */
static void *exact_copy(const void *bytes, size_t size)
{
    void *copy = malloc(size == 0 ? 1 : size);

    require(copy != NULL, "no memory");
    memcpy(copy, bytes, size);
    return copy;
}

static char *text_of(wrt_name name)
{
    char *text = malloc(name.size + 1);

    require(text != NULL, "no memory");
    memcpy(text, name.text, name.size);
    text[name.size] = '\0';
    return text;
}

static wrt_status answer_zero(void *context, wrt_instance *caller, wrt_value *values)
{
    (void)context, (void)caller;
    values[0].i64 = 0;
    return WRT_OK;
}

static int make_function(import_slot *slot, const wrt_function_type *type)
{
    wrt_host_function_config config;

    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    config.parameters = type->parameters;
    config.parameter_count = type->parameter_count;
    config.results = type->results;
    config.result_count = type->result_count;
    config.call = answer_zero;
    return type->result_count <= 1 && wrt_host_function_init(&slot->function, &config) == WRT_OK;
}

static int make_table(import_slot *slot, const wrt_extern_type *type)
{
    wrt_table_config config;

    if (type->minimum > ELEMENTS_MAX) return 0;
    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    config.element_type = type->value_type;
    config.initial_elements = type->minimum;
    config.declared_maximum = type->maximum;
    config.buffer_size = (type->minimum + 1) * sizeof(uint64_t);
    config.buffer = slot->elements = malloc(config.buffer_size);
    return wrt_table_init(&slot->table, &config) == WRT_OK;
}

static int make_memory(import_slot *slot, const wrt_extern_type *type)
{
    wrt_memory_config config;

    if (type->minimum > PAGES_MAX) return 0;
    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    config.initial_pages = type->minimum;
    config.declared_maximum = type->maximum;
    config.maximum_pages = PAGES_MAX;
    config.allocator = pages;
    return wrt_memory_init(&slot->memory, &config) == WRT_OK;
}

/* Makes what an import asks for; false if it asks for too much. */
static int make_import(const wrt_module *module, uint32_t index)
{
    import_slot *slot = &slots[index];
    wrt_import *import = &imports[index];
    wrt_value zero = {0};
    wrt_name module_name;
    wrt_name name;
    wrt_extern_type type;

    require(wrt_module_import(module, index, &module_name, &name, &type) == WRT_OK, "import");
    import->module = slot->module_name = text_of(module_name);
    import->name = slot->name = text_of(name);
    import->value.kind = type.kind;
    switch (type.kind) {
    case WRT_EXTERN_FUNCTION:
        import->value.of.function = &slot->function.function;
        return make_function(slot, &type.function);
    case WRT_EXTERN_TABLE:
        import->value.of.table = &slot->table;
        return make_table(slot, &type);
    case WRT_EXTERN_MEMORY:
        import->value.of.memory = &slot->memory;
        return make_memory(slot, &type);
    default:
        import->value.of.global = &slot->global;
        return wrt_global_init(&slot->global, type.value_type, type.is_mutable != 0, zero) ==
               WRT_OK;
    }
}

static void drop_imports(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        require(wrt_memory_deinit(&slots[i].memory) == WRT_OK, "memory remains");
        free(slots[i].module_name);
        free(slots[i].name);
        free(slots[i].elements);
    }
    memset(slots, 0, sizeof slots);
    memset(imports, 0, sizeof imports);
}

static void call_export(wrt_instance *instance, const wrt_module *module, uint32_t index)
{
    static wrt_value arguments[VALUES_MAX];
    static wrt_value results[VALUES_MAX];
    wrt_extern_type type;
    wrt_extern value;
    wrt_name name;
    wrt_call call;

    require(wrt_module_export(module, index, &name, &type) == WRT_OK, "export");
    require(wrt_instance_export(instance, name.text, name.size, &value) == WRT_OK,
            "export by name");
    require(value.kind == type.kind, "kind of export");
    if (type.kind != WRT_EXTERN_FUNCTION) return;
    require(wrt_instance_set_fuel(instance, true, FUEL) == WRT_OK, "fuel");
    memset(&call, 0, sizeof call);
    call.struct_size = sizeof call;
    call.function = value.of.function;
    call.arguments = arguments;
    call.argument_count = type.function.parameter_count;
    call.results = results;
    call.result_count = type.function.result_count;
    if (wrt_instance_call(instance, &call) == WRT_ERR_OUT_OF_FUEL) {
        require(wrt_instance_abort(instance) == WRT_OK, "abort");
    }
    memset(arguments, 0, sizeof arguments);
    seen.calls++;
}

static void run(const wrt_module *module, const wrt_module_usage *usage,
                wrt_instance_config *config)
{
    wrt_instance instance = {0};
    wrt_layout layout;

    if (wrt_instance_layout(config, &layout) != WRT_OK) return;
    config->buffer = malloc(layout.bytes);
    config->buffer_size = layout.bytes;
    const wrt_status status = wrt_instance_init(&instance, config);
    require(status != WRT_ERR_NO_MEMORY || wrt_error_last()->os_code != 0, "layout too small");
    if (status == WRT_OK) {
        seen.linked++;
        if (wrt_instance_start(&instance, 0) == WRT_ERR_OUT_OF_FUEL) {
            require(wrt_instance_abort(&instance) == WRT_OK, "abort");
        }
        for (uint32_t i = 0; i < usage->export_count; i++) call_export(&instance, module, i);
    }
    if (status == WRT_OK || status == WRT_ERR_TRAP) {
        require(wrt_instance_deinit(&instance) == WRT_OK, "deinit");
    }
    free(config->buffer);
}

static void link_and_run(const wrt_module *module, const wrt_module_usage *usage)
{
    wrt_instance_config config;
    int is_possible = usage->import_count <= IMPORTS_MAX;
    const uint32_t count = is_possible ? usage->import_count : 0;

    for (uint32_t i = 0; i < count; i++) is_possible &= make_import(module, i);
    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    config.module = module;
    config.imports = imports;
    config.import_count = count;
    config.allocator = pages;
    config.maximum_pages = PAGES_MAX;
    config.maximum_table_elements = ELEMENTS_MAX;
    config.stack_size = STACK_BYTES;
    config.has_fuel = true;
    config.fuel = FUEL;
    if (is_possible) run(module, usage, &config);
    drop_imports(count);
}

/* Asks everything that can be asked about a module. */
static void inspect(const wrt_module *module, const wrt_module_usage *usage)
{
    wrt_name module_name;
    wrt_name name;
    wrt_extern_type type;
    wrt_function_type function;

    for (uint32_t i = 0; i < usage->import_count; i++) {
        require(wrt_module_import(module, i, &module_name, &name, &type) == WRT_OK, "import");
    }
    for (uint32_t i = 0; i < usage->export_count; i++) {
        require(wrt_module_export(module, i, &name, &type) == WRT_OK, "export");
    }
    for (uint32_t i = 0; i < usage->function_count; i += 1 + usage->function_count / 16) {
        require(wrt_module_function_type(module, i, &function) == WRT_OK, "function type");
        const wrt_status status = wrt_module_function_name(module, i, &name);
        require(status == WRT_OK || status == WRT_ERR_NOT_FOUND, "function name");
    }
}

/* The least buffer that init says it needs must do, and one word less must not. */
static void load_in_least_buffer(wrt_module_config config, const wrt_module_usage *usage)
{
    wrt_module module;
    wrt_module_usage again;

    config.buffer_size = usage->init_bytes;
    config.buffer = malloc(usage->init_bytes == 0 ? 1 : usage->init_bytes);
    require(wrt_module_init(&module, &config) == WRT_OK, "init in init_bytes");
    require(wrt_module_query(&module, &again) == WRT_OK, "query");
    require(memcmp(&again, usage, sizeof again) == 0, "usage differs the second time");
    free(config.buffer);
    if (usage->init_bytes < 4) return;
    config.buffer_size = usage->init_bytes - 4;
    config.buffer = malloc(config.buffer_size == 0 ? 1 : config.buffer_size);
    require(wrt_module_init(&module, &config) == WRT_ERR_NO_MEMORY, "init_bytes is too much");
    free(config.buffer);
}

static void count_refusal(wrt_status status, size_t size)
{
    const wrt_error *error = wrt_error_last();

    require(error->detail[0] <= size, "the offset is not in the module");
    seen.malformed += status == WRT_ERR_MALFORMED;
    seen.invalid += status == WRT_ERR_INVALID_MODULE;
    seen.unsupported += status == WRT_ERR_UNSUPPORTED;
    require(status == WRT_ERR_MALFORMED || status == WRT_ERR_INVALID_MODULE ||
                status == WRT_ERR_UNSUPPORTED,
            "refused in another way");
}

static void load(const wrt_module_config *config, size_t size)
{
    wrt_module module;
    wrt_module_usage usage;
    const wrt_status status = wrt_module_init(&module, config);

    if (status != WRT_OK) {
        count_refusal(status, size);
        return;
    }
    seen.valid++;
    require(wrt_module_query(&module, &usage) == WRT_OK, "query");
    require(usage.buffer_bytes <= usage.init_bytes, "more is kept than was needed");
    require(usage.init_bytes <= config->buffer_size, "more was needed than there was");
    load_in_least_buffer(*config, &usage);
    inspect(&module, &usage);
    link_and_run(&module, &usage);
    require(wrt_module_deinit(&module) == WRT_OK, "deinit");
}

static void try(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = exact_copy(bytes, size);
    wrt_module_config config;
    wrt_layout layout;

    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    config.bytes = copy;
    config.bytes_size = size;
    const wrt_status status = wrt_module_layout(&config, &layout);
    if (status == WRT_OK) {
        require(layout.bytes <= 64 * size + 1000000, "layout asks for too much");
        config.buffer = malloc(layout.bytes == 0 ? 1 : layout.bytes);
        config.buffer_size = layout.bytes;
        load(&config, size);
        free(config.buffer);
    } else {
        count_refusal(status, size);
    }
    free(copy);
}

/* One change at a place; those that keep the length keep more of the module well-formed. */
static size_t change(uint8_t *bytes, size_t size)
{
    static const uint8_t numbers[][6] = {{0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 5},
                                         {0x80, 0x80, 0x80, 0x80, 0x08, 5},
                                         {0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 5},
                                         {0x80, 0x00, 0, 0, 0, 2},
                                         {0xFF, 0xFF, 0x03, 0, 0, 3}};
    const size_t at = random_below((uint32_t)size);
    const size_t room = size - at;
    size_t chunk = 1 + random_below(CHUNK_MAX);
    const uint8_t *number = numbers[random_below(sizeof numbers / sizeof numbers[0])];

    if (chunk > room) chunk = room;
    switch (random_below(16)) {
    case 0:
        memmove(bytes + at, bytes + at + chunk, room - chunk);
        return size - chunk > 8 ? size - chunk : size;
    case 1:
        memmove(bytes + at + chunk, bytes + at, room);
        return size + chunk;
    case 2:
        memmove(bytes + at, bytes + random_below((uint32_t)(size - chunk + 1)), chunk);
        return size;
    case 3:
        memcpy(bytes + at, number, number[5] < room ? number[5] : room);
        return size;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
        bytes[at] = (uint8_t)(bytes[at] + 1 - 2 * random_below(2));
        return size;
    case 9:
    case 10:
    case 11:
        bytes[at] ^= (uint8_t)(1u << random_below(8));
        return size;
    default:
        bytes[at] = (uint8_t)random_below(256);
        return size;
    }
}

static void mutate(const uint8_t *bytes, size_t size, uint8_t *changed)
{
    size_t changed_size = size;

    memcpy(changed, bytes, size);
    for (uint32_t left = 1 + random_below(2) * random_below(CHANGES_MAX); left > 0; left--) {
        changed_size = change(changed, changed_size);
    }
    try(changed, changed_size);
}

static uint8_t *read_file(const char *path, size_t *size_out)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes;

    require(file != NULL && fseek(file, 0, SEEK_END) == 0, path);
    *size_out = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(*size_out);
    require(fread(bytes, 1, *size_out, file) == *size_out, path);
    fclose(file);
    return bytes;
}

int main(int argument_count, char **arguments)
{
    wrt_linux_allocator_config config;
    size_t size;

    require(argument_count == 4, "usage: hostile MODULE SEED MUTATIONS");
    uint8_t *bytes = read_file(arguments[1], &size);
    uint8_t *changed = malloc(size + CHANGES_MAX * CHUNK_MAX);
    random_state = strtoull(arguments[2], NULL, 0);
    const unsigned long mutations = strtoul(arguments[3], NULL, 0);
    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    require(wrt_linux_allocator_init(&allocator, &config) == WRT_OK, "allocator");
    pages = wrt_linux_allocator_interface(&allocator);

    try(bytes, size);
    require(seen.valid == 1 && seen.calls != 0, "the module itself does not run");
    for (size_t i = 0; i < size; i++) try(bytes, i);
    for (unsigned long i = 0; i < mutations; i++) mutate(bytes, size, changed);
    require(wrt_linux_allocator_deinit(&allocator) == WRT_OK, "pages remain");
    free(bytes);
    free(changed);
    printf("{\"malformed\": %lu, \"invalid\": %lu, \"unsupported\": %lu, \"valid\": %lu, "
           "\"linked\": %lu, \"calls\": %lu}\n",
           seen.malformed, seen.invalid, seen.unsupported, seen.valid, seen.linked, seen.calls);
    return 0;
}
