/* SPDX-License-Identifier: Apache-2.0 */
/* A leak check's document as a profile: each record is a site, so that whatever shows stacks shows leaks. */
#include "server/look.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "format/builder.h"
#include "format/format.h"
#include "profile/profile.h"

#include <errno.h>
#include <json.h>
#include <stdlib.h>
#include <string.h>

static struct json_object *member(struct json_object *o, const char *name)
{
	struct json_object *v = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, name, &v);
	return v;
}

static const char *text(struct json_object *o, const char *name)
{
	struct json_object *v = member(o, name);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : NULL;
}

static uint64_t number(struct json_object *o, const char *name)
{
	struct json_object *v = member(o, name);
	int64_t n = v ? json_object_get_int64(v) : 0;

	return n > 0 ? (uint64_t)n : 0;
}

static bool in_list(const char *list, const char *word)
{
	size_t n = strlen(word);

	while (*list) {
		size_t len = strcspn(list, ",");

		if (len == n && !strncmp(list, word, n))
			return true;
		list += len;
		list += *list == ',';
	}
	return false;
}

/* The nth frame of the document below a caller. */
static uint32_t put_frame(struct builder *b, uint32_t parent, struct json_object *frame, size_t n)
{
	const char *function = text(frame, "function"), *address = text(frame, "address");
	uint32_t module = builder_module(b, text(frame, "module"));
	uint32_t symbol = function ? builder_name(b, function, text(frame, "file"),
	                                          (uint32_t)number(frame, "line"))
	                           : builder_unknown(b);

	/* Frames of one stack differ by their numbers, whatever their addresses were. */
	return builder_frame(b, parent, !function && address ? strtoull(address, NULL, 16) : n + 1,
	                     module, symbol);
}

static void put_record(struct builder *b, struct json_object *frames, struct json_object *record)
{
	struct json_object *stack = member(record, "stack");
	size_t nframes = json_object_array_length(frames);
	size_t depth = json_object_is_type(stack, json_type_array) ? json_object_array_length(stack)
	                                                           : 0;
	struct prof_site *site;
	uint32_t leaf = 0;

	for (size_t i = depth; i-- > 0;) {
		int64_t n = json_object_get_int64(json_object_array_get_idx(stack, i));

		if (n >= 0 && (size_t)n < nframes)
			leaf = put_frame(b, leaf, json_object_array_get_idx(frames, (size_t)n),
			                 (size_t)n);
	}
	site = builder_site(b, leaf, PROF_HEAP);
	if (!site)
		return;
	site->inuse.bytes = prof_add(site->inuse.bytes, number(record, "bytes"));
	site->inuse.blocks = prof_add(site->inuse.blocks, number(record, "blocks"));
	site->alloc = site->peak = site->inuse;
	site->oldest = UINT64_MAX;
}

struct seep_error *look_leaked(struct json_object *document, const char *classes,
                               struct profile **ret_profile)
{
	struct format_input in = { .path = "the leak check" };
	struct json_object *checks = member(document, "checks"), *check, *frames, *records;
	_cleanup_builder_ struct builder b = { 0 };
	struct seep_error *err;

	check = json_object_is_type(checks, json_type_array) && json_object_array_length(checks)
	                ? json_object_array_get_idx(checks, 0)
	                : NULL;
	frames = member(check, "frames");
	records = member(check, "records");
	if (!json_object_is_type(frames, json_type_array) ||
	    !json_object_is_type(records, json_type_array))
		return seep_error_new(EBADMSG, "the leak check's document makes no sense");
	err = builder_init(&b, &in, "leak check");
	if (err)
		return err;
	b.p->start_real_ns = number(member(check, "process"), "time_ns");
	b.p->pid = (int32_t)number(member(check, "process"), "pid");
	builder_string(&b, &b.p->command, text(member(check, "process"), "command"));
	builder_string(&b, &b.p->exe, text(member(check, "process"), "exe"));
	for (size_t i = 0; i < json_object_array_length(records); i++) {
		struct json_object *record = json_object_array_get_idx(records, i);
		const char *class = text(record, "class");

		if (class && in_list(classes, class))
			put_record(&b, frames, record);
	}
	return builder_finish(&b, ret_profile);
}
