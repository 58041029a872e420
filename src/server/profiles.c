/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and symbolizing happen in a child (`seep snap --symbols`), which looks into files and processes of anybody's making;
 * what comes back is a snapshot, whose reader is bounded and fuzzed.  So the server itself never opens a ledger's stacks, an
 * ELF file or DWARF.
 */
#include "server/profiles.h"

#include "server/child.h"
#include "server/private.h"

#include "analysis/view.h"
#include "base/array.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "capture/capture.h"
#include "profile/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SNAP_TIMEOUT_MS 120000
#define SNAP_MOST (1u << 30)
#define FRESH_MS 1000

struct entry {
	struct held held; /* first: a held is its entry */
	struct entry *next;
	char key[64];
	size_t bytes;
	unsigned int refs;
	bool making, blocks;
	struct seep_error *failed; /* of who made it, for those who waited */
};

struct profiles {
	struct server *server;
	pthread_mutex_t lock;
	pthread_cond_t made;
	struct entry *first; /* newest use first */
	size_t most_bytes;
};

/* ---- reading ------------------------------------------------------------------------------------- */

struct seep_error *profiles_read(const void *data, size_t len, struct profile **ret_profile)
{
	_cleanup_close_ int fd = memfd_create("snapshot", MFD_CLOEXEC);
	_cleanup_profile_ struct profile *p = NULL;
	struct seep_error *err;
	const char *at = data;
	char path[64];

	if (fd < 0)
		return seep_error_new(errno, "cannot make room for a snapshot");
	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return seep_error_new(errno, "cannot make room for a snapshot");
		at += n;
		len -= (size_t)n;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = snapshot_read(path, &p);
	if (!err)
		err = profile_check(p);
	if (err) {
		if (!err->code)
			seep_error_set_code(err, EBADMSG);
		return err;
	}
	*ret_profile = TAKE(p);
	return NULL;
}

static struct seep_error *read_file(const char *path, struct buf *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return seep_error_new(errno, "cannot read %s", path);
	if (!S_ISREG(st.st_mode) || st.st_size > SNAP_MOST)
		return seep_error_new(EFBIG, "a snapshot of %lld bytes", (long long)st.st_size);
	if (buf_reserve(ret, (size_t)st.st_size + 1) < 0)
		return &seep_error_nomem;
	for (;;) {
		ssize_t n = read(fd, ret->data + ret->len, (size_t)st.st_size + 1 - ret->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return seep_error_new(errno, "cannot read %s", path);
		if (!n || ret->len + (size_t)n > (size_t)st.st_size)
			break;
		ret->len += (size_t)n;
	}
	ret->data[ret->len] = '\0';
	return NULL;
}

struct seep_error *profiles_take(struct server *s, const char *ledger, int fd, bool blocks,
                                 struct buf *ret_file)
{
	static atomic_uint number;
	struct child c = { .program = s->o.program,
		           .timeout_ms = SNAP_TIMEOUT_MS,
		           .most_out = 65536,
		           .inherit = fd };
	_cleanup_child_ struct child_result r = { 0 };
	struct ledger_entry e;
	struct seep_error *err;
	char path[PATH_MAX];
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/%u.seep", s->tmp, atomic_fetch_add(&number, 1));
	if (blocks) {
		char self[64];

		snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
		err = ledger_entry_read(fd >= 0 ? self : ledger, &e);
		if (err)
			return err;
		blocks = e.inuse_blocks <= s->o.max_blocks;
		ledger_entry_release(&e);
	}
	c.args[n++] = "snap";
	c.args[n++] = "--symbols";
	c.args[n++] = "--json";
	if (blocks)
		c.args[n++] = "--blocks";
	c.args[n++] = "-o";
	c.args[n++] = path;
	c.args[n++] = "--";
	c.args[n++] = fd >= 0 ? "/proc/self/fd/3" : ledger;
	err = child_run(&c, &r);
	if (!err && r.status)
		err = child_error(&c, &r);
	if (!err)
		err = read_file(path, ret_file);
	unlink(path);
	return err;
}

/* ---- storing ----------------------------------------------------------------------------------------- */

struct seep_error *profiles_store(struct server *s, int64_t process, const struct profile *p,
                                  const struct buf *file, const char *reason, const char *label,
                                  bool pinned, int64_t rss, int64_t *ret_id)
{
	const struct view_options all = { .kinds = PROF_ALL_KINDS };
	struct prof_totals t = profile_totals_of(p, PROF_MEMORY);
	const struct store_snapshot info = {
		.process = process,
		.time_ms = (int64_t)((p->start_real_ns + p->duration_ns) / 1000000),
		.reason = (char *)reason,
		.label = (char *)label,
		.pinned = pinned,
		.format = p->format,
		.state = (char *)profile_state(p),
		.sampled = p->sampled,
		.has_blocks = p->nblocks > 0,
		.period = p->period,
		.inuse_bytes = t.inuse.bytes,
		.inuse_blocks = t.inuse.blocks,
		.alloc_bytes = t.alloc.bytes,
		.alloc_blocks = t.alloc.blocks,
		.peak_bytes = p->peak_bytes,
		.sites = p->nsites,
		.rss_bytes = rss,
	};
	struct store_snapshot dated = info;
	_cleanup_view_ struct view *v = NULL;
	struct seep_error *err = view_new(p, &all, &v);

	if (!p->start_real_ns) /* a file that does not say when */
		dated.time_ms = server_now_ms();
	if (!err)
		err = store_snapshot_add(s->store, &dated, v, file->data, file->len, ret_id);
	return err;
}

/* ---- the cache ------------------------------------------------------------------------------------------ */

struct profiles *profiles_new(struct server *s, size_t most_bytes)
{
	struct profiles *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->server = s;
	p->most_bytes = most_bytes;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->made, NULL);
	return p;
}

