/* Internal: CRC-32C (Castagnoli's polynomial), by the best means of the processor. All methods
 * give the same result, so memory that one of them has sealed can be checked by any other. */
#ifndef WRT_CORE_CRC32C_H
#define WRT_CORE_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The polynomial 0x1EDC6F41 with its lowest power in the highest bit, as all code here has it. */
#define WRT__CRC32C_POLYNOMIAL UINT32_C(0x82F63B78)

/* Processors of 64 bits have room for 8 KiB of tables; small ones get 64 bytes. */
#if UINTPTR_MAX > UINT32_MAX
#define WRT__CRC32C_IS_LARGE 1
#else
#define WRT__CRC32C_IS_LARGE 0
#endif

/* How it is computed. 0 is none of them: an object that is not initialised. */
enum wrt__crc32c_method {
    WRT__CRC32C_NIBBLES = 1,    /* half a byte at a time, a table of 64 bytes */
    WRT__CRC32C_SLICED = 2,     /* eight bytes at a time, tables of 8 KiB */
    WRT__CRC32C_INSTRUCTION = 3 /* the processor's own instruction */
};

enum { WRT__CRC32C_START = -1 }; /* all bits set: what a fresh checksum begins with */

/* Goes on from `state`, which is what the last call returned, or WRT__CRC32C_START, with the four
 * bytes of `word`, its lowest first, and then `bytes`. The checksum is the complement of the last
 * state. `method` is one that this processor has. */
uint32_t wrt__crc32c(uint32_t state, uint32_t word, const uint8_t *bytes, size_t size,
                     uint32_t method);

/* The best method of this processor. Each port answers it; asked when an object is made. */
uint32_t wrt__port_crc32c(void);

/* Whether the processor has the instruction. `capabilities`: what the system says of it, where
 * the processor can't be asked (AT_HWCAP on Arm), else 0. */
bool wrt__crc32c_instruction_works(uint64_t capabilities);

/* The methods themselves. */
uint32_t wrt__crc32c_nibbles(uint32_t state, uint32_t word, const uint8_t *bytes, size_t size);
uint32_t wrt__crc32c_sliced(uint32_t state, uint32_t word, const uint8_t *bytes, size_t size);
uint32_t wrt__crc32c_instruction(uint32_t state, uint32_t word, const uint8_t *bytes, size_t size);

#endif
