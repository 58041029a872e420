/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The symbolizer: profile in, symbols out.
 *
 * Frames are many, distinct addresses few (a caller shared by a thousand stacks is a
 * thousand frames in the trie only where the stacks above it differ, but its pc is one).
 * So the frames are sorted by (module, pc), each distinct pair becomes one symbol, and
 * each module's pairs become one job:
 *
 *	frames   f1 f2 f3 f4 f5 ...      sorted by (module, pc)
 *	pairs    [m0:a] [m0:b] [m1:c]    one prof_symbol each
 *	jobs     [ m0: a, b ] [ m1: c ]  run by two threads, biggest first
 *
 * Two threads, because libdw is safe only per handle: a job owns all its handles.
 * Nothing is stored in the profile before every job has ended, so a failure leaves
 * the profile as it was.
 */
#include "sym/sym.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "profile/profile.h"
#include "sym/locate.h"
#include "sym/module.h"
#include "sym/perfmap.h"
#include "sym/symfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS 2
#define MUCH 20 /* a module with a 20th of all frames is worth a word about its missing lines */

struct symbolizer {
	struct sym_options opts;
	struct locator loc;
	struct warnings warnings;
};

static const char *const no_warnings[] = { NULL };

/* ---- options ---------------------------------------------------------- */

static void free_options(struct sym_options *o)
{
	const char *const *dir;

	for (dir = o->debug_dirs; dir && *dir; dir++)
		free((void *)*dir);
	free((void *)o->debug_dirs);
	free((void *)o->sysroot);
}

/* The caller's strings need not outlive the call. */
static bool copy_options(struct sym_options *to, const struct sym_options *from)
{
	const char **dirs;
	size_t n = 0, i;

	*to = *from;
	to->debug_dirs = NULL;
	to->sysroot = NULL;
	if (from->sysroot && !(to->sysroot = strdup(from->sysroot)))
		return false;
	if (!from->debug_dirs)
		return true;
	while (from->debug_dirs[n])
		n++;
	dirs = calloc(n + 1, sizeof(*dirs));
	if (!dirs)
		return false;
	to->debug_dirs = dirs;
	for (i = 0; i < n; i++) {
		dirs[i] = strdup(from->debug_dirs[i]);
		if (!dirs[i])
			return false;
	}
	return true;
}

struct seep_error *symbolizer_new(const struct sym_options *opts, struct symbolizer **ret_sym)
{
	static const struct sym_options none;
	struct symbolizer *s = calloc(1, sizeof(*s));

	if (!s)
		return &seep_error_nomem;
	locator_init(&s->loc, &none);
	if (!copy_options(&s->opts, opts ? opts : &none)) {
		symbolizer_free(s);
		return &seep_error_nomem;
	}
	locator_init(&s->loc, &s->opts);
	if (s->opts.sysroot && s->loc.root_fd < 0) {
		struct seep_error *err =
			seep_error_new(errno, "cannot use %s as system root", s->opts.sysroot);

		symbolizer_free(s);
		return seep_error_hint(err,
		                       "name a directory that holds the recorded machine's files");
	}
	*ret_sym = s;
	return NULL;
}

void symbolizer_free(struct symbolizer *s)
{
	if (!s)
		return;
	locator_release(&s->loc);
	warnings_release(&s->warnings);
	free_options(&s->opts);
	free(s);
}

const char *const *symbolizer_warnings(const struct symbolizer *s)
{
	return s->warnings.list ? (const char *const *)s->warnings.list : no_warnings;
}

/* ---- perf map --------------------------------------------------------- */

/* The pid that the target itself sees, which is what its JIT puts into the name. */
static int inner_pid(int proc_fd, int pid)
{
	_cleanup_fclose_ FILE *status = locate_stream(proc_fd, "status");
	char line[1024];

	while (status && fgets(line, sizeof(line), status)) {
		char *last = strrchr(line, '\t');
		long inner;

		if (strncmp(line, "NSpid:", 6) != 0)
			continue;
		inner = last ? strtol(last, NULL, 10) : 0;
		return inner > 0 && inner <= INT_MAX ? (int)inner : pid;
	}
	return pid;
}

