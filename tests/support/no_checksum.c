/* In place of the library's checksum: one that finds nothing. What then still holds, holds by the
 * order of the stores alone. */
#include "../../c/src/core/crc32c.h"

uint32_t wrt__crc32c(uint32_t state, uint32_t word, const uint8_t *bytes, size_t size,
                     uint32_t method)
{
    (void)method, (void)state, (void)word, (void)bytes, (void)size;
    return 0;
}

uint32_t wrt__port_crc32c(void)
{
    return WRT__CRC32C_NIBBLES;
}
