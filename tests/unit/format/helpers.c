/* SPDX-License-Identifier: Apache-2.0 */
#include "helpers.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct file sample(const char *name)
{
	struct file f = { 0 };
	char path[512];
	FILE *in;

	snprintf(path, sizeof(path), "%s/%s", getenv("SEEP_FORMAT_DIR"), name);
	in = fopen(path, "r");
	if (!in)
		fail_msg("no %s", path);
	fseek(in, 0, SEEK_END);
	f.len = (size_t)ftell(in);
	rewind(in);
	f.data = malloc(f.len + 1);
	assert_non_null(f.data);
	assert_int_equal(fread(f.data, 1, f.len, in), f.len);
	fclose(in);
	return f;
}

void file_free(struct file *f)
{
	free(f->data);
	f->data = NULL;
}

struct profile *read_bytes(const void *data, size_t len, const char *name, size_t *ret_warnings)
{
	struct profile *p = NULL;
	char **warnings = NULL;
	struct seep_error *err = format_read_memory(data, len, name, NULL, &p, &warnings);
	size_t n = 0;

	if (err)
		fail_msg("%s: %s", name, err->message);
	for (; warnings && warnings[n]; n++)
		if (!ret_warnings)
			print_message("unexpected: %s\n", warnings[n]);
	format_free_warnings(warnings);
	if (ret_warnings)
		*ret_warnings = n;
	else
		assert_int_equal(n, 0);
	assert_null(profile_check(p));
	return p;
}

struct profile *read_sample(const char *name, size_t *ret_warnings)
{
	struct file f = sample(name);
	struct profile *p = read_bytes(f.data, f.len, name, ret_warnings);

	file_free(&f);
	return p;
}

char *stack_names(const struct profile *p, const struct prof_site *s)
{
	struct buf b = { 0 };

	for (uint32_t f = s->stack; f; f = p->frames[f].parent) {
		const struct prof_symbol *sym = &p->symbols[p->frames[f].symbol];

		for (uint32_t i = 0; i < sym->nlines; i++)
			buf_printf(&b, "%s%s", b.len ? "<" : "",
			           sym->lines[i].function ? sym->lines[i].function : "?");
	}
	return buf_steal(&b);
}

const struct prof_site *find_site(const struct profile *p, const char *stack)
{
	for (size_t i = 0; i < p->nsites; i++) {
		char *names = stack_names(p, &p->sites[i]);
		bool same = !strcmp(names, stack);

		free(names);
		if (same)
			return &p->sites[i];
	}
	for (size_t i = 0; i < p->nsites; i++) {
		char *names = stack_names(p, &p->sites[i]);

		print_message("there is: %s\n", names);
		free(names);
	}
	fail_msg("no site %s", stack);
	return NULL;
}
