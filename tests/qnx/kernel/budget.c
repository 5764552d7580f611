/* Budgets of processor time, where the system has the adaptive-partition scheduler. */
#include "check.h"

#include <errno.h>
#include <string.h>
#include <sys/neutrino.h>
#include <sys/sched_aps.h>

static int make(const char *name, unsigned percent, int parent, int16_t *id_out)
{
    sched_aps_create_parms wanted;

    APS_INIT_DATA(&wanted);
    wanted.name = (char *)(uintptr_t)name;
    wanted.budget_percent = (uint16_t)percent;
    if (parent >= 0) {
        wanted.aps_create_flags = APS_CREATE_FLAGS_USE_PARENT_ID;
        wanted.parent_id = (int8_t)parent;
    }
    const int number = -SchedCtl_r(SCHED_APS_CREATE_PARTITION, &wanted, sizeof wanted);
    if (id_out != NULL) *id_out = wanted.id;
    return number;
}

static sched_aps_partition_info info_of(int16_t id)
{
    sched_aps_partition_info info;

    APS_INIT_DATA(&info);
    info.id = id;
    CHECK_EQUAL(SchedCtl(SCHED_APS_QUERY_PARTITION, &info, sizeof info), 0);
    return info;
}

static int modify(int16_t id, int percent, int critical_ms)
{
    sched_aps_modify_parms wanted;

    APS_INIT_DATA(&wanted);
    wanted.id = id;
    wanted.new_budget_percent = (int16_t)percent;
    wanted.new_critical_budget_ms = (int16_t)critical_ms;
    return -SchedCtl_r(SCHED_APS_MODIFY_PARTITION, &wanted, sizeof wanted);
}

static void the_system_starts_with_all_of_it(void)
{
    const sched_aps_partition_info system = info_of(APS_SYSTEM_PARTITION_ID);
    sched_aps_info all;

    CHECK_EQUAL(system.budget_percent, 100);
    CHECK(memcmp(system.name, APS_SYSTEM_PARTITION_NAME, 7) == 0);
    APS_INIT_DATA(&all);
    CHECK_EQUAL(SchedCtl(SCHED_APS_QUERY_PARMS, &all, sizeof all), 0);
    CHECK_EQUAL(all.num_partitions, 1);
    CHECK(all.max_partitions >= 2 && all.cycles_per_ms > 0);
    CHECK_EQUAL((int64_t)(all.windowsize_cycles / all.cycles_per_ms), 100);
    CHECK_EQUAL((int64_t)system.budget_cycles, (int64_t)all.windowsize_cycles);
}

static void a_budget_is_taken_from_its_parent(void)
{
    int16_t one, two;

    CHECK_EQUAL(make("one", 40, -1, &one), EOK);
    CHECK_EQUAL(info_of(0).budget_percent, 60);
    CHECK_EQUAL(make("two", 15, one, &two), EOK);
    CHECK_EQUAL(info_of(one).budget_percent, 25);
    CHECK_EQUAL(info_of(0).budget_percent, 60);
    CHECK_EQUAL(info_of(two).parent_id, one);
    CHECK_EQUAL(make("three", 30, one, NULL), EDQUOT);
    CHECK_EQUAL(info_of(one).budget_percent, 25);
    CHECK_EQUAL(modify(two, 5, -1), EOK);
    CHECK_EQUAL(info_of(one).budget_percent, 35);
    CHECK_EQUAL(modify(two, 50, -1), EDQUOT);
    CHECK_EQUAL(modify(two, -1, 20), EOK);
    CHECK_EQUAL(info_of(two).budget_percent, 5);
    CHECK(info_of(two).critical_budget_cycles > 0);
    CHECK_EQUAL(modify(0, 50, -1), EINVAL);
}

