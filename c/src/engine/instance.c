/* Instances: what lies where in the caller's buffer, and how it is filled.
 *
 *     pointers to functions, tables, globals | own functions, tables, globals | elements of own
 *     tables | dropped bits | execution | guest stack */
#include "../core/config.h"
#include "../core/fail.h"
#include "execution.h"
#include "link.h"
#include <string.h>

/* Offsets in the buffer. */
typedef struct buffer_plan {
    uint64_t imported_functions, tables, globals;
    uint64_t functions, own_tables, own_globals;
    uint64_t elements, dropped, execution, stack;
    uint64_t bytes;
    uint32_t stack_bytes;
} buffer_plan;

static uint64_t add(uint64_t *bytes, uint64_t count, uint64_t size)
{
    const uint64_t start = *bytes;

    *bytes = (start + count * size + WRT_INSTANCE_BUFFER_ALIGNMENT - 1) &
             ~(uint64_t)(WRT_INSTANCE_BUFFER_ALIGNMENT - 1);
    return start;
}

/* Elements that one of the module's own tables has room for. */
static uint32_t table_capacity(const wrt__table_type *type, uint32_t limit)
{
    uint64_t most = limit;

    if (limit == 0) most = (uint64_t)type->minimum + WRT_INSTANCE_TABLE_HEADROOM;
    return type->maximum < most ? type->maximum : (uint32_t)most;
}

static uint32_t round_up_to_cells(uint32_t bytes)
{
    return (bytes + 7) & ~UINT32_C(7);
}

static wrt_status read_config(const char *operation, const wrt_instance_config *given,
                              wrt_instance_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->module == NULL || !wrt__module_is_ready(config->module)) {
        return wrt_fail(WRT_ERR_STATE, operation, "the module is NULL or not initialised");
    }
    if (config->imports == NULL && config->import_count != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "imports is NULL");
    }
    if (config->maximum_pages > WRT_PAGE_COUNT_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "maximum_pages is {0}, above {1}", config->maximum_pages,
                               WRT_PAGE_COUNT_MAX);
    }
    if (config->stack_size == 0) config->stack_size = WRT_INSTANCE_STACK_SIZE_DEFAULT;
    if (config->stack_size < WRT_INSTANCE_STACK_SIZE_MIN ||
        config->stack_size > WRT_INSTANCE_STACK_SIZE_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "stack_size is {0} bytes, not 512 to {1}", config->stack_size,
                               WRT_INSTANCE_STACK_SIZE_MAX);
    }
    if (config->has_fuel && config->fuel > (uint64_t)INT64_MAX / 2) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "fuel is above INT64_MAX / 2");
    }
    return WRT_OK;
}

static wrt_status make_plan(const char *operation, const wrt_instance_config *config,
                            buffer_plan *plan)
{
    const wrt_module *const module = config->module;
    const wrt_module_usage *const usage = &module->usage;
    uint64_t bytes = 0;

    plan->imported_functions = add(&bytes, usage->imported_function_count, sizeof(void *));
    plan->tables = add(&bytes, usage->table_count, sizeof(void *));
    plan->globals = add(&bytes, usage->global_count, sizeof(void *));
    plan->functions = add(&bytes, wrt__defined_function_count(module), sizeof(wrt_function));
    plan->own_tables =
        add(&bytes, usage->table_count - module->imported_table_count, sizeof(wrt_table));
    plan->own_globals =
        add(&bytes, usage->global_count - module->imported_global_count, sizeof(wrt_global));
    plan->elements = bytes;
    for (uint32_t i = module->imported_table_count; i < usage->table_count; i++) {
        const wrt__table_type *const type = &wrt__tables(module)[i];
        const uint32_t capacity = table_capacity(type, config->maximum_table_elements);
        if (capacity < type->minimum) {
            return wrt_fail_detail(WRT_ERR_LIMIT, operation,
                                   "a table starts with {0} elements, the limit is {1}",
                                   type->minimum, capacity);
        }
        add(&bytes, capacity, sizeof(uint64_t));
    }
    plan->dropped = add(&bytes, ((uint64_t)usage->element_count + usage->data_count + 7) / 8, 1);
    plan->execution = add(&bytes, 1, sizeof(wrt__execution));
    plan->stack_bytes = round_up_to_cells(config->stack_size);
    plan->stack = add(&bytes, plan->stack_bytes, 1);
    plan->bytes = bytes;
    return WRT_OK;
}

wrt_status wrt_instance_layout(const wrt_instance_config *config, wrt_layout *layout_out)
{
    wrt_instance_config known;
    buffer_plan plan;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = make_plan(__func__, &known, &plan);
    if (status != WRT_OK) return status;
    if (plan.bytes > SIZE_MAX) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, __func__,
                               "the instance needs {0} bytes, more than can be addressed",
                               plan.bytes, 0);
    }
    *layout_out = (wrt_layout){(size_t)plan.bytes, WRT_INSTANCE_BUFFER_ALIGNMENT};
    return WRT_OK;
}

