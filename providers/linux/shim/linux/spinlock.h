/* SPDX-License-Identifier: MIT
 * A spinlock is a lock of the platform. There are no interrupts to be disabled. */
#ifndef DMAUDIT_SHIM_SPINLOCK_H
#define DMAUDIT_SHIM_SPINLOCK_H

#include "../host.h"

#define spin_lock_init(lock) ((void)((lock)->word = 0))
#define spin_lock_irqsave(lock, flags) ((flags) = 0, dmaudit_linux_lock(&(lock)->word))
#define spin_unlock_irqrestore(lock, flags) ((void)(flags), dmaudit_linux_unlock(&(lock)->word))

#endif