static void names_are_found_and_checked(void)
{
    int16_t id, other;
    sched_aps_lookup_parms lookup;

    CHECK_EQUAL(make("video", 10, -1, &id), EOK);
    CHECK_EQUAL(make("video", 10, -1, NULL), EEXIST);
    CHECK_EQUAL(make("a/b", 10, -1, NULL), EINVAL);
    CHECK_EQUAL(make("longer than fifteen", 10, -1, NULL), ENAMETOOLONG);
    CHECK_EQUAL(make(NULL, 10, -1, &other), EOK);
    CHECK(info_of(other).name[0] == 'P');
    APS_INIT_DATA(&lookup);
    lookup.name = (char *)(uintptr_t) "video";
    CHECK_EQUAL(SchedCtl(SCHED_APS_LOOKUP, &lookup, sizeof lookup), 0);
    CHECK_EQUAL(lookup.id, id);
    lookup.name = (char *)(uintptr_t) "audio";
    CHECK_EQUAL(SchedCtl(SCHED_APS_LOOKUP, &lookup, sizeof lookup), -1);
    CHECK_EQUAL(errno, EINVAL);
}

static void arguments_are_checked(void)
{
    sched_aps_create_parms wanted;
    sched_aps_partition_info info;

    APS_INIT_DATA(&wanted);
    wanted.budget_percent = 10;
    CHECK_EQUAL(SchedCtl_r(SCHED_APS_CREATE_PARTITION, &wanted, sizeof wanted - 1), -EINVAL);
    wanted.reserved1 = 1;
    CHECK_EQUAL(SchedCtl_r(SCHED_APS_CREATE_PARTITION, &wanted, sizeof wanted), -EDOM);
    CHECK_EQUAL(SchedCtl_r(SCHED_APS_CREATE_PARTITION, NULL, sizeof wanted), -EFAULT);
    CHECK_EQUAL(make("much", 101, -1, NULL), EINVAL);
    CHECK_EQUAL(make("orphan", 1, 9, NULL), EINVAL);
    APS_INIT_DATA(&info);
    info.id = 12;
    CHECK_EQUAL(SchedCtl_r(SCHED_APS_QUERY_PARTITION, &info, sizeof info), -EINVAL);
    CHECK_EQUAL(SchedCtl_r(4711, &info, sizeof info), -EINVAL);
    CHECK_EQUAL(info_of(0).budget_percent, 100);
}

static void there_is_an_end_of_partitions(void)
{
    sched_aps_info all;
    int number = EOK, made = 0;

    APS_INIT_DATA(&all);
    CHECK_EQUAL(SchedCtl(SCHED_APS_QUERY_PARMS, &all, sizeof all), 0);
    while (made < 100 && (number = make(NULL, 1, -1, NULL)) == EOK) made++;
    CHECK_EQUAL(number, ENOSPC);
    CHECK_EQUAL(made, all.max_partitions - 1);
}

static int16_t home(void)
{
    sched_aps_query_thread_parms wanted;

    APS_INIT_DATA(&wanted);
    CHECK_EQUAL(SchedCtl(SCHED_APS_QUERY_THREAD, &wanted, sizeof wanted), 0);
    return wanted.id;
}

static int join(int16_t id, int pid, int tid)
{
    sched_aps_join_parms wanted;

    APS_INIT_DATA(&wanted);
    wanted.id = id;
    wanted.pid = pid;
    wanted.tid = tid;
    return -SchedCtl_r(SCHED_APS_JOIN_PARTITION, &wanted, sizeof wanted);
}

static void a_thread_joins_and_its_partitions_come_from_there(void)
{
    int16_t one, two;

    CHECK_EQUAL(home(), 0);
    CHECK_EQUAL(make("one", 30, -1, &one), EOK);
    CHECK_EQUAL(join(one, 0, 0), EOK);
    CHECK_EQUAL(home(), one);
    CHECK_EQUAL(make("two", 10, -1, &two), EOK); /* the parent is where the caller runs */
    CHECK_EQUAL(info_of(two).parent_id, one);
    CHECK_EQUAL(info_of(one).budget_percent, 20);
    CHECK_EQUAL(join(99, 0, 0), EINVAL);
    CHECK_EQUAL(join(two, 0, 4711), ESRCH);
    CHECK_EQUAL(join(two, 4711, 0), ESRCH);
    CHECK_EQUAL(join(0, 0, 0), EOK);
    CHECK_EQUAL(home(), 0);
}

