/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service [--port N]: a small multi-threaded HTTP service with the memory troubles of large ones.
 *
 *     /        a plain answer
 *     /leak    loses 1 MB for each call: handle_leak, session_open, session_buffer_new
 *     /cache   ?key=NAME; a bounded cache: grows to 4 MB, then stays there
 *     /burst   many threads allocate 80 MB and free nearly all of it
 *     /spin    allocates in a loop until the process is killed
 *
 * It listens on the loopback interface only.  Port 0 lets the kernel choose; the address is printed as
 * the first line of output.  A fixed number of workers share the listening socket: each accepts one
 * connection, answers it, closes it.  The main thread waits for SIGTERM or SIGINT; shutting
 * the socket down then makes every accept() return, the workers finish what they have, and the process
 * ends by itself with status 0.
 */
#include "burst.h"
#include "cache.h"
#include "http.h"
#include "session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 4
#define MEGABYTE (1024u * 1024)

static atomic_bool stopping;
static int listener = -1;

static void handle_root(int connection, const struct http_request *request)
{
	(void)request;
	http_reply(connection, 200, "hello; try /leak /cache?key=x /burst /spin\n");
}

static void handle_leak(int connection, const struct http_request *request)
{
	struct session *session = session_open(MEGABYTE);

	(void)request;
	if (!session) {
		http_reply(connection, 503, "out of memory\n");
		return;
	}
	http_reply(connection, 200, "session %lu served\n", session->id);
	session_close(session);
}

static void handle_cache(int connection, const struct http_request *request)
{
	const char *key = strncmp(request->query, "key=", 4) ? "default" : request->query + 4;
	size_t entries;
	bool hit;

	if (cache_page(key, &hit, &entries))
		http_reply(connection, 200, "%s, %zu of %d entries\n", hit ? "hit" : "miss",
		           entries, CACHE_ENTRIES);
	else
		http_reply(connection, 503, "out of memory\n");
}

static void handle_burst(int connection, const struct http_request *request)
{
	struct burst_result r = burst_run();

	(void)request;
	http_reply(connection, 200, "%u threads allocated %zu KB and kept %zu KB\n", r.threads,
	           r.allocated / 1024, r.kept / 1024);
}

/* One more megabyte that nobody will ever free; chained, so that all of it stays reachable. */
static void *spin_allocate(void *last)
{
	void **block = malloc(MEGABYTE);

	if (!block)
		return last;
	memset(block, 1, MEGABYTE);
	*block = last;
	return block;
}

static void handle_spin(int connection, const struct http_request *request)
{
	static void *chain;
	const struct timespec pause = { 0, 5000000 };

	(void)request;
	http_reply(connection, 200, "allocating 200 MB/s until killed\n");
	shutdown(connection, SHUT_RDWR);
	while (!atomic_load(&stopping)) {
		chain = spin_allocate(chain);
		nanosleep(&pause, NULL);
	}
}

static const struct route {
	const char *path;
	void (*handle)(int connection, const struct http_request *request);
} routes[] = {
	{ "/", handle_root },       { "/leak", handle_leak }, { "/cache", handle_cache },
	{ "/burst", handle_burst }, { "/spin", handle_spin },
};

static void serve(int connection)
{
	const struct timeval patience = { .tv_sec = 5 };
	struct http_request request;

	setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (!http_read(connection, &request)) {
		http_reply(connection, 400, "GET requests only, please\n");
		return;
	}
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (!strcmp(request.path, routes[i].path)) {
			routes[i].handle(connection, &request);
			return;
		}
	http_reply(connection, 404, "no %s here\n", request.path);
}

static void *worker(void *arg)
{
	(void)arg;
	while (!atomic_load(&stopping)) {
		int connection = accept(listener, NULL, NULL);

		if (connection < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			break; /* the socket was shut down */
		}
		serve(connection);
		close(connection);
	}
	return NULL;
}

/* Listens on 127.0.0.1 and says where; -1 after a message. */
static int listen_on(unsigned int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 64) ||
	    getsockname(fd, (struct sockaddr *)&address, &len)) {
		perror("service: cannot listen");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	printf("listening on http://127.0.0.1:%u\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static bool parse_port(int argc, char **argv, unsigned int *ret_port)
{
	char *end;
	unsigned long port;

	if (argc == 1) {
		*ret_port = 8080;
		return true;
	}
	if (argc != 3 || strcmp(argv[1], "--port"))
		return false;
	port = strtoul(argv[2], &end, 10);
	if (end == argv[2] || *end || port > 65535)
		return false;
	*ret_port = (unsigned int)port;
	return true;
}

int main(int argc, char **argv)
{
	pthread_t workers[WORKERS];
	unsigned int port, n = 0;
	sigset_t signals;
	int sig;

	if (!parse_port(argc, argv, &port)) {
		fprintf(stderr, "usage: %s [--port N]   (0: any free port)\n", argv[0]);
		return 2;
	}
	/* Blocked before the first thread starts, so that only sigwait() below ever sees them. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);

	listener = listen_on(port);
	if (listener < 0)
		return 1;
	while (n < WORKERS && !pthread_create(&workers[n], NULL, worker, NULL))
		n++;
	if (n)
		sigwait(&signals, &sig);
	else
		fputs("service: cannot start a worker\n", stderr);
	atomic_store(&stopping, true);
	shutdown(listener, SHUT_RDWR);
	for (unsigned int i = 0; i < n; i++)
		pthread_join(workers[i], NULL);
	close(listener);
	cache_clear();
	burst_clear();
	return n ? 0 : 1;
}
