/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator_act PID NAME release [BYTES] | get | set OPTION VALUE: heap/allocators.h by hand, answers as JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "heap/allocators.h"

static int fail(struct seep_error *err)
{
	fprintf(stderr, "%s\n", err->message);
	if (err->hint)
		fprintf(stderr, "%s\n", err->hint);
	seep_error_free(err);
	return 2;
}

static void value(const char *key, const struct allocator_value *v)
{
	printf("\"%s\": {\"known\": %s, \"value\": %.17g, \"lowest\": %.17g, \"highest\": %.17g}",
	       key, v->known ? "true" : "false", v->value, v->lowest, v->highest);
}

static int release(struct allocators *as, size_t i, uint64_t bytes)
{
	struct allocator_visit visit;
	uint64_t released;
	struct seep_error *err = allocator_release(as, i, bytes, &released, &visit);

	if (err)
		return fail(err);
	printf("{\"released\": %" PRId64 ", \"stopped_ns\": %" PRIu64 "}\n",
	       allocator_known(released) ? (int64_t)released : -1, visit.stopped_ns);
	return 0;
}

static int get(struct allocators *as, size_t i)
{
	struct allocator_value v[ALLOCATOR_OPTIONS];
	struct seep_error *err = allocator_options_get(as, i, v, NULL);
	const char *comma = "{";

	if (err)
		return fail(err);
	for (size_t k = 0; k < ALLOCATOR_OPTIONS; k++, comma = ", ") {
		printf("%s", comma);
		value(allocator_option_name((enum allocator_option)k), &v[k]);
	}
	printf("}\n");
	return 0;
}

static int set(struct allocators *as, size_t i, const char *name, double v)
{
	struct allocator_value old, now;
	enum allocator_option option;
	struct buf environment = { 0 };
	struct seep_error *err;

	if (!allocator_option_find(name, &option))
		return 2;
	err = allocator_option_set(as, i, option, v, &old, &now, NULL);
	if (err)
		return fail(err);
	printf("{");
	value("old", &old);
	printf(", ");
	value("new", &now);
	if (allocator_option_environment(&as->items[i], option, v, &environment))
		printf(", \"environment\": \"%s\"", environment.data);
	printf("}\n");
	buf_release(&environment);
	return 0;
}

int main(int argc, char **argv)
{
	struct allocators *as;
	struct seep_error *err;
	size_t i = 0;
	int r = 2;

	if (argc < 4)
		return 2;
	err = allocators_find(atoi(argv[1]), &as);
	if (err)
		return fail(err);
	while (i < as->n && strcmp(as->items[i].name, argv[2]) != 0)
		i++;
	if (i == as->n)
		fprintf(stderr, "no %s\n", argv[2]);
	else if (!strcmp(argv[3], "release"))
		r = release(as, i, argc > 4 ? strtoull(argv[4], NULL, 10) : UINT64_MAX);
	else if (!strcmp(argv[3], "get"))
		r = get(as, i);
	else if (argc > 5)
		r = set(as, i, argv[4], strtod(argv[5], NULL));
	allocators_free(as);
	return r;
}
