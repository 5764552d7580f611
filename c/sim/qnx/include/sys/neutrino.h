/* QNX: the calls of the kernel. Each has two forms: that with _r answers the negative error number,
 * the other one -1 and errno. */
#ifndef QNX_SYS_NEUTRINO_H
#define QNX_SYS_NEUTRINO_H

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/states.h>
#include <sys/types.h>
#include <time.h>

/* Channels, connections, pulses. */

#define _NTO_CHF_FIXED_PRIORITY  0x0001
#define _NTO_CHF_UNBLOCK         0x0002
#define _NTO_CHF_THREAD_DEATH    0x0004
#define _NTO_CHF_DISCONNECT      0x0008
#define _NTO_CHF_NET_MSG         0x0010
#define _NTO_CHF_SENDER_LEN      0x0020
#define _NTO_CHF_COID_DISCONNECT 0x0040
#define _NTO_CHF_REPLY_LEN       0x0080
#define _NTO_CHF_PULSE_POOL      0x0100
#define _NTO_CHF_GLOBAL          0x0800
#define _NTO_CHF_PRIVATE         0x1000
#define _NTO_CHF_MSG_PAUSING     0x2000
#define _NTO_CHF_INHERIT_RUNMASK 0x4000
#define _NTO_CHF_UNBLOCK_TIMER   0x8000

#define _NTO_CHO_CUSTOM_EVENT 1

#define _NTO_COF_CLOEXEC 0x0001
#define _NTO_COF_DEAD    0x0002
#define _NTO_COF_NOSHARE 0x0040
#define _NTO_COF_NOEVENT 0x0800
#define _NTO_COF_MASK    0xffff

#define _NTO_SIDE_CHANNEL   0x40000000u
#define _NTO_GLOBAL_CHANNEL 0x40000000u

#define _PULSE_TYPE             0
#define _PULSE_SUBTYPE          0
#define _PULSE_CODE_UNBLOCK     (-32)
#define _PULSE_CODE_DISCONNECT  (-33)
#define _PULSE_CODE_THREADDEATH (-34)
#define _PULSE_CODE_COIDDEATH   (-35)
#define _PULSE_CODE_MINAVAIL    0
#define _PULSE_CODE_MAXAVAIL    127

#define _NTO_PULSE_IF_UNIQUE 0x1000
#define _NTO_PULSE_REPLACE   0x2000

struct _pulse {
    uint16_t type;
    uint16_t subtype;
    int8_t code;
    uint8_t zero[3];
    union sigval value;
    int32_t scoid;
};

/* What a receiver is told of its message; 64-bit programs call it _msg_info. */
struct _msg_info64 {
    uint32_t nd;
    uint32_t srcnd;
    pid_t pid;
    int32_t tid;
    int32_t chid;
    int32_t scoid;
    int32_t coid;
    int16_t priority;
    int16_t flags;
    ssize_t msglen;
    ssize_t srcmsglen;
    ssize_t dstmsglen;
    uint32_t type_id;
    uint32_t reserved;
};

#define _msg_info _msg_info64

struct nto_channel_config {
    struct sigevent event;
    unsigned int num_pulses;
    unsigned int rearm_threshold;
    unsigned int options;
    unsigned int reserved[3];
};

#define __QNX_CALL(result, name, parameters)                                                       \
    result name parameters __QNX_SYMBOL(name);                                                     \
    result name##_r parameters __QNX_SYMBOL(name##_r)

__QNX_CALL(int, ChannelCreate, (unsigned int flags));
int ChannelCreatePulsePool(unsigned int flags, const struct nto_channel_config *config)
    __QNX_SYMBOL(ChannelCreatePulsePool);
__QNX_CALL(int, ChannelDestroy, (int channel));
__QNX_CALL(int, ConnectAttach,
           (uint32_t node, pid_t process, int channel, unsigned int index, int flags));
__QNX_CALL(int, ConnectDetach, (int connection));
__QNX_CALL(int, MsgSendPulse, (int connection, int priority, int code, int value));
__QNX_CALL(int, MsgSendPulsePtr, (int connection, int priority, int code, void *value));
__QNX_CALL(int, MsgReceivePulse,
           (int channel, void *pulse, size_t bytes, struct _msg_info64 *info));

/* Time. */

#define _NTO_TIMEOUT_SEND      (1 << STATE_SEND)
#define _NTO_TIMEOUT_RECEIVE   (1 << STATE_RECEIVE)
#define _NTO_TIMEOUT_REPLY     (1 << STATE_REPLY)
#define _NTO_TIMEOUT_NANOSLEEP (1 << STATE_NANOSLEEP)
#define _NTO_TIMEOUT_MUTEX     (1 << STATE_MUTEX)
#define _NTO_TIMEOUT_CONDVAR   (1 << STATE_CONDVAR)
#define _NTO_TIMEOUT_JOIN      (1 << STATE_JOIN)
#define _NTO_TIMEOUT_INTR      (1 << STATE_INTR)
#define _NTO_TIMEOUT_SEM       (1 << STATE_SEM)
#define _NTO_TIMEOUT_ACTIVE    (1 << 24)

