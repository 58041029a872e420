/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memcheck's XML, protocol 4, by way of expat: the leak errors and their first stack.
 *
 *     <error> <kind>Leak_DefinitelyLost</kind>
 *       <xwhat> <text>…</text> <leakedbytes>88</leakedbytes> <leakedblocks>1</leakedblocks> </xwhat>
 *       <stack> <frame> <ip>0x109161</ip> <obj>…</obj> <fn>leaky</fn> <dir>…</dir> <file>t.c</file> <line>4</line>
 *
 * The same decisions as for the log (memcheck.c); the direct bytes stand in <text> only.
 */
#include "format/memcheck.h"

#include "format/stream.h"
#include "format/text.h"
#include "format/trace.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <expat.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT 65536
#define MAX_COMMAND 65536

static int probe(const uint8_t *head, size_t len)
{
	return memmem(head, len, "<valgrindoutput>", 16) ? 95 : 0;
}

struct reader {
	struct builder b;
	struct format_input *in;
	XML_Parser xml;
	struct buf text; /* of the innermost element */
	struct buf command, ip, obj, fn, dir, file, line;
	const char *class;
	struct prof_value value;
	bool have_value;              /* from <text> */
	uint64_t number, last_number; /* of loss records: of this one, and of the one before */
	struct trace trace;
	unsigned int stacks; /* seen in this error; the first is the one of the allocation */
	bool in_error, in_stack, in_argv, ended;
};

static void set(struct buf *to, const struct buf *from)
{
	buf_reset(to);
	buf_add(to, from->data ? from->data : "", from->len);
}

static const char *str(const struct buf *b)
{
	return b->data ? b->data : "";
}

static void start_element(void *arg, const char *name, const char **attributes)
{
	struct reader *r = arg;

	(void)attributes;
	buf_reset(&r->text);
	if (!strcmp(name, "error")) {
		r->in_error = true;
		r->class = NULL;
		r->have_value = false;
		r->number = 0;
		r->value = (struct prof_value){ 0 };
		r->trace.n = 0;
		r->stacks = 0;
	} else if (!strcmp(name, "stack")) {
		r->stacks++;
		r->in_stack = r->in_error && r->stacks == 1;
	} else if (!strcmp(name, "frame")) {
		struct buf *all[] = { &r->ip, &r->obj, &r->fn, &r->dir, &r->file, &r->line };

		for (size_t i = 0; i < ARRAY_SIZE(all); i++)
			buf_reset(all[i]);
	} else if (!strcmp(name, "argv")) {
		r->in_argv = true;
	}
}

static void end_frame(struct reader *r)
{
	struct trace_frame f = { .module = builder_module(&r->b, str(&r->obj)) };
	char *ip = r->ip.data, *line = r->line.data;
	_cleanup_buf_ struct buf path = { 0 };
	uint64_t number = 0;

	if (ip)
		text_0x(&ip, &f.pc);
	if (line)
		text_u64(&line, &number);
	if (r->dir.len && r->file.len)
		buf_printf(&path, "%s/%s", str(&r->dir), str(&r->file));
	else
		buf_puts(&path, str(&r->file));
	r->b.failed |= path.failed;
	f.symbol = r->fn.len ? builder_name(&r->b, str(&r->fn), path.data,
	                                    number > UINT32_MAX ? 0 : (uint32_t)number)
	                     : builder_unknown(&r->b);
	trace_add(&r->b, &r->trace, &f);
}

static void end_error(struct reader *r)
{
	struct prof_site *s;

	r->in_error = false;
	if (!r->class)
		return;
	/* they count up within a check */
	if (r->number && r->number <= r->last_number)
		memcheck_begin_again(r->in, &r->b);
	r->last_number = r->number ? r->number : r->last_number;
	s = builder_site(&r->b, trace_stack(&r->b, &r->trace, r->class), PROF_HEAP);
	if (s)
		prof_value_add(&s->inuse, &r->value);
}

