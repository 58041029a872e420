/* SPDX-License-Identifier: Apache-2.0 */
/* A small ledger with something in every section: what the tests check and the fuzzer mutates. */
#ifndef SEEP_TESTS_SAMPLE_LEDGER_H
#define SEEP_TESTS_SAMPLE_LEDGER_H

#include "ledger_maker.h"

#define SAMPLE_BLOCKS \
	300u /* live heap blocks of site 1, 64 bytes apart from SAMPLE_HEAP, sizes 16..315 */
#define SAMPLE_HEAP 0x7f1200000000ull
#define SAMPLE_PERIOD 65536u /* periods[1] */

struct maker *sample_ledger(const char *path);

#endif
