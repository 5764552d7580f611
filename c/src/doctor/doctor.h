/* Internal: what the attempts of the doctor share. An attempt fills in what it has found, and
 * returns WRT_OK; or it returns a failure, which becomes the reason of an absent row. */
#ifndef WRT_DOCTOR_DOCTOR_H
#define WRT_DOCTOR_DOCTOR_H

#include "sys.h"

#include "wrt_platform/linux/doctor.h"

typedef wrt_status (*wrt__attempt_fn)(wrt_doctor_row *row);

/* One row of the table. */
typedef struct wrt__attempt {
    const char *id;
    const char *name;
    const char *promises;
    wrt__attempt_fn try_it;
    const char *remedy; /* where it is not available, and the attempt knows nothing better */
} wrt__attempt;

/* The rows of one topic. */
typedef struct wrt__topic {
    const wrt__attempt *attempts;
    uint32_t count;
} wrt__topic;

extern const wrt__topic wrt__topic_memory;
extern const wrt__topic wrt__topic_sync;
extern const wrt__topic wrt__topic_cgroups;
extern const wrt__topic wrt__topic_io;
extern const wrt__topic wrt__topic_security;
extern const wrt__topic wrt__topic_observing;
extern const wrt__topic wrt__topic_kernel;

/* ---- text.c ---- */

/* What can stand in a text: {0} and {1} are the numbers, {w} the word. */
typedef struct wrt__words {
    uint64_t numbers[2];
    const char *word;
} wrt__words;

/* Writes `format`, cut off at WRT_DOCTOR_TEXT_SIZE. */
void wrt__doctor_write(char *text_out, const char *format, const wrt__words *words);

/* Sets state and reason; WRT_OK, so that an attempt can end with it. */
wrt_status wrt__found(wrt_doctor_row *row, uint32_t state, const char *reason);
wrt_status wrt__found_numbers(wrt_doctor_row *row, uint32_t state, const char *reason,
                              uint64_t first, uint64_t second);
wrt_status wrt__found_word(wrt_doctor_row *row, uint32_t state, const char *reason,
                           const char *word);
void wrt__remedy(wrt_doctor_row *row, const char *remedy);
void wrt__remedy_word(wrt_doctor_row *row, const char *remedy, const char *word);

/* The failure of a system call: its name, and errno. */
wrt_status wrt__refused(const char *call);

/* A number of a small file; `otherwise` if it is not there. */
uint64_t wrt__setting(const char *path, uint64_t otherwise);

/* ---- child.c ---- */

enum { WRT__CHILD_LOST = -1 };

/* How a child ended. */
typedef struct wrt__child_end {
    int code;          /* exit code; WRT__CHILD_LOST: its status was somebody else's to take */
    int signal_number; /* that ended it; 0: none */
} wrt__child_end;

/* Runs `work` in a child on this process's memory, and waits for its end; what `work` returns is
 * the exit code. It may make system calls and write to `context`; nothing else. */
wrt_status wrt__in_child(int (*work)(void *context), void *context, wrt__child_end *end_out);

#endif
