/* QNX: what the kernel itself says of threads and their scheduling. */
#include <sched.h>
#include <string.h>
#include <sys/neutrino.h>

#include "entry_answer.h"

/* 4 ms: the time slice of SCHED_RR. */
enum { TIME_SLICE = 4000000, PRIVILEGED = 64 };

static bool is_own(pid_t process)
{
    return process == 0 || process == qk_process_id();
}

/* The commands' structures: a number of words, then the masks; or two lengths, then the name. */
static qk_error both_masks(int thread, struct _thread_runmask *data)
{
    uint32_t words[2];

    if (!qk_may_write(data, sizeof *data + sizeof words)) return QK_EFAULT;
    if (data->size != RMSK_SIZE((int)qk_processors())) return QK_EINVAL;
    memcpy(words, data + 1, sizeof words);
    qk_error error = qk_thread_run_mask(thread, &words[0], &words[1]);
    if (error == QK_OK) memcpy(data + 1, words, sizeof words);
    return error;
}

static qk_error one_mask(int thread, uint32_t *mask)
{
    if (!qk_may_write(mask, sizeof *mask)) return QK_EFAULT;
    return qk_thread_run_mask(thread, mask, NULL);
}

static qk_error set_mask(int thread, uint32_t mask)
{
    return mask == 0 ? QK_EINVAL : qk_thread_run_mask(thread, &mask, NULL);
}

static qk_error name(int thread, struct _thread_name *data)
{
    char before[QK_THREAD_NAME_MAX];
    char text[QK_THREAD_NAME_MAX] = "";

    if (!qk_may_write(data, sizeof *data)) return QK_EFAULT;
    if (data->new_name_len >= QK_THREAD_NAME_MAX) return QK_EINVAL;
    if (data->new_name_len > 0) memcpy(text, data->name_buf, (size_t)data->new_name_len);
    const char *set = data->new_name_len >= 0 ? text : NULL;
    qk_error error = qk_thread_name("ThreadCtl", thread, set, before);
    if (error != QK_OK || data->name_buf_len <= 0) return error;
    size_t room = (size_t)data->name_buf_len;
    if (room > sizeof before) room = sizeof before;
    memcpy(data->name_buf, before, room);
    data->name_buf[room - 1] = '\0';
    return QK_OK;
}

static qk_error control(pid_t process, int thread, int command, void *data)
{
    if (!is_own(process)) return QK_ESRCH;
    switch (command) {
    case _NTO_TCTL_RUNMASK:
        return set_mask(thread, (uint32_t)(uintptr_t)data);
    case _NTO_TCTL_RUNMASK_GET_AND_SET:
        return one_mask(thread, data);
    case _NTO_TCTL_RUNMASK_GET_AND_SET_INHERIT:
        return both_masks(thread, data);
    case _NTO_TCTL_NAME:
        return name(thread, data);
    default:
        return QK_EINVAL;
    }
}

int ThreadCtl(int command, void *data)
{
    return sim_answer(control(0, 0, command, data));
}

int ThreadCtl_r(int command, void *data)
{
    return sim_answer_negative(control(0, 0, command, data));
}

int ThreadCtlExt(pid_t process, int thread, int command, void *data)
{
    return sim_answer(control(process, thread, command, data));
}

int ThreadCtlExt_r(pid_t process, int thread, int command, void *data)
{
    return sim_answer_negative(control(process, thread, command, data));
}

static bool is_policy(int policy)
{
    return policy >= SCHED_FIFO && policy <= SCHED_SPORADIC;
}

/* The thread's scheduling; `policy_out` is what the call itself returns. */
static qk_error get(pid_t process, int thread, struct sched_param *param, int *policy_out)
{
    qk_scheduling scheduling;

    if (!is_own(process)) return QK_ESRCH;
    if (!qk_may_write(param, sizeof *param)) return QK_EFAULT;
    qk_error error = qk_scheduling_get("SchedGet", thread, &scheduling);
    if (error != QK_OK) return error;
    memset(param, 0, sizeof *param);
    param->sched_priority = scheduling.priority;
    param->sched_curpriority = scheduling.current;
    *policy_out = scheduling.policy < 0 ? SCHED_RR : scheduling.policy;
    return QK_OK;
}

int SchedGet(pid_t process, int thread, struct sched_param *param)
{
    int policy = 0;

    return sim_answer(get(process, thread, param, &policy)) == 0 ? policy : -1;
}

int SchedGet_r(pid_t process, int thread, struct sched_param *param)
{
    int policy = 0;
    qk_error error = get(process, thread, param, &policy);

    return error == QK_OK ? policy : sim_answer_negative(error);
}

static qk_error set(pid_t process, int thread, int algorithm, const struct sched_param *param)
{
    if (!is_own(process)) return QK_ESRCH;
    if (algorithm != SCHED_NOCHANGE && !is_policy(algorithm)) return QK_EINVAL;
    if (!qk_may_read(param, sizeof *param)) return QK_EFAULT;
    int policy = algorithm == SCHED_NOCHANGE ? -1 : algorithm;
    return qk_scheduling_set("SchedSet", thread, policy, param->sched_priority);
}

int SchedSet(pid_t process, int thread, int algorithm, const struct sched_param *param)
{
    return sim_answer(set(process, thread, algorithm, param));
}

int SchedSet_r(pid_t process, int thread, int algorithm, const struct sched_param *param)
{
    return sim_answer_negative(set(process, thread, algorithm, param));
}

static qk_error tell(pid_t process, int algorithm, struct _sched_info *info)
{
    if (!is_own(process)) return QK_ESRCH;
    if (!is_policy(algorithm)) return QK_EINVAL;
    if (!qk_may_write(info, sizeof *info)) return QK_EFAULT;
    *info = (struct _sched_info){
        .priority_min = QK_PRIORITY_MIN,
        .priority_max = QK_PRIORITY_MAX,
        .interval = TIME_SLICE,
        .priority_priv = PRIVILEGED,
    };
    return QK_OK;
}

int SchedInfo(pid_t process, int algorithm, struct _sched_info *info)
{
    return sim_answer(tell(process, algorithm, info));
}

int SchedInfo_r(pid_t process, int algorithm, struct _sched_info *info)
{
    return sim_answer_negative(tell(process, algorithm, info));
}

int SchedYield(void)
{
    return sim_answer(qk_yield());
}

int SchedYield_r(void)
{
    return sim_answer_negative(qk_yield());
}

int sched_yield(void)
{
    return SchedYield();
}

int sched_get_priority_min(int policy)
{
    return is_policy(policy) ? QK_PRIORITY_MIN : sim_answer(QK_EINVAL);
}

int sched_get_priority_max(int policy)
{
    return is_policy(policy) ? QK_PRIORITY_MAX : sim_answer(QK_EINVAL);
}
