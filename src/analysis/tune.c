/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters of all allocators of a process together: reading, wishes, undoing.
 *
 * Everything is checked before anything is changed, and what was before is on disk before the first change is made: whatever
 * happens in between, undo finds it.
 */
#include "analysis/tune.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/tune_private.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "heap/allocators.h"

struct tune_row *tune_add_row(struct tune *t)
{
	struct tune_row *grown = realloc(t->rows, (t->nrows + 1) * sizeof(*grown));

	if (!grown)
		return NULL;
	t->rows = grown;
	grown[t->nrows] = (struct tune_row){ 0 };
	return &grown[t->nrows++];
}

void tune_note(struct tune *t, const char *fmt, ...)
{
	char **grown = realloc(t->notes, (t->nnotes + 1) * sizeof(*grown)), *text;
	va_list ap;
	int n;

	if (!grown)
		return;
	t->notes = grown;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n >= 0)
		t->notes[t->nnotes++] = text;
}

void tune_environment(struct tune *t, const char *line)
{
	char **grown = realloc(t->environment, (t->nenvironment + 1) * sizeof(*grown)), *copy;

	if (!grown)
		return;
	t->environment = grown;
	copy = strdup(line);
	if (copy)
		t->environment[t->nenvironment++] = copy;
}

double tune_real(const struct tune_row *r, const struct tune_value *v)
{
	return r->unit == TUNE_MS || r->unit == TUNE_RATE ? v->real : (double)v->number;
}

/* '-' and '_' are one. */
static bool same_name(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
			return false;
	return *a == *b;
}

bool tune_row_is(const struct tune_row *r, const char *allocator, const char *name)
{
	return !strcmp(r->allocator, allocator) && same_name(r->name, name);
}

/* ---- reading ---------------------------------------------------------------------------- */

static void keep_only(struct tune *t, const char *allocator)
{
	size_t n = 0;

	for (size_t i = 0; i < t->nrows; i++) {
		if (!strcmp(t->rows[i].allocator, allocator))
			t->rows[n++] = t->rows[i];
		else
			free(t->rows[i].note);
	}
	t->nrows = n;
}

static struct seep_error *read_all(struct tune *t, const char *allocator, struct allocators **ret_as)
{
	struct seep_error *err = allocators_find(t->pid, ret_as);

	if (!err)
		err = tune_glibc_read(t);
	if (!err)
		err = tune_others_read(t, *ret_as);
	if (err)
		return err;
	if (allocator)
		keep_only(t, allocator);
	if (t->nrows)
		return NULL;
	if (allocator)
		return seep_error_new(0, "process %d has no parameters of an allocator '%s'",
		                      (int)t->pid, allocator);
	err = seep_error_new(0, "process %d has no allocator with parameters that can be changed",
	                     (int)t->pid);
	return t->nnotes ? seep_error_hint(err, "%s", t->notes[t->nnotes - 1]) : err;
}

static void mark_kept(struct tune *t, const struct tune_state *s)
{
	for (size_t i = 0; i < t->nrows; i++)
		t->rows[i].kept = tune_state_has(s, t->rows[i].allocator, t->rows[i].name);
}

static struct tune *new_tune(pid_t pid)
{
	struct tune *t = calloc(1, sizeof(*t));

	if (t)
		t->pid = pid;
	return t;
}

struct seep_error *tune_read(pid_t pid, const char *allocator, struct tune **ret_tune)
{
	_cleanup_tune_ struct tune *t = new_tune(pid);
	_cleanup_allocators_ struct allocators *as = NULL;
	struct tune_state state = { 0 };
	struct seep_error *err;

	if (!t)
		return &seep_error_nomem;
	err = read_all(t, allocator, &as);
	if (err)
		return err;
	err = tune_state_read(pid, &state);
	if (err) {
		tune_note(t, "%s", err->message);
		seep_error_free(err);
	}
	mark_kept(t, &state);
	tune_state_release(&state);
	*ret_tune = TAKE(t);
	return NULL;
}

/* ---- wishes ------------------------------------------------------------------------------- */

static bool parse_switch(const char *s, uint64_t *ret)
{
	static const char *const on[] = { "1", "on", "true", "yes" }, *const off[] = { "0", "off",
		                                                                       "false",
		                                                                       "no" };

	for (size_t i = 0; i < 4; i++)
		if (!strcmp(s, on[i]) || !strcmp(s, off[i])) {
			*ret = !strcmp(s, on[i]);
			return true;
		}
	return false;
}

