/* Handing over a module: what it may import, described by names and types, and behind that its
 * bytes. Which function each description stands for is remembered on this side. */
#include "state.h"

#include "../core/config.h"
#include "../core/fail.h"
#include "../wasi/door.h"

enum { UNIT = 8 };

static uint64_t rounded(uint64_t size)
{
    return (size + UNIT - 1) / UNIT * UNIT;
}

static bool holds_reference(const uint8_t *types, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (types[i] == WRT_FUNCREF || types[i] == WRT_EXTERNREF) return true;
    }
    return false;
}

/* The calls of WASI that the worker answers itself. */
static uint32_t own_of(const wrt_host_function *function)
{
    const char *const name = wrt__wasi_name_of(function);

    if (name == NULL) return WRT__OWN_NONE;
    if (strcmp(name, "clock_time_get") == 0) return WRT__OWN_CLOCK_TIME_GET;
    return strcmp(name, "sched_yield") == 0 ? WRT__OWN_SCHED_YIELD : WRT__OWN_NONE;
}

static wrt_status check_import(const char *operation, const wrt_import *import, uint32_t index)
{
    if (import->module == NULL || import->name == NULL ||
        import->value.kind != WRT_EXTERN_FUNCTION || import->value.of.function == NULL ||
        import->value.of.function->is_host == 0) {
        return wrt_fail_detail(WRT_ERR_UNSUPPORTED, operation,
                               "import {0} is no function of the host: a sandbox shares neither "
                               "memories, tables and globals nor functions of other guests",
                               index, 0);
    }
    const wrt_host_function *const function = import->value.of.function->owner;
    if (holds_reference(function->type.parameters, function->type.parameter_count) ||
        holds_reference(function->type.results, function->type.result_count)) {
        return wrt_fail_detail(WRT_ERR_UNSUPPORTED, operation,
                               "the type of import {0} holds a reference, which means nothing in "
                               "another process",
                               index, 0);
    }
    return WRT_OK;
}

static uint64_t described_size(const wrt_import *import)
{
    const wrt_host_function *const function = import->value.of.function->owner;

    return rounded(sizeof(wrt__worker_import) + strlen(import->module) + 1 + strlen(import->name) +
                   1 + function->type.parameter_count + function->type.result_count);
}

static uint8_t *put(uint8_t *to, const void *bytes, size_t size)
{
    if (size != 0) memcpy(to, bytes, size);
    return to + size;
}

static void describe(uint8_t *to, const wrt_import *import, uint64_t size)
{
    const wrt_host_function *const function = import->value.of.function->owner;
    const wrt_function_type *const type = &function->type;
    const wrt__worker_import description = {.size = (uint32_t)size,
                                            .own = own_of(function),
                                            .module_size = (uint32_t)strlen(import->module) + 1,
                                            .name_size = (uint32_t)strlen(import->name) + 1,
                                            .parameter_count = type->parameter_count,
                                            .result_count = type->result_count};

    to = put(to, &description, sizeof description);
    to = put(to, import->module, description.module_size);
    to = put(to, import->name, description.name_size);
    to = put(to, type->parameters, type->parameter_count);
    (void)put(to, type->results, type->result_count);
}

static wrt_status fail_room(const char *operation, const wrt__sandbox *state, uint64_t wanted)
{
    return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation,
                           "the module and its imports have {0} bytes, the sandbox has room for "
                           "{1}: maximum_module_bytes",
                           wanted, state->control->program_bytes);
}

static wrt_status pack_imports(const char *operation, wrt__sandbox *state, uint64_t room,
                               const wrt_sandbox_guest *guest, uint64_t *used_out)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < guest->import_count; i++) {
        const wrt_import *const import = &guest->imports[i];
        const wrt_status status = check_import(operation, import, i);
        if (status != WRT_OK) return status;
        const uint64_t size = described_size(import);
        if (size > room - used) return fail_room(operation, state, used + size);
        describe(state->program + used, import, size);
        state->functions[i] = import->value.of.function->owner;
        used += size;
    }
    state->function_count = guest->import_count;
    *used_out = used;
    return WRT_OK;
}

static wrt_status check_guest(const char *operation, const wrt_sandbox_guest *guest)
{
    if (!wrt__is_zero(guest->reserved, sizeof guest->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the guest are not 0");
    }
    if (guest->bytes == NULL || (guest->imports == NULL && guest->import_count != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "bytes or imports is NULL");
    }
    if (guest->import_count > WRT_SANDBOX_IMPORTS_MAX) {
        return wrt_fail_detail(WRT_ERR_LIMIT, operation, "{0} imports are lent, {1} are possible",
                               guest->import_count, WRT_SANDBOX_IMPORTS_MAX);
    }
    return WRT_OK;
}

wrt_status wrt__sandbox_pack(const char *operation, wrt__sandbox *state,
                             const wrt_sandbox_guest *given, wrt__order *order_out)
{
    const uint64_t room = (uint64_t)(state->memory - state->program);
    wrt_sandbox_guest guest;
    uint64_t used = 0;

    wrt_status status = wrt__config_read(operation, given, &guest, sizeof guest);
    if (status == WRT_OK) status = check_guest(operation, &guest);
    if (status == WRT_OK) status = pack_imports(operation, state, room, &guest, &used);
    if (status != WRT_OK) return status;
    if (guest.bytes_size > room - used) return fail_room(operation, state, used + guest.bytes_size);
    (void)put(state->program + used, guest.bytes, guest.bytes_size);
    const uint32_t most = (uint32_t)state->maximum_pages;
    *order_out = (wrt__order){
        .kind = WRT__ORDER_LOAD,
        .count = guest.import_count,
        .module_start = used,
        .module_bytes = guest.bytes_size,
        .maximum_pages =
            guest.maximum_pages == 0 || guest.maximum_pages > most ? most : guest.maximum_pages,
        .maximum_table_elements = guest.maximum_table_elements,
        .stack_size = guest.stack_size,
        .has_fuel = guest.has_fuel,
        .fuel = guest.fuel,
    };
    return WRT_OK;
}