static wrt_status check_buffer(const char *operation, const wrt_instance_config *config,
                               const buffer_plan *plan)
{
    if (config->buffer == NULL || (uintptr_t)config->buffer % WRT_INSTANCE_BUFFER_ALIGNMENT != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "buffer is NULL or not 8-byte aligned");
    }
    if (config->buffer_size < plan->bytes) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                               "buffer has {0} bytes, the instance needs {1}", config->buffer_size,
                               plan->bytes);
    }
    return WRT_OK;
}

/* Points the instance's parts into the buffer. */
static void lay_out(wrt_instance *instance, const wrt_instance_config *config,
                    const buffer_plan *plan)
{
    uint8_t *const buffer = config->buffer;

    *instance = (wrt_instance){
        .self = instance,
        .module = config->module,
        .imported_functions = (wrt_function **)(void *)(buffer + plan->imported_functions),
        .functions = (wrt_function *)(void *)(buffer + plan->functions),
        .tables = (wrt_table **)(void *)(buffer + plan->tables),
        .globals = (wrt_global **)(void *)(buffer + plan->globals),
        .dropped = buffer + plan->dropped,
        .execution = buffer + plan->execution,
        .buffer_bytes = (size_t)plan->bytes,
    };
}

static void make_functions(wrt_instance *instance)
{
    for (uint32_t i = 0; i < wrt__defined_function_count(instance->module); i++) {
        instance->functions[i] = (wrt_function){.owner = instance, .index = i};
    }
}

static void make_tables(wrt_instance *instance, const wrt_instance_config *config,
                        const buffer_plan *plan)
{
    uint8_t *const buffer = config->buffer;
    wrt_table *own = (wrt_table *)(void *)(buffer + plan->own_tables);
    uint64_t *elements = (uint64_t *)(void *)(buffer + plan->elements);

    for (uint32_t i = config->module->imported_table_count; i < config->module->usage.table_count;
         i++, own++) {
        const wrt__table_type *const type = &wrt__tables(config->module)[i];
        const uint32_t capacity = table_capacity(type, config->maximum_table_elements);
        *own = (wrt_table){elements, type->minimum, capacity, type->maximum, type->element_type};
        memset(elements, 0, type->minimum * sizeof *elements);
        instance->tables[i] = own;
        elements += capacity;
    }
}

static void make_globals(wrt_instance *instance, const wrt_instance_config *config,
                         const buffer_plan *plan)
{
    uint8_t *const buffer = config->buffer;
    wrt_global *own = (wrt_global *)(void *)(buffer + plan->own_globals);

    for (uint32_t i = config->module->imported_global_count; i < config->module->usage.global_count;
         i++, own++) {
        const wrt__global_type *const type = &wrt__globals(config->module)[i];
        *own = (wrt_global){wrt__evaluate(instance, type->initializer), type->value_type,
                            type->is_mutable};
        instance->globals[i] = own;
    }
}

static wrt_status make_memory(wrt_instance *instance, const wrt_instance_config *config)
{
    const wrt_module *const module = config->module;

    if (module->usage.memory_count == module->imported_memory_count) return WRT_OK;
    wrt_memory_config memory_config = {
        .struct_size = sizeof memory_config,
        .initial_pages = module->memory_minimum,
        .declared_maximum = module->memory_maximum,
        .maximum_pages = config->maximum_pages,
        .allocator = config->allocator,
    };
    if (config->maximum_pages > module->memory_maximum) {
        memory_config.maximum_pages = module->memory_maximum;
    }
    const wrt_status status = wrt_memory_init(&instance->own_memory, &memory_config);
    if (status == WRT_OK) instance->memory = &instance->own_memory;
    return status;
}

static void make_execution(wrt_instance *instance, const wrt_instance_config *config,
                           const buffer_plan *plan)
{
    wrt__execution *const x = wrt__execution_of(instance);
    uint8_t *const stack = (uint8_t *)config->buffer + plan->stack;
    const uint64_t fuel = config->has_fuel ? config->fuel : UINT64_C(1) << WRT__UNBOUNDED;

    *x = (wrt__execution){
        .stack = (wrt_value *)(void *)stack,
        .stack_end = (wrt__frame *)(void *)(stack + plan->stack_bytes),
        .account = (int64_t)fuel,
        .granted = fuel,
        .is_bounded = config->has_fuel,
        .trap = {.function = UINT32_MAX},
    };
    x->sp = x->fp = x->peak_cell = x->stack;
    x->frame = x->peak_frame = x->stack_end;
    wrt__switch_instance(x, instance);
}

