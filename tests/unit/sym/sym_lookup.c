/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command around the symbolizer for comparing it with addr2line and for timing it:
 *
 *	sym_lookup [-t] FILE < ADDRESSES
 *
 * ADDRESSES are hexadecimal file addresses, one a line.  Prints, for each, the address,
 * then a line "FUNCTION<TAB>FILE:LINE" per frame, innermost first.  -t prints the time
 * instead.  Warnings go to stderr.
 */
#include "base/error.h"
#include "profile/profile.h"
#include "sym/sym.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static struct profile *make_profile(const char *path)
{
	struct profile *p = profile_new();
	char *line = NULL;
	size_t cap = 0, room = 0;

	if (!p)
		abort();
	p->modules = calloc(1, sizeof(*p->modules));
	p->modules[0].path = realpath(path, NULL);
	if (!p->modules[0].path)
		exit(2);
	p->nmodules = 1;
	while (getline(&line, &cap, stdin) > 0) {
		if (p->nframes >= room) {
			room = p->nframes * 2 + 1024;
			p->frames = realloc(p->frames, room * sizeof(*p->frames));
			if (!p->frames)
				abort();
		}
		p->frames[p->nframes++] = (struct prof_frame){ .pc = strtoull(line, NULL, 16) };
	}
	free(line);
	return p;
}

static void print(const struct profile *p)
{
	size_t i;
	uint32_t j;

	for (i = 1; i < p->nframes; i++) {
		const struct prof_symbol *s = &p->symbols[p->frames[i].symbol];

		printf("0x%" PRIx64 "\n", p->frames[i].pc);
		for (j = 0; j < s->nlines; j++)
			printf("%s\t%s:%u\n", s->lines[j].function ? s->lines[j].function : "??",
			       s->lines[j].file ? s->lines[j].file : "??", s->lines[j].line);
	}
}

int main(int argc, char **argv)
{
	int timed = argc > 1 && !strcmp(argv[1], "-t");
	struct sym_options opts = { 0 };
	struct symbolizer *sym;
	struct seep_error *err;
	const char *const *w;
	struct timespec a, b;
	struct rusage use;
	struct profile *p;

	if (argc != 2 + timed)
		return 2;
	p = make_profile(argv[1 + timed]);
	clock_gettime(CLOCK_MONOTONIC, &a);
	err = symbolizer_new(&opts, &sym);
	if (!err)
		err = symbolizer_run(sym, p);
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (err) {
		fprintf(stderr, "%s\n", err->message);
		return 1;
	}
	for (w = symbolizer_warnings(sym); *w; w++)
		fprintf(stderr, "warning: %s\n", *w);
	getrusage(RUSAGE_SELF, &use);
	if (timed)
		printf("%zu addresses, %zu symbols, %.1f ms, %ld MB at most\n", p->nframes - 1,
		       p->nsymbols - 1,
		       (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6,
		       use.ru_maxrss / 1024);
	else
		print(p);
	symbolizer_free(sym);
	profile_free(p);
	return 0;
}
