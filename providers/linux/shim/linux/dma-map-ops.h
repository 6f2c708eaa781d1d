/* SPDX-License-Identifier: MIT */
#ifndef DMAUDIT_SHIM_DMA_MAP_OPS_H
#define DMAUDIT_SHIM_DMA_MAP_OPS_H

#include <asm/page.h>
#include <linux/bitmap.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#endif
