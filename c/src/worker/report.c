#include "report.h"

void wrt__worker_note_usage(wrt__worker *worker, const wrt_instance *instance)
{
    wrt__worker_usage *const usage = &worker->control->usage;
    wrt_instance_usage used;

    if (wrt_instance_query(instance, &used) != WRT_OK) return; /* nothing is loaded */
    usage->fuel_used = used.fuel_used;
    usage->fuel_left = used.fuel_left;
    usage->memory_pages = used.memory_pages;
    usage->memory_peak_pages = used.memory_peak_pages;
    usage->refused_growths = used.refused_growths;
    usage->stack_peak_bytes = used.stack_peak_bytes;
    usage->declared_maximum =
        instance->memory != NULL ? instance->memory->declared_maximum : UINT32_MAX;
}

static void note_frames(const wrt_instance *instance, wrt__message *message)
{
    wrt_trap place;

    if (wrt_instance_trap(instance, &place) != WRT_OK) return;
    message->trap_code = place.code;
    while (message->frame_count < WRT__WORKER_FRAMES &&
           wrt_instance_frame(instance, message->frame_count, &place) == WRT_OK) {
        message->frames[message->frame_count++] = (wrt__worker_place){place.function, place.offset};
    }
}

void wrt__worker_explain(wrt__worker *worker, const wrt_instance *instance, wrt__message *message)
{
    const wrt_error error = *wrt_error_last();
    const size_t size = wrt_error_format(&error, worker->control->text, WRT__WORKER_TEXT_SIZE);

    message->text_size = size < WRT__WORKER_TEXT_SIZE ? (uint32_t)size : WRT__WORKER_TEXT_SIZE - 1;
    message->detail[0] = error.detail[0];
    message->detail[1] = error.detail[1];
    if (message->status == WRT_ERR_TRAP) note_frames(instance, message);
}
