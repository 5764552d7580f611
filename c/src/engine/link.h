/* Internal: gives each import of a module what the config has under its names. */
#ifndef WRT_ENGINE_LINK_H
#define WRT_ENGINE_LINK_H

#include "wrt_platform/instance.h"

/* Fills the instance's pointers to imported functions, tables, globals and memory. */
wrt_status wrt__link(wrt_instance *instance, const char *operation,
                     const wrt_instance_config *config);

#endif
