/* SPDX-License-Identifier: Apache-2.0 */
#include "server/listen.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

bool listen_is_loopback(const char *address)
{
	static const unsigned char one[16] = { [15] = 1 };
	unsigned char six[16], four[4];

	if (inet_pton(AF_INET, address, four) == 1)
		return four[0] == 127;
	return inet_pton(AF_INET6, address, six) == 1 && !memcmp(six, one, sizeof(one));
}

struct seep_error *listen_on(const char *address, uint16_t port, int *ret_fd, uint16_t *ret_port)
{
	struct sockaddr_in six_or_four = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr *a = (struct sockaddr *)&six_or_four;
	socklen_t len = sizeof(six_or_four);
	_cleanup_close_ int fd = -1;
	int one = 1;

	if (inet_pton(AF_INET6, address, &six.sin6_addr) == 1) {
		a = (struct sockaddr *)&six;
		len = sizeof(six);
	} else if (inet_pton(AF_INET, address, &six_or_four.sin_addr) != 1) {
		return seep_error_hint(seep_error_new(0, "%s is no address", address),
		                       "For instance 127.0.0.1, ::1, 0.0.0.0.");
	}
	fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return seep_error_new(errno, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, a, len) < 0 || listen(fd, 128) < 0) {
		int e = errno;

		return seep_error_hint(
			seep_error_new(e, "cannot listen on %s port %u", address, port),
			e == EADDRINUSE
				? "Is another seep serve running?  --port=0 takes any that is free."
			: e == EACCES ? "Ports below 1024 need root."
				      : "Is that an address of this machine?");
	}
	len = sizeof(six);
	if (getsockname(fd, (struct sockaddr *)&six, &len) < 0)
		return seep_error_new(errno, "cannot tell the port");
	*ret_port = ntohs(six.sin6_port); /* at the same place in both */
	*ret_fd = TAKE_FD(fd);
	return NULL;
}
