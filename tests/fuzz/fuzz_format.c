/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: the readers of other tools' files.  A first byte of 0x80 and more says which reader: a number of
 * the table; else it is what the content looks like.  (No format begins with such a byte, so the seeds, which
 * are plain files, go that way, pprof's with its newline too.)  What is accepted must be sound, and the writers
 * must cope with it; what is written in the same format must be readable again.
 */
#include "format/format.h"
#include "profile/profile.h"

#include "base/buf.h"
#include "base/error.h"

#include <assert.h>
#include <stdlib.h>

#define BY_NUMBER 0x80u
#define SMALL 4096 /* writing everything makes large inputs slow, and finds nothing more */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_again(const struct format *f, const struct buf *bytes)
{
	struct profile *p = NULL;
	char **warnings = NULL;

	seep_error_free(format_read_memory(bytes->data ? bytes->data : "", bytes->len, "again", f,
	                                   &p, &warnings));
	if (p)
		assert(!profile_check(p));
	format_free_warnings(warnings);
	profile_free(p);
}

/* One of them, as the content has it: all of them would take nine tenths of the time. */
static void write_one(const struct profile *p, const uint8_t *data, size_t size)
{
	struct format_output o = { .kinds = PROF_ALL_KINDS };
	struct buf out = { 0 };
	struct seep_error *err;
	size_t rows = 0, i = size;

	while (formats[rows])
		rows++;
	for (size_t k = 0; k < size; k++)
		i = i * 31 + data[k];
	for (i %= rows; !formats[i]->write;)
		i = (i + 1) % rows;
	err = format_write(formats[i], p, &o, &out);
	if (!err && formats[i]->read)
		read_again(formats[i], &out);
	seep_error_free(err);
	buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct format *format = NULL;
	struct profile *p = NULL;
	char **warnings = NULL;
	size_t rows = 0;

	if (!size)
		return 0;
	while (formats[rows])
		rows++;
	if (data[0] >= BY_NUMBER && data[0] - BY_NUMBER < rows &&
	    formats[data[0] - BY_NUMBER]->read) {
		format = formats[data[0] - BY_NUMBER];
		data++;
		size--;
	}
	seep_error_free(format_read_memory(data, size, "input", format, &p, &warnings));
	format_free_warnings(warnings);
	if (p) {
		assert(!profile_check(p));
		if (size <= SMALL)
			write_one(p, data, size);
	}
	profile_free(p);
	return 0;
}
