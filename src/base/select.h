/* SPDX-License-Identifier: Apache-2.0 */
/* The k-th largest of many numbers, without sorting them (Hoare's selection, pivots by the median of three). */
#ifndef SEEP_BASE_SELECT_H
#define SEEP_BASE_SELECT_H

#include <stddef.h>
#include <stdint.h>

/* 1 <= k <= n.  The numbers change places.  Linear but for orders that are made to hurt, which end at n log n of a heap. */
uint64_t select_largest(uint64_t *v, size_t n, size_t k);

#endif
