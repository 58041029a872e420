/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots that programs ask for (seep_snapshot()): the socket's side of src/wire/snap.h.
 *
 * A request is served at once and by itself: the program's thread waits.  Whoever connects and says nothing is given
 * up after a moment, for signals and triggers wait meanwhile.
 */
#include "cli/snap_cli.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "wire/snap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define PATIENCE_S 2 /* for what a connected program still has to send */

/* The socket's address; a directory with a long path is reached through a descriptor, which *ret_dir holds open. */
static bool address_of(const char *dir, const char *name, struct sockaddr_un *ret_address,
                       int *ret_dir)
{
	size_t size = sizeof(ret_address->sun_path);
	int n = snprintf(ret_address->sun_path, size, "%s/%s", dir, name);

	ret_address->sun_family = AF_UNIX;
	*ret_dir = -1;
	if (n > 0 && (size_t)n < size)
		return true;
	*ret_dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(ret_address->sun_path, size, "/proc/self/fd/%d/%s", *ret_dir, name);
	return *ret_dir >= 0;
}

struct seep_error *snap_cli_listen(struct snap_cli *c, const char *dir, pid_t pid)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	_cleanup_close_ int dirfd = -1;
	struct sockaddr_un address;
	char name[32] = SNAP_SOCKET;

	if (pid)
		snprintf(name, sizeof(name), "snap.%d.sock", (int)pid);
	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return &seep_error_nomem;
	}
	if (fd < 0 || !address_of(dir, name, &address, &dirfd))
		return seep_error_new(errno, "cannot make the socket %s", path);
	/* One that nobody listens to any more is what a killed seep left. */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == EADDRINUSE &&
		    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
		    errno == ECONNREFUSED)
			unlink(path);
		if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			return seep_error_new(errno, "cannot make the socket %s", path);
	}
	if (listen(fd, 128) < 0) {
		unlink(path);
		return seep_error_new(errno, "cannot listen to the socket %s", path);
	}
	c->socket = TAKE(path);
	c->listening = TAKE_FD(fd);
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

void snap_cli_serve(struct snap_cli *c)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	struct snap_reply reply = { .magic = SNAP_MAGIC };
	_cleanup_close_ int fd = accept4(c->listening, NULL, NULL, SOCK_CLOEXEC);
	socklen_t len = sizeof(struct ucred);
	struct snap_request rq;
	struct seep_error *err;
	struct ucred peer;
	char reason[sizeof(rq.name) + 8];

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!receive(fd, &rq, sizeof(rq)) || rq.magic != SNAP_MAGIC || rq.protocol != SNAP_PROTOCOL)
		return;
	rq.name[sizeof(rq.name) - 1] = '\0';
	snprintf(reason, sizeof(reason), "api%s%s", rq.name[0] ? " " : "", rq.name);
	err = c->snapper ? snapper_take(c->snapper, peer.pid, reason, NULL) : NULL;
	if (err || !c->snapper)
		reply.status = -1;
	if (err) {
		c->failed++;
		cli_fail(c->command, err);
	}
	(void)!send(fd, &reply, sizeof(reply), MSG_NOSIGNAL);
}

void snap_cli_deafen(struct snap_cli *c)
{
	if (c->listening >= 0)
		close(TAKE_FD(c->listening));
	if (c->socket)
		unlink(c->socket);
	free(TAKE(c->socket));
}
