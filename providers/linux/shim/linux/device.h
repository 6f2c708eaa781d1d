/* SPDX-License-Identifier: MIT */
#ifndef DMAUDIT_SHIM_DEVICE_H
#define DMAUDIT_SHIM_DEVICE_H

#include "../host.h"
#include <linux/errno.h>

/* No managed resources here: the devm_ calls of bitmap.c are never made. */
static inline int devm_add_action_or_reset(struct device *dev, void (*action)(void *), void *data)
{
    action(data);
    return -ENOMEM;
}

#endif
