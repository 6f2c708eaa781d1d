/* SPDX-License-Identifier: MIT
 * The provider as a plugin. */
#include "linux.h"

const struct dmaudit_provider *dmaudit_provider(void);

const struct dmaudit_provider *dmaudit_provider(void)
{
    return dmaudit_linux_provider();
}
