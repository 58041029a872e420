/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may go.  Age first (a process that ended long ago goes whole), then points, which get sparser with age, then the number of
 * snapshots of each process, then size: as long as there is too much, the process that takes most gives up one of its snapshots.
 *
 * One at a time, always the one whose absence leaves the smallest gap: what remains is spread evenly over the time there
 * is, however long that gets, without a schedule.  (A schedule of hours, days and weeks leaves steps in the chart where its
 * classes meet, and says nothing about a process that has lived for ten minutes.)
 */
#include "store/private.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define MINUTE 60000ll
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define ROUNDS 10000 /* snapshots given up in one call */

size_t store_thin_pick(const int64_t *times_ms, const bool *keep, size_t n)
{
	size_t best = SIZE_MAX;
	int64_t least = INT64_MAX;

	for (size_t i = 1; i + 1 < n; i++) {
		int64_t gap = times_ms[i + 1] - times_ms[i - 1];

		if (!keep[i] && gap < least) {
			least = gap;
			best = i;
		}
	}
	return best;
}

/* Points older than `age` are left one in `step` ms: the one with most in use. */
static struct seep_error *thin_points(struct store *s, int64_t now_ms, int64_t age, int64_t step)
{
	struct seep_error *err = store_begin(s);
	int64_t values[] = { now_ms - age, step };

	if (err)
		return err;
	err = store_do(s, "thinning points",
	               "DELETE FROM point WHERE time_ms < ?1 AND (process, time_ms) NOT IN"
	               " (SELECT process, time_ms FROM (SELECT process, time_ms,"
	               " max(coalesce(inuse, rss, 0)) FROM point WHERE time_ms < ?1"
	               " GROUP BY process, time_ms / ?2))",
	               values, 2);
	return store_finish(s, err, "thinning points");
}

static struct seep_error *drop_old(struct store *s, int64_t before_ms)
{
	_cleanup_store_processes_ struct store_processes l = { 0 };
	struct seep_error *err = store_process_list(s, &l);

	for (size_t i = 0; !err && i < l.n; i++)
		if (l.items[i].ended_ms != STORE_NONE && l.items[i].ended_ms < before_ms &&
		    !l.items[i].label)
			err = store_process_forget(s, l.items[i].id);
	if (err)
		return err;
	err = store_begin(s);
	if (err)
		return err;
	err = store_do(s, "dropping what is old", "DELETE FROM point WHERE time_ms < ?", &before_ms,
	               1);
	if (!err)
		err = store_do(s, "dropping what is old", "DELETE FROM mark WHERE time_ms < ?",
		               &before_ms, 1);
	if (!err)
		err = store_do(s, "dropping what is old", "DELETE FROM document WHERE time_ms < ?",
		               &before_ms, 1);
	return store_finish(s, err, "dropping what is old");
}

/* Gives up one snapshot of a process; *ret_any false: none may go. */
static struct seep_error *give_up_one(struct store *s, int64_t process, bool *ret_any)
{
	_cleanup_store_snapshots_ struct store_snapshots l = { 0 };
	struct seep_error *err = store_snapshot_list(s, process, STORE_NONE, SIZE_MAX >> 1, &l);
	_cleanup_free_ int64_t *times = calloc(l.n + 1, sizeof(*times));
	_cleanup_free_ bool *keep = calloc(l.n + 1, sizeof(*keep));
	int64_t baseline = 0;
	size_t at;

	*ret_any = false;
	if (err)
		return err;
	if (!times || !keep)
		return &seep_error_nomem;
	err = store_snapshot_find(s, process, STORE_BASELINE, 0, &baseline);
	if (err)
		return err;
	for (size_t i = 0; i < l.n; i++) {
		const struct store_snapshot *x = &l.items[l.n - 1 - i];

		times[i] = x->time_ms;
		keep[i] = x->pinned || x->label || x->id == baseline;
	}
	at = store_thin_pick(times, keep, l.n);
	if (at == SIZE_MAX)
		return NULL;
	*ret_any = true;
	return store_snapshot_delete(s, l.items[l.n - 1 - at].id);
}

/* The first process of a query; 0: none. */
static struct seep_error *find_one(struct store *s, const char *sql, int64_t value, int64_t *ret)
{
	struct seep_error *err;
	struct query q;

	store_lock(s);
	query_init(&q, s, sql);
	query_int(&q, value);
	*ret = query_next(&q) ? query_get_int(&q) : 0;
	err = query_end(&q, "looking for what may go");
	store_unlock(s);
	return err;
}

/* As long as `sql` finds a process, one of its snapshots goes; one that has none to give is not asked again. */
static struct seep_error *thin_snapshots(struct store *s, const char *sql, int64_t value,
                                         uint64_t size, size_t *removed)
{
	struct seep_error *err = NULL;
	int64_t process = 0, above = value;

	for (unsigned int i = 0; !err && i < ROUNDS && (!size || store_bytes(s) > size); i++) {
		bool any = false;

		err = find_one(s, sql, above, &process);
		if (err || !process)
			break;
		err = give_up_one(s, process, &any);
		if (!any)
			break;
		(*removed)++;
	}
	return err;
}

/* Too much still, and nothing left to thin: whole processes go, those that ended first first. */
static struct seep_error *drop_ended(struct store *s, uint64_t size)
{
	struct seep_error *err = NULL;
	int64_t process = 0;

	for (unsigned int i = 0; !err && i < ROUNDS && store_bytes(s) > size; i++) {
		err = find_one(s,
		               "SELECT id FROM process WHERE ended_ms IS NOT NULL AND ?1 = 0"
		               " ORDER BY ended_ms LIMIT 1",
		               0, &process);
		if (err || !process)
			break;
		err = store_process_forget(s, process);
	}
	return err;
}

struct seep_error *store_retain(struct store *s, const struct store_retention *r, int64_t now_ms,
                                size_t *ret_removed)
{
	static const struct {
		int64_t age, step;
	} tiers[] = { { HOUR, 10000 }, { DAY, MINUTE }, { 14 * DAY, 10 * MINUTE } };
	struct seep_error *err = NULL;
	size_t removed = 0;

	if (r->age_ms)
		err = drop_old(s, now_ms - r->age_ms);
	for (size_t i = 0; !err && !r->points_full && i < ARRAY_SIZE(tiers); i++)
		err = thin_points(s, now_ms, tiers[i].age, tiers[i].step);
	if (!err && r->snapshots)
		err = thin_snapshots(s,
		                     "SELECT process FROM snapshot GROUP BY process"
		                     " HAVING sum(pinned = 0 AND label IS NULL) > ?1"
		                     " ORDER BY count(*) DESC LIMIT 1",
		                     (int64_t)r->snapshots, 0, &removed);
	if (!err && r->size)
		err = thin_snapshots(s,
		                     "SELECT process FROM snapshot GROUP BY process"
		                     " HAVING sum(pinned = 0 AND label IS NULL) > ?1"
		                     " ORDER BY sum(stored_bytes) DESC LIMIT 1",
		                     3, r->size, &removed);
	if (!err && r->size && store_bytes(s) > r->size)
		err = drop_ended(s, r->size);
	if (!err) {
		store_lock(s);
		sqlite3_exec(s->db, "PRAGMA incremental_vacuum(2000)", NULL, NULL, NULL);
		store_unlock(s);
		*ret_removed = removed;
	}
	return err;
}
