/* SPDX-License-Identifier: Apache-2.0 */
/* See target.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "target.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void path_of(char *path, size_t size, const char *name)
{
	const char *dir = getenv("SEEP_HEAP_TARGETS");

	snprintf(path, size, "%s/%s", dir ? dir : ".", name);
}

bool target_built(const char *name)
{
	char path[4096];

	path_of(path, sizeof(path), name);
	return access(path, X_OK) == 0;
}

static void parse(struct target *t, const char *line)
{
	struct truth_block b;

	if (!strncmp(line, "mallinfo ", 9)) {
		const char *p = line + 9;
		char *end;

		for (int i = 0; i < 10; i++, p = end)
			t->info[i] = strtoull(p, &end, 10);
		t->has_info = true;
	} else if (sscanf(line, "block %" SCNx64 " %" SCNu64 " %" SCNu64, &b.address, &b.usable,
	                  &b.requested) == 3) {
		if (!(t->nblocks & (t->nblocks - 1))) {
			t->blocks =
				realloc(t->blocks, (t->nblocks ? 2 * t->nblocks : 1) * sizeof(b));
			assert_non_null(t->blocks);
		}
		t->blocks[t->nblocks++] = b;
	} else if (!strncmp(line, "lost ", 5) && t->nlost < 64) {
		t->lost[t->nlost++] = strtoull(line + 5, NULL, 16);
	}
}

static int by_address(const void *a, const void *b)
{
	const struct truth_block *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

void target_start(struct target *t, const char *name, const char *const *args)
{
	char path[4096], line[256], *argv[8] = { path };
	int in[2], out[2];
	bool ready = false;
	FILE *f;

	memset(t, 0, sizeof(*t));
	path_of(path, sizeof(path), name);
	for (int i = 0; args[i] && i < 6; i++)
		argv[i + 1] = (char *)args[i];
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	t->pid = fork();
	assert_true(t->pid >= 0);
	if (!t->pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[0]);
		close(in[1]);
		close(out[0]);
		close(out[1]);
		alarm(120); /* whatever happens to the test, it ends */
		execv(path, argv);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	t->in = in[1];
	f = fdopen(out[0], "r");
	assert_non_null(f);
	while (!ready && fgets(line, sizeof(line), f)) {
		ready = !strcmp(line, "ready\n");
		parse(t, line);
	}
	fclose(f);
	assert_true(ready);
	if (t->nblocks)
		qsort(t->blocks, t->nblocks, sizeof(*t->blocks), by_address);
}

void target_end(struct target *t)
{
	close(t->in);
	kill(t->pid, SIGKILL);
	waitpid(t->pid, NULL, 0);
	free(t->blocks);
	memset(t, 0, sizeof(*t));
}

static bool in_ranges(const struct heap *h, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < h->nranges; i++)
		if (h->ranges[i].start <= start && end <= h->ranges[i].end)
			return true;
	return false;
}

size_t target_compare(const struct target *t, const struct heap *h, bool exact_sizes)
{
	const struct heap_mallinfo *i = &h->info;
	const uint64_t found[10] = { i->arena,   i->ordblks, i->smblks,   i->hblks,    i->hblkhd,
		                     i->usmblks, i->fsmblks, i->uordblks, i->fordblks, i->keepcost };
	size_t own = 0, at = 0;

	if (t->has_info)
		for (int k = 0; k < 10; k++)
			assert_int_equal(found[k], t->info[k]);
	for (size_t k = 0; k < h->nblocks; k++) {
		const struct block *b = &h->blocks[k];
		const struct truth_block *truth;

		if (k)
			assert_true(h->blocks[k - 1].address < b->address);
		assert_true(in_ranges(h, b->address, b->address + b->size));
		/* A live block that the walk has not must not be passed over. */
		if (at < t->nblocks)
			assert_true(t->blocks[at].address >= b->address);
		if (at == t->nblocks || t->blocks[at].address != b->address) {
			own += !(b->flags & BLOCK_INTERNAL);
			continue;
		}
		truth = &t->blocks[at++];
		assert_int_equal(b->size, exact_sizes ? truth->requested : truth->usable);
		assert_int_equal(!(b->flags & BLOCK_IMPRECISE), exact_sizes);
		assert_int_equal(b->flags & BLOCK_INTERNAL, 0);
	}
	assert_int_equal(at, t->nblocks);
	return own;
}
