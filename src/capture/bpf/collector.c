/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collector's loop.
 *
 * Events arrive in the order in which the kernel stored them, so the ledger is written by one thread without
 * locks.  The stack of an event is either a number of a path known before, or a copy that is
 * unwound here; a walk that can be recalled is given to the kernel as a path, and its stack is not sent
 * again.  Where a thread's stack ends is learned from the first complete walk.
 *
 * Whatever is lost on the way is counted in the ledger: events that found the ring full, blocks that
 * found a table full, stacks that ended early.
 */
#include "capture/bpf/collector.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capture/bpf/program.h"
#include "capture/bpf/regions.h"
#include "capture/bpf/walk.h"
#include "capture/ledger_writer.h"
#include "capture/process.h"
#include "proc/procfs.h"

#define TICK_MS 10
#define BUDGET_TICKS 16
#define STACK_MARGIN 256 /* bytes copied beyond the last one that a walk read */
#define STACK_REACH (1ull << 20)
#define FIRST_WALKS 8u
#define PATHS_MOST (1u << 20)

struct thread {
	uint32_t tid;
	uint32_t index; /* in the ledger */
	bool ended;
	uint64_t told_lo, told_hi; /* where its stack ends, as the kernel was told; 0, 0: not yet */
	bool taken;                /* realloc is under way with it */
	uint64_t taken_addr;
	struct ledger_block block;
};

struct known_path {
	uint64_t ip, place, hash;
	uint32_t epoch;
	uint32_t site;
};

struct collector {
	struct collector_options opts;
	struct space space;
	struct walk walk;
	struct program program;
	struct functions functions;
	struct ledger_writer *writer;
	struct ring_buffer *ring;
	int pidfd;
	struct regions regions; /* of mappings that are recorded */
	struct thread *threads;
	size_t nthreads, cap_threads;
	struct idmap thread_index;
	struct known_path *paths; /* by number; 0 is none */
	size_t npaths, cap_paths;
	struct idmap path_index; /* by ip and place: how many ways are taken */
	uint64_t end_ns;         /* 0: never */
	bool execed, over;
	uint32_t ticks;
	/* How much of a stack is copied before its end is known. */
	uint32_t first_walks; /* complete ones so far */
	uint64_t first_used;  /* the most that one needed */
};

