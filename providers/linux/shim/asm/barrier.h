/* SPDX-License-Identifier: MIT */
#ifndef DMAUDIT_SHIM_BARRIER_H
#define DMAUDIT_SHIM_BARRIER_H

#define smp_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)

#endif
