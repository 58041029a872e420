/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting the parts together, and taking them apart in the other order: what gives work goes before what does it, what is
 * waited for after who waits.
 */
#include "server/server.h"

#include "server/events.h"
#include "server/http.h"
#include "server/jobs.h"
#include "server/joints.h"
#include "server/listen.h"
#include "server/private.h"
#include "server/profiles.h"
#include "server/recorder.h"
#include "server/work.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "proc/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#define WORKERS 4
#define WAITING 256
#define ANSWERS (64u << 20)
#define PROFILES (256u << 20)

int64_t server_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void server_log(struct server *s, const char *fmt, ...)
{
	_cleanup_buf_ struct buf text = { 0 };
	va_list ap;

	if (!s->o.log)
		return;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (text.data)
		s->o.log(s->o.log_arg, text.data);
}

void server_store_state(struct server *s, struct seep_error *err)
{
	bool news;

	pthread_mutex_lock(&s->lock);
	news = err && (!s->store_error || strcmp(s->store_error, err->message) != 0);
	if (news || !err) {
		free(s->store_error);
		s->store_error = err ? strdup(err->message) : NULL;
	}
	pthread_mutex_unlock(&s->lock);
	if (news)
		server_log(s, "%s", err->message);
	seep_error_free(err);
}

/* Descriptors: one for each ledger and connection.  No core of ours: it would hold what we have read. */
static void set_limits(void)
{
	struct rlimit files, none = { 0, 0 };

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	setrlimit(RLIMIT_CORE, &none);
}

/* What a server before this one left there, if it was killed. */
static struct seep_error *make_tmp(struct server *s)
{
	struct buf path = { 0 };
	struct dirent *d;
	DIR *dir;

	buf_printf(&path, "%s/tmp", s->o.data);
	s->tmp = buf_steal(&path);
	if (!s->tmp)
		return &seep_error_nomem;
	if (mkdir(s->tmp, 0700) < 0 && errno != EEXIST)
		return seep_error_new(errno, "cannot make the directory %s", s->tmp);
	dir = opendir(s->tmp);
	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.')
			unlinkat(dirfd(dir), d->d_name, 0);
	if (dir)
		closedir(dir);
	return NULL;
}

static void read_boot(struct server *s)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (procfs_read_file("/proc/sys/kernel/random/boot_id", 64, &b) < 0 || !b.data)
		return;
	snprintf(s->boot, sizeof(s->boot), "%.36s", b.data);
}

static struct seep_error *make_guard(struct server *s)
{
	s->guard.hosts = s->o.hosts;
	s->guard.nhosts = s->o.nhosts;
	if (gethostname(s->guard.hostname, sizeof(s->guard.hostname) - 1) < 0)
		s->guard.hostname[0] = '\0';
	s->loopback = listen_is_loopback(s->o.address);
	if ((s->o.token || !s->loopback) && !guard_make_token(s->guard.token))
		return seep_error_new(errno, "cannot make a token");
	return NULL;
}

static struct seep_error *make_parts(struct server *s)
{
	const struct store_options writing = {
		.limit_bytes = s->o.max_size ? s->o.max_size + s->o.max_size / 4 : 0
	};
	const struct store_options reading = { .readonly = true };
	struct seep_error *err;

	/* The port first: who starts a second server wants to hear of that, not of the store. */
	err = http_new(s, s->o.address, s->o.port, &s->http, &s->guard.port);
	if (!err)
		err = store_open(s->o.data, &writing, &s->store);
	if (!err)
		err = store_open(s->o.data, &reading, &s->reader);
	if (!err)
		err = make_tmp(s);
	if (!err)
		err = make_guard(s);
	if (err)
		return err;
	s->events = events_new();
	s->profiles = profiles_new(s, PROFILES);
	s->joints = s->profiles ? joints_new(s->profiles) : NULL;
	s->work = work_new(s, WORKERS, WAITING, ANSWERS);
	s->jobs = jobs_new(s);
	if (!s->events || !s->profiles || !s->joints || !s->work || !s->jobs)
		return &seep_error_nomem;
	return recorder_new(s, &s->recorder);
}

struct seep_error *server_new(const struct server_options *opts, struct server **ret_server)
{
	struct server *s = calloc(1, sizeof(*s));
	struct seep_error *err;

	if (!s)
		return &seep_error_nomem;
	s->o = *opts;
	if (!s->o.address)
		s->o.address = "127.0.0.1";
	s->stop_fd[0] = s->stop_fd[1] = -1;
	pthread_mutex_init(&s->lock, NULL);
	s->started_ms = server_now_ms();
	read_boot(s);
	set_limits();
	if (pipe2(s->stop_fd, O_CLOEXEC | O_NONBLOCK) < 0)
		err = seep_error_new(errno, "cannot make a pipe");
	else
		err = make_parts(s);
	if (err)
		server_free(s);
	else
		*ret_server = s;
	return err;
}

uint16_t server_port(const struct server *s)
{
	return s->guard.port;
}

const char *server_token(const struct server *s)
{
	return s->guard.token;
}

void server_run(struct server *s)
{
	struct pollfd stop = { .fd = s->stop_fd[0], .events = POLLIN };

	http_start(s->http);
	recorder_start(s->recorder);
	while (poll(&stop, 1, -1) <= 0)
		;
}

void server_stop(struct server *s)
{
	char c = 0;

	/* A full pipe says the same. */
	if (write(s->stop_fd[1], &c, 1) < 0)
		return;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	recorder_stop(s->recorder);
	if (s->events)
		events_stop(s->events);
	/* Requests are answered until http is gone, from what is all there until then. */
	if (s->jobs)
		jobs_stop(s->jobs);
	if (s->work)
		work_stop(s->work);
	http_free(s->http);
	jobs_free(s->jobs);
	work_free(s->work);
	recorder_free(s->recorder);
	joints_free(s->joints);
	profiles_free(s->profiles);
	events_free(s->events);
	store_close(s->reader);
	store_close(s->store);
	free(s->tmp);
	free(s->store_error);
	for (size_t i = 0; i < 2; i++)
		if (s->stop_fd[i] >= 0)
			close(s->stop_fd[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