static uint64_t now_ns(void)
{
	struct timespec ts = { 0, 0 };

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- modules ------------------------------------------------------------------------- */

static void name_modules(struct collector *c)
{
	for (size_t i = 0; i < c->space.n; i++) {
		struct space_module *m = c->space.modules[i];
		struct ledger_writer_module lm = { .start = m->start,
			                           .end = m->end,
			                           .bias = m->bias,
			                           .path = m->path,
			                           .build_id = m->build_id,
			                           .build_id_len = m->build_id_len,
			                           .dev = m->dev,
			                           .inode = m->inode,
			                           .mtime_ns = m->mtime_ns };

		if (m->gone)
			ledger_writer_module_gone(c->writer, m->id);
		else if (!m->id)
			m->id = ledger_writer_module(c->writer, &lm);
	}
}

static void refresh_modules(struct collector *c)
{
	struct seep_error *err;
	bool changed = false;

	err = space_refresh(&c->space, &changed);
	if (err) /* it has just ended */
		seep_error_free(err);
	else if (changed) {
		/* An address may mean something else now: forget what was derived from it. */
		name_modules(c);
		walk_forget(&c->walk);
		program_forget_paths(&c->program);
		space_forget_gone(&c->space);
	}
}

/* ---- threads ---------------------------------------------------------------------------- */

static struct thread *thread_of(struct collector *c, uint32_t tid)
{
	uint64_t hash = hash_mix(tid, 1);
	size_t pos = idmap_first(&c->thread_index, hash);
	struct thread *latest = NULL;
	uint32_t id;

	/* A number may come again: the last one that did not end. */
	while (idmap_get(&c->thread_index, &pos, hash, &id))
		if (c->threads[id].tid == tid && !c->threads[id].ended)
			latest = &c->threads[id];
	return latest;
}

static struct thread *thread_new(struct collector *c, uint32_t tid, pid_t shown, const char *name,
                                 uint64_t now)
{
	struct thread *t;

	if (c->nthreads == c->cap_threads) {
		size_t cap = c->cap_threads ? c->cap_threads * 2 : 64;
		struct thread *p = reallocarray(c->threads, cap, sizeof(*p));

		if (!p)
			return NULL;
		c->threads = p;
		c->cap_threads = cap;
	}
	if (idmap_add(&c->thread_index, hash_mix(tid, 1), (uint32_t)c->nthreads) < 0)
		return NULL;
	t = &c->threads[c->nthreads++];
	*t = (struct thread){ .tid = tid,
		              .index = ledger_writer_thread(c->writer, shown, name, now) };
	return t;
}

static struct thread *thread_get(struct collector *c, const struct ev *ev)
{
	struct thread *t = thread_of(c, ev->tid);

	/* Its first event was lost. */
	return t ? t : thread_new(c, ev->tid, (pid_t)ev->tid, "", ev->time);
}

static void thread_began(struct collector *c, const struct ev_thread *e)
{
	struct thread *t = thread_of(c, e->ev.tid);
	char name[17] = { 0 };

	if (t)
		return;
	memcpy(name, e->comm, sizeof(e->comm));
	thread_new(c, e->ev.tid, (pid_t)e->ev.a, name, e->ev.time);
}

static void thread_exited(struct collector *c, const struct ev *ev)
{
	struct thread *t = thread_of(c, ev->tid);

	if (!t)
		return;
	t->ended = true;
	ledger_writer_thread_ended(c->writer, t->index, ev->time);
}

/* ---- stacks ---------------------------------------------------------------------------------- */

/*
 * A program that starts a thread for every request would have each copy all there is above its stack pointer.  What
 * the first threads needed, several times over, is enough; should one need more, its stack is cut and that was it.
 */
static void learn_first_copy(struct collector *c)
{
	if (c->walk.short_copy) {
		c->first_walks = UINT32_MAX;
		program_first_copy(&c->program, EV_STACK_MAX);
	}
	if (c->walk.cut || c->first_walks == UINT32_MAX)
		return;
	if (c->walk.used > c->first_used)
		c->first_used = c->walk.used;
	if (++c->first_walks >= FIRST_WALKS) {
		c->first_walks = FIRST_WALKS;
		program_first_copy(&c->program,
		                   (uint32_t)(4 * c->first_used < EV_STACK_MAX ? 4 * c->first_used
		                                                               : EV_STACK_MAX));
	}
}

/*
 * From the first complete walk on, copies end where walks end.  How far down the same stack reaches is a guess: when it is
 * wrong, too much is copied or the end is learned once more, and the walk is right either way.
 */
static void learn_stack_end(struct collector *c, struct thread *t, const struct ev_stack *e)
{
	uint64_t sp = e->regs.sp, margin = STACK_MARGIN;
	struct stack_end end;

	if (e->flags & EV_RANGE_KNOWN) {
		/* What was known is too short for this stack: the next one is copied as far as it goes. */
		if (c->walk.short_copy && e->place < EV_STACK_MAX) {
			program_stack_end(&c->program, t->tid, NULL);
			t->told_lo = t->told_hi = 0;
		}
		return;
	}
	learn_first_copy(c);
	if (c->walk.short_copy)
		return;
	/* Told already, and yet it could not be read up to there: the mapping ends before. */
	if (sp >= t->told_lo && sp < t->told_hi)
		margin = 0;
	end.hi = (sp + c->walk.used + margin + 7) & ~7ull;
	end.lo = sp > STACK_REACH ? sp - STACK_REACH : 0;
	t->told_lo = end.lo;
	t->told_hi = end.hi;
	program_stack_end(&c->program, t->tid, &end);
}

static void remember_path(struct collector *c, const struct ev_stack *e, uint32_t site)
{
	struct path_key key = { .ip = e->regs.ip,
		                .place = e->place,
		                .epoch = program_epoch(&c->program) };
	uint64_t hash = hash_mix(key.ip ^ (uint64_t)key.epoch << 48, key.place);
	size_t pos = idmap_first(&c->path_index, hash);
	uint32_t id, ways = 0;

	if (!c->walk.recall || !(e->flags & EV_RANGE_KNOWN) || !site || c->npaths >= PATHS_MOST)
		return;
	while (idmap_get(&c->path_index, &pos, hash, &id)) {
		const struct known_path *p = &c->paths[id];

		if (p->ip != key.ip || p->place != key.place || p->epoch != key.epoch)
			continue;
		if (p->hash == c->walk.path.hash)
			return; /* on its way to the kernel when this stack was copied */
		ways++;
	}
	if (c->npaths == c->cap_paths) {
		size_t cap = c->cap_paths ? c->cap_paths * 2 : 1024;
		struct known_path *p = reallocarray(c->paths, cap, sizeof(*p));

		if (!p)
			return;
		c->paths = p;
		c->cap_paths = cap;
		if (!c->npaths)
			c->npaths = 1;
	}
	if (idmap_add(&c->path_index, hash, (uint32_t)c->npaths) < 0)
		return;
	c->paths[c->npaths] =
		(struct known_path){ key.ip, key.place, c->walk.path.hash, key.epoch, site };
	c->walk.path.id = (uint32_t)c->npaths++;
	key.way = ways % PATH_WAYS;
	program_path(&c->program, &key, &c->walk.path);
}

static uint32_t site_of(struct collector *c, struct thread *t, const struct ev_stack *e,
                        enum ledger_kind kind)
{
	struct ledger_header *h = ledger_writer_header(c->writer);
	uint32_t site;

	walk_stack(&c->walk, &e->regs, (const uint8_t *)(e + 1), e->len);
	h->unwinds_slow++;
	site = ledger_writer_site(c->writer, c->walk.keys, c->walk.n, kind, c->walk.cut, e->ev.time);
	if (t)
		learn_stack_end(c, t, e);
	if (kind == LEDGER_HEAP)
		remember_path(c, e, site);
	return site;
}

/* ---- blocks ------------------------------------------------------------------------------------- */

static void block_add(struct collector *c, const struct ev *ev, uint32_t site)
{
	struct thread *t = thread_get(c, ev);

	ledger_writer_alloc(c->writer,
	                    &(struct ledger_writer_block){
				    .addr = ev->a,
				    .size = ev->b,
				    .kind = ev->block == EV_MMAP ? LEDGER_MMAP : LEDGER_HEAP,
				    .period = ev->sampled ? 1 : 0,
				    .thread = t ? t->index : 0,
				    .site = site,
				    .born = ev->time,
			    });
}

static void block_freed(struct collector *c, const struct ev *ev, enum ledger_kind kind)
{
	struct ledger_block b;

	/* One that is not known is from before, as most are in the beginning: no loss. */
	if (ledger_writer_take(c->writer, ev->a, kind, &b))
		ledger_writer_freed(c->writer, &b, ev->time);
}

/* A realloc that was taken for successful when the thread does the next thing. */
static void settle(struct collector *c, struct thread *t, uint64_t now)
{
	if (t && t->taken) {
		t->taken = false;
		ledger_writer_freed(c->writer, &t->block, now);
	}
}

static void region_gone(void *arg, uint64_t addr, uint64_t now)
{
	struct collector *c = arg;
	struct ledger_block b;

	if (ledger_writer_take(c->writer, addr, LEDGER_MMAP, &b))
		ledger_writer_freed(c->writer, &b, now);
}

/* What is left of a region whose middle, beginning or end went: a block of its own, with the site it had. */
static void region_left(void *arg, const struct region *cut, uint64_t addr, uint64_t len,
                        uint64_t now)
{
	struct collector *c = arg;
	struct ledger_writer_block b = { .addr = addr,
		                         .size = len,
		                         .kind = LEDGER_MMAP,
		                         .site = cut->site,
		                         .thread = cut->thread,
		                         .born = now };

	ledger_writer_alloc(c->writer, &b);
}

static void mapping_add(struct collector *c, const struct ev_stack *e)
{
	struct thread *t = thread_get(c, &e->ev);
	struct region r = { .addr = e->ev.a, .len = e->ev.b, .thread = t ? t->index : 0 };

	regions_remove(&c->regions, r.addr, r.len, e->ev.time);
	r.site = site_of(c, t, e, LEDGER_MMAP);
	if (regions_add(&c->regions, &r))
		block_add(c, &e->ev, r.site);
	else
		ledger_writer_loss(c->writer, LOSS_LIVE_FULL, 1);
}

static void mapping_moved(struct collector *c, const struct ev_stack *e)
{
	if (regions_remove(&c->regions, e->old, e->old_len, e->ev.time))
		mapping_add(c, e);
	else
		regions_remove(&c->regions, e->ev.a, e->ev.b, e->ev.time);
}

/* ---- events ----------------------------------------------------------------------------------------- */

static void allocated(struct collector *c, const struct ev_stack *e)
{
	struct thread *t = thread_get(c, &e->ev);

	if (e->ev.block == EV_MMAP) {
		mapping_add(c, e);
		return;
	}
	settle(c, t, e->ev.time);
	block_add(c, &e->ev, site_of(c, t, e, LEDGER_HEAP));
}

static void recalled(struct collector *c, const struct ev *ev)
{
	uint32_t site = ev->c < c->npaths ? c->paths[ev->c].site : 0;

	settle(c, thread_of(c, ev->tid), ev->time);
	ledger_writer_header(c->writer)->unwinds_fast++;
	block_add(c, ev, site);
}

static void taken(struct collector *c, const struct ev *ev)
{
	struct thread *t = thread_get(c, ev);
	struct ledger_block b;

	settle(c, t, ev->time);
	if (!ledger_writer_take(c->writer, ev->a, LEDGER_HEAP, &b))
		return;
	if (!t) {
		ledger_writer_freed(c->writer, &b, ev->time);
		return;
	}
	t->taken = true;
	t->taken_addr = ev->a;
	t->block = b;
}

static void untaken(struct collector *c, const struct ev *ev)
{
	struct thread *t = thread_of(c, ev->tid);

	if (!t || !t->taken || t->taken_addr != ev->a)
		return;
	t->taken = false;
	ledger_writer_put(c->writer, ev->a, &t->block);
}

static int on_event(void *arg, void *data, size_t size)
{
	struct collector *c = arg;
	const struct ev *ev = data;
	const struct ev_stack *e = data;
	bool stack = ev->kind == EV_ALLOC || ev->kind == EV_REMAP;

	if (size < sizeof(*ev) || (stack && (size < sizeof(*e) || e->len > size - sizeof(*e))) ||
	    (ev->kind == EV_THREAD && size < sizeof(struct ev_thread)))
		return 0;
	if (c->execed)
		return 0; /* of another program */
	switch ((enum ev_kind)ev->kind) {
	case EV_ALLOC:
		allocated(c, e);
		break;
	case EV_PATH:
		recalled(c, ev);
		break;
	case EV_FREE:
		settle(c, thread_of(c, ev->tid), ev->time);
		block_freed(c, ev, LEDGER_HEAP);
		break;
	case EV_TAKE:
		taken(c, ev);
		break;
	case EV_UNTAKE:
		untaken(c, ev);
		break;
	case EV_UNMAP:
		regions_remove(&c->regions, ev->a, ev->b, ev->time);
		break;
	case EV_REMAP:
		mapping_moved(c, e);
		break;
	case EV_THREAD:
		thread_began(c, data);
		break;
	case EV_THREAD_EXIT:
		settle(c, thread_of(c, ev->tid), ev->time);
		thread_exited(c, ev);
		break;
	case EV_EXEC:
		c->execed = c->over = true;
		break;
	case EV_MODULES:
		refresh_modules(c);
		break;
	}
	return 0;
}

/* ---- beginning and end ---------------------------------------------------------------------------------- */

static void count_losses(struct collector *c)
{
	struct program *p = &c->program;

	ledger_writer_loss(c->writer, LOSS_COLLECTOR, program_lost(p, BPF_LOSS_RING));
	ledger_writer_loss(c->writer, LOSS_LIVE_FULL, program_lost(p, BPF_LOSS_LIVE));
	ledger_writer_loss(c->writer, LOSS_COLLECTOR, program_lost(p, BPF_LOSS_THREADS));
	ledger_writer_loss(c->writer, LOSS_CONTENDED, program_lost(p, BPF_LOSS_SCRATCH));
	ledger_writer_loss(c->writer, LOSS_NESTED, program_lost(p, BPF_LOSS_NESTED));
}

static struct seep_error *make_writer(struct collector *c)
{
	struct ledger_identity id = { .pid = c->opts.pid,
		                      .flags = LEDGER_F_ATTACHED | LEDGER_F_OUTSIDE,
		                      .period = c->opts.period };
	_cleanup_free_ char *exe = procfs_exe(c->opts.pid), *command = procfs_command(c->opts.pid);
	struct procfs_status st = { 0 };
	struct ledger_header *h;
	struct seep_error *err;
	uint64_t threads;
	char state;

	if (procfs_status(c->opts.pid, &st) < 0 ||
	    process_stat(c->opts.pid, &id.start_ticks, &state, &threads) < 0)
		return seep_error_new(ESRCH, "cannot look at process %d", (int)c->opts.pid);
	id.uid = st.uid;
	id.exe = exe;
	id.command = command;
	id.allocator = c->functions.allocator ? c->functions.allocator->path : "";
	err = ledger_writer_create(c->opts.dir, &id, &c->writer);
	if (err)
		return err;
	h = ledger_writer_header(c->writer);
	h->writer_pid = (int32_t)getpid();
	process_stat(getpid(), &h->writer_start_ticks, &state, &threads);
	return NULL;
}

static struct seep_error *nothing_to_probe(const struct collector *c)
{
	return seep_error_hint(
		seep_error_new(0, "no malloc can be found in process %d", (int)c->opts.pid),
		"Its allocator is linked into the executable and the symbols were stripped. A build that "
		"keeps .symtab (no `strip`, no -s), or a link against the shared libc, can be tracked; "
		"`seep check %d` needs neither.",
		(int)c->opts.pid);
}

/*
 * mmap is an event only when the program itself asks.  libc and allocators are told apart by their addresses;
 * in a program that is all one module they cannot be, but there nested calls can.
 */
static void own_mappings(const struct collector *c, struct program_options *po)
{
	const struct space_module *exe = NULL, *a = c->functions.allocator, *libc = NULL;

	for (size_t i = 0; i < c->functions.n; i++)
		if (c->functions.items[i].shape == SHAPE_MMAP)
			libc = c->functions.items[i].module;
	for (size_t i = 0; i < c->space.n && !exe; i++)
		exe = c->space.modules[i]->is_program ? c->space.modules[i] : NULL;
	po->plain_calls = libc != exe && a != exe;
	if (libc && libc != exe) {
		po->libc_lo = libc->start;
		po->libc_hi = libc->end;
	}
	if (a != exe) {
		po->allocator_lo = a->start;
		po->allocator_hi = a->end;
	}
}

struct seep_error *collector_start(const struct collector_options *opts,
                                   struct collector **ret_collector)
{
	struct collector *c = calloc(1, sizeof(*c));
	struct program_options po = { .period = opts->period, .how = opts->links };
	struct seep_error *err;
	struct stat st;
	char path[64];
	bool changed;

	if (!c)
		return &seep_error_nomem;
	c->opts = *opts;
	c->space.pid = opts->pid;
	c->walk.space = &c->space;
	c->regions = (struct regions){ .arg = c, .gone = region_gone, .left = region_left };
	c->pidfd = (int)syscall(SYS_pidfd_open, opts->pid, 0);
	if (c->pidfd < 0) {
		err = seep_error_new(errno, "cannot watch process %d", (int)opts->pid);
		goto fail;
	}
	err = space_refresh(&c->space, &changed);
	if (!err)
		err = functions_find(&c->space, &c->functions);
	if (!err && !c->functions.allocator)
		err = nothing_to_probe(c);
	if (!err)
		err = make_writer(c);
	if (err)
		goto fail;
	name_modules(c);
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)opts->pid);
	if (stat(path, &st) == 0) {
		po.ns_dev = st.st_dev;
		po.ns_ino = st.st_ino;
	}
	own_mappings(c, &po);
	err = program_start(&c->program, &po, &c->space, &c->functions);
	if (err)
		goto fail;
	c->ring = ring_buffer__new(program_ring(&c->program), on_event, c, NULL);
	if (!c->ring) {
		err = seep_error_new(errno, "cannot map the ring of the BPF program");
		goto fail;
	}
	if (opts->for_ns)
		c->end_ns = now_ns() + opts->for_ns;
	program_activate(&c->program, true);
	*ret_collector = c;
	return NULL;
