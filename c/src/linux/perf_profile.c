/* A profile: all counters at once, each for itself, so that those which find no place on the
 * processor take turns instead of keeping the others off it. */
#include "sys.h"
#include "wrt_platform/linux/perf.h"

#include "../core/config.h"
#include "../core/fail.h"

static uint32_t counter_of(uint32_t row)
{
    return row + WRT_PERF_CPU_CYCLES;
}

static bool is_there(const wrt_perf_row *row)
{
    return row->error.status == WRT_OK;
}

/* The failure of a call inside, as that of the whole. */
static wrt_status fail_again(const char *operation, const wrt_error *error)
{
    return wrt_fail_system(error->status, operation, error->reason, error->os_code,
                           error->detail[0], error->detail[1]);
}

/* Opens what can be had, and notes why the rest can't. Returns how many there are. */
static uint32_t open_events(wrt_perf_profile *profile, const wrt_perf_profile_config *config)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < WRT_PERF_ROWS; i++) {
        const wrt_perf_event_config wanted = {.struct_size = sizeof wanted,
                                              .type = counter_of(i),
                                              .inherit = config->inherit,
                                              .include_kernel = config->include_kernel};
        const wrt_status status = wrt_perf_event_init(&profile->events[i], &wanted);
        profile->rows[i] = (wrt_perf_row){.counter = counter_of(i)};
        if (status == WRT_OK) {
            count++;
        } else {
            profile->rows[i].error = *wrt_error_last();
        }
    }
    return count;
}

/* The first failure of those that there are; the others are tried all the same. */
static wrt_status for_each(wrt_perf_profile *profile, wrt_status (*work)(wrt_perf_event *event))
{
    wrt_status first = WRT_OK;

    for (uint32_t i = 0; i < WRT_PERF_ROWS; i++) {
        if (!is_there(&profile->rows[i])) continue;
        const wrt_status status = work(&profile->events[i]);
        if (first == WRT_OK) first = status;
    }
    return first;
}

wrt_status wrt_perf_profile_start(wrt_perf_profile *profile, const wrt_perf_profile_config *config)
{
    wrt_perf_profile_config known;

    if (profile == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "profile is NULL");
    wrt_status status = wrt__config_read(__func__, config, &known, sizeof known);
    if (status != WRT_OK) return status;
    if (!wrt__is_zero(known.reserved, sizeof known.reserved)) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__, "a reserved field is not zero");
    }
    if (profile->events[0].self == &profile->events[0] || profile->rows[0].counter != 0) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the profile is under way, or not zero");
    }
    if (open_events(profile, &known) == 0) {
        const wrt_error error = profile->rows[WRT_PERF_ROWS - 1].error;
        *profile = (wrt_perf_profile){0};
        return fail_again(__func__, &error);
    }
    status = for_each(profile, wrt_perf_event_enable);
    if (status == WRT_OK) return WRT_OK;
    const wrt_error error = *wrt_error_last();
    (void)for_each(profile, wrt_perf_event_deinit);
    *profile = (wrt_perf_profile){0};
    return fail_again(__func__, &error);
}

static wrt_status read_rows(wrt_perf_profile *profile)
{
    wrt_status first = WRT_OK;

    for (uint32_t i = 0; i < WRT_PERF_ROWS; i++) {
        wrt_perf_row *const row = &profile->rows[i];
        if (!is_there(row)) continue;
        const wrt_status status = wrt_perf_event_read(&profile->events[i], &row->reading);
        if (first == WRT_OK) first = status;
    }
    return first;
}

wrt_status wrt_perf_profile_stop(wrt_perf_profile *profile, wrt_perf_row rows_out[WRT_PERF_ROWS])
{
    if (profile == NULL || rows_out == NULL) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "profile or rows_out is NULL");
    }
    if (profile->rows[0].counter == 0) {
        return wrt_fail(WRT_ERR_STATE, __func__, "the profile was not started");
    }
    wrt_status status = for_each(profile, wrt_perf_event_disable);
    if (status == WRT_OK) status = read_rows(profile);
    for (uint32_t i = 0; i < WRT_PERF_ROWS; i++) rows_out[i] = profile->rows[i];
    const wrt_error error = *wrt_error_last();
    const wrt_status closed = for_each(profile, wrt_perf_event_deinit);
    if (closed == WRT_OK) *profile = (wrt_perf_profile){0};
    if (status == WRT_OK) return closed;
    return fail_again(__func__, &error);
}

static const wrt_perf_reading *counted(const wrt_perf_row *rows, uint32_t count, uint32_t counter)
{
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].counter != counter || !is_there(&rows[i])) continue;
        return rows[i].reading.state == WRT_PERF_NOT_COUNTED ? NULL : &rows[i].reading;
    }
    return NULL;
}

wrt_status wrt_perf_instructions_per_cycle(const wrt_perf_row *rows, uint32_t count,
                                           double *ratio_out)
{
    if (ratio_out == NULL || (rows == NULL && count != 0)) {
        return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "rows or ratio_out is NULL");
    }
    const wrt_perf_reading *const cycles = counted(rows, count, WRT_PERF_CPU_CYCLES);
    const wrt_perf_reading *const done = counted(rows, count, WRT_PERF_INSTRUCTIONS);
    if (cycles == NULL || done == NULL || cycles->value == 0) {
        return wrt_fail(WRT_ERR_UNSUPPORTED, __func__,
                        "cycles or instructions were not counted, see the rows' reasons");
    }
    *ratio_out = (double)done->value / (double)cycles->value;
    return WRT_OK;
}
