/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A doctor as a thing: its tables of names, how it begins, what it owns.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/doctor_private.h"
#include "base/error.h"
#include "profile/profile.h"

#define MAX_MAPPINGS 24

const struct doctor_class_info doctor_classes[DOCTOR_NCLASSES] = {
#define X(id, key, label, source) { key, label, source },
	DOCTOR_CLASSES(X)
#undef X
};

const struct doctor_fact_info doctor_facts[DOCTOR_NFACTS] = {
#define X(id, key, bytes) { key, bytes },
	DOCTOR_FACTS(X)
#undef X
};

const char *const doctor_hows[DOCTOR_NHOWS] = { "status", "maps", "stopped", "clone", "core" };
const char *const doctor_confidences[3] = { "low", "medium", "high" };

void doctor_note(struct doctor *d, const char *fmt, ...)
{
	char **grown = reallocarray(d->notes, d->nnotes + 1, sizeof(*grown)), *text;
	va_list ap;
	int n;

	if (!grown)
		return;
	d->notes = grown;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n >= 0)
		d->notes[d->nnotes++] = text;
}

struct doctor *doctor_new(void)
{
	struct doctor *d = calloc(1, sizeof(*d));

	for (int i = 0; d && i < DOCTOR_NFACTS; i++)
		d->facts[i] = DOCTOR_UNKNOWN_FACT;
	if (d)
		d->until_limit_ns = UINT64_MAX;
	return d;
}

void doctor_clear_verdicts(struct doctor *d)
{
	for (size_t i = 0; i < d->nverdicts; i++) {
		struct doctor_verdict *v = &d->verdicts[i];

		free(v->title);
		for (size_t k = 0; k < v->nevidence; k++)
			free(v->evidence[k]);
		for (size_t k = 0; k < v->nremedies; k++) {
			free(v->remedies[k].text);
			free(v->remedies[k].command);
		}
	}
	free(d->verdicts);
	d->verdicts = NULL;
	d->nverdicts = 0;
}

void doctor_free(struct doctor *d)
{
	if (!d)
		return;
	doctor_clear_verdicts(d);
	for (size_t i = 0; i < d->npins; i++)
		free(d->pins[i].what);
	for (size_t i = 0; i < d->nleaks; i++)
		free(d->leaks[i].what);
	for (size_t i = 0; i < d->nparts; i++)
		free(d->parts[i].name);
	for (size_t i = 0; i < d->nmappings; i++)
		free(d->mappings[i].name);
	for (size_t i = 0; i < d->nallocators; i++) {
		free(d->allocators[i].name);
		free(d->allocators[i].note);
	}
	for (size_t i = 0; i < d->nnotes; i++)
		free(d->notes[i]);
	free(d->notes);
	free(d->arenas);
	free(d->pins);
	free(d->leaks);
	free(d->parts);
	free(d->mappings);
	free(d->allocators);
	free(d->exe);
	free(d->command);
	free(d->allocator);
	free(d->layout);
	free(d->runtime);
	free(d->cgroup);
	profile_free(d->profile);
	free(d);
}

/* The largest mappings of those that are not the heap's; the smallest of them goes when there are too many. */
void doctor_mapping_add(struct doctor_look *l, uint64_t start, uint64_t end, uint64_t resident,
                        enum doctor_class class, const char *name)
{
	struct doctor *d = l->d;
	size_t least = 0, room = d->mappings ? MAX_MAPPINGS : 0;
	char *copy;

	if (!d->mappings) {
		d->mappings = calloc(MAX_MAPPINGS, sizeof(*d->mappings));
		room = d->mappings ? MAX_MAPPINGS : 0;
	}
	if (!room) {
		l->failed = true;
		return;
	}
	for (size_t i = 1; i < d->nmappings; i++)
		if (d->mappings[i].resident < d->mappings[least].resident)
			least = i;
	if (d->nmappings == room && d->mappings[least].resident >= resident)
		return;
	copy = strdup(name);
	if (!copy) {
		l->failed = true;
		return;
	}
	if (d->nmappings == room) {
		free(d->mappings[least].name);
	} else {
		least = d->nmappings++;
	}
	d->mappings[least] = (struct doctor_mapping){
		.start = start, .end = end, .resident = resident, .class = class, .name = copy
	};
}
