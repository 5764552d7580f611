/* Internal: the functions that the guest imports, as the worker has them. */
#ifndef WRT_WORKER_IMPORTS_H
#define WRT_WORKER_IMPORTS_H

#include "worker.h"

/* Makes an import of each description in the program; they ask the parent, but for those that the
 * worker answers itself. Errors: NO_MEMORY. */
wrt_status wrt__worker_imports(wrt__worker *worker, uint32_t count, wrt_import **imports_out);

/* Room in the arena, zero, 16-byte aligned; NULL if there is not that much. */
void *wrt__worker_take(wrt__worker *worker, size_t size);

#endif