static void entry_free(struct entry *e)
{
	profile_free(e->held.profile);
	free(e->held.reason);
	free(e->held.label);
	if (e->held.file)
		buf_release(e->held.file);
	free(e->held.file);
	seep_error_free(e->failed);
	free(e);
}

void profiles_free(struct profiles *p)
{
	if (!p)
		return;
	while (p->first) {
		struct entry *e = p->first;

		p->first = e->next;
		entry_free(e);
	}
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->made);
	free(p);
}

/* About what it takes. */
static size_t size_of(const struct profile *p)
{
	size_t lifetimes = 0;

	for (size_t i = 0; i < PROF_LIFE_BUCKETS; i++)
		lifetimes += p->lifetimes[i] ? p->nsites * sizeof(uint64_t) : 0;
	return lifetimes + p->nframes * sizeof(*p->frames) + p->nsymbols * 160 +
	       p->nsites * sizeof(*p->sites) + p->ncells * sizeof(*p->cells) +
	       p->nblocks * sizeof(*p->blocks) + p->nmodules * 256 + sizeof(*p);
}

/* Under the lock: drops what nobody uses, the longest unused first, until the rest fits. */
static void trim(struct profiles *p)
{
	size_t sum = 0;
	struct entry **at = &p->first;

	while (*at) {
		struct entry *e = *at;

		if (!e->refs && !e->making && (sum + e->bytes > p->most_bytes || !e->held.profile)) {
			*at = e->next;
			entry_free(e);
			continue;
		}
		sum += e->bytes;
		at = &e->next;
	}
}

static void move_to_front(struct profiles *p, struct entry *e)
{
	struct entry **at;

	for (at = &p->first; *at != e; at = &(*at)->next)
		;
	*at = e->next;
	e->next = p->first;
	p->first = e;
}

static struct seep_error *copy_error(const struct seep_error *err)
{
	struct seep_error *copy = seep_error_new(0, "%s", err->message);

	if (copy == &seep_error_nomem)
		return copy;
	copy->code = err->code;
	return err->hint ? seep_error_hint(copy, "%s", err->hint) : copy;
}

/*
 * The entry of that key: *ret_mine says that the caller has to make it.  Another's that is being made is waited for.  Under
 * the lock.
 */
