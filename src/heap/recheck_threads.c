/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a thread inside glibc's malloc without a lock to show for it?
 *
 * glibc takes no lock while it believes to be alone.  Threads it has made itself have a thread control block that points to itself;
 * with two of these in the process locks are taken, and the locks tell.  Otherwise every thread is looked at:
 *
 *   pc in malloc's code                        inside
 *   in a call that waits for the world         outside: malloc makes no such call
 *   a return address into malloc on its stack  inside
 *
 * The last one is not unwinding.  A word of the stack counts that points into malloc's code just behind a call instruction: each frame
 * of malloc below the thread has left one, since calls out of malloc are calls.  Words that are left over from
 * calls long ago count too, which costs another try, and never more than that.
 *
 * A signal handler may have interrupted malloc anywhere, and then do what it likes: where the frame of one is on the
 * stack every word that points into malloc counts, also for a thread that waits.
 */
#include "heap/recheck_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "heap/heap.h"
#include "proc/image.h"

#define STACK_MAX (16u << 20) /* "[stack]" */
#define OTHER_STACK \
	(256u << 10)      /* where sp points somewhere else: a coroutine, an alternate stack */
#define DEPTH (64u << 10) /* malloc and all it calls need less stack than this */
#define PIECE (64u << 10)

/* ---- where malloc is ------------------------------------------------------------------ */

#define CODE_MAX (256u << 20) /* bytes of code looked through */
#define HITS_MAX 65536u
#define GAP (16u << 10)   /* between two references of one object file */
#define MARGIN (8u << 10) /* functions at its ends that refer to nothing: their callers do */

struct search {
	const struct heap_range *state; /* nstate ranges */
	size_t nstate;
	uint64_t *hits;
	size_t n;
};

static bool is_state(const struct search *s, uint64_t addr)
{
	for (size_t i = 0; i < s->nstate; i++)
		if (addr >= s->state[i].start && addr < s->state[i].end)
			return true;
	return false;
}

/* Instructions that name an address of malloc's state: relative to what follows them, or as it is. */
static void scan_code(struct search *s, const uint8_t *p, size_t n, uint64_t at)
{
	for (size_t i = 1; i + 8 <= n && s->n < HITS_MAX; i++) {
		int32_t disp;
		uint64_t target;
		bool hit = false;

		memcpy(&disp, p + i, 4);
		if ((p[i - 1] & 0xc7) ==
		    5) { /* modrm: [rip + disp], then an immediate of 0, 1 or 4 bytes */
			target = at + i + 4 + (uint64_t)(int64_t)disp;
			hit = is_state(s, target) || is_state(s, target + 1) ||
			      is_state(s, target + 4);
		}
		if (!hit && disp > 0x10000)
			hit = is_state(s, (uint64_t)disp);
		if (hit)
			s->hits[s->n++] = at + i;
	}
}

static void scan_map(struct search *s, const struct image *img, const struct image_map *m,
                     uint64_t *left)
{
	static const size_t overlap = 16;
	uint8_t *buf = malloc(PIECE);

	for (uint64_t at = m->start; buf && at < m->end && *left;) {
		size_t n = m->end - at < PIECE ? (size_t)(m->end - at) : PIECE;

		if (image_read(img, at, buf, n) != n)
			break;
		scan_code(s, buf, n, at);
		*left -= n < *left ? n : *left;
		if (n < PIECE)
			break;
		at += n - overlap;
	}
	free(buf);
}

/* The stretch with the most references: what else looks like one lies alone. */
static void densest(const struct search *s, struct heap_range *ret)
{
	size_t best = 0;

	for (size_t i = 0; i < s->n;) {
		size_t k = i;

		while (k + 1 < s->n && s->hits[k + 1] - s->hits[k] < GAP)
			k++;
		if (k - i + 1 > best) {
			best = k - i + 1;
			ret->start = s->hits[i] - MARGIN;
			ret->end = s->hits[k] + MARGIN;
		}
		i = k + 1;
	}
	if (best < 8)
		*ret = (struct heap_range){ 0 };
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void recheck_find_code(const struct image *img, const struct heap *h, struct heap_range *ret)
{
	struct heap_range state[2];
	struct search s = { .state = state };
	const struct image_module *mod;
	uint64_t left = CODE_MAX;

	*ret = (struct heap_range){ 0 };
	if (!h->bins_at || !h->narenas)
		return;
	mod = image_module_of(img, h->arenas[0].address);
	state[s.nstate++] = (struct heap_range){ h->arenas[0].address,
		                                 h->arenas[0].address + h->bins_at + 2088 };
	if (h->params.address)
		state[s.nstate++] = (struct heap_range){ h->params.address,
			                                 h->params.address + h->params.size };
	s.hits = malloc(HITS_MAX * sizeof(*s.hits));
	if (!s.hits || !mod) {
		free(s.hits);
		return;
	}
	for (size_t i = image_map_after(img, mod->start);
	     i < img->nmaps && img->maps[i].start < mod->end; i++)
		if (img->maps[i].flags & IMAGE_EXEC)
			scan_map(&s, img, &img->maps[i], &left);
	qsort(s.hits, s.n, sizeof(*s.hits), by_value); /* pieces overlap */
	densest(&s, ret);
	free(s.hits);
}

/* ---- threads -------------------------------------------------------------------------- */

/* glibc's thread control block: its own address at 0 and at 16. */
static bool has_tcb(const struct image *img, const struct image_thread *t)
{
	uint64_t w[3];

	return !t->missed && t->tls && image_read_all(img, t->tls, w, sizeof(w)) &&
	       w[0] == t->tls && w[2] == t->tls;
}

static bool takes_locks(const struct image *img)
{
	const struct image_thread *first = NULL;

	for (size_t i = 0; i < img->nthreads; i++) {
		const struct image_thread *t = &img->threads[i];

		if (!has_tcb(img, t) || (first && first->tls == t->tls))
			continue;
		if (first)
			return true;
		first = t;
	}
	return false;
}

/* Index of orig_rax among the general registers (struct user_regs_struct). */
#define ORIG_RAX 15
#define RDI 14

/* malloc reads files of /proc and /sys (how many processors there are), and never what others write: pipes, sockets, terminals. */
static bool reads_from_outside(const struct image *img, pid_t tid, int fd)
{
	char path[80];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", (int)img->pid, (int)tid, fd);
	return fd >= 0 && img->kind != IMAGE_CORE && stat(path, &st) == 0 &&
	       (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISCHR(st.st_mode));
}

/* A call that only ends when something happens outside; malloc, and what it calls, makes none of them. */
static bool waits(const struct image *img, const struct image_thread *t)
{
	if (t->ngeneral <= ORIG_RAX || (int64_t)t->words[ORIG_RAX] < 0)
		return false;
	switch (t->words[ORIG_RAX]) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
	case SYS_poll:
	case SYS_ppoll:
	case SYS_select:
	case SYS_pselect6:
	case SYS_accept:
	case SYS_accept4:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_connect:
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
	case SYS_pause:
	case SYS_wait4:
	case SYS_waitid:
	case SYS_rt_sigtimedwait:
	case SYS_rt_sigsuspend:
	case SYS_io_getevents:
	case SYS_io_uring_enter:
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_msgrcv:
		return true;
	case SYS_read:
	case SYS_readv:
		return reads_from_outside(img, t->tid, (int)t->words[RDI]);
	}
	return false;
}

