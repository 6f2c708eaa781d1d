/* SPDX-License-Identifier: MIT */
#ifndef DMAUDIT_SHIM_DMA_DIRECT_H
#define DMAUDIT_SHIM_DMA_DIRECT_H

#include "../host.h"
#include <linux/types.h>

static inline dma_addr_t phys_to_dma(const struct device *dev, phys_addr_t phys)
{
    return phys + dev->bus_offset;
}

#endif
