/* SPDX-License-Identifier: MIT */
#ifndef DMAUDIT_SHIM_EXPORT_H
#define DMAUDIT_SHIM_EXPORT_H

#define EXPORT_SYMBOL(symbol)
#define EXPORT_SYMBOL_GPL(symbol)

#endif
