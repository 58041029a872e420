/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classes are the document's own (docs/DOCTOR-JSON.md): objects with a key, words and bytes.  Documents of different ages
 * may have different ones; a class that one of them lacks is 0 there.
 */
#include "server/split.h"

#include "server/jsonw.h"

#include "store/store.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <json.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES 64

struct split {
	char *keys[CLASSES], *titles[CLASSES];
	size_t n, times;
	int64_t *values; /* [class * times + time] */
};

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

/* The array of classes, where the document has it. */
static struct json_object *classes_of(struct json_object *document)
{
	static const char *const names[] = { "split", "classes" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct json_object *v = member(document, names[i]);

		if (json_object_is_type(v, json_type_object))
			v = member(v, "classes");
		if (json_object_is_type(v, json_type_array))
			return v;
	}
	return NULL;
}

static const char *key_of(struct json_object *class)
{
	const char *key = text(class, "key");

	return key ? key : text(class, "class");
}

static int64_t bytes_of(struct json_object *class)
{
	struct json_object *v = member(class, "bytes");

	if (!v)
		v = member(class, "resident_bytes");
	return v ? json_object_get_int64(v) : 0;
}

static size_t class_number(struct split *s, const char *key, const char *title)
{
	size_t i = 0;

	while (i < s->n && strcmp(s->keys[i], key) != 0)
		i++;
	if (i < s->n || s->n == CLASSES)
		return i < s->n ? i : SIZE_MAX;
	if (str_copy(&s->keys[i], key) < 0 || str_copy(&s->titles[i], title ? title : key) < 0) {
		free(TAKE(s->keys[i]));
		return SIZE_MAX;
	}
	s->n++;
	return i;
}

static void take_document(struct split *s, const char *json, size_t at)
{
	struct json_object *document = json ? json_tokener_parse(json) : NULL;
	struct json_object *classes = classes_of(document);
	size_t n = classes ? json_object_array_length(classes) : 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *class = json_object_array_get_idx(classes, i);
		const char *title = text(class, "label"), *key = key_of(class);
		size_t number;

		if (!title)
			title = text(class, "title");
		number = key ? class_number(s, key, title) : SIZE_MAX;
		if (number != SIZE_MAX)
			s->values[number * s->times + at] = bytes_of(class);
	}
	json_object_put(document);
}

static void release(struct split *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->keys[i]);
		free(s->titles[i]);
	}
	free(s->values);
}

static void put(struct jsonw *j, const char *key, const struct split *s, const int64_t *times,
                int64_t *sums)
{
	jw_object(j, key);
	jw_array(j, "keys");
	for (size_t i = 0; i < s->n; i++)
		jw_string(j, NULL, s->keys[i]);
	jw_array_end(j);
	jw_array(j, "titles");
	for (size_t i = 0; i < s->n; i++)
		jw_string(j, NULL, s->titles[i]);
	jw_array_end(j);
	jw_column_int(j, "time_ms", times, s->times);
	jw_array(j, "values");
	for (size_t i = 0; i < s->n; i++) {
		jw_column_int(j, NULL, s->values + i * s->times, s->times);
		for (size_t t = 0; t < s->times; t++)
			sums[t] += s->values[i * s->times + t];
	}
	jw_array_end(j);
	jw_column_int(j, "total", sums, s->times);
	jw_object_end(j);
}

struct seep_error *split_put(struct jsonw *j, const char *key, const struct store_documents *l)
{
	struct split s = { .times = l->n };
	_cleanup_free_ int64_t *times = calloc(l->n + 1, sizeof(*times));
	_cleanup_free_ int64_t *sums = calloc(l->n + 1, sizeof(*sums));

	s.values = calloc(CLASSES * l->n + 1, sizeof(*s.values));
	if (!times || !sums || !s.values) {
		free(s.values);
		return &seep_error_nomem;
	}
	for (size_t i = 0; i < l->n; i++) {
		const struct store_document *d = &l->items[l->n - 1 - i];

		times[i] = d->time_ms;
		take_document(&s, d->json, i);
	}
	if (s.n)
		put(j, key, &s, times, sums);
	else
		jw_null(j, key);
	release(&s);
	return NULL;
}

int64_t split_retained(struct json_object *document)
{
	struct json_object *classes = classes_of(document);
	size_t n = classes ? json_object_array_length(classes) : 0;
	int64_t sum = STORE_NONE;

	for (size_t i = 0; i < n; i++) {
		struct json_object *class = json_object_array_get_idx(classes, i);
		const char *key = key_of(class);

		if (key && (!strncmp(key, "free_", 5) || !strcmp(key, "pinned") ||
		            !strcmp(key, "cached") || !strcmp(key, "other_free") ||
		            !strcmp(key, "other_cached")))
			sum = (sum == STORE_NONE ? 0 : sum) + bytes_of(class);
	}
	return sum;
}
