/* Reading and writing. A transfer is made in batches of what the system takes at once:
 *
 * - from and to files, until all is done or the time for long transfers is over;
 * - from a stream, what is there; to a stream, what fits, waiting a little for more room.
 *
 * A stream that is not ready pauses the call only while nothing has been moved: a call that is
 * made again starts from the beginning, so it must not have begun. What has been moved when the
 * time is over is told to the guest as a short transfer, which POSIX allows. */
#include "state.h"

enum {
    VECTORS_MAX = 1024,   /* of one call, as Linux has it */
    BATCH_BYTES = 4194304 /* between two looks at the clock: 4 MiB */
};

typedef wasi_result (*port_transfer)(const wasi_file *file, const wasi_vector *vectors,
                                     uint32_t count, int64_t offset, size_t *done_out);

typedef struct transfer {
    wrt_wasi *wasi;
    const wasi_guest *guest;
    wasi_descriptor *descriptor;
    uint32_t address; /* of the guest's vectors */
    uint32_t count;
    int64_t offset; /* in the file; below 0: where it stands */
    bool writes;
    uint64_t start; /* time */
    uint64_t done;  /* bytes */
} transfer;

typedef struct batch {
    wasi_vector vectors[WASI_VECTOR_COUNT];
    uint32_t count;
    size_t bytes;
} batch;

/* Gathers what comes after the first `done` bytes. FAULT, if a vector does not lie in memory. */
static wasi_result gather(const transfer *job, batch *batch_out)
{
    uint64_t skip = job->done;

    *batch_out = (batch){0};
    for (uint32_t i = 0; i < job->count; i++) {
        uint8_t raw[WASI_VECTOR_SIZE];
        if (!wrt__guest_copy(job->guest, job->address + i * WASI_VECTOR_SIZE, raw, sizeof raw)) {
            return WASI_FAULT;
        }
        const uint32_t start = (uint32_t)wrt__load(raw, 4);
        const uint64_t size = wrt__load(raw + 4, 4);
        if (!wrt__guest_has(job->guest, start, size)) return WASI_FAULT;
        if (skip >= size) {
            skip -= size;
            continue;
        }
        const size_t room = BATCH_BYTES - batch_out->bytes;
        const size_t rest = (size_t)(size - skip);
        const size_t taken = rest < room ? rest : room;
        batch_out->vectors[batch_out->count++] =
            (wasi_vector){job->guest->base + start + skip, taken};
        batch_out->bytes += taken;
        skip = 0;
        if (batch_out->count == WASI_VECTOR_COUNT || batch_out->bytes == BATCH_BYTES) break;
    }
    return WASI_SUCCESS;
}

/* Our own null device. */
static wasi_result transfer_nothing(const transfer *job, const batch *next, size_t *moved_out)
{
    *moved_out = job->writes ? next->bytes : 0;
    return WASI_SUCCESS;
}

static wasi_result transfer_batch(const transfer *job, const batch *next, size_t *moved_out)
{
    const port_transfer move = job->writes ? wrt__wasi_port_write : wrt__wasi_port_read;
    const int64_t offset = job->offset < 0 ? -1 : job->offset + (int64_t)job->done;

    if (job->descriptor->file.handle == WASI_NULL_HANDLE) {
        return transfer_nothing(job, next, moved_out);
    }
    if (job->offset > INT64_MAX - (int64_t)job->done) return WASI_FBIG;
    return move(&job->descriptor->file, next->vectors, next->count, offset, moved_out);
}

/* Waits for a stream, for what is left of the call's time. */
static wasi_result wait_for_stream(const transfer *job)
{
    uint64_t scratch[WASI_WAIT_SCRATCH_SIZE / 8];
    const uint64_t spent = wrt__wasi_now() - job->start;
    wasi_wait wait = {.handle = job->descriptor->file.handle,
                      .wanted = job->writes ? WASI_READY_WRITE : WASI_READY_READ};

    if (spent >= WASI_WAIT_TIME) return WASI_AGAIN;
    const wasi_result result = wrt__wasi_port_wait(&wait, 1, scratch, WASI_WAIT_TIME - spent);
    if (result != WASI_SUCCESS) return result;
    return wait.ready != 0 ? WASI_SUCCESS : WASI_AGAIN;
}

