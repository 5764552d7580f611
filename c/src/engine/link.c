/* Linking: by name first, then by type as the specification's import matching has it. */
#include "link.h"

#include "../core/fail.h"
#include "execution.h"

static bool names_are_equal(const wrt_name *name, const char *text)
{
    for (size_t i = 0; i < name->size; i++) {
        if (text[i] == '\0' || text[i] != name->text[i]) return false;
    }
    return text[name->size] == '\0';
}

/* The last one of these names; NULL if there is none. */
static const wrt_extern *find_import(const wrt_instance_config *config, const wrt_name *module,
                                     const wrt_name *name)
{
    for (uint32_t i = config->import_count; i > 0; i--) {
        const wrt_import *const import = &config->imports[i - 1];
        if (import->module != NULL && import->name != NULL && names_are_equal(name, import->name) &&
            names_are_equal(module, import->module)) {
            return &import->value;
        }
    }
    return NULL;
}

/* Index of the first import from `first` on that nobody gives; import_count if all are there. */
static uint32_t first_missing(const wrt_instance_config *config, uint32_t first)
{
    const uint32_t count = config->module->usage.import_count;
    wrt__import_cursor cursor = {.offset = config->module->import_offset};
    wrt_name module_name, name;
    wrt_extern_type type;

    for (uint32_t i = 0; i < count; i++) {
        wrt__next_import(config->module, &cursor, &module_name, &name, &type);
        if (i >= first && find_import(config, &module_name, &name) == NULL) return i;
    }
    return count;
}

wrt_status wrt_instance_missing_import(const wrt_instance_config *config, uint32_t index,
                                       uint32_t *missing_out)
{
    if (config == NULL || missing_out == NULL || config->module == NULL ||
        (config->imports == NULL && config->import_count != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__,
                        "config, its module or imports, or missing_out is NULL");
    }
    if (!wrt__module_is_ready(config->module)) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the module is not initialised");
    }
    *missing_out = first_missing(config, index);
    if (*missing_out < config->module->usage.import_count) return WRT_OK;
    return wrt_fail(WRT_ERR_NOT_FOUND, __func__, "every import is there");
}

static wrt_status fail_missing(const char *operation, const wrt_instance_config *config)
{
    const uint32_t count = config->module->usage.import_count;
    const uint32_t first = first_missing(config, 0);
    uint32_t missing = 0;

    for (uint32_t i = first; i < count; i = first_missing(config, i + 1)) missing++;
    return wrt_fail_detail(WRT_ERR_LINK, operation,
                           "unknown import: number {0} is not there, {1} are missing in all", first,
                           missing);
}

/* At least as large, and not allowed to become larger, than the module asks for. */
static bool limits_fit(const wrt_extern_type *wanted, uint32_t size, uint32_t maximum)
{
    return size >= wanted->minimum && (wanted->maximum == UINT32_MAX || maximum <= wanted->maximum);
}

static bool function_fits(const wrt_extern_type *wanted, const wrt_function *function)
{
    wrt_function_type given;

    return wrt_function_query(function, &given) == WRT_OK &&
           wrt__function_types_equal(&wanted->function, &given);
}

static bool fits(const wrt_extern_type *wanted, const wrt_extern *given)
{
    if (wanted->kind != given->kind || given->of.function == NULL) return false;
    switch (given->kind) {
    case WRT_EXTERN_FUNCTION:
        return function_fits(wanted, given->of.function);
    case WRT_EXTERN_TABLE:
        return given->of.table->element_type == wanted->value_type &&
               limits_fit(wanted, given->of.table->element_count,
                          given->of.table->declared_maximum);
    case WRT_EXTERN_MEMORY:
        return limits_fit(wanted, given->of.memory->page_count, given->of.memory->declared_maximum);
    default:
        return given->of.global->value_type == wanted->value_type &&
               given->of.global->is_mutable == wanted->is_mutable;
    }
}

static void connect(wrt_instance *instance, const wrt_extern_type *type, const wrt_extern *given)
{
    switch (given->kind) {
    case WRT_EXTERN_FUNCTION:
        instance->imported_functions[type->index] = given->of.function;
        break;
    case WRT_EXTERN_TABLE:
        instance->tables[type->index] = given->of.table;
        break;
    case WRT_EXTERN_MEMORY:
        instance->memory = given->of.memory;
        break;
    default:
        instance->globals[type->index] = given->of.global;
        break;
    }
}

wrt_status wrt__link(wrt_instance *instance, const char *operation,
                     const wrt_instance_config *config)
{
    wrt__import_cursor cursor = {.offset = config->module->import_offset};
    wrt_name module_name, name;
    wrt_extern_type type;

    for (uint32_t i = 0; i < config->module->usage.import_count; i++) {
        wrt__next_import(config->module, &cursor, &module_name, &name, &type);
        const wrt_extern *const given = find_import(config, &module_name, &name);
        if (given == NULL) return fail_missing(operation, config);
        if (!fits(&type, given)) {
            return wrt_fail_detail(WRT_ERR_LINK, operation,
                                   "incompatible import type: number {0} is of kind {1}, or of "
                                   "another type than the module asks for",
                                   i, given->kind);
        }
        connect(instance, &type, given);
    }
    return WRT_OK;
}
