/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopped and cloned processes: what is read is what was there, and afterwards the process is as if
 * nobody had looked.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "proc/guardian.h"
#include "proc/image.h"
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MAGIC 0x5ee9c0de12345678ull
#define THREADS 3

#define assert_no_error(err)                                                        \
	do {                                                                        \
		struct seep_error *e_ = (err);                                      \
		if (e_)                                                             \
			fail_msg("%s (%s)", e_->message, e_->hint ? e_->hint : ""); \
	} while (0)

static struct image *open_image(pid_t pid, bool clone)
{
	struct image_options opts = { .clone = clone };
	struct image *img = NULL;

	assert_no_error(image_open_process(pid, &opts, &img));
	return img;
}

static bool noted(const struct image *img, const char *words)
{
	for (size_t i = 0; i < img->nnotes; i++)
		if (strstr(img->notes[i], words))
			return true;
	return false;
}

static const struct image_thread *thread(const struct image *img, pid_t tid)
{
	for (size_t i = 0; i < img->nthreads; i++)
		if (img->threads[i].tid == tid)
			return &img->threads[i];
	return NULL;
}

static bool has_word(const struct image_thread *t, uint64_t from, uint64_t to, uint64_t word)
{
	for (uint64_t i = from; i < to && i < t->nwords; i++)
		if (t->words[i] == word)
			return true;
	return false;
}

/* ---- subjects --------------------------------------------------------------- */

static void count(int sig) {}

static struct subject_shared *handler_shared;

static void on_signal(int sig)
{
	atomic_fetch_add(&handler_shared->signals, 1);
}

/* A thread that spins with known values in a general and a vector register, and sees when they change. */
static void *spin(void *arg)
{
	struct subject_shared *s = arg;

	if (!atomic_load(&s->tid))
		atomic_store(&s->tid, (int)syscall(SYS_gettid));
	for (;;) {
		uint64_t general = MAGIC, vector = ~MAGIC, flags;

		__asm__ volatile("movq %0, %%r12\n\tmovq %1, %%xmm7\n\tmovq %2, %%rcx\n"
		                 "1:\tlock incq (%%rcx)\n\tmovq $20000, %%rdx\n"
		                 "2:\tdecq %%rdx\n\tjnz 2b\n\tpushfq\n\tpopq %%rdx\n"
		                 "movq %%r12, %0\n\tmovq %%xmm7, %1\n\tmovq %%rdx, %3"
		                 : "+&r"(general), "+&r"(vector)
		                 : "r"(&s->counter), "m"(flags)
		                 : "r12", "rcx", "rdx", "xmm7", "memory", "cc");
		if (general != MAGIC || vector != ~MAGIC)
			atomic_fetch_add(&s->wrong, 1);
	}
	return NULL;
}

static void start_threads(struct subject_shared *s, int n)
{
	for (int i = 0; i < n; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, spin, s))
			_exit(1);
	}
	while (n && !atomic_load(&s->counter))
		sched_yield();
}

static void run_threads(struct subject_shared *s)
{
	uint64_t *p = malloc(8);

	*p = MAGIC + 1;
	atomic_store(&s->address, (uint64_t)(uintptr_t)p);
	handler_shared = s;
	signal(SIGUSR1, on_signal);
	start_threads(s, THREADS);
	atomic_store(&s->ready, 1);
	for (;;)
		pause();
}

/* One word of memory that changes all the time, with a copy beside it that must be the same or one behind. */
static void run_changing(struct subject_shared *s)
{
	volatile uint64_t *pages =
		mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	volatile uint64_t *kept =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	kept[0] = MAGIC;
	madvise((void *)kept, 4096, MADV_DONTFORK);
	atomic_store(&s->address, (uint64_t)(uintptr_t)pages);
	atomic_store(&s->value, (uint64_t)(uintptr_t)kept);
	for (uint64_t i = 1;; i++) {
		for (unsigned int k = 0; k < 64; k++)
			pages[k * 512] = i;
		atomic_store(&s->counter, i);
		atomic_store(&s->ready, 1);
	}
}

