/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folded stacks, what flamegraph.pl and its kin take:
 *
 *     main;serve;handle_leak 25165824
 *
 * Root first, one integer.  There is no escape in the format; names with a `;` (Rust's arrays have one) get it
 * as %3B, which every tool shows and our reader takes back.
 */
#include "format/builder.h"
#include "format/stream.h"
#include "format/text.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define SPECIAL ";"
#define NO_STACK "[unknown stack]"
#define PROBE_LINES 8

/* Splits "a;b;c 123" at its last blank; false: it is no such line. */
static bool split(char *line, size_t len, uint64_t *ret_value)
{
	char *blank, *p;

	while (len && (line[len - 1] == ' ' || line[len - 1] == '\t'))
		line[--len] = 0;
	blank = strrchr(line, ' ');
	if (!blank || blank == line)
		return false;
	p = blank + 1;
	if (!text_u64(&p, ret_value))
		return false;
	if (*p == '.') /* flamegraph.pl takes fractions */
		while (text_digit(*++p) < 10)
			continue;
	if (*p)
		return false;
	*blank = 0;
	return true;
}

static bool is_text(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 && *s != '\t')
			return false;
	return true;
}

/* Every line that is seen whole ends in a number, and some have a `;`. */
static int probe(const uint8_t *head, size_t len)
{
	char text[FORMAT_PROBE_BYTES + 1], *line = text;
	size_t lines = 0, stacks = 0;
	uint64_t value;

	memcpy(text, head, len);
	text[len] = 0;
	if (memchr(text, 0, len))
		return 0;
	for (char *end; lines < PROBE_LINES && *line; line = end, lines++) {
		end = strchr(line, '\n');
		if (!end && lines) /* there is more of it, or the file was cut off */
			break;
		end = end ? end : line + strlen(line);
		if (*end)
			*end++ = 0;
		if (text_ends(line, "\r"))
			line[strlen(line) - 1] = 0;
		if (!is_text(line) || !split(line, strlen(line), &value))
			return 0;
		stacks += strchr(line, ';') != NULL;
	}
	return stacks ? 50 : 0;
}

static void add_stack(struct builder *b, char *line, uint64_t value)
{
	struct prof_value v = { .bytes = value };
	uint32_t frame = 0;
	struct prof_site *s;

	if (strcmp(line, NO_STACK) != 0) {
		while (line && !b->failed) {
			char *name = strsep(&line, SPECIAL);

			unescape(name, SPECIAL);
			frame = builder_frame(b, frame, 0, PROF_NO_MODULE,
			                      builder_name(b, name, NULL, 0));
		}
	}
	s = builder_site(b, frame, PROF_HEAP);
	if (s)
		prof_value_add(&s->inuse, &v);
}

static struct seep_error *read_folded(struct format_input *in, struct profile **ret_profile)
{
	_cleanup_builder_ struct builder b = { 0 };
	struct seep_error *err = builder_init(&b, in, "folded stacks");
	size_t len, good = 0;
	uint64_t value;
	char *line;

	if (err)
		return err;
	while ((line = stream_line(in->stream, &len)) && !b.failed) {
		unsigned long long number = stream_number(in->stream);

		if (!len || line[0] == '#')
			continue;
		if (split(line, len, &value)) {
			add_stack(&b, line, value);
			good++;
			if (stream_cut(in->stream))
				format_warn(
					in,
					"%s: line %llu, the last, has no end; its number may be cut",
					in->path, number);
		} else {
			format_warn(in, "%s: line %llu has no number at its end and was left out",
			            in->path, number);
		}
	}
	if (!good)
		return format_bad(in, "folded", "there is no stack with a number");
	return builder_finish(&b, ret_profile);
}

static struct seep_error *write_folded(const struct profile *p, const struct format_output *o,
                                       struct buf *out)
{
	struct stack_lines s = { 0 };
	int r = 0;

	for (size_t i = 0; i < p->nsites && !r; i++) {
		uint64_t value = output_value(o, &p->sites[i]);

		if (!output_has(o, &p->sites[i]) || !value)
			continue;
		r = stack_lines(p, p->sites[i].stack, &s);
		for (size_t k = s.n; k-- > 0;) {
			put_line_name(out, p, &s.lines[k], SPECIAL);
			if (k)
				buf_putc(out, ';');
		}
		if (!s.n)
			buf_puts(out, NO_STACK);
		buf_putc(out, ' ');
		put_u64(out, value);
		buf_putc(out, '\n');
	}
	stack_lines_release(&s);
	return r < 0 ? &seep_error_nomem : NULL;
}

const struct format format_folded = {
	.name = "folded",
	.title = "folded stacks (flame graphs)",
	.suffixes = ".folded .collapsed",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS | FORMAT_ALLOC_BYTES |
	          FORMAT_ALLOC_BLOCKS | FORMAT_PEAK_BYTES | FORMAT_PEAK_BLOCKS,
	.one_value = true,
	.names = true,
	.probe = probe,
	.read = read_folded,
	.write = write_folded,
};
