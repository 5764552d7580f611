/* Internal: touching memory that must not be touched, to see exactly which fault that is. */
#ifndef WRT_DOCTOR_TOUCH_H
#define WRT_DOCTOR_TOUCH_H

#include "doctor.h"

enum wrt__touch_kind { WRT__TOUCH_READ = 0, WRT__TOUCH_WRITE = 1, WRT__TOUCH_RUN = 2 };

/* One touch, and what came of it. */
typedef struct wrt__touch {
    const volatile uint8_t *address;
    uint32_t kind;         /* one of wrt__touch_kind */
    int32_t signal_number; /* 0: there was no fault */
    int32_t code;          /* si_code */
    uint32_t reserved;
    uintptr_t fault; /* si_addr */
} wrt__touch;

/* Touches in a child, on this process's memory. A write puts back what it has read. To run, the
 * address has to hold a function that returns. */
wrt_status wrt__touch_in_child(wrt__touch *touch);

/* Whether the fault is that of a page without this right, at this very address. */
bool wrt__touch_is_refused(const wrt__touch *touch);

#endif
