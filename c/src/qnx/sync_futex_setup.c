/* A futex of QNX before and after its work. Each thing that init makes and deinit ends is recorded
 * where it is: so whichever step fails, init takes back what it made, and deinit, called again,
 * goes on where it failed. */
#include "sync_futex.h"

#include "../core/atomic.h"
#include "../core/config.h"
#include "../core/fail.h"
#include "error.h"
#include "mutex.h"

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(((wrt_qnx_futex *)0)->mutex),
               "a mutex fits its storage");
_Static_assert(sizeof(pthread_cond_t) <= sizeof(((wrt_qnx_futex *)0)->left),
               "a condition variable fits its storage");

enum { MADE_MUTEX = 1, MADE_LEFT = 2, NO_CONNECTION = -1 };

/* ---- Config ---- */

static wrt_status read_config(const char *operation, const wrt_qnx_futex_config *given,
                              wrt_qnx_futex_config *config)
{
    const wrt_status status = wrt__config_read(operation, given, config, sizeof *config);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(config->reserved, sizeof config->reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, operation, "reserved bytes of the config are not 0");
    }
    if (config->priority > WRT_QNX_SYNC_PRIORITY_REALTIME) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "priority is {0}, not one of wrt_qnx_sync_priority",
                               config->priority, 0);
    }
    if (config->maximum_waiters > WRT_QNX_FUTEX_WAITERS_MAX) {
        return wrt_fail_detail(WRT_ERR_INVALID_ARGUMENT, operation,
                               "maximum_waiters is {0}, at most {1}", config->maximum_waiters,
                               WRT_QNX_FUTEX_WAITERS_MAX);
    }
    if (config->maximum_waiters == 0) config->maximum_waiters = WRT_QNX_FUTEX_WAITERS_DEFAULT;
    return WRT_OK;
}

static int32_t pulse_priority(uint32_t priority)
{
    static const int32_t numbers[] = {0, 8, 10, 15, 40}; /* as the enum says */

    return numbers[priority];
}

/* ---- Places ---- */

/* A channel of the process's own, with room for the one pulse that it ever holds. */
static int make_channel(const wrt_qnx_futex *futex)
{
    const struct nto_channel_config pool = {.event = {.sigev_notify = SIGEV_NONE}, .num_pulses = 1};
    const unsigned int fixed = futex->pulse_priority == 0 ? _NTO_CHF_FIXED_PRIORITY : 0;

    return ChannelCreatePulsePool(_NTO_CHF_PRIVATE | fixed, &pool);
}

/* Side channels are not file descriptors: nobody closes them by mistake. */
static int connect_to(int channel)
{
    return ConnectAttach_r(0, 0, channel, _NTO_SIDE_CHANNEL, 0);
}

static wrt_status make_place(const char *operation, const wrt_qnx_futex *futex,
                             wrt_qnx_futex_place *place)
{
    const int channel = make_channel(futex);
    if (channel < 0) {
        const int code = errno;
        return wrt_fail_system(wrt__qnx_status(code), operation, "ChannelCreatePulsePool failed",
                               code, 0, 0);
    }
    place->channel = channel;
    place->has_channel = 1;
    const int connection = connect_to(channel);
    if (connection < 0) {
        return wrt_fail_system(wrt__qnx_status(-connection), operation, "ConnectAttach failed",
                               -connection, 0, 0);
    }
    place->connection = connection;
    return WRT_OK;
}

static int end_place(wrt_qnx_futex_place *place)
{
    if (place->connection != NO_CONNECTION) {
        const int code = -ConnectDetach_r(place->connection);
        if (code != EOK) return code;
        place->connection = NO_CONNECTION;
    }
    if (place->has_channel == 0) return EOK;
    const int code = -ChannelDestroy_r(place->channel);
    if (code == EOK) place->has_channel = 0;
    return code;
}

/* ---- All of it ---- */

static wrt_status make_waiting(const char *operation, wrt_qnx_futex *futex)
{
    const wrt__qnx_mutex_kind kind = {.protocol = PTHREAD_PRIO_INHERIT};

    wrt_status status = wrt__qnx_mutex_init(operation, wrt__qnx_futex_mutex(futex), &kind);
    if (status != WRT_OK) return status;
    futex->made |= MADE_MUTEX;
    const int code = pthread_cond_init(wrt__qnx_futex_left(futex), NULL);
    if (code != EOK) {
        return wrt_fail_system(wrt__qnx_status(code), operation, "pthread_cond_init failed", code,
                               0, 0);
    }
    futex->made |= MADE_LEFT;
    for (uint32_t i = 0; i < futex->place_count && status == WRT_OK; i++) {
        status = make_place(operation, futex, &futex->places[i]);
    }
    return status;
}