/* Element segments, then data segments, each in order; false if one does not fit. */
static bool initialise_segments(wrt_instance *instance)
{
    const wrt_module *const module = instance->module;
    wrt__execution *const x = wrt__execution_of(instance);

    for (uint32_t i = 0; i < module->usage.element_count; i++) {
        const wrt__element_segment *const segment = &wrt__elements(module)[i];
        if (segment->mode == WRT__PASSIVE) continue;
        if (segment->mode == WRT__ACTIVE &&
            !wrt__copy_elements(instance, i, segment->table,
                                wrt__evaluate(instance, segment->offset).i32, 0, segment->count)) {
            x->trap.code = WRT_TRAP_TABLE_OUT_OF_BOUNDS;
            return false;
        }
        wrt__drop_element(instance, i);
    }
    for (uint32_t i = 0; i < module->usage.data_count; i++) {
        const wrt__data_segment *const segment = &wrt__data(module)[i];
        if (segment->mode != WRT__ACTIVE) continue;
        if (!wrt__copy_data(instance, i, wrt__evaluate(instance, segment->offset).i32, 0,
                            segment->size)) {
            x->trap.code = WRT_TRAP_MEMORY_OUT_OF_BOUNDS;
            return false;
        }
        wrt__drop_data(instance, i);
    }
    return true;
}

static wrt_status begin_start_function(wrt_instance *instance)
{
    const uint32_t function = instance->module->usage.start_function;

    if (function == UINT32_MAX) return WRT_OK;
    const wrt_status status =
        wrt_instance_begin(instance, wrt__function_at(instance, function), NULL, 0);
    if (status == WRT_OK) instance->state = WRT__STARTING;
    if (status == WRT_ERR_TRAP) instance->state = WRT__FAILED;
    return status;
}

wrt_status wrt_instance_init(wrt_instance *instance, const wrt_instance_config *config)
{
    wrt_instance_config known;
    wrt_instance before;
    buffer_plan plan;

    if (instance == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "instance is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status == WRT_OK) status = make_plan(__func__, &known, &plan);
    if (status == WRT_OK) status = check_buffer(__func__, &known, &plan);
    if (status != WRT_OK) return status;

    before = *instance;
    lay_out(instance, &known, &plan);
    status = wrt__link(instance, __func__, &known);
    if (status == WRT_OK) status = make_memory(instance, &known);
    if (status != WRT_OK) {
        *instance = before;
        return status;
    }
    memset(instance->dropped, 0, (size_t)(plan.execution - plan.dropped));
    make_functions(instance);
    make_tables(instance, &known, &plan);
    make_globals(instance, &known, &plan);
    make_execution(instance, &known, &plan);
    instance->magic = WRT__INSTANCE_MAGIC;
    instance->state = WRT__IDLE;
    if (!initialise_segments(instance)) {
        instance->state = WRT__FAILED;
        return wrt_fail(WRT_ERR_TRAP, __func__,
                        wrt_trap_text(wrt__execution_of(instance)->trap.code));
    }
    return begin_start_function(instance);
}

wrt_status wrt_instance_deinit(wrt_instance *instance)
{
    if (instance == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "instance is NULL");
    if (instance->magic != WRT__INSTANCE_MAGIC) return WRT_OK;
    if (instance->self != instance) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the instance was moved in memory");
    }
    if (instance->state == WRT__RUNNING) {
        return wrt_fail(WRT_ERR_STATE, __func__, "a call is running");
    }
    const wrt_status status = wrt_memory_deinit(&instance->own_memory);
    if (status == WRT_OK) *instance = (wrt_instance){0};
    return status;
}

wrt_status wrt_instance_memory(wrt_instance *instance, wrt_memory **memory_out)
{
    const wrt_status status = wrt__check_instance(instance, __func__);
    if (status != WRT_OK) return status;
    if (memory_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "memory_out is NULL");
    }
    *memory_out = instance->memory;
    if (instance->memory != NULL) return WRT_OK;
    return wrt_fail(WRT_ERR_NOT_FOUND, __func__, "the module has no memory");
}

wrt_status wrt_instance_export(wrt_instance *instance, const char *name, size_t name_size,
                               wrt_extern *extern_out)
{
    uint32_t kind, index;

    const wrt_status status = wrt__check_instance(instance, __func__);
    if (status != WRT_OK) return status;
    if (extern_out == NULL || (name == NULL && name_size != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "name or extern_out is NULL");
    }
    *extern_out = (wrt_extern){0};
    if (!wrt__find_export(instance->module, name, name_size, &kind, &index)) {
        return wrt_fail(WRT_ERR_NOT_FOUND, __func__, "the module exports nothing of that name");
    }
    extern_out->kind = kind;
    switch (kind) {
    case WRT_EXTERN_FUNCTION:
        extern_out->of.function = wrt__function_at(instance, index);
        break;
    case WRT_EXTERN_TABLE:
        extern_out->of.table = instance->tables[index];
        break;
    case WRT_EXTERN_MEMORY:
        extern_out->of.memory = instance->memory;
        break;
    default:
        extern_out->of.global = instance->globals[index];
        break;
    }
    return WRT_OK;
}
