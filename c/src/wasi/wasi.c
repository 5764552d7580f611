/* The object: what it opens, its place in the caller's buffer, and the door that every call comes
 * through. */
#include "wrt_platform/wasi.h"

#include "../core/fail.h"
#include "door.h"
#include "plan.h"

static uint64_t standard_rights(const wasi_file *file, bool is_input)
{
    const uint64_t directions = WASI_RIGHT_FD_READ | WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_ALLOCATE |
                                WASI_RIGHT_FD_FILESTAT_SET_SIZE | WASI_RIGHT_FD_FILESTAT_SET_TIMES;
    uint64_t rights = wrt__wasi_file_rights & ~directions;

    if (is_input && file->can_read) rights |= WASI_RIGHT_FD_READ;
    if (!is_input && file->can_write) {
        rights |= directions & ~(uint64_t)WASI_RIGHT_FD_READ;
    }
    if (file->is_terminal) rights &= ~(uint64_t)(WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_TELL);
    return rights;
}

/* One of 0, 1 and 2: the caller's, or our null device. */
static wrt_status add_standard(const char *operation, wrt_wasi *wasi, uint32_t number,
                               bool is_given, int32_t handle)
{
    wasi_file file = {.handle = WASI_NULL_HANDLE,
                      .type = WASI_TYPE_CHARACTER_DEVICE,
                      .is_stream = true,
                      .can_read = true,
                      .can_write = true};
    int32_t os_code = 0;

    if (is_given && wrt__wasi_port_inspect(handle, &file, &os_code) != WASI_SUCCESS) {
        return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, operation,
                               "the descriptor given as the guest's {0} is not open", os_code,
                               number, 0);
    }
    const bool is_reopened =
        file.is_terminal && wrt__wasi_port_reopen_terminal(&file, &file.handle) == WASI_SUCCESS;
    *wrt__wasi_descriptor(wasi, number) = (wasi_descriptor){
        .file = file,
        .state = WASI_DESCRIPTOR_OPEN,
        .is_owned = is_reopened,
        .rights = standard_rights(&file, number == 0),
    };
    return WRT_OK;
}

static wrt_status fail_preopen(const char *operation, wasi_result result, uint32_t index,
                               int32_t os_code)
{
    switch (result) {
    case WASI_NOENT:
        return wrt_fail_system(WRT_ERR_NOT_FOUND, operation,
                               "the folder of preopen {0} is not there", os_code, index, 0);
    case WASI_NOTDIR:
        return wrt_fail_system(WRT_ERR_INVALID_ARGUMENT, operation,
                               "the host path of preopen {0} is not a folder", os_code, index, 0);
    case WASI_ACCES:
    case WASI_PERM:
        return wrt_fail_system(WRT_ERR_PERMISSION, operation,
                               "the folder of preopen {0} may not be opened for reading", os_code,
                               index, 0);
    default:
        return wrt_fail_system(WRT_ERR_SYSTEM, operation,
                               "the folder of preopen {0} cannot be opened", os_code, index, 0);
    }
}

static wrt_status add_preopen(const char *operation, wrt_wasi *wasi, uint32_t index,
                              const wrt_wasi_preopen *preopen, const char *guest_path)
{
    const bool is_read_only = (preopen->flags & WRT_WASI_PREOPEN_READ_ONLY) != 0;
    wasi_file file = {.type = WASI_TYPE_DIRECTORY};
    int32_t os_code = 0;

    const wasi_result result = wrt__wasi_port_open_root(preopen->host_path, &file.handle, &os_code);
    if (result != WASI_SUCCESS) return fail_preopen(operation, result, index, os_code);
    *wrt__wasi_descriptor(wasi, WASI_STANDARD_COUNT + index) = (wasi_descriptor){
        .file = file,
        .state = WASI_DESCRIPTOR_OPEN,
        .is_owned = true,
        .is_read_only = is_read_only,
        .rights =
            wrt__wasi_folder_rights & (is_read_only ? ~wrt__wasi_changing_rights : UINT64_MAX),
        .inheriting = wrt__wasi_folder_rights | wrt__wasi_file_rights,
        .preopen_path = guest_path,
        .preopen_size = (uint32_t)strlen(guest_path),
    };
    if (wrt__wasi_port_probe_beneath(file.handle, &os_code) != WASI_SUCCESS) {
        return wrt_fail_system(
            WRT_ERR_UNSUPPORTED, operation,
            "folders need the system call openat2 (Linux 5.6; a container's filter "
            "may forbid it)",
            os_code, index, 0);
    }
    return WRT_OK;
}

