/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can a library be injected into this process, and what is where in it?
 *
 * All of it can be seen without stopping the process, so what will not work is known before anything is touched.
 */
#include "capture/inject_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capture/process.h"
#include "proc/procfs.h"
#include "proc/refusal.h"

static struct seep_error *obstacle(const struct inject_target *t, const char *why, const char *hint)
{
	struct seep_error *err = seep_error_new(0, "cannot inject into process %d (%s): %s",
	                                        (int)t->pid, t->name, why);

	return seep_error_hint(seep_error_set_code(err, ENOTSUP), "%s", hint);
}

static void unsafe_add(struct inject_target *t, const struct dynsym_module *m)
{
	struct borrow_call *c = &t->call;

	for (size_t i = 0; i < c->nunsafe; i++)
		if (c->unsafe[i].start == m->start)
			return;
	if (c->nunsafe < BORROW_RANGES)
		c->unsafe[c->nunsafe++] = (struct borrow_range){ m->start, m->end };
}

/* Who may trace it may open this, and nobody else. */
static struct seep_error *look_at_rights(pid_t pid)
{
	_cleanup_close_ int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? refusal_explain(pid, errno, 0) : NULL;
}

static struct seep_error *look_at_state(struct inject_target *t)
{
	struct procfs_status st;
	struct seep_error *err = refusal_check(t->pid);
	uint64_t start;
	char state;
	int r;

	if (err)
		return err;
	r = procfs_status(t->pid, &st);
	if (r)
		return refusal_explain(t->pid, -r, 0);
	memcpy(t->name, st.name, sizeof(t->name));
	if (st.state == 'T')
		return seep_error_hint(
			seep_error_new(0, "process %d (%s) is stopped (SIGSTOP)", (int)t->pid,
		                       t->name),
			"Its threads have to run to load the tracker: `kill -CONT %d`, then attach.",
			(int)t->pid);
	if (st.seccomp)
		return obstacle(t,
		                "it runs under a seccomp filter, which may kill it for a system call",
		                "Uprobes make none in its name: --bpf.");
	if (st.shstk)
		return obstacle(t, "its threads run with shadow stacks",
		                "Uprobes do not mind: --bpf.");
	if (process_stat(t->pid, &start, &state, &t->threads) < 0)
		t->threads = 2;
	return NULL;
}

/* seep's library, when it is there already. */
static void look_for_library(struct inject_target *t)
{
	uint64_t at;

	const struct dynsym_module *ours = dynsym_where(&t->symbols, ATTACH_STATUS, &at);

	if (!ours)
		return;
	if (!dynsym_memory(&t->symbols, at, &t->status, sizeof(t->status)))
		return;
	t->status_at = at;
	t->request.entry = dynsym_find(&t->symbols, ours, ATTACH_ENTRY);
	t->symbols.skip = ours; /* it exports the functions it stands in front of */
}

/* The C library's own, not that of somebody who stands in front of it. */
static uint64_t function_of(const struct inject_target *t, const struct dynsym_module *libc,
                            const char *name, const char *library)
{
	uint64_t at = dynsym_find(&t->symbols, libc, name);

	for (size_t i = 0; i < t->symbols.n && !at; i++) {
		const char *slash = strrchr(t->symbols.modules[i].path, '/');

		if (slash && strncmp(slash + 1, library, strlen(library)) == 0)
			at = dynsym_find(&t->symbols, &t->symbols.modules[i], name);
	}
	return at;
}

static struct seep_error *look_at_modules(struct inject_target *t)
{
	static const char *const danger[] = { "malloc", "pthread_create", "dlopen",
		                              "_dl_allocate_tls", "__libc_start_main" };
	struct attach_request *rq = &t->request;
	const struct dynsym_module *libc, *m;
	uint64_t at;

	libc = dynsym_where(&t->symbols, "__libc_start_main", &at);
	if (libc && libc->executable)
		libc = NULL;
	if (!libc)
		return obstacle(t, "it is statically linked, or has no C library seep knows",
		                "There is nothing to load a library with; uprobes can watch a malloc "
		                "they find by its symbol: --bpf.");
	if (!dynsym_find(&t->symbols, libc, "gnu_get_libc_version")) {
		/* musl's is its loader, too, and has a variable for debuggers that no other has. */
		if (!dynsym_find(&t->symbols, libc, "_dl_debug_addr"))
			return obstacle(t, "its C library is neither glibc nor musl",
			                "Uprobes need no C library: --bpf.");
		if (!t->request.entry && !inject_library_exists(true))
			return obstacle(
				t, "its C library is musl, and this seep has no tracker for it",
				"It is built where musl-gcc is found; uprobes need none: --bpf.");
		t->musl = t->call.musl = true;
	}
	for (size_t i = 0; i < t->symbols.n; i++) {
		m = &t->symbols.modules[i];
		if (m->executable && dynsym_find(&t->symbols, m, "malloc"))
			return obstacle(t, "it brings its own malloc, linked into the program",
			                "Its calls go there directly, through no pointer that could be "
			                "changed; uprobes see them: --bpf.");
		for (size_t k = 0; k < sizeof(danger) / sizeof(danger[0]); k++)
			if (dynsym_find(&t->symbols, m, danger[k]))
				unsafe_add(t, m);
		if (t->status_at && t->status_at >= m->start && t->status_at < m->end)
			unsafe_add(t, m);
	}
	rq->pthread_create = function_of(t, libc, "pthread_create", "libpthread");
	rq->dlopen = function_of(t, libc, "dlopen", "libdl");
	rq->dlsym = function_of(t, libc, "dlsym", "libdl");
	rq->dlerror = function_of(t, libc, "dlerror", "libdl");
	rq->errno_location = dynsym_find(&t->symbols, libc, "__errno_location");
	/* Before 2.34 dlopen() is in a library of its own, which may not be there. */
	if (!rq->dlopen) {
		rq->dlopen = dynsym_find(&t->symbols, libc, "__libc_dlopen_mode");
		rq->dlsym = dynsym_find(&t->symbols, libc, "__libc_dlsym");
		rq->dlerror = rq->errno_location; /* something to call that does no harm */
	}
	if (!rq->dlopen || !rq->dlsym || !rq->dlerror || !rq->errno_location)
		return obstacle(t, "it has no dlopen()", "Uprobes need none: --bpf.");
	return NULL;
}

struct seep_error *inject_look(pid_t pid, struct inject_target *ret)
{
	struct seep_error *err;

	*ret = (struct inject_target){ .pid = pid, .ledger_fd = -1, .library_fd = -1 };
	err = look_at_state(ret);
	if (!err)
		err = look_at_rights(pid);
	if (!err) {
		err = dynsym_read(pid, &ret->symbols);
		if (err) {
			seep_error_free(err);
			err = refusal_explain(pid, errno ? errno : EPERM, 0);
		}
	}
	if (!err) {
		look_for_library(ret);
		err = look_at_modules(ret);
	}
	return err;
}

void inject_target_release(struct inject_target *t)
{
	dynsym_release(&t->symbols);
	if (t->ledger_fd >= 0)
		close(t->ledger_fd);
	if (t->library_fd >= 0)
		close(t->library_fd);
}
