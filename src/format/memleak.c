/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bcc's memleak prints every few seconds:
 *
 *     [11:16:33] Top 2 stacks with outstanding allocations:
 *             80 bytes in 5 allocations from stack
 *                     main+0x6d [allocs]
 *                     __libc_start_main+0xf0 [libc-2.21.so]
 *
 * Newer versions put the address before the function.  Each report replaces the one before; the last one
 * counts.  Only the largest stacks are in it (-T), so totals are those of what is shown.
 */
#include "format/stream.h"
#include "format/text.h"
#include "format/trace.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define HEADER " stacks with outstanding allocations:"

static int probe(const uint8_t *head, size_t len)
{
	return memmem(head, len, HEADER, sizeof(HEADER) - 1) ? 90 : 0;
}

/* "[11:16:33] Top 2 stacks with …" */
static bool is_header(const char *line)
{
	return line[0] == '[' && strstr(line, "] Top ") && text_ends(line, HEADER);
}

static bool take_record(char *p, struct prof_value *ret)
{
	uint64_t bytes, blocks;

	text_blanks(&p);
	if (!text_u64(&p, &bytes) || !text_take(&p, " bytes in ") || !text_u64(&p, &blocks) ||
	    !text_take(&p, " allocations from stack"))
		return false;
	*ret = (struct prof_value){ .blocks = blocks, .bytes = bytes };
	return true;
}

/* "main+0x6d [allocs]", "0x55d1 main+0x6d [allocs]", "[unknown] [libfoo.so]" */
static bool take_frame(struct builder *b, char *p, struct trace_frame *ret)
{
	char *open, *plus;
	size_t n;

	text_blanks(&p);
	if (!*p)
		return false;
	*ret = (struct trace_frame){ .module = PROF_NO_MODULE };
	if (text_0x(&p, &ret->pc))
		text_blanks(&p);
	n = strlen(p);
	while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
		p[--n] = 0;
	open = strrchr(p, '[');
	if (open && open > p && open[-1] == ' ' && p[n - 1] == ']') {
		p[n - 1] = 0;
		ret->module = builder_module(b, open + 1);
		for (; open > p && open[-1] == ' '; open--)
			open[-1] = 0;
	}
	plus = strstr(p, "+0x");
	if (plus)
		*plus = 0;
	ret->symbol = !*p || !strcmp(p, "[unknown]") ? builder_unknown(b)
	                                             : builder_name(b, p, NULL, 0);
	return true;
}

static struct seep_error *read_records(struct format_input *in, struct builder *b,
                                       struct trace_record *r)
{
	size_t len, reports = 0;
	char *line;

	while ((line = stream_line(in->stream, &len)) && !b->failed) {
		struct prof_value value;
		struct trace_frame f;
		uint64_t pid;
		char *p = line;

		if (is_header(line)) {
			reports++;
			r->open = false;
			idmap_release(&b->sites);
			b->p->nsites = 0;
		} else if (take_record(line, &value)) {
			trace_record_close(b, r);
			if (reports)
				trace_record_open(r, NULL, &value);
		} else if (r->open && take_frame(b, line, &f)) {
			trace_add(b, &r->trace, &f);
		} else if (text_take(&p, "Attaching to pid ") && text_u64(&p, &pid) &&
		           pid <= INT32_MAX) {
			b->p->pid = (int32_t)pid;
		}
	}
	trace_record_close(b, r);
	if (!reports)
		return format_bad(in, "memleak", "there is no report in it");
	if (stream_cut(in->stream))
		format_warn(in, "%s ends in the middle of line %llu", in->path,
		            (unsigned long long)stream_number(in->stream));
	return NULL;
}

static struct seep_error *read_memleak(struct format_input *in, struct profile **ret_profile)
{
	return trace_records_read(in, "bcc memleak output", read_records, ret_profile);
}

const struct format format_memleak = {
	.name = "memleak",
	.title = "bcc memleak's output",
	.suffixes = "",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS,
	.probe = probe,
	.read = read_memleak,
};