static struct seep_error *enter(struct profiles *p, const char *key, int64_t fresh_since,
                                bool blocks, struct entry **ret, bool *ret_mine)
{
	struct entry *e;
	struct seep_error *err = NULL;

	for (e = p->first; e; e = e->next)
		if (!strcmp(e->key, key) && (e->blocks || !blocks) &&
		    (e->making || (e->held.profile && e->held.time_ms >= fresh_since)))
			break;
	if (e) {
		e->refs++;
		while (e->making)
			pthread_cond_wait(&p->made, &p->lock);
		if (!e->held.profile) {
			err = e->failed ? copy_error(e->failed) : &seep_error_nomem;
			e->refs--;
			trim(p);
			return err;
		}
		move_to_front(p, e);
		*ret = e;
		*ret_mine = false;
		return NULL;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return &seep_error_nomem;
	snprintf(e->key, sizeof(e->key), "%s", key);
	e->refs = 1;
	e->making = true;
	e->blocks = blocks;
	e->next = p->first;
	p->first = e;
	*ret = e;
	*ret_mine = true;
	return NULL;
}

/* It is made, or has failed; takes err over and gives it to the caller. */
static struct seep_error *leave(struct profiles *p, struct entry *e, struct seep_error *err,
                                struct held **ret_held)
{
	pthread_mutex_lock(&p->lock);
	e->making = false;
	if (err) {
		profile_free(TAKE(e->held.profile));
		e->failed = copy_error(err);
		e->refs--;
	} else {
		e->bytes = size_of(e->held.profile) + (e->held.file ? e->held.file->cap : 0);
		*ret_held = &e->held;
	}
	pthread_cond_broadcast(&p->made);
	trim(p);
	pthread_mutex_unlock(&p->lock);
	return err;
}

struct held *profiles_hold(struct profiles *p, struct held *h)
{
	pthread_mutex_lock(&p->lock);
	((struct entry *)h)->refs++;
	pthread_mutex_unlock(&p->lock);
	return h;
}

void profiles_release(struct profiles *p, struct held *h)
{
	struct entry *e = (struct entry *)h;

	if (!h)
		return;
	pthread_mutex_lock(&p->lock);
	e->refs--;
	trim(p);
	pthread_mutex_unlock(&p->lock);
}

static struct seep_error *load(struct profiles *p, int64_t id, struct held *h)
{
	_cleanup_store_snapshot_ struct store_snapshot row = { 0 };
	_cleanup_buf_ struct buf data = { 0 };
	bool found = false;
	struct seep_error *err = store_snapshot_get(p->server->reader, id, &row, &found);

	if (!err && !found)
		err = seep_error_new(0, "there is no snapshot %" PRId64, id);
	if (!err && found)
		err = store_snapshot_data(p->server->reader, id, &data);
	if (err) {
		if (!err->code)
			seep_error_set_code(err, ENOENT);
		return err;
	}
	h->snapshot = id;
	h->process = row.process;
	h->time_ms = row.time_ms;
	h->reason = TAKE(row.reason);
	h->label = TAKE(row.label);
	return profiles_read(data.data, data.len, &h->profile);
}

struct seep_error *profiles_snapshot(struct profiles *p, int64_t id, struct held **ret_held)
{
	struct entry *e = NULL;
	bool mine = false;
	struct seep_error *err;
	char key[64];

	snprintf(key, sizeof(key), "snapshot %" PRId64, id);
	pthread_mutex_lock(&p->lock);
	err = enter(p, key, INT64_MIN, false, &e, &mine);
	pthread_mutex_unlock(&p->lock);
	if (err)
		return err;
	if (!mine) {
		*ret_held = &e->held;
		return NULL;
	}
	return leave(p, e, load(p, id, &e->held), ret_held);
}

static struct seep_error *look(struct profiles *p, int32_t pid, bool blocks, struct held *h)
{
	_cleanup_free_ char *ledger = NULL;
	struct seep_error *err = ledger_find(pid, p->server->o.ledgers, &ledger);

	if (err) {
		if (!err->code)
			seep_error_set_code(err, ESRCH);
		return err;
	}
	h->file = calloc(1, sizeof(*h->file));
	if (!h->file)
		return &seep_error_nomem;
	err = profiles_take(p->server, ledger, -1, blocks, h->file);
	if (!err)
		err = profiles_read(h->file->data, h->file->len, &h->profile);
	h->time_ms = server_now_ms();
	return err;
}

struct seep_error *profiles_now(struct profiles *p, int32_t pid, int64_t process, bool blocks,
                                struct held **ret_held)
{
	struct entry *e = NULL;
	bool mine = false;
	struct seep_error *err;
	char key[64];

	snprintf(key, sizeof(key), "now %d", pid);
	pthread_mutex_lock(&p->lock);
	err = enter(p, key, server_now_ms() - FRESH_MS, blocks, &e, &mine);
	pthread_mutex_unlock(&p->lock);
	if (err)
		return err;
	if (!mine) {
		*ret_held = &e->held;
		return NULL;
	}
	e->held.process = process;
	return leave(p, e, look(p, pid, blocks, &e->held), ret_held);
}

struct seep_error *profiles_own(struct profiles *p, const struct held *h,
                                struct profile **ret_profile)
{
	_cleanup_buf_ struct buf data = { 0 };
	struct seep_error *err;

	if (h->file)
		return profiles_read(h->file->data, h->file->len, ret_profile);
	err = store_snapshot_data(p->server->reader, h->snapshot, &data);
	return err ? err : profiles_read(data.data, data.len, ret_profile);
}