__QNX_CALL(int, TimerTimeout,
           (clockid_t id, int flags, const struct sigevent *notify, const uint64_t *time,
            uint64_t *left));
__QNX_CALL(int, ClockTime, (clockid_t id, const uint64_t *set, uint64_t *time));
__QNX_CALL(int, ClockId, (pid_t process, int thread));

/* Mutexes, condition variables, semaphores. */

#define _NTO_SYNC_NONRECURSIVE 0x80000000u
#define _NTO_SYNC_NOERRORCHECK 0x40000000u
#define _NTO_SYNC_PRIOCEILING  0x20000000u
#define _NTO_SYNC_PRIONONE     0x10000000u
#define _NTO_SYNC_COUNTMASK    0x00ffffffu

#define _NTO_SYNC_MUTEX_FREE  0x00000000u
#define _NTO_SYNC_WAITING     0x80000000u
#define _NTO_SYNC_OWNER_MASK  0x7fffffffu
#define _NTO_SYNC_INITIALIZER 0xffffffffu
#define _NTO_SYNC_DESTROYED   0xfffffffeu
#define _NTO_SYNC_SEM         0xfffffffcu
#define _NTO_SYNC_COND        0xfffffffbu

#define _NTO_SCTL_SETPRIOCEILING   1
#define _NTO_SCTL_GETPRIOCEILING   2
#define _NTO_SCTL_SETEVENT         3
#define _NTO_SCTL_MUTEX_WAKEUP     4
#define _NTO_SCTL_MUTEX_CONSISTENT 5
#define _NTO_SCTL_SEM_VALUE        6

__QNX_CALL(int, SyncTypeCreate,
           (unsigned int type, sync_t *sync, const struct _sync_attr *attributes));
__QNX_CALL(int, SyncDestroy, (sync_t * sync));
__QNX_CALL(int, SyncCtl, (int command, sync_t *sync, void *data));
__QNX_CALL(int, SyncMutexLock, (sync_t * sync));
__QNX_CALL(int, SyncMutexUnlock, (sync_t * sync));
__QNX_CALL(int, SyncCondvarWait, (sync_t * condition, sync_t *mutex));
__QNX_CALL(int, SyncCondvarSignal, (sync_t * condition, int all));
__QNX_CALL(int, SyncSemPost, (sync_t * semaphore));
__QNX_CALL(int, SyncSemWait, (sync_t * semaphore, int only_try));

/* Threads. */

#define _NTO_TCTL_RUNMASK                     4
#define _NTO_TCTL_RUNMASK_GET_AND_SET         6
#define _NTO_TCTL_RUNMASK_GET_AND_SET_INHERIT 10
#define _NTO_TCTL_NAME                        11

#define _NTO_THREAD_NAME_MAX 100

struct _thread_name {
    int new_name_len; /* negative: only tell */
    int name_buf_len;
    char name_buf[1];
};

/* RMSK_SIZE words of the mask follow, and as many of what children inherit. */
struct _thread_runmask {
    int size; /* words of one mask */
};

#define RMSK_SIZE(cpus)       (((cpus)-1) / 32 + 1)
#define RMSK_SET(cpu, mask)   ((mask)[(cpu) / 32] |= (1u << ((cpu) % 32)))
#define RMSK_CLR(cpu, mask)   ((mask)[(cpu) / 32] &= ~(1u << ((cpu) % 32)))
#define RMSK_ISSET(cpu, mask) ((mask)[(cpu) / 32] & (1u << ((cpu) % 32)))

struct _sched_info {
    int priority_min;
    int priority_max;
    uint64_t interval;
    int priority_priv;
    int reserved[11];
};

__QNX_CALL(int, ThreadCtl, (int command, void *data));
__QNX_CALL(int, ThreadCtlExt, (pid_t process, int thread, int command, void *data));
__QNX_CALL(int, SchedGet, (pid_t process, int thread, struct sched_param *param));
__QNX_CALL(int, SchedSet,
           (pid_t process, int thread, int algorithm, const struct sched_param *param));
__QNX_CALL(int, SchedInfo, (pid_t process, int algorithm, struct _sched_info *info));
__QNX_CALL(int, SchedYield, (void));
__QNX_CALL(int, SchedCtl, (int command, void *data, size_t length));

#endif