static char *copy_texts(char *to, const char *const *texts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const size_t size = strlen(texts[i]) + 1;
        memcpy(to, texts[i], size);
        to += size;
    }
    return to;
}

static wrt_status add_descriptors(const char *operation, wrt_wasi *wasi, const wasi_plan *planned,
                                  char *guest_paths)
{
    const wrt_wasi_config *config = &planned->config;

    wrt_status status =
        add_standard(operation, wasi, 0, config->has_standard_input, config->standard_input);
    if (status == WRT_OK) {
        status =
            add_standard(operation, wasi, 1, config->has_standard_output, config->standard_output);
    }
    if (status == WRT_OK) {
        status =
            add_standard(operation, wasi, 2, config->has_standard_error, config->standard_error);
    }
    for (uint32_t i = 0; status == WRT_OK && i < config->preopen_count; i++) {
        const char *const text = config->preopens[i].guest_path;
        char *const end = copy_texts(guest_paths, &text, 1);
        status = add_preopen(operation, wasi, i, &config->preopens[i], guest_paths);
        guest_paths = end;
    }
    return status;
}

static void close_descriptors(const wrt_wasi *wasi)
{
    for (uint32_t number = 0; number < wasi->descriptor_count; number++) {
        wrt__wasi_release(wrt__wasi_descriptor(wasi, number));
    }
}

static bool take_turn(wrt_wasi *wasi)
{
    return __atomic_exchange_n(&wasi->busy, 1, __ATOMIC_ACQUIRE) == 0;
}

static void end_turn(wrt_wasi *wasi)
{
    __atomic_store_n(&wasi->busy, 0, __ATOMIC_RELEASE);
}

static wrt_status check_ready(const char *operation, const wrt_wasi *wasi)
{
    if (wasi == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "wasi is NULL");
    if (wasi->self == NULL) return wrt_fail(WRT_ERR_STATE, operation, "wasi is not initialised");
    if (wasi->self != wasi) return wrt_fail(WRT_ERR_STATE, operation, "object was moved");
    if (wasi->generation != wrt__wasi_port_generation()) {
        return wrt_fail(WRT_ERR_STATE, operation, "object belongs to the parent process");
    }
    return WRT_OK;
}

static wasi_answer make_call(wrt_wasi *wasi, uint32_t call, wrt_instance *caller,
                             const wrt_value *values)
{
    wasi_guest guest = {.caller = caller};
    wrt_memory *memory;

    if (wrt_instance_memory(caller, &memory) == WRT_OK) {
        guest.base = memory->base;
        guest.bytes = memory->bytes;
    }
    if (wasi->paused_call != call) wasi->paused_caller = NULL;
    wasi->current_call = call;
    return wrt__wasi_calls[call].run(wasi, &guest, values);
}

/* The door: each call of the guest comes through here. */
static wrt_status enter(void *context, wrt_instance *caller, wrt_value *values)
{
    const wasi_binding *door = context;
    const char *name = wrt__wasi_calls[door->call].name;
    wrt_wasi *wasi = door->wasi;

    const wrt_status status = check_ready(name, wasi);
    if (status != WRT_OK) return status;
    if (!take_turn(wasi)) {
        return wrt_fail(WRT_ERR_STATE, name, "another thread is inside of this wrt_wasi");
    }
    const wasi_answer answer = make_call(wasi, door->call, caller, values);
    const uint32_t exit_code = wasi->exit_code;
    end_turn(wasi);
    if (answer == WASI_OUTCOME_PENDING) return WRT_ERR_PENDING;
    if (answer == WASI_OUTCOME_EXIT) {
        return wrt_fail_detail(WRT_ERR_EXIT, name, "the guest ended itself with code {0}",
                               exit_code, 0);
    }
    values[0].i32 = answer;
    return WRT_OK;
}

const char *wrt__wasi_name_of(const wrt_host_function *function)
{
    const wasi_binding *door = function->context;

    return function->call == enter ? wrt__wasi_calls[door->call].name : NULL;
}

static wrt_status bind_calls(wrt_wasi *wasi, wasi_binding *bindings, wrt_import *imports)
{
    for (uint32_t i = 0; i < WRT_WASI_CALL_COUNT; i++) {
        const wasi_call *call = &wrt__wasi_calls[i];
        const wrt_host_function_config config = {
            .struct_size = sizeof config,
            .parameter_count = (uint32_t)strlen(call->parameters),
            .parameters = (const uint8_t *)call->parameters,
            .results = (const uint8_t *)call->results,
            .result_count = (uint32_t)strlen(call->results),
            .call = enter,
            .context = &bindings[i],
            .name = call->name,
        };
        bindings[i] = (wasi_binding){.wasi = wasi, .call = i};
        const wrt_status status = wrt_host_function_init(&bindings[i].function, &config);
        if (status != WRT_OK) return status;
        imports[i] = (wrt_import){.module = "wasi_snapshot_preview1",
                                  .name = call->name,
                                  .value = {.kind = WRT_EXTERN_FUNCTION}};
        imports[i].value.of.function = &bindings[i].function.function;
    }
    return WRT_OK;
}

