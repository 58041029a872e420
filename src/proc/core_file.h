/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a core file, decompressed when they have to be.
 */
#ifndef SEEP_PROC_CORE_FILE_H
#define SEEP_PROC_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seep_error;

struct core_file {
	int fd;
	uint64_t size;
	bool cut; /* compressed, and the compressed data ends too early */
};

/*
 * Opens a regular file.  What zstd compressed (systemd-coredump's .zst) is unpacked into an unnamed
 * temporary file of at most max_bytes (0: 256 GiB); of other compressions the error says what to run.
 */
struct seep_error *core_file_open(const char *path, uint64_t max_bytes, struct core_file *ret);

#endif
