/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serving the checks of a run.
 *
 * A request comes from a thread that waits for the reply while its process is in a known state: it is
 * about to end, or it asked.  Its other threads are stopped here, the image is read in place (nothing
 * needs the process to go on soon), and the reply lets it go.  If this process dies, the connection
 * breaks and the target goes on.
 *
 * One request at a time: processes of a run that end together are checked one after the other.
 */
#include "cli/run_check.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "capture/capture.h"
#include "proc/image.h"
#include "sym/find.h"
#include "wire/check.h"

#define DRAIN_STEPS 25
#define DRAIN_STEP_MS 20    /* half a second without anybody asking */
#define SOCKET_TIMEOUT_S 10 /* for what a connected tracker still has to send */

/* The blocks that were lost at a moment of a process: at exit() before its destructors, or when a local check began. */
struct run_check_lost {
	pid_t pid;
	char name[sizeof(((struct check_request *)0)->name)]; /* "" the exit's */
	struct check_lost set;
};

/* ---- options ---------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum check_mode mode;
} mode_names[] = {
	{ "minimal", CHECK_MODE_MINIMAL }, { "normal", CHECK_MODE_NORMAL },
	{ "strict", CHECK_MODE_STRICT },   { "draconian", CHECK_MODE_DRACONIAN },
	{ "as-is", CHECK_MODE_AS_IS },     { "local", CHECK_MODE_LOCAL },
};

void run_check_init(struct run_check *c)
{
	memset(c, 0, sizeof(*c));
	check_cli_init(&c->cli);
	c->fd = -1;
}

size_t run_check_options(struct run_check *c, struct cli_option *rows)
{
	const struct cli_option own[] = {
		{ CLI_FLAG, 0, "check", &c->check, NULL,
		  "look for leaks when a process ends, and where the program asks (seep.h)", false,
		  NULL },
		{ CLI_STRING, 0, "heapcheck", &c->heapcheck, "MODE",
		  "the same by gperftools' names: minimal, normal, strict, draconian, local or as-is",
		  false, NULL },
		{ CLI_STRING, 0, "check-at", &c->at, "WHEN",
		  "exit: before exit handlers and destructors; end: after them (default); or both",
		  false, NULL },
		{ CLI_STRING, 0, "check-from", &c->from, "WHEN",
		  "start (default), or main: leave out what constructors allocated", false, NULL },
		{ CLI_STRING, 0, "check-json", &c->cli.json_file, "FILE",
		  "write the checks as JSON (docs/CHECK-JSON.md)", false, NULL },
		{ CLI_STRING, 0, "log-file", &c->cli.output, "FILE",
		  "write the checks' text there (default: stderr)", false, NULL },
	};
	size_t n = check_cli_options(&c->cli, rows);

	memcpy(rows + n, own, sizeof(own));
	return n + ARRAY_SIZE(own);
}

static struct seep_error *find_mode(const char *origin, const char *name, enum check_mode *ret_mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(mode_names); i++) {
		if (!strcmp(mode_names[i].name, name)) {
			*ret_mode = mode_names[i].mode;
			return NULL;
		}
	}
	return seep_error_hint(seep_error_new(0, "%s cannot be '%s'", origin, name),
	                       "It is minimal, normal, strict, draconian, local or as-is.");
}

static struct seep_error *resolve_moments(struct run_check *c)
{
	switch (c->mode) {
	case CHECK_MODE_NONE:
	case CHECK_MODE_LOCAL:
		break;
	case CHECK_MODE_MINIMAL:
		c->minimal = true;
		c->at_exit = true;
		break;
	case CHECK_MODE_NORMAL:
		c->at_exit = true;
		break;
	case CHECK_MODE_STRICT:
		c->at_exit = c->at_end = true;
		break;
	case CHECK_MODE_DRACONIAN:
		c->at_end = c->draconian = true;
		break;
	case CHECK_MODE_PLAIN:
	case CHECK_MODE_AS_IS:
		c->at_end = true;
		break;
	}
	if (c->at) {
		c->at_exit = !strcmp(c->at, "exit") || !strcmp(c->at, "both");
		c->at_end = !strcmp(c->at, "end") || !strcmp(c->at, "both");
		if (!c->at_exit && !c->at_end)
			return seep_error_hint(seep_error_new(0, "--check-at cannot be '%s'", c->at),
			                       "It is exit, end or both.");
	}
	if (c->from) {
		c->minimal = !strcmp(c->from, "main");
		if (!c->minimal && strcmp(c->from, "start") != 0)
			return seep_error_hint(seep_error_new(0, "--check-from cannot be '%s'",
			                                      c->from),
			                       "It is start or main.");
	}
	return NULL;
}

struct seep_error *run_check_resolve(struct run_check *c)
{
	const char *env = getenv("HEAPCHECK");
	struct seep_error *err = NULL;
	bool by_mode = true;

	if (c->heapcheck)
		err = find_mode("--heapcheck", c->heapcheck, &c->mode);
	else if (c->check || c->at || c->from)
		c->mode = CHECK_MODE_PLAIN, by_mode = false;
	else if (env && *env)
		err = find_mode("HEAPCHECK", env, &c->mode);
	if (err || c->mode == CHECK_MODE_NONE)
		return err;
	/* As a program under gperftools' checker does: leaks make the exit status 1. */
	if (by_mode && !c->cli.error_exitcode_given && !c->cli.fail_on)
		c->cli.error_exitcode_given = true;
	err = resolve_moments(c);
	if (!err)
		err = check_cli_resolve(&c->cli);
	if (!err && c->cli.output && truncate(c->cli.output, 0) < 0 && errno != ENOENT)
		err = seep_error_new(errno, "cannot write %s", c->cli.output);
	return err;
}