static wrt_wasi lay_out(const wasi_plan *planned)
{
    const wrt_wasi_config *config = &planned->config;
    uint8_t *buffer = config->buffer;

    return (wrt_wasi){.descriptors = buffer,
                      .waits = buffer + planned->waits,
                      .wait_scratch = buffer + planned->wait_scratch,
                      .bindings = buffer + planned->bindings,
                      .imports = (wrt_import *)(void *)(buffer + planned->imports),
                      .arguments = (char *)buffer + planned->arguments,
                      .environment = (char *)buffer + planned->environment,
                      .argument_count = config->argument_count,
                      .argument_bytes = planned->argument_bytes,
                      .environment_count = config->environment_count,
                      .environment_bytes = planned->environment_bytes,
                      .descriptor_count = planned->descriptor_count,
                      .generation = wrt__wasi_port_generation()};
}

static wrt_status check_buffer(const char *operation, const wasi_plan *planned)
{
    const wrt_wasi_config *config = &planned->config;

    if (config->buffer == NULL || (uintptr_t)config->buffer % WRT_WASI_BUFFER_ALIGNMENT != 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                        "buffer is NULL or not 8-byte aligned");
    }
    if (config->buffer_size < planned->bytes) {
        return wrt_fail_detail(WRT_ERR_NO_MEMORY, operation, "buffer has {0} bytes, {1} are needed",
                               config->buffer_size, planned->bytes);
    }
    return WRT_OK;
}

wrt_status wrt_wasi_init(wrt_wasi *wasi, const wrt_wasi_config *config)
{
    wasi_plan planned;

    if (wasi == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "wasi is NULL");
    wrt_status status = wrt__wasi_make_plan(__func__, config, &planned);
    if (status == WRT_OK) status = check_buffer(__func__, &planned);
    if (status != WRT_OK) return status;

    uint8_t *const buffer = planned.config.buffer;
    wrt_wasi made = lay_out(&planned);
    memset(buffer, 0, planned.arguments);
    (void)copy_texts((char *)buffer + planned.arguments, planned.config.arguments,
                     planned.config.argument_count);
    (void)copy_texts((char *)buffer + planned.environment, planned.config.environment,
                     planned.config.environment_count);
    status = add_descriptors(__func__, &made, &planned, (char *)buffer + planned.preopens);
    if (status == WRT_OK) status = bind_calls(wasi, made.bindings, made.imports);
    if (status != WRT_OK) {
        close_descriptors(&made);
        return status;
    }
    made.self = wasi;
    *wasi = made;
    return WRT_OK;
}

wrt_status wrt_wasi_imports(wrt_wasi *wasi, const wrt_import **imports_out,
                            uint32_t *import_count_out)
{
    if (imports_out == NULL || import_count_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "an output is NULL");
    }
    *imports_out = NULL;
    *import_count_out = 0;
    const wrt_status status = check_ready(__func__, wasi);
    if (status != WRT_OK) return status;
    wasi->paused_caller = NULL;
    wasi->has_exited = 0;
    *imports_out = wasi->imports;
    *import_count_out = WRT_WASI_CALL_COUNT;
    return WRT_OK;
}

wrt_status wrt_wasi_exit_code(const wrt_wasi *wasi, uint32_t *exit_code_out)
{
    if (exit_code_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "exit_code_out is NULL");
    }
    *exit_code_out = 0;
    const wrt_status status = check_ready(__func__, wasi);
    if (status != WRT_OK) return status;
    if (wasi->has_exited == 0) {
        return wrt_fail(WRT_ERR_NOT_FOUND, __func__, "the guest has not called proc_exit");
    }
    *exit_code_out = wasi->exit_code;
    return WRT_OK;
}

wrt_status wrt_wasi_deinit(wrt_wasi *wasi)
{
    if (wasi == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "wasi is NULL");
    if (wasi->self == NULL) return WRT_OK;
    if (wasi->self != wasi) return wrt_fail(WRT_ERR_STATE, __func__, "object was moved");
    if (!take_turn(wasi)) {
        return wrt_fail(WRT_ERR_STATE, __func__, "a call is under way on another thread");
    }
    close_descriptors(wasi);
    *wasi = (wrt_wasi){0};
    return WRT_OK;
}
