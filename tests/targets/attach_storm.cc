/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that does what is hard to be attached to: threads that throw through many frames, others that load and
 * unload a library all the time, others that begin and end.
 *
 *     attach_storm
 *
 * Each line on stdin is answered: `r` by how much was done since the start and how much of it was wrong, `q` ends.
 */
#include "truth.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{
std::atomic<bool> ending;
std::atomic<unsigned long> done[4], wrong;
std::string folder;

void verify(bool right)
{
	if (!right)
		wrong++;
}

NOINLINE size_t descend(int depth, std::vector<std::string> &words)
{
	std::string word(static_cast<size_t>(depth) + 30, static_cast<char>('a' + depth % 26));

	words.push_back(word);
	if (!depth)
		throw std::runtime_error("as deep as it goes: " + word);
	return descend(depth - 1, words) + word.size();
}

void *throwing(void *)
{
	for (int i = 0; !ending; i++) {
		std::vector<std::string> words;
		int depth = i % 30;

		try {
			descend(depth, words);
			verify(false);
		} catch (const std::runtime_error &e) {
			verify(e.what()[0] == 'a' && words.size() == static_cast<size_t>(depth) + 1);
		}
		for (const std::string &w : words)
			verify(w.front() == w.back());
		done[0]++;
	}
	return nullptr;
}

void *symbol(void *handle, const char *name)
{
	void *f = handle ? dlsym(handle, name) : nullptr;

	verify(f != nullptr);
	return f;
}

/* One that stays once it was loaded, as C++ libraries do, and two that come and go at one address. */
void *loading(void *)
{
	for (int i = 0; !ending; i++) {
		std::string other = folder + (i % 2 ? "libplugin_a.so" : "libplugin_b.so");
		void *a = dlopen((folder + "libplugin_cxx.so").c_str(), RTLD_NOW | RTLD_LOCAL);
		void *b = dlopen(other.c_str(), RTLD_LAZY | RTLD_LOCAL);
		void *f = symbol(a, "plugin_cxx_work"), *g = symbol(b, "plugin_make");

		if (f)
			verify(reinterpret_cast<int (*)(int)>(f)(8) == 8);
		if (g)
			free(reinterpret_cast<void *(*)(size_t)>(g)(100));
		verify(a && dlclose(a) == 0);
		verify(b && dlclose(b) == 0);
		done[1]++;
	}
	return nullptr;
}

void *short_life(void *arg)
{
	std::map<int, std::string> names;

	for (int i = 0; i < 50; i++)
		names[i * 7 % 50] = std::to_string(i) + " is a name too long for the short string";
	verify(names.size() == 50);
	return arg;
}

void *spawning(void *)
{
	while (!ending) {
		pthread_t thread;
		void *result = nullptr;

		verify(pthread_create(&thread, nullptr, short_life, &folder) == 0);
		verify(pthread_join(thread, &result) == 0 && result == &folder);
		done[2]++;
	}
	return nullptr;
}

void *growing(void *)
{
	while (!ending) {
		char *p = nullptr;

		for (size_t n = 1; n < 100000; n = n * 3 + 1) {
			char *q = static_cast<char *>(realloc(p, n));

			verify(q && (!p || q[0] == 'x'));
			if (!q)
				break;
			p = q;
			p[0] = 'x';
		}
		free(p);
		done[3]++;
	}
	return nullptr;
}
} // namespace

int main(int, char **argv)
{
	void *(*const work[])(void *) = { throwing, throwing, loading, spawning, growing };
	pthread_t threads[5];
	char c, line[160];

	folder = argv[0];
	folder = folder.substr(0, folder.rfind('/') + 1);
	for (size_t i = 0; i < 5; i++)
		CHECK(!pthread_create(&threads[i], nullptr, work[i], nullptr));
	truth_write("ready\n", 6);
	while (read(STDIN_FILENO, &c, 1) == 1 && c != 'q') {
		if (c != 'r')
			continue;
		int n = snprintf(line, sizeof(line),
		                 "{\"done\": [%lu, %lu, %lu, %lu], \"wrong\": %lu}\n",
		                 done[0].load(), done[1].load(), done[2].load(), done[3].load(),
		                 wrong.load());

		truth_write(line, static_cast<size_t>(n));
	}
	ending = true;
	for (pthread_t thread : threads)
		pthread_join(thread, nullptr);
	return wrong ? 1 : 0;
}
