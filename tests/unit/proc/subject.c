/* SPDX-License-Identifier: Apache-2.0 */
/* See subject.h. */
#include "subject.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t subject_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct subject subject_start(void (*run)(struct subject_shared *s))
{
	struct subject s = { 0 };

	s.shared = mmap(NULL, sizeof(*s.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	                -1, 0);
	if (s.shared == MAP_FAILED)
		abort();
	s.pid = fork();
	if (s.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run(s.shared);
		_exit(0);
	}
	if (s.pid < 0 || !SUBJECT_WAIT(atomic_load(&s.shared->ready)))
		abort();
	return s;
}

void subject_end(struct subject *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	munmap(s->shared, sizeof(*s->shared));
}

static bool status_line(const char *path, const char *key, char *ret, size_t size)
{
	FILE *f = fopen(path, "re");
	char line[256];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0) {
			snprintf(ret, size, "%s", line + strlen(key) + 1);
			found = true;
		}
	if (f)
		fclose(f);
	return found;
}

char subject_state(pid_t pid)
{
	char path[64], v[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	return status_line(path, "State:", v, sizeof(v)) ? v[0] : 0;
}

bool subject_wait_state(pid_t pid, const char *states)
{
	return SUBJECT_WAIT(strchr(states, subject_state(pid)) != NULL);
}

bool subject_runs(const struct subject *s)
{
	uint64_t before = atomic_load(&s->shared->counter);

	return SUBJECT_WAIT(atomic_load(&s->shared->counter) > before + 2);
}

unsigned int subject_children(pid_t pid, pid_t *ret_first)
{
	char path[320], text[4096];
	struct dirent *e;
	unsigned int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		FILE *f;
		char *save = NULL;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/children", (int)pid, e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!f)
			continue;
		if (fgets(text, sizeof(text), f))
			for (char *p = strtok_r(text, " \n", &save); p;
			     p = strtok_r(NULL, " \n", &save)) {
				if (!n++ && ret_first)
					*ret_first = atoi(p);
			}
		fclose(f);
	}
	if (d)
		closedir(d);
	return n;
}

bool subject_traced(pid_t pid)
{
	char path[320], v[64];
	struct dirent *e;
	bool yes = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, e->d_name);
		if (status_line(path, "TracerPid:", v, sizeof(v)) && atoi(v))
			yes = true;
		if (status_line(path, "State:", v, sizeof(v)) && v[0] == 't')
			yes = true;
	}
	if (d)
		closedir(d);
	return yes;
}
