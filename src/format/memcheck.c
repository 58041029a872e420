/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leak records in memcheck's log:
 *
 *     ==20675== 88 (40 direct, 48 indirect) bytes in 1 blocks are definitely lost in loss record 1 of 2
 *     ==20675==    at 0x48417B4: malloc (in /usr/libexec/valgrind/vgpreload_memcheck-amd64-linux.so)
 *     ==20675==    by 0x109161: leaky (t.c:4)
 *
 * Leaked blocks are blocks in use.  A record's bytes are its direct ones: those it holds indirectly have
 * records of their own, when they are shown, and the log's summary counts the same way.  The class becomes
 * the outermost frame, "[definitely lost]", where a filter finds it.  Other errors, and what the program
 * itself printed, are passed over.
 */
#include "format/memcheck.h"

#include "format/stream.h"
#include "format/text.h"
#include "format/trace.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

const char *memcheck_class(const char *text)
{
	static const struct {
		const char *words, *kind, *frame;
	} classes[] = {
		{ "definitely lost", "Leak_DefinitelyLost", "[definitely lost]" },
		{ "indirectly lost", "Leak_IndirectlyLost", "[indirectly lost]" },
		{ "possibly lost", "Leak_PossiblyLost", "[possibly lost]" },
		{ "still reachable", "Leak_StillReachable", "[still reachable]" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (!strncmp(text, classes[i].words, strlen(classes[i].words)) ||
		    !strcmp(text, classes[i].kind))
			return classes[i].frame;
	return NULL;
}

const char *memcheck_what(char *p, struct prof_value *ret_value)
{
	uint64_t bytes, blocks, direct, indirect;
	const char *class;

	text_blanks(&p);
	if (!text_number(&p, true, &bytes))
		return NULL;
	if (text_take(&p, " (")) {
		if (!text_number(&p, true, &direct) || !text_take(&p, " direct, ") ||
		    !text_number(&p, true, &indirect) || !text_take(&p, " indirect)"))
			return NULL;
		bytes = direct;
	}
	if (!text_take(&p, " bytes in ") || !text_number(&p, true, &blocks) ||
	    !text_take(&p, " blocks are "))
		return NULL;
	class = memcheck_class(p);
	if (class && strstr(p, "loss record"))
		*ret_value = (struct prof_value){ .blocks = blocks, .bytes = bytes };
	return class && strstr(p, "loss record") ? class : NULL;
}

uint64_t memcheck_number(const char *text)
{
	static const char before[] = "loss record ";
	const char *at = strstr(text, before);
	uint64_t number;
	char *p;

	if (!at)
		return 0;
	p = (char *)at + strlen(before);
	return text_number(&p, true, &number) ? number : 0;
}

void memcheck_begin_again(struct format_input *in, struct builder *b)
{
	format_warn(in, "%s has several leak checks of one process: the last counts", in->path);
	idmap_release(&b->sites);
	b->p->nsites = 0;
}

/* "==123== text" → text; false: the line is not valgrind's. */
static bool take_prefix(char **p, uint64_t *ret_pid)
{
	char *q = *p;

	if (!text_take(&q, "==") || !text_u64(&q, ret_pid) || !text_take(&q, "=="))
		return false;
	text_take(&q, " ");
	*p = q;
	return true;
}

static int probe(const uint8_t *head, size_t len)
{
	if (!head || len < 4 || memmem(head, len, "<valgrindoutput>", 16))
		return 0;
	if (memmem(head, len, "== Memcheck, a memory error detector", 36))
		return 90;
	return memmem(head, len, "in loss record ", 15) ? 85 : 0;
}

static bool take_frame(struct builder *b, char *p, struct trace_record *r)
{
	struct trace_frame f;

	text_blanks(&p);
	if ((!text_take(&p, "at ") && !text_take(&p, "by ")) || !trace_valgrind(b, p, &f))
		return false;
	trace_add(b, &r->trace, &f);
	return true;
}

static struct seep_error *read_records(struct format_input *in, struct builder *b,
                                       struct trace_record *r)
{
	size_t len, records = 0;
	bool ended = false, several = false;
	char *line;

	while ((line = stream_line(in->stream, &len)) && !b->failed) {
		char *p = line;
		struct prof_value value;
		const char *class;
		uint64_t pid;

		if (!take_prefix(&p, &pid))
			continue;
		if (!b->p->pid && pid <= INT32_MAX)
			b->p->pid = (int32_t)pid;
		several |= b->p->pid && (uint64_t)b->p->pid != pid;
		if (r->open && take_frame(b, p, r))
			continue;
		trace_record_close(b, r);
		class = memcheck_what(p, &value);
		if (class) {
			/* of several processes in one log all count */
			if (ended && records && !several)
				memcheck_begin_again(in, b);
			ended = false;
			trace_record_open(r, class, &value);
			records++;
		} else if (text_take(&p, "Command: ")) {
			builder_string(b, &b->p->command, p);
		} else if (text_take(&p, "LEAK SUMMARY:") || text_take(&p, "ERROR SUMMARY:") ||
		           text_take(&p, "All heap blocks were freed")) {
			ended = true;
		}
	}
	trace_record_close(b, r);
	if (!records && !ended)
		return format_bad(in, "memcheck", "there is no leak record in it");
	if (!ended)
		format_warn(in, "%s ends at line %llu, before its summary: leaks may be missing",
		            in->path, (unsigned long long)stream_number(in->stream));
	else if (!records)
		format_warn(in,
		            "%s has a summary but no records: run valgrind with --leak-check=full",
		            in->path);
	return NULL;
}

static struct seep_error *read_memcheck(struct format_input *in, struct profile **ret_profile)
{
	return trace_records_read(in, "memcheck log", read_records, ret_profile);
}

const struct format format_memcheck = {
	.name = "memcheck",
	.title = "valgrind memcheck's log",
	.suffixes = "",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS,
	.probe = probe,
	.read = read_memcheck,
};