static void end_in_error(struct reader *r, const char *name)
{
	char *p = r->text.data;

	if (!strcmp(name, "kind")) {
		r->class = memcheck_class(str(&r->text));
	} else if (!strcmp(name, "text") && p) {
		r->number = memcheck_number(p);
		r->have_value = memcheck_what(p, &r->value) != NULL;
	} else if (!strcmp(name, "leakedbytes") && p && !r->have_value) {
		text_u64(&p, &r->value.bytes);
	} else if (!strcmp(name, "leakedblocks") && p && !r->have_value) {
		text_u64(&p, &r->value.blocks);
	} else if (!strcmp(name, "stack")) {
		r->in_stack = false;
	} else if (r->in_stack) {
		const struct {
			const char *name;
			struct buf *to;
		} parts[] = { { "ip", &r->ip },   { "obj", &r->obj },   { "fn", &r->fn },
			      { "dir", &r->dir }, { "file", &r->file }, { "line", &r->line } };

		for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
			if (!strcmp(parts[i].name, name))
				set(parts[i].to, &r->text);
		if (!strcmp(name, "frame"))
			end_frame(r);
	}
}

static void end_element(void *arg, const char *name)
{
	struct reader *r = arg;

	if (!strcmp(name, "error")) {
		end_error(r);
	} else if (r->in_error) {
		end_in_error(r, name);
	} else if (!strcmp(name, "pid")) {
		r->b.p->pid = (int32_t)strtol(str(&r->text), NULL, 10);
	} else if (!strcmp(name, "argv")) {
		r->in_argv = false;
		builder_string(&r->b, &r->b.p->command, str(&r->command));
	} else if (r->in_argv && (!strcmp(name, "exe") || !strcmp(name, "arg"))) {
		if (r->command.len + r->text.len < MAX_COMMAND)
			buf_printf(&r->command, "%s%s", r->command.len ? " " : "", str(&r->text));
	} else if (!strcmp(name, "valgrindoutput")) {
		r->ended = true;
	}
	buf_reset(&r->text);
	if (r->b.failed)
		XML_StopParser(r->xml, XML_FALSE);
}

static void characters(void *arg, const char *s, int n)
{
	struct reader *r = arg;

	if (n > 0 && r->text.len + (size_t)n <= MAX_TEXT)
		buf_add(&r->text, s, (size_t)n);
}

static struct seep_error *read_all(struct reader *r, struct profile **ret_profile)
{
	struct seep_error *err = builder_init(&r->b, r->in, "memcheck XML");
	enum XML_Status status = XML_STATUS_OK;
	const uint8_t *data;
	size_t n;

	r->xml = err ? NULL : XML_ParserCreate(NULL);
	if (!r->xml)
		return err ? err : &seep_error_nomem;
	XML_SetUserData(r->xml, r);
	XML_SetElementHandler(r->xml, start_element, end_element);
	XML_SetCharacterDataHandler(r->xml, characters);
	while (status == XML_STATUS_OK && !r->ended && (n = stream_chunk(r->in->stream, &data)) > 0) {
		for (size_t at = 0, part; at < n && status == XML_STATUS_OK; at += part) {
			part = n - at < INT_MAX ? n - at : INT_MAX;
			status = XML_Parse(r->xml, (const char *)data + at, (int)part, 0);
		}
	}
	if (r->b.failed)
		return &seep_error_nomem;
	if (!r->ended) {
		unsigned long line = (unsigned long)XML_GetCurrentLineNumber(r->xml);

		if (!r->b.p->nsites)
			return seep_error_new(0, "%s is no memcheck XML file: %s at line %lu",
			                      r->in->path,
			                      status == XML_STATUS_OK
			                              ? "it ends"
			                              : XML_ErrorString(XML_GetErrorCode(r->xml)),
			                      line);
		format_warn(r->in, "%s breaks off at line %lu (%s): leaks may be missing",
		            r->in->path, line,
		            status == XML_STATUS_OK ? "the file ends"
		                                    : XML_ErrorString(XML_GetErrorCode(r->xml)));
	}
	return builder_finish(&r->b, ret_profile);
}

static struct seep_error *read_memcheck_xml(struct format_input *in, struct profile **ret_profile)
{
	struct reader r = { .in = in };
	struct seep_error *err = read_all(&r, ret_profile);
	struct buf *all[] = { &r.text, &r.command, &r.ip, &r.obj, &r.fn, &r.dir, &r.file, &r.line };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		buf_release(all[i]);
	free(r.trace.frames);
	if (r.xml)
		XML_ParserFree(r.xml);
	builder_release(&r.b);
	return err;
}

const struct format format_memcheck_xml = {
	.name = "memcheck-xml",
	.title = "valgrind memcheck's XML",
	.suffixes = "",
	.values = FORMAT_INUSE_BYTES | FORMAT_INUSE_BLOCKS,
	.probe = probe,
	.read = read_memcheck_xml,
};