const char *run_check_tracker_options(const struct run_check *c)
{
	static const char *const options[2][2][2] = {
		{ { "check=local", "check=end" }, { "check=exit", "check=exit+end" } },
		{ { "check=local,minimal=1", "check=end,minimal=1" },
		  { "check=exit,minimal=1", "check=exit+end,minimal=1" } },
	};

	return c->mode == CHECK_MODE_NONE ? "" : options[c->minimal][c->at_exit][c->at_end];
}

/* ---- the socket ---------------------------------------------------------------------- */

struct seep_error *run_check_listen(struct run_check *c, const char *dir)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CHECK_SOCKET, dir);

	if (c->mode == CHECK_MODE_NONE)
		return NULL;
	if (n < 0 || (size_t)n >= sizeof(address.sun_path))
		return seep_error_hint(seep_error_new(ENAMETOOLONG, "cannot make a socket in %s",
		                                      dir),
		                       "Give a --ledger-dir with a shorter path.");
	c->dir = dir;
	c->path = strdup(address.sun_path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (!c->path)
		return &seep_error_nomem;
	if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(c->fd, 128) < 0)
		return seep_error_new(errno, "cannot make the socket %s", c->path);
	return NULL;
}

static bool receive(int fd, void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = recv(fd, (char *)buf + done, len - done, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

static bool answer(int fd, const struct check_reply *reply)
{
	return send(fd, reply, sizeof(*reply), MSG_NOSIGNAL) == (ssize_t)sizeof(*reply);
}

/* ---- what the program says of itself -------------------------------------------------- */

/* Lets the program call its own `name`, which returns a text; *ret_text is malloc'ed, NULL when it has no such function. */
static void ask_text(int fd, const struct image *img, const char *name, char **ret_text)
{
	struct check_reply reply = { .magic = CHECK_MAGIC, .kind = CHECK_REPLY_STRING };
	struct check_string head;
	_cleanup_free_ char *text = NULL;

	*ret_text = NULL;
	for (size_t i = 0; i < img->nmodules && !reply.address; i++) {
		const struct image_module *m = &img->modules[i];
		uint64_t vaddr;

		if (m->path[0] == '/' && sym_find_function(m->path, img->pid, name, &vaddr))
			reply.address = m->bias + vaddr;
	}
	if (!reply.address || !answer(fd, &reply) || !receive(fd, &head, sizeof(head)) ||
	    head.magic != CHECK_MAGIC || head.length > CHECK_STRING_MAX)
		return;
	text = malloc(head.length + 1);
	if (!text || !receive(fd, text, head.length))
		return;
	text[head.length] = '\0';
	*ret_text = TAKE(text);
}

/* ---- one request -------------------------------------------------------------------------- */

static struct run_check_lost *lost_of(struct run_check *c, pid_t pid, const char *name)
{
	for (size_t i = 0; i < c->nlost; i++)
		if (c->lost[i].pid == pid && !strcmp(c->lost[i].name, name))
			return &c->lost[i];
	return NULL;
}

static struct seep_error *remember_lost(struct run_check *c, pid_t pid, const char *name,
                                        struct check_lost *take)
{
	struct run_check_lost *l = lost_of(c, pid, name);

	if (!l) {
		l = realloc(c->lost, (c->nlost + 1) * sizeof(*l));
		if (!l)
			return &seep_error_nomem;
		c->lost = l;
		l = &c->lost[c->nlost++];
		memset(l, 0, sizeof(*l));
		l->pid = pid;
		snprintf(l->name, sizeof(l->name), "%s", name);
	}
	free(l->set.addresses);
	l->set = *take;
	*take = (struct check_lost){ 0 };
	return NULL;
}

static enum check_moment moment_of(uint32_t kind)
{
	switch (kind) {
	case CHECK_REQ_EXIT:
		return CHECK_EXIT;
	case CHECK_REQ_END:
		return CHECK_END;
	case CHECK_REQ_LOCAL_END:
		return CHECK_LOCAL;
	default:
		return CHECK_REQUESTED;
	}
}

/* The thread that waits for us; in a pid namespace of its own it has another number here. */
static int32_t waiting_thread(const struct image *img, const struct check_request *rq)
{
	for (size_t i = 0; i < img->nthreads; i++)
		if (img->threads[i].tid == rq->tid)
			return rq->tid;
	for (size_t i = 0; i < img->nthreads; i++) {
		const struct image_map *m = image_map_of(img, img->threads[i].sp);

		if (m && rq->sp >= img->threads[i].sp && rq->sp <= m->end)
			return img->threads[i].tid;
	}
	return img->nthreads ? img->threads[0].tid : 0;
}

static struct seep_error *keep(struct run_check *c, struct check **take)
{
	struct check **grown = realloc(c->checks, (c->nchecks + 1) * sizeof(*grown));

	if (!grown)
		return &seep_error_nomem;
	c->checks = grown;
	c->checks[c->nchecks++] = TAKE(*take);
	return NULL;
}

static struct seep_error *compiled_in(struct run_check *c, int fd, const struct image *img)
{
	_cleanup_free_ char *text = NULL;
	struct seep_error *err = NULL;

	ask_text(fd, img, "__lsan_default_suppressions", &text);
	if (text)
		err = suppressions_add_text(c->cli.suppressions, text, strlen(text),
		                            "__lsan_default_suppressions()");
	return err;
}

static bool asked_before(const struct run_check *c, pid_t pid)
{
	for (size_t i = 0; i < c->nchecks; i++)
		if (c->checks[i]->pid == pid)
			return true;
	return false;
}

static struct seep_error *make(struct run_check *c, pid_t pid, const struct check_request *rq,
                               int fd, struct check_reply *reply)
{
	const struct image_options live = { .clone = false };
	_cleanup_image_ struct image *img = NULL;
	_cleanup_check_ struct check *check = NULL;
	_cleanup_free_ char *ledger = NULL;
	const struct run_check_lost *before = NULL;
	struct roots_options exit = { .exit_sp = rq->sp,
		                      .exit_words = rq->words,
		                      .nexit_words = rq->nwords };
	struct check_options o = { .exit = &exit, .moment = moment_of(rq->kind) };
	struct check_failures f;
	struct seep_error *err = ledger_find(pid, c->dir, &ledger);

	if (!err && !asked_before(c, pid)) {
		/* A first image, for its modules; the process must run to answer. */
		err = image_open_process(pid, &live, &img);
		if (!err)
			err = image_resume(img);
		if (!err)
			err = compiled_in(c, fd, img);
		image_free(img);
		img = NULL;
	}
	if (!err)
		err = image_open_process(pid, &live, &img);
	if (err)
		return err;
	exit.exit_tid = waiting_thread(img, rq);
	check_cli_apply(&c->cli, &o);
	o.ledger = ledger;
	o.recorded_only = c->minimal;
	o.draconian = c->draconian && rq->kind == CHECK_REQ_END;
	if (rq->kind == CHECK_REQ_LOCAL_END) {
		o.name = rq->name;
		before = lost_of(c, pid, rq->name);
	} else if (rq->kind == CHECK_REQ_END) {
		before = lost_of(c, pid, ""); /* what exit() has shown is not shown twice */
	}
	o.before = before ? &before->set : NULL;
	err = check_make(img, &o, &check);
	image_free(TAKE(img)); /* its threads may go on while we write */
	if (err)
		return err;
	if (rq->kind == CHECK_REQ_LOCAL_BEGIN)
		return remember_lost(c, pid, rq->name, &check->lost);
	if (rq->kind == CHECK_REQ_EXIT)
		err = remember_lost(c, pid, "", &check->lost);
	f = check_failures(check,
	                   c->cli.fail ? c->cli.fail : 1u << REACH_DEFINITE | 1u << REACH_POSSIBLE);
	reply->leaked_blocks = f.blocks;
	reply->leaked_bytes = f.bytes;
	if (!err)
		err = check_cli_show(&c->cli, check, STDERR_FILENO);
	return err ? err : keep(c, &check);
}

static bool valid(struct check_request *rq)
{
	if (rq->magic != CHECK_MAGIC || rq->protocol != CHECK_PROTOCOL ||
	    rq->kind < CHECK_REQ_EXIT || rq->kind > CHECK_REQ_LOCAL_END || rq->nwords > CHECK_WORDS)
		return false;
	rq->name[sizeof(rq->name) - 1] = '\0';
	return true;
}

void run_check_serve(struct run_check *c, pid_t target)
{
	const struct timeval patience = { .tv_sec = SOCKET_TIMEOUT_S };
	struct check_reply reply = { .magic = CHECK_MAGIC, .kind = CHECK_REPLY_GO, .status = -1 };
	_cleanup_close_ int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
	socklen_t len = sizeof(struct ucred);
	struct check_request rq;
	struct seep_error *err;
	struct ucred peer;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!receive(fd, &rq, sizeof(rq)) || !valid(&rq))
		return;
	err = make(c, peer.pid, &rq, fd, &reply);
	if (err) {
		c->failed++;
		cli_fail("run", seep_error_wrap(err, "process %d could not be checked for leaks",
		                                (int)peer.pid));
	} else if (rq.kind == CHECK_REQ_EXIT || rq.kind == CHECK_REQ_END) {
		c->ended++;
		c->target_ended |= peer.pid == target;
	}
	answer(fd, &reply);
}

static size_t alive_in(const char *dir)
{
	struct ledger_entry *entries = NULL;
	size_t n = 0, alive = 0;
	struct seep_error *err = ledger_list(dir, &entries, &n);

	seep_error_free(err);
	for (size_t i = 0; !err && i < n; i++)
		alive += entries[i].alive;
	ledger_list_free(entries, err ? 0 : n);
	return alive;
}

void run_check_drain(struct run_check *c, pid_t pid)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };

	for (int quiet = 0; c->fd >= 0 && quiet < DRAIN_STEPS; quiet++) {
		if (poll(&pfd, 1, 0) > 0 || (alive_in(c->dir) && poll(&pfd, 1, DRAIN_STEP_MS) > 0)) {
			run_check_serve(c, pid);
			quiet = -1;
		} else if (!alive_in(c->dir)) {
			break;
		}
	}
}

