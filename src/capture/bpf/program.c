/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading is libbpf's business; what is left is to say in words why the kernel refuses, and the order of
 * attaching: what ends a block's life first, what begins one last, and nothing is recorded before
 * all are in place.  A block whose free is not seen would look like a leak.
 */
#include "capture/bpf/program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"

#include "seep.skel.h"

/* Of newer kernels than the headers that seep is built with. */
#define ATTACH_UPROBE_MULTI 48u
#define ATTACH_UPROBE_SESSION 57u
#define UPROBE_MULTI_RETURN 1u

/* bpf(BPF_LINK_CREATE) for many uprobes: linux/bpf.h, union bpf_attr, link_create.uprobe_multi. */
struct link_create {
	uint32_t prog_fd, target_fd, attach_type, flags;
	uint64_t path, offsets, ref_ctr_offsets, cookies;
	uint32_t count, multi_flags, pid, pad;
};

#define RING_FULL (64u << 20)
#define RING_SAMPLED (4u << 20)

/* libbpf's last complaint: the verifier's log is long, its last line says it. */
static char complaint[512];

__attribute__((format(printf, 2, 0))) static int keep_complaint(enum libbpf_print_level level,
                                                                const char *fmt, va_list ap)
{
	if (level == LIBBPF_WARN)
		vsnprintf(complaint, sizeof(complaint), fmt, ap);
	return 0;
}

static struct seep_error *refused(int code, const char *what)
{
	struct utsname u = { 0 };
	struct seep_error *err;

	uname(&u);
	err = seep_error_new(code, "the kernel (%s) does not take seep's BPF program: %s",
	                     u.release, what);
	if (code == EPERM || code == EACCES)
		return seep_error_hint(err,
		                       "BPF needs CAP_BPF and CAP_PERFMON, or root; kernel lockdown "
		                       "(/sys/kernel/security/lockdown) may forbid it even then.");
	complaint[strcspn(complaint, "\n")] = '\0';
	if (complaint[0])
		return seep_error_hint(err,
		                       "It said: %s. Linux 5.12 or later is needed; `seep attach` "
		                       "without --bpf injects instead.",
		                       complaint);
	return seep_error_hint(err, "Linux 5.12 or later is needed.");
}

/* -log2(1 + i/256) + 1, with 26 bits of fraction. */
static void fill_logarithms(volatile uint32_t *table)
{
	for (unsigned int i = 0; i <= 1u << LOG_BITS; i++)
		table[i] =
			(uint32_t)((1 - log2(1 + (double)i / (1u << LOG_BITS))) * (1u << 26) + 0.5);
}

static struct seep_bpf *opened(const struct program_options *opts)
{
	struct seep_bpf *skel;
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	uint32_t scratches = cpus > 0 && cpus < 4096 ? 2 * (uint32_t)cpus : 64;
	uint64_t ring = opts->ring ? opts->ring : opts->period ? RING_SAMPLED : RING_FULL;

	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	libbpf_set_print(keep_complaint);
	complaint[0] = '\0';
	skel = seep_bpf__open();
	if (!skel)
		return NULL;
	if (scratches < 8)
		scratches = 8;
	skel->rodata->ns_dev = opts->ns_dev;
	skel->rodata->ns_ino = opts->ns_ino;
	skel->rodata->nscratches = scratches;
	skel->rodata->wake_at = ring / 8;
	skel->rodata->libc_lo = opts->libc_lo;
	skel->rodata->libc_hi = opts->libc_hi;
	skel->rodata->plain_calls = opts->plain_calls;
	skel->rodata->allocator_lo = opts->allocator_lo;
	skel->rodata->allocator_hi = opts->allocator_hi;
	fill_logarithms((volatile uint32_t *)skel->rodata->minus_log2);
	bpf_map__set_max_entries(skel->maps.ring, (uint32_t)ring);
	bpf_map__set_max_entries(skel->maps.scratches, scratches);
	bpf_map__set_max_entries(skel->maps.live,
	                         opts->period ? (uint32_t)(opts->live ? opts->live : 1u << 20) : 1);
	skel->bss->period = opts->period;
	return skel;
}

