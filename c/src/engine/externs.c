/* Memories, tables, globals and host functions: what can be made without a module, and imported. */
#include "../core/config.h"
#include "../core/fail.h"
#include "execution.h"

static bool is_reference_type(uint32_t type)
{
    return type == WRT_FUNCREF || type == WRT_EXTERNREF;
}

static bool is_value_type(uint32_t type)
{
    return (type >= WRT_F64 && type <= WRT_I32) || is_reference_type(type);
}

static bool are_value_types(const uint8_t *types, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!is_value_type(types[i])) return false;
    }
    return true;
}

wrt_status wrt_host_function_init(wrt_host_function *function,
                                  const wrt_host_function_config *config)
{
    wrt_host_function_config known;

    if (function == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "function is NULL");
    const wrt_status status = wrt__config_read(__func__, config, &known, sizeof known);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(known.reserved, sizeof known.reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__, "reserved bytes of the config are not 0");
    }
    if (known.call == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "call is NULL");
    if (known.parameter_count > WRT_MODULE_PARAMETER_MAX ||
        known.result_count > WRT_MODULE_PARAMETER_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "more than 1000 parameters ({0}) or results ({1})",
                               known.parameter_count, known.result_count);
    }
    if ((known.parameters == NULL && known.parameter_count != 0) ||
        (known.results == NULL && known.result_count != 0) ||
        !are_value_types(known.parameters, known.parameter_count) ||
        !are_value_types(known.results, known.result_count)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "parameters or results hold a byte that is no wrt_value_type");
    }
    *function = (wrt_host_function){
        .function = {.owner = function, .is_host = 1},
        .type = {known.parameters, known.results, known.parameter_count, known.result_count},
        .call = known.call,
        .context = known.context,
        .name = known.name,
    };
    return WRT_OK;
}

wrt_status wrt_function_query(const wrt_function *function, wrt_function_type *type_out)
{
    if (function == NULL || type_out == NULL || function->owner == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "function or type_out is NULL, or the function is not initialised");
    }
    if (function->is_host != 0) {
        const wrt_host_function *const host = function->owner;
        *type_out = host->type;
    } else {
        const wrt_instance *const instance = function->owner;
        *type_out = wrt__function_type(instance->module,
                                       wrt__codes(instance->module)[function->index].type);
    }
    return WRT_OK;
}

wrt_status wrt_memory_init(wrt_memory *memory, const wrt_memory_config *config)
{
    wrt_memory_config known;

    if (memory == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "memory is NULL");
    const wrt_status read = wrt__config_read(__func__, config, &known, sizeof known);
    if (read != WRT_OK) return read;
    if (known.declared_maximum != UINT32_MAX && known.declared_maximum < known.initial_pages) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "initial_pages ({0}) is above declared_maximum ({1})",
                               known.initial_pages, known.declared_maximum);
    }
    uint32_t maximum = known.maximum_pages;
    if (maximum == 0) {
        const uint32_t most = known.initial_pages > WRT_INSTANCE_PAGES_DEFAULT
                                  ? known.initial_pages
                                  : WRT_INSTANCE_PAGES_DEFAULT;
        maximum = known.declared_maximum < most ? known.declared_maximum : most;
    }
    if (known.initial_pages > maximum) {
        return wrt_fail_detail(WRT_ERR_LIMIT, __func__,
                               "the memory starts with {0} pages of 64 KiB, the limit is {1}",
                               known.initial_pages, maximum);
    }
    wrt_pages pages;
    const wrt_status status =
        wrt_page_allocator_allocate(&known.allocator, known.initial_pages, maximum, &pages);
    if (status != WRT_OK) return status;
    *memory = (wrt_memory){
        .base = pages.base,
        .bytes = (uint64_t)known.initial_pages * WRT_PAGE_SIZE,
        .page_count = known.initial_pages,
        .declared_maximum = known.declared_maximum,
        .peak_pages = known.initial_pages,
        .allocator = known.allocator,
        .pages = pages,
    };
    return WRT_OK;
}

wrt_status wrt_memory_grow(wrt_memory *memory, uint32_t additional_pages, uint32_t *old_pages_out)
{
    if (memory == NULL || old_pages_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "memory or old_pages_out is NULL");
    }
    const uint64_t wanted = (uint64_t)memory->page_count + additional_pages;
    if (wanted > memory->declared_maximum || wanted > memory->pages.maximum_pages) {
        return wrt_fail_detail(WRT_ERR_LIMIT, __func__,
                               "{0} pages of 64 KiB are asked for, {1} are reserved", wanted,
                               memory->pages.maximum_pages);
    }
    const wrt_status status =
        wrt_page_allocator_grow(&memory->allocator, &memory->pages, additional_pages);
    if (status != WRT_OK) return status;
    *old_pages_out = memory->page_count;
    memory->page_count = (uint32_t)wanted;
    memory->bytes = wanted * WRT_PAGE_SIZE;
    if (memory->peak_pages < memory->page_count) memory->peak_pages = memory->page_count;
    return WRT_OK;
}