/*
 * /tmp is everybody's: only a map of the target's own user or of root is believed.  Of a target
 * that has ended, the user is the one who owns the recording.
 */
static bool trusted_owner(const struct symbolizer *s, const struct profile *p,
                          const struct stat *map)
{
	struct stat owner;

	if (map->st_uid == 0)
		return true;
	if (s->loc.proc_fd >= 0)
		return fstatat(s->loc.proc_fd, "", &owner, AT_EMPTY_PATH) == 0 &&
		       map->st_uid == owner.st_uid;
	if (p->source && stat(p->source, &owner) == 0 && map->st_uid == owner.st_uid)
		return true;
	return map->st_uid == geteuid();
}

static void open_perfmap(struct symbolizer *s, const struct profile *p, struct perfmap *map)
{
	bool live = s->loc.proc_fd >= 0;
	int pid = live ? inner_pid(s->loc.proc_fd, s->opts.pid) : p->pid;
	char path[64];
	struct stat st;
	int fd, r;

	if (pid <= 0)
		return;
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", pid);
	fd = locate_open(&s->loc, path, s->loc.root_fd >= 0);
	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0) {
		close(fd);
		return;
	}
	if (!trusted_owner(s, p, &st)) {
		warnings_add(&s->warnings, "%s belongs to another user (%u): not used", path,
		             (unsigned int)st.st_uid);
	} else if (!live && p->start_real_ns &&
	           (uint64_t)st.st_mtim.tv_sec + 1 < p->start_real_ns / 1000000000u) {
		warnings_add(&s->warnings,
		             "%s is older than the recording, of an earlier process %d: not used",
		             path, pid);
	} else {
		r = perfmap_read(map, fd);
		if (r < 0)
			warnings_add(&s->warnings, "%s cannot be read: %s", path, strerror(-r));
		else if (map->bad_lines)
			warnings_add(&s->warnings, "%s: %zu damaged lines skipped", path,
			             map->bad_lines);
	}
	close(fd);
}

/* ---- jobs ------------------------------------------------------------- */

struct pair {
	uint64_t pc;
	uint32_t module, frame;
};

static int by_module_pc(const void *va, const void *vb)
{
	const struct pair *a = va, *b = vb;

	if (a->module != b->module)
		return a->module < b->module ? -1 : 1;
	if (a->pc != b->pc)
		return a->pc < b->pc ? -1 : 1;
	return 0;
}

struct run {
	struct symbolizer *s;
	struct module_job *jobs;
	struct module_job **order; /* biggest first */
	size_t njobs, total;
	const struct perfmap *perf;
	atomic_size_t next, done;
	pthread_t main_thread;
};

static void note_done(void *arg, size_t n)
{
	struct run *r = arg;
	size_t done = atomic_fetch_add(&r->done, n) + n;

	if (r->s->opts.progress && pthread_equal(pthread_self(), r->main_thread))
		r->s->opts.progress(r->s->opts.progress_arg, (unsigned int)done,
		                    (unsigned int)r->total);
}

static void *work(void *arg)
{
	struct run *r = arg;
	size_t i;

	while ((i = atomic_fetch_add(&r->next, 1)) < r->njobs)
		module_run(r->order[i], &r->s->loc, r->perf, note_done, r);
	return NULL;
}

static int biggest_first(const void *va, const void *vb)
{
	const struct module_job *a = *(struct module_job *const *)va,
				*b = *(struct module_job *const *)vb;

	return a->n > b->n ? -1 : a->n < b->n;
}

static struct seep_error *run_jobs(struct run *r)
{
	pthread_t helpers[THREADS - 1];
	size_t nhelpers = 0, i;