static void autoload(struct seep_bpf *s, enum program_links how)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, s->obj)
	{
		const char *name = bpf_program__name(prog);
		bool both = !strncmp(name, "both_", 5);
		bool half = !both &&
		            (!strncmp(name, "leave_", 6) ||
		             (!strncmp(name, "enter_", 6) && strcmp(name, "enter_free") != 0 &&
		              strcmp(name, "enter_munmap") != 0));

		bpf_program__set_autoload(prog, how == LINKS_SESSION ? !half : !both);
		if (bpf_program__type(prog) == BPF_PROG_TYPE_KPROBE && how != LINKS_PERF)
			bpf_program__set_expected_attach_type(prog, both ? ATTACH_UPROBE_SESSION
			                                                 : ATTACH_UPROBE_MULTI);
	}
}

static struct seep_error *load(struct program *p, const struct program_options *opts,
                               enum program_links how)
{
	struct timespec now = { 0 };
	int r;

	p->how = how;
	p->skel = opened(opts);
	if (!p->skel)
		return refused(errno, "it cannot be opened");
	autoload(p->skel, how);
	clock_gettime(CLOCK_MONOTONIC, &now);
	p->skel->bss->seed = (uint64_t)now.tv_nsec * 0x9e3779b97f4a7c15ull ^ (uint64_t)now.tv_sec;
	p->skel->bss->epoch = 1;
	r = seep_bpf__load(p->skel);
	return r < 0 ? refused(-r, "loading it failed") : NULL;
}

/* ---- links -------------------------------------------------------------------------- */

static bool keep(struct program *p, struct program_link link)
{
	if (p->nlinks == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 64;
		struct program_link *l = reallocarray(p->links, cap, sizeof(*l));

		if (!l) {
			bpf_link__destroy(link.link);
			if (link.fd >= 0)
				close(link.fd);
			return false;
		}
		p->links = l;
		p->cap = cap;
	}
	p->links[p->nlinks++] = link;
	return true;
}

struct programs {
	struct bpf_program *enter, *leave, *both; /* leave NULL: the return does not matter */
};

static struct programs programs_of(const struct program *p, enum function_shape shape)
{
	const struct seep_bpf *s = p->skel;
	const struct programs all[SHAPE_NSHAPES] = {
#define CALL(name, leave) { s->progs.enter_##name, s->progs.leave, s->progs.both_##name }
		[SHAPE_SIZE1] = CALL(size1, leave_heap),
		[SHAPE_SIZE2] = CALL(size2, leave_heap),
		[SHAPE_CALLOC] = CALL(calloc, leave_heap),
		[SHAPE_POSIX_MEMALIGN] = CALL(posix_memalign, leave_heap),
		[SHAPE_REALLOC] = CALL(realloc, leave_heap),
		[SHAPE_REALLOCARRAY] = CALL(reallocarray, leave_heap),
		[SHAPE_MMAP] = CALL(mmap, leave_map),
		[SHAPE_MREMAP] = CALL(mremap, leave_map),
#undef CALL
		[SHAPE_FREE] = { s->progs.enter_free, NULL, NULL },
		[SHAPE_MUNMAP] = { s->progs.enter_munmap, NULL, NULL },
		[SHAPE_LOADER] = { s->progs.loader_changed, NULL, NULL },
	};

	return all[shape];
}

