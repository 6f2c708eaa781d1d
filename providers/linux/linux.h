/* SPDX-License-Identifier: MIT
 *
 * The provider "linux": the kernel's own per-device coherent pools (kernel/dma/coherent.c, unmodified) in user space. */
#ifndef DMAUDIT_PROVIDERS_LINUX_LINUX_H
#define DMAUDIT_PROVIDERS_LINUX_LINUX_H

#include <dmaudit/provider.h>

#ifdef __cplusplus
extern "C" {
#endif

const struct dmaudit_provider *dmaudit_linux_provider(void);

#ifdef __cplusplus
}
#endif

#endif
