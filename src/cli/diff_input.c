/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each side is opened and symbolized by itself: its process may live, its files may have changed since.  Which
 * snapshot a time means is src/capture/since.c's to find.
 */
#include "cli/diff_input.h"

#include "analysis/diff.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/parse.h"
#include "capture/capture.h"
#include "capture/since.h"
#include "cli/input.h"
#include "profile/profile.h"
#include "sym/sym.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static struct seep_error *open_side(struct diff_inputs *in, const char *name)
{
	struct read_options read = { .blocks = false };
	struct seep_error *err;

	if (array_grow((void **)&in->profiles, in->n, &in->cap, sizeof(*in->profiles)) < 0)
		return &seep_error_nomem;
	err = cli_open_profile("diff", name, &read, &in->profiles[in->n]);
	if (!err)
		in->n++;
	return err;
}

/* Damaged snapshots are passed over, but not silently. */
static struct seep_error *scan(const char *dir, struct since_list *ret_list)
{
	struct seep_error *err = since_scan(dir, ret_list);

	if (!err && ret_list->bad)
		cli_warn("diff", ret_list->nbad > 1 ? "%s (and %zu more)" : "%s", ret_list->bad,
		         ret_list->nbad - 1);
	return err;
}

/* ---- two ------------------------------------------------------------------------- */

static struct seep_error *open_two(char **names, size_t n, struct diff_inputs *in)
{
	struct seep_error *err = NULL;

	if (n < 2)
		return seep_error_hint(
			seep_error_new(0, "a difference takes two profiles, before and after"),
			"Name two snapshots, ledgers, processes or files of other tools; 'seep snap PID' "
			"takes a snapshot.");
	if (n > 2)
		return seep_error_hint(seep_error_new(0, "%zu profiles are more than two", n),
		                       "With --series they are a series in the order of time.");
	for (size_t i = 0; !err && i < n; i++)
		err = is_dir(names[i])
		              ? seep_error_hint(seep_error_new(0, "%s is a directory", names[i]),
		                                "With --series all its snapshots are compared, "
		                                "with --since=10m the newest with an older one.")
		              : open_side(in, names[i]);
	return err;
}

/* ---- a series --------------------------------------------------------------------- */

/* Files of a series come in the order of their names; what they say of their time is better. */
static void sort_by_time(struct diff_inputs *in)
{
	for (size_t i = 0; i < in->n; i++)
		if (!diff_moment(in->profiles[i]))
			return;
	for (size_t i = 1; i < in->n; i++) {
		struct profile *p = in->profiles[i];
		size_t k = i;

		for (; k && diff_moment(in->profiles[k - 1]) > diff_moment(p); k--)
			in->profiles[k] = in->profiles[k - 1];
		in->profiles[k] = p;
	}
}

static struct seep_error *open_list(const struct since_list *l, struct diff_inputs *in)
{
	struct seep_error *err = NULL;

	for (size_t i = 0; !err && i < l->n; i++)
		err = open_side(in, l->entries[i].path);
	return err;
}

static struct seep_error *open_series(const struct diff_input_options *o, char **names, size_t n,
                                      struct diff_inputs *in)
{
	struct seep_error *err = NULL;

	for (size_t i = 0; !err && i < n; i++) {
		_cleanup_since_ struct since_list l = { 0 };

		if (!is_dir(names[i])) {
			err = open_side(in, names[i]);
			continue;
		}
		err = scan(names[i], &l);
		if (!err)
			err = since_keep(&l, names[i], 0);
		if (!err)
			err = open_list(&l, in);
	}
	if (!err && o->snaps) {
		_cleanup_since_ struct since_list l = { 0 };

		err = n == 1 ? scan(o->snaps, &l)
		             : seep_error_new(0, "--snaps goes with one process");
		if (!err)
			err = since_keep_of(&l, o->snaps, in->profiles[0]);
		if (!err)
			err = open_list(&l, in);
	}
	if (!err && in->n < 3)
		err = seep_error_new(0, "a series takes three profiles or more, and these are %zu",
		                     in->n);
	if (!err)
		sort_by_time(in);
	return err;
}

/* ---- since ------------------------------------------------------------------------ */

