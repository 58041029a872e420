/* SPDX-License-Identifier: Apache-2.0 */
/*
 * speedscope's JSON: one table of frames, and for each site the frames of its stack, root first, with a
 * weight.  Written directly: the structure is flat, and of a large profile there is a lot of it.
 */
#include "format/private.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/idmap.h"

#include <stdlib.h>
#include <string.h>

struct writer {
	const struct profile *p;
	struct hash_ids ids;
	struct buf frames, samples, weights;
	uint64_t total;
	bool failed;
};

static const char *value_name(unsigned int value)
{
	switch (value) {
	case FORMAT_INUSE_BLOCKS:
		return "blocks in use";
	case FORMAT_ALLOC_BYTES:
		return "bytes allocated";
	case FORMAT_ALLOC_BLOCKS:
		return "blocks allocated";
	case FORMAT_PEAK_BYTES:
		return "bytes at the peak";
	case FORMAT_PEAK_BLOCKS:
		return "blocks at the peak";
	default:
		return "bytes in use";
	}
}

/* Frames are told apart by what is written of them. */
static uint32_t frame_number(struct writer *w, const struct stack_line *l, struct buf *text)
{
	uint64_t hash;
	uint32_t id = 0;
	int r;

	buf_reset(text);
	put_line_name(text, w->p, l, "");
	hash = hash_mix(hash_bytes(text->data, text->len),
	                hash_mix(hash_str(l->line->file), l->line->line));
	r = hash_ids_get(&w->ids, hash, &id);
	if (r < 0 || text->failed)
		w->failed = true;
	if (r <= 0)
		return id;
	buf_puts(&w->frames, id ? ",\n{\"name\":" : "{\"name\":");
	put_json_string(&w->frames, text->data ? text->data : "");
	if (l->line->file) {
		buf_puts(&w->frames, ",\"file\":");
		put_json_string(&w->frames, l->line->file);
	}
	if (l->line->line)
		buf_printf(&w->frames, ",\"line\":%u", l->line->line);
	buf_putc(&w->frames, '}');
	return id;
}

static int put_site(struct writer *w, const struct prof_site *s, uint64_t value,
                    struct stack_lines *lines, struct buf *text)
{
	int r = stack_lines(w->p, s->stack, lines);

	if (w->samples.len) {
		buf_puts(&w->samples, ",\n");
		buf_putc(&w->weights, ',');
	}
	buf_putc(&w->samples, '[');
	for (size_t k = lines->n; k-- > 0 && !w->failed;) {
		put_u64(&w->samples, frame_number(w, &lines->lines[k], text));
		if (k)
			buf_putc(&w->samples, ',');
	}
	buf_putc(&w->samples, ']');
	put_u64(&w->weights, value);
	if (__builtin_add_overflow(w->total, value, &w->total))
		w->total = UINT64_MAX;
	return r;
}

static void join(struct writer *w, const struct format_output *o, struct buf *out)
{
	const char *name = w->p->command ? w->p->command : w->p->source ? w->p->source : "seep";
	bool blocks = o->value & (FORMAT_INUSE_BLOCKS | FORMAT_ALLOC_BLOCKS | FORMAT_PEAK_BLOCKS);

	buf_puts(out, "{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\n"
	              "\"exporter\":\"seep " SEEP_VERSION "\",\n\"name\":");
	put_json_string(out, name);
	buf_puts(out, ",\n\"activeProfileIndex\":0,\n\"shared\":{\"frames\":[\n");
	buf_add(out, w->frames.data ? w->frames.data : "", w->frames.len);
	buf_puts(out, "\n]},\n\"profiles\":[{\"type\":\"sampled\",\"name\":");
	put_json_string(out, value_name(o->value));
	buf_printf(out,
	           ",\"unit\":\"%s\",\"startValue\":0,\"endValue\":", blocks ? "none" : "bytes");
	put_u64(out, w->total);
	buf_puts(out, ",\n\"samples\":[\n");
	buf_add(out, w->samples.data ? w->samples.data : "", w->samples.len);
	buf_puts(out, "\n],\n\"weights\":[");
	buf_add(out, w->weights.data ? w->weights.data : "", w->weights.len);
	buf_puts(out, "]}]}\n");
	w->failed |= w->frames.failed | w->samples.failed | w->weights.failed;
}

static struct seep_error *write_speedscope(const struct profile *p, const struct format_output *o,
                                           struct buf *out)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct stack_lines lines = { 0 };
	struct writer w = { .p = p };
	int r = 0;

	for (size_t i = 0; i < p->nsites && !r && !w.failed; i++) {
		uint64_t value = output_value(o, &p->sites[i]);

		if (output_has(o, &p->sites[i]) && value)
			r = put_site(&w, &p->sites[i], value, &lines, &text);
	}
	join(&w, o, out);
	stack_lines_release(&lines);
	hash_ids_release(&w.ids);
	buf_release(&w.frames);
	buf_release(&w.samples);
	buf_release(&w.weights);
	return r < 0 || w.failed ? &seep_error_nomem : NULL;
}

static int probe(const uint8_t *head, size_t len)
{
	return 0;
}

const struct format format_speedscope = {
	.name = "speedscope",
	.title = "speedscope JSON",
	.suffixes = ".speedscope.json",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS | FORMAT_ALLOC_BYTES |
	          FORMAT_ALLOC_BLOCKS | FORMAT_PEAK_BYTES | FORMAT_PEAK_BLOCKS,
	.one_value = true,
	.names = true,
	.probe = probe,
	.write = write_speedscope,
};
