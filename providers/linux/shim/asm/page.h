/* SPDX-License-Identifier: MIT
 * The page size is a constant of the kernel, so coherent.c is compiled once for each page size of the platform. */
#ifndef DMAUDIT_SHIM_PAGE_H
#define DMAUDIT_SHIM_PAGE_H

#ifdef DMAUDIT_PAGE_SHIFT
#define PAGE_SHIFT DMAUDIT_PAGE_SHIFT
#else
#define PAGE_SHIFT 12 /* for files that do not depend on it */
#endif
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))

#include <asm-generic/getorder.h>

#endif
