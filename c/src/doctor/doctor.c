/* The table of all attempts, and what becomes of one. */
#include "doctor.h"

#include "../core/fail.h"

static const wrt__topic *const topics[] = {
    &wrt__topic_memory,   &wrt__topic_sync,      &wrt__topic_cgroups, &wrt__topic_io,
    &wrt__topic_security, &wrt__topic_observing, &wrt__topic_kernel};

enum { TOPIC_COUNT = sizeof topics / sizeof *topics };

uint32_t wrt_doctor_count(void)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < TOPIC_COUNT; i++) count += topics[i]->count;
    return count;
}

static const wrt__attempt *attempt_at(uint32_t index)
{
    for (uint32_t i = 0; i < TOPIC_COUNT; i++) {
        if (index < topics[i]->count) return &topics[i]->attempts[index];
        index -= topics[i]->count;
    }
    return NULL;
}

/* The sentence without the name of a call of ours, which the reader has not made. */
static void tell_failure(wrt_doctor_row *row)
{
    const wrt_error error = *wrt_error_last();

    row->state = WRT_DOCTOR_ABSENT;
    row->os_code = error.os_code;
    (void)wrt_error_format(&error, row->reason, sizeof row->reason);
    if (strncmp(error.operation, "wrt_", 4) == 0) {
        const size_t name = strlen(error.operation) + strlen(": ");
        memmove(row->reason, row->reason + name, strlen(row->reason + name) + 1);
    }
}

wrt_status wrt_doctor_examine(uint32_t index, wrt_doctor_row *row_out)
{
    const wrt__attempt *const attempt = attempt_at(index);

    if (row_out == NULL) return wrt_fail(WRT_ERR_INVALID_ARGUMENT, __func__, "row_out is NULL");
    if (attempt == NULL) {
        return wrt_fail_detail(WRT_ERR_NOT_FOUND, __func__, "row {0} of {1}", index,
                               wrt_doctor_count());
    }
    *row_out =
        (wrt_doctor_row){.id = attempt->id, .name = attempt->name, .promises = attempt->promises};
    if (attempt->try_it(row_out) != WRT_OK) tell_failure(row_out);
    if (row_out->state == WRT_DOCTOR_AVAILABLE) {
        row_out->remedy[0] = '\0';
    } else if (row_out->remedy[0] == '\0') {
        wrt__remedy(row_out, attempt->remedy);
    }
    return WRT_OK;
}
