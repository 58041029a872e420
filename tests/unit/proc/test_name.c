/* SPDX-License-Identifier: Apache-2.0 */
/* What a process is called in lists and addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proc/procfs.h"

static void is_called_as_it_was_called(void **state)
{
	static const struct {
		const char *exe, *command, *name;
	} cases[] = {
		{ "/usr/bin/redis-check-rdb", "redis-server *:6379", "redis-server" },
		{ "/usr/bin/redis-check-rdb", "/usr/bin/redis-server 127.0.0.1:6379",
		  "redis-server" },
		{ "/usr/sbin/nginx", "nginx: worker process", "nginx" },
		{ "/usr/bin/busybox", "sh -c true", "sh" },
		{ "/bin/bash", "-bash", "bash" },
		{ "/usr/bin/python3.11", "python3 app.py", "python3" },
		{ "/opt/a program/x", "/opt/a program/x --port 1", "x" },
		{ "/opt/a program/x", "/opt/a program/x", "x" },
		{ "/srv/service", "./service --port 8080", "service" },
		/* titles and noise */
		{ "/usr/bin/x", "", "x" },
		{ "/usr/bin/x", " ", "x" },
		{ "/usr/bin/x", "-", "x" },
		{ "/usr/bin/x", ":", "x" },
		{ "/usr/bin/x", "\033[31mred", "x" },
		{ "/usr/bin/x", "<script> y", "x" },
		{ "/usr/bin/x", "..", "x" },
		{ "/usr/bin/x", "[kworker]", "x" },
		{ "x", "", "x" },
		{ "/", "", "/" },
	};
	char name[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		procfs_name(cases[i].exe, cases[i].command, name, sizeof(name));
		assert_string_equal(name, cases[i].name);
	}
}

static void a_long_one_is_cut(void **state)
{
	char command[600], name[16];

	(void)state;
	memset(command, 'a', sizeof(command) - 1);
	command[sizeof(command) - 1] = '\0';
	procfs_name("/bin/x", command, name, sizeof(name));
	assert_string_equal(name, "aaaaaaaaaaaaaaa");
	procfs_name(command, "", name, sizeof(name));
	assert_string_equal(name, "aaaaaaaaaaaaaaa");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_called_as_it_was_called),
		cmocka_unit_test(a_long_one_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