/* ---- stopped ---------------------------------------------------------------- */

static void test_stopped(void **state)
{
	struct subject sub = subject_start(run_threads);
	_cleanup_image_ struct image *img = open_image(sub.pid, false);
	uint64_t before, word, counter;
	const struct image_thread *t;
	uint8_t resident[2];
	struct image_map *m;

	assert_int_equal(img->kind, IMAGE_LIVE);
	assert_int_equal(img->nthreads, THREADS + 1);
	assert_int_equal(img->threads[0].tid, sub.pid);
	assert_true(subject_traced(sub.pid));
	t = thread(img, atomic_load(&sub.shared->tid));
	assert_non_null(t);
	assert_true(has_word(t, 0, t->ngeneral, MAGIC));
	assert_true(has_word(t, t->ngeneral, t->nwords, ~MAGIC));
	assert_false(t->missed);
	assert_non_null(image_map_of(img, t->sp));
	assert_true(image_map_of(img, t->tls)->flags & IMAGE_WRITE);
	assert_true(image_module_of(img, t->pc) != NULL);
	assert_string_equal(image_map_of(img, img->threads[0].sp)->path, "[stack]");
	assert_true(image_read_u64(img, atomic_load(&sub.shared->address), &word));
	assert_int_equal(word, MAGIC + 1);
	image_resident(img, atomic_load(&sub.shared->address) & ~4095ull, 1, resident);
	assert_int_equal(resident[0], 1);
	/* The page before the first mapping, and nothing at all, cannot be read. */
	m = &img->maps[0];
	assert_int_equal(image_read(img, 0, &word, 8), 0);
	assert_int_equal(image_read(img, m->start - 8, &word, 8), 0);
	assert_true(img->at_random && image_map_of(img, img->at_random));
	assert_true(img->at_phdr && image_module_of(img, img->at_phdr));
	assert_true(img->resident_bytes > 4096);
	assert_true(img->stop_real_ns > 1000000000ull * 1000000000ull);

	/* It stands: nothing changes while other threads are given every chance. */
	before = atomic_load(&sub.shared->counter);
	kill(sub.pid, SIGUSR1);
	kill(sub.pid, SIGUSR1);
	for (int i = 0; i < 200; i++)
		sched_yield();
	counter = atomic_load(&sub.shared->counter);
	assert_int_equal(counter, before);
	assert_int_equal(atomic_load(&sub.shared->signals), 0);

	assert_no_error(image_resume(img));
	assert_true(img->stopped_ns > 0);
	assert_int_equal(image_read(img, atomic_load(&sub.shared->address), &word, 8), 0);
	assert_true(subject_runs(&sub));
	assert_true(SUBJECT_WAIT(atomic_load(&sub.shared->signals) == 1)); /* one number pends once */
	assert_false(subject_traced(sub.pid));
	image_free(TAKE(img));
	assert_int_equal(subject_children(sub.pid, NULL), 0);
	assert_int_equal(atomic_load(&sub.shared->wrong), 0);
	subject_end(&sub);
}

/* Signals all the time, and an image again and again: each signal counts, nothing is damaged. */
static void test_signals(void **state)
{
	struct subject sub = subject_start(run_threads);

	for (uint64_t i = 0; i < 60; i++) {
		_cleanup_image_ struct image *img = NULL;

		kill(sub.pid, SIGUSR1);
		img = open_image(sub.pid, i & 1);
		assert_int_equal(img->kind, i & 1 ? IMAGE_CLONE : IMAGE_LIVE);
		if (i % 3)
			kill(sub.pid, SIGUSR1);
		image_free(TAKE(img));
		assert_true(SUBJECT_WAIT(atomic_load(&sub.shared->signals) >= i + 1));
	}
	assert_true(subject_runs(&sub));
	assert_int_equal(atomic_load(&sub.shared->wrong), 0);
	assert_int_equal(subject_children(sub.pid, NULL), 0);
	subject_end(&sub);
}

