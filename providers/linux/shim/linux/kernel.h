/* SPDX-License-Identifier: MIT */
#ifndef DMAUDIT_SHIM_KERNEL_H
#define DMAUDIT_SHIM_KERNEL_H

#include "../host.h"
#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/limits.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/types.h>

#define SZ_1M 0x00100000

#define pr_err(format, ...) dmaudit_linux_printk(format, ##__VA_ARGS__)
#define pr_info(format, ...) dmaudit_linux_printk(format, ##__VA_ARGS__)

#endif
