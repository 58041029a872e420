/* SPDX-License-Identifier: Apache-2.0 */
/* What rules look at, and the words they use: doctor_case.h. */
#include "analysis/doctor_case.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/units.h"
#include "heap/allocators.h"

uint64_t case_bytes(const struct doctor_case *j, enum doctor_class c)
{
	return j->d->classes[c];
}

int64_t case_growth(const struct doctor_case *j, enum doctor_class c)
{
	return j->before ? (int64_t)(j->d->classes[c] - j->before->classes[c]) : 0;
}

uint64_t case_fact(const struct doctor_case *j, enum doctor_fact f)
{
	return doctor_fact(j->d, f);
}

int64_t case_fact_growth(const struct doctor_case *j, enum doctor_fact f)
{
	return j->before && doctor_knows(j->before, f) && doctor_knows(j->d, f)
	               ? (int64_t)(j->d->facts[f] - j->before->facts[f])
	               : 0;
}

uint64_t case_part(uint64_t bytes, uint64_t percent)
{
	return bytes / 100 * percent + bytes % 100 * percent / 100;
}

double case_ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

/* Does this growth explain half of all growth? */
bool case_explains(const struct doctor_case *j, int64_t growth)
{
	return j->grew && growth > 0 && growth * 2 >= j->growth;
}

/* "%B" is bytes, "%C" a count, "%P" a share, "%s" a string: the numbers of evidence and titles. */
static char *words(struct doctor_case *j, const char *fmt, va_list ap)
{
	struct buf b = { 0 };

	for (const char *p = fmt; *p; p++) {
		if (*p != '%') {
			buf_putc(&b, *p);
			continue;
		}
		switch (*++p) {
		case 'B':
			unit_bytes(&b, va_arg(ap, uint64_t));
			break;
		case 'C':
			unit_count(&b, va_arg(ap, uint64_t));
			break;
		case 'P':
			unit_ratio(&b, va_arg(ap, double));
			break;
		case 'D': {
			int64_t v = va_arg(ap, int64_t);

			buf_putc(&b, v < 0 ? '-' : '+');
			unit_bytes(&b, v < 0 ? (uint64_t)-v : (uint64_t)v);
			break;
		}
		case 'd':
			buf_printf(&b, "%d", va_arg(ap, int));
			break;
		case 's':
			buf_puts(&b, va_arg(ap, const char *));
			break;
		default:
			buf_putc(&b, *p);
		}
	}
	if (b.failed)
		j->failed = true;
	return buf_steal(&b);
}

void say_title(struct doctor_case *j, struct doctor_verdict *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	free(v->title);
	v->title = words(j, fmt, ap);
	va_end(ap);
}

void say_evidence(struct doctor_case *j, struct doctor_verdict *v, const char *fmt, ...)
{
	va_list ap;

	if (v->nevidence == DOCTOR_EVIDENCE)
		return;
	va_start(ap, fmt);
	v->evidence[v->nevidence++] = words(j, fmt, ap);
	va_end(ap);
}

/* command: NULL, or with one %d for the pid at most. */
void say_remedy(struct doctor_case *j, struct doctor_verdict *v, const char *command,
                const char *text)
{
	struct doctor_remedy *r = &v->remedies[v->nremedies];
	const char *pid = command ? strstr(command, "PID") : NULL;

	if (v->nremedies == DOCTOR_REMEDIES)
		return;
	r->text = strdup(text);
	if (pid) {
		if (asprintf(&r->command, "%.*s%d%s", (int)(pid - command), command, (int)j->d->pid,
		             pid + 3) < 0)
			r->command = NULL;
	} else if (command) {
		r->command = strdup(command);
	}
	if (!r->text || (command && !r->command))
		j->failed = true;
	v->nremedies++;
}

void say_claim(struct doctor_case *j, struct doctor_verdict *v, uint64_t bytes, int64_t growth)
{
	v->bytes = bytes;
	v->share = case_ratio(bytes, j->rss);
	v->has_growth = j->before != NULL;
	v->growth = growth;
	v->growth_share = j->growth > 0 ? (double)growth / (double)j->growth : 0;
}

/* A walk that met damage, or a threshold only just passed, is worth less. */
void say_trust(struct doctor_case *j, struct doctor_verdict *v, uint64_t value, uint64_t threshold)
{
	v->confidence = value >= 2 * threshold ? DOCTOR_HIGH : DOCTOR_MEDIUM;
	if (j->d->torn && v->confidence > DOCTOR_LOW)
		v->confidence--;
}

const struct doctor_allocator *doctor_largest_allocator(const struct doctor *d)
{
	const struct doctor_allocator *most = NULL;

	for (size_t i = 0; i < d->nallocators; i++)
		if (allocator_known(d->allocators[i].live) &&
		    (!most || d->allocators[i].live > most->live))
			most = &d->allocators[i];
	return most;
}
