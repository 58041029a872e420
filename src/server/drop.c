/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rights.  A server that looks into processes needs to trace them, to read their files, and for uprobes the BPF ones.
 * Everything else root can do is given up, for it and for its children, before the first byte from the network is read: a
 * list of what goes, so that a right that a later kernel splits off stays with those that need it.
 */
#include "server/server.h"

#include <linux/capability.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned char given_up[] = {
	CAP_NET_ADMIN,     CAP_NET_RAW,       CAP_NET_BIND_SERVICE,
	CAP_NET_BROADCAST, CAP_SYS_MODULE,    CAP_SYS_RAWIO,
	CAP_SYS_BOOT,      CAP_SYS_TIME,      CAP_SYS_TTY_CONFIG,
	CAP_SYS_PACCT,     CAP_MKNOD,         CAP_LEASE,
	CAP_AUDIT_WRITE,   CAP_AUDIT_CONTROL, CAP_AUDIT_READ,
	CAP_MAC_ADMIN,     CAP_MAC_OVERRIDE,  CAP_LINUX_IMMUTABLE,
	CAP_WAKE_ALARM,    CAP_BLOCK_SUSPEND, CAP_SETPCAP,
	CAP_SETFCAP,
};

void server_drop_privileges(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	/* Nothing that is executed from here on gets more than we have. */
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	for (size_t i = 0; i < sizeof(given_up); i++)
		prctl(PR_CAPBSET_DROP, given_up[i], 0, 0, 0);
	memset(data, 0, sizeof(data));
	if (syscall(SYS_capget, &head, data) < 0)
		return;
	for (size_t i = 0; i < sizeof(given_up); i++) {
		uint32_t keep = ~(1u << (given_up[i] % 32));

		data[given_up[i] / 32].effective &= keep;
		data[given_up[i] / 32].permitted &= keep;
		data[given_up[i] / 32].inheritable &= keep;
	}
	syscall(SYS_capset, &head, data);
}