static void test_stopped_stays_stopped(void **state)
{
	struct subject sub = subject_start(run_threads);
	uint64_t before;

	kill(sub.pid, SIGSTOP);
	assert_true(subject_wait_state(sub.pid, "T"));
	for (int clone = 0; clone < 2; clone++) {
		_cleanup_image_ struct image *img = open_image(sub.pid, clone);

		assert_int_equal(img->kind, clone ? IMAGE_CLONE : IMAGE_LIVE);
		assert_int_equal(img->nthreads, THREADS + 1);
		image_free(TAKE(img));
		assert_true(subject_wait_state(sub.pid, "T"));
		before = atomic_load(&sub.shared->counter);
		for (int i = 0; i < 100; i++)
			sched_yield();
		assert_int_equal(atomic_load(&sub.shared->counter), before);
	}
	kill(sub.pid, SIGCONT);
	assert_true(subject_runs(&sub));
	assert_int_equal(atomic_load(&sub.shared->wrong), 0);
	subject_end(&sub);
}

static void test_max_stop(void **state)
{
	struct subject sub = subject_start(run_threads);
	struct image_options opts = { .max_stop_ns = 50000000 };
	struct image *img = NULL;
	struct seep_error *err;
	uint64_t word;

	assert_no_error(image_open_process(sub.pid, &opts, &img));
	assert_true(subject_runs(&sub)); /* it was let go by itself */
	assert_true(SUBJECT_WAIT(!image_read_u64(img, atomic_load(&sub.shared->address), &word)));
	err = image_resume(img);
	assert_non_null(err);
	assert_non_null(strstr(err->message, "had to be let go"));
	seep_error_free(err);
	assert_true(img->stopped_ns > 0); /* less than the limit, by the time that stopping took */
	image_free(img);
	subject_end(&sub);
}

/* ---- cloned ----------------------------------------------------------------- */

static void test_clone_is_frozen(void **state)
{
	struct subject sub = subject_start(run_changing);
	_cleanup_image_ struct image *img = open_image(sub.pid, true);
	uint64_t at = atomic_load(&sub.shared->address), first[64], again, dont;
	uint8_t page = 0;
	const struct image_map *m;
	pid_t child = 0;

	assert_int_equal(img->kind, IMAGE_CLONE);
	assert_int_equal(subject_children(sub.pid, &child), 1);
	assert_true(subject_runs(&sub));
	for (unsigned int k = 0; k < 64; k++)
		assert_true(image_read_u64(img, at + k * 4096, &first[k]));
	for (unsigned int k = 1; k < 64;
	     k++) /* one moment: the writer was at one place in its round */
		assert_true(first[k] == first[k - 1] || first[k] + 1 == first[k - 1]);
	assert_true(first[0] - first[63] <= 1);
	assert_true(SUBJECT_WAIT(atomic_load(&sub.shared->counter) > first[0] + 1000));
	for (unsigned int k = 0; k < 64; k++) {
		assert_true(image_read_u64(img, at + k * 4096, &again));
		assert_int_equal(again, first[k]);
	}
	/* What was not to be inherited is known, and read where it is. */
	dont = atomic_load(&sub.shared->value);
	m = image_map_of(img, dont);
	assert_non_null(m);
	assert_true(m->flags & IMAGE_ASIDE);
	assert_int_equal(m->end - m->start, 4096);
	assert_true(image_read_u64(img, dont, &again));
	assert_int_equal(again, MAGIC);
	image_pages(img, dont, 1, &page);
	assert_int_equal(page & (IMAGE_PAGE_PRESENT | IMAGE_PAGE_FILE), IMAGE_PAGE_PRESENT);
	assert_true(noted(img, "MADV_DONTFORK"));
	image_free(TAKE(img));
	assert_int_equal(subject_children(sub.pid, NULL), 0);
	assert_int_equal(subject_state(child), 0);
	assert_true(subject_runs(&sub));
	subject_end(&sub);
}