static bool parse_real(const char *s, double *ret)
{
	char *end;

	if (!isdigit((unsigned char)*s) && *s != '-')
		return false;
	errno = 0;
	*ret = strtod(s, &end);
	return !errno && end != s && !*end;
}

static bool parse_value(const struct tune_row *r, const char *s, struct tune_value *ret)
{
	struct tune_value v = { .known = true };
	bool fine = false;
	uint64_t n;

	switch (r->unit) {
	case TUNE_BYTES:
		if (!strcmp(s, "never") && !strcmp(r->name, "trim_threshold")) {
			v.number = TUNE_NEVER;
			fine = true;
		} else {
			fine = !parse_size(s, &v.number);
		}
		break;
	case TUNE_COUNT:
		fine = !strcmp(s, "auto") || !parse_u64(s, &v.number);
		break;
	case TUNE_SWITCH:
		fine = parse_switch(s, &v.number);
		break;
	case TUNE_MS:
		v.real = -1;
		fine = !strcmp(s, "never") || parse_real(s, &v.real);
		if (!fine && !parse_duration(s, &n)) {
			v.real = (double)(n / 1000000);
			fine = true;
		}
		break;
	case TUNE_RATE:
		fine = parse_real(s, &v.real);
		if (!fine && !parse_size(s, &n)) {
			v.real = (double)n;
			fine = true;
		}
		break;
	}
	if (fine)
		*ret = v;
	return fine;
}

static struct seep_error *unknown(const struct tune *t, const char *name)
{
	char list[512] = "";
	size_t at = 0;

	for (size_t i = 0; i < t->nrows && at + 40 < sizeof(list); i++)
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", at ? ", " : "",
		                       t->rows[i].name);
	return seep_error_hint(seep_error_new(0, "process %d has no parameter '%s'", (int)t->pid,
	                                      name),
	                       "It has: %s", list);
}

/* Every allocator that has the parameter gets it. */
static struct seep_error *place_orders(struct tune *t, const struct tune_wish *wishes, size_t n,
                                       struct tune_order **ret, size_t *ret_n)
{
	_cleanup_free_ struct tune_order *orders = calloc(n * t->nrows + 1, sizeof(*orders));
	size_t k = 0;

	if (!orders)
		return &seep_error_nomem;
	for (size_t w = 0; w < n; w++) {
		size_t first = k;

		for (size_t i = 0; i < t->nrows; i++) {
			struct tune_order *o = &orders[k];
			struct seep_error *err = NULL;

			if (!same_name(t->rows[i].name, wishes[w].name))
				continue;
			o->row = &t->rows[i];
			if (!parse_value(o->row, wishes[w].value, &o->value))
				return seep_error_new(0, "%s cannot be '%s'", wishes[w].name,
				                      wishes[w].value);
			if (!strcmp(o->row->allocator, "glibc"))
				err = tune_glibc_check(t, o);
			if (err)
				return err;
			k++;
		}
		if (k == first)
			return unknown(t, wishes[w].name);
	}
	*ret = TAKE(orders);
	*ret_n = k;
	return NULL;
}

/* ---- changing ------------------------------------------------------------------------------- */

static struct seep_error *keep(struct tune_state *s, const struct tune_row *r)
{
	struct tune_kept k = { .number = r->now.number, .real = r->now.real };

	snprintf(k.allocator, sizeof(k.allocator), "%s", r->allocator);
	snprintf(k.name, sizeof(k.name), "%s", r->name);
	return tune_state_add(s, &k);
}

static struct tune_row *dyn_threshold(struct tune *t)
{
	for (size_t i = 0; i < t->nrows; i++)
		if (tune_row_is(&t->rows[i], "glibc", "dyn_threshold"))
			return &t->rows[i];
	return NULL;
}

/* The switch that setting glibc's thresholds turns off is kept with them. */
static struct seep_error *keep_all(struct tune *t, struct tune_state *s,
                                   const struct tune_order *orders, size_t n)
{
	struct tune_row *dyn = dyn_threshold(t);
	struct seep_error *err = NULL;
	bool glibc = false;

	for (size_t i = 0; i < n && !err; i++) {
		err = keep(s, orders[i].row);
		glibc = glibc || !strcmp(orders[i].row->allocator, "glibc");
	}
	if (!err && glibc && dyn)
		err = keep(s, dyn);
	return err ? err : tune_state_write(s);
}

static void mark_changed(struct tune *t, struct tune_row *r, const struct tune_value *now)
{
	r->before = r->now;
	r->now = *now;
	r->changed = true;
	t->nchanged++;
}