/* Whether, after a batch of `moved` out of `asked` bytes, there is more to do in this call. */
static bool goes_on(const transfer *job, size_t moved, size_t asked)
{
    const bool is_stream = job->descriptor->file.is_stream;
    const uint64_t time = is_stream ? WASI_WAIT_TIME : WASI_TRANSFER_TIME;

    if (is_stream && !job->writes) return false;
    if (moved == 0 || (!is_stream && moved < asked)) return false;
    return wrt__wasi_now() - job->start < time;
}

/* Moves what can be moved; the error counts only if nothing was. */
static wasi_result run(transfer *job)
{
    const bool is_patient = (job->descriptor->flags & WASI_FLAG_NON_BLOCKING) == 0;
    wasi_result result;
    size_t moved = 0;
    batch next;

    do {
        result = gather(job, &next);
        if (result != WASI_SUCCESS || next.bytes == 0) break;
        result = transfer_batch(job, &next, &moved);
        while (result == WASI_AGAIN && is_patient) {
            result = wait_for_stream(job);
            if (result == WASI_SUCCESS)
                result = transfer_batch(job, &next, &moved);
            else
                break;
        }
        if (result != WASI_SUCCESS) break;
        job->done += moved;
    } while (goes_on(job, moved, next.bytes));
    return job->done > 0 ? WASI_SUCCESS : result;
}

static wasi_answer start_transfer(transfer *job, uint32_t answer_address)
{
    if (job->count > VECTORS_MAX) return WASI_INVAL;
    if (!wrt__guest_has(job->guest, answer_address, 4)) return WASI_FAULT;
    if (!wrt__guest_has(job->guest, job->address, (uint64_t)job->count * WASI_VECTOR_SIZE)) {
        return WASI_FAULT;
    }
    job->start = wrt__wasi_now();
    const wasi_result result = run(job);
    const bool is_patient = (job->descriptor->flags & WASI_FLAG_NON_BLOCKING) == 0;
    if (result == WASI_INTR || (result == WASI_AGAIN && is_patient)) return WASI_OUTCOME_PENDING;
    if (result == WASI_SUCCESS) wrt__guest_put32(job->guest, answer_address, job->done);
    return result;
}

WASI_CALL(fd_read)
{
    transfer job = {wasi, guest, NULL, arguments[1].i32, arguments[2].i32, -1, false, 0, 0};
    const wasi_result result =
        wrt__wasi_find(wasi, arguments[0].i32, WASI_RIGHT_FD_READ, &job.descriptor);

    return result != WASI_SUCCESS ? result : start_transfer(&job, arguments[3].i32);
}

WASI_CALL(fd_write)
{
    transfer job = {wasi, guest, NULL, arguments[1].i32, arguments[2].i32, -1, true, 0, 0};
    const wasi_result result =
        wrt__wasi_find(wasi, arguments[0].i32, WASI_RIGHT_FD_WRITE, &job.descriptor);

    return result != WASI_SUCCESS ? result : start_transfer(&job, arguments[3].i32);
}

static wasi_answer transfer_at(transfer *job, uint32_t number, uint64_t rights, uint64_t offset,
                               uint32_t answer_address)
{
    const wasi_result result = wrt__wasi_find(job->wasi, number, rights, &job->descriptor);

    if (result != WASI_SUCCESS) return result;
    if (offset > INT64_MAX) return WASI_INVAL;
    if (job->descriptor->file.is_stream) return WASI_SPIPE;
    job->offset = (int64_t)offset;
    return start_transfer(job, answer_address);
}

WASI_CALL(fd_pread)
{
    transfer job = {wasi, guest, NULL, arguments[1].i32, arguments[2].i32, -1, false, 0, 0};

    return transfer_at(&job, arguments[0].i32, WASI_RIGHT_FD_READ | WASI_RIGHT_FD_SEEK,
                       arguments[3].i64, arguments[4].i32);
}

WASI_CALL(fd_pwrite)
{
    transfer job = {wasi, guest, NULL, arguments[1].i32, arguments[2].i32, -1, true, 0, 0};

    return transfer_at(&job, arguments[0].i32, WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_SEEK,
                       arguments[3].i64, arguments[4].i32);
}