/* Is there a call instruction that ends just before addr?  Direct, or through a register or memory. */
static bool behind_call(const struct image *img, uint64_t addr)
{
	uint8_t b[8];

	if (!image_read_all(img, addr - sizeof(b), b, sizeof(b)))
		return true;
	if (b[3] == 0xe8)
		return true;
	for (size_t k = 1; k + 1 < sizeof(b); k++) /* ff /2: two to seven bytes */
		if (b[k] == 0xff && (b[k + 1] & 0x38) == 0x10)
			return true;
	return false;
}

/* `mov $15,%rax; syscall`: the return address of a signal handler. */
static bool is_sigreturn(const struct image *img, uint64_t addr)
{
	static const uint8_t long_form[] = { 0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05 };
	static const uint8_t short_form[] = { 0xb8, 15, 0, 0, 0, 0x0f, 0x05 };
	const struct image_map *m = image_map_of(img, addr);
	uint8_t b[sizeof(long_form)];

	return m && m->flags & IMAGE_EXEC && image_read_all(img, addr, b, sizeof(b)) &&
	       (!memcmp(b, long_form, sizeof(long_form)) ||
	        !memcmp(b, short_form, sizeof(short_form)));
}

/* The words from sp to the end of the stack, or as much of another mapping as calls may need; malloc'ed. */
static uint64_t *read_stack(const struct image *img, uint64_t sp, size_t *ret_n, bool *ret_whole)
{
	const struct image_map *m = image_map_of(img, sp);
	uint64_t start = sp & ~7ull, len = m ? m->end - start : 0;
	uint64_t *words;

	*ret_whole = m && !strcmp(m->path, "[stack]") && len <= STACK_MAX;
	if (!*ret_whole && len > OTHER_STACK)
		len = OTHER_STACK;
	words = len ? malloc(len) : NULL;
	if (!words || !image_read_all(img, start, words, len)) {
		free(words);
		return NULL;
	}
	*ret_n = (size_t)(len / 8);
	return words;
}

static bool stack_is_clear(const struct image *img, const struct heap_range *code, uint64_t sp,
                           bool waiting)
{
	bool whole, handler = false, known = code->start != code->end;
	size_t n, into = 0, returns = 0;
	uint64_t *words = read_stack(img, sp, &n, &whole);

	if (!words)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (words[i] >= code->start && words[i] < code->end) {
			into++;
			/* Without a handler malloc is the innermost thing that was called. */
			if (!waiting && i < DEPTH / 8)
				returns += behind_call(img, words[i]);
		}
		handler = handler || is_sigreturn(img, words[i]);
	}
	free(words);
	/* A handler on a stack of its own: what it interrupted is somewhere else. */
	return !returns && !(handler && (into || !known || !whole));
}

enum recheck_refusal recheck_every_thread(const struct image *img, const struct heap_range *code,
                                          pid_t *ret_tid)
{
	bool known = code->start != code->end;

	for (size_t i = 0; i < img->nthreads; i++) {
		const struct image_thread *t = &img->threads[i];
		bool waiting = !t->missed && waits(img, t);

		*ret_tid = t->tid;
		if (t->missed)
			return RECHECK_IN_MALLOC;
		if (!known && !waiting)
			return RECHECK_NO_CODE;
		if ((known && t->pc >= code->start && t->pc < code->end) ||
		    !stack_is_clear(img, code, t->sp, waiting))
			return RECHECK_IN_MALLOC;
	}
	*ret_tid = 0;
	return RECHECK_FINE;
}

enum recheck_refusal recheck_threads(const struct image *img, const struct heap_range *code,
                                     pid_t *ret_tid)
{
	return takes_locks(img) ? RECHECK_FINE : recheck_every_thread(img, code, ret_tid);
}