	r->order = calloc(r->njobs + 1, sizeof(struct module_job *));
	if (!r->order)
		return &seep_error_nomem;
	for (i = 0; i < r->njobs; i++)
		r->order[i] = &r->jobs[i];
	qsort(r->order, r->njobs, sizeof(struct module_job *), biggest_first);
	r->main_thread = pthread_self();
	while (nhelpers < THREADS - 1 && nhelpers + 1 < r->njobs &&
	       pthread_create(&helpers[nhelpers], NULL, work, r) == 0)
		nhelpers++;
	work(r);
	for (i = 0; i < nhelpers; i++)
		pthread_join(helpers[i], NULL);
	if (r->s->opts.progress)
		r->s->opts.progress(r->s->opts.progress_arg, (unsigned int)r->total,
		                    (unsigned int)r->total);
	for (i = 0; i < r->njobs; i++)
		if (r->jobs[i].err)
			return r->jobs[i].err;
	return NULL;
}

/* ---- what the user should know ---------------------------------------- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* One line for all jobs that `has` picks: "a, b, c and 4 more". */
static void summarise(struct run *r, bool (*has)(const struct module_job *, size_t total_frames),
                      size_t total_frames, const char *text)
{
	char names[512];
	size_t n = 0, len = 0, i;

	for (i = 0; i < r->njobs; i++) {
		const struct module_job *job = r->order[i];

		if (!job->module || !has(job, total_frames))
			continue;
		if (n++ < 3)
			len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%.120s",
			                        len ? ", " : "", base_name(job->module->path));
	}
	if (n > 3)
		snprintf(names + len, sizeof(names) - len, " and %zu more", n - 3);
	if (n)
		warnings_add(&r->s->warnings, "%s: %s", names, text);
}

static bool is_missing(const struct module_job *job, size_t total)
{
	return job->is_missing && !job->warnings.n;
}

static bool is_unverified(const struct module_job *job, size_t total)
{
	return job->is_unverified;
}

static bool is_without_lines(const struct module_job *job, size_t total)
{
	return job->has_no_lines && job->nframes * MUCH >= total;
}

static void warn_summary(struct run *r, size_t total_frames)
{
	size_t i;

	summarise(r, is_missing, total_frames,
	          "not found on this machine, so the functions stay unknown; use the sysroot option to name "
	          "a copy of the recorded system, or set DEBUGINFOD_URLS");
	for (i = 0; i < r->njobs; i++)
		r->jobs[i].is_missing = false;
	summarise(
		r, is_without_lines, total_frames,
		"no line numbers; compile with -g, install the debug packages or set DEBUGINFOD_URLS");
	summarise(r, is_unverified, total_frames,
	          "recorded without a build-id or file time, so the symbols are those of the files as they "
	          "are now");
}

/* ---- the run ---------------------------------------------------------- */

static void free_symbols(struct prof_symbol *symbols, size_t n)
{
	size_t i, j;

	for (i = 0; i < n; i++) {
		for (j = 0; j < symbols[i].nlines; j++) {
			free(symbols[i].lines[j].function);
			free(symbols[i].lines[j].linkage);
			free(symbols[i].lines[j].file);
		}
		free(symbols[i].lines);
	}
	free(symbols);
}

/* Pairs of all frames without a symbol, sorted. */
static struct pair *collect(const struct profile *p, size_t *ret_n)
{
	struct pair *pairs = malloc((p->nframes + 1) * sizeof(*pairs));
	size_t n = 0, i;

	if (!pairs)
		return NULL;
	for (i = 1; i < p->nframes; i++) {
		const struct prof_frame *f = &p->frames[i];

		if (f->symbol)
			continue;
		pairs[n].pc = f->pc;
		pairs[n].module = f->module < p->nmodules ? f->module : PROF_NO_MODULE;
		pairs[n++].frame = (uint32_t)i;
	}
	qsort(pairs, n, sizeof(*pairs), by_module_pc);
	*ret_n = n;
	return pairs;
}

static bool same_pair(const struct pair *a, const struct pair *b)
{
	return a->module == b->module && a->pc == b->pc;
}

