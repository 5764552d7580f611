/* Internal: addresses for mappings, and their two sides. Under the kernel's lock. */
#ifndef SIM_QNX_KERNEL_PLACE_H
#define SIM_QNX_KERNEL_PLACE_H

#include "kernel_runs.h"

/* This machine's number for it. */
int qk_host_protection(uint32_t protection);

/* A free place in the window; NULL if there is none, or no window. */
uint8_t *qk_place_find(size_t size);

/* Whether the address is in the window: there, nothing is but what the guest has mapped. */
bool qk_place_is_kept(const void *address);

/* Takes those parts of the range that are not the guest's. False, and nothing is taken, if one of
 * them is in use; the other undoes it. */
bool qk_place_claim(uint8_t *address, size_t size);
void qk_place_unclaim(uint8_t *address, const uint8_t *end);

/* Maps the bytes for both sides, the guest's at `place` if it is `fixed`. */
bool qk_place_map(struct qk_backing *backing, void *place, uint32_t protection, bool fixed,
                  void **address_out);

/* Takes the guest's pages away. */
void qk_place_vacate(void *address, size_t size);

#endif
