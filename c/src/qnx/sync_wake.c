/* A wake hook that every receiver of QNX can wait for: a pulse. */
#include "sys.h"
#include "wrt_platform/qnx/sync.h"

#include "../core/config.h"
#include "../core/fail.h"

enum { PRIORITY_MAX = 255 };

static wrt_status read_config(const char *operation, const wrt_qnx_wake_config *given,
                              wrt_qnx_wake_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->connection <= 0) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "connection is not above 0");
    }
    if (config->priority < 0 || config->priority > PRIORITY_MAX) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation, "priority is not 0 to 255");
    }
    if (config->code >= _PULSE_CODE_MINAVAIL && config->code <= _PULSE_CODE_MAXAVAIL) return WRT_OK;
    return wrt_fail(WRT_ERR_INVALID_ARGUMENT, operation,
                    "code is not 0 to 127: the others are the kernel's");
}

wrt_status wrt_qnx_wake_init(wrt_qnx_wake *wake, const wrt_qnx_wake_config *config)
{
    wrt_qnx_wake_config known;

    if (wake == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "wake is NULL");
    const wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    *wake = (wrt_qnx_wake){.self = wake,
                           .connection = known.connection,
                           .priority = known.priority,
                           .code = known.code,
                           .value = known.value,
                           .process = getpid()};
    return WRT_OK;
}

void wrt_qnx_wake_call(void *wake)
{
    const wrt_qnx_wake *known = wake;

    if (known == NULL || known->self != known || known->process != getpid()) return;
    const int priority = known->priority == 0 ? SIGEV_PULSE_PRIO_INHERIT : (int)known->priority;
    (void)MsgSendPulse_r(known->connection, priority, known->code, known->value);
}

wrt_status wrt_qnx_wake_deinit(wrt_qnx_wake *wake)
{
    if (wake == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "wake is NULL");
    *wake = (wrt_qnx_wake){0};
    return WRT_OK;
}
