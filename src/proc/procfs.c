/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of /proc: read whole, in chunks, with a bound (a command line is as long as the process
 * likes), then taken apart.  /proc/PID/status rather than stat: its lines have names, and a
 * process called "x) Z 1" cannot shift them.
 */
#include "proc/procfs.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/cursor.h"

#define CHUNK 65536

int procfs_read_file(const char *path, size_t max, struct buf *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t got = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n;

		if (buf_reserve(ret, CHUNK))
			return -ENOMEM;
		n = read(fd, ret->data + ret->len, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		got += (size_t)n;
		if (got > max)
			return -EFBIG;
		ret->len += (size_t)n;
		ret->data[ret->len] = '\0';
	}
	return 0;
}

int procfs_read(pid_t pid, const char *name, size_t max, struct buf *ret)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return procfs_read_file(path, max, ret);
}

static bool line_is(const char *line, const char *key, const char **ret_value)
{
	size_t n = strlen(key);

	if (strncmp(line, key, n) != 0)
		return false;
	*ret_value = line + n + strspn(line + n, " \t");
	return true;
}

void procfs_parse_status(char *text, struct procfs_status *ret)
{
	char *save = NULL;

	*ret = (struct procfs_status){ .state = '?' };
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char *v;

		if (line_is(line, "Name:", &v))
			snprintf(ret->name, sizeof(ret->name), "%s", v);
		else if (line_is(line, "State:", &v))
			ret->state = *v;
		else if (line_is(line, "Tgid:", &v))
			ret->tgid = atoi(v);
		else if (line_is(line, "Pid:", &v))
			ret->pid = atoi(v);
		else if (line_is(line, "TracerPid:", &v))
			ret->tracer = atoi(v);
		else if (line_is(line, "Uid:", &v))
			sscanf(v, "%*u %u", &ret->uid);
		else if (line_is(line, "Kthread:", &v))
			ret->kthread = *v == '1';
		else if (line_is(line, "VmSize:", &v))
			ret->has_size = true;
		else if (line_is(line, "VmRSS:", &v))
			ret->rss = strtoull(v, NULL, 10) * 1024;
		else if (line_is(line, "Seccomp:", &v))
			ret->seccomp = atoi(v);
		else if (line_is(line, "x86_Thread_features:", &v))
			ret->shstk = strstr(v, "shstk") != NULL;
	}
}

int procfs_status(pid_t pid, struct procfs_status *ret)
{
	_cleanup_buf_ struct buf b = { 0 };
	int r = procfs_read(pid, "status", 1 << 20, &b);

	if (r)
		return r == -ENOENT ? -ESRCH : r;
	procfs_parse_status(b.data, ret);
	return 0;
}

char *procfs_exe(pid_t pid)
{
	static const char deleted[] = " (deleted)";
	char path[64], target[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return NULL;
	target[n] = '\0';
	if ((size_t)n > strlen(deleted) && strcmp(target + n - strlen(deleted), deleted) == 0)
		target[(size_t)n - strlen(deleted)] = '\0';
	return strdup(target);
}

char *procfs_command(pid_t pid)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct procfs_status st;
	char *name;
	int r = procfs_read(pid, "cmdline", 256 << 10, &b);

	if ((r && r != -EFBIG) || !b.len) {
		if (procfs_status(pid, &st) || asprintf(&name, "[%s]", st.name) < 0)
			return NULL;
		return name;
	}
	while (b.len && b.data[b.len - 1] == '\0')
		b.len--;
	for (size_t i = 0; i < b.len; i++)
		if (b.data[i] == '\0')
			b.data[i] = ' ';
	b.data[b.len] = '\0';
	return buf_steal(&b);
}

void procfs_name(const char *exe, const char *command, char *ret_name, size_t size)
{
	const char *slash = strrchr(exe, '/'), *base = slash && slash[1] ? slash + 1 : exe;
	size_t exe_len = strlen(exe), len = strcspn(command, " "), plain = 0;
	const char *word = memrchr(command, '/', len);

	snprintf(ret_name, size, "%s", base);
	/* A path may have blanks. */
	if (!strncmp(command, exe, exe_len) && (!command[exe_len] || command[exe_len] == ' '))
		return;
	word = word ? word + 1 : command;
	len -= (size_t)(word - command);
	if (len && *word == '-') { /* a login shell */
		word++;
		len--;
	}
	if (len && word[len - 1] == ':')
		len--;
	while (plain < len && (isalnum((unsigned char)word[plain]) || strchr("._+-", word[plain])))
		plain++;
	if (len && plain == len && *word != '.')
		snprintf(ret_name, size, "%.*s", (int)(len < size ? len : size - 1), word);
}

void procfs_parse_auxv(const void *data, size_t len, struct procfs_auxv *ret)
{
	struct cursor c = cursor_make(data, len);

	while (cursor_left(&c) >= 16) {
		uint64_t type = cursor_u64(&c), value = cursor_u64(&c);

		switch (type) {
		case AT_NULL:
			return;
		case AT_PHDR:
			ret->phdr = value;
			break;
		case AT_BASE:
			ret->base = value;
			break;
		case AT_RANDOM:
			ret->random = value;
			break;
		case AT_ENTRY:
			ret->entry = value;
			break;
		case AT_SYSINFO_EHDR:
			ret->sysinfo_ehdr = value;
			break;
		case AT_PAGESZ:
			if (value >= 4096 && value <= 1 << 20 && !(value & (value - 1)))
				ret->page_size = value;
			break;
		}
	}
}
