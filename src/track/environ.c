/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Variables of the environment, asked for at the first event.
 *
 * That may be the loader's own allocation, when the C library does not know its environment yet, so the kernel's copy is
 * read, once, for all names.  Only where it cannot be read is the C library asked.
 */
#include <stdlib.h>
#include <string.h>

#include "track/track.h"

struct reader {
	struct variable *vars;
	size_t nvars;
	struct variable *current; /* whose value this is; NULL: nobody's */
	char name[64];
	size_t len;
	bool in_value;
};

static struct variable *variable_named(const struct reader *r)
{
	for (size_t i = 0; i < r->nvars; i++)
		if (strlen(r->vars[i].name) == r->len && !strncmp(r->vars[i].name, r->name, r->len))
			return r->vars[i].set ? NULL : &r->vars[i];
	return NULL;
}

static void take(struct reader *r, char c)
{
	if (!c) {
		r->current = NULL;
		r->in_value = false;
		r->len = 0;
	} else if (r->in_value) {
		struct variable *v = r->current;

		/* A value that is cut would mean something else: it is as if it were not there. */
		if (v && r->len + 1 < v->size) {
			v->value[r->len++] = c;
			v->value[r->len] = '\0';
		} else if (v) {
			v->value[0] = '\0';
			v->set = false;
			r->current = NULL;
		}
	} else if (c == '=') {
		r->current = variable_named(r);
		r->in_value = true;
		r->len = 0;
		if (r->current)
			r->current->set = true;
	} else if (r->len < sizeof(r->name)) {
		r->name[r->len++] = c;
	} else {
		r->in_value = true;
	}
}

static void ask_libc(struct variable *vars, size_t nvars)
{
	for (size_t i = 0; i < nvars; i++) {
		const char *v = getenv(vars[i].name);
		size_t n = v ? strlen(v) : 0;

		if (!v || n >= vars[i].size)
			continue;
		memcpy(vars[i].value, v, n + 1);
		vars[i].set = true;
	}
}

void environ_parse(struct variable *vars, size_t nvars, const char *text, size_t len)
{
	struct reader r = { .vars = vars, .nvars = nvars };

	for (size_t i = 0; i < len; i++)
		take(&r, text[i]);
}

void environ_read(struct variable *vars, size_t nvars)
{
	struct reader r = { .vars = vars, .nvars = nvars };
	char buf[512];
	long fd = sys_open("/proc/self/environ", O_RDONLY, 0), n;

	if (sys_failed(fd)) {
		ask_libc(vars, nvars);
		return;
	}
	while ((n = sys_read((int)fd, buf, sizeof(buf))) > 0)
		for (long i = 0; i < n; i++)
			take(&r, buf[i]);
	sys_close((int)fd);
}