static struct seep_error *put_on_one(struct program *p, struct space *s, const struct function *fn,
                                     const struct bpf_program *prog, bool at_return)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = at_return);
	struct program_link link = { .fd = -1 };
	char path[64];

	if (!space_file(s, fn->module, path, sizeof(path)))
		return seep_error_new(0, "%s of process %d has no file to put a probe on",
		                      fn->module->path, (int)s->pid);
	link.link = bpf_program__attach_uprobe_opts(prog, s->pid, path, fn->offset, &opts);
	if (!link.link)
		return seep_error_new(errno, "cannot put a probe on %s in %s", fn->name,
		                      fn->module->path);
	return keep(p, link) ? NULL : &seep_error_nomem;
}

/* One link for all functions of a shape in a module.  libbpf 1.1 does not know of these. */
static struct seep_error *put_on_all(struct program *p, struct space *s, const struct functions *f,
                                     const struct space_module *m, enum function_shape shape,
                                     const struct bpf_program *prog, uint32_t type, bool at_return)
{
	struct link_create attr = { .attach_type = type };
	_cleanup_free_ uint64_t *offsets = calloc(f->n + 1, sizeof(*offsets));
	struct program_link link = { .fd = -1 };
	char path[64];

	if (!offsets)
		return &seep_error_nomem;
	for (size_t i = 0; i < f->n; i++)
		if (f->items[i].module == m && f->items[i].shape == shape)
			offsets[attr.count++] = f->items[i].offset;
	if (!attr.count)
		return NULL;
	if (!space_file(s, m, path, sizeof(path)))
		return seep_error_new(0, "%s of process %d has no file to put a probe on", m->path,
		                      (int)s->pid);
	attr.prog_fd = (uint32_t)bpf_program__fd(prog);
	attr.path = (uint64_t)(uintptr_t)path;
	attr.offsets = (uint64_t)(uintptr_t)offsets;
	attr.multi_flags = at_return ? UPROBE_MULTI_RETURN : 0;
	attr.pid = (uint32_t)s->pid;
	link.fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	if (link.fd < 0)
		return seep_error_new(errno, "cannot put probes on %s", m->path);
	return keep(p, link) ? NULL : &seep_error_nomem;
}

/* What ends a block's life first, then what is seen at a return, then what begins one. */
enum round { ROUND_ENDS, ROUND_RETURNS, ROUND_ENTRIES, NROUNDS };

static struct seep_error *one_by_one(struct program *p, struct space *s, const struct functions *f,
                                     enum round round)
{
	struct seep_error *err = NULL;

	for (size_t i = 0; !err && i < f->n; i++) {
		const struct function *fn = &f->items[i];
		struct programs progs = programs_of(p, fn->shape);

		if (!progs.leave == (round == ROUND_ENDS))
			err = put_on_one(p, s, fn,
			                 round == ROUND_RETURNS ? progs.leave : progs.enter,
			                 round == ROUND_RETURNS);
	}
	return err;
}

static struct seep_error *many_at_once(struct program *p, struct space *s,
                                       const struct functions *f, enum round round)
{
	struct seep_error *err = NULL;

	for (size_t i = 0; !err && i < s->n; i++) {
		for (unsigned int shape = 0; !err && shape < SHAPE_NSHAPES; shape++) {
			struct programs progs = programs_of(p, shape);
			const struct space_module *m = s->modules[i];

			if (!progs.leave != (round == ROUND_ENDS))
				continue;
			if (round == ROUND_ENDS || p->how == LINKS_MULTI)
				err = put_on_all(p, s, f, m, shape,
				                 round == ROUND_RETURNS ? progs.leave : progs.enter,
				                 ATTACH_UPROBE_MULTI, round == ROUND_RETURNS);
			else if (round == ROUND_ENTRIES) /* and the returns with them */
				err = put_on_all(p, s, f, m, shape, progs.both,
				                 ATTACH_UPROBE_SESSION, false);
		}
	}
	return err;
}

static struct seep_error *put_on(struct program *p, struct space *s, const struct functions *f)
{
	struct program_link link = { .fd = -1 };
	struct seep_error *err = NULL;

