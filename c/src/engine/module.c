/* The public calls of modules. How one is loaded stands in loader.h. */
#include "../core/config.h"
#include "../core/fail.h"
#include "loader.h"

#include <string.h>

static wrt_status read_config(const char *operation, const wrt_module_config *given,
                              wrt_module_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;

    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->bytes == NULL)
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "bytes is NULL");
    if (config->bytes_size > UINT32_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "bytes_size is {0}, more than {1}", config->bytes_size, UINT32_MAX);
    }
    return WRT_OK;
}

static wrt__loader loader_of(const wrt_module_config *config)
{
    return (wrt__loader){
        .reader = {.bytes = config->bytes, .end = (uint32_t)config->bytes_size},
        .module = {.bytes = config->bytes, .bytes_size = (uint32_t)config->bytes_size},
        .buffer = config->buffer,
        .buffer_size = config->buffer_size,
    };
}

static wrt_status result_of(const char *operation, const wrt__loader *loader)
{
    const wrt__reader *reader = &loader->reader;

    if (!wrt__reader_failed(reader)) return WRT_OK;
    return wrt_fail_detail(reader->status, operation, reader->reason, reader->detail[0],
                           reader->detail[1]);
}

wrt_status wrt_module_layout(const wrt_module_config *config, wrt_layout *layout_out)
{
    wrt_module_config known;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    const wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;

    wrt__loader loader = loader_of(&known);
    wrt__measure(&loader);
    if (wrt__failed(&loader)) return result_of(__func__, &loader);
    const uint64_t bytes = wrt__buffer_bytes(&loader);
    if (bytes > SIZE_MAX) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, __func__,
                               "the module needs {0} bytes, more than this system can address",
                               bytes, 0);
    }
    *layout_out = (wrt_layout){(size_t)bytes, WRT_MODULE_BUFFER_ALIGNMENT};
    return WRT_OK;
}

wrt_status wrt_module_init(wrt_module *module, const wrt_module_config *config)
{
    wrt_module_config known;

    if (module == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "module is NULL");
    const wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    if ((known.buffer == NULL && known.buffer_size != 0) ||
        (uintptr_t)known.buffer % WRT_MODULE_BUFFER_ALIGNMENT != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "buffer is NULL or not 8-byte aligned");
    }

    wrt__loader loader = loader_of(&known);
    wrt__measure(&loader);
    if (!wrt__failed(&loader)) wrt__place(&loader);
    if (!wrt__failed(&loader)) wrt__build(&loader);
    if (wrt__failed(&loader)) return result_of(__func__, &loader);
    wrt__finish(&loader);
    *module = loader.module;
    return WRT_OK;
}

static wrt_status require_ready(const char *operation, const wrt_module *module)
{
    if (module == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "module is NULL");
    if (!wrt__module_is_ready(module)) {
        return wrt_fail(WRT_ERR_STATE, operation, "module is not initialised");
    }
    return WRT_OK;
}

/* Also refuses an index that is not below `count`. */
static wrt_status require_index(const char *operation, uint32_t index, uint32_t count)
{
    if (index < count) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation, "index is {0}, there are {1}",
                           index, count);
}

wrt_status wrt_module_query(const wrt_module *module, wrt_module_usage *usage_out)
{
    if (usage_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "usage_out is NULL");
    }
    const wrt_status status = require_ready(__func__, module);
    if (status == WRT_OK) *usage_out = module->usage;
    return status;
}

wrt_status wrt_module_import(const wrt_module *module, uint32_t index, wrt_name *module_name_out,
                             wrt_name *name_out, wrt_extern_type *type_out)
{
    if (module_name_out == NULL || name_out == NULL || type_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "an out parameter is NULL");
    }
    wrt_status status = require_ready(__func__, module);
    if (status != WRT_OK) return status;
    status = require_index(__func__, index, module->usage.import_count);
    if (status != WRT_OK) return status;

    wrt__import_cursor cursor = {.offset = module->import_offset};
    while (cursor.index <= index) {
        wrt__next_import(module, &cursor, module_name_out, name_out, type_out);
    }
    return WRT_OK;
}

wrt_status wrt_module_export(const wrt_module *module, uint32_t index, wrt_name *name_out,
                             wrt_extern_type *type_out)
{
    if (name_out == NULL || type_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "name_out or type_out is NULL");
    }
    wrt_status status = require_ready(__func__, module);
    if (status != WRT_OK) return status;
    status = require_index(__func__, index, module->usage.export_count);
    if (status != WRT_OK) return status;

    wrt__export_cursor cursor = {.offset = module->export_offset};
    uint32_t kind = 0;
    uint32_t part = 0;
    while (cursor.index <= index) wrt__next_export(module, &cursor, name_out, &kind, &part);
    *type_out = wrt__extern_type(module, kind, part);
    return WRT_OK;
}

wrt_status wrt_module_function_type(const wrt_module *module, uint32_t function,
                                    wrt_function_type *type_out)
{
    if (type_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "type_out is NULL");
    wrt_status status = require_ready(__func__, module);
    if (status != WRT_OK) return status;
    status = require_index(__func__, function, module->usage.function_count);
    if (status != WRT_OK) return status;

    *type_out = wrt__function_type(module, wrt__function_type_index(module, function));
    return WRT_OK;
}

wrt_status wrt_module_function_name(const wrt_module *module, uint32_t function, wrt_name *name_out)
{
    if (name_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "name_out is NULL");
    wrt_status status = require_ready(__func__, module);
    if (status != WRT_OK) return status;
    status = require_index(__func__, function, module->usage.function_count);
    if (status != WRT_OK) return status;

    *name_out = (wrt_name){"", 0};
    if (wrt__find_function_name(module, function, name_out)) return WRT_OK;
    return wrt_fail_detail(WRT_ERR_NOT_FOUND, __func__, "function {0} has no name", function, 0);
}

wrt_status wrt_module_deinit(wrt_module *module)
{
    if (module == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "module is NULL");
    *module = (wrt_module){0};
    return WRT_OK;
}
