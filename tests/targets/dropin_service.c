/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dropin_service: a service as its operators know it: GET /work makes it hold more, GET /dump writes a heap profile by
 * whichever profiler there is, GET /pprof/heap answers with one, and SIGUSR2 writes one, too.  It is linked
 * against no profiler.  Says its port on stdout.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "truth.h"

extern void HeapProfilerDump(const char *) __attribute__((weak));
extern int IsHeapProfilerRunning(void) __attribute__((weak));
extern char *GetHeapProfile(void) __attribute__((weak));
extern int mallctl(const char *, void *, size_t *, void *, size_t) __attribute__((weak));

TRUTH(remember);

NOINLINE static void *remember(size_t size)
{
	return BORN(remember, malloc(size), size);
}

static bool dump(void)
{
	if (IsHeapProfilerRunning && IsHeapProfilerRunning()) {
		HeapProfilerDump("request");
		return true;
	}
	return mallctl && mallctl("prof.dump", NULL, NULL, NULL, 0) == 0;
}

static void on_signal(int signo)
{
	(void)signo;
	dump();
}

static void reply(int fd, int status, const char *body)
{
	char head[128];
	int n = snprintf(head, sizeof(head), "HTTP/1.0 %d x\r\nContent-Length: %zu\r\n\r\n", status,
	                 strlen(body));

	CHECK(write(fd, head, (size_t)n) == n);
	for (size_t left = strlen(body); left;) {
		ssize_t r = write(fd, body, left);

		CHECK(r > 0);
		body += r;
		left -= (size_t)r;
	}
}

static bool serve(int fd)
{
	char request[1024] = "";

	if (read(fd, request, sizeof(request) - 1) < 0)
		return true;
	if (!strncmp(request, "GET /work ", 10)) {
		for (int i = 0; i < 1000; i++)
			ESCAPE(remember(512));
		reply(fd, 200, "worked\n");
	} else if (!strncmp(request, "GET /dump ", 10)) {
		bool done = dump();

		reply(fd, done ? 200 : 503, done ? "dumped\n" : "no heap profiler\n");
	} else if (!strncmp(request, "GET /pprof/heap ", 16)) {
		char *text = GetHeapProfile ? GetHeapProfile() : NULL;

		reply(fd, text && *text ? 200 : 503, text ? text : "");
		free(text);
	} else if (!strncmp(request, "GET /quit ", 10)) {
		reply(fd, 200, "bye\n");
		return false;
	} else {
		reply(fd, 404, "no such page\n");
	}
	return true;
}

int main(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;
	char line[32];
	bool on = true;

	CHECK(listener >= 0 && !bind(listener, (void *)&at, sizeof(at)) && !listen(listener, 16) &&
	      !getsockname(listener, (void *)&at, &len) && !sigaction(SIGUSR2, &sa, NULL));
	truth_write(line, (size_t)snprintf(line, sizeof(line), "%d\n", ntohs(at.sin_port)));
	while (on) {
		fd = accept(listener, NULL, NULL);
		CHECK(fd >= 0 || errno == EINTR);
		if (fd >= 0) {
			on = serve(fd);
			close(fd);
		}
	}
	truth_print("dropin_service", "main");
	return 0;
}
