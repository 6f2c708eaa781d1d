/* SPDX-License-Identifier: MIT
 * Shared objects that are no providers: built once for each DEFECT_*. */
#include <dmaudit/provider.h>

#ifndef DEFECT_NO_SYMBOL
static int open_nothing(const struct dmaudit_platform *platform, void **ctx)
{
    (void)platform;
    *ctx = NULL;
    return DMAUDIT_OK;
}

static void close_nothing(void *ctx)
{
    (void)ctx;
}

#ifdef DEFECT_WRONG_ABI
#define ABI (DMAUDIT_ABI + 6)
#else
#define ABI DMAUDIT_ABI
#endif
static const struct dmaudit_provider provider = {
    .abi = ABI,
    .struct_size = sizeof provider,
    .name = "defect",
    .summary = "for plugin_test",
    .open = open_nothing,
    .close = close_nothing,
};

const struct dmaudit_provider *dmaudit_provider(void);
const struct dmaudit_provider *dmaudit_provider(void)
{
    return &provider;
}
#else
int not_a_provider(void);
int not_a_provider(void)
{
    return 0;
}
#endif
