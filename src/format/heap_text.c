/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses are return addresses: every reader of these formats takes 1 off, ours too, since prof_frame.pc lies
 * inside the call.
 */
#include "format/heap_text.h"

#include "format/stream.h"
#include "format/text.h"

#include <stdlib.h>
#include <string.h>

bool heap_values_take(char **p, struct heap_values *ret_values)
{
	struct heap_values v;
	char *q = *p;

	text_blanks(&q);
	if (!text_u64(&q, &v.blocks) || !text_take(&q, ":"))
		return false;
	text_blanks(&q);
	if (!text_u64(&q, &v.bytes))
		return false;
	text_blanks(&q);
	if (!text_take(&q, "["))
		return false;
	text_blanks(&q);
	if (!text_u64(&q, &v.alloc_blocks) || !text_take(&q, ":"))
		return false;
	text_blanks(&q);
	if (!text_u64(&q, &v.alloc_bytes))
		return false;
	text_blanks(&q);
	if (!text_take(&q, "]"))
		return false;
	*p = q;
	*ret_values = v;
	return true;
}

void heap_values_add(struct heap_values *to, const struct heap_values *v)
{
	to->blocks = prof_add(to->blocks, v->blocks);
	to->bytes = prof_add(to->bytes, v->bytes);
	to->alloc_blocks = prof_add(to->alloc_blocks, v->alloc_blocks);
	to->alloc_bytes = prof_add(to->alloc_bytes, v->alloc_bytes);
}

bool heap_text_stack(struct heap_text *t, char *p, uint32_t *ret_stack)
{
	uint64_t pc;

	text_blanks(&p);
	for (t->pcs.n = 0; text_0x(&p, &pc); text_blanks(&p))
		pc_list_add(&t->b, &t->pcs, pc ? pc - 1 : 0);
	if (*p)
		return false;
	*ret_stack = builder_stack(&t->b, &t->pcs);
	return true;
}

void heap_text_put_stack(struct buf *out, const struct profile *p, uint32_t stack)
{
	for (uint32_t f = stack; f; f = p->frames[f].parent) {
		buf_putc(out, ' ');
		put_hex(out, p->frames[f].pc + 1);
	}
	buf_putc(out, '\n');
}

void heap_text_period(struct heap_text *t, uint64_t period)
{
	t->period = period;
	t->b.p->sampled = period > 1;
	t->b.p->period = t->b.p->sampled ? period : 0;
}

void heap_text_read(struct heap_text *t, bool (*is_maps)(const char *line),
                    bool (*take)(void *arg, char *line), void *arg)
{
	struct stream *s = t->in->stream;
	char *line;
	size_t len;

	while ((line = stream_line(s, &len)) && !t->b.failed) {
		unsigned long long number = stream_number(s);

		if (stream_cut(s)) {
			format_warn(t->in, "%s ends in the middle of line %llu", t->in->path,
			            number);
			break;
		}
		if (is_maps(line))
			t->at_maps = true;
		else if (len &&
		         (t->at_maps ? !mappings_line(&t->b, &t->maps, line) : !take(arg, line)))
			format_warn(t->in, "%s: line %llu makes no sense and was left out",
			            t->in->path, number);
	}
	if (!t->at_maps)
		format_warn(t->in, "%s ends at line %llu, before its list of mapped libraries",
		            t->in->path, (unsigned long long)stream_number(s));
	mappings_apply(&t->b, &t->maps);
}

void heap_text_release(struct heap_text *t)
{
	mappings_release(&t->maps);
	builder_release(&t->b);
	free(t->pcs.pcs);
}
