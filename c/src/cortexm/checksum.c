/* Which CRC-32C a Cortex-M computes best: it has no instruction for it, and no room for tables. */
#include "../core/crc32c.h"

uint32_t wrt__port_crc32c(void)
{
    return WRT__CRC32C_NIBBLES;
}
