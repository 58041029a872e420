/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of running processes: stopped, or cloned.
 *
 * The guardian stops and resumes; seep reads by itself: process_memory.c.
 *
 * A process that was only stopped must be known to stand still when its bytes are believed: the guardian
 * says in shared memory when it had to let go, and reads fail from then on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "proc/discard.h"
#include "proc/modules.h"
#include "proc/process.h"
#include "proc/procfs.h"
#include "proc/refusal.h"

#define MAX_STOP_NS (30ull * 1000000000u)
#define OPEN_TRIES 4

static struct seep_error *process_resume(struct image *img)
{
	struct process *p = img->priv;
	struct guardian_shared *s = p->guardian.shared;
	struct seep_error *err;

	if (img->kind != IMAGE_LIVE)
		return NULL;
	if (!guardian_resume(&p->guardian) && !atomic_load(&s->released)) {
		atomic_store(&s->released, 1);
		return seep_error_new(0,
		                      "the guardian process that held process %d was killed: the "
		                      "process has run on meanwhile, and what was read of it may not "
		                      "fit together",
		                      (int)img->pid);
	}
	img->stopped_ns = atomic_load(&s->stopped_ns);
	if (atomic_load(&s->released) != 2)
		return NULL;
	err = seep_error_new(ETIME,
	                     "process %d had to be let go after it had stood still for %.1f s",
	                     (int)img->pid, (double)img->stopped_ns / 1e9);
	return seep_error_hint(err, "check a copy-on-write clone of it (--clone), which stops it for "
	                            "milliseconds only");
}

struct seep_error *discard_pages(struct image *img, const struct discard_range *ranges, size_t n,
                                 uint64_t until_ns, struct discard_reply *ret)
{
	struct process *p = img->priv;

	if (img->kind != IMAGE_LIVE || n > DISCARD_MAX)
		return seep_error_new(EINVAL, "pages can only be dropped of a process that stands");
	*ret = (struct discard_reply){ 0 };
	if (atomic_load(&p->guardian.shared->released) ||
	    !guardian_drop(&p->guardian, ranges, n, until_ns, ret))
		return seep_error_new(
			0,
			"process %d ran on before all pages were dropped: its guardian was "
			"killed, or its time was up",
			(int)img->pid);
	return NULL;
}

static void process_release(struct image *img)
{
	struct process *p = img->priv;

	guardian_release(&p->guardian);
	maps_release(&p->maps);
	modules_free(img->modules, img->nmodules);
	if (p->pagemap >= 0)
		close(p->pagemap);
	if (p->aside_mem >= 0)
		close(p->aside_mem);
	if (p->aside_pagemap >= 0)
		close(p->aside_pagemap);
	free(p->words);
	free(p->exe);
	free(p->command);
	free(img->threads);
	free(p);
	free(img);
}

static const struct image_ops process_ops = {
	.read = process_read,
	.resident = process_resident,
	.skip = process_skip,
	.pages = process_pages,
	.resume = process_resume,
	.release = process_release,
};

/* ---- opening ---------------------------------------------------------------- */

