/* Killing without cgroup.kill (before Linux 5.14): every process of the group and of those below it
 * by its number, again and again, since what is killed may have forked before. The group is frozen
 * meanwhile, or a program that forks faster than we read would never be caught; what is frozen dies
 * of SIGKILL all the same. The way down keeps one open folder a level, which remembers how far it
 * has been read, so that no list is kept and no function calls itself. */
#include "cgroups.h"

#include "times.h"

enum { DEPTH_MAX = 32, NAME_SIZE = 256, ROUNDS_AT_LEAST = 64, PAUSE_NS = 1000000 };

/* What a pass over the tree has met. */
typedef struct tree_pass {
    pid_t self;
    bool kills;    /* or only looks */
    bool has_self; /* this process is in the tree */
    bool has_others;
} tree_pass;

/* A group may be gone before we look into it; one for threads has no list of processes: theirs are
 * in the group above. */
static bool is_passed_over(int code)
{
    return code == ENOENT || code == ENODEV || code == EOPNOTSUPP;
}

static int meet(tree_pass *pass, pid_t process)
{
    if (process == 0) return 0; /* of another namespace: not ours to name */
    if (process == pass->self) {
        pass->has_self = true;
        return 0;
    }
    pass->has_others = true;
    if (!pass->kills || wrt__sys_kill(process, SIGKILL) == 0 || errno == ESRCH) return 0;
    return -1;
}

/* The processes of one group. What does not fit is cut off: the next pass has it. */
static int meet_all(tree_pass *pass, int directory)
{
    char text[WRT__TEXT_SIZE];
    uint64_t process = 0;

    const ssize_t length = wrt__file_read(directory, "cgroup.procs", text, sizeof text);
    if (length < 0) return is_passed_over(errno) ? 0 : -1;
    for (const char *line = text; line < text + length; line += strcspn(line, "\n") + 1) {
        const char *end = wrt__read_number(line, &process);
        if (end == NULL || *end != '\n') break;
        if (meet(pass, (pid_t)process) != 0) return -1;
    }
    return 0;
}

/* ---- The way through the tree ---- */

typedef struct tree_way {
    int open[DEPTH_MAX + 1];
    int depth; /* of the last one that is open; -1: none */
} tree_way;

static int enter(tree_way *way, tree_pass *pass, int directory, const char *name)
{
    if (way->depth == DEPTH_MAX) {
        errno = ELOOP;
        return -1;
    }
    const int opened = wrt__sys_openat(directory, name, O_RDONLY | O_DIRECTORY);
    if (opened < 0) return is_passed_over(errno) ? 0 : -1;
    way->open[++way->depth] = opened;
    return meet_all(pass, opened);
}

/* One step: into the next group below, or back. */
static int step(tree_way *way, tree_pass *pass)
{
    char name[NAME_SIZE];
    const int directory = way->open[way->depth];

    const int found = wrt__sys_next_folder(directory, name);
    if (found > 0) return enter(way, pass, directory, name);
    if (found < 0 && !is_passed_over(errno)) return -1;
    close(directory);
    way->depth--;
    return 0;
}

static int walk(const wrt_linux_cgroup *group, tree_pass *pass)
{
    tree_way way = {.depth = -1};

    int done = enter(&way, pass, group->directory, ".");
    while (done == 0 && way.depth >= 0) done = step(&way, pass);
    const int code = errno;
    for (; way.depth >= 0; way.depth--) close(way.open[way.depth]);
    errno = code;
    return done;
}

/* ---- Killing ---- */

/* Whether the group is frozen by this; it may have been so before. */
static bool freeze(const wrt_linux_cgroup *group)
{
    char text[8];

    if (wrt__file_read(group->directory, "cgroup.freeze", text, sizeof text) <= 0) return false;
    return text[0] == '0' && wrt__file_write(group->directory, "cgroup.freeze", "1") == 0;
}

static int kill_others(const wrt_linux_cgroup *group, tree_pass *pass, uint64_t deadline)
{
    const struct timespec pause = wrt__timespec(PAUSE_NS);

    pass->kills = true;
    for (int round = 0;; round++) {
        pass->has_others = false;
        if (walk(group, pass) != 0) return -1;
        if (!pass->has_others) return 0;
        if (round >= ROUNDS_AT_LEAST && wrt__cgroup_rest_of(deadline) == 0) return 0;
        (void)nanosleep(&pause, NULL);
    }
}

int wrt__cgroup_kill_each(const wrt_linux_cgroup *group, uint64_t deadline)
{
    tree_pass pass = {.self = getpid()};

    if (walk(group, &pass) != 0) return -1;
    const bool is_frozen = !pass.has_self && freeze(group); /* who is frozen kills nobody */
    const int done = kill_others(group, &pass, deadline);
    const int code = errno;
    if (is_frozen) (void)wrt__file_write(group->directory, "cgroup.freeze", "0");
    if (done == 0 && pass.has_self) (void)wrt__sys_kill(pass.self, SIGKILL); /* the last one */
    errno = code;
    return done;
}
