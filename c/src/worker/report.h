/* Internal: what the worker tells of its guest. */
#ifndef WRT_WORKER_REPORT_H
#define WRT_WORKER_REPORT_H

#include "worker.h"

/* Writes what has been used to the shared page. */
void wrt__worker_note_usage(wrt__worker *worker, const wrt_instance *instance);

/* Puts the last failure into words and numbers, and where the guest stood if it trapped. */
void wrt__worker_explain(wrt__worker *worker, const wrt_instance *instance, wrt__message *message);

#endif
