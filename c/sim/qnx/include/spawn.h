/* QNX: starting a process. The flags are those of 7.1, as the crate libc has them; the partition
 * calls are those of 6.4, where POSIX_SPAWN_SETMPART was 0x10. 7.1 gave that bit to
 * POSIX_SPAWN_RESETIDS, so here it has a free one: sources use the names alone. */
#ifndef QNX_SPAWN_H
#define QNX_SPAWN_H

#include <stdint.h>
#include <sys/part.h>
#include <sys/platform.h>
#include <sys/types.h>

typedef uintptr_t posix_spawnattr_t;
typedef void *posix_spawn_file_actions_t;

#define POSIX_SPAWN_SETPGROUP     0x00000001
#define POSIX_SPAWN_SETSIGMASK    0x00000002
#define POSIX_SPAWN_SETSIGDEF     0x00000004
#define POSIX_SPAWN_RESETIDS      0x00000010
#define POSIX_SPAWN_SETSCHEDULER  0x00000040
#define POSIX_SPAWN_SETSCHEDPARAM 0x00000400
#define POSIX_SPAWN_SETMPART      0x00100000

int posix_spawnattr_init(posix_spawnattr_t *attr) __QNX_SYMBOL(posix_spawnattr_init);
int posix_spawnattr_destroy(posix_spawnattr_t *attr) __QNX_SYMBOL(posix_spawnattr_destroy);
int posix_spawnattr_getflags(const posix_spawnattr_t *attr, short *flags)
    __QNX_SYMBOL(posix_spawnattr_getflags);
int posix_spawnattr_setflags(posix_spawnattr_t *attr, short flags)
    __QNX_SYMBOL(posix_spawnattr_setflags);
int posix_spawnattr_getxflags(const posix_spawnattr_t *attr, uint32_t *flags)
    __QNX_SYMBOL(posix_spawnattr_getxflags);
int posix_spawnattr_setxflags(posix_spawnattr_t *attr, uint32_t flags)
    __QNX_SYMBOL(posix_spawnattr_setxflags);
int posix_spawnattr_addpartition(posix_spawnattr_t *attr, const char *path, part_dcmd_flags_t flags)
    __QNX_SYMBOL(posix_spawnattr_addpartition);
int posix_spawnattr_addpartid(posix_spawnattr_t *attr, part_id_t id, part_dcmd_flags_t flags)
    __QNX_SYMBOL(posix_spawnattr_addpartid);
int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
    __QNX_SYMBOL(posix_spawn);

#endif