/* An error number of QNX; what is ended stays so. */
static int end_waiting(wrt_qnx_futex *futex)
{
    int code = EOK;

    for (uint32_t i = 0; i < futex->place_count && code == EOK; i++) {
        code = end_place(&futex->places[i]);
    }
    if (code == EOK && (futex->made & MADE_LEFT) != 0) {
        code = pthread_cond_destroy(wrt__qnx_futex_left(futex));
        if (code == EOK) futex->made &= ~(uint32_t)MADE_LEFT;
    }
    if (code == EOK && (futex->made & MADE_MUTEX) != 0) {
        code = pthread_mutex_destroy(wrt__qnx_futex_mutex(futex));
        if (code == EOK) futex->made &= ~(uint32_t)MADE_MUTEX;
    }
    return code;
}

static wrt_status make(const char *operation, wrt_qnx_futex *futex)
{
    const wrt_qnx_lock_config lock_config = {.struct_size = sizeof lock_config};

    if (futex->priority_inheritance != 0) return wrt_qnx_lock_init(&futex->lock, &lock_config);
    const wrt_status status = make_waiting(operation, futex);
    if (status != WRT_OK) {
        const wrt_error first = *wrt_error_last();
        (void)end_waiting(futex);
        return wrt_fail_again(&first);
    }
    return WRT_OK;
}

wrt_status wrt_qnx_futex_init(wrt_qnx_futex *futex, const wrt_qnx_futex_config *config)
{
    wrt_qnx_futex_config known;

    if (futex == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "futex is NULL");
    wrt_status status = read_config(__func__, config, &known);
    if (status != WRT_OK) return status;
    const wrt_qnx_futex before = *futex;
    *futex = (wrt_qnx_futex){.self = futex,
                             .word = known.initial_value,
                             .process = getpid(),
                             .priority_inheritance = known.priority_inheritance,
                             .place_count = known.priority_inheritance ? 0 : known.maximum_waiters,
                             .pulse_priority = pulse_priority(known.priority)};
    for (uint32_t i = 0; i < futex->place_count; i++) futex->places[i].connection = NO_CONNECTION;
    status = make(__func__, futex);
    if (status != WRT_OK) *futex = before;
    return status;
}

/* Wakes all that wait, until they are gone; an error number of QNX. */
static int send_away(wrt_qnx_futex *futex)
{
    int code = pthread_mutex_lock(wrt__qnx_futex_mutex(futex));
    if (code != EOK && code != EDEADLK)
        return code; /* held already: giving it back failed before */

    code = EOK;
    wrt__store_ordered(&futex->closing, 1);
    while (code == EOK && wrt__load_ordered(&futex->waiting) != 0) {
        do {
            code = wrt__qnx_futex_kick(futex);
        } while (code == EOK);
        if (code == WRT__NOBODY_WAITS) {
            code = pthread_cond_wait(wrt__qnx_futex_left(futex), wrt__qnx_futex_mutex(futex));
        }
    }
    const int given_back = pthread_mutex_unlock(wrt__qnx_futex_mutex(futex));
    return code != EOK ? code : given_back;
}

wrt_status wrt_qnx_futex_deinit(wrt_qnx_futex *futex)
{
    int code = EOK;

    if (futex == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "futex is NULL");
    if (wrt__is_zero(futex, sizeof *futex)) return WRT_OK;
    wrt_status status = wrt__qnx_futex_check(__func__, futex);
    if (status == WRT_OK && futex->priority_inheritance != 0) {
        status = wrt_qnx_lock_deinit(&futex->lock);
    }
    if (status != WRT_OK) return status;
    if ((futex->made & (MADE_MUTEX | MADE_LEFT)) == (MADE_MUTEX | MADE_LEFT)) {
        code = send_away(futex);
    }
    if (code == EOK) code = end_waiting(futex);
    if (code != EOK) {
        return wrt_fail_system(WRT_ERR_SYSTEM, __func__,
                               "the kernel did not take all back; call again to go on", code, 0, 0);
    }
    *futex = (wrt_qnx_futex){0};
    return WRT_OK;
}
