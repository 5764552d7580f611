/* Internal: the steps into namespaces, for a process that is being started. */
#ifndef WRT_LINUX_NAMESPACES_H
#define WRT_LINUX_NAMESPACES_H

#include "wrt_platform/linux/namespaces.h"

/* The bits as clone() and unshare() take them. */
int wrt__namespace_flags(uint32_t namespaces);

/* Inside of a new user namespace: `user` and `group` of outside are called the same inside. */
wrt_status wrt__namespace_map_users(const char *operation, uint32_t user, uint32_t group);

/* Nothing that is mounted from now on is seen outside, and the other way round. */
wrt_status wrt__namespace_private_mounts(const char *operation);

/* Makes `root` the root, and lets go of the old one. */
wrt_status wrt__namespace_pivot(const char *operation, const char *root);

/* Brings the loopback interface up. */
wrt_status wrt__namespace_loopback(const char *operation);

/* The failure of unshare() or clone() with errno `code`, with what refuses it. */
wrt_status wrt__namespace_fail(const char *operation, int code);

/* Why, as a text of its own. */
const char *wrt__namespace_refusal(int code);

#endif
