/* QNX: nodes of a network; there is only this one. */
#ifndef QNX_SYS_NETMGR_H
#define QNX_SYS_NETMGR_H

#define ND_LOCAL_NODE 0

#endif
