/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a doctor's JSON back, to compare two looks.
 *
 * Everything is found by name, so files of later versions with more in them are read, and what a file lacks is unknown.  It
 * is a file like any other: numbers out of range are refused, lists are bounded, and nothing in it is an
 * address that anybody follows.
 */
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor_private.h"
#include "base/cleanup.h"
#include "base/error.h"

#define MAX_TEXT (64u << 20)
#define MAX_DEPTH 16
#define MAX_ITEMS 4096u

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	return o && json_object_is_type(o, json_type_object) && json_object_object_get_ex(o, key, &v)
	               ? v
	               : NULL;
}

/* A count or a size; anything else leaves *ret alone. */
static bool number(struct json_object *o, const char *key, uint64_t *ret)
{
	struct json_object *v = member(o, key);
	int64_t n;

	if (!v || !json_object_is_type(v, json_type_int))
		return false;
	n = json_object_get_int64(v);
	if (n < 0 || n == INT64_MAX)
		return false;
	*ret = (uint64_t)n;
	return true;
}

static bool flag(struct json_object *o, const char *key)
{
	struct json_object *v = member(o, key);

	return v && json_object_is_type(v, json_type_boolean) && json_object_get_boolean(v);
}

static char *text_of(struct json_object *o, const char *key)
{
	struct json_object *v = member(o, key);

	return strdup(v && json_object_is_type(v, json_type_string) ? json_object_get_string(v)
	                                                            : "");
}

static uint64_t address_of(struct json_object *o, const char *key)
{
	struct json_object *v = member(o, key);

	return v && json_object_is_type(v, json_type_string)
	               ? strtoull(json_object_get_string(v), NULL, 16)
	               : 0;
}

static size_t length(struct json_object *list)
{
	size_t n = list && json_object_is_type(list, json_type_array)
	                   ? json_object_array_length(list)
	                   : 0;

	return n < MAX_ITEMS ? n : MAX_ITEMS;
}

static void read_classes(struct doctor *d, struct json_object *root)
{
	struct json_object *list = member(root, "classes");

	for (size_t i = 0; i < length(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		struct json_object *name = member(o, "class");

		for (int c = 0; name && c < DOCTOR_NCLASSES; c++)
			if (json_object_is_type(name, json_type_string) &&
			    !strcmp(json_object_get_string(name), doctor_classes[c].key))
				number(o, "bytes", &d->classes[c]);
	}
}

static bool read_arenas(struct doctor *d, struct json_object *root)
{
	struct json_object *list = member(root, "arenas");
	size_t n = length(list);

	d->arenas = calloc(n + 1, sizeof(*d->arenas));
	for (size_t i = 0; d->arenas && i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		struct doctor_arena *a = &d->arenas[d->narenas++];
		uint64_t attached = 0, heaps = 0;

		a->address = address_of(o, "address");
		a->main = flag(o, "main");
		number(o, "threads", &attached);
		number(o, "heaps", &heaps);
		a->attached = (uint32_t)attached;
		a->heaps = (uint32_t)heaps;
		number(o, "bytes", &a->bytes);
		number(o, "resident", &a->resident);
		number(o, "in_use", &a->live);
		number(o, "free_bins", &a->bins);
		number(o, "free_top", &a->top);
		number(o, "pinned", &a->pinned);
		number(o, "cached", &a->cached);
		number(o, "allocator", &a->overhead);
	}
	return d->arenas;
}

static const char *const by_keys[DOCTOR_NBYS] = { "module", "thread", "stack" };

static bool read_parts(struct doctor *d, struct json_object *root)
{
	struct json_object *list = member(root, "parts");
	size_t n = length(list);

	d->parts = calloc(n + 1, sizeof(*d->parts));
	for (size_t i = 0; d->parts && i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		struct json_object *by = member(o, "by");
		struct doctor_part p = { .by = DOCTOR_NBYS };

		for (int k = 0; by && k < DOCTOR_NBYS; k++)
			if (json_object_is_type(by, json_type_string) &&
			    !strcmp(json_object_get_string(by), by_keys[k]))
				p.by = (enum doctor_by)k;
		if (p.by == DOCTOR_NBYS)
			continue;
		number(o, "bytes", &p.bytes);
		number(o, "blocks", &p.blocks);
		p.name = text_of(o, "name");
		if (!p.name)
			return false;
		d->parts[d->nparts++] = p;
	}
	return d->parts;
}

static bool read_process(struct doctor *d, struct json_object *root)
{
	struct json_object *process = member(root, "process"), *how = member(root, "how");
	uint64_t pid = 0;

	number(process, "pid", &pid);
	d->pid = pid <= INT32_MAX ? (int32_t)pid : 0;
	number(root, "time_ns", &d->real_ns);
	d->exe = text_of(process, "exe");
	d->command = text_of(process, "command");
	d->allocator = text_of(root, "allocator");
	d->layout = text_of(root, "layout");
	d->runtime = text_of(root, "runtime");
	d->cgroup = text_of(root, "cgroup");
	d->ledger = flag(root, "ledger");
	d->sampled = flag(root, "sampled");
	d->torn = flag(root, "torn");
	for (int i = 0; how && i < DOCTOR_NHOWS; i++)
		if (json_object_is_type(how, json_type_string) &&
		    !strcmp(json_object_get_string(how), doctor_hows[i]))
			d->how = (enum doctor_how)i;
	return d->exe && d->command && d->allocator && d->layout && d->runtime && d->cgroup;
}

struct seep_error *doctor_read(const char *text, size_t len, struct doctor **ret_doctor)
{
	_cleanup_doctor_ struct doctor *d = doctor_new();
	struct json_tokener *parser = json_tokener_new_ex(MAX_DEPTH);
	struct json_object *root = NULL, *kind, *facts;
	struct seep_error *err = NULL;
	uint64_t version = 0;

	if (!d || !parser) {
		err = &seep_error_nomem;
		goto out;
	}
	if (len <= MAX_TEXT)
		root = json_tokener_parse_ex(parser, text, (int)len);
	kind = member(root, "kind");
	if (!root || !kind || !json_object_is_type(kind, json_type_string) ||
	    strcmp(json_object_get_string(kind), "doctor") != 0 ||
	    !number(root, "version", &version)) {
		err = seep_error_hint(seep_error_new(0,
		                                     "this is not what `seep doctor --json` writes"),
		                      "Write one with: seep doctor --json -o FILE PID");
		goto out;
	}
	read_classes(d, root);
	facts = member(root, "facts");
	for (int i = 0; i < DOCTOR_NFACTS; i++)
		number(facts, doctor_facts[i].key, &d->facts[i]);
	if (!read_process(d, root) || !read_arenas(d, root) || !read_parts(d, root))
		err = &seep_error_nomem;
	if (!err)
		*ret_doctor = TAKE(d);
out:
	json_object_put(root);
	if (parser)
		json_tokener_free(parser);
	return err;
}