static int by_tid(const void *a, const void *b)
{
	const struct tracee *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

/* Registers as image_thread has them; the main thread first, then by number. */
static struct seep_error *take_threads(struct image *img)
{
	struct process *p = img->priv;
	const struct guardian_reply *r = &p->guardian.reply;
	size_t general = sizeof(struct user_regs_struct) / 8, words = 0, n = 0, missed = 0;

	for (size_t i = 0; i < r->nthreads; i++)
		words += general + p->guardian.threads[i].xstate_len / 8;
	img->threads = calloc(r->nthreads + 1, sizeof(*img->threads));
	p->words = calloc(words + 1, sizeof(*p->words));
	if (!img->threads || !p->words)
		return &seep_error_nomem;
	qsort(p->guardian.threads, r->nthreads, sizeof(*p->guardian.threads), by_tid);
	words = 0;
	for (unsigned int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < r->nthreads; i++) {
			const struct tracee *t = &p->guardian.threads[i];
			struct image_thread *it = &img->threads[n];
			struct procfs_status st;

			if ((t->tid == img->pid) != (pass == 0) || (!t->has_regs && !t->missed))
				continue;
			*it = (struct image_thread){ .tid = t->tid, .words = p->words + words };
			if (procfs_status(t->tid, &st) == 0)
				memcpy(it->name, st.name, sizeof(it->name));
			n++;
			if (!t->has_regs) {
				it->missed = true;
				missed++;
				continue;
			}
			it->pc = t->regs.rip;
			it->sp = t->regs.rsp;
			it->fp = t->regs.rbp;
			it->tls = t->regs.fs_base;
			it->ngeneral = (uint32_t)general;
			it->nwords = general + t->xstate_len / 8;
			memcpy(p->words + words, &t->regs, sizeof(t->regs));
			if (t->xstate_len <= r->xstate_bytes &&
			    t->xstate_at <= r->xstate_bytes - t->xstate_len)
				memcpy(p->words + words + general,
				       p->guardian.xstate + t->xstate_at, t->xstate_len);
			words += it->nwords;
		}
	img->nthreads = n;
	if (missed)
		image_note(img,
		           "%zu of %zu threads could not be stopped (uninterruptible wait): their "
		           "registers are unknown",
		           missed, n);
	return NULL;
}

static struct seep_error *take_memory(struct image *img, const struct maps *before)
{
	struct process *p = img->priv;
	_cleanup_buf_ struct buf auxv = { 0 };
	struct procfs_auxv av = { .page_size = (uint64_t)sysconf(_SC_PAGESIZE) };
	struct seep_error *err;
	uint64_t probe;
	char path[64];

	err = maps_read(p->memory, &p->maps);
	if (err)
		return err;
	img->maps = p->maps.items;
	img->nmaps = p->maps.n;
	if (p->maps.dropped)
		image_note(img, "%zu mappings are left out: their description makes no sense",
		           p->maps.dropped);
	if (procfs_read(p->memory, "auxv", 1 << 16, &auxv) == 0)
		procfs_parse_auxv(auxv.data, auxv.len, &av);
	img->page_size = av.page_size;
	img->at_random = av.random;
	img->at_base = av.base;
	img->at_phdr = av.phdr;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)p->memory);
	p->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (p->pagemap >= 0 && img->nmaps &&
	    pread(p->pagemap, &probe, 8, (off_t)(img->maps[0].start / img->page_size * 8)) != 8) {
		close(p->pagemap);
		p->pagemap = -1;
	}
	if (p->pagemap < 0)
		image_note(img,
		           "/proc/%d/pagemap cannot be read (%s): pages that were never used or "
		           "are swapped out are read as well",
		           (int)p->memory, strerror(errno));
	err = modules_find(img);
	if (!err && img->kind == IMAGE_CLONE)
		err = clone_mark_absent(img, img->pid, before);
	return err;
}

/* *ret_again: another tracer may have been in the way. */
static struct seep_error *open_once(pid_t pid, const struct image_options *opts,
                                    struct image **ret_image, bool *ret_again)
{
	bool clone = opts && opts->clone;
	uint64_t max_stop = opts && opts->max_stop_ns ? opts->max_stop_ns : MAX_STOP_NS;
	_cleanup_image_ struct image *img = NULL;
	const struct guardian_reply *r;
	struct maps before = { 0 };
	struct seep_error *err;
	struct process *p;

	err = refusal_check(pid);
	if (err)
		return err;
	img = calloc(1, sizeof(*img));
	p = calloc(1, sizeof(*p));
	if (!img || !p) {
		free(p);
		free(TAKE(img));
		return &seep_error_nomem;
	}
	*img = (struct image){ .kind = IMAGE_LIVE, .pid = pid, .ops = &process_ops, .priv = p };
	p->pagemap = p->aside_mem = p->aside_pagemap = -1;
	p->guardian.pid = p->guardian.sock = p->guardian.memfd = -1;
	img->exe = img->command = "";
	if (clone) { /* compared with the clone's afterwards; a failure shows again, and better */
		err = maps_read(pid, &before);
		seep_error_free(err);
	}
	err = guardian_start(pid, clone, opts && opts->calls, max_stop, &p->guardian);
	if (err)
		goto out;
	r = &p->guardian.reply;
	if (r->error) {
		*ret_again = refusal_may_pass(pid, r->error);
		err = refusal_explain(pid, r->error, r->error_tid);
		goto out;
	}
	if (r->child) {
		img->kind = IMAGE_CLONE;
		p->memory = r->child;
		/*
		 * process_vm_readv() pins pages, and pinning un-shares what the clone shares with its parent: every
		 * page read would be copied into the clone first.
		 */
		p->by_fd = p->guardian.memfd >= 0;
	} else {
		p->memory = r->memory_tid;
		if (clone)
			clone_note(img, r);
	}
	p->exe = procfs_exe(p->memory);
	p->command = procfs_command(p->memory);
	if (p->exe)
		img->exe = p->exe;
	if (p->command)
		img->command = p->command;
	img->stopped_ns = r->stopped_ns;
	img->stop_mono_ns = r->stop_mono_ns;
	img->stop_real_ns = r->stop_real_ns;
	img->resident_bytes = r->resident_bytes;
	err = take_threads(img);
	if (!err)
		err = take_memory(img, &before);
	if (!err)
		*ret_image = TAKE(img);
out:
	maps_release(&before);
	return err;
}

struct seep_error *image_open_process(pid_t pid, const struct image_options *opts,
                                      struct image **ret_image)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	for (unsigned int tries = 1;; tries++) {
		bool again = false;
		struct seep_error *err = open_once(pid, opts, ret_image, &again);

		if (!again || tries == OPEN_TRIES)
			return err;
		seep_error_free(err);
		nanosleep(&pause, NULL);
	}
}