/* ---- injections -------------------------------------------------------------- */

/* All signals blocked, a handler for SIGTRAP: neither may be touched by an injection. */
static void run_blocked(struct subject_shared *s)
{
	sigset_t all, now;
	struct sigaction sa;

	signal(SIGTRAP, count);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	atomic_store(&s->ready, 1);
	for (;;) {
		sigprocmask(SIG_SETMASK, NULL, &now);
		sigaction(SIGTRAP, NULL, &sa);
		if (!sigismember(&now, SIGTRAP) || !sigismember(&now, SIGUSR1) ||
		    sa.sa_handler != count)
			atomic_fetch_add(&s->wrong, 1);
		atomic_fetch_add(&s->counter, 1);
	}
}

static void test_blocked_signals(void **state)
{
	struct subject sub = subject_start(run_blocked);

	for (int i = 0; i < 10; i++) {
		struct image *img = open_image(sub.pid, true);

		assert_int_equal(img->kind, IMAGE_CLONE);
		image_free(img);
		assert_true(subject_runs(&sub));
	}
	assert_int_equal(atomic_load(&sub.shared->wrong), 0);
	subject_end(&sub);
}

static void run_seccomp(struct subject_shared *s)
{
	/* Strict mode: any call but read, write, exit kills.  It spins. */
	atomic_store(&s->address, (uint64_t)(uintptr_t)&s->counter);
	prctl(PR_SET_SECCOMP, 1);
	atomic_store(&s->ready, 1);
	for (;;)
		atomic_fetch_add(&s->counter, 1);
}

static void test_seccomp(void **state)
{
	struct subject sub = subject_start(run_seccomp);
	struct image *img = open_image(sub.pid, true);

	if (img->kind == IMAGE_LIVE) /* not allowed to suspend it: then it was not tried */
		assert_true(noted(img, "seccomp"));
	image_free(img);
	assert_true(subject_runs(&sub));
	assert_int_equal(subject_state(sub.pid) == 'Z', 0);
	subject_end(&sub);
}

static void run_limited(struct subject_shared *s)
{
	struct rlimit one = { 1, 1 };

	setrlimit(RLIMIT_NPROC, &one);
	if (geteuid() == 0 && setresuid(65534, 65534, 65534))
		_exit(1);
	atomic_store(&s->ready, 1);
	for (;;)
		atomic_fetch_add(&s->counter, 1);
}

static void test_no_more_processes(void **state)
{
	struct subject sub;
	struct image *img;

	if (geteuid() != 0) {
		print_message("needs root to run a process as another user\n");
		skip();
	}
	sub = subject_start(run_limited);
	img = open_image(sub.pid, true);
	assert_int_equal(img->kind, IMAGE_LIVE);
	assert_true(noted(img, "no more processes are allowed"));
	image_free(img);
	assert_true(subject_runs(&sub));
	subject_end(&sub);
}

/* The target calls exec, or ends, while its clone is held. */
static void run_exec(struct subject_shared *s)
{
	atomic_store(&s->ready, 1);
	while (!atomic_load(&s->stop))
		sched_yield();
	execl("/bin/sleep", "sleep", "1000", (char *)NULL);
	_exit(1);
}

static void run_exit(struct subject_shared *s)
{
	atomic_store(&s->ready, 1);
	while (!atomic_load(&s->stop))
		sched_yield();
}

static void test_target_changes(void **state)
{
	struct subject sub = subject_start(run_exec);
	struct image *img = open_image(sub.pid, true);
	uint8_t b[4];

	assert_int_equal(img->kind, IMAGE_CLONE);
	atomic_store(&sub.shared->stop, 1);
	assert_true(subject_wait_state(sub.pid, "S"));
	assert_int_equal(image_read(img, img->modules[0].start, b, 4), 4);
	assert_memory_equal(b, "\177ELF", 4);
	image_free(img);
	assert_int_equal(subject_children(sub.pid, NULL), 0);
	assert_true(subject_wait_state(sub.pid, "S"));
	subject_end(&sub);

	sub = subject_start(run_exit);
	img = open_image(sub.pid, true);
	atomic_store(&sub.shared->stop, 1);
	assert_true(subject_wait_state(sub.pid, "Z"));
	assert_int_equal(image_read(img, img->modules[0].start, b, 4), 4);
	image_free(img);
	subject_end(&sub);
}

