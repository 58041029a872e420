/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in a function its probe is best put.
 */
#ifndef SEEP_CAPTURE_BPF_PLACE_H
#define SEEP_CAPTURE_BPF_PLACE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Bytes from a function's beginning to an instruction that every call passes with its first `args`
 * arguments (at most four) and its stack pointer as they were, and that the kernel can emulate; 0 when none is near or it
 * is not sure.  code: the function's len bytes.
 */
size_t place_probe(const uint8_t *code, size_t len, unsigned int args);

#endif
