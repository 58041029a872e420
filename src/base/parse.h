/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as people type them.  Every function takes the whole string: anything
 * left over, an empty string, a sign or an overflow is -EINVAL or -ERANGE, and
 * *ret is left alone.
 */
#ifndef SEEP_BASE_PARSE_H
#define SEEP_BASE_PARSE_H

#include <stdint.h>

int parse_u64(const char *s, uint64_t *ret);  /* decimal, or 0x… */
int parse_size(const char *s, uint64_t *ret); /* bytes: 4096, 512K, 1.5M, 2GiB (powers of 1024) */
int parse_duration(const char *s,
                   uint64_t *ret); /* ns: 250ms, 90s, 10m, 1h30m, 2d; a bare number is seconds */
int parse_percent(const char *s, double *ret); /* 0..100, with or without a % sign */

#endif