/* ---- the end -------------------------------------------------------------------------------- */

struct seep_error *run_check_finish(struct run_check *c)
{
	struct seep_error *err = NULL;

	if (c->mode == CHECK_MODE_NONE)
		return NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	if (c->path)
		unlink(c->path);
	err = check_cli_finish(&c->cli, c->checks, c->nchecks, STDERR_FILENO);
	return err;
}

bool run_check_made(const struct run_check *c, pid_t pid)
{
	for (size_t i = 0; i < c->nchecks; i++)
		if (c->checks[i]->pid == pid &&
		    (c->checks[i]->moment == CHECK_EXIT || c->checks[i]->moment == CHECK_END))
			return true;
	return false;
}

bool run_check_fails(const struct run_check *c)
{
	return c->mode != CHECK_MODE_NONE && check_cli_fails(&c->cli, c->checks, c->nchecks);
}

void run_check_release(struct run_check *c)
{
	for (size_t i = 0; i < c->nchecks; i++)
		check_free(c->checks[i]);
	free(c->checks);
	for (size_t i = 0; i < c->nlost; i++)
		free(c->lost[i].set.addresses);
	free(c->lost);
	if (c->fd >= 0)
		close(c->fd);
	if (c->path)
		unlink(c->path);
	free(c->path);
	check_cli_release(&c->cli);
	c->fd = -1;
	c->path = NULL;
}
