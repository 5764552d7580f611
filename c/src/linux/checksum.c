/* Which CRC-32C this machine computes best. */
#include "sys.h"

#include "../core/crc32c.h"

uint32_t wrt__port_crc32c(void)
{
    return wrt__crc32c_instruction_works(getauxval(AT_HWCAP)) ? WRT__CRC32C_INSTRUCTION
                                                              : WRT__CRC32C_SLICED;
}
