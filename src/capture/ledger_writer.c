/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledger, written from outside.
 *
 * The file is mapped shared and written in place, in the order the rules of wire/ledger.h ask for: what
 * refers to something is stored after it.  Storage is asked for with fallocate() before a page is
 * touched, so that a full file system is a counted loss and no SIGBUS.
 *
 * It shares no code with src/track, which does the same inside the target under other rules: many threads,
 * no allocation, no descriptor.  Both are held together by the format, and by a test that
 * reads what either wrote with the same reader.
 */
#include "capture/ledger_writer.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "capture/ledger_writer_private.h"
#include "profile/estimate.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define MiB ((uint64_t)1 << 20)
#define GiB ((uint64_t)1 << 30)
#define MAX_SITES ((uint64_t)1 << 19)
#define STORE_CHUNK (16u * 4096)
#define POINT_INTERVAL 10000000u
#define MOST_SEQ 10000

/* ---- the file ---------------------------------------------------------------------- */

static bool has_storage(const struct ledger_writer *w, uint64_t page)
{
	return w->stored[page >> 3] >> (page & 7) & 1;
}

bool writer_ensure(struct ledger_writer *w, uint64_t off, uint64_t len)
{
	uint64_t page = off >> 12, last = (off + len - 1) >> 12;

	for (; page <= last; page++) {
		/* Around it, in one go: what grows at its end asks less often. */
		uint64_t from = page << 12, n = STORE_CHUNK;

		if (has_storage(w, page))
			continue;
		if (n > w->size - from)
			n = w->size - from;
		if (fallocate(w->fd, 0, (off_t)from, (off_t)n) < 0) {
			n = 4096;
			if (errno == EOPNOTSUPP || fallocate(w->fd, 0, (off_t)from, (off_t)n) < 0) {
				w->h->losses[LOSS_NO_SPACE]++;
				return false;
			}
		}
		for (uint64_t p = page; p < (from + n) >> 12; p++)
			w->stored[p >> 3] |= (uint8_t)(1u << (p & 7));
	}
	return true;
}

static void lay_out(struct ledger_header *h)
{
	uint64_t off = sizeof(*h), size[LEDGER_NSECTIONS] = {
		[LEDGER_MODULES] = 8192 * sizeof(struct ledger_module),
		[LEDGER_STRINGS] = 2 * MiB,
		[LEDGER_THREADS] = LEDGER_MAX_THREADS * sizeof(struct ledger_thread),
		[LEDGER_NODES] = MAX_SITES * 32 * sizeof(struct ledger_node),
		[LEDGER_SITES] = MAX_SITES * sizeof(struct ledger_site),
		[LEDGER_COUNTERS] = MAX_SITES * sizeof(struct ledger_counters),
		[LEDGER_TAILS] = MAX_SITES * sizeof(struct ledger_tail),
		[LEDGER_CLASSES] = LEDGER_SIZE_CLASSES * sizeof(struct ledger_class),
		[LEDGER_PEAK] = 2 * MAX_SITES * sizeof(struct ledger_peak),
		[LEDGER_TIMELINE] = LEDGER_MAX_POINTS * sizeof(struct ledger_point),
		[LEDGER_ROOT] = LEDGER_ROOT_SLOTS * sizeof(uint64_t),
		[LEDGER_DIR] = 512 * LEDGER_DIR_SLOTS * sizeof(uint64_t),
		[LEDGER_BUCKETS] = 16 * GiB,
	};

	h->nshards = 1;
	h->max_sites = MAX_SITES;
	for (unsigned int i = 0; i < LEDGER_NSECTIONS; i++) {
		off = (off + 4095) & ~4095ull;
		h->section[i] = (struct ledger_section){ off, size[i] };
		off += size[i];
	}
	h->file_size = (off + 4095) & ~4095ull;
}

