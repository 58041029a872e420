/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of stacks for people → frames.
 *
 * Function names hold blanks, colons and parentheses ("operator()(int) const"), so lines are taken apart from
 * their ends: the place stands last, in a form that tells it from the rest of a name.  Addresses are inside
 * the call already: these tools print the return address less one.
 */
#include "format/trace.h"

#include "format/text.h"

#include <stdlib.h>
#include <string.h>

/* Cuts ":123" (or ":123:45", line and column) off s; 0: there is none. */
static uint32_t cut_line(char *s, bool column)
{
	char *colon = strrchr(s, ':'), *p;
	uint64_t v, w;

	if (!colon)
		return 0;
	p = colon + 1;
	if (!text_u64(&p, &v) || *p)
		return 0;
	*colon = 0;
	if (column) {
		char *second = strrchr(s, ':');

		p = second ? second + 1 : s;
		if (second && text_u64(&p, &w) && !*p) {
			*second = 0;
			v = w;
		}
	}
	return v > UINT32_MAX ? 0 : (uint32_t)v;
}

/* Cuts a last " (…)" off s and returns what was inside; NULL: there is none. */
static char *cut_parenthesis(char *s)
{
	size_t n = strlen(s), depth = 0;

	if (!n || s[n - 1] != ')')
		return NULL;
	for (size_t i = n; i-- > 0;) {
		depth += s[i] == ')';
		if (s[i] != '(' || --depth)
			continue;
		if (!i || s[i - 1] != ' ')
			return NULL;
		s[n - 1] = 0;
		s[i - 1] = 0;
		return s + i + 1;
	}
	return NULL;
}

bool trace_valgrind(struct builder *b, char *text, struct trace_frame *ret_frame)
{
	const char *file = NULL, *module = NULL;
	uint32_t line = 0;
	char *p = text, *place;
	uint64_t pc;

	if (!text_0x(&p, &pc) || !text_take(&p, ": "))
		return false;
	/* "(in PATH)" and "(FILE:LINE)" are places; other parentheses belong to the name. */
	place = strrchr(p, '(');
	if (place && place > p && place[-1] == ' ' && text_ends(place, ")")) {
		char *inner = cut_parenthesis(p);

		if (inner && !strncmp(inner, "in ", 3)) {
			module = inner + 3;
		} else if (inner) {
			line = cut_line(inner, false);
			if (line) {
				file = inner;
			} else { /* part of the name: put it back */
				inner[-2] = ' ';
				inner[strlen(inner)] = ')';
			}
		}
	}
	*ret_frame = (struct trace_frame){ .pc = pc, .module = builder_module(b, module) };
	ret_frame->symbol = strcmp(p, "???") != 0 ? builder_name(b, p, file, line)
	                                          : builder_unknown(b);
	return true;
}

/* "/bin/a+0x1201" → module with the bias that makes it so. */
static uint32_t module_at(struct builder *b, char *place, uint64_t pc)
{
	char *plus = strrchr(place, '+'), *p;
	struct prof_module m = { .path = place };
	uint64_t offset;

	if (!plus || plus == place)
		return PROF_NO_MODULE;
	p = plus + 1;
	if (!text_0x(&p, &offset) || *p)
		return PROF_NO_MODULE;
	*plus = 0;
	m.bias = pc - offset;
	return builder_mapped(b, &m);
}

static bool is_module_place(const char *s)
{
	const char *plus = s ? strrchr(s, '+') : NULL;

	return plus && plus > s && plus[1] == '0' && plus[2] == 'x';
}

bool trace_sanitizer(struct builder *b, char *text, struct trace_frame *ret_frame)
{
	char *p = text, *place, *file = NULL;
	uint64_t number, pc;
	uint32_t line = 0;

	text_blanks(&p);
	if (!text_take(&p, "#") || !text_u64(&p, &number))
		return false;
	text_blanks(&p);
	if (!text_0x(&p, &pc))
		return false;
	text_blanks(&p);
	*ret_frame = (struct trace_frame){ .pc = pc, .module = PROF_NO_MODULE };
	/* "(/bin/a+0x12)" alone: cut_parenthesis() wants a blank before it */
	if (*p == '(')
		p--;
	if (text_ends(p, ")") && strstr(p, "(BuildId: "))
		*strstr(p, "(BuildId: ") = 0;
	for (size_t n = strlen(p); n > 1 && p[n - 1] == ' '; n--)
		p[n - 1] = 0;
	if (text_ends(p, ")") && is_module_place(strrchr(p, '('))) {
		place = cut_parenthesis(p);
		if (place)
			ret_frame->module = module_at(b, place, pc);
	}
	if (!text_take(&p, "in "))
		return true; /* no name: src/sym may find one */
	if (ret_frame->module == PROF_NO_MODULE) {
		place = strrchr(p, ' ');
		if (place && (place[1] == '/' || strchr(place, ':') || strchr(place, '.'))) {
			line = cut_line(place, true);
			*place = 0;
			file = place + 1;
		}
	}
	ret_frame->symbol = builder_name(b, p, file, line);
	return true;
}

void trace_add(struct builder *b, struct trace *t, const struct trace_frame *f)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct trace_frame *frames = reallocarray(t->frames, cap, sizeof(*frames));

		if (!frames) {
			b->failed = true;
			return;
		}
		t->frames = frames;
		t->cap = cap;
	}
	t->frames[t->n++] = *f;
}

uint32_t trace_stack(struct builder *b, const struct trace *t, const char *root)
{
	uint32_t frame = 0;

	if (root)
		frame = builder_frame(b, 0, 0, PROF_NO_MODULE, builder_name(b, root, NULL, 0));
	for (size_t i = t->n; i-- > 0 && !b->failed;)
		frame = builder_frame(b, frame, t->frames[i].pc, t->frames[i].module,
		                      t->frames[i].symbol);
	return frame;
}

/* ---- records ------------------------------------------------------------------- */

void trace_record_open(struct trace_record *r, const char *root, const struct prof_value *value)
{
	r->open = true;
	r->root = root;
	r->value = *value;
	r->trace.n = 0;
}

void trace_record_close(struct builder *b, struct trace_record *r)
{
	struct prof_site *s;

	if (!r->open)
		return;
	r->open = false;
	s = builder_site(b, trace_stack(b, &r->trace, r->root), PROF_HEAP);
	if (s)
		prof_value_add(&s->inuse, &r->value);
}

struct seep_error *trace_records_read(struct format_input *in, const char *format_title,
                                      struct seep_error *(*read_records)(struct format_input *,
                                                                         struct builder *,
                                                                         struct trace_record *),
                                      struct profile **ret_profile)
{
	_cleanup_builder_ struct builder b = { 0 };
	struct trace_record r = { 0 };
	struct seep_error *err = builder_init(&b, in, format_title);

	if (!err)
		err = read_records(in, &b, &r);
	free(r.trace.frames);
	return err ? err : builder_finish(&b, ret_profile);
}
