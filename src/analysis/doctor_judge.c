/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judgement: all rules (doctor_rules.c) asked in turn, what they say in the order of importance, and how long it
 * can go on like that.
 *
 * Order: over a window, what explains the growth comes first; then problems before what is only good to know; then bytes; then the
 * order of the table, in which the more particular cause stands first.
 */
#include <stdlib.h>

#include "analysis/doctor_private.h"
#include "base/error.h"

#define KIB UINT64_C(1024)

static int order(const struct doctor_case *j, const struct doctor_verdict *a,
                 const struct doctor_verdict *b)
{
	if (j->grew) {
		bool x = a->growth * 10 >= j->growth, y = b->growth * 10 >= j->growth;

		if (x != y)
			return x ? -1 : 1;
		if (x && a->growth != b->growth)
			return a->growth > b->growth ? -1 : 1;
	}
	if (a->problem != b->problem)
		return a->problem ? -1 : 1;
	return a->bytes > b->bytes ? -1 : a->bytes < b->bytes;
}

/* What is left at the present rate, of the cgroup's limit or else of the machine's memory. */
static void foresee(struct doctor_case *j)
{
	struct doctor *d = j->d;
	uint64_t left = doctor_fact(d, FACT_AVAILABLE);
	double seconds;

	if (doctor_knows(d, FACT_CGROUP_LIMIT))
		left = d->facts[FACT_CGROUP_LIMIT] > doctor_fact(d, FACT_CGROUP_USED)
		               ? d->facts[FACT_CGROUP_LIMIT] - doctor_fact(d, FACT_CGROUP_USED)
		               : 0;
	else if (!doctor_knows(d, FACT_AVAILABLE))
		return;
	if (!j->grew || !d->window_ns)
		return;
	seconds = (double)left / ((double)j->growth / ((double)d->window_ns / 1e9));
	if (seconds < 1e9)
		d->until_limit_ns = (uint64_t)(seconds * 1e9);
}

struct seep_error *doctor_judge(struct doctor *d, const struct doctor *before)
{
	struct doctor_case j = { .d = d, .before = before, .rss = doctor_fact(d, FACT_RSS) };
	size_t n = 0;

	doctor_clear_verdicts(d);
	d->growth = 0;
	d->window_ns = 0;
	d->until_limit_ns = UINT64_MAX;
	if (before) {
		j.growth = (int64_t)(j.rss - doctor_fact(before, FACT_RSS));
		d->growth = j.growth;
		d->window_ns = d->real_ns > before->real_ns ? d->real_ns - before->real_ns : 0;
		j.grew = j.growth >= (int64_t)(256 * KIB) && j.growth >= (int64_t)(j.rss / 200);
		foresee(&j);
	}
	d->verdicts = calloc(doctor_nrules, sizeof(*d->verdicts));
	if (!d->verdicts)
		return &seep_error_nomem;
	for (size_t i = 0; i < doctor_nrules; i++) {
		struct doctor_verdict *v = &d->verdicts[n];

		*v = (struct doctor_verdict){ .cause = doctor_rules[i].cause,
			                      .problem = doctor_rules[i].problem };
		if (doctor_rules[i].applies(&j, v))
			d->nverdicts = ++n;
	}
	/* stable: the table's order decides between equals */
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k && order(&j, &d->verdicts[k], &d->verdicts[k - 1]) < 0; k--) {
			struct doctor_verdict swap = d->verdicts[k];

			d->verdicts[k] = d->verdicts[k - 1];
			d->verdicts[k - 1] = swap;
		}
	return j.failed ? &seep_error_nomem : NULL;
}
