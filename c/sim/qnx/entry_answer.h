/* Internal, for entries: the kernel's errors as QNX's calls answer with them. */
#ifndef SIM_QNX_ENTRY_ANSWER_H
#define SIM_QNX_ENTRY_ANSWER_H

#include "kernel.h"

/* QNX's number for it, EOK for none. */
int sim_number(qk_error error);

/* 0, or -1 with errno set. */
int sim_answer(qk_error error);

/* 0, or the negative number, as calls whose name ends in _r answer. */
int sim_answer_negative(qk_error error);

#endif
