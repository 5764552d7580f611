/* Reading the config: every rule that can be checked without touching the system. */
#include "plan.h"

#include "../core/config.h"
#include "../core/fail.h"

/* Adds up texts; *bytes_out with a NUL each. */
static wrt_status measure_texts(const char *operation, const char *const *texts, uint32_t count,
                                bool is_environment, uint32_t *bytes_out)
{
    uint64_t bytes = 0;

    if (count != 0 && texts == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "an array of texts is NULL");
    }
    for (uint32_t i = 0; i < count; i++) {
        if (texts[i] == NULL) {
            return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                                   is_environment ? "variable {0} is NULL" : "argument {0} is NULL",
                                   i, 0);
        }
        if (is_environment && (texts[i][0] == '=' || strchr(texts[i], '=') == NULL)) {
            return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                                   "variable {0} of the environment is not NAME=value", i, 0);
        }
        bytes += (uint64_t)strlen(texts[i]) + 1;
        if (bytes > WRT_WASI_TEXT_MAX) {
            return wrt_fail_detail(WRT_ERR_LIMIT, operation,
                                   "arguments or environment have more than {0} bytes",
                                   WRT_WASI_TEXT_MAX, 0);
        }
    }
    *bytes_out = (uint32_t)bytes;
    return WRT_OK;
}

static wrt_status measure_preopens(const char *operation, const wrt_wasi_config *config,
                                   uint32_t *bytes_out)
{
    uint64_t bytes = 0;

    if (config->preopen_count != 0 && config->preopens == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "preopens is NULL");
    }
    for (uint32_t i = 0; i < config->preopen_count; i++) {
        const wrt_wasi_preopen *preopen = &config->preopens[i];
        if (preopen->host_path == NULL || preopen->guest_path == NULL) {
            return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                                   "a path of preopen {0} is NULL", i, 0);
        }
        if (preopen->guest_path[0] == '\0') {
            return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                                   "the guest path of preopen {0} is empty", i, 0);
        }
        if ((preopen->flags & ~(uint32_t)WRT_WASI_PREOPEN_READ_ONLY) != 0 ||
            preopen->reserved != 0) {
            return wrt_fail_detail(WRT_ERR_UNSUPPORTED, operation,
                                   "preopen {0} has flags that are not known", i, 0);
        }
        bytes += (uint64_t)strlen(preopen->guest_path) + 1;
        if (bytes > WRT_WASI_TEXT_MAX) {
            return wrt_fail(WRT_ERR_LIMIT, operation, "guest paths are too long");
        }
    }
    *bytes_out = (uint32_t)bytes;
    return WRT_OK;
}

static wrt_status check_numbers(const char *operation, wasi_plan *out)
{
    const wrt_wasi_config *config = &out->config;

    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    out->descriptor_count = config->maximum_descriptors != 0 ? config->maximum_descriptors
                                                             : WRT_WASI_DESCRIPTORS_DEFAULT;
    if (out->descriptor_count > WRT_WASI_DESCRIPTORS_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "maximum_descriptors is {0}, more than {1}", out->descriptor_count,
                               WRT_WASI_DESCRIPTORS_MAX);
    }
    if (config->preopen_count > out->descriptor_count ||
        out->descriptor_count - config->preopen_count < WASI_STANDARD_COUNT) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "maximum_descriptors {0} has no room for 3 and {1} folders",
                               out->descriptor_count, config->preopen_count);
    }
    return WRT_OK;
}

/* Takes room in the buffer; all parts before the texts are multiples of 8 bytes. */
static size_t take(wasi_plan *out, size_t size)
{
    const size_t start = out->bytes;

    out->bytes += size;
    return start;
}

static void place_parts(wasi_plan *out)
{
    (void)take(out, out->descriptor_count * sizeof(wasi_descriptor));
    out->waits = take(out, out->descriptor_count * sizeof(wasi_wait));
    out->wait_scratch = take(out, (size_t)out->descriptor_count * WASI_WAIT_SCRATCH_SIZE);
    out->bindings = take(out, WRT_WASI_CALL_COUNT * sizeof(wasi_binding));
    out->imports = take(out, WRT_WASI_CALL_COUNT * sizeof(wrt_import));
    out->arguments = take(out, out->argument_bytes);
    out->environment = take(out, out->environment_bytes);
    out->preopens = take(out, out->preopen_bytes);
}

wrt_status wrt__wasi_make_plan(const char *operation, const wrt_wasi_config *given, wasi_plan *out)
{
    wrt_wasi_config *config = &out->config;

    *out = (wasi_plan){0};
    wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status == WRT_OK) status = check_numbers(operation, out);
    if (status == WRT_OK) {
        status = measure_texts(operation, config->arguments, config->argument_count, false,
                               &out->argument_bytes);
    }
    if (status == WRT_OK) {
        status = measure_texts(operation, config->environment, config->environment_count, true,
                               &out->environment_bytes);
    }
    if (status == WRT_OK) status = measure_preopens(operation, config, &out->preopen_bytes);
    if (status == WRT_OK) place_parts(out);
    return status;
}

wrt_status wrt_wasi_layout(const wrt_wasi_config *config, wrt_layout *layout_out)
{
    wasi_plan planned;

    if (layout_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "layout_out is NULL");
    }
    *layout_out = (wrt_layout){0};
    const wrt_status status = wrt__wasi_make_plan(__func__, config, &planned);
    if (status == WRT_OK) *layout_out = (wrt_layout){planned.bytes, WRT_WASI_BUFFER_ALIGNMENT};
    return status;
}