uint32_t wrt__memory_grow(wrt_memory *memory, uint32_t additional_pages)
{
    uint32_t old_pages;

    if (wrt_memory_grow(memory, additional_pages, &old_pages) == WRT_OK) return old_pages;
    memory->refused_growths++;
    return UINT32_MAX;
}

wrt_status wrt_memory_deinit(wrt_memory *memory)
{
    if (memory == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "memory is NULL");
    if (memory->allocator.ops == NULL) return WRT_OK;
    const wrt_status status = wrt_page_allocator_deallocate(&memory->allocator, &memory->pages);
    if (status == WRT_OK) *memory = (wrt_memory){0};
    return status;
}

wrt_status wrt_table_init(wrt_table *table, const wrt_table_config *config)
{
    wrt_table_config known;

    if (table == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "table is NULL");
    const wrt_status status = wrt__config_read(__func__, config, &known, sizeof known);
    if (status != WRT_OK) return status;
    if (!is_reference_type(known.element_type)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "element_type is {0}, not WRT_FUNCREF or WRT_EXTERNREF",
                               known.element_type, 0);
    }
    if (known.declared_maximum < known.initial_elements) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "initial_elements ({0}) is above declared_maximum ({1})",
                               known.initial_elements, known.declared_maximum);
    }
    if (known.buffer_size / sizeof *known.buffer < known.initial_elements ||
        (uintptr_t)known.buffer % WRT_INSTANCE_BUFFER_ALIGNMENT != 0) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, __func__,
                               "buffer has {0} bytes, {1} elements need 8 each, 8-byte aligned",
                               known.buffer_size, known.initial_elements);
    }
    const size_t room = known.buffer_size / sizeof *known.buffer;
    *table = (wrt_table){
        .elements = known.buffer,
        .element_count = known.initial_elements,
        .capacity = room < UINT32_MAX ? (uint32_t)room : UINT32_MAX,
        .declared_maximum = known.declared_maximum,
        .element_type = known.element_type,
    };
    for (uint32_t i = 0; i < table->element_count; i++) table->elements[i] = known.initial_value;
    return WRT_OK;
}

wrt_status wrt_table_get(const wrt_table *table, uint32_t index, uint64_t *reference_out)
{
    if (table == NULL || reference_out == NULL || index >= table->element_count) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "table or reference_out is NULL, or index {0} is outside", index, 0);
    }
    *reference_out = table->elements[index];
    return WRT_OK;
}

wrt_status wrt_table_set(wrt_table *table, uint32_t index, uint64_t reference)
{
    if (table == NULL || index >= table->element_count) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "table is NULL, or index {0} is outside", index, 0);
    }
    table->elements[index] = reference;
    return WRT_OK;
}

uint32_t wrt__table_grow(wrt_table *table, uint32_t additional_elements, uint64_t reference)
{
    const uint32_t old_count = table->element_count;
    const uint64_t wanted = (uint64_t)old_count + additional_elements;

    if (wanted > table->declared_maximum || wanted > table->capacity) return UINT32_MAX;
    for (uint32_t i = old_count; i < wanted; i++) table->elements[i] = reference;
    table->element_count = (uint32_t)wanted;
    return old_count;
}

wrt_status wrt_table_grow(wrt_table *table, uint32_t additional_elements, uint64_t reference,
                          uint32_t *old_count_out)
{
    if (table == NULL || old_count_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "table or old_count_out is NULL");
    }
    const uint32_t old_count = wrt__table_grow(table, additional_elements, reference);
    if (old_count == UINT32_MAX) {
        return wrt_fail_detail(WRT_ERR_LIMIT, __func__,
                               "{0} more elements are asked for, there is room for {1} in all",
                               additional_elements, table->capacity);
    }
    *old_count_out = old_count;
    return WRT_OK;
}

wrt_status wrt_global_init(wrt_global *global, uint32_t value_type, bool is_mutable,
                           wrt_value value)
{
    if (global == NULL || !is_value_type(value_type)) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, __func__,
                               "global is NULL, or value_type {0} is no wrt_value_type", value_type,
                               0);
    }
    *global = (wrt_global){value, value_type, is_mutable};
    return WRT_OK;
}

wrt_status wrt_global_set(wrt_global *global, wrt_value value)
{
    if (global == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "global is NULL");
    if (global->is_mutable == 0) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the global is immutable");
    }
    global->value = value;
    return WRT_OK;
}