/* What the words of mp_ are now, after they were written. */
static struct seep_error *read_glibc_again(struct tune *t)
{
	_cleanup_tune_ struct tune *now = new_tune(t->pid);
	struct seep_error *err = now ? tune_glibc_read(now) : &seep_error_nomem;

	for (size_t i = 0; i < t->nrows && !err; i++)
		for (size_t k = 0; k < now->nrows; k++)
			if (tune_row_is(&t->rows[i], "glibc", now->rows[k].name) &&
			    t->rows[i].now.number != now->rows[k].now.number) {
				mark_changed(t, &t->rows[i], &now->rows[k].now);
				free(t->rows[i].note); /* it was about the value before */
				t->rows[i].note = TAKE(now->rows[k].note);
			}
	if (!err)
		t->stopped_ns += now->stopped_ns;
	return err;
}

static struct seep_error *carry_out(struct tune *t, struct allocators *as,
                                    const struct tune_order *orders, size_t n)
{
	struct seep_error *err = NULL;
	bool glibc = false;

	for (size_t i = 0; i < n; i++)
		glibc = glibc || !strcmp(orders[i].row->allocator, "glibc");
	if (glibc)
		err = tune_glibc_write(t, orders, n);
	if (!err && glibc)
		err = read_glibc_again(t);
	for (size_t i = 0; i < n && !err; i++) {
		struct tune_row *r = orders[i].row;

		if (!strcmp(r->allocator, "glibc")) {
			/* One that was what it is to be counts as done as well. */
			if (!r->changed)
				mark_changed(t, r,
				             &(struct tune_value){ r->now.known, r->now.number,
				                                   r->now.real });
			continue;
		}
		err = tune_others_write(t, as, &orders[i]);
		if (!err) {
			r->changed = true;
			t->nchanged++;
		}
	}
	return err;
}

struct seep_error *tune_set(pid_t pid, const char *allocator, const struct tune_wish *wishes,
                            size_t n, struct tune **ret_tune)
{
	_cleanup_tune_ struct tune *t = new_tune(pid);
	_cleanup_allocators_ struct allocators *as = NULL;
	_cleanup_free_ struct tune_order *orders = NULL;
	struct tune_state state = { 0 };
	size_t norders = 0;
	struct seep_error *err;

	if (!t)
		return &seep_error_nomem;
	err = read_all(t, allocator, &as);
	if (!err)
		err = place_orders(t, wishes, n, &orders, &norders);
	if (!err)
		err = tune_state_read(pid, &state);
	if (!err)
		err = keep_all(t, &state, orders, norders);
	if (!err)
		err = carry_out(t, as, orders, norders);
	if (!err) {
		tune_glibc_environment(t);
		mark_kept(t, &state);
		*ret_tune = TAKE(t);
	}
	tune_state_release(&state);
	return err;
}

struct seep_error *tune_undo(pid_t pid, struct tune **ret_tune)
{
	_cleanup_tune_ struct tune *t = new_tune(pid);
	_cleanup_allocators_ struct allocators *as = NULL;
	_cleanup_free_ struct tune_order *orders = NULL;
	struct tune_state state = { 0 };
	size_t n = 0;
	struct seep_error *err;

	if (!t)
		return &seep_error_nomem;
	err = tune_state_read(pid, &state);
	if (!err && !state.n)
		err = seep_error_new(0, "seep has changed nothing in process %d", (int)pid);
	if (!err)
		err = read_all(t, NULL, &as);
	orders = calloc(state.n + 1, sizeof(*orders));
	if (!err && !orders)
		err = &seep_error_nomem;
	for (size_t i = 0; i < state.n && !err; i++)
		for (size_t k = 0; k < t->nrows; k++)
			if (tune_row_is(&t->rows[k], state.items[i].allocator, state.items[i].name))
				orders[n++] = (struct tune_order){ &t->rows[k],
					                           { true, state.items[i].number,
					                             state.items[i].real } };
	if (!err)
		err = carry_out(t, as, orders, n);
	if (!err) {
		state.n = 0;
		err = tune_state_write(&state);
	}
	if (!err)
		*ret_tune = TAKE(t);
	tune_state_release(&state);
	return err;
}

void tune_free(struct tune *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->nrows; i++)
		free(t->rows[i].note);
	for (size_t i = 0; i < t->nenvironment; i++)
		free(t->environment[i]);
	for (size_t i = 0; i < t->nnotes; i++)
		free(t->notes[i]);
	free(t->rows);
	free(t->environment);
	free(t->notes);
	free(t->exe);
	free(t);
}