/* ---- unusual threads -------------------------------------------------------- */

/* The main thread waits in vfork() for its child, which nothing can interrupt. */
static void run_vfork(struct subject_shared *s)
{
	pid_t pid;

	start_threads(s, 1);
	atomic_store(&s->ready, 1);
	pid = vfork();
	if (pid == 0) {
		while (!atomic_load(&s->stop))
			sched_yield();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	atomic_store(&s->done, 1);
	for (;;)
		pause();
}

static void test_missed(void **state)
{
	for (int clone = 0; clone < 2; clone++) {
		struct subject sub = subject_start(run_vfork);
		struct image *img;

		assert_true(subject_wait_state(sub.pid, "D"));
		img = open_image(sub.pid, clone);
		assert_int_equal(img->kind, clone ? IMAGE_CLONE : IMAGE_LIVE);
		assert_int_equal(img->nthreads, 2);
		assert_true(img->threads[0].missed);
		assert_int_equal(img->threads[0].nwords, 0);
		assert_false(img->threads[1].missed);
		assert_true(noted(img, "1 of 2 threads could not be stopped"));
		if (!clone) /* it wakes up after all is over, or else while the clone is held */
			image_free(TAKE(img));
		atomic_store(&sub.shared->stop, 1);
		assert_true(SUBJECT_WAIT(atomic_load(&sub.shared->done)));
		image_free(img);
		assert_true(subject_runs(&sub));
		assert_false(subject_traced(sub.pid));
		assert_int_equal(subject_children(sub.pid, NULL), 0);
		assert_int_equal(atomic_load(&sub.shared->wrong), 0);
		subject_end(&sub);
	}
}

/* The main thread has ended, the others go on: a zombie with a memory. */
static void run_headless(struct subject_shared *s)
{
	start_threads(s, 2);
	atomic_store(&s->ready, 1);
	pthread_exit(NULL);
}

static void test_main_thread_ended(void **state)
{
	struct subject sub = subject_start(run_headless);

	assert_true(subject_wait_state(sub.pid, "Z"));
	for (int clone = 0; clone < 2; clone++) {
		struct image *img = open_image(sub.pid, clone);

		assert_int_equal(img->kind, clone ? IMAGE_CLONE : IMAGE_LIVE);
		assert_int_equal(img->nthreads, 2);
		assert_true(img->nmodules >= 3);
		assert_true(img->exe[0] == '/');
		image_free(img);
		assert_true(subject_runs(&sub));
		assert_int_equal(subject_children(sub.pid, NULL), 0);
	}
	assert_int_equal(atomic_load(&sub.shared->wrong), 0);
	subject_end(&sub);
}

/* ---- a sandbox -------------------------------------------------------------- */

/* Where process_vm_readv() is refused, everything still works, through /proc/PID/mem. */
static void test_no_process_vm_readv(void **state)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };
	struct subject sub = subject_start(run_threads);
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char buf[5000];

		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
			_exit(77);
		for (int clone = 0; clone < 2; clone++) {
			struct image_options opts = { .clone = clone };
			struct image *img = NULL;
			struct seep_error *err = image_open_process(sub.pid, &opts, &img);
			uint64_t word = 0;

			if (err || img->kind != (clone ? IMAGE_CLONE : IMAGE_LIVE))
				_exit(1);
			if (!image_read_u64(img, atomic_load(&sub.shared->address), &word) ||
			    word != MAGIC + 1 || img->nmodules < 3 ||
			    image_read(img, img->modules[0].start, buf, sizeof(buf)) != sizeof(buf))
				_exit(2);
			image_free(img);
		}
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_true(subject_runs(&sub));
	subject_end(&sub);
	if (WEXITSTATUS(status) == 77) {
		print_message("no seccomp filters here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* ---- refusals --------------------------------------------------------------- */

static void refused(pid_t pid, const char *words, const char *hint)
{
	for (int clone = 0; clone < 2; clone++) {
		struct image_options opts = { .clone = clone };
		struct image *img = NULL;
		struct seep_error *err = image_open_process(pid, &opts, &img);

		assert_null(img);
		assert_non_null(err);
		if (!strstr(err->message, words) || !err->hint || !strstr(err->hint, hint))
			fail_msg("%s (%s)", err->message, err->hint ? err->hint : "no hint");
		seep_error_free(err);
	}
}

static void test_refusals(void **state)
{
	struct subject sub = subject_start(run_threads);
	pid_t pid;

	refused(getpid(), "seep itself", "");
	refused(2147483646, "is not there", "ended");
	refused(atomic_load(&sub.shared->tid), "is a thread of process", "give the process");
	if (subject_state(2) && getppid() != 2)
		refused(2, "thread of the kernel", "/proc/meminfo");
	pid = fork();
	if (pid == 0)
		_exit(0);
	assert_true(subject_wait_state(pid, "Z"));
	refused(pid, "has ended", "core");
	waitpid(pid, NULL, 0);

	pid = fork(); /* a tracer */
	if (pid == 0) {
		if (ptrace(PTRACE_SEIZE, sub.pid, 0, 0))
			_exit(1);
		for (;;)
			pause();
	}
	assert_true(SUBJECT_WAIT(subject_traced(sub.pid)));
	refused(sub.pid, "is traced by process", "detach");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_true(subject_runs(&sub));
	subject_end(&sub);
}

/* A check and a doctor at the same time: the second waits until the first has let go. */
static void test_another_of_us(void **state)
{
	struct subject sub = subject_start(run_threads);

	for (int clone = 0; clone < 2; clone++) {
		pid_t pid = fork();
		struct image *img;
		int status;

		if (pid == 0) {
			prctl(PR_SET_NAME, GUARDIAN_NAME);
			if (ptrace(PTRACE_SEIZE, sub.pid, 0, 0))
				_exit(1);
			usleep(200000);
			_exit(0);
		}
		assert_true(SUBJECT_WAIT(subject_traced(sub.pid)));
		img = open_image(sub.pid, clone);
		assert_int_equal(img->kind, clone ? IMAGE_CLONE : IMAGE_LIVE);
		image_free(img);
		waitpid(pid, &status, 0);
		assert_int_equal(status, 0);
		assert_true(subject_runs(&sub));
	}
	subject_end(&sub);
}

/* As another user: whose process it is, and what to do. */
static void test_other_user(void **state)
{
	struct subject sub;
	int status;
	pid_t pid;

	if (geteuid() != 0) {
		print_message("needs root to become another user\n");
		skip();
	}
	sub = subject_start(run_threads);
	pid = fork();
	if (pid == 0) {
		struct image_options opts = { 0 };
		struct image *img = NULL;
		struct seep_error *err;

		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
			_exit(2);
		err = image_open_process(sub.pid, &opts, &img);
		_exit(!(err && strstr(err->message, "belongs to user 0") &&
		        strstr(err->hint, "CAP_SYS_PTRACE")));
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_true(subject_runs(&sub));
	subject_end(&sub);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_stopped_stays_stopped),
		cmocka_unit_test(test_max_stop),
		cmocka_unit_test(test_clone_is_frozen),
		cmocka_unit_test(test_blocked_signals),
		cmocka_unit_test(test_seccomp),
		cmocka_unit_test(test_no_more_processes),
		cmocka_unit_test(test_target_changes),
		cmocka_unit_test(test_missed),
		cmocka_unit_test(test_main_thread_ended),
		cmocka_unit_test(test_no_process_vm_readv),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_another_of_us),
		cmocka_unit_test(test_other_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