static void read_boot_id(uint8_t id[16])
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	unsigned int n = 0;
	int c;

	while (f && n < 32 && (c = getc(f)) != EOF) {
		unsigned int v;

		if (!isxdigit(c))
			continue;
		v = isdigit(c) ? (unsigned int)(c - '0') : (unsigned int)(tolower(c) - 'a' + 10);
		id[n / 2] = (uint8_t)(id[n / 2] << 4 | v);
		n++;
	}
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts = { 0, 0 };

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void copy_text(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

static void fill_header(struct ledger_header *h, const struct ledger_identity *id, uint32_t seq)
{
	lay_out(h);
	h->version = LEDGER_VERSION;
	h->header_size = sizeof(*h);
	h->state = LEDGER_LIVE;
	h->flags = id->flags;
	h->pid = id->pid;
	h->ppid = id->ppid;
	h->uid = id->uid;
	h->exec_seq = seq;
	h->start_ticks = id->start_ticks;
	h->start_mono_ns = clock_ns(CLOCK_MONOTONIC);
	h->start_real_ns = clock_ns(CLOCK_REALTIME);
	read_boot_id(h->boot_id);
	h->page_size = 4096;
	h->tick_shift = LEDGER_TICK_SHIFT;
	h->mode = id->period ? LEDGER_SAMPLED : LEDGER_FULL;
	h->nperiods = id->period ? 2 : 1;
	h->periods[1] = id->period;
	copy_text(h->exe, sizeof(h->exe), id->exe);
	copy_text(h->command, sizeof(h->command), id->command);
	copy_text(h->allocator, sizeof(h->allocator), id->allocator);
	h->control.active = 1;
	h->control.mode = h->mode;
	h->control.period = id->period;
	h->control.generation = 1;
	h->nsites = h->nnodes = h->nthreads = h->strings_used = 1;
	h->point_interval_ns = POINT_INTERVAL;
}

static struct seep_error *make_file(struct ledger_writer *w, const char *dir, pid_t pid,
                                    uint32_t *ret_seq)
{
	for (uint32_t seq = 0; seq < MOST_SEQ; seq++) {
		if (asprintf(&w->path, "%s/%d.%u.ledger", dir, (int)pid, seq) < 0) {
			w->path = NULL;
			return &seep_error_nomem;
		}
		w->fd = open(w->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (w->fd >= 0) {
			*ret_seq = seq;
			return NULL;
		}
		if (errno != EEXIST)
			break;
		free(TAKE(w->path));
	}
	return seep_error_new(errno, "cannot create a ledger in %s", dir);
}

struct seep_error *ledger_writer_create(const char *dir, const struct ledger_identity *id,
                                        struct ledger_writer **ret_writer)
{
	static struct ledger_header draft; /* aligned to a page, so not on a stack of any size */
	struct ledger_writer *w = calloc(1, sizeof(*w));
	struct seep_error *err;
	uint32_t seq = 0;
	void *map;

	if (!w)
		return &seep_error_nomem;
	w->fd = -1;
	err = make_file(w, dir, id->pid, &seq);
	if (err)
		goto fail;
	memset(&draft, 0, sizeof(draft));
	fill_header(&draft, id, seq);
	w->size = draft.file_size;
	w->stored = calloc(1, (w->size >> 15) + 1);
	if (!w->stored) {
		err = &seep_error_nomem;
		goto fail_file;
	}
	if (ftruncate(w->fd, (off_t)w->size) < 0 || fallocate(w->fd, 0, 0, sizeof(draft)) < 0) {
		err = seep_error_new(errno, "cannot give %s storage", w->path);
		goto fail_file;
	}
	map = mmap(NULL, w->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, w->fd, 0);
	if (map == MAP_FAILED) {
		err = seep_error_new(errno, "cannot map %s", w->path);
		goto fail_file;
	}
	w->base = map;
	w->h = map;
	memcpy(w->h, &draft, sizeof(draft));
	if (!writer_item(w, LEDGER_NODES, 0, sizeof(struct ledger_node)) ||
	    !writer_item(w, LEDGER_SITES, 0, sizeof(struct ledger_site)) ||
	    !writer_item(w, LEDGER_COUNTERS, 0, sizeof(struct ledger_counters)) ||
	    !writer_item(w, LEDGER_TAILS, 0, sizeof(struct ledger_tail)) ||
	    !writer_item(w, LEDGER_THREADS, 0, sizeof(struct ledger_thread)) ||
	    !writer_item(w, LEDGER_STRINGS, 0, 1) ||
	    !writer_ensure(w, w->h->section[LEDGER_CLASSES].offset,
	                   w->h->section[LEDGER_CLASSES].size) ||
	    !writer_live_init(w)) {
		err = seep_error_new(ENOSPC, "there is no room for the ledger %s", w->path);
		goto fail_file;
	}
	/* The magic comes last: a file without it is no ledger yet. */
	STORE_RELEASE(&w->h->magic, LEDGER_MAGIC);
	*ret_writer = w;
	return NULL;

fail_file:
	unlink(w->path);
fail:
	ledger_writer_free(w);
	return err;
}

const char *ledger_writer_path(const struct ledger_writer *w)
{
	return w->path;
}

struct ledger_header *ledger_writer_header(struct ledger_writer *w)
{
	return w->h;
}

uint64_t ledger_writer_size(const struct ledger_writer *w)
{
	struct stat st;

	return fstat(w->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

void ledger_writer_finish(struct ledger_writer *w, enum ledger_state state, uint64_t now)
{
	w->h->end_mono_ns = now;
	STORE_RELEASE(&w->h->state, (uint32_t)state);
}

void ledger_writer_free(struct ledger_writer *w)
{
	if (!w)
		return;
	if (w->base)
		munmap(w->base, w->size);
	if (w->fd >= 0)
		close(w->fd);
	idmap_release(&w->nodes);
	idmap_release(&w->sites);
	free(w->stored);
	free(w->path);
	free(w);
}

void ledger_writer_loss(struct ledger_writer *w, enum ledger_loss what, uint64_t n)
{
	w->h->losses[what] += n;
}

unsigned int ledger_writer_period(struct ledger_writer *w, uint64_t period)
{
	struct ledger_header *h = w->h;

	for (unsigned int i = 0; i < h->nperiods; i++)
		if (h->periods[i] == period)
			return i;
	if (h->nperiods == LEDGER_MAX_PERIODS)
		return LEDGER_MAX_PERIODS - 1;
	h->periods[h->nperiods] = period;
	STORE_RELEASE(&h->nperiods, h->nperiods + 1);
	return (unsigned int)h->nperiods - 1;
}

/* ---- modules and threads ------------------------------------------------------------------- */

static uint32_t ticks_of(const struct ledger_writer *w, uint64_t now)
{
	uint64_t start = w->h->start_mono_ns;

	return now > start ? (uint32_t)((now - start) >> LEDGER_TICK_SHIFT) : 0;
}

static uint64_t add_string(struct ledger_writer *w, const char *s)
{
	const struct ledger_section *sec = &w->h->section[LEDGER_STRINGS];
	uint64_t at = w->h->strings_used, n = strlen(s) + 1;

	if (!*s || n > sec->size - at || !writer_ensure(w, sec->offset + at, n))
		return 0;
	memcpy(w->base + sec->offset + at, s, n);
	STORE_RELEASE(&w->h->strings_used, at + n);
	return at;
}

uint32_t ledger_writer_module(struct ledger_writer *w, const struct ledger_writer_module *m)
{
	uint64_t i = w->h->nmodules;
	struct ledger_module *lm = writer_item(w, LEDGER_MODULES, i, sizeof(*lm));

	if (!lm) {
		w->h->losses[LOSS_MODULES_FULL]++;
		return 0;
	}
	lm->start = m->start;
	lm->end = m->end;
	lm->bias = m->bias;
	lm->load_seq = ++w->sequence;
	lm->build_id_len = m->build_id_len > 20 ? 20 : m->build_id_len;
	memcpy(lm->build_id, m->build_id, lm->build_id_len);
	lm->dev = m->dev;
	lm->inode = m->inode;
	lm->mtime_ns = m->mtime_ns;
	lm->path = add_string(w, m->path);
	STORE_RELEASE(&w->h->nmodules, i + 1);
	return (uint32_t)i + 1;
}

void ledger_writer_module_gone(struct ledger_writer *w, uint32_t id)
{
	struct ledger_module *lm = id ? writer_item(w, LEDGER_MODULES, id - 1, sizeof(*lm)) : NULL;

	if (lm)
		STORE_RELEASE(&lm->unload_seq, ++w->sequence);
}

uint32_t ledger_writer_thread(struct ledger_writer *w, pid_t tid, const char *name, uint64_t now)
{
	uint64_t i = w->h->nthreads;
	struct ledger_thread *t =
		i < LEDGER_THREAD_OTHER ? writer_item(w, LEDGER_THREADS, i, sizeof(*t)) : NULL;

	if (!t) {
		w->h->losses[LOSS_THREADS_FULL]++;
		return LEDGER_THREAD_OTHER;
	}
	t->tid = tid;
	t->born = ticks_of(w, now);
	snprintf(t->name, sizeof(t->name), "%s", name);
	STORE_RELEASE(&w->h->nthreads, i + 1);
	return (uint32_t)i;
}

void ledger_writer_thread_ended(struct ledger_writer *w, uint32_t thread, uint64_t now)
{
	struct ledger_thread *t = (struct ledger_thread *)writer_section(w, LEDGER_THREADS) + thread;

	if (!thread || thread >= w->h->nthreads)
		return;
	t->died = ticks_of(w, now);
	STORE_RELEASE(&t->flags, 1u);
}

/* ---- stacks ------------------------------------------------------------------------------------ */

static uint32_t node_intern(struct ledger_writer *w, uint32_t parent, uint64_t key, uint32_t depth)
{
	struct ledger_node *nodes = writer_section(w, LEDGER_NODES), *n;
	uint64_t hash = hash_mix(key, parent), i = w->h->nnodes;
	size_t pos = idmap_first(&w->nodes, hash);
	uint32_t id;

	while (idmap_get(&w->nodes, &pos, hash, &id))
		if (nodes[id].key == key && nodes[id].parent == parent)
			return id;
	n = writer_item(w, LEDGER_NODES, i, sizeof(*n));
	if (!n || idmap_add(&w->nodes, hash, (uint32_t)i) < 0)
		return 0;
	*n = (struct ledger_node){ .key = key, .parent = parent, .depth = depth };
	STORE_RELEASE(&w->h->nnodes, i + 1);
	return (uint32_t)i;
}

static uint32_t site_of_node(struct ledger_writer *w, uint32_t node, enum ledger_kind kind,
                             uint32_t flags, uint64_t now)
{
	struct ledger_site *sites = writer_section(w, LEDGER_SITES), *s;
	uint64_t hash = hash_mix(node, kind), i = w->h->nsites;
	size_t pos = idmap_first(&w->sites, hash);
	uint32_t id;

	while (idmap_get(&w->sites, &pos, hash, &id))
		if (sites[id].node == node && sites[id].kind == kind)
			return id;
	if (i >= w->h->max_sites)
		return 0;
	s = writer_item(w, LEDGER_SITES, i, sizeof(*s));
	/* A site is its counters too; without room for them it would be a name without numbers. */
	if (!s || !writer_item(w, LEDGER_COUNTERS, i, sizeof(struct ledger_counters)) ||
	    !writer_item(w, LEDGER_TAILS, i, sizeof(struct ledger_tail)) ||
	    idmap_add(&w->sites, hash, (uint32_t)i) < 0)
		return 0;
	*s = (struct ledger_site){ .node = node,
		                   .kind = (uint16_t)kind,
		                   .flags = (uint16_t)flags,
		                   .born = ticks_of(w, now) };
	STORE_RELEASE(&w->h->nsites, i + 1);
	if (flags & LEDGER_SITE_CUT_DEPTH)
		w->h->losses[LOSS_DEPTH]++;
	if (flags & LEDGER_SITE_CUT_NO_CFI)
		w->h->losses[LOSS_NO_CFI]++;
	return (uint32_t)i;
}

uint32_t ledger_writer_site(struct ledger_writer *w, const uint64_t *keys, size_t n,
                            enum ledger_kind kind, uint32_t flags, uint64_t now)
{
	uint32_t node = 0, site = 0;

	for (size_t i = 0; i < n; i++) {
		node = node_intern(w, node, keys[n - 1 - i], (uint32_t)i + 1);
		if (!node)
			break;
	}
	if (node)
		site = site_of_node(w, node, kind, flags, now);
	if (!site)
		w->h->losses[LOSS_STACKS_FULL]++;
	return site;
}

/* ---- events ---------------------------------------------------------------------------------------- */

struct weighted {
	uint64_t count, bytes;
};

/* Rounded down, as src/track does: a largest weight above the weights would look like mixed sizes. */
static void raise_weight(float *largest, double weight)
{
	float w = (float)weight;

	if ((double)w > weight) {
		uint32_t bits;

		memcpy(&bits, &w, sizeof(bits));
		bits--;
		memcpy(&w, &bits, sizeof(w));
	}
	if (w > *largest)
		*largest = w;
}

static struct weighted weigh(struct ledger_writer *w, uint64_t size, unsigned int period,
                             uint32_t site, bool freed)
{
	struct ledger_tail *t = (struct ledger_tail *)writer_section(w, LEDGER_TAILS) + site;
	double weight, var;

	if (!period || period >= LEDGER_MAX_PERIODS || !w->h->periods[period])
		return (struct weighted){ 1u << LEDGER_COUNT_SHIFT, size };
	weight = prof_weight(size, w->h->periods[period]);
	raise_weight(freed ? &t->max_weight_freed : &t->max_weight, weight);
	if (!freed) {
		var = prof_weight_variance(size, w->h->periods[period]);
		t->var_count += var;
		t->var_bytes += var * (double)size * (double)size;
	}
	return (struct weighted){ (uint64_t)(weight * (1u << LEDGER_COUNT_SHIFT) + 0.5),
		                  (uint64_t)(weight * (double)size + 0.5) };
}

static void peak_copy(struct ledger_writer *w, uint64_t now)
{
	const struct ledger_counters *c = writer_section(w, LEDGER_COUNTERS);
	const struct ledger_site *s = writer_section(w, LEDGER_SITES);
	struct ledger_header *h = w->h;
	uint64_t n = h->nsites, total = 0, begin = clock_ns(CLOCK_MONOTONIC), took;
	uint32_t which = h->peak_valid ? !h->peak_which : 0;
	uint64_t off = h->section[LEDGER_PEAK].offset +
	               (uint64_t)which * h->max_sites * sizeof(struct ledger_peak);
	struct ledger_peak *to = (struct ledger_peak *)(w->base + off);

	if (!writer_ensure(w, off, n * sizeof(*to)))
		return;
	for (uint64_t i = 0; i < n; i++) {
		int64_t count = (int64_t)(c[i].alloc_count - c[i].free_count),
			bytes = (int64_t)(c[i].alloc_bytes - c[i].free_bytes);

		to[i].count = count > 0 ? (uint64_t)count : 0;
		to[i].bytes = bytes > 0 ? (uint64_t)bytes : 0;
		if (s[i].kind != LEDGER_STACK)
			total += to[i].bytes;
	}
	h->peak_copy_bytes = total;
	h->peak_copy_mono_ns = now;
	h->peak_copy_sites = n;
	h->peak_which = which;
	STORE_RELEASE(&h->peak_valid, 1u);
	/* Copies must not cost more than 5 % of the time. */
	took = clock_ns(CLOCK_MONOTONIC) - begin;
	w->copy_not_before = now + 20 * took;
}

/* The idea is event.c's: the composition of the peak is copied when in use first falls below a high. */
static void account(struct ledger_writer *w, int64_t bytes, uint64_t now)
{
	struct ledger_header *h = w->h;
	uint64_t inuse, copied;

	if (bytes < 0) {
		inuse = w->inuse > 0 ? (uint64_t)w->inuse : 0;
		copied = h->peak_valid ? h->peak_copy_bytes : 0;
		/* About to fall below a high that no copy comes near. */
		if (inuse > h->peak_bytes - h->peak_bytes / 256 &&
		    inuse > copied + copied / 100 + 4096 && now >= w->copy_not_before)
			peak_copy(w, now);
	}
	w->inuse += bytes;
	inuse = w->inuse > 0 ? (uint64_t)w->inuse : 0;
	if (inuse > h->peak_bytes) {
		h->peak_bytes = inuse;
		h->peak_mono_ns = now;
	}
}

/* A sampled block stands for more than itself; what is in use is the sum of what was allocated less what was freed. */
static struct ledger_class *class_of(struct ledger_writer *w, uint64_t size)
{
	return (struct ledger_class *)writer_section(w, LEDGER_CLASSES) + ledger_size_class(size);
}

void ledger_writer_freed(struct ledger_writer *w, const struct ledger_block *b, uint64_t now)
{
	uint32_t site = LEDGER_BLOCK_SITE(b->body), ticks = ticks_of(w, now), age;
	struct ledger_counters *c = (struct ledger_counters *)writer_section(w, LEDGER_COUNTERS) +
	                            site;
	struct ledger_tail *tail = (struct ledger_tail *)writer_section(w, LEDGER_TAILS) + site;
	uint64_t size = LEDGER_BLOCK_SIZE(b->body);
	struct weighted v = weigh(w, size, LEDGER_BLOCK_PERIOD(b->head), site, true);
	unsigned int life;

	age = ticks > LEDGER_BLOCK_BIRTH(b->head) ? ticks - LEDGER_BLOCK_BIRTH(b->head) : 0;
	life = ledger_life_bucket(age);
	c->free_count += v.count;
	c->free_bytes += v.bytes;
	if (life < LEDGER_LIFE_NEAR)
		c->life[life] += v.count;
	else
		tail->life[life - LEDGER_LIFE_NEAR] += v.count;
	if (LEDGER_BLOCK_KIND(b->head) != LEDGER_STACK) {
		struct ledger_class *k = class_of(w, size);

		k->free_count += v.count;
		k->free_bytes += v.bytes;
		account(w, -(int64_t)v.bytes, now);
	}
}

void ledger_writer_alloc(struct ledger_writer *w, const struct ledger_writer_block *b)
{
	uint64_t size = b->size < LEDGER_BLOCK_SIZE_MASK ? b->size : LEDGER_BLOCK_SIZE_MASK;
	struct ledger_counters *c = (struct ledger_counters *)writer_section(w, LEDGER_COUNTERS) +
	                            b->site;
	struct ledger_block stale;
	struct weighted v;
	uint64_t head;

	head = LEDGER_BLOCK_VALID | (uint64_t)b->kind << 1 | (b->addr & 0xff8) |
	       (uint64_t)(b->period & 63) << 12 | (uint64_t)(b->thread & 0x3fff) << 18 |
	       (uint64_t)ticks_of(w, b->born) << 32;
	if (b->size >= LEDGER_BLOCK_SIZE_MASK)
		w->h->losses[LOSS_SIZE_CLAMPED]++;
	v = weigh(w, size, b->period, b->site, false);
	c->alloc_count += v.count;
	c->alloc_bytes += v.bytes;
	c->samples++;
	if (b->kind != LEDGER_STACK) {
		struct ledger_class *k = class_of(w, size);

		k->alloc_count += v.count;
		k->alloc_bytes += v.bytes;
		account(w, (int64_t)v.bytes, b->born);
	}
	if (!writer_live_add(w, b->addr, head, (uint64_t)b->site << 40 | size, &stale)) {
		/* Without a record its free will not be seen either. */
		w->h->losses[LOSS_LIVE_FULL]++;
		stale = (struct ledger_block){ head, (uint64_t)b->site << 40 | size };
		ledger_writer_freed(w, &stale, b->born);
	} else if (stale.head) {
		w->h->losses[LOSS_STALE]++;
		ledger_writer_freed(w, &stale, b->born);
	}
}

bool ledger_writer_take(struct ledger_writer *w, uint64_t addr, enum ledger_kind kind,
                        struct ledger_block *ret_block)
{
	return writer_live_take(w, addr, kind, ret_block);
}

void ledger_writer_put(struct ledger_writer *w, uint64_t addr, const struct ledger_block *b)
{
	struct ledger_block stale;

	if (!writer_live_add(w, addr, b->head, b->body, &stale))
		w->h->losses[LOSS_LIVE_FULL]++;
}

/* ---- the timeline --------------------------------------------------------------------------------------- */

static void points_halve(struct ledger_header *h, struct ledger_point *points)
{
	uint64_t n = h->npoints;

	for (uint64_t i = 0; i < n / 2; i++)
		points[i] = points[2 * i + 1];
	STORE_RELEASE(&h->npoints, n / 2);
	h->point_interval_ns *= 2;
}

void ledger_writer_tick(struct ledger_writer *w, uint64_t now)
{
	struct ledger_header *h = w->h;
	const struct ledger_class *k = writer_section(w, LEDGER_CLASSES);
	uint64_t ns = now > h->start_mono_ns ? now - h->start_mono_ns : 0, bytes = 0, count = 0;
	struct ledger_point *p;

	if (ns < w->next_point)
		return;
	if (h->npoints == LEDGER_MAX_POINTS)
		points_halve(h, writer_section(w, LEDGER_TIMELINE));
	p = writer_item(w, LEDGER_TIMELINE, h->npoints, sizeof(*p));
	if (!p)
		return;
	for (unsigned int i = 0; i < LEDGER_SIZE_CLASSES; i++) {
		bytes += k[i].alloc_bytes;
		count += k[i].alloc_count;
	}
	*p = (struct ledger_point){ now, w->inuse > 0 ? (uint64_t)w->inuse : 0, bytes,
		                    count >> LEDGER_COUNT_SHIFT };
	STORE_RELEASE(&h->npoints, h->npoints + 1);
	w->next_point = ns + h->point_interval_ns;
}