/* The last side, and only its process in the list. */
static struct seep_error *open_last(const struct diff_input_options *o, const char *name,
                                    const char *dir, struct since_list *l, struct diff_inputs *in)
{
	struct seep_error *err;
	uint64_t pid;

	if (dir == name) {
		err = since_keep(l, dir, 0);
		return err ? err : open_side(in, l->entries[l->n - 1].path);
	}
	err = open_side(in, name);
	if (!err)
		return since_keep_of(l, dir, in->profiles[0]);
	/* of a process that is gone, ledger and all, the newest snapshot is the last that is known */
	if (parse_u64(name, &pid) < 0 || pid > INT32_MAX)
		return err;
	for (size_t i = 0; i < l->n; i++) {
		if (l->entries[i].pid != (int32_t)pid)
			continue;
		seep_error_free(err);
		err = since_keep(l, dir, (int32_t)pid);
		return err ? err : open_side(in, l->entries[l->n - 1].path);
	}
	return err;
}

static struct seep_error *open_since(const struct diff_input_options *o, char **names, size_t n,
                                     struct diff_inputs *in)
{
	_cleanup_since_ struct since_list l = { 0 };
	const struct since_entry *first = NULL;
	struct seep_error *err;
	const char *dir;
	uint64_t moment;

	if (!o->since_ns)
		return seep_error_new(0, "--since takes a time such as 10m");
	if (n != 1)
		return seep_error_hint(seep_error_new(0, "--since takes one operand"),
		                       "Name a directory of snapshots, or a process and with --snaps "
		                       "the directory of its snapshots.");
	dir = is_dir(names[0]) ? names[0] : o->snaps;
	if (!dir)
		return seep_error_hint(
			seep_error_new(0, "--since needs to know where the earlier snapshots are"),
			"Say --snaps=DIR, the directory that `seep run` or `seep snap -o DIR` wrote "
			"them to.");
	if (dir != o->snaps && o->snaps)
		return seep_error_new(0, "%s is a directory: --snaps goes with a process", dir);
	err = scan(dir, &l);
	if (!err)
		err = open_last(o, names[0], dir, &l, in);
	if (err)
		return err;
	moment = diff_moment(in->profiles[0]);
	if (!moment)
		return seep_error_new(0, "%s does not say when it was taken", names[0]);
	err = since_pick(&l, dir, moment, o->since_ns, &first);
	if (!err)
		err = open_side(in, first->path);
	if (!err) {
		struct profile *last = in->profiles[0];

		in->profiles[0] = in->profiles[1];
		in->profiles[1] = last;
		in->age_ns = moment - first->time_ns;
	}
	return err;
}

/* ---- all of them -------------------------------------------------------------------- */

static struct seep_error *add_warnings(struct diff_inputs *in, const struct symbolizer *sym)
{
	for (const char *const *w = symbolizer_warnings(sym); w && *w; w++) {
		const char **more;
		bool known = false;

		for (size_t i = 0; i < in->nwarnings; i++)
			known |= !strcmp(in->warnings[i], *w);
		if (known)
			continue;
		more = reallocarray(in->warnings, in->nwarnings + 2, sizeof(*more));
		if (!more)
			return &seep_error_nomem;
		in->warnings = more;
		in->warnings[in->nwarnings++] = *w;
		in->warnings[in->nwarnings] = NULL;
	}
	return NULL;
}

struct seep_error *diff_inputs_open(const struct diff_input_options *o, char **names, size_t n,
                                    struct diff_inputs *in)
{
	struct seep_error *err;

	memset(in, 0, sizeof(*in));
	if (o->since_given && o->series)
		return seep_error_new(0, "--since takes two moments, --series all: not both");
	if (o->snaps && !o->since_given && !o->series)
		return seep_error_new(0, "--snaps goes with --since or --series");
	err = o->since_given ? open_since(o, names, n, in)
	      : o->series    ? open_series(o, names, n, in)
	                     : open_two(names, n, in);
	if (err)
		return err;
	in->symbolizers = calloc(in->n, sizeof(*in->symbolizers));
	if (!in->symbolizers)
		return &seep_error_nomem;
	/* the last first: of one process it has all the code of the others, and debug information is read but once */
	for (size_t i = in->n; !err && i-- > 0;) {
		if (o->symbols.symbols && i + 1 < in->n)
			err = profile_take_names(in->profiles[i], in->profiles[in->n - 1]);
		if (!err)
			err = symbol_cli_run(&o->symbols, in->profiles[i], &in->symbolizers[i]);
		if (!err && in->symbolizers[i])
			err = add_warnings(in, in->symbolizers[i]);
	}
	return err;
}

void diff_inputs_release(struct diff_inputs *in)
{
	for (size_t i = 0; i < in->n; i++) {
		profile_free(in->profiles[i]);
		if (in->symbolizers)
			symbolizer_free(in->symbolizers[i]);
	}
	free(in->profiles);
	free(in->symbolizers);
	free(in->warnings);
	memset(in, 0, sizeof(*in));
}