static uint32_t add_rules(uint32_t flags)
{
    sched_aps_security_parms wanted;

    APS_INIT_DATA(&wanted);
    wanted.sec_flags = flags;
    CHECK_EQUAL(SchedCtl(SCHED_APS_ADD_SECURITY, &wanted, sizeof wanted), 0);
    return wanted.sec_flags;
}

static void rules_hold_until_a_restart(void)
{
    int16_t one;

    CHECK_EQUAL(make("one", 30, -1, &one), EOK);
    CHECK_EQUAL(add_rules(0), 0);
    CHECK_EQUAL(add_rules(SCHED_APS_SEC_NONZERO_BUDGETS), SCHED_APS_SEC_NONZERO_BUDGETS);
    CHECK_EQUAL(make("none", 0, -1, NULL), EACCES);
    CHECK_EQUAL(modify(one, 0, -1), EACCES);
    CHECK_EQUAL(modify(one, 20, -1), EOK);
    (void)add_rules(SCHED_APS_SEC_SYS_MAKES_PARTITIONS);
    CHECK_EQUAL(join(one, 0, 0), EOK);
    CHECK_EQUAL(make("two", 5, -1, NULL), EACCES);
    CHECK_EQUAL(join(0, 0, 0), EOK);
    (void)add_rules(SCHED_APS_SEC_PARTITIONS_LOCKED);
    CHECK_EQUAL(make("two", 5, -1, NULL), EACCES);
    CHECK_EQUAL(modify(one, 10, -1), EACCES);
    CHECK_EQUAL(info_of(one).budget_percent, 20);
}

static void statistics_come_for_all_at_once(void)
{
    sched_aps_partition_stats stats[3];
    sched_aps_overall_stats all;
    int16_t one;

    CHECK_EQUAL(make("one", 30, -1, &one), EOK);
    memset(stats, 0, sizeof stats);
    CHECK_EQUAL(SchedCtl(SCHED_APS_PARTITION_STATS, stats, sizeof stats), 0);
    CHECK(stats[0].id == 0 && stats[1].id == one && stats[2].id == -1);
    CHECK_EQUAL(SchedCtl(SCHED_APS_PARTITION_STATS, stats, sizeof stats - 1), -1);
    APS_INIT_DATA(&all);
    CHECK_EQUAL(SchedCtl(SCHED_APS_OVERALL_STATS, &all, sizeof all), 0);
    CHECK_EQUAL(all.id_at_last_bankruptcy, -1);
}

static void without_the_scheduler_it_is_enosys(void)
{
    sched_aps_info all;

    APS_INIT_DATA(&all);
    CHECK_EQUAL(SchedCtl(SCHED_APS_QUERY_PARMS, &all, sizeof all), -1);
    CHECK_EQUAL(errno, ENOSYS);
    CHECK_EQUAL(make("one", 10, -1, NULL), ENOSYS);
}

const struct check budget_checks[] = {
    {"the system starts with all of it", the_system_starts_with_all_of_it},
    {"a budget is taken from its parent", a_budget_is_taken_from_its_parent},
    {"names are found and checked", names_are_found_and_checked},
    {"arguments are checked", arguments_are_checked},
    {"there is an end of partitions", there_is_an_end_of_partitions},
    {"a thread joins and its partitions come from there",
     a_thread_joins_and_its_partitions_come_from_there},
    {"rules hold until a restart", rules_hold_until_a_restart},
    {"statistics come for all at once", statistics_come_for_all_at_once},
    {NULL, NULL},
};

const struct check budget_absent_checks[] = {
    {"without the scheduler it is ENOSYS", without_the_scheduler_it_is_enosys},
    {NULL, NULL},
};
