/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notes of a core, as the kernel and gdb write them on x86-64.
 *
 *     NT_PRSTATUS    one for each thread: its number and general registers; what follows up to the next one
 *     NT_FPREGSET    belongs to it (NT_X86_XSTATE holds all that NT_FPREGSET does, and more)
 *     NT_X86_XSTATE
 *     NT_PRPSINFO    name, command line, number of the process
 *     NT_SIGINFO     the signal
 *     NT_AUXV        as in /proc/PID/auxv
 *     NT_FILE        count, page size, count times (start, end, offset in pages), count paths
 */
#include "proc/core_notes.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"

#define STATUS_SIGNAL 12 /* offsets in struct elf_prstatus */
#define STATUS_PID 32
#define STATUS_REGS 112
#define PSINFO_PID 24 /* in struct elf_prpsinfo */
#define PSINFO_NAME 40
#define PSINFO_COMMAND 56

static void *one_more(void *items, size_t n, size_t size)
{
	/* Grown at powers of two; realloc of everything for each of 100,000 threads would be quadratic. */
	return n & (n - 1) ? items : realloc(items, (n ? 2 * n : 1) * size);
}

static int add_thread(struct core_notes *notes, const uint8_t *d, size_t len)
{
	struct core_thread *t;
	void *p;

	if (len < STATUS_REGS + sizeof(t->regs))
		return 0;
	p = one_more(notes->threads, notes->nthreads, sizeof(*t));
	if (!p)
		return -ENOMEM;
	notes->threads = p;
	t = &notes->threads[notes->nthreads++];
	*t = (struct core_thread){ 0 };
	memcpy(&t->tid, d + STATUS_PID, sizeof(t->tid));
	memcpy(&t->regs, d + STATUS_REGS, sizeof(t->regs));
	if (!notes->signal) {
		uint16_t sig;

		memcpy(&sig, d + STATUS_SIGNAL, sizeof(sig));
		notes->signal = sig;
	}
	return 0;
}

static void take_info(struct core_notes *notes, const uint8_t *d, size_t len)
{
	if (len < PSINFO_COMMAND + 80)
		return;
	memcpy(&notes->pid, d + PSINFO_PID, sizeof(notes->pid));
	memcpy(notes->name, d + PSINFO_NAME, 16);
	memcpy(notes->command, d + PSINFO_COMMAND, 80);
	for (size_t n = strlen(notes->command); n && notes->command[n - 1] == ' '; n--)
		notes->command[n - 1] = '\0';
}

static int by_start(const void *a, const void *b)
{
	uint64_t x = ((const struct core_mapped *)a)->start,
		 y = ((const struct core_mapped *)b)->start;

	return (x > y) - (x < y);
}

static int take_files(struct core_notes *notes, const uint8_t *d, size_t len)
{
	struct cursor c = cursor_make(d, len), paths;
	uint64_t count = cursor_u64(&c), page = cursor_u64(&c);
	struct core_mapped *files;

	if (notes->files || count > cursor_left(&c) / 24 || !page || page > 1 << 20)
		return 0;
	files = calloc(count + 1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	paths = c;
	cursor_bytes(&paths, count * 24);
	notes->files = files;
	for (uint64_t i = 0; i < count; i++) {
		struct core_mapped *f = &files[notes->nfiles];

		f->start = cursor_u64(&c);
		f->end = cursor_u64(&c);
		f->offset = cursor_u64(&c);
		f->path = cursor_cstr(&paths);
		if (!f->path)
			break;
		if (f->start >= f->end || f->offset > INT64_MAX / page)
			continue;
		f->offset *= page;
		notes->nfiles++;
	}
	qsort(files, notes->nfiles, sizeof(*files), by_start);
	return 0;
}

static int take(struct core_notes *notes, uint32_t type, bool linux_name, const uint8_t *d,
                size_t len)
{
	struct core_thread *t = notes->nthreads ? &notes->threads[notes->nthreads - 1] : NULL;
	int32_t sig;

	if (linux_name) {
		if (type == NT_X86_XSTATE && t) {
			t->vector = d;
			t->vector_len = len;
		}
		return 0;
	}
	switch (type) {
	case NT_PRSTATUS:
		return add_thread(notes, d, len);
	case NT_FPREGSET:
		if (t && !t->vector) {
			t->vector = d;
			t->vector_len = len;
		}
		break;
	case NT_PRPSINFO:
		take_info(notes, d, len);
		break;
	case NT_SIGINFO:
		if (len >= sizeof(sig)) {
			memcpy(&sig, d, sizeof(sig));
			notes->signal = sig;
		}
		break;
	case NT_AUXV:
		procfs_parse_auxv(d, len, &notes->auxv);
		break;
	case NT_FILE:
		return take_files(notes, d, len);
	}
	return 0;
}

int core_notes_parse(const void *data, size_t len, uint64_t align, struct core_notes *notes)
{
	struct cursor c = cursor_make(data, len);
	size_t pad = align == 8 ? 7 : 3;

	while (cursor_left(&c) >= 12) {
		uint32_t namesz = cursor_u32(&c), descsz = cursor_u32(&c), type = cursor_u32(&c);
		const uint8_t *name = cursor_bytes(&c, ((size_t)namesz + pad) & ~pad), *desc;
		bool core, lin;
		int r;

		desc = name ? cursor_bytes(&c, descsz) : NULL;
		if (!desc)
			return 0;
		core = namesz == 5 && memcmp(name, "CORE", 5) == 0;
		lin = namesz == 6 && memcmp(name, "LINUX", 6) == 0;
		if (core || lin) {
			r = take(notes, type, lin, desc, descsz);
			if (r)
				return r;
		}
		if (!cursor_bytes(&c, (((size_t)descsz + pad) & ~pad) - descsz))
			return 0;
	}
	return 0;
}

void core_notes_release(struct core_notes *notes)
{
	free(notes->threads);
	free(notes->files);
	*notes = (struct core_notes){ 0 };
}

const struct core_mapped *core_notes_file(const struct core_notes *notes, uint64_t addr)
{
	size_t lo = 0, hi = notes->nfiles;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (notes->files[mid].start <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && addr < notes->files[lo - 1].end ? &notes->files[lo - 1] : NULL;
}