fail:
	if (c->writer)
		unlink(ledger_writer_path(c->writer));
	collector_free(c);
	return err;
}

const char *collector_ledger(const struct collector *c)
{
	return ledger_writer_path(c->writer);
}

static void tick(struct collector *c)
{
	uint64_t now = now_ns();

	count_losses(c);
	ledger_writer_tick(c->writer, now);
	if (c->end_ns && now >= c->end_ns)
		c->over = true;
	if (c->opts.budget && c->ticks++ % BUDGET_TICKS == 0 &&
	    ledger_writer_size(c->writer) > c->opts.budget)
		c->over = true;
}

void collector_run(struct collector *c, int stop_fd)
{
	struct pollfd fds[] = { { ring_buffer__epoll_fd(c->ring), POLLIN, 0 },
		                { c->pidfd, POLLIN, 0 },
		                { stop_fd, POLLIN, 0 } };
	enum ledger_state state;

	while (!c->over) {
		/* Without a wake-up from the kernel (wake_at) the ring is emptied at every tick. */
		poll(fds, ARRAY_SIZE(fds), TICK_MS);
		ring_buffer__consume(c->ring);
		tick(c);
		if (fds[1].revents || fds[2].revents)
			break;
	}
	program_detach(&c->program);
	ring_buffer__consume(c->ring);
	for (size_t i = 0; i < c->nthreads; i++)
		settle(c, &c->threads[i], now_ns());
	count_losses(c);
	state = c->execed ? LEDGER_EXECED : fds[1].revents ? LEDGER_EXITED : LEDGER_DETACHED;
	ledger_writer_finish(c->writer, state, now_ns());
}

void collector_free(struct collector *c)
{
	if (!c)
		return;
	ring_buffer__free(c->ring);
	program_release(&c->program);
	ledger_writer_free(c->writer);
	walk_release(&c->walk);
	functions_release(&c->functions);
	space_release(&c->space);
	regions_release(&c->regions);
	if (c->pidfd >= 0)
		close(c->pidfd);
	idmap_release(&c->thread_index);
	idmap_release(&c->path_index);
	free(c->threads);
	free(c->paths);
	free(c);
}
