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
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"

#include "seep.skel.h"

#define RING_FULL (64u << 20)
#define RING_SAMPLED (4u << 20)

/* libbpf's last complaint: the verifier's log is long, its last line says it. */
static char complaint[512];

static int keep_complaint(enum libbpf_print_level level, const char *fmt, va_list ap)
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

struct seep_error *program_load(struct program *p, const struct program_options *opts)
{
	struct timespec now = { 0 };
	int r;

	p->skel = opened(opts);
	if (!p->skel)
		return refused(errno, "it cannot be opened");
	clock_gettime(CLOCK_MONOTONIC, &now);
	p->skel->bss->seed = (uint64_t)now.tv_nsec * 0x9e3779b97f4a7c15ull ^ (uint64_t)now.tv_sec;
	p->skel->bss->epoch = 1;
	r = seep_bpf__load(p->skel);
	return r < 0 ? refused(-r, "loading it failed") : NULL;
}

static bool keep(struct program *p, struct bpf_link *link)
{
	if (p->nlinks == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 64;
		struct bpf_link **l = reallocarray(p->links, cap, sizeof(struct bpf_link *));

		if (!l) {
			bpf_link__destroy(link);
			return false;
		}
		p->links = l;
		p->cap = cap;
	}
	p->links[p->nlinks++] = link;
	return true;
}

static struct seep_error *put_on(struct program *p, struct space *s, const struct function *fn,
                                 const struct bpf_program *prog, bool at_return)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = at_return);
	struct bpf_link *link;
	char path[64];

	if (!space_file(s, fn->module, path, sizeof(path)))
		return seep_error_new(0, "%s of process %d has no file to put a probe on",
		                      fn->module->path, (int)s->pid);
	link = bpf_program__attach_uprobe_opts(prog, s->pid, path, fn->offset, &opts);
	if (!link) {
		int code = errno;

		return seep_error_new(code, "cannot put a probe on %s in %s", fn->name,
		                      fn->module->path);
	}
	return keep(p, link) ? NULL : &seep_error_nomem;
}

struct pair {
	struct bpf_program *enter, *leave;
};

static struct pair programs_of(const struct program *p, enum function_shape shape)
{
	const struct seep_bpf *s = p->skel;

	switch (shape) {
	case SHAPE_SIZE1:
		return (struct pair){ s->progs.enter_size1, s->progs.leave_heap };
	case SHAPE_SIZE2:
		return (struct pair){ s->progs.enter_size2, s->progs.leave_heap };
	case SHAPE_CALLOC:
		return (struct pair){ s->progs.enter_calloc, s->progs.leave_heap };
	case SHAPE_POSIX_MEMALIGN:
		return (struct pair){ s->progs.enter_posix_memalign, s->progs.leave_heap };
	case SHAPE_REALLOC:
		return (struct pair){ s->progs.enter_realloc, s->progs.leave_heap };
	case SHAPE_REALLOCARRAY:
		return (struct pair){ s->progs.enter_reallocarray, s->progs.leave_heap };
	case SHAPE_FREE:
		return (struct pair){ s->progs.enter_free, NULL };
	case SHAPE_MMAP:
		return (struct pair){ s->progs.enter_mmap, s->progs.leave_mmap };
	case SHAPE_MUNMAP:
		return (struct pair){ s->progs.enter_munmap, NULL };
	case SHAPE_MREMAP:
		return (struct pair){ s->progs.enter_mremap, s->progs.leave_mremap };
	case SHAPE_LOADER:
		return (struct pair){ s->progs.loader_changed, NULL };
	case SHAPE_NSHAPES:
		break;
	}
	return (struct pair){ NULL, NULL };
}

struct seep_error *program_attach(struct program *p, struct space *s, const struct functions *f)
{
	struct seep_error *err = NULL;
	struct bpf_link *link;

	link = bpf_program__attach_raw_tracepoint(p->skel->progs.thread_exits, "sched_process_exit");
	if (!link || !keep(p, link))
		return refused(errno, "a thread's end cannot be watched");
	link = bpf_program__attach_raw_tracepoint(p->skel->progs.process_execs,
	                                          "sched_process_exec");
	if (!link || !keep(p, link))
		return refused(errno, "exec cannot be watched");
	for (int round = 0; !err && round < 3; round++) {
		for (size_t i = 0; !err && i < f->n; i++) {
			const struct function *fn = &f->items[i];
			struct pair pair = programs_of(p, fn->shape);

			if (round == 0 && !pair.leave)
				err = put_on(p, s, fn, pair.enter, false);
			else if (round == 1 && pair.leave)
				err = put_on(p, s, fn, pair.leave, true);
			else if (round == 2 && pair.leave)
				err = put_on(p, s, fn, pair.enter, false);
		}
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
	for (size_t i = p->nlinks; i-- > 0;)
		bpf_link__destroy(p->links[i]);
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
	struct seep_error *err = program_load(&p, &opts);
	char *why = NULL;

	if (err && asprintf(&why, "%s%s%s", err->message, err->hint ? ". " : "",
	                    err->hint ? err->hint : "") < 0)
		why = NULL;
	seep_error_free(err);
	program_release(&p);
	return why;
}
