/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/nearest.h"

#include <string.h>

/* Edits (insert, delete, replace, swap of neighbours) from a to b; both shorter than the table. */
static unsigned int distance(const char *a, const char *b)
{
	enum { MAX = 24 };
	unsigned int d[MAX + 1][MAX + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > MAX || m > MAX)
		return MAX;
	for (size_t i = 0; i <= n; i++) {
		for (size_t j = 0; j <= m; j++) {
			unsigned int best;

			if (!i || !j) {
				d[i][j] = (unsigned int)(i + j);
				continue;
			}
			best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	}
	return d[n][m];
}

struct nearest nearest_to(const char *name)
{
	/* Farther than two edits is another word. */
	return (struct nearest){ .name = name, .least = 3 };
}

void nearest_try(struct nearest *n, const char *candidate)
{
	unsigned int d = distance(n->name, candidate);

	if (strlen(n->name) >= 3 && !strncmp(n->name, candidate, strlen(n->name)))
		d = 1;
	if (d < n->least && d < strlen(candidate)) {
		n->least = d;
		n->best = candidate;
	}
}