static bool wants_perfmap(const struct run *r)
{
	size_t i;

	for (i = 0; i < r->njobs; i++)
		if (!r->jobs[i].module || !locate_is_file(r->jobs[i].module->path) ||
		    !strncmp(r->jobs[i].module->path, "/memfd:", 7))
			return true;
	return false;
}

static void make_jobs(struct run *r, const struct profile *p, const struct pair *pairs, size_t n,
                      uint64_t *pcs, struct prof_symbol *symbols)
{
	size_t i, u = 0;
	struct module_job *job = NULL;

	for (i = 0; i < n; i++) {
		if (!i || pairs[i].module != pairs[i - 1].module) {
			uint32_t m = pairs[i].module;

			job = &r->jobs[r->njobs++];
			job->module = m == PROF_NO_MODULE ? NULL : &p->modules[m];
			job->pcs = pcs + u;
			job->symbols = symbols + u;
		}
		job->nframes++;
		if (i && same_pair(&pairs[i], &pairs[i - 1]))
			continue;
		pcs[u++] = pairs[i].pc;
		job->n++;
	}
}

static struct seep_error *store(struct profile *p, const struct pair *pairs, size_t n,
                                struct prof_symbol *symbols, size_t nsymbols)
{
	struct prof_symbol *all = realloc(p->symbols, (p->nsymbols + nsymbols) * sizeof(*all));
	size_t i, u = p->nsymbols - 1;

	if (!all)
		return &seep_error_nomem;
	p->symbols = all;
	memcpy(all + p->nsymbols, symbols, nsymbols * sizeof(*all));
	for (i = 0; i < n; i++) {
		u += !i || !same_pair(&pairs[i], &pairs[i - 1]);
		p->frames[pairs[i].frame].symbol = (uint32_t)u;
	}
	p->nsymbols += nsymbols;
	return NULL;
}

struct seep_error *symbolizer_run(struct symbolizer *s, struct profile *p)
{
	struct run r = { .s = s };
	struct perfmap perf = { 0 };
	_cleanup_free_ struct pair *pairs = NULL;
	_cleanup_free_ uint64_t *pcs = NULL;
	struct prof_symbol *symbols = NULL;
	struct seep_error *err = NULL;
	size_t n, i;

	if (!p->nsymbols)
		return seep_error_new(0, "the profile has no symbol table to fill");
	pairs = collect(p, &n);
	if (!pairs)
		return &seep_error_nomem;
	for (i = 0; i < n; i++)
		r.total += !i || !same_pair(&pairs[i], &pairs[i - 1]);
	if (!r.total)
		return NULL;
	if (r.total > UINT32_MAX - p->nsymbols)
		return seep_error_new(0, "%s has more addresses than symbols can be counted",
		                      p->source ? p->source : "the profile");
	pcs = malloc(r.total * sizeof(*pcs));
	symbols = calloc(r.total, sizeof(*symbols));
	r.jobs = calloc(p->nmodules + 1, sizeof(*r.jobs));
	if (!pcs || !symbols || !r.jobs) {
		err = &seep_error_nomem;
		goto out;
	}
	make_jobs(&r, p, pairs, n, pcs, symbols);
	if (wants_perfmap(&r)) {
		open_perfmap(s, p, &perf);
		r.perf = &perf;
	}
	err = run_jobs(&r);
	if (!err)
		err = store(p, pairs, n, symbols, r.total);
	if (!err) {
		free(symbols); /* their content is the profile's now */
		symbols = NULL;
		warn_summary(&r, n);
	}
	for (i = 0; i < r.njobs; i++)
		warnings_move(&s->warnings, &r.jobs[i].warnings);
out:
	for (i = 0; i < r.njobs; i++)
		if (r.jobs[i].err && r.jobs[i].err != err)
			seep_error_free(r.jobs[i].err);
	if (symbols)
		free_symbols(symbols, r.total);
	free(r.jobs);
	free(r.order);
	perfmap_release(&perf);
	return err;
}