	link.link = bpf_program__attach_raw_tracepoint(p->skel->progs.thread_exits,
	                                               "sched_process_exit");
	if (!link.link || !keep(p, link))
		return refused(errno, "a thread's end cannot be watched");
	link.link = bpf_program__attach_raw_tracepoint(p->skel->progs.process_execs,
	                                               "sched_process_exec");
	if (!link.link || !keep(p, link))
		return refused(errno, "exec cannot be watched");
	for (enum round round = 0; !err && round < NROUNDS; round++)
		err = p->how == LINKS_PERF ? one_by_one(p, s, f, round)
		                           : many_at_once(p, s, f, round);
	return err;
}

struct seep_error *program_start(struct program *p, const struct program_options *opts,
                                 struct space *s, const struct functions *f)
{
	struct seep_error *err = NULL;

	for (enum program_links how = opts->how; how < LINKS_NLINKS; how++) {
		seep_error_free(TAKE(err));
		program_release(p);
		err = load(p, opts, how);
		if (!err)
			err = put_on(p, s, f);
		if (!err)
			return NULL;
	}
	return err;
}

void program_activate(struct program *p, bool active)
{
	__atomic_store_n(&p->skel->bss->active, active, __ATOMIC_RELEASE);
}

void program_set_period(struct program *p, uint64_t period)
{
	__atomic_store_n(&p->skel->bss->period, period, __ATOMIC_RELEASE);
}

void program_detach(struct program *p)
{
	if (p->skel)
		program_activate(p, false);
	for (size_t i = p->nlinks; i-- > 0;) {
		bpf_link__destroy(p->links[i].link);
		if (p->links[i].fd >= 0)
			close(p->links[i].fd);
	}
	free(TAKE(p->links));
	p->nlinks = p->cap = 0;
}

void program_release(struct program *p)
{
	program_detach(p);
	seep_bpf__destroy(TAKE(p->skel));
}

int program_ring(const struct program *p)
{
	return bpf_map__fd(p->skel->maps.ring);
}

void program_stack_end(struct program *p, uint32_t tid, const struct stack_end *end)
{
	int fd = bpf_map__fd(p->skel->maps.stacks);

	/* A full table only costs: the stack is copied page by page then. */
	if (end)
		bpf_map_update_elem(fd, &tid, end, BPF_ANY);
	else
		bpf_map_delete_elem(fd, &tid);
}

void program_first_copy(struct program *p, uint32_t bytes)
{
	__atomic_store_n(&p->skel->data->first_copy, bytes, __ATOMIC_RELAXED);
}

void program_path(struct program *p, const struct path_key *key, const struct path_value *value)
{
	bpf_map_update_elem(bpf_map__fd(p->skel->maps.paths), key, value, BPF_ANY);
}

uint32_t program_epoch(const struct program *p)
{
	return p->skel->bss->epoch;
}

void program_forget_paths(struct program *p)
{
	int fd = bpf_map__fd(p->skel->maps.paths);
	struct path_key key;

	/* Another epoch first, so that none of them is found while they go. */
	p->skel->bss->epoch++;
	while (bpf_map_get_next_key(fd, NULL, &key) == 0)
		if (bpf_map_delete_elem(fd, &key) < 0)
			break;
}

uint64_t program_lost(struct program *p, enum bpf_loss what)
{
	uint64_t now = __atomic_load_n(&p->skel->bss->losses[what], __ATOMIC_RELAXED),
		 more = now - p->losses_seen[what];

	p->losses_seen[what] = now;
	return more;
}

char *program_obstacle(void)
{
	struct program p = { 0 };
	struct program_options opts = { .ring = 4096 };
	struct seep_error *err = load(&p, &opts, LINKS_PERF);
	char *why = NULL;

	if (err && asprintf(&why, "%s%s%s", err->message, err->hint ? ". " : "",
	                    err->hint ? err->hint : "") < 0)
		why = NULL;
	seep_error_free(err);
	program_release(&p);
	return why;
}
