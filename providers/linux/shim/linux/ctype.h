/* SPDX-License-Identifier: MIT */
#ifndef DMAUDIT_SHIM_CTYPE_H
#define DMAUDIT_SHIM_CTYPE_H

static inline int isspace(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

#endif
