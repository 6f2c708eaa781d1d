/* SPDX-License-Identifier: MIT
 * Comes first in every kernel file (-include), as the kernel's own kconfig.h does: configuration and byte order. */
#ifndef DMAUDIT_SHIM_KCONFIG_H
#define DMAUDIT_SHIM_KCONFIG_H

#if __SIZEOF_LONG__ == 8
#define CONFIG_64BIT 1
#endif
#define CONFIG_PHYS_ADDR_T_64BIT 1
#define CONFIG_ARCH_DMA_ADDR_T_64BIT 1

/* The kernel asks which of the two is defined. (The C library defines both.) */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define __LITTLE_ENDIAN 1234
#else
#define __BIG_ENDIAN 4321
#endif

#include <linux/compiler_types.h>

#endif
