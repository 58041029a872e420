/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LeakSanitizer's report:
 *
 *     ==20671==ERROR: LeakSanitizer: detected memory leaks
 *
 *     Direct leak of 10000 byte(s) in 10 object(s) allocated from:
 *         #0 0x7f7ecf2b89cf in __interceptor_malloc ../../asan_malloc_linux.cpp:69
 *         #1 0x5646c0454201 in leaky /src/t.c:4
 *
 *     SUMMARY: AddressSanitizer: 10000 byte(s) leaked in 10 allocation(s).
 *
 * Leaked blocks are blocks in use.  The model has no class of leak, so it becomes the outermost frame,
 * "[direct leak]", where a filter finds it.  The report may stand in the midst of the program's own output:
 * lines that are no part of it are passed over.
 */
#include "format/stream.h"
#include "format/text.h"
#include "format/trace.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static int probe(const uint8_t *head, size_t len)
{
	if (memmem(head, len, "LeakSanitizer: detected memory leaks", 36))
		return 90;
	return memmem(head, len, "irect leak of ", 14) && memmem(head, len, " byte(s) in ", 12) ? 85
	                                                                                        : 0;
}

static bool take_header(char *p, struct trace_record *r)
{
	uint64_t bytes, blocks;
	const char *class;

	if (text_take(&p, "Direct leak of "))
		class = "[direct leak]";
	else if (text_take(&p, "Indirect leak of "))
		class = "[indirect leak]";
	else
		return false;
	if (!text_u64(&p, &bytes) || !text_take(&p, " byte(s) in ") || !text_u64(&p, &blocks) ||
	    !text_take(&p, " object(s) allocated from:"))
		return false;
	trace_record_open(r, class, &(struct prof_value){ .blocks = blocks, .bytes = bytes });
	return true;
}

/* "SUMMARY: AddressSanitizer: 10000 byte(s) leaked in 10 allocation(s)." */
static bool take_summary(char *p, struct prof_value *ret)
{
	uint64_t bytes, blocks;

	if (!text_take(&p, "SUMMARY: "))
		return false;
	p = strstr(p, "Sanitizer: ");
	if (!p)
		return false;
	p += strlen("Sanitizer: ");
	if (!text_u64(&p, &bytes) || !text_take(&p, " byte(s) leaked in ") || !text_u64(&p, &blocks))
		return false;
	ret->bytes += bytes;
	ret->blocks += blocks;
	return true;
}

static struct seep_error *read_records(struct format_input *in, struct builder *b,
                                       struct trace_record *r)
{
	struct prof_value summary = { 0 }, found = { 0 };
	bool summed = false;
	size_t records = 0, len;
	char *line;

	while ((line = stream_line(in->stream, &len)) && !b->failed) {
		struct trace_frame f;
		char *p = line;

		text_blanks(&p);
		if (take_header(p, r)) {
			prof_value_add(&found, &r->value);
			records++;
		} else if (r->open && trace_sanitizer(b, line, &f)) {
			trace_add(b, &r->trace, &f);
		} else {
			uint64_t pid;

			trace_record_close(b, r);
			summed |= take_summary(p, &summary);
			if (text_take(&p, "==") && text_u64(&p, &pid) && text_take(&p, "==") &&
			    pid <= INT32_MAX && !b->p->pid)
				b->p->pid = (int32_t)pid;
		}
	}
	trace_record_close(b, r);
	if (!records)
		return format_bad(in, "LeakSanitizer", "there is no leak in it");
	if (!summed)
		format_warn(in, "%s ends at line %llu, before its summary: leaks may be missing",
		            in->path, (unsigned long long)stream_number(in->stream));
	else if (summary.bytes != found.bytes || summary.blocks != found.blocks)
		format_warn(in,
		            "%s names %llu bytes in %llu leaks; its summary says %llu bytes in %llu",
		            in->path, (unsigned long long)found.bytes,
		            (unsigned long long)found.blocks, (unsigned long long)summary.bytes,
		            (unsigned long long)summary.blocks);
	return NULL;
}

static struct seep_error *read_lsan(struct format_input *in, struct profile **ret_profile)
{
	return trace_records_read(in, "LeakSanitizer report", read_records, ret_profile);
}

const struct format format_lsan = {
	.name = "lsan",
	.title = "LeakSanitizer report",
	.suffixes = "",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS,
	.probe = probe,
	.read = read_lsan,
};
