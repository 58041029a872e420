/* SPDX-License-Identifier: Apache-2.0 */
/* What suppress.c (matching) and suppress_parse.c (reading) share. */
#ifndef SEEP_ANALYSIS_SUPPRESS_PRIVATE_H
#define SEEP_ANALYSIS_SUPPRESS_PRIVATE_H

#include "analysis/suppress.h"

enum suppress_what { SUPPRESS_FUN, SUPPRESS_OBJ, SUPPRESS_SRC, SUPPRESS_ANY /* "..." */ };

struct suppress_pattern {
	enum suppress_what what;
	char *glob;  /* NULL for "..." */
	char *plain; /* fun: without the mark of a compiler's clone (.constprop.0); NULL: has none */
	uint32_t line; /* src: with a line; 0: any */
};

/* A rule with what it is matched by; `shown` is what callers see. */
struct suppress_entry {
	struct suppress_rule shown;
	unsigned int classes; /* set of 1u << enum reach_class */
	struct suppress_pattern *patterns;
	size_t npatterns;
};

struct suppressions {
	struct suppress_entry **entries;
	const struct suppress_rule **shown; /* the same rules, as suppressions_rules() hands them out */
	size_t n, cap, skipped;
};

/* Takes `entry` over in any case. */
struct seep_error *suppress_add(struct suppressions *s, struct suppress_entry *entry);
void suppress_entry_free(struct suppress_entry *entry);

#endif
