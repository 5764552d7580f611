/* Internal: how far apart two words must be so that two processors can write them without taking
 * the memory away from each other. Two lines of 64 bytes, since hosts fetch lines in pairs; a
 * small processor has no second one beside it, and saves the bytes. */
#ifndef WRT_CORE_CACHE_LINE_H
#define WRT_CORE_CACHE_LINE_H

#if defined(__x86_64__) || defined(__aarch64__)
enum { WRT__CACHE_LINE = 128 }; /* bytes */
#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
enum { WRT__CACHE_LINE = 8 }; /* bytes */
#else
enum { WRT__CACHE_LINE = 64 }; /* bytes */
#endif

#endif
