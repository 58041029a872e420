/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets. */
#ifndef SEEP_SERVER_LISTEN_H
#define SEEP_SERVER_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

struct seep_error;

/* address: of IPv4 or IPv6; port 0: any that is free.  Errors say what to do. */
struct seep_error *listen_on(const char *address, uint16_t port, int *ret_fd, uint16_t *ret_port);

bool listen_is_loopback(const char *address);

#endif
