/* Two tables: what the process was started with, and what its next start will bring. libc reads
 * the environment once, so a change has to wait for a start. */
#include "../common/host.h"

#include "kernel_environment.h"

struct entry {
    char name[QK_ENVIRONMENT_TEXT_MAX]; /* empty: free */
    char value[QK_ENVIRONMENT_TEXT_MAX];
};

static struct entry current[QK_ENVIRONMENT_MAX];
static struct entry next[QK_ENVIRONMENT_MAX];

static struct entry *find(struct entry *table, const char *name)
{
    for (struct entry *entry = table; entry < table + QK_ENVIRONMENT_MAX; entry++) {
        if (strcmp(entry->name, name) == 0) return entry;
    }
    return NULL;
}

qk_error qk_environment_set(const char *name, const char *value)
{
    struct entry *entry;

    if (name[0] == '\0' || strlen(name) >= QK_ENVIRONMENT_TEXT_MAX) return QK_EINVAL;
    if (value != NULL && strlen(value) >= QK_ENVIRONMENT_TEXT_MAX) return QK_EINVAL;
    entry = find(next, name);
    if (value == NULL) {
        if (entry != NULL) entry->name[0] = '\0';
        return QK_OK;
    }
    if (entry == NULL) entry = find(next, "");
    if (entry == NULL) return QK_ENOMEM;
    strcpy(entry->name, name);
    strcpy(entry->value, value);
    return QK_OK;
}

const char *qk_environment_get(const char *name)
{
    const struct entry *entry = name[0] != '\0' ? find(current, name) : NULL;

    return entry != NULL ? entry->value : NULL;
}

void qk_environment_reset(void)
{
    memcpy(current, next, sizeof current);
    memset(next, 0, sizeof next);
}
